// Single convolution layers, through the public API, at several shares of changed pixels:
//   deltacnn_layer_bench --benchmark_filter='3x3'
//
// Columns: GFLOP/s of the pixels computed; the share of what the core can do at best (`peak`);
// `efficiency`: time of all pixels * share / time of the share. Times are the thread's own, of
// whole steps; asking for them takes some tenths of a microsecond.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <memory>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "deltacnn/model.h"
#include "deltacnn/stream.h"
#include "onnx/model_builder.h"
#include "peak.h"

namespace deltacnn::bench {
namespace {

constexpr int kPercents[] = {100, 50, 25, 10, 5, 2, 1};
constexpr int kFullSteps = 15;  // whose median is the time of all pixels

struct Layer {
  const char* name;
  int channels;
  int outputs;
  int side;  // of the output, in pixels
  int kernel = 3;
  int stride = 1;
  bool depthwise = false;
};

constexpr Layer kLayers[] = {
    {"first 3-32 s2 @320", 3, 32, 320, 3, 2},
    {"1x1 24-144 @80", 24, 144, 80, 1},
    {"1x1 144-24 @80", 144, 24, 80, 1},
    {"1x1 64-384 @20", 64, 384, 20, 1},
    {"1x1 384-64 @20", 384, 64, 20, 1},
    {"1x1 320-1280 @10", 320, 1280, 10, 1},
    {"1x1 64-64 @80", 64, 64, 80, 1},
    {"1x1 256-256 @40", 256, 256, 40, 1},
    {"1x1 512-512 @20", 512, 512, 20, 1},
    {"3x3 32 @160", 32, 32, 160},
    {"3x3 64 @80", 64, 64, 80},
    {"3x3 128 @40", 128, 128, 40},
    {"3x3 256 @20", 256, 256, 20},
    {"3x3 512 @10", 512, 512, 10},
    {"3x3 s2 32-64 @160", 32, 64, 160, 3, 2},
    {"3x3 s2 128-256 @40", 128, 256, 40, 3, 2},
    {"dw 144 @80", 144, 144, 80, 3, 1, true},
    {"dw 96 s2 @80", 96, 96, 80, 3, 2, true},
    {"dw 384 @20", 384, 384, 20, 3, 1, true},
    {"dw 32 @160", 32, 32, 160, 3, 1, true},
};

/// A Conv, and a Transpose that costs nothing: rows of pixels are how the engine keeps values, and
/// the caller would have it lay them out anew otherwise.
std::string OnnxBytes(const Layer& layer) {
  const int inputs = layer.depthwise ? 1 : layer.channels;
  const int pad = layer.kernel / 2;
  std::minstd_rand random;
  std::vector<float> weights(static_cast<size_t>(layer.outputs) * inputs * layer.kernel *
                             layer.kernel);
  for (float& weight : weights) weight = static_cast<float>(random() % 1000) / 1000 - 0.5f;
  const std::string_view bytes(reinterpret_cast<const char*>(weights.data()),
                               weights.size() * sizeof(float));
  const auto group = onnx::AttributeMessage(
      "group", onnx::AttributeType::kInt, [&](onnx::Builder<onnx::AttributeField>& field) {
        field.add_int64(onnx::AttributeField::kInt, layer.depthwise ? layer.channels : 1);
      });
  const std::string side = std::to_string(layer.side * layer.stride);
  onnx::ModelBuilder model;
  model.Input("x", {"1", std::to_string(layer.channels), side, side});
  model.Initializer(onnx::RawTensor("w", onnx::kFloat,
                                    {layer.outputs, inputs, layer.kernel, layer.kernel}, bytes));
  model.Node("Conv", {"x", "w"}, {"y"},
             {onnx::IntsAttribute("strides", {layer.stride, layer.stride}),
              onnx::IntsAttribute("pads", {pad, pad, pad, pad}), group});
  model.Node("Transpose", {"y"}, {"rows"}, {onnx::IntsAttribute("perm", {0, 2, 3, 1})});
  model.Output("rows");
  return model.Bytes();
}

[[noreturn]] void Fail(const Error& error) {
  std::fprintf(stderr, "deltacnn_layer_bench: %s\n", error.message.c_str());
  std::exit(1);
}

template <class T>
T Get(Result<T> result) {
  if (!result.ok()) Fail(result.error());
  return std::move(*result);
}

/// A layer, and an input of which parts change.
class LayerRun {
 public:
  explicit LayerRun(const Layer& layer)
      : layer_(layer),
        plan_(Get(Plan::Compile(*Get(Model::Parse(OnnxBytes(layer)))))),
        // Only what lies at the changed pixels is computed, as if changes did not grow.
        stream_(Get(Stream::Create(
            plan_, {.policy = {.reach = 0, .refresh = std::numeric_limits<int>::max()}}))),
        image_(Get(stream_.Image(0))) {
    std::minstd_rand random;
    for (int y = 0; y < image_.height; ++y)
      for (int x = 0; x < image_.width; ++x)
        for (int c = 0; c < image_.channels; ++c)
          image_.Pixel(y, x)[c] = static_cast<float>(random() % 255 + 1) / 255;
    Step();
    std::vector<double> times;
    for (int i = 0; i < kFullSteps; ++i) {
      Change(1);
      times.push_back(Step().first);
    }
    std::ranges::nth_element(times, times.begin() + kFullSteps / 2);
    full_seconds_ = times[kFullSteps / 2];
  }

  double full_seconds() const { return full_seconds_; }
  double macs() const { return static_cast<double>(plan_->macs()); }

  /// Changes about this share of the pixels, in two rectangles that jump about.
  void Change(double share) {
    const int side = layer_.side;
    if (share == 1) return ChangeCells(0, 0, side, side);
    const int half = side / 2;
    const double cells = std::max(share * side * side / 2, 1.0);
    const int w = std::clamp(static_cast<int>(std::lround(std::sqrt(cells / 2))), 1, half);
    const int h = std::clamp(static_cast<int>(std::lround(cells / w)), 1, side);
    for (const int left : {0, half}) {
      ChangeCells(left + 3 * jumps_ % (half - w + 1), 5 * jumps_ % (side - h + 1), w, h);
      ++jumps_;
    }
  }

  /// Seconds, and the share of the multiply-adds that was done.
  std::pair<double, double> Step() {
    const double start = CpuSeconds();
    const auto report = stream_.Step();
    const double seconds = CpuSeconds() - start;
    if (!report.ok()) Fail(report.error());
    return {seconds, report->macs_share};
  }

 private:
  /// In cells of the output.
  void ChangeCells(int x0, int y0, int w, int h) {
    const int stride = layer_.stride;
    for (int y = y0 * stride; y < (y0 + h) * stride; ++y) {
      for (int x = x0 * stride; x < (x0 + w) * stride; ++x) {
        float* pixel = image_.Pixel(y, x);
        for (int c = 0; c < image_.channels; ++c) pixel[c] = -pixel[c];
        image_.Mark(y, x);
      }
    }
  }

  const Layer& layer_;
  std::shared_ptr<const Plan> plan_;
  Stream stream_;
  ImageTarget image_;
  double full_seconds_ = 0;
  int jumps_ = 0;
};

void Run(benchmark::State& state, const Layer& layer, double share) {
  static const double peak = PeakGflops();
  LayerRun run(layer);
  double seconds = 0;
  double shares = 0;
  for (auto iteration : state) {
    (void)iteration;
    run.Change(share);
    const auto [time, done] = run.Step();
    state.SetIterationTime(time);
    seconds += time;
    shares += done;
  }
  const auto steps = static_cast<double>(state.iterations());
  const double gflops = 2 * run.macs() * shares / seconds / 1e9;
  state.counters["share"] = shares / steps;
  state.counters["GFLOP/s"] = gflops;
  state.counters["of_peak"] = gflops / peak;
  state.counters["efficiency"] = run.full_seconds() * shares / seconds;
}

}  // namespace
}  // namespace deltacnn::bench

int main(int argc, char** argv) {
  using deltacnn::bench::Layer;
  for (const Layer& layer : deltacnn::bench::kLayers) {
    for (const int percent : deltacnn::bench::kPercents) {
      const std::string name = std::string(layer.name) + "/" + std::to_string(percent) + "%";
      benchmark::RegisterBenchmark(
          name.c_str(),
          [&layer, percent](benchmark::State& state) { Run(state, layer, percent / 100.0); })
          ->UseManualTime()
          ->Unit(benchmark::kMicrosecond);
    }
  }
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  std::printf("peak: %.0f GFLOP/s on this core\n", deltacnn::bench::PeakGflops());
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
