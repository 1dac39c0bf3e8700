// `deltacnn verify`: the honesty tool. On every frame, the incremental run of the policy and a
// dense run on that very frame's pixels, side by side.
#include <fmt/core.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "commands.h"
#include "difference.h"
#include "loader.h"
#include "pipeline.h"
#include "report.h"
#include "terminal.h"

namespace deltacnn::cli {
namespace {

/// Where an output of the incremental run first differed from the dense one.
struct FirstDifference {
  int64_t frame = 0;
  std::string output;
  double absolute = 0;
};

class Verifier {
 public:
  Verifier(const VisionModel& model, Pipeline incremental, Pipeline dense)
      : model_(model), incremental_(std::move(incremental)), dense_(std::move(dense)) {}

  /// One more frame, the `number`-th of the video.
  Status Add(const FrameView& frame, int64_t number, double decode_ms);

  int64_t frames() const { return frames_; }
  double macs_share() const { return macs_share_.Mean(); }
  const std::optional<FirstDifference>& first_difference() const { return first_difference_; }
  Json Report() const;

 private:
  Status StepDense();
  Status StepIncremental();
  void CompareOutputs(int64_t number);
  Status CompareAnswers();

  const VisionModel& model_;
  Pipeline incremental_;
  Pipeline dense_;
  StepReport report_;
  Answer dense_answer_;
  Answer incremental_answer_;

  int64_t frames_ = 0;
  double max_absolute_ = 0;
  double max_relative_ = 0;
  std::optional<FirstDifference> first_difference_;
  Agreement agreement_;
  Samples macs_share_;
  Samples input_changed_;
  Samples dense_ms_;
  Samples step_ms_;
  Samples decode_ms_;
  Samples feed_ms_;
};

Status Verifier::StepDense() {
  const auto report = dense_.Step();
  return report.ok() ? Status() : report.error();
}

Status Verifier::StepIncremental() {
  const auto report = incremental_.Step();
  if (!report.ok()) return report.error();
  report_ = *report;
  return {};
}

Status Verifier::Add(const FrameView& frame, int64_t number, double decode_ms) {
  dense_.Reset();
  DELTACNN_RETURN_IF_ERROR(dense_.Feed(frame));
  DELTACNN_RETURN_IF_ERROR(incremental_.Feed(frame));
  // Whoever comes second finds other data in the caches: take turns.
  const bool dense_first = frames_ % 2 == 0;
  if (dense_first) DELTACNN_RETURN_IF_ERROR(StepDense());
  DELTACNN_RETURN_IF_ERROR(StepIncremental());
  if (!dense_first) DELTACNN_RETURN_IF_ERROR(StepDense());
  CompareOutputs(number);
  ++frames_;
  if (frames_ == 1) return {};  // dense in both runs: it would flatter the averages
  macs_share_.Add(report_.macs_share);
  input_changed_.Add(report_.input_changed);
  dense_ms_.Add(dense_.step_ms());
  step_ms_.Add(incremental_.step_ms());
  decode_ms_.Add(decode_ms);
  feed_ms_.Add(incremental_.feed_ms());
  return CompareAnswers();
}

void Verifier::CompareOutputs(int64_t number) {
  const auto& outputs = model_.plan->outputs();
  for (size_t i = 0; i < outputs.size(); ++i) {
    const Difference difference =
        Compare(incremental_.stream().Output(i), dense_.stream().Output(i));
    max_absolute_ = std::max(max_absolute_, difference.absolute);
    max_relative_ = std::max(max_relative_, difference.relative);
    if (!difference.same_bits && !first_difference_)
      first_difference_ = {number, outputs[i].name, difference.absolute};
  }
}

Status Verifier::CompareAnswers() {
  const float conf = Agreement::kPartnerScore;
  DELTACNN_RETURN_IF_ERROR(dense_.Decode(conf, model_.preset.iou, dense_answer_));
  DELTACNN_RETURN_IF_ERROR(incremental_.Decode(conf, model_.preset.iou, incremental_answer_));
  agreement_.Add(dense_answer_, incremental_answer_);
  return {};
}

Json Verifier::Report() const {
  Json json;
  json["max_abs_diff"] = max_absolute_;
  json["max_rel_diff"] = max_relative_;
  json["macs_share"] = macs_share_.Mean();
  json["input_changed"] = input_changed_.Mean();
  json["agreement"] = dense_.has_decoder() ? ToJson(agreement_.Summarize()) : Json(nullptr);
  json["dense_ms"] = {{"median", dense_ms_.Median()}, {"p95", dense_ms_.Quantile(0.95)}};
  json["step_ms"] = {{"median", step_ms_.Median()}, {"p95", step_ms_.Quantile(0.95)}};
  json["decode_ms"] = {{"median", decode_ms_.Median()}};
  json["preprocess_ms"] = {{"median", feed_ms_.Median()}};
  json["state_bytes"] = model_.plan->state_bytes();
  return json;
}

std::string AgreementText(const Json& agreement) {
  if (agreement.is_null()) return "no decoder for this model";
  std::string text;
  for (const auto& [name, value] : agreement.items()) {
    if (value.is_null()) continue;
    if (!text.empty()) text += ", ";
    text += value.is_number_integer() ? fmt::format("{} {}", value.get<int64_t>(), name)
                                      : fmt::format("{} {:.4f}", name, value.get<double>());
  }
  return text;
}

/// The report in one line.
std::string Verdict(const Json& json) {
  const double step = json["step_ms"]["median"].get<double>();
  const double dense = json["dense_ms"]["median"].get<double>();
  std::string text = fmt::format("{} frames, {:.1f}x faster than dense, ",
                                 json["frames"].get<int64_t>(), step > 0 ? dense / step : 1.0);
  const Json& agreement = json["agreement"];
  if (json["max_abs_diff"].get<double>() == 0) return text + "same bits";
  if (agreement.is_null() || agreement["recall50"].is_null()) {
    return text + fmt::format("outputs differ by at most {:g}", json["max_abs_diff"].get<double>());
  }
  const double recall = agreement["recall50"].get<double>();
  const double precision = agreement["precision50"].get<double>();
  if (recall == 1 && precision == 1) return text + "same detections";
  return text + fmt::format("{} of its detections found, {} of those found right (IoU 0.5)",
                            FormatShare(recall), FormatShare(precision));
}

void Print(const Json& json) {
  const auto number = [&](const char* key) { return json[key].get<double>(); };
  const auto times = [&](const char* key) {
    return fmt::format("{:.3f} ms median, {:.3f} ms p95", json[key]["median"].get<double>(),
                       json[key]["p95"].get<double>());
  };
  const auto text = [&](const char* key) { return json[key].get<std::string>(); };
  const double step = json["step_ms"]["median"].get<double>();
  fmt::print("model          {}\n", text("model"));
  fmt::print("video          {}\n", text("video"));
  fmt::print("frames         {}\n", json["frames"].get<int64_t>());
  fmt::print("policy         {} (tolerance {:g})\n", text("policy"), number("tolerance"));
  fmt::print("threads, isa   {}, {}\n", json["threads"].get<int>(), text("isa"));
  fmt::print("max_abs_diff   {:g}\n", number("max_abs_diff"));
  fmt::print("max_rel_diff   {:g} of the output's largest value\n", number("max_rel_diff"));
  fmt::print("agreement      {}\n", AgreementText(json["agreement"]));
  fmt::print("input changed  {}\n", FormatShare(number("input_changed")));
  fmt::print("macs_share     {} of dense\n", FormatShare(number("macs_share")));
  fmt::print("dense step     {}\n", times("dense_ms"));
  fmt::print("step           {}{}\n", times("step_ms"),
             step > 0
                 ? fmt::format(" ({:.2f}x faster)", json["dense_ms"]["median"].get<double>() / step)
                 : "");
  fmt::print("preprocess     {:.3f} ms median\n", json["preprocess_ms"]["median"].get<double>());
  fmt::print("decode         {:.3f} ms median\n", json["decode_ms"]["median"].get<double>());
  fmt::print("state          {} a stream\n", FormatBytes(json["state_bytes"].get<uint64_t>()));
  fmt::print("{}\n", Verdict(json));
}

Status Loop(const VerifyArguments& arguments, VideoSource& source, Verifier& verifier) {
  Progress progress;
  for (int64_t number = 0; verifier.frames() != arguments.frames && !Interrupted(); ++number) {
    const auto frame = source.Next();
    if (!frame.ok()) return frame.error();
    if (!*frame) break;
    if (number < arguments.skip) continue;
    DELTACNN_RETURN_IF_ERROR(verifier.Add(**frame, number, source.stats().decode_ms));
    if (progress.due())
      progress.Show(fmt::format("frame {}  work {}", number, FormatShare(verifier.macs_share())));
  }
  progress.Clear();
  if (Interrupted()) fmt::print(stderr, "interrupted: the report covers the frames so far\n");
  if (verifier.frames() == 0 && !Interrupted()) {
    return Error{ErrorCode::kUsage,
                 fmt::format("{}: has no frame after the {} that --skip leaves out",
                             arguments.video, arguments.skip)};
  }
  return {};
}

}  // namespace

Status Verify(const VerifyArguments& arguments) {
  const auto policy = FindPolicy(arguments.policy);
  if (!policy.ok()) return policy.error();
  const auto model = LoadVisionModel(arguments.model, arguments.preset);
  if (!model.ok()) return model.error();
  const int threads = ThreadCount(arguments.model);
  auto incremental = Pipeline::Create(*model, *policy, threads);
  if (!incremental.ok()) return incremental.error();
  auto dense = Pipeline::Create(*model, RunPolicy{.name = "exact"}, threads);
  if (!dense.ok()) return dense.error();
  VideoOptions options;
  options.stop = &Interrupted();
  auto source = VideoSource::Open(arguments.video, options);
  if (!source.ok()) return source.error();
  fmt::print(stderr, "{}\n", policy->GivesUp());
  Verifier verifier(*model, std::move(*incremental), std::move(*dense));
  DELTACNN_RETURN_IF_ERROR(Loop(arguments, *source, verifier));

  Json json;
  json["frames"] = verifier.frames();
  json["policy"] = policy->name;
  json["tolerance"] = policy->tolerance;
  json["threads"] = threads;
  json["isa"] = model->plan->isa();
  json["model"] = arguments.model.path;
  json["video"] = arguments.video;
  json.update(verifier.Report());
  if (arguments.json != "-") Print(json);
  if (!arguments.json.empty()) DELTACNN_RETURN_IF_ERROR(WriteJson(arguments.json, json));
  if (policy->exact() && verifier.first_difference()) {
    const FirstDifference& first = *verifier.first_difference();
    return Error{
        ErrorCode::kIo,
        fmt::format("policy exact was not exact: output '{}' first differs in frame {}, by "
                    "{:g}; please report it with the model and the video",
                    first.output, first.frame, first.absolute)};
  }
  return {};
}

}  // namespace deltacnn::cli
