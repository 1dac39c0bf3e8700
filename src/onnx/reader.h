// The way from an ONNX file to a Graph.
#pragma once

#include <string>
#include <string_view>

#include "deltacnn/result.h"
#include "graph/graph.h"

namespace deltacnn::onnx {

/// Reads an ONNX file and the external data it refers to, which must lie in the folder of the file
/// or below. The graph keeps the invariants of graph.h: nodes are sorted, the initializers in use
/// and Constant nodes have become constants, unused initializers are dropped (and never read).
/// Errors name the file, the node or tensor, and the remedy: kIo, kInvalidModel, kLimit, or
/// kUnsupported for element types and constructs that are valid ONNX but not for this engine.
/// Whether the operators themselves are supported is not checked here.
Result<Graph> ReadFile(const std::string& path);

/// The same for a model in memory. External data is looked up under `directory` and refused if that
/// is empty; errors begin with `label`.
Result<Graph> ReadBytes(std::string_view bytes, const std::string& directory,
                        const std::string& label);

}  // namespace deltacnn::onnx
