// Model: an ONNX file, read and checked. Plan: the same, made ready to run on this machine.
// Both are immutable and may be shared by any number of streams and threads.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "deltacnn/result.h"
#include "deltacnn/tensor.h"

namespace deltacnn {

struct Graph;
struct PlanState;

/// An input or output. Unknown dimensions are -1; the shape is empty for a scalar and where not
/// even the number of dimensions is known.
struct TensorInfo {
  std::string name;
  DType dtype = DType::kFloat32;
  Shape shape;
};

class Model {
 public:
  /// Reads an ONNX file (made for opset 9 or newer; older operators are taken where their meaning
  /// has not changed) and the external data beside it. kIo, kInvalidModel, kUnsupported or kLimit.
  static Result<std::shared_ptr<const Model>> Load(const std::string& path);
  /// The same from memory, without external data.
  static Result<std::shared_ptr<const Model>> Parse(std::string_view bytes);

  explicit Model(Graph graph);  // internal
  ~Model();

  std::vector<TensorInfo> inputs() const;
  std::vector<TensorInfo> outputs() const;
  /// metadata_props of the file, e.g. the class names that training tools store.
  const std::map<std::string, std::string>& metadata() const;
  const Graph& graph() const { return *graph_; }  // internal

 private:
  std::unique_ptr<const Graph> graph_;
};

/// How the weights of convolutions lie in memory.
enum class WeightFormat {
  kFloat32,
  /// Rounded to bfloat16 (8 bits of mantissa), for half the memory and half the reading where
  /// little changes. Arithmetic stays float32. Depthwise convolutions, those of at most 4 outputs
  /// and those that Winograd's algorithm computes keep float32. Outputs are then those of a rounded
  /// model: incremental runs are still exact in relation to dense ones of the same plan.
  kBfloat16,
};

struct PlanOptions {
  /// Shapes of inputs, by name. They replace what the model states, of the same rank (networks that
  /// have no size built in run at any). Without one, an unknown batch becomes 1, unknown channels 3
  /// and an unknown height or width 320; unknown dimensions of inputs of another rank than 4, 1.
  std::map<std::string, Shape> input_shapes;
  /// Inputs that stay the same, by name, with all their elements in row-major order: they become
  /// constants and are no inputs of the plan. float32, float64, bool (0 or 1), int32 and int64
  /// (whole numbers below 2^31) are taken.
  std::map<std::string, std::vector<double>> input_values;
  /// Instruction set: "AVX3" (AVX-512), "AVX2", "SSE4", "NEON", ...; empty: the best of this
  /// machine.
  std::string isa;
  WeightFormat weights = WeightFormat::kFloat32;
  /// Refuses models that need more memory per stream than this (guards against hostile shapes).
  uint64_t max_state_bytes = uint64_t{8} << 30;
};

/// A node that cannot run, and why.
struct Unsupported {
  std::string node;
  std::string op;
  std::string reason;
  ErrorCode code = ErrorCode::kUnsupported;
};

/// A layer of a plan, for reports.
struct LayerInfo {
  std::string name;
  std::string op;  // with fused work, e.g. "Conv+Silu"
  Shape output;
  int64_t macs = 0;    // multiply-adds of a dense step
  int64_t pixels = 0;  // output pixels of a dense step
};

class Plan {
 public:
  /// Fixes shapes, folds constants, fuses, chooses layouts and packs weights. kUsage for options
  /// that do not fit the model or the machine, kUnsupported (which names all nodes that cannot
  /// run), kInvalidModel or kLimit.
  static Result<std::shared_ptr<const Plan>> Compile(const Model& model,
                                                     const PlanOptions& options = {});
  /// Every node of the model that cannot run; empty if all can.
  static std::vector<Unsupported> Check(const Model& model, const PlanOptions& options = {});

  explicit Plan(std::unique_ptr<const PlanState> state);  // internal
  ~Plan();

  const std::vector<TensorInfo>& inputs() const;
  /// A shape that depends on the data (after NonMaxSuppression) is what the file declares;
  /// Stream::Output has the true one.
  const std::vector<TensorInfo>& outputs() const;
  std::vector<LayerInfo> layers() const;
  int64_t macs() const;           // multiply-adds of a dense step
  int64_t parameters() const;     // elements of all weights in the file
  uint64_t state_bytes() const;   // memory of one stream
  uint64_t weight_bytes() const;  // packed weights and constants, shared by all streams
  const char* isa() const;
  const PlanState& state() const { return *state_; }  // internal

 private:
  std::unique_ptr<const PlanState> state_;
};

}  // namespace deltacnn
