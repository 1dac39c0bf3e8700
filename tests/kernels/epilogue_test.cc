#include <algorithm>

#include "kernels/kernel_test.h"

namespace deltacnn::kernels {
namespace {

class EpilogueTest : public KernelTest {};

TEST_P(EpilogueTest, AddendAndClampHaveTheBitsOfTheSameStepsOneByOne) {
  const size_t panel = table().panel;
  for (int round = 0; round < 200; ++round) {
    const size_t count = Size(1, 20);
    const size_t depth = Size(1, 30);
    const size_t width = Size(1, panel);
    const std::vector<float> input = Floats(count * depth);
    const std::vector<float> weights = Floats(depth * panel);
    const std::vector<float> bias = Floats(panel);
    const std::vector<float> addends = Floats(count * width);
    std::vector<float> plain(count * panel);
    std::vector<float> stored(count * width);
    std::vector<const float*> pixels;
    std::vector<const float*> addend;
    std::vector<float*> targets;
    for (size_t i = 0; i < count; ++i) {
      pixels.push_back(input.data() + i * depth);
      addend.push_back(addends.data() + i * width);
      targets.push_back(stored.data() + i * width);
    }
    const ptrdiff_t offset = 0;
    GemmArgs args{.pixels = pixels.data(),
                  .count = count,
                  .run_offset = &offset,
                  .runs = 1,
                  .run_length = depth,
                  .weights = weights.data(),
                  .bias = bias.data(),
                  .out = plain.data(),
                  .out_pitch = panel,
                  .columns = width};
    table().gemm(args);
    args.pixel_step = round % 5 < 2 ? static_cast<ptrdiff_t>(depth) : 0;
    const bool first = round % 2 == 0;
    const auto rectifier = static_cast<Epilogue::Rectifier>(round % 3);
    const Epilogue epilogue{.rectifier = rectifier,
                            .low = -0.25f,
                            .high = 0.5f,
                            .slope = 0.3f,
                            .addend = addend.data(),
                            .add_first = first,
                            .targets = targets.data(),
                            .target_step = round % 7 < 3 ? static_cast<ptrdiff_t>(width) : 0,
                            .width = width};
    if (epilogue.target_step != 0) targets.resize(1);  // nothing but the first may be read
    args.epilogue = &epilogue;
    table().gemm(args);
    const auto rectify = [&](float x) {
      if (rectifier == Epilogue::Rectifier::kClip) return std::clamp(x, -0.25f, 0.5f);
      return rectifier == Epilogue::Rectifier::kLeaky && x < 0 ? 0.3f * x : x;
    };
    for (size_t i = 0; i < count; ++i) {
      for (size_t c = 0; c < width; ++c) {
        const float sum = plain[i * panel + c];
        const float added = addends[i * width + c];
        const float want = first ? rectify(sum + added) : rectify(sum) + added;
        ASSERT_EQ(Bits(stored[i * width + c]), Bits(want)) << "round " << round;
      }
    }
  }
}

DELTACNN_FOR_EVERY_TABLE(EpilogueTest);

}  // namespace
}  // namespace deltacnn::kernels
