#include "album.h"

#include <utility>

namespace deltacnn::cli {
namespace {

constexpr size_t kMostFrames = 7;
constexpr int kMaxWidth = 640;

Result<std::vector<uint8_t>> Jpeg(const BgraPicture& picture) {
  return EncodeJpeg(FrameView::Packed(PixelFormat::kBgra32, picture.width, picture.height,
                                      picture.data, picture.stride),
                    kMaxWidth);
}

Answer ObjectsOf(Answer answer, float score) {
  std::erase_if(answer.detections,
                [score](const Detection& detection) { return !(detection.score >= score); });
  return answer;
}

}  // namespace

Status Album::Offer(const FrameView& frame, int64_t number, const Answer& dense,
                    const Answer& incremental, const HeatMap& heat, int64_t errors) {
  const bool in_turn = offered_++ % every_ == 0;
  const bool is_worst = errors > (worst_ ? worst_->errors : 0);
  if (!in_turn && !is_worst) return {};
  auto sample = Draw(frame, dense, incremental, heat);
  if (!sample.ok()) return sample.error();
  sample->number = number;
  sample->errors = errors;
  if (is_worst) worst_ = *sample;
  if (!in_turn) return {};
  spread_.push_back(std::move(*sample));
  if (spread_.size() <= kMostFrames) return {};
  for (size_t i = 1; 2 * i < spread_.size(); ++i) spread_[i] = std::move(spread_[2 * i]);
  spread_.resize((spread_.size() + 1) / 2);
  every_ *= 2;
  return {};
}

Result<SampleFrame> Album::Draw(const FrameView& frame, const Answer& dense,
                                const Answer& incremental, const HeatMap& heat) {
  DELTACNN_RETURN_IF_ERROR(canvas_.Show(frame));
  SampleFrame sample;
  const auto draw = [&](const Answer& answer, const HeatMap& map,
                        std::vector<uint8_t>& file) -> Status {
    canvas_.Clean();
    AnnotateOptions options;
    options.heat_map = map;
    DELTACNN_RETURN_IF_ERROR(Annotate(canvas_.picture(), answer, preset_, options));
    auto jpeg = Jpeg(canvas_.picture());
    if (!jpeg.ok()) return jpeg.error();
    file = std::move(*jpeg);
    return {};
  };
  DELTACNN_RETURN_IF_ERROR(draw(ObjectsOf(dense, object_score_), {}, sample.dense));
  DELTACNN_RETURN_IF_ERROR(draw(ObjectsOf(incremental, object_score_), {}, sample.incremental));
  if (heat.rows > 0) DELTACNN_RETURN_IF_ERROR(draw({}, heat, sample.heat));
  return sample;
}

}  // namespace deltacnn::cli
