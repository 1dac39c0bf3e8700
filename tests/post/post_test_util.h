// Output tensors made by hand, and the facts about the models that would have them.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "deltacnn/post.h"

namespace deltacnn {

/// A model with an RGB input of `height` x `width` and the outputs that tests add.
class FakeModel {
 public:
  FakeModel(int64_t height, int64_t width) {
    facts_.inputs.push_back({"input", {1, 3, height, width}});
  }

  /// Adds a zeroed output; returns its number.
  size_t Add(const std::string& name, Shape shape, DType dtype = DType::kFloat32) {
    facts_.outputs.push_back({name, shape});
    tensors_.emplace_back(dtype, std::move(shape));
    return tensors_.size() - 1;
  }

  float* Data(size_t output = 0) { return tensors_[output].as<float>().data(); }
  Tensor& tensor(size_t output = 0) { return tensors_[output]; }
  ModelFacts& facts() { return facts_; }

  std::vector<TensorView> Views() const { return {tensors_.begin(), tensors_.end()}; }

  Preset Find(const std::string& name = "") const {
    auto preset = FindPreset(facts_, name);
    if (!preset) {
      ADD_FAILURE() << preset.error().message;
      return {};
    }
    return *preset;
  }

  /// The answer of a preset's decoder.
  Answer Decode(const Preset& preset, float conf = 0.4F, float iou = 0.5F) const {
    Answer answer;
    auto decoder = Decoder::Create(preset, facts_);
    if (!decoder) {
      ADD_FAILURE() << decoder.error().message;
      return answer;
    }
    const std::vector<TensorView> views = Views();
    const Status status = decoder->Decode(views, conf, iou, answer);
    if (!status) ADD_FAILURE() << status.error().message;
    return answer;
  }

 private:
  ModelFacts facts_;
  std::vector<Tensor> tensors_;
};

inline Detection MakeBox(int class_id, float score, float x1, float y1, float x2, float y2) {
  Detection detection;
  detection.class_id = class_id;
  detection.score = score;
  detection.x1 = x1;
  detection.y1 = y1;
  detection.x2 = x2;
  detection.y2 = y2;
  return detection;
}

inline void ExpectBox(const Detection& got, const Detection& want, float tolerance = 1e-3F) {
  EXPECT_EQ(got.class_id, want.class_id);
  EXPECT_NEAR(got.score, want.score, 1e-5F);
  EXPECT_NEAR(got.x1, want.x1, tolerance);
  EXPECT_NEAR(got.y1, want.y1, tolerance);
  EXPECT_NEAR(got.x2, want.x2, tolerance);
  EXPECT_NEAR(got.y2, want.y2, tolerance);
}

}  // namespace deltacnn
