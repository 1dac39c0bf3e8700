// `deltacnn bench`: dense and incremental steps, timed in turns.
#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <random>
#include <utility>

#include "commands.h"
#include "loader.h"
#include "pipeline.h"
#include "report.h"
#include "terminal.h"

namespace deltacnn::cli {
namespace {

constexpr size_t kFewestSteps = 3;

struct Row {
  double active = 0;  // share of the input pixels that change in a step
  Samples changed = {};
  Samples macs_share = {};
  Samples dense_ms = {};
  Samples step_ms = {};
};

/// Steps both streams once, in turns who comes first.
Status StepBoth(Stream& incremental, Stream& dense, Row& row) {
  const bool dense_first = row.step_ms.size() % 2 == 0;
  for (const bool is_dense : {dense_first, !dense_first}) {
    if (is_dense) dense.Reset();
    Stream& stream = is_dense ? dense : incremental;
    const Stopwatch watch;
    const auto report = stream.Step();
    const double ms = watch.ms();
    if (!report.ok()) return report.error();
    if (is_dense) {
      row.dense_ms.Add(ms);
    } else {
      row.step_ms.Add(ms);
      row.changed.Add(report->input_changed);
      row.macs_share.Add(report->macs_share);
    }
  }
  return {};
}

/// From 0 up to `slack` and down again.
int Bounce(int64_t step, int slack) {
  if (slack == 0) return 0;
  const auto phase = static_cast<int>(step % (2 * slack));
  return phase <= slack ? phase : 2 * slack - phase;
}

/// A noise picture in which two rectangles, one in each half, move slowly and get new noise with
/// every step.
class SyntheticInput {
 public:
  SyntheticInput(const ImageTarget& first, const ImageTarget& second, const InputSpec& spec)
      : first_(first), second_(second), spec_(spec) {
    Fill(0, 0, first.width, first.height);
  }

  /// Changes this share of the pixels.
  void Change(double share) {
    if (share <= 0) return;
    const int left = first_.width / 2;
    ChangeHalf(0, left, share);
    ChangeHalf(left, first_.width - left, share);
    ++step_;
  }

 private:
  void ChangeHalf(int x, int half, double share) {
    if (half == 0) return;
    const int height = first_.height;
    const int w = std::clamp(static_cast<int>(std::lround(half * std::sqrt(share))), 1, half);
    const int h = std::clamp(static_cast<int>(std::lround(share * half * height / w)), 1, height);
    Fill(x + Bounce(step_, half - w), Bounce(step_, height - h), w, h);
  }

  void Fill(int x0, int y0, int width, int height) {
    for (int y = y0; y < y0 + height; ++y) {
      for (int x = x0; x < x0 + width; ++x) {
        for (int c = 0; c < first_.channels; ++c) {
          const auto spec = static_cast<size_t>(std::min(c, 2));
          const float value = (Level() - spec_.mean[spec]) / spec_.std[spec];
          first_.Pixel(y, x)[c * first_.channel_stride] = value;
          second_.Pixel(y, x)[c * second_.channel_stride] = value;
        }
        first_.Mark(y, x);
        second_.Mark(y, x);
      }
    }
  }

  float Level() { return static_cast<float>(random_() >> 8 & 0xFF); }

  ImageTarget first_;
  ImageTarget second_;
  const InputSpec& spec_;
  std::minstd_rand random_;
  int64_t step_ = 0;
};

Result<std::vector<Row>> Synthetic(const BenchArguments& arguments, const VisionModel& model,
                                   const RunPolicy& policy) {
  StreamOptions options;
  options.threads = ThreadCount(arguments.model);
  auto dense = Stream::Create(model.plan, options);
  if (!dense.ok()) return dense.error();
  options.policy = policy.layers;
  auto incremental = Stream::Create(model.plan, options);
  if (!incremental.ok()) return incremental.error();
  const auto first = incremental->Image(0);
  if (!first.ok()) return first.error();
  const auto second = dense->Image(0);
  if (!second.ok()) return second.error();
  SyntheticInput input(*first, *second, model.preset.input);
  Row warm_up;
  DELTACNN_RETURN_IF_ERROR(StepBoth(*incremental, *dense, warm_up));

  Progress progress;
  std::vector<Row> rows;
  for (const double active : arguments.active) {
    Row& row = rows.emplace_back(Row{.active = active});
    const Stopwatch watch;
    while (!Interrupted() &&
           (row.step_ms.size() < kFewestSteps || watch.ms() < 1e3 * arguments.seconds)) {
      input.Change(active);
      DELTACNN_RETURN_IF_ERROR(StepBoth(*incremental, *dense, row));
      if (progress.due()) progress.Show("active " + FormatShare(active));
    }
    if (row.step_ms.size() == 0) rows.pop_back();  // interrupted
  }
  return rows;
}

Result<std::vector<Row>> OnVideo(const BenchArguments& arguments, const VisionModel& model,
                                 const RunPolicy& policy) {
  const int threads = ThreadCount(arguments.model);
  auto incremental = Pipeline::Create(model, policy, threads);
  if (!incremental.ok()) return incremental.error();
  auto dense = Pipeline::Create(model, RunPolicy{.name = "exact"}, threads);
  if (!dense.ok()) return dense.error();
  VideoOptions options;
  options.stop = &Interrupted();
  auto source = VideoSource::Open(arguments.video, options);
  if (!source.ok()) return source.error();

  Progress progress;
  Row warm_up;
  Row row;
  const Stopwatch watch;
  for (int64_t frames = 0; !Interrupted(); ++frames) {
    if (row.step_ms.size() >= kFewestSteps && watch.ms() >= 1e3 * arguments.seconds) break;
    const auto frame = source->Next();
    if (!frame.ok()) return frame.error();
    if (!*frame) break;
    dense->Reset();
    DELTACNN_RETURN_IF_ERROR(dense->Feed(**frame));
    DELTACNN_RETURN_IF_ERROR(incremental->Feed(**frame));
    DELTACNN_RETURN_IF_ERROR(
        StepBoth(incremental->stream(), dense->stream(), frames == 0 ? warm_up : row));
    if (progress.due()) progress.Show(fmt::format("frame {}", frames));
  }
  if (row.step_ms.size() == 0) {
    return Error{ErrorCode::kUsage,
                 arguments.video + ": has a single frame; nothing can be compared with it"};
  }
  row.active = row.changed.Mean();
  return std::vector<Row>{std::move(row)};
}

double Speedup(const Row& row) {
  return row.step_ms.Median() > 0 ? row.dense_ms.Median() / row.step_ms.Median() : 0;
}

void Print(const std::vector<Row>& rows) {
  Table table;
  table.Add({"active", "dense ms", "step ms", "speedup", "MACs", "steps"});
  for (const Row& row : rows) {
    table.Add({FormatShare(row.active), fmt::format("{:.3f}", row.dense_ms.Median()),
               fmt::format("{:.3f}", row.step_ms.Median()), fmt::format("{:.2f}x", Speedup(row)),
               FormatShare(row.macs_share.Mean()), std::to_string(row.step_ms.size())});
  }
  fmt::print("{}", table.Format());
}

Json RowsJson(const std::vector<Row>& rows) {
  Json list = Json::array();
  for (const Row& row : rows) {
    list.push_back({{"active", row.active},
                    {"dense_ms", row.dense_ms.Median()},
                    {"step_ms", row.step_ms.Median()},
                    {"speedup", Speedup(row)},
                    {"macs_share", row.macs_share.Mean()},
                    {"steps", row.step_ms.size()}});
  }
  return list;
}

}  // namespace

Status Bench(const BenchArguments& arguments) {
  const auto policy = FindPolicy(arguments.policy);
  if (!policy.ok()) return policy.error();
  const auto model = LoadVisionModel(arguments.model, "");
  if (!model.ok()) return model.error();
  const auto rows = arguments.video.empty() ? Synthetic(arguments, *model, *policy)
                                            : OnVideo(arguments, *model, *policy);
  if (!rows.ok()) return rows.error();

  const Plan& plan = *model->plan;
  Json json;
  json["rows"] = RowsJson(*rows);
  json["macs"] = plan.macs();
  json["state_bytes"] = plan.state_bytes();
  json["weights_bytes"] = plan.weight_bytes();
  json["isa"] = plan.isa();
  json["threads"] = ThreadCount(arguments.model);
  json["policy"] = policy->name;
  json["model"] = arguments.model.path;
  json["video"] = arguments.video.empty() ? Json(nullptr) : Json(arguments.video);
  fmt::print(stderr, "{}\n", policy->GivesUp());
  if (Interrupted()) fmt::print(stderr, "interrupted: the results are those so far\n");
  if (arguments.json != "-") {
    Print(*rows);
    fmt::print("{} MACs, {} threads, {}, {} of weights, {} of state\n",
               FormatCount(static_cast<double>(plan.macs())), ThreadCount(arguments.model),
               plan.isa(), FormatBytes(plan.weight_bytes()), FormatBytes(plan.state_bytes()));
  }
  return arguments.json.empty() ? Status() : WriteJson(arguments.json, json);
}

}  // namespace deltacnn::cli
