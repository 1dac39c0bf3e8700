// Transformers that answer a few hundred queries with a box each: nothing is suppressed.
#include <algorithm>
#include <utility>

#include "post/decoder.h"

namespace deltacnn {
namespace {

constexpr int kBoxValues = 4;

/// Where the boxes and the scores of a query are.
struct Queries {
  int boxes = -1;   // output number
  int scores = -1;  // output number; that of the boxes: they follow in the same row
  int values = 0;   // of a row of scores, or of the one row
};

/// Boxes are cx, cy, w, h as shares of the input.
class DetrDecoder final : public BoxDecoder {
 public:
  enum class Scores {
    kSoftmax,   // logits, the last one that of "no object"
    kSigmoid,   // logits
    kChances,   // 0..1
    kBestOnly,  // score and class of the best one
  };

  DetrDecoder(const Preset& preset, const ModelFacts& facts, InputSize input, Queries queries,
              Scores kind)
      : BoxDecoder(preset), input_(input), queries_(queries), kind_(kind) {
    if (kind_ != Scores::kBestOnly) {
      classes_ = queries.values - (queries.scores == queries.boxes ? kBoxValues : 0);
      if (kind_ == Scores::kSoftmax) --classes_;
    }
    Use(facts, queries.boxes);
    if (queries.scores != queries.boxes) Use(facts, queries.scores);
  }

 private:
  void Run(std::span<const TensorView> in, float conf, float, Answer& answer) override {
    candidates_.clear();
    const auto width = static_cast<float>(input_.width);
    const auto height = static_cast<float>(input_.height);
    const bool one_row = in.size() == 1;
    const float* box = in[0].as<float>().data();
    const float* scores = one_row ? box + kBoxValues : in[1].as<float>().data();
    const int box_step = one_row ? queries_.values : kBoxValues;
    for (int64_t r = 0; r < in[0].shape[1]; ++r, box += box_step, scores += queries_.values) {
      const BestClass best = Best(scores);
      if (!(best.score >= conf)) continue;
      AddCandidate(FromCentre(box[0] * width, box[1] * height, box[2] * width, box[3] * height,
                              best.score, best.class_id, r),
                   candidates_);
    }
    KeepBest(static_cast<size_t>(max_detections_), candidates_);
    ToDetections(candidates_, answer);
  }

  BestClass Best(const float* scores) const {
    if (kind_ == Scores::kBestOnly) {
      const bool is_class = scores[1] >= 0 && scores[1] < 1e6F;
      return is_class ? BestClass{static_cast<int>(scores[1]), scores[0]} : BestClass{};
    }
    BestClass best = FindBestClass(scores, classes_);
    if (kind_ == Scores::kSigmoid) best.score = Sigmoid(best.score);
    if (kind_ == Scores::kSoftmax) {
      float sum = 0;
      for (int c = 0; c <= classes_; ++c) sum += std::exp(scores[c] - best.score);
      best.score = 1 / sum;
    }
    return best;
  }

  InputSize input_;
  Queries queries_;
  Scores kind_;
};

bool IsCalledBoxes(const TensorFacts& output) {
  return output.name.find("box") != std::string::npos || output.name == "dets";
}

/// Two outputs, [1,N,4] and [1,N,C]; with four classes the name tells which are boxes.
std::optional<Queries> FindTwo(const ModelFacts& facts) {
  const auto at = [&](int output) { return facts.outputs[static_cast<size_t>(output)]; };
  for (const int boxes : FindRows(facts, -1, kBoxValues)) {
    for (const int scores : FindRows(facts, at(boxes).shape[1], -1)) {
      const auto values = static_cast<int>(at(scores).shape[2]);
      const bool swapped = IsCalledBoxes(at(scores)) && !IsCalledBoxes(at(boxes));
      if (scores != boxes && !swapped) return Queries{boxes, scores, values};
    }
  }
  return std::nullopt;
}

}  // namespace

DecoderResult CreateDetr(const Preset& preset, const ModelFacts& facts) {
  using Scores = DetrDecoder::Scores;
  const std::optional<InputSize> input = FindInputSize(facts);
  if (!input) return Misfit(preset, facts, "an image input of known size");
  const auto make = [&](const Queries& queries, Scores kind) {
    return DecoderResult(std::make_unique<DetrDecoder>(preset, facts, *input, queries, kind));
  };
  const bool softmax = preset.decoder == DecoderKind::kDetr;
  if (const auto two = FindTwo(facts); two && two->values > (softmax ? 1 : 0))
    return make(*two, softmax ? Scores::kSoftmax : Scores::kSigmoid);
  if (softmax) return Misfit(preset, facts, "logits [1,N,C+1] and boxes [1,N,4]");
  for (const int output : FindRows(facts, -1, -1)) {
    const auto values = static_cast<int>(facts.outputs[static_cast<size_t>(output)].shape[2]);
    if (values > kBoxValues)
      return make({output, output, values},
                  values == kBoxValues + 2 ? Scores::kBestOnly : Scores::kChances);
  }
  return Misfit(preset, facts,
                "logits [1,N,C] and boxes [1,N,4]; or an output [1,N,4+C] or, of the best class, "
                "[1,N,6] of box, score, class");
}

}  // namespace deltacnn
