// For operators that shape inference answers: their outputs are constants of the graph.
#pragma once

#include "harness.h"

namespace deltacnn::testing {

struct Inferred {
  Status status;
  bool data_dependent = false;
  std::vector<TensorPtr> constants;  // by output; null where it is none
};

inline Inferred InferOnly(const OpCase& test) {
  OpGraph case_graph(test);
  Graph& graph = case_graph.graph;
  const Node node = graph.nodes[0];
  const OpDef* op = FindOp(test.op);
  if (op == nullptr) return {Error{ErrorCode::kUnsupported, "no operator " + test.op}, false, {}};
  InferContext context(node, graph);
  Inferred result;
  result.status = op->infer(context);
  result.data_dependent = context.data_dependent();
  for (const ValueId output : node.outputs) result.constants.push_back(graph.Constant(output));
  return result;
}

inline void ExpectConstant(const OpCase& test, const Tensor& want) {
  const Inferred inferred = InferOnly(test);
  ASSERT_TRUE(inferred.status.ok()) << inferred.status.error().message;
  ASSERT_NE(inferred.constants[0], nullptr);
  EXPECT_EQ(inferred.constants[0]->dtype, want.dtype);
  ExpectSameBits({*inferred.constants[0]}, {want});
}

inline void ExpectDataDependent(const OpCase& test) {
  const Inferred inferred = InferOnly(test);
  EXPECT_FALSE(inferred.status.ok());
  EXPECT_TRUE(inferred.data_dependent);
}

}  // namespace deltacnn::testing
