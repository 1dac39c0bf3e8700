// A small network for tests of streams, and changes of its input.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <random>

#include "graph_maker.h"

namespace deltacnn::testing {

inline std::shared_ptr<const Plan> PlanOf(const GraphMaker& maker) {
  auto plan = Plan::Compile(Model(maker.graph));
  EXPECT_TRUE(plan.ok()) << plan.error().message;
  return plan.ok() ? *plan : nullptr;
}

/// Stem, residual block with a squeeze-and-excite gate, two heads: 48x40 pixels, work for threads.
inline GraphMaker ConvNet() {
  std::mt19937 rng(1);
  GraphMaker net;
  net.most_elements = 1 << 20;
  const ValueId image = net.Input("image", {1, 3, 48, 40});
  const ValueId stem = net.Add("Relu", {net.Conv(rng, image, 24, 3, 1, 1)});
  const ValueId down = net.Add("Relu", {net.Conv(rng, stem, 32, 3, 2, 1)});
  const ValueId gate =
      net.Add("Sigmoid", {net.Conv(rng, net.Add("GlobalAveragePool", {down}), 32, 1)});
  const ValueId block =
      net.Add("Add", {net.Add("Mul", {net.Conv(rng, down, 32, 3, 1, 1), gate}), down});
  net.Output(net.Conv(rng, block, 10, 1));
  net.Output(net.Add("Softmax", {net.Add("Flatten", {net.Add("GlobalMaxPool", {block})})}));
  return net;
}

inline void ChangeBlock(Tensor& image, std::mt19937& rng) {
  const int64_t height = image.shape[2];
  const int64_t width = image.shape[3];
  const auto top = static_cast<int64_t>(rng()) % height;
  const auto left = static_cast<int64_t>(rng()) % width;
  for (int64_t c = 0; c < image.shape[1]; ++c)
    for (int64_t y = top; y < std::min(height, top + 6); ++y)
      for (int64_t x = left; x < std::min(width, left + 7); ++x)
        image.as<float>()[static_cast<size_t>((c * height + y) * width + x)] =
            std::uniform_real_distribution<float>(-1, 1)(rng);
}

}  // namespace deltacnn::testing
