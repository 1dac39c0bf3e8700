// The arithmetic of typed.cc: elementwise functions for every combination of element types.
//
// Integers wrap around; dividing by zero gives 0. A number that the target type of a Cast cannot
// hold becomes its lowest value (int32, int64) or wraps (8 bit types), NaN likewise. Any non-zero
// is true.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

#include "graph/graph.h"

namespace deltacnn {

/// out[i] = f(in[0][i], in[1][i], ...; parameter) for all i < n. `out` may be in[0].
using TypedFunction = void (*)(const void* const* in, void* out, size_t n, float parameter);

/// The function of a node (an ONNX type of the families Typed and Pointwise, or "TypedArithmetic"
/// with the type in attribute "function") on inputs of these types; null if it is not supported.
/// Max, Min and Sum of any number of inputs are given by their function of two.
TypedFunction FindTypedFunction(const Node& node, std::span<const DType> inputs, DType output);

/// The ONNX type of a node of family Typed.
std::string TypedName(const Node& node);
/// True if the function of two inputs is applied from the first input to the last.
bool IsFolded(std::string_view name);

}  // namespace deltacnn
