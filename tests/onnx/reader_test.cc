// Structure: from ONNX messages to a linked and sorted graph.
#include "onnx/reader.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "model_builder.h"

namespace deltacnn::onnx {
namespace {

Result<Graph> Read(ModelBuilder& builder) { return ReadBytes(builder.Bytes(), "", "model.onnx"); }

/// The error for a model, which must be one line that starts with the file and ends with a remedy.
Error ErrorOf(std::string_view bytes) {
  const Result<Graph> graph = ReadBytes(bytes, "", "model.onnx");
  if (graph.ok()) return {ErrorCode::kUsage, "no error"};
  const std::string& message = graph.error().message;
  EXPECT_TRUE(message.starts_with("model.onnx: ")) << message;
  EXPECT_TRUE(message.ends_with(")")) << message;
  EXPECT_EQ(message.find('\n'), std::string::npos) << message;
  return graph.error();
}
Error ErrorOf(ModelBuilder& builder) { return ErrorOf(builder.Bytes()); }

#define EXPECT_ERROR(model, expected_code, part)                             \
  do {                                                                       \
    const Error error = ErrorOf(model);                                      \
    EXPECT_EQ(error.code, expected_code) << error.message;                   \
    EXPECT_NE(error.message.find(part), std::string::npos) << error.message; \
  } while (false)

std::vector<std::string> NamesOf(const Graph& graph, const std::vector<ValueId>& ids) {
  std::vector<std::string> names;
  names.reserve(ids.size());
  for (const ValueId id : ids) {
    names.push_back(id == kNoValue ? "" : graph.values[static_cast<size_t>(id)].name);
  }
  return names;
}

std::vector<std::string> NodeNames(const Graph& graph) {
  std::vector<std::string> names;
  names.reserve(graph.nodes.size());
  for (const Node& node : graph.nodes) names.push_back(node.name);
  return names;
}

const Value* FindValue(const Graph& graph, const std::string& name) {
  for (const Value& value : graph.values) {
    if (value.name == name) return &value;
  }
  return nullptr;
}

using Names = std::vector<std::string>;

TEST(Reader, ReadsNodesValuesAndHeader) {
  ModelBuilder builder;
  builder.Input("x", {"batch", "3", "-1", "8"})
      .Initializer(RawTensor("w", kFloat, {2}, RawBytes<float>({1, 2})))
      .Initializer(RawTensor("unused", kFloat, {1}, RawBytes<float>({1})))
      .Node("Conv", {"x", "w"}, {"y"}, {IntsAttribute("pads", {1, -1, 0, 3})}, "first")
      .Node("Clip", {"y", "", "w"}, {"z", ""}, {})
      .ValueInfo("y", {"4"}, kInt64)
      .ValueInfo("nowhere", {"4"})
      .Output("z", {"7", "w"});
  builder.Opset("com.microsoft", 1).Opset("", 17);
  builder.Add(ModelField::kMetadataProps, Entry("names", "{0: 'cat'}"));
  const Result<Graph> result = Read(builder);
  ASSERT_TRUE(result.ok()) << result.error().message;
  const Graph& graph = *result;

  EXPECT_EQ(graph.opset, 17);
  EXPECT_EQ(graph.metadata.at("names"), "{0: 'cat'}");
  EXPECT_EQ(NamesOf(graph, graph.inputs), Names({"x"}));
  EXPECT_EQ(NamesOf(graph, graph.outputs), Names({"z"}));
  EXPECT_EQ(NodeNames(graph), Names({"first", "Clip_1"}));
  EXPECT_EQ(NamesOf(graph, graph.nodes[0].inputs), Names({"x", "w"}));
  EXPECT_EQ(graph.nodes[0].Ints("pads"), std::vector<int64_t>({1, -1, 0, 3}));
  EXPECT_EQ(NamesOf(graph, graph.nodes[1].inputs), Names({"y", "", "w"}));
  EXPECT_EQ(NamesOf(graph, graph.nodes[1].outputs), Names({"z", ""}));

  const Value* x = FindValue(graph, "x");
  ASSERT_NE(x, nullptr);
  EXPECT_TRUE(x->dtype_known);
  EXPECT_EQ(x->shape, Shape({-1, 3, -1, 8}));
  EXPECT_EQ(FindValue(graph, "y")->dtype, DType::kInt64);
  EXPECT_EQ(FindValue(graph, "y")->shape, Shape({4}));
  EXPECT_EQ(FindValue(graph, "w")->constant->as<float>()[1], 2.0f);
  EXPECT_EQ(FindValue(graph, "unused"), nullptr);
  EXPECT_EQ(FindValue(graph, "nowhere"), nullptr);
}

TEST(Reader, ReadsEveryKindOfAttribute) {
  using Attributes = Builder<AttributeField>;
  ModelBuilder builder;
  const std::string subgraph = AttributeMessage("body", AttributeType::kGraph, [](Attributes&) {});
  builder.Input("x").Output("y").Node(
      "Custom", {"x"}, {"y"},
      {AttributeMessage("f", AttributeType::kFloat,
                        [](Attributes& a) { a.add_float(AttributeField::kFloat, 0.5f); }),
       AttributeMessage("i", AttributeType::kInt,
                        [](Attributes& a) { a.add_int64(AttributeField::kInt, -7); }),
       AttributeMessage("s", AttributeType::kString,
                        [](Attributes& a) { a.add_bytes(AttributeField::kString, "SAME"); }),
       AttributeMessage("fs", AttributeType::kFloats,
                        [](Attributes& a) {
                          const float packed[] = {1.5f, 2.5f};
                          a.add_packed_float(AttributeField::kFloats, packed, packed + 2);
                          a.add_float(AttributeField::kFloats, 3.5f);
                        }),
       AttributeMessage("is", AttributeType::kInts,
                        [](Attributes& a) {
                          const int64_t packed[] = {-1, 1};
                          a.add_packed_int64(AttributeField::kInts, packed, packed + 2);
                        }),
       AttributeMessage("ss", AttributeType::kStrings,
                        [](Attributes& a) {
                          a.add_bytes(AttributeField::kStrings, "one");
                          a.add_bytes(AttributeField::kStrings, "");
                        }),
       TensorAttribute("t", RawTensor("", kInt8, {}, "\x05")), subgraph},
      "custom", "com.example");
  const Result<Graph> graph = Read(builder);
  ASSERT_TRUE(graph.ok()) << graph.error().message;
  const Node& node = graph->nodes[0];
  EXPECT_EQ(node.domain, "com.example");
  EXPECT_EQ(node.Float("f", 0), 0.5f);
  EXPECT_EQ(node.Int("i", 0), -7);
  EXPECT_EQ(node.String("s", ""), "SAME");
  EXPECT_EQ(node.Floats("fs"), std::vector<float>({1.5f, 2.5f, 3.5f}));
  EXPECT_EQ(node.Ints("is"), std::vector<int64_t>({-1, 1}));
  EXPECT_EQ(std::get<std::vector<std::string>>(node.attributes.at("ss")), Names({"one", ""}));
  EXPECT_EQ(node.TensorAttribute("t")->as<int8_t>()[0], 5);
  EXPECT_TRUE(std::holds_alternative<SubgraphMarker>(node.attributes.at("body")));
}

TEST(Reader, RefusesAttributesItCannotKeep) {
  ModelBuilder sparse;
  sparse.Input("x").Output("y").Node(
      "Op", {"x"}, {"y"},
      {AttributeMessage("values", static_cast<AttributeType>(11), [](auto&) {})}, "n");
  EXPECT_ERROR(sparse, ErrorCode::kUnsupported, "attribute 'values' of node 'n' (Op)");

  ModelBuilder twice;
  twice.Input("x").Output("y").Node("Op", {"x"}, {"y"},
                                    {IntsAttribute("k", {1}), IntsAttribute("k", {2})});
  EXPECT_ERROR(twice, ErrorCode::kInvalidModel, "attribute 'k' of node 'Op_0' (Op)");

  ModelBuilder reference;
  reference.Input("x").Output("y").Node("Op", {"x"}, {"y"}, {Reference("k", "outer")});
  EXPECT_ERROR(reference, ErrorCode::kInvalidModel, "function");

  ModelBuilder strings;
  strings.Input("x").Output("y").Node(
      "Op", {"x"}, {"y"}, {TensorAttribute("value", RawTensor("", kString, {1}, ""))}, "n");
  EXPECT_ERROR(strings, ErrorCode::kUnsupported, "of node 'n' (Op) has the element type string");
}

TEST(Reader, InitializersAreNotInputs) {
  ModelBuilder builder;
  builder.Input("w")
      .Input("x")
      .Initializer(RawTensor("w", kFloat, {1}, RawBytes<float>({3})))
      .Node("Mul", {"x", "w"}, {"y"})
      .Output("y")
      .Output("w");
  const Result<Graph> graph = Read(builder);
  ASSERT_TRUE(graph.ok()) << graph.error().message;
  EXPECT_EQ(NamesOf(*graph, graph->inputs), Names({"x"}));
  EXPECT_EQ(NamesOf(*graph, graph->outputs), Names({"y", "w"}));
  ASSERT_NE(FindValue(*graph, "w")->constant, nullptr);
  EXPECT_EQ(FindValue(*graph, "w")->shape, Shape({1}));
}

TEST(Reader, ConstantNodesBecomeConstants) {
  using Attributes = Builder<AttributeField>;
  ModelBuilder builder;
  builder.Input("x").Output("y");
  builder.Node("Constant", {}, {"t"},
               {TensorAttribute("value", RawTensor("", kInt64, {2}, RawBytes<int64_t>({4, 5})))});
  builder.Node("Constant", {}, {"f"},
               {AttributeMessage("value_float", AttributeType::kFloat, [](Attributes& a) {
                 a.add_float(AttributeField::kFloat, 0.25f);
               })});
  builder.Node("Constant", {}, {"i"},
               {AttributeMessage("value_int", AttributeType::kInt,
                                 [](Attributes& a) { a.add_int64(AttributeField::kInt, 9); })},
               "", "ai.onnx");
  builder.Node("Constant", {}, {"fs"},
               {AttributeMessage("value_floats", AttributeType::kFloats, [](Attributes& a) {
                 a.add_float(AttributeField::kFloats, 1);
                 a.add_float(AttributeField::kFloats, 2);
               })});
  builder.Node("Constant", {}, {"is"}, {IntsAttribute("value_ints", {})});
  builder.Node("Sum", {"x", "t", "f", "i", "fs", "is"}, {"y"});
  const Result<Graph> graph = Read(builder);
  ASSERT_TRUE(graph.ok()) << graph.error().message;
  EXPECT_EQ(NodeNames(*graph), Names({"Sum_5"}));
  const auto constant = [&](const char* name) { return FindValue(*graph, name)->constant; };
  EXPECT_EQ(constant("t")->as<int64_t>()[1], 5);
  EXPECT_EQ(constant("f")->as<float>()[0], 0.25f);
  EXPECT_TRUE(constant("f")->shape.empty());
  EXPECT_EQ(constant("i")->as<int64_t>()[0], 9);
  EXPECT_EQ(constant("fs")->shape, Shape({2}));
  EXPECT_EQ(constant("fs")->as<float>()[1], 2.0f);
  EXPECT_EQ(constant("is")->shape, Shape({0}));
  EXPECT_EQ(FindValue(*graph, "is")->dtype, DType::kInt64);

  ModelBuilder text;
  text.Output("s").Node("Constant", {}, {"s"},
                        {AttributeMessage("value_string", AttributeType::kString, [](auto&) {})},
                        "words");
  EXPECT_ERROR(text, ErrorCode::kUnsupported, "node 'words' (Constant)");
  ModelBuilder bare;
  bare.Output("s").Node("Constant", {}, {"s"});
  EXPECT_ERROR(bare, ErrorCode::kUnsupported, "node 'Constant_0' (Constant)");
  ModelBuilder two;
  two.Output("s").Node("Constant", {}, {"s", "t"}, {IntsAttribute("value_ints", {1})});
  EXPECT_ERROR(two, ErrorCode::kInvalidModel, "one output");
}

TEST(Reader, SortsNodesAndKeepsTheOrderOtherwise) {
  ModelBuilder builder;
  builder.Input("x")
      .Output("e")
      .Output("a")
      .Node("Op", {"d", "b"}, {"e"}, {}, "E")
      .Node("Op", {"x"}, {"b"}, {}, "B")
      .Node("Op", {"c", "c"}, {"d"}, {}, "D")
      .Node("Op", {"x", "k"}, {"c"}, {}, "C")
      .Node("Constant", {}, {"k"}, {IntsAttribute("value_ints", {1})})
      .Node("Op", {"x"}, {"a"}, {}, "A");
  const Result<Graph> graph = Read(builder);
  ASSERT_TRUE(graph.ok()) << graph.error().message;
  EXPECT_EQ(NodeNames(*graph), Names({"B", "C", "D", "E", "A"}));
}

TEST(Reader, LeavesOutWhatNoOutputNeeds) {
  ModelBuilder builder;
  builder.Input("x")
      .Output("y")
      .Node("Constant", {}, {"text"},
            {AttributeMessage("value_string", AttributeType::kString, [](auto&) {})})
      .Node("Custom", {"x", "text"}, {"a"})
      .Node("Relu", {"x"}, {"y"})
      .Node("Custom", {"a", "y"}, {"b", ""});
  const Result<Graph> graph = Read(builder);
  ASSERT_TRUE(graph.ok()) << graph.error().message;
  EXPECT_EQ(NodeNames(*graph), Names({"Relu_2"}));
}

TEST(Reader, SortsALongReversedChain) {
  constexpr int kLength = 20000;
  ModelBuilder builder;
  builder.Input("0").Output(std::to_string(kLength));
  for (int i = kLength; i > 0; --i) {
    builder.Node("Op", {std::to_string(i - 1)}, {std::to_string(i)});
  }
  const Result<Graph> graph = Read(builder);
  ASSERT_TRUE(graph.ok()) << graph.error().message;
  EXPECT_EQ(graph->nodes.front().name, "Op_19999");
  EXPECT_EQ(graph->nodes.back().name, "Op_0");
}

TEST(Reader, NamesANodeOnTheCycle) {
  ModelBuilder builder;
  builder.Input("x")
      .Output("y")
      .Node("Op", {"c"}, {"y"}, {}, "after")
      .Node("Op", {"x", "c"}, {"a"}, {}, "on cycle")
      .Node("Op", {"a"}, {"b"}, {}, "on cycle")
      .Node("Op", {"b"}, {"c"}, {}, "on cycle");
  EXPECT_ERROR(builder, ErrorCode::kInvalidModel, "node 'on cycle' (Op)");
  ModelBuilder self;
  self.Input("x").Output("y").Node("Op", {"y"}, {"y"}, {}, "self");
  EXPECT_ERROR(self, ErrorCode::kInvalidModel, "node 'self' (Op)");
}

TEST(Reader, RefusesGraphsThatDoNotConnect) {
  ModelBuilder missing;
  missing.Input("x").Output("y").Node("Add", {"x", "gone"}, {"y"}, {}, "n");
  EXPECT_ERROR(missing, ErrorCode::kInvalidModel, "node 'n' (Add) needs 'gone'");

  ModelBuilder output;
  output.Input("x").Output("gone").Node("Relu", {"x"}, {"y"});
  EXPECT_ERROR(output, ErrorCode::kInvalidModel, "'gone'");

  ModelBuilder none;
  none.Input("x").Node("Relu", {"x"}, {"y"});
  EXPECT_ERROR(none, ErrorCode::kInvalidModel, "no outputs");

  ModelBuilder twice;
  twice.Input("x").Output("y").Node("Relu", {"x"}, {"y"}).Node("Relu", {"x"}, {"y"}, {}, "second");
  EXPECT_ERROR(twice, ErrorCode::kInvalidModel, "node 'second' (Relu) produces 'y'");

  ModelBuilder over_input;
  over_input.Input("x").Output("x").Node("Relu", {"x"}, {"x"}, {}, "n");
  EXPECT_ERROR(over_input, ErrorCode::kInvalidModel, "node 'n' (Relu) produces 'x'");

  const std::string w = RawTensor("w", kFloat, {1}, RawBytes<float>({3}));
  ModelBuilder over_weight;
  over_weight.Input("x").Output("w").Initializer(w).Node("Relu", {"x"}, {"w"}, {}, "n");
  EXPECT_ERROR(over_weight, ErrorCode::kInvalidModel, "node 'n' (Relu) produces 'w'");

  ModelBuilder weight_twice;
  weight_twice.Input("x").Output("x").Initializer(w).Initializer(w);
  EXPECT_ERROR(weight_twice, ErrorCode::kInvalidModel, "initializer 'w' is there twice");

  ModelBuilder inputs;
  inputs.Input("x").Input("x").Output("x");
  EXPECT_ERROR(inputs, ErrorCode::kInvalidModel, "graph input 'x'");

  ModelBuilder unnamed;
  unnamed.Input("").Output("x");
  EXPECT_ERROR(unnamed, ErrorCode::kInvalidModel, "no name");

  ModelBuilder no_op;
  no_op.Input("x").Output("y").Node("", {"x"}, {"y"}, {}, "n");
  EXPECT_ERROR(no_op, ErrorCode::kInvalidModel, "node 0 'n'");
}

TEST(Reader, RefusesInputsThatAreNoSupportedTensors) {
  ModelBuilder text;
  text.Input("x", {"1"}, kString).Output("x");
  EXPECT_ERROR(text, ErrorCode::kUnsupported, "graph input 'x' has the element type string");

  ModelBuilder sequence;
  const std::string type = Message<TypeField>(
      [](auto& builder) { builder.add_message(static_cast<TypeField>(4), std::string()); });
  sequence.Output("x").Add(GraphField::kInput, Message<ValueInfoField>([&](auto& builder) {
                             builder.add_bytes(ValueInfoField::kName, "x");
                             builder.add_message(ValueInfoField::kType, type);
                           }));
  EXPECT_ERROR(sequence, ErrorCode::kUnsupported, "graph input 'x' is no tensor");

  ModelBuilder huge;
  huge.Input("x", {"1", "4611686018427387904"}).Output("x");
  EXPECT_ERROR(huge, ErrorCode::kInvalidModel, "value 'x' has the impossible dimension");

  ModelBuilder deep;
  deep.Input("x", Names(1000, "1")).Output("x");
  EXPECT_ERROR(deep, ErrorCode::kInvalidModel, "value 'x' has the impossible dimension");
}

TEST(Reader, NeedsTheOpsetOfTheDefaultDomain) {
  ModelBuilder other;
  other.Input("x").Output("x").Opset("com.microsoft", 1);
  EXPECT_ERROR(other, ErrorCode::kInvalidModel, "version of the ONNX operators");
  ModelBuilder alias;
  alias.Input("x").Output("x").Opset("ai.onnx", 11);
  const Result<Graph> graph = Read(alias);
  ASSERT_TRUE(graph.ok()) << graph.error().message;
  EXPECT_EQ(graph->opset, 11);
}

TEST(Reader, LimitsTheNumberOfRecords) {
  // Two bytes in the file for every node, some hundred in memory.
  std::string graph;
  for (int i = 0; i < 1200000; ++i) graph.append("\x62\x00", 2);  // an empty graph output
  const std::string bytes =
      Message<ModelField>([&](auto& model) { model.add_message(ModelField::kGraph, graph); });
  EXPECT_ERROR(bytes, ErrorCode::kLimit, "lists more than");
}

TEST(Reader, KeepsErrorsOnOneShortLine) {
  ModelBuilder builder;
  builder.Input("x").Output("y").Node("Add", {"x", "a\nb\x01" + std::string(5000, 'c')}, {"y"});
  const Error error = ErrorOf(builder);
  EXPECT_NE(error.message.find("'a?b?ccc"), std::string::npos) << error.message;
  EXPECT_LT(error.message.size(), 400u);
}

TEST(Reader, NamesTheNodeThatIsDamaged) {
  ModelBuilder builder;
  builder.Input("x").Output("y").Node("Relu", {"x"}, {"y"}).Add(GraphField::kNode, "\x0a\x7f");
  EXPECT_ERROR(builder, ErrorCode::kInvalidModel, "node 1 is damaged");
}

TEST(Reader, RecognizesOtherFiles) {
  using namespace std::string_literals;
  const std::pair<std::string, const char*> files[] = {
      {"", "is empty"},
      {"hello, this is no model\n", "text file"},
      {"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "Git LFS"},
      {"PK\x03\x04\x14\x00\x00\x00\x08\x08"s, "ZIP"},
      {"\x80\x02\x8a\x0al\xfc\x9c\x46\xf9 j\xa8P\x19."s, "pickle"},
      {"\x1c\x00\x00\x00TFL3\x14\x00\x20\x00"s, "TensorFlow Lite"},
      {"\x30\x00\x00\x00ORTM\x00\x00\x00\x00"s, "ONNX Runtime"},
      {"\x89HDF\x0d\x0a\x1a\x0a"s, "HDF5"},
      {"\x89PNG\x0d\x0a\x1a\x0a\x00\x00\x00\x0dIHDR"s, "PNG"},
      {"\xff\xd8\xff\xe0\x00\x10JFIF"s, "JPEG"},
      {"\x00\x00\x00\x20"s + "ftypisom", "MP4"},
      {"\x1a\x45\xdf\xa3\x01"s, "Matroska"},
      {"\x1f\x8b\x08\x00"s, "gzip"},
      {std::string(100, '\0'), "the file is damaged"},
      {std::string("\x08\x08", 2), "holds no graph"},
  };
  for (const auto& [bytes, part] : files) EXPECT_ERROR(bytes, ErrorCode::kInvalidModel, part);
}

TEST(Reader, FileErrorsNameThePath) {
  const std::filesystem::path folder =
      std::filesystem::path(::testing::TempDir()) / "deltacnn_reader_test";
  std::filesystem::create_directories(folder);
  const std::string missing = (folder / "missing.onnx").string();
  const Result<Graph> no_file = ReadFile(missing);
  ASSERT_FALSE(no_file.ok());
  EXPECT_EQ(no_file.error().code, ErrorCode::kIo);
  EXPECT_TRUE(no_file.error().message.starts_with(missing + ": ")) << no_file.error().message;

  const Result<Graph> directory = ReadFile(folder.string());
  ASSERT_FALSE(directory.ok());
  EXPECT_EQ(directory.error().code, ErrorCode::kIo);
  EXPECT_NE(directory.error().message.find("directory"), std::string::npos);

  const Result<Graph> device = ReadFile("/dev/null");
  ASSERT_FALSE(device.ok());
  EXPECT_NE(device.error().message.find("not a regular file"), std::string::npos);

  const std::string large = (folder / "large.onnx").string();
  std::ofstream(large, std::ios::binary) << '\0';
  std::filesystem::resize_file(large, uintmax_t{1} << 31);  // sparse: takes no space
  const Result<Graph> too_large = ReadFile(large);
  ASSERT_FALSE(too_large.ok());
  EXPECT_EQ(too_large.error().code, ErrorCode::kLimit);

  ModelBuilder builder;
  const std::string bytes = builder.Input("x").Output("x").Bytes();
  const std::string good = (folder / "good.onnx").string();
  std::ofstream(good, std::ios::binary) << bytes;
  EXPECT_TRUE(ReadFile(good).ok());
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace deltacnn::onnx
