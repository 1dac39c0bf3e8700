// A single node as a model: planned with all passes, unlike the cases of ops/harness.h.
#pragma once

#include "graph_maker.h"

namespace deltacnn::testing {

/// The case as a model: inputs that are no constants become graph inputs.
inline Graph ModelGraph(const OpCase& test) {
  Graph graph = OpGraph(test).graph;
  for (const ValueId id : graph.nodes[0].inputs)
    if (id != kNoValue && graph.Constant(id) == nullptr) graph.inputs.push_back(id);
  return graph;
}

/// The inputs of that model.
inline std::vector<Tensor> InputsOf(const OpCase& test) {
  std::vector<Tensor> inputs;
  for (size_t i = 0; i < test.inputs.size(); ++i) {
    const bool constant = std::ranges::find(test.constants, i) != test.constants.end();
    if (test.inputs[i] && !constant) inputs.push_back(*test.inputs[i]);
  }
  return inputs;
}

inline void Feed(Stream& stream, const std::vector<Tensor>& inputs) {
  for (size_t i = 0; i < inputs.size(); ++i) ASSERT_TRUE(stream.SetInput(i, inputs[i]).ok());
  const auto report = stream.Step();
  ASSERT_TRUE(report.ok()) << report.error().message;
}

/// The first output of a dense step, then random changes of the inputs: after each, a stream must
/// have the bits of a fresh one.
inline Tensor RunModel(const OpCase& test, std::mt19937& rng, int steps = 4) {
  auto plan = Plan::Compile(Model(ModelGraph(test)));
  if (!plan.ok()) {
    ADD_FAILURE() << plan.error().message;
    return {};
  }
  auto stream = Stream::Create(*plan);
  EXPECT_TRUE(stream.ok());
  std::vector<Tensor> inputs = InputsOf(test);
  Feed(*stream, inputs);
  const TensorView view = stream->Output(0);
  Tensor output(view.dtype, Shape(view.shape.begin(), view.shape.end()));
  output.bytes = BytesOf(view);
  for (int step = 0; step < steps; ++step) {
    for (Tensor& input : inputs) Perturb(input, rng);
    Feed(*stream, inputs);
    auto fresh = Stream::Create(*plan);
    EXPECT_TRUE(fresh.ok());
    Feed(*fresh, inputs);
    EXPECT_EQ(OutputsOf(*stream), OutputsOf(*fresh));
  }
  return output;
}

}  // namespace deltacnn::testing
