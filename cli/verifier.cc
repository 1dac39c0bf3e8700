#include "verifier.h"

#include <algorithm>
#include <cmath>
#include <span>
#include <utility>

#include "difference.h"

namespace deltacnn::cli {
namespace {

int64_t ObjectsOf(const Answer& answer, float score) {
  return std::ranges::count_if(
      answer.detections, [score](const Detection& detection) { return detection.score >= score; });
}

}  // namespace

Verifier::Verifier(const VisionModel& model, std::unique_ptr<Contender> contender,
                   TimedPipeline dense, float object_score)
    : model_(model),
      contender_(std::move(contender)),
      dense_(std::move(dense)),
      agreement_(object_score) {
  if (contender_->work() != nullptr) layers_.resize(contender_->work()->size());
}

Status Verifier::StepDense() {
  const auto report = dense_.Step();
  return report.ok() ? Status() : report.error();
}

Status Verifier::StepContender() {
  const auto report = contender_->Step();
  if (!report.ok()) return report.error();
  report_ = *report;
  return {};
}

Status Verifier::Add(const FrameView& frame, int64_t number, double decode_ms) {
  dense_.Reset();
  DELTACNN_RETURN_IF_ERROR(dense_.Feed(frame));
  DELTACNN_RETURN_IF_ERROR(contender_->Feed(frame));
  // Whoever comes second finds other data in the caches: take turns.
  const bool dense_first = frames() % 2 == 0;
  if (dense_first) DELTACNN_RETURN_IF_ERROR(StepDense());
  DELTACNN_RETURN_IF_ERROR(StepContender());
  if (!dense_first) DELTACNN_RETURN_IF_ERROR(StepDense());
  const double difference = CompareOutputs(number);
  const float conf = agreement_.partner_score();
  DELTACNN_RETURN_IF_ERROR(dense_.Decode(conf, model_.preset.iou, dense_answer_));
  DELTACNN_RETURN_IF_ERROR(contender_->Decode(conf, model_.preset.iou, answer_));
  FrameRecord& record = records_.emplace_back(FrameRecord{.number = number,
                                                          .dense = report_.dense,
                                                          .changed = report_.input_changed,
                                                          .macs_share = report_.macs_share,
                                                          .step_ms = contender_->step_ms(),
                                                          .dense_ms = dense_.step_ms(),
                                                          .difference = difference});
  CompareAnswers(record);
  if (album_) {
    DELTACNN_RETURN_IF_ERROR(album_->Offer(frame, number, dense_answer_, answer_,
                                           contender_->heat_map(), record.missed + record.wrong));
  }
  if (frames() == 1) return {};  // dense in both runs: it would flatter the averages
  agreement_.Add(dense_answer_, answer_);
  macs_share_.Add(report_.macs_share);
  input_changed_.Add(report_.input_changed);
  dense_ms_.Add(dense_.step_ms());
  step_ms_.Add(contender_->step_ms());
  decode_ms_.Add(decode_ms);
  feed_ms_.Add(contender_->feed_ms());
  for (size_t l = 0; l < layers_.size(); ++l) {
    layers_[l].computed += (*contender_->work())[l].computed;
    layers_[l].changed += (*contender_->work())[l].changed;
  }
  return {};
}

double Verifier::CompareOutputs(int64_t number) {
  const Stream* stream = contender_->outputs();
  if (stream == nullptr) return 0;
  double largest = 0;
  const auto& outputs = model_.plan->outputs();
  for (size_t i = 0; i < outputs.size(); ++i) {
    const Difference difference = Compare(stream->Output(i), dense_.stream().Output(i));
    max_absolute_ = std::max(max_absolute_, difference.absolute);
    largest = std::max(largest, difference.relative);
    if (!difference.same_bits && !first_difference_)
      first_difference_ = {number, outputs[i].name, difference.absolute};
  }
  max_relative_ = std::max(max_relative_, largest);
  return largest;
}

void Verifier::CompareAnswers(FrameRecord& record) {
  Agreement agreement(agreement_.object_score());
  agreement.Add(dense_answer_, answer_);
  const Agreement::Summary summary = agreement.Summarize();
  const auto lost = [](int64_t objects, const std::optional<double>& share) {
    return std::llround(static_cast<double>(objects) * (1 - share.value_or(1)));
  };
  record.objects = summary.objects;
  record.missed = lost(record.objects, summary.recall50);
  record.wrong = lost(ObjectsOf(answer_, agreement.object_score()), summary.precision50);
}

/// The documented fields, and what the layers did: shares of the pixels of a dense run.
Json Verifier::Report() const {
  Json json;
  const bool comparable = contender_->outputs() != nullptr;
  json["max_abs_diff"] = comparable ? Json(max_absolute_) : Json(nullptr);
  json["max_rel_diff"] = comparable ? Json(max_relative_) : Json(nullptr);
  json["macs_share"] = macs_share_.Mean();
  json["input_changed"] = input_changed_.Mean();
  json["agreement"] = dense_.has_decoder() ? ToJson(agreement_.Summarize()) : Json(nullptr);
  json["dense_ms"] = {{"median", dense_ms_.Median()}, {"p95", dense_ms_.Quantile(0.95)}};
  json["step_ms"] = {{"median", step_ms_.Median()}, {"p95", step_ms_.Quantile(0.95)}};
  json["decode_ms"] = {{"median", decode_ms_.Median()}};
  json["preprocess_ms"] = {{"median", feed_ms_.Median()}};
  json["state_bytes"] = model_.plan->state_bytes();
  json["hundreds"] = HundredsJson();
  if (!layers_.empty()) json["layers"] = LayersJson();
  return json;
}

/// Whether it gets worse with time: each hundred frames apart.
Json Verifier::HundredsJson() const {
  constexpr size_t kHundred = 100;
  Json list = Json::array();
  for (size_t begin = 0; begin < records_.size(); begin += kHundred) {
    const auto part =
        std::span(records_).subspan(begin, std::min(kHundred, records_.size() - begin));
    double difference = 0;
    int64_t objects = 0;
    int64_t missed = 0;
    int64_t wrong = 0;
    for (const FrameRecord& record : part) {
      difference += record.difference / static_cast<double>(part.size());
      objects += record.objects;
      missed += record.missed;
      wrong += record.wrong;
    }
    list.push_back({{"frames", part.size()},
                    {"mean_rel_diff", difference},
                    {"objects", objects},
                    {"missed", missed},
                    {"wrong", wrong}});
  }
  return list;
}

Json Verifier::LayersJson() const {
  Json list = Json::array();
  const auto layers = model_.plan->layers();
  const auto steps = static_cast<double>(macs_share_.size());
  for (size_t l = 0; l < layers.size(); ++l) {
    const double pixels = std::max(1.0, steps * static_cast<double>(layers[l].pixels));
    list.push_back({{"name", layers[l].name},
                    {"op", layers[l].op},
                    {"output", layers[l].output},
                    {"macs", layers[l].macs},
                    {"computed", static_cast<double>(layers_[l].computed) / pixels},
                    {"changed", static_cast<double>(layers_[l].changed) / pixels}});
  }
  return list;
}

}  // namespace deltacnn::cli
