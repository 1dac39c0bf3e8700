// Models that are wrong on purpose: planning must answer with a plan or an error, and what it plans
// must run. Never a crash, nor minutes, nor gigabytes.
//
// DELTACNN_FUZZ_SECONDS: how long each test tries, from a random seed on (default 6, from seed 1);
// DELTACNN_FIRST_SEED: where it starts; DELTACNN_SEED: one case again; DELTACNN_TRACE: prints every
// seed before it runs, to find the one that crashes.
#include <sys/resource.h>

#include <chrono>
#include <cstdlib>
#include <iostream>
#include <limits>

#include "core/plan.h"
#include "onnx_writer.h"
#include "op_cases.h"
#include "random_network.h"

namespace deltacnn::testing {
namespace {

constexpr int64_t kMin = std::numeric_limits<int64_t>::min();
constexpr int64_t kMax = std::numeric_limits<int64_t>::max();

/// A valid node, or two in a row, with a few things about it made wrong.
class Mutator {
 public:
  explicit Mutator(uint32_t seed) : rng_(seed) {}

  Graph Make(const std::vector<NodeCase>& cases) {
    graph_ = ModelGraph(cases[Pick(cases.size())].test);
    for (size_t more = Pick(3); more > 0; --more)
      Append(ModelGraph(cases[Pick(cases.size())].test));
    static constexpr int64_t kOpsets[] = {9, 11, 13, 18, 19, 22};
    graph_.opset = Chance(50) ? kOpsets[Pick(6)] : 19;
    for (size_t n = 1 + Pick(3); n > 0; --n) Mutate(graph_.nodes[Pick(graph_.nodes.size())]);
    return std::move(graph_);
  }

 private:
  size_t Pick(size_t n) { return rng_() % n; }
  bool Chance(unsigned percent) { return rng_() % 100 < percent; }

  int64_t Nasty() {
    static constexpr int64_t kNumbers[] = {0,
                                           1,
                                           2,
                                           3,
                                           4,
                                           5,
                                           7,
                                           16,
                                           -1,
                                           -2,
                                           -3,
                                           -7,
                                           kMin,
                                           kMin + 1,
                                           64,
                                           65,
                                           99,
                                           255,
                                           256,
                                           1000,
                                           65536,
                                           1 << 20,
                                           1000000000,
                                           -1000000000,
                                           1 << 30,
                                           kMax,
                                           kMax - 1,
                                           int64_t{1} << 31,
                                           (int64_t{1} << 31) - 1,
                                           int64_t{1} << 32,
                                           int64_t{1} << 40,
                                           -(int64_t{1} << 40),
                                           int64_t{1} << 62,
                                           1000000000000000000};
    return Chance(60) ? kNumbers[Pick(8)] : kNumbers[Pick(std::size(kNumbers))];
  }
  float NastyFloat() {
    static constexpr float kNumbers[] = {0,
                                         1,
                                         -1,
                                         0.5f,
                                         2,
                                         3,
                                         1e-30f,
                                         1e30f,
                                         -1e30f,
                                         1e9f,
                                         std::numeric_limits<float>::infinity(),
                                         std::numeric_limits<float>::quiet_NaN(),
                                         1e-45f,
                                         3e38f};
    return kNumbers[Pick(std::size(kNumbers))];
  }
  DType AnyType() { return static_cast<DType>(Pick(8)); }

  Shape NastyShape(bool small) {
    Shape shape(Pick(9));
    if (Chance(3)) shape.resize(70, 1);
    for (int64_t& dim : shape) dim = small || Chance(85) ? static_cast<int64_t>(Pick(6)) : Nasty();
    if (!small)
      for (int64_t& dim : shape) dim = dim < -1 ? -1 : dim;
    return shape;
  }

  static bool IsSmall(const Shape& shape) {
    const int64_t elements = ElementCount(shape);  // -1 if their number overflows
    return elements >= 0 && elements <= 5000;
  }

  Tensor NastyConstant(const Tensor& old) {
    Tensor tensor = old;
    if (Chance(30)) {
      Shape shape = NastyShape(true);
      while (!IsSmall(shape)) shape.pop_back();
      tensor = Tensor(old.dtype, shape);
    } else if (Chance(20)) {
      Shape shape = old.shape;
      if (!shape.empty()) shape[Pick(shape.size())] = static_cast<int64_t>(Pick(5));
      if (IsSmall(shape)) tensor = Tensor(old.dtype, shape);
    }
    if (Chance(15)) tensor = Tensor(AnyType(), tensor.shape);
    const auto count = static_cast<size_t>(tensor.elements());
    for (size_t n = std::min<size_t>(count, 1 + Pick(4)); n > 0; --n) {
      if (tensor.dtype == DType::kInt64) tensor.as<int64_t>()[Pick(count)] = Nasty();
      if (tensor.dtype == DType::kInt32)
        tensor.as<int32_t>()[Pick(count)] = static_cast<int32_t>(Nasty());
      if (tensor.dtype == DType::kFloat32) tensor.as<float>()[Pick(count)] = NastyFloat();
    }
    return tensor;
  }

  /// Joins another graph behind this one: its first input reads what was there before.
  void Append(const Graph& other) {
    const auto shift = static_cast<ValueId>(graph_.values.size());
    graph_.values.insert(graph_.values.end(), other.values.begin(), other.values.end());
    Node node = other.nodes[0];
    node.name += "_" + std::to_string(graph_.nodes.size());
    for (auto* list : {&node.inputs, &node.outputs})
      for (ValueId& id : *list) id += id == kNoValue ? 0 : shift;
    for (const ValueId id : other.inputs) graph_.inputs.push_back(id + shift);
    if (!node.inputs.empty()) {
      const size_t at = Chance(80) ? 0 : Pick(node.inputs.size());
      node.inputs[at] = graph_.nodes.back().outputs[0];
      if (at > 0 && Chance(50)) node.inputs[0] = node.inputs[at];
    }
    if (Chance(70)) graph_.outputs.clear();
    for (const ValueId id : node.outputs) graph_.outputs.push_back(id);
    graph_.nodes.push_back(std::move(node));
  }

  void MutateAttribute(Node& node) {
    static const std::vector<std::string> kNames = {"allowzero",
                                                    "alpha",
                                                    "antialias",
                                                    "auto_pad",
                                                    "axes",
                                                    "axis",
                                                    "beta",
                                                    "bias",
                                                    "block_size",
                                                    "blocksize",
                                                    "ceil_mode",
                                                    "center_point_box",
                                                    "coordinate_transformation_mode",
                                                    "count",
                                                    "count_include_pad",
                                                    "cubic_coeff_a",
                                                    "dilations",
                                                    "end",
                                                    "ends",
                                                    "epsilon",
                                                    "exclude_outside",
                                                    "fmod",
                                                    "group",
                                                    "k",
                                                    "keepdims",
                                                    "kernel_shape",
                                                    "largest",
                                                    "max",
                                                    "min",
                                                    "mode",
                                                    "nearest_mode",
                                                    "noop_with_empty_axes",
                                                    "num_outputs",
                                                    "op",
                                                    "output_padding",
                                                    "output_shape",
                                                    "pads",
                                                    "perm",
                                                    "pixel_axes",
                                                    "row_pixels",
                                                    "scales",
                                                    "select_last_index",
                                                    "shape",
                                                    "size",
                                                    "sorted",
                                                    "split",
                                                    "start",
                                                    "starts",
                                                    "steps",
                                                    "storage_order",
                                                    "strides",
                                                    "to",
                                                    "training_mode",
                                                    "transA",
                                                    "transB",
                                                    "value",
                                                    "value_int",
                                                    "value_ints"};
    std::string key = kNames[Pick(kNames.size())];
    if (!node.attributes.empty() && Chance(60))
      key = std::next(node.attributes.begin(), static_cast<ptrdiff_t>(Pick(node.attributes.size())))
                ->first;
    auto& attribute = node.attributes[key];
    const auto nasty_list = [&](size_t size) {
      IntList list(size);
      for (int64_t& i : list) i = Nasty();
      return list;
    };
    if (auto* ints = std::get_if<IntList>(&attribute);
        ints != nullptr && !ints->empty() && Chance(70)) {
      (*ints)[Pick(ints->size())] = Nasty();
      return;
    }
    switch (Pick(6)) {
      case 0:
      case 1:
        attribute = Nasty();
        return;
      case 2:
        attribute = nasty_list(Pick(9));
        return;
      case 3:
        attribute = NastyFloat();
        return;
      case 4:
        attribute = std::string(Chance(50) ? "SAME_UPPER" : Chance(50) ? "reflect" : "linear");
        return;
      default:
        node.attributes.erase(key);
    }
  }

  void Mutate(Node& node) {
    const auto value = [&](ValueId id) -> Value& { return graph_.values[static_cast<size_t>(id)]; };
    const auto some_input = [&] {
      return node.inputs.empty() ? kNoValue : node.inputs[Pick(node.inputs.size())];
    };
    switch (Pick(10)) {
      case 0:
      case 1:
      case 2:
        return MutateAttribute(node);
      case 3:
      case 4: {
        const ValueId id = some_input();
        if (id == kNoValue) return;
        Value& v = value(id);
        if (v.constant != nullptr) {
          v.constant = std::make_shared<const Tensor>(NastyConstant(*v.constant));
          v.shape = v.constant->shape;
          v.dtype = v.constant->dtype;
        } else if (v.shape && !v.shape->empty() && Chance(60)) {
          int64_t& dim = (*v.shape)[Pick(v.shape->size())];
          dim = std::max<int64_t>(Nasty(), -1);
        } else if (std::ranges::find(graph_.inputs, id) != graph_.inputs.end()) {
          v.shape = NastyShape(false);
        }
        return;
      }
      case 5: {
        const ValueId id = some_input();
        if (id != kNoValue && value(id).constant == nullptr) value(id).dtype = AnyType();
        return;
      }
      case 6:  // a constant that a camera delivers
        for (const ValueId id : node.inputs) {
          if (id == kNoValue || value(id).constant == nullptr || Chance(50)) continue;
          value(id).constant = nullptr;
          graph_.inputs.push_back(id);
        }
        return;
      case 7:
        if (node.inputs.empty()) return;
        if (Chance(50)) {
          node.inputs[Pick(node.inputs.size())] = kNoValue;
        } else {
          node.inputs.resize(Pick(node.inputs.size() + 1));
        }
        return;
      case 8:
        if (!node.inputs.empty()) node.inputs.push_back(some_input());
        return;
      default:
        if (Chance(50)) {
          Value more;
          more.name = "more" + std::to_string(graph_.values.size());
          node.outputs.push_back(graph_.AddValue(more));
          graph_.outputs.push_back(node.outputs.back());
        } else {  // the first output is not wanted
          std::erase(graph_.outputs, node.outputs[0]);
          bool read = false;
          for (const Node& other : graph_.nodes)
            read = read || std::ranges::find(other.inputs, node.outputs[0]) != other.inputs.end();
          if (!read) node.outputs[0] = kNoValue;
        }
    }
  }

  std::mt19937 rng_;
  Graph graph_;
};

/// Plans; if there is a plan of reasonable size, runs three steps. Returns whether it ran.
bool PlanAndRun(const Model& model, uint32_t seed) {
  PlanOptions options;
  options.max_state_bytes = uint64_t{64} << 20;
  const auto unsupported = Plan::Check(model, options);
  const auto plan = Plan::Compile(model, options);
  if (!unsupported.empty()) {
    EXPECT_FALSE(plan.ok()) << "checked: " << unsupported[0].reason;
  }
  if (!plan.ok()) {
    EXPECT_FALSE(plan.error().message.empty());
    EXPECT_EQ(plan.error().message.find('\n'), std::string::npos) << plan.error().message;
    return false;
  }
  if ((*plan)->macs() > 50'000'000) return false;
  // What depends on the data is not in that number.
  if (!(*plan)->state().dynamic.empty() && (*plan)->state_bytes() > 100'000) return false;
  StreamOptions threads;
  threads.threads = 1 + static_cast<int>(seed % 2);
  auto stream = Stream::Create(*plan, threads);
  if (!stream.ok()) return false;
  std::mt19937 rng(seed);
  for (int step = 0; step < 3; ++step) {
    for (size_t i = 0; i < (*plan)->inputs().size(); ++i) {
      const TensorInfo& info = (*plan)->inputs()[i];
      Tensor tensor(info.dtype, info.shape);
      for (size_t b = 0; b < tensor.bytes.size(); b += 1 + rng() % (step == 2 ? 977 : 3))
        tensor.bytes[b] = static_cast<std::byte>(rng() & 63);  // small numbers, for most types
      EXPECT_TRUE(stream->SetInput(i, tensor).ok());
    }
    if (!stream->Step().ok()) return false;  // a node that depends on the data may refuse it
    for (size_t o = 0; o < (*plan)->outputs().size(); ++o) (void)BytesOf(stream->Output(o));
  }
  return true;
}

/// Peak memory of the process so far, in MiB.
int64_t PeakMemory() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_maxrss >> 10;
}

/// Calls `run(seed)`, which tells whether the model ran, until the time is over.
template <class Run>
void Fuzz(const Run& run) {
  const bool trace = std::getenv("DELTACNN_TRACE") != nullptr;
  if (const char* seed = std::getenv("DELTACNN_SEED")) {
    run(static_cast<uint32_t>(std::strtoul(seed, nullptr, 10)));
    return;
  }
  const char* text = std::getenv("DELTACNN_FUZZ_SECONDS");
  const std::chrono::seconds limit(text != nullptr ? std::atoi(text) : 6);
  const auto start = std::chrono::steady_clock::now();
  const char* from = std::getenv("DELTACNN_FIRST_SEED");
  const uint32_t first = from != nullptr   ? static_cast<uint32_t>(std::strtoul(from, nullptr, 10))
                         : text != nullptr ? std::random_device()()
                                           : 1;
  uint32_t models = 0;
  uint32_t ran = 0;
  int64_t peak = PeakMemory();
  for (; std::chrono::steady_clock::now() - start < limit && !::testing::Test::HasFailure();
       ++models) {
    const uint32_t seed = first + models;
    if (trace) std::cerr << "DELTACNN_SEED=" << seed << std::endl;
    const auto before = std::chrono::steady_clock::now();
    if (run(seed)) ++ran;
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - before;
    if (trace && took.count() > 0.3) std::cerr << "  took " << took.count() << " s\n";
    if (trace && PeakMemory() > peak + 50)
      std::cerr << "  needed " << (peak = PeakMemory()) << " MiB\n";
    ASSERT_FALSE(::testing::Test::HasFailure())
        << "DELTACNN_SEED=" << seed << " repeats this model";
  }
  std::cout << models << " models from seed " << first << ", " << ran << " of them ran, peak "
            << PeakMemory() << " MiB\n";
#if !defined(__SANITIZE_ADDRESS__)
  EXPECT_LT(PeakMemory(), 2048);
#endif
}

TEST(Hostile, MutatedNodesAreRefusedOrRun) {
  const auto cases = AllNodeCases();
  Fuzz([&](uint32_t seed) {
    const Graph graph = Mutator(seed).Make(cases);
    if (std::getenv("DELTACNN_SEED") != nullptr) std::cout << Describe(graph) << std::flush;
    return PlanAndRun(Model(graph), seed);
  });
}

TEST(Hostile, MutatedFilesAreRefusedOrRun) {
  std::vector<std::string> files;
  for (const NodeCase& c : AllNodeCases()) files.push_back(OnnxBytes(ModelGraph(c.test)));
  for (uint32_t seed = 0; seed < 30; ++seed)
    files.push_back(OnnxBytes(RandomNetwork(seed).graph()));
  Fuzz([&](uint32_t seed) {
    std::mt19937 rng(seed);
    std::string bytes = files[rng() % files.size()];
    for (size_t n = 1 + rng() % 4; n > 0 && !bytes.empty(); --n) {
      const size_t at = rng() % bytes.size();
      switch (rng() % 5) {
        case 0:
          bytes[at] = static_cast<char>(bytes[at] ^ (1 << rng() % 8));
          break;
        case 1:
          bytes[at] = static_cast<char>(rng());
          break;
        case 2:
          bytes.erase(at, 1 + rng() % 4);
          break;
        case 3:
          bytes.insert(at, 1 + rng() % 4, static_cast<char>(rng()));
          break;
        default: {  // a piece of another model
          const std::string& other = files[rng() % files.size()];
          bytes.insert(at, other.substr(rng() % other.size(), 1 + rng() % 60));
        }
      }
    }
    const auto model = Model::Parse(bytes);
    if (model.ok() && std::getenv("DELTACNN_SEED") != nullptr)
      std::cout << Describe((*model)->graph()) << std::flush;
    return model.ok() && PlanAndRun(**model, seed);
  });
}

TEST(Hostile, UnchangedFilesRun) {
  for (uint32_t seed = 100; seed < 130; ++seed) {
    const RandomNetwork network(seed);
    const auto model = Model::Parse(OnnxBytes(network.graph()));
    ASSERT_TRUE(model.ok()) << model.error().message;
    const auto plan = Plan::Compile(**model);
    ASSERT_TRUE(plan.ok()) << plan.error().message;
    EXPECT_EQ((*plan)->inputs().size(), network.graph().inputs.size());
  }
}

TEST(Hostile, ManyNodesTogetherMayNotFillTheMemory) {
  GraphMaker net;
  net.most_elements = kMax;
  const ValueId x = net.Input("x", {1});
  for (int i = 0; i < 40; ++i) {
    const ValueId shape = net.Constant(Ints({1 << 13, 1 << 13}));
    const ValueId filled = net.AddUnchecked("ConstantOfShape", {shape})[0];
    net.Output(net.AddUnchecked("Add", {filled, x})[0]);
  }
  const auto plan = Plan::Compile(Model(net.graph));
  ASSERT_FALSE(plan.ok());
  EXPECT_EQ(plan.error().code, ErrorCode::kLimit);
}

TEST(Hostile, TablesOfAddressesCount) {
  GraphMaker net;
  net.most_elements = kMax;
  ValueId x = net.Input("x", {1 << 22, 1, 1});
  for (int i = 0; i < 6; ++i) x = net.AddUnchecked("Softmax", {x}, {{"axis", int64_t{1}}})[0];
  net.Output(x);
  PlanOptions options;
  options.max_state_bytes = uint64_t{600} << 20;  // three times the values themselves
  const auto plan = Plan::Compile(Model(net.graph), options);
  ASSERT_FALSE(plan.ok());
  EXPECT_EQ(plan.error().code, ErrorCode::kLimit);
}

TEST(Hostile, LongRunsOfFunctionsAndMovesArePlannedInTheirSize) {
  // With names or chains that are copied from each to the next, this takes gigabytes.
  GraphMaker net;
  ValueId x = net.Input("x", {1, 2, 2, 2});
  for (int i = 0; i < 1000; ++i) {
    x = net.AddUnchecked("Relu", {x})[0];
    x = net.AddUnchecked("Reshape", {x, net.Constant(Ints({1, 2, i % 2 + 1, 4 / (i % 2 + 1)}))})[0];
  }
  net.Output(x);
  rusage before{};
  getrusage(RUSAGE_SELF, &before);
  EXPECT_TRUE(Plan::Compile(Model(net.graph)).ok());
  rusage after{};
  getrusage(RUSAGE_SELF, &after);
  EXPECT_LT(after.ru_maxrss - before.ru_maxrss, 1 << 20);  // KiB
}

TEST(Hostile, WhatTheDataAskForMayNotFillTheMemory) {
  GraphMaker net;
  const ValueId shape = net.Input("shape", {2}, DType::kInt64);
  const ValueId filled = net.AddUnchecked("ConstantOfShape", {shape})[0];
  net.Output(net.AddUnchecked("Identity", {net.AddUnchecked("Identity", {filled})[0]})[0]);
  PlanOptions options;
  options.max_state_bytes = uint64_t{8} << 20;
  const auto plan = Plan::Compile(Model(net.graph), options);
  ASSERT_TRUE(plan.ok()) << plan.error().message;
  auto stream = Stream::Create(*plan);
  ASSERT_TRUE(stream.ok());
  const auto step = [&](int64_t side) {
    EXPECT_TRUE(stream->SetInput(0, Ints({side, side})).ok());
    return stream->Step();
  };
  EXPECT_TRUE(step(300).ok());
  for (const int64_t side : {700, 2000, 20000, 1 << 30}) {
    const auto refused = step(side);
    ASSERT_FALSE(refused.ok()) << side;
    EXPECT_EQ(refused.error().code, ErrorCode::kLimit) << refused.error().message;
  }
  EXPECT_TRUE(step(300).ok());
}

}  // namespace
}  // namespace deltacnn::testing
