// Damaged files must give an error or a graph, never a crash; and the real models must be read.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <random>

#include "model_builder.h"
#include "onnx/reader.h"

namespace deltacnn::onnx {
namespace {

/// A model that has one of everything.
std::string RichModel() {
  ModelBuilder builder;
  const float floats[] = {1.0f, 2.0f};
  builder.Input("x", {"batch", "3", "8", "8"})
      .Input("w", {"2"})
      .Initializer(RawTensor("w", kFloat, {2}, RawBytes<float>({1, 2})))
      .Initializer(TensorMessage(
          "b", kFloat, {2},
          [&](auto& t) { t.add_packed_float(TensorField::kFloatData, floats, floats + 2); }))
      .Initializer(ExternalTensor("far", {1}, {{"location", "w.bin"}, {"offset", "0"}}))
      .Node("Constant", {}, {"k"}, {IntsAttribute("value_ints", {1, 2, 3})})
      .Node("Add", {"c", "k"}, {"d"})
      .Node("Conv", {"x", "w", "b"}, {"c"}, {IntsAttribute("pads", {0, 1, 0, 1})}, "conv")
      .Node("Clip", {"d", "", "k"}, {"y"},
            {TensorAttribute("t", RawTensor("", kInt64, {1}, RawBytes<int64_t>({4})))})
      .ValueInfo("c", {"batch", "2", "8", "8"})
      .Output("y", {"batch", "2", "-1", "8"});
  ModelBuilder inner, outer;
  inner.Node("Relu", {"k"}, {"r"}).Output("r");
  outer.Initializer(RawTensor("t", kFloat, {2}, RawBytes<float>({1, 2})))
      .Node("If", {"yes"}, {"s"}, {inner.Branch("then_branch"), inner.Branch("else_branch")})
      .Node("Add", {"s", "t"}, {"u"})
      .Output("u");
  builder.Initializer(RawTensor("yes", kBool, {}, "\x01"))
      .Node("F", {"k"}, {"f"}, {FloatAttribute("alpha", 0.5f)}, "call", "pkg")
      .Node("If", {"yes"}, {"i"}, {outer.Branch("then_branch"), inner.Branch("else_branch")})
      .Output("f")
      .Output("i");
  builder.Opset("", 13).Opset("com.microsoft", 1);
  builder.Function("F", {"p", "q"}, {"o"},
                   {NodeMessage("G", {"p"}, {"m"}, {Reference("beta", "alpha")}, "", "pkg"),
                    NodeMessage("Elu", {"m"}, {"o"}, {Reference("alpha", "alpha")})});
  builder.Function("G", {"p"}, {"p"}, {}, [](auto& function) {
    function.add_message(FunctionField::kAttributeProto, FloatAttribute("beta", 1));
  });
  builder.Add(ModelField::kMetadataProps, Entry("key", "value"));
  return builder.Bytes();
}

/// What graph.h promises of every graph that was read.
void ExpectInvariants(const Graph& graph) {
  const auto size = static_cast<ValueId>(graph.values.size());
  std::vector<bool> defined(graph.values.size());
  const auto define = [&](ValueId id) {
    ASSERT_TRUE(id >= 0 && id < size);
    EXPECT_FALSE(defined[static_cast<size_t>(id)]);
    defined[static_cast<size_t>(id)] = true;
  };
  const auto expect_defined = [&](ValueId id) {
    ASSERT_TRUE(id >= 0 && id < size);
    EXPECT_TRUE(defined[static_cast<size_t>(id)]);
  };
  for (ValueId id = 0; id < size; ++id) {
    const TensorPtr& constant = graph.Constant(id);
    if (!constant) continue;
    define(id);
    EXPECT_EQ(constant->bytes.size(),
              static_cast<size_t>(constant->elements()) * SizeOf(constant->dtype));
  }
  for (const ValueId id : graph.inputs) define(id);
  for (const Node& node : graph.nodes) {
    EXPECT_FALSE(node.name.empty());
    const bool chooses = node.op == "If" && node.domain.empty();
    EXPECT_TRUE(!chooses || node.inputs.size() == 3u);
    for (const Guard& guard : node.guards) expect_defined(guard.condition);
    EXPECT_FALSE(node.op.empty());
    for (const ValueId id : node.inputs) {
      if (id != kNoValue) expect_defined(id);
    }
    for (const ValueId id : node.outputs) {
      if (id != kNoValue) define(id);
    }
  }
  for (const ValueId id : graph.outputs) expect_defined(id);
}

bool ReadAndCheck(const std::string& bytes) {
  const Result<Graph> graph = ReadBytes(bytes, "", "model.onnx");
  if (graph.ok()) {
    ExpectInvariants(*graph);
  } else {
    EXPECT_TRUE(graph.error().message.starts_with("model.onnx: "));
    EXPECT_EQ(graph.error().message.find('\n'), std::string::npos) << graph.error().message;
  }
  return graph.ok();
}

TEST(Robustness, TheUndamagedModelIsRead) { EXPECT_TRUE(ReadAndCheck(RichModel())); }

TEST(Robustness, EveryTruncation) {
  const std::string bytes = RichModel();
  for (size_t length = 0; length < bytes.size(); ++length) ReadAndCheck(bytes.substr(0, length));
}

TEST(Robustness, EveryByteReplaced) {
  const std::string bytes = RichModel();
  for (size_t i = 0; i < bytes.size(); ++i) {
    for (const int value : {0x00, 0x01, 0x7f, 0x80, 0xff, bytes[i] + 1, bytes[i] ^ 0x08}) {
      std::string damaged = bytes;
      damaged[i] = static_cast<char>(value);
      ReadAndCheck(damaged);
    }
  }
}

TEST(Robustness, RandomFlipsAndSplices) {
  const std::string bytes = RichModel();
  std::mt19937 random(20240717);
  const auto below = [&](size_t limit) { return static_cast<size_t>(random()) % limit; };
  int read = 0;
  constexpr int kRounds = 20000;
  for (int round = 0; round < kRounds; ++round) {
    std::string damaged = bytes;
    for (size_t edits = 1 + below(4); edits > 0; --edits) {
      if (below(2) == 0) {
        damaged[below(damaged.size())] ^= static_cast<char>(1 << below(8));
      } else {
        const std::string piece = bytes.substr(below(bytes.size()), below(40));
        damaged.replace(below(damaged.size()), below(40), piece);
        if (damaged.empty()) damaged = bytes;
      }
    }
    read += ReadAndCheck(damaged) ? 1 : 0;
  }
  // Otherwise the damage is too light or too heavy to test anything.
  EXPECT_GT(read, kRounds / 100);
  EXPECT_LT(read, kRounds / 2);
}

TEST(Robustness, RealModelsAreRead) {
  const char* data = std::getenv("DELTACNN_DATA");
  const std::filesystem::path models =
      (data != nullptr ? std::filesystem::path(data)
                       : std::filesystem::path(DELTACNN_SOURCE_DIR) / "../shared/data") /
      "models";
  std::error_code error;
  if (!std::filesystem::is_directory(models, error)) {
    GTEST_SKIP() << "no real models: " << models << " is missing (set DELTACNN_DATA)";
  }
  for (const auto& entry : std::filesystem::directory_iterator(models)) {
    if (entry.path().extension() != ".onnx") continue;
    const Result<Graph> graph = ReadFile(entry.path().string());
    ASSERT_TRUE(graph.ok()) << graph.error().message;
    EXPECT_FALSE(graph->nodes.empty()) << entry.path();
    EXPECT_EQ(graph->inputs.size(), 1u) << entry.path();
    ExpectInvariants(*graph);
  }
}

}  // namespace
}  // namespace deltacnn::onnx
