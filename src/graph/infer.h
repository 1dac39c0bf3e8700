// Shape inference and constant folding over a whole graph.
#pragma once

#include <vector>

#include "deltacnn/model.h"
#include "graph/graph.h"

namespace deltacnn {

/// What inference found besides the shapes it wrote into the graph.
struct Inference {
  std::vector<Unsupported> unsupported;
  /// Positions of nodes whose output shapes depend on data, or that read such a value.
  std::vector<bool> dynamic;
};

/// Gives every graph input a static shape: from the options, the model, or the defaults of
/// PlanOptions. Inputs of given values become constants.
Status FixInputs(Graph& graph, const PlanOptions& options);

/// Operators of quantised numbers become those of floats; this comes before the shapes
/// (expand_quantised.cc).
void ExpandQuantised(Graph& graph);
/// True of their types; a node that is left has inputs missing or takes attributes that floats have
/// no operator for.
bool IsQuantised(const Node& node);

/// Arithmetic of integers becomes that of floats that hold them (expand_integers.cc); before the
/// shapes as well.
void ExpandIntegers(Graph& graph);

/// Fills in shape and type of every value that can be known before the first frame. With `fold`,
/// nodes whose inputs are all constants are computed and become constants. What a few numbers can
/// ask for (Range, ConstantOfShape) is refused above `max_bytes`.
Inference InferShapes(Graph& graph, bool fold, uint64_t max_bytes);

}  // namespace deltacnn
