#include "judge.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <optional>
#include <utility>

#include "terminal.h"

namespace deltacnn::cli {
namespace {

// Values of an output that are kept of every frame; more would say nothing new.
constexpr int64_t kKeptValues = 1 << 16;
// Longer than a round of the refresh (32 frames), so that what reach leaves out shows.
constexpr size_t kLongestStretch = 48;
constexpr double kRounding = 1e-9;

/// Every n-th value of a tensor, n such that all channels and places take part.
std::vector<float> PartOf(const TensorView& tensor) {
  std::vector<float> part;
  if (tensor.dtype != DType::kFloat32) return part;
  const int64_t elements = tensor.elements();
  int64_t every = elements / kKeptValues + 1;
  while (std::gcd(every, elements) > 1) ++every;
  const auto values = tensor.as<float>();
  for (int64_t i = 0; i < elements; i += every) part.push_back(values[static_cast<size_t>(i)]);
  return part;
}

/// |values - truth| / |truth|, at most 1.
double RelativeDistance(const std::vector<float>& values, const std::vector<float>& truth) {
  if (values.size() != truth.size()) return 1;
  double difference = 0;
  double size = 0;
  for (size_t i = 0; i < truth.size(); ++i) {
    const double d = double{values[i]} - truth[i];
    difference += d * d;
    size += double{truth[i]} * truth[i];
  }
  if (difference == 0) return 0;
  const double distance = std::sqrt(difference / size);
  return distance < 1 ? distance : 1;  // also where it is not a number
}

/// What an IoU of 0.75 asks for may be lost twice as often: boxes may be a little looser.
std::optional<double> Lenient(const std::optional<double>& share) {
  return share ? std::optional(1 - (1 - *share) / 2) : std::nullopt;
}

double LowestShare(const Agreement::Summary& summary) {
  double lowest = 1;
  for (const auto& share :
       {summary.recall50, summary.precision50, Lenient(summary.recall75),
        Lenient(summary.precision75), summary.same_top1, summary.pixels, summary.keypoints}) {
    lowest = std::min(lowest, share.value_or(1));
  }
  return lowest;
}

}  // namespace

double Trial::macs_share() const {
  const auto tuned = static_cast<double>(tuning.frames);
  const auto held = static_cast<double>(held_out.frames);
  return (tuned * tuning.macs_share + held * held_out.macs_share) / std::max(tuned + held, 1.0);
}

Judge::Judge(const VisionModel& model, const Clip& clip, std::shared_ptr<Executor> executor,
             float object_score)
    : model_(model),
      clip_(clip),
      executor_(std::move(executor)),
      agreement_(object_score),
      stretch_(std::min(kLongestStretch, clip.frames().size() / 4)),
      truth_(clip.frames().size()) {}

Result<Judge> Judge::Create(const VisionModel& model, const Clip& clip,
                            std::shared_ptr<Executor> executor, float object_score) {
  Judge judge(model, clip, std::move(executor), object_score);
  DELTACNN_RETURN_IF_ERROR(judge.RunDense());
  const bool few_objects =
      judge.truth_[0].answer.kind == AnswerKind::kDetections && judge.objects() < kFewObjects;
  judge.by_outputs_ = !judge.has_decoder() || few_objects;
  return judge;
}

Status Judge::RunDense() {
  auto pipeline = TimedPipeline::Create(model_, VideoPolicy{}, executor_);
  if (!pipeline.ok()) return pipeline.error();
  const auto is_object = [this](const Detection& detection) {
    return detection.score >= agreement_.object_score();
  };
  Progress progress;
  for (size_t f = 0; f < truth_.size() && !Interrupted(); ++f) {
    if (progress.due()) progress.Show(fmt::format("dense run {}/{}", f + 1, truth_.size()));
    Truth& truth = truth_[f];
    pipeline->Reset();
    DELTACNN_RETURN_IF_ERROR(pipeline->Feed(clip_.frames()[f]));
    const auto report = pipeline->Step();
    if (!report.ok()) return report.error();
    DELTACNN_RETURN_IF_ERROR(
        pipeline->Decode(agreement_.partner_score(), model_.preset.iou, truth.answer));
    for (size_t o = 0; o < model_.plan->outputs().size(); ++o)
      truth.outputs.push_back(PartOf(pipeline->stream().Output(o)));
    if (f == 0) continue;
    objects_[SideOf(f)] += std::ranges::count_if(truth.answer.detections, is_object);
    ++frames_[SideOf(f)];
  }
  return {};
}

Status Judge::CompareFrame(size_t frame, TimedPipeline& pipeline, Sums& sums) const {
  const Truth& truth = truth_[frame];
  Answer answer;
  DELTACNN_RETURN_IF_ERROR(pipeline.Decode(agreement_.partner_score(), model_.preset.iou, answer));
  sums.agreement.Add(truth.answer, answer);
  if (!by_outputs_) return {};
  double worst = 0;
  for (size_t o = 0; o < truth.outputs.size(); ++o) {
    const std::vector<float> output = PartOf(pipeline.stream().Output(o));
    worst = std::max(worst, RelativeDistance(output, truth.outputs[o]));
  }
  sums.deviation.Add(worst);
  return {};
}

Score Judge::ScoreOf(const Sums& sums) const {
  Score score;
  score.frames = static_cast<int64_t>(sums.macs.size());
  score.macs_share = sums.macs.Mean();
  score.answers = sums.agreement.Summarize();
  score.deviation = sums.deviation.Mean();
  score.agreement = std::min(LowestShare(score.answers), 1 - score.deviation);
  return score;
}

/// True if more is lost than the target allows for all frames of the side.
bool Judge::IsHopeless(const Sums& sums, size_t side, double target) const {
  const Agreement::Summary answers = sums.agreement.Summarize();
  const double missed = static_cast<double>(answers.objects) * (1 - answers.recall50.value_or(1));
  const double deviation = sums.deviation.Mean() * static_cast<double>(sums.deviation.size());
  return missed > (1 - target) * static_cast<double>(objects_[side]) + kRounding ||
         deviation > (1 - target) * static_cast<double>(frames_[side]) + kRounding;
}

Result<Trial> Judge::Try(const VideoPolicy& policy, double target) const {
  auto pipeline = TimedPipeline::Create(model_, policy, executor_);
  if (!pipeline.ok()) return pipeline.error();
  const double lenient = 1 - 2 * (1 - target);  // a stretch may be harder than the rest
  Trial trial;
  std::array<Sums, 2> sides;
  for (Sums& side : sides) side.agreement = agreement_;
  for (size_t f = 0; f < truth_.size() && trial.complete; ++f) {
    DELTACNN_RETURN_IF_ERROR(pipeline->Feed(clip_.frames()[f]));
    const auto report = pipeline->Step();
    if (!report.ok()) return report.error();
    if (f == 0) continue;
    Sums& sums = sides[SideOf(f)];
    sums.macs.Add(report->macs_share);
    DELTACNN_RETURN_IF_ERROR(CompareFrame(f, *pipeline, sums));
    if (IsHopeless(sums, SideOf(f), target) || Interrupted()) trial.complete = false;
    if ((f + 1) % stretch_ != 0) continue;
    ++trial.stretches;
    if (ScoreOf(sums).agreement < lenient - kRounding) trial.complete = false;
  }
  trial.tuning = ScoreOf(sides[0]);
  trial.held_out = ScoreOf(sides[1]);
  trial.reached = trial.complete &&
                  std::min(trial.tuning.agreement, trial.held_out.agreement) >= target - kRounding;
  return trial;
}

}  // namespace deltacnn::cli
