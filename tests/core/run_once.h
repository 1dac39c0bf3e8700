// One dense step of a small network, and the layers that it became.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "graph_maker.h"

namespace deltacnn::testing {

struct Outcome {
  std::vector<float> output;
  std::vector<std::string> ops;

  bool Has(const std::string& op) const { return std::ranges::find(ops, op) != ops.end(); }
};

inline Outcome RunOn(const GraphMaker& net, const Tensor& image) {
  auto plan = Plan::Compile(Model(net.graph));
  EXPECT_TRUE(plan.ok());
  auto stream = Stream::Create(*plan);
  EXPECT_TRUE(stream.ok());
  EXPECT_TRUE(stream->SetInput(0, image).ok());
  EXPECT_TRUE(stream->Step().ok());
  const auto out = stream->Output(0).as<float>();
  Outcome run{{out.begin(), out.end()}, {}};
  for (const auto& layer : (*plan)->layers()) run.ops.push_back(layer.op);
  return run;
}

}  // namespace deltacnn::testing
