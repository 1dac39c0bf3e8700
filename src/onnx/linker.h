#pragma once

#include "graph/graph.h"
#include "onnx/model_parser.h"
#include "onnx/tensor_reader.h"

namespace deltacnn::onnx {

/// Turns names into values and brings the nodes in order. `tensors` reads the initializers that are
/// used. Throws ReadError.
Graph Link(const ParsedModel& model, TensorReader* tensors);

}  // namespace deltacnn::onnx
