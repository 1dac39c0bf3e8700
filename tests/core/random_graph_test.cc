// The promise of the engine, on random networks and random changes: whatever changed, a step leaves
// exactly the bits that a dense step over the same inputs computes.
//
// DELTACNN_FUZZ_SECONDS: how long to try (default 20); DELTACNN_SEED: one network again.
#include <chrono>
#include <cstdlib>
#include <iostream>

#include "core/evaluate.h"
#include "random_network.h"

namespace deltacnn::testing {
namespace {

using Bits = std::vector<std::vector<std::byte>>;

/// The inputs of a network, and how they change from frame to frame.
class Frames {
 public:
  Frames(const Graph& graph, uint32_t seed) : rng_(seed) {
    for (const ValueId id : graph.inputs) {
      tensors_.push_back(RandomTensor(rng_, *graph.values[static_cast<size_t>(id)].shape));
      before_.push_back(tensors_.back());
    }
  }

  const std::vector<Tensor>& tensors() const { return tensors_; }

  void Advance() {
    for (size_t i = 0; i < tensors_.size(); ++i) {
      if (i > 0 && rng_() % 2 == 0) continue;
      Tensor old = tensors_[i];
      Change(tensors_[i], before_[i]);
      before_[i] = std::move(old);
    }
  }

  /// Everything is new.
  void Replace() {
    for (Tensor& tensor : tensors_)
      for (float& v : tensor.as<float>()) v = std::uniform_real_distribution<float>(-1, 1)(rng_);
  }

 private:
  void Change(Tensor& tensor, const Tensor& before) {
    const auto values = tensor.as<float>();
    std::uniform_real_distribution<float> any(-1, 1);
    const auto element = [&] { return rng_() % values.size(); };
    switch (rng_() % 9) {
      case 0:  // nothing
        return;
      case 1:
        values[element()] = any(rng_);
        return;
      case 2:
      case 3:
      case 4: {  // a block of an image
        const Shape& shape = tensor.shape;
        const auto height = static_cast<size_t>(shape[2]);
        const auto width = static_cast<size_t>(shape[3]);
        const size_t top = rng_() % height;
        const size_t left = rng_() % width;
        const size_t bottom = std::min(height, top + 1 + rng_() % 6);
        const size_t right = std::min(width, left + 1 + rng_() % 9);
        for (size_t plane = 0; plane < values.size() / (height * width); ++plane)
          for (size_t y = top; y < bottom; ++y)
            for (size_t x = left; x < right; ++x)
              values[(plane * height + y) * width + x] = any(rng_);
        return;
      }
      case 5:  // scattered
        for (size_t n = 1 + values.size() / 50; n > 0; --n) values[element()] = any(rng_);
        return;
      case 6:  // back to what it was
        tensor = before;
        return;
      case 7:  // so little that later layers may round it away; and the sign of a zero
        values[element()] *= 1.0000001f;
        values[element()] = rng_() % 2 == 0 ? 0.0f : -0.0f;
        return;
      default:
        for (float& v : values) v = any(rng_);
    }
  }

  std::mt19937 rng_;
  std::vector<Tensor> tensors_, before_;
};

/// Writes one input through its window, as the video layer does, and marks what it wrote.
void WriteImage(const ImageTarget& target, const Tensor& tensor, std::mt19937& rng) {
  const auto values = tensor.as<float>();
  const auto height = static_cast<size_t>(target.height);
  const auto width = static_cast<size_t>(target.width);
  const auto channels = static_cast<size_t>(target.channels);
  const bool nhwc = tensor.shape[1] != target.channels;
  for (size_t y = 0; y < height; ++y) {
    for (size_t x = 0; x < width; ++x) {
      float* pixel = target.Pixel(static_cast<int>(y), static_cast<int>(x));
      bool changed = rng() % 64 == 0;  // a mark without a change costs time, but is allowed
      for (size_t c = 0; c < channels; ++c) {
        const float value =
            values[nhwc ? (y * width + x) * channels + c : (c * height + y) * width + x];
        float& stored = pixel[static_cast<ptrdiff_t>(c) * target.channel_stride];
        changed = changed || std::memcmp(&stored, &value, sizeof value) != 0;
        stored = value;
      }
      if (changed) target.Mark(static_cast<int>(y), static_cast<int>(x));
    }
  }
}

void WriteInputs(Stream& stream, const std::vector<Tensor>& tensors, std::mt19937& rng) {
  for (size_t i = 0; i < tensors.size(); ++i) {
    const auto image = stream.Image(i);
    if (image.ok() && rng() % 2 == 0) {
      WriteImage(*image, tensors[i], rng);
    } else {
      const Status status = stream.SetInput(i, tensors[i]);
      ASSERT_TRUE(status.ok()) << status.error().message;
    }
  }
}

Stream NewStream(const std::shared_ptr<const Plan>& plan, int threads) {
  StreamOptions options;
  options.threads = threads;
  auto stream = Stream::Create(plan, options);
  EXPECT_TRUE(stream.ok()) << stream.error().message;
  return std::move(stream).value();
}

Result<std::shared_ptr<const Plan>> PlanOf(const RandomNetwork& network, const std::string& isa) {
  PlanOptions options;
  options.isa = isa;
  return Plan::Compile(Model(network.graph()), options);
}

Bits DenseRun(Stream stream, const std::vector<Tensor>& tensors) {
  for (size_t i = 0; i < tensors.size(); ++i) EXPECT_TRUE(stream.SetInput(i, tensors[i]).ok());
  EXPECT_TRUE(stream.Step().ok());
  return OutputsOf(stream);
}

void ExpectSame(const Stream& stream, const Bits& want, const std::string& what) {
  const Bits got = OutputsOf(stream);
  for (size_t o = 0; o < want.size(); ++o)
    ASSERT_TRUE(got[o] == want[o]) << what << ": output " << stream.plan().outputs()[o].name;
}

/// Several frames on one stream that is stepped incrementally.
void CheckBits(const RandomNetwork& network, const std::string& isa, uint32_t seed) {
  std::mt19937 rng(seed);
  const auto plan = PlanOf(network, isa);
  ASSERT_TRUE(plan.ok()) << plan.error().message;
  Frames frames(network.graph(), seed);
  Stream one = NewStream(*plan, 1);
  Stream three = NewStream(*plan, 3);
  for (int frame = 0; frame < 6; ++frame) {
    if (frame > 0) frames.Advance();
    const Bits want = DenseRun(NewStream(*plan, frame % 2 == 0 ? 1 : 3), frames.tensors());
    for (Stream* stream : {&one, &three}) {
      WriteInputs(*stream, frames.tensors(), rng);
      const auto report = stream->Step();
      ASSERT_TRUE(report.ok()) << report.error().message;
      EXPECT_EQ(report->dense, frame == 0);
      const std::string what = isa + ", frame " + std::to_string(frame) +
                               (stream == &one ? ", 1 thread" : ", 3 threads");
      ExpectSame(*stream, want, what);
      if (::testing::Test::HasFatalFailure()) return;
      ASSERT_TRUE(stream->Step().ok());  // nothing changed
      ExpectSame(*stream, want, what + ", stepped again");
      if (::testing::Test::HasFatalFailure()) return;
      for (const LayerWork& layer : stream->work()) ASSERT_EQ(layer.computed, 0);
    }
  }
}

/// Scenes in which everything changes, so that the stream keeps nothing, and calm ones in turn.
void CheckBusyFrames(const RandomNetwork& network, const std::string& isa, uint32_t seed) {
  std::mt19937 rng(seed);
  const auto plan = PlanOf(network, isa);
  ASSERT_TRUE(plan.ok()) << plan.error().message;
  Frames frames(network.graph(), seed);
  Stream stream = NewStream(*plan, 1 + static_cast<int>(rng() % 3));
  constexpr std::string_view kScene = "!!!!..!!!.!!";
  for (size_t frame = 0; frame < kScene.size(); ++frame) {
    kScene[frame] == '!' ? frames.Replace() : frames.Advance();
    if (rng() % 8 == 0) stream.Reset();
    WriteInputs(stream, frames.tensors(), rng);
    ASSERT_TRUE(stream.Step().ok());
    ExpectSame(stream, DenseRun(NewStream(*plan, 1), frames.tensors()),
               isa + ", frame " + std::to_string(frame) + " of " + std::string(kScene));
    if (::testing::Test::HasFatalFailure()) return;
  }
}

/// The plan as a whole against its nodes, each planned and run on its own.
void CheckValues(const RandomNetwork& network, uint32_t seed) {
  const Graph& graph = network.graph();
  auto plan = Plan::Compile(Model(graph));
  ASSERT_TRUE(plan.ok()) << plan.error().message;
  const Frames frames(graph, seed);
  const Bits got = DenseRun(NewStream(*plan, 1), frames.tensors());

  std::map<ValueId, TensorPtr> values;
  for (size_t i = 0; i < graph.inputs.size(); ++i)
    values[graph.inputs[i]] = std::make_shared<const Tensor>(frames.tensors()[i]);
  for (const Node& node : graph.nodes) {
    std::vector<TensorPtr> inputs;
    for (const ValueId id : node.inputs)
      inputs.push_back(id == kNoValue       ? nullptr
                       : graph.Constant(id) ? graph.Constant(id)
                                            : values.at(id));
    auto outputs = Evaluate(node, inputs, graph.opset, uint64_t{1} << 30);
    ASSERT_TRUE(outputs.ok()) << outputs.error().message;
    for (size_t o = 0; o < node.outputs.size(); ++o)
      values[node.outputs[o]] = std::make_shared<const Tensor>(std::move((*outputs)[o]));
  }
  for (size_t o = 0; o < graph.outputs.size(); ++o) {
    const ValueId id = graph.outputs[o];
    const Tensor& want = *values.at(id);
    ASSERT_EQ(got[o].size(), want.bytes.size());
    if (want.dtype != DType::kFloat32 || network.rough(id)) continue;
    const auto expected = want.as<float>();
    for (size_t i = 0; i < expected.size(); ++i) {
      float value;
      std::memcpy(&value, got[o].data() + i * sizeof value, sizeof value);
      if (!std::isfinite(expected[i])) continue;
      ASSERT_LE(std::abs(value - expected[i]), 1e-3f * (1 + std::abs(expected[i])))
          << "output %" << id << " element " << i << ": " << value << ", but " << expected[i]
          << " node by node";
    }
  }
}

void CheckSeed(uint32_t seed) {
  const RandomNetwork network(seed);
  CheckValues(network, seed);
  for (const kernels::Table* table : kernels::Available()) {
    if (::testing::Test::HasFailure()) break;
    CheckBits(network, table->name, seed);
    if (::testing::Test::HasFailure()) break;
    CheckBusyFrames(network, table->name, seed);
  }
  ASSERT_FALSE(::testing::Test::HasFailure())
      << "DELTACNN_SEED=" << seed << " repeats this network:\n"
      << Describe(network.graph());
}

TEST(RandomGraph, IncrementalStepsHaveTheBitsOfDenseSteps) {
  if (const char* seed = std::getenv("DELTACNN_SEED"))
    return CheckSeed(static_cast<uint32_t>(std::strtoul(seed, nullptr, 10)));
  const char* text = std::getenv("DELTACNN_FUZZ_SECONDS");
  const std::chrono::seconds limit(text != nullptr ? std::atoi(text) : 20);
  const auto start = std::chrono::steady_clock::now();
  // The fast suite always tries the same networks first; a long run goes where none was before.
  const uint32_t first = text != nullptr ? std::random_device()() : 1;
  uint32_t networks = 0;
  for (; std::chrono::steady_clock::now() - start < limit && !HasFailure(); ++networks)
    CheckSeed(first + networks);
  std::cout << networks << " random networks from seed " << first << "\n";
  EXPECT_GT(networks, 0u);
}

}  // namespace
}  // namespace deltacnn::testing
