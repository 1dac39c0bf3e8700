// The change map and the preprocessing of the first frames of a video, held in memory:
//   deltacnn_picture_bench VIDEO WIDTH HEIGHT [--benchmark_min_time=1]
//
// WIDTH and HEIGHT are those of the network's input; nine frames, forwards and backwards. Times are
// the thread's own, of a frame.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <string>
#include <vector>

#include "deltacnn/video.h"

namespace deltacnn::bench {
namespace {

constexpr int kFrames = 9;
constexpr float kTolerance = 5;  // of `balanced`

class Frames {
 public:
  Status Read(const std::string& path) {
    auto source = VideoSource::Open(path);
    if (!source.ok()) return source.error();
    while (views_.size() < kFrames) {
      const auto frame = source->Next();
      if (!frame.ok()) return frame.error();
      if (!*frame) break;
      views_.push_back((*frame)->CopyTo(pixels_.emplace_back()));
    }
    if (views_.size() < 2) return Error{ErrorCode::kIo, path + ": fewer than two frames"};
    return {};
  }

  const FrameView& Next() {
    if (at_ + step_ < 0 || at_ + step_ >= static_cast<int>(views_.size())) step_ = -step_;
    at_ += step_;
    return views_[at_];
  }

 private:
  std::deque<std::vector<uint8_t>> pixels_;
  std::vector<FrameView> views_;
  int at_ = 0;
  int step_ = 1;
};

void ChangeMap(benchmark::State& state, Frames& frames) {
  ChangeDetector detector({.tolerance = kTolerance});
  double changed = 0;
  (void)detector.Update(frames.Next());
  for (auto _ : state) {
    (void)detector.Update(frames.Next());
    const BlockMap& map = detector.changed();
    changed += static_cast<double>(map.count) / (map.columns * map.rows);
  }
  state.counters["changed"] = changed / static_cast<double>(state.iterations());
}

void Preprocessing(benchmark::State& state, Frames& frames, int width, int height) {
  ChangeDetector detector({.tolerance = kTolerance});
  Preprocessor preprocessor;
  std::vector<float> input(static_cast<size_t>(width) * height * 3);
  const int words = (width + 63) / 64;
  std::vector<uint64_t> marks(static_cast<size_t>(words) * height);
  const ImageTarget target = {.data = input.data(),
                              .height = height,
                              .width = width,
                              .channels = 3,
                              .row_stride = ptrdiff_t{3} * width,
                              .pixel_stride = 3,
                              .changed = marks.data(),
                              .words_per_row = words};
  const auto update = [&] {
    (void)detector.Update(frames.Next());
    std::fill(marks.begin(), marks.end(), 0);
  };
  update();
  (void)preprocessor.Apply(detector.held(), detector.changed(), target);
  double changed = 0;
  for (auto _ : state) {
    state.PauseTiming();
    update();
    state.ResumeTiming();
    const auto count = preprocessor.Apply(detector.held(), detector.changed(), target);
    changed += static_cast<double>(count.ok() ? *count : 0) / (static_cast<double>(width) * height);
  }
  state.counters["changed"] = changed / static_cast<double>(state.iterations());
}

}  // namespace
}  // namespace deltacnn::bench

int main(int argc, char** argv) {
  using namespace deltacnn::bench;
  benchmark::Initialize(&argc, argv);
  const int width = argc == 4 ? std::atoi(argv[2]) : 0;
  const int height = argc == 4 ? std::atoi(argv[3]) : 0;
  if (width < 1 || height < 1) {
    std::fprintf(stderr, "usage: %s VIDEO WIDTH HEIGHT\n", argv[0]);
    return 2;
  }
  Frames frames;
  if (const deltacnn::Status read = frames.Read(argv[1]); !read.ok()) {
    std::fprintf(stderr, "%s\n", read.error().message.c_str());
    return 1;
  }
  benchmark::RegisterBenchmark("change map", [&](benchmark::State& state) {
    ChangeMap(state, frames);
  })->Unit(benchmark::kMillisecond);
  benchmark::RegisterBenchmark("preprocessing", [&](benchmark::State& state) {
    Preprocessing(state, frames, width, height);
  })->Unit(benchmark::kMillisecond);
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
