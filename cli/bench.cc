// `deltacnn bench`: dense and incremental steps, timed in turns.
#include <fmt/core.h>
#include <sys/resource.h>

#include <cstdint>
#include <limits>
#include <utility>

#include "commands.h"
#include "loader.h"
#include "policy.h"
#include "report.h"
#include "synthetic.h"
#include "terminal.h"
#include "timed_pipeline.h"
#include "video_input.h"

namespace deltacnn::cli {
namespace {

constexpr size_t kFewestSteps = 3;
// Steps of one kind in a row: the first of them finds the caches full of the other stream's data.
constexpr int kFewestInTurn = 3;
constexpr int kMostInTurn = 100;

struct Row {
  double active = 0;  // share of the input pixels that were to change in a step
  Samples changed = {};
  Samples macs_share = {};
  Samples dense_ms = {};
  Samples step_ms = {};

  /// Enough of both kinds, for `seconds`.
  bool Done(const Stopwatch& watch, double seconds) const {
    return dense_ms.size() >= kFewestSteps && watch.ms() >= 1e3 * seconds;
  }
};

/// Times one dense step; returns its milliseconds.
Result<double> StepDense(Stream& stream, Row& row) {
  stream.Reset();
  const Stopwatch watch;
  const auto report = stream.Step();
  const double ms = watch.ms();
  if (!report.ok()) return report.error();
  row.dense_ms.Add(ms);
  return ms;
}

/// Times one incremental step; returns its milliseconds.
Result<double> StepIncremental(Stream& stream, Row& row) {
  const Stopwatch watch;
  const auto report = stream.Step();
  const double ms = watch.ms();
  if (!report.ok()) return report.error();
  row.step_ms.Add(ms);
  row.changed.Add(report->input_changed);
  row.macs_share.Add(report->macs_share);
  return ms;
}

/// What `--spread none` means: a layer updates what lies at the blobs, and nothing is caught up
/// with.
Policy WithoutSpread(Policy policy) {
  policy.reach = 0;
  policy.refresh = std::numeric_limits<int>::max();
  return policy;
}

Result<std::vector<Row>> Synthetic(const BenchArguments& arguments, const VisionModel& model,
                                   const VideoPolicy& policy) {
  StreamOptions options;
  options.executor = MakeExecutor(arguments.model);
  auto dense = Stream::Create(model.plan, options);
  if (!dense.ok()) return dense.error();
  options.policy = arguments.spreads() ? policy.layers : WithoutSpread(policy.layers);
  auto incremental = Stream::Create(model.plan, options);
  if (!incremental.ok()) return incremental.error();
  const auto image = incremental->Image(0);
  if (!image.ok()) return image.error();
  const auto dense_image = dense->Image(0);
  if (!dense_image.ok()) return dense_image.error();
  const CellGrid pixels{image->height, image->width};
  SyntheticInput input(*image, model.preset.input,
                       arguments.spreads() ? pixels : CoarsestCells(*model.plan, pixels));
  SyntheticInput dense_input(*dense_image, model.preset.input, pixels);

  Progress progress;
  std::vector<Row> rows;
  for (const double active : arguments.active) {
    Row warm_up;
    // Dense steps first: no row pays for what the one before left out.
    for (Stream* stream : {&*incremental, &*dense}) {
      const auto first_step = StepDense(*stream, warm_up);
      if (!first_step.ok()) return first_step.error();
    }
    // The first step of a calmer share is a dense one if the stream kept nothing before: not timed.
    Row settling{.active = active};
    input.Change(active);
    if (const auto ms = StepDense(*dense, settling); !ms.ok()) return ms.error();
    if (const auto ms = StepIncremental(*incremental, settling); !ms.ok()) return ms.error();
    Row row{.active = active};
    const Stopwatch watch;
    while (!Interrupted() && !row.Done(watch, arguments.seconds)) {
      double dense_ms = 0;
      for (int i = 0; i < kFewestInTurn; ++i) {
        dense_input.Change(1);
        const auto ms = StepDense(*dense, row);
        if (!ms.ok()) return ms.error();
        dense_ms += *ms;
      }
      // Short steps are timed as often as fits into the time of the dense ones, and so with the
      // caches as a run of them leaves them.
      double spent = 0;
      for (int i = 0; i < kFewestInTurn || (i < kMostInTurn && spent < dense_ms); ++i) {
        input.Change(active);
        const auto ms = StepIncremental(*incremental, row);
        if (!ms.ok()) return ms.error();
        spent += *ms;
      }
      if (progress.due()) progress.Show("active " + FormatShare(active));
    }
    if (row.step_ms.size() > 0) rows.push_back(std::move(row));
  }
  return rows;
}

Result<std::vector<Row>> OnVideo(const BenchArguments& arguments, const VisionModel& model,
                                 const VideoPolicy& policy) {
  const std::shared_ptr<Executor> executor = MakeExecutor(arguments.model);
  auto incremental = TimedPipeline::Create(model, policy, executor);
  if (!incremental.ok()) return incremental.error();
  auto dense = TimedPipeline::Create(model, VideoPolicy{}, executor);
  if (!dense.ok()) return dense.error();
  auto source = OpenVideo(arguments.video);
  if (!source.ok()) return source.error();

  Progress progress;
  Row warm_up;
  Row row;
  Answer answer;
  const Stopwatch watch;
  for (int64_t frames = 0; !Interrupted(); ++frames) {
    if (row.Done(watch, arguments.seconds)) break;
    const auto frame = source->Next();
    if (!frame.ok()) return frame.error();
    if (!*frame) break;
    dense->Reset();
    DELTACNN_RETURN_IF_ERROR(dense->Feed(**frame));
    DELTACNN_RETURN_IF_ERROR(incremental->Feed(**frame));
    Row& timed = frames == 0 ? warm_up : row;
    const auto dense_ms = StepDense(dense->stream(), timed);
    if (!dense_ms.ok()) return dense_ms.error();
    const auto step_ms = StepIncremental(incremental->stream(), timed);
    if (!step_ms.ok()) return step_ms.error();
    // The next step's focus.
    DELTACNN_RETURN_IF_ERROR(incremental->Decode(model.preset.conf, model.preset.iou, answer));
    if (progress.due()) progress.Show(fmt::format("frame {}", frames));
  }
  if (row.step_ms.size() == 0) {
    return Error{ErrorCode::kUsage,
                 arguments.video.path + ": has a single frame; nothing can be compared with it"};
  }
  row.active = row.changed.Mean();
  return std::vector<Row>{std::move(row)};
}

/// The most memory that this process has had at once.
uint64_t PeakBytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<uint64_t>(usage.ru_maxrss) * 1024;
}

double Speedup(const Row& row) {
  return row.step_ms.Median() > 0 ? row.dense_ms.Median() / row.step_ms.Median() : 0;
}

void Print(const std::vector<Row>& rows) {
  Table table;
  table.Add({"active", "changed", "dense ms", "step ms", "speedup", "MACs", "steps"});
  for (const Row& row : rows) {
    table.Add({FormatShare(row.active), FormatShare(row.changed.Mean()),
               fmt::format("{:.3f}", row.dense_ms.Median()),
               fmt::format("{:.3f}", row.step_ms.Median()), fmt::format("{:.2f}x", Speedup(row)),
               FormatShare(row.macs_share.Mean()), std::to_string(row.step_ms.size())});
  }
  Say("{}", table.Format());
}

Json RowsJson(const std::vector<Row>& rows) {
  Json list = Json::array();
  for (const Row& row : rows) {
    list.push_back({{"active", row.active},
                    {"dense_ms", row.dense_ms.Median()},
                    {"step_ms", row.step_ms.Median()},
                    {"speedup", Speedup(row)},
                    {"input_changed", row.changed.Mean()},
                    {"macs_share", row.macs_share.Mean()},
                    {"steps", row.step_ms.size()}});
  }
  return list;
}

}  // namespace

Status Bench(const BenchArguments& arguments) {
  if (!arguments.video.path.empty() && !arguments.spreads()) {
    return Error{ErrorCode::kUsage,
                 "--spread none: is for synthetic changes; leave it or the video out"};
  }
  if (!arguments.video.path.empty() && arguments.active != BenchArguments{}.active)
    Note("--active is for synthetic changes: here the video says what changes");
  const Output output{"--json", arguments.json};
  DELTACNN_RETURN_IF_ERROR(
      CheckOutputs({output}, InputsOf(arguments.model, arguments.video, {arguments.policy.name})));
  const auto policy = FindPolicy(arguments.policy);
  if (!policy.ok()) return policy.error();
  const auto model = LoadVisionModel(arguments.model, "");
  if (!model.ok()) return model.error();
  const auto rows = arguments.video.path.empty() ? Synthetic(arguments, *model, *policy)
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
  json["policy_numbers"] = NumbersOf(*policy);
  json["model"] = arguments.model.path;
  json["spread"] = arguments.spread;
  json["peak_bytes"] = PeakBytes();
  json["video"] = arguments.video.path.empty() ? Json(nullptr) : Json(arguments.video.path);
  Note("{}", arguments.spreads() ? policy->GivesUp()
                                 : "--spread none leaves out what lies beyond the changed cells: "
                                   "for timing, the outputs are wrong");
  if (Interrupted()) Note("interrupted: the results are those so far");
  if (arguments.json != "-") {
    Print(*rows);
    Say("{} MACs, {} threads, {}, {} of weights, {} of state, peak {} with two streams\n",
        FormatCount(static_cast<double>(plan.macs())), ThreadCount(arguments.model), plan.isa(),
        FormatBytes(plan.weight_bytes()), FormatBytes(plan.state_bytes()),
        FormatBytes(PeakBytes()));
  }
  return WriteJson(output, json);
}

}  // namespace deltacnn::cli
