// What an operator gives the engine: output shapes, wanted layout, and a kernel.
//
// Layout. Every value is stored pixel by pixel: some of its logical axes are *pixel axes*, the
// others *channel axes*. A pixel is one contiguous stretch of elements (the channel axes in logical
// order); pixels lie at row_offset[row] + col * col_stride, where the last pixel axis runs along
// the columns and all other pixel axes are folded into rows, in logical order. [N,C,H,W] with pixel
// axes N, H, W is thus NHWC; a value without pixel axes is one pixel: a plain row-major tensor.
// Masks have one bit a pixel.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/mask.h"
#include "core/weight_memory.h"
#include "deltacnn/result.h"
#include "graph/graph.h"
#include "kernels/kernels.h"

namespace deltacnn {

using AxisSet = uint64_t;  // bit a: logical axis a is a pixel axis

inline bool HasAxis(AxisSet set, size_t axis) { return (set >> axis & 1) != 0; }
inline AxisSet Axis(size_t axis) { return AxisSet{1} << axis; }
/// All axes of a tensor of this rank.
inline AxisSet AllAxes(size_t rank) { return (AxisSet{1} << rank) - 1; }
/// The pixel axes of [N,C,D1,D2,...]: all but axis 1.
inline AxisSet SpatialAxes(size_t rank) { return AllAxes(rank) & ~Axis(1); }

/// Where a value lives in a stream's memory.
struct Placement {
  DType dtype = DType::kFloat32;
  Shape shape;
  AxisSet pixel_axes = 0;
  Grid grid;
  int64_t channels = 1;             // elements of a pixel
  int buffer = -1;                  // index into Work::buffers
  std::vector<int64_t> strides;     // of every logical axis, in elements
  std::vector<int64_t> row_offset;  // of pixel (row, 0), in elements from the start of the buffer
  int64_t col_stride = 0;
  TensorPtr constant;  // row-major, set if the value is a constant

  int64_t Offset(int row, int col) const {
    return row_offset[static_cast<size_t>(row)] + col * col_stride;
  }
};

/// `count` adjacent pixels of a row.
struct Span {
  int row;
  int col;
  int count;
  size_t first;             // position of the first pixel in the step's list
  bool background = false;  // all pixels lie outside of the focus

  /// `length` of its pixels, the first of them `skipped` pixels on.
  Span Part(int skipped, int length) const {
    return {row, col + skipped, length, first + static_cast<size_t>(skipped), background};
  }
};

/// Which changes of a chain's result count. The strength of a pixel's change is the mean of
/// weights[channel] * change^2.
struct ChangeLimits {
  float cutoff = 0;      // changes up to this strength are not stored; 0: every bit counts
  float strong = 0;      // those above this one are flagged kStrong; not judged without a cutoff
  float background = 1;  // both are this many times as large for spans of the background
  const float* weights = nullptr;
};

/// The flags of a computed pixel.
constexpr uint8_t kChanged = 1;
constexpr uint8_t kStrong = 2;

/// The distance of the listed pixels from one to the next, in elements, if it is the same
/// throughout; else 0. `offset(row, col)` is the place of a pixel, adjacent ones are `step` apart.
template <class OffsetOf>
ptrdiff_t EqualStep(std::span<const Span> spans, ptrdiff_t step, OffsetOf&& offset) {
  const Span& start = spans.front();
  const ptrdiff_t first = offset(start.row, start.col);
  for (const Span& span : spans.subspan(1)) {
    if (offset(span.row, span.col) !=
        first + static_cast<ptrdiff_t>(span.first - start.first) * step)
      return 0;
  }
  return step;
}

/// One call of Kernel::Compute.
struct Work {
  std::span<const Span> spans;  // at most Kernel::ChunkPixels() pixels
  std::byte* const* buffers;    // of the stream
  std::byte* scratch;           // Kernel::ScratchBytes() bytes, aligned to 64, of this thread
  uint8_t* changed;             // of every listed pixel: kChanged where an output changed
  bool compare = true;          // false: nobody reads `changed`, all of it counts as set
  ChangeLimits limits = {};

  template <class T>
  T* Pixel(const Placement& value, int row, int col) const {
    return reinterpret_cast<T*>(buffers[value.buffer]) + value.Offset(row, col);
  }
};

/// A node, ready to run. Immutable and shared by all streams of a plan.
class Kernel {
 public:
  virtual ~Kernel() = default;

  /// Sets in `out` (cleared before) every output pixel that a changed input pixel can reach.
  /// `inputs` are the masks of the node's inputs, then of its chain operands; absent ones have no
  /// words.
  virtual void Affected(std::span<const MaskView> inputs, const MaskView& out) const = 0;

  /// Computes the listed pixels of all outputs in full, stores them and reports what changed.
  virtual void Compute(const Work& work) const = 0;

  /// False for nodes that only forward masks: their outputs lie in their inputs' memory.
  virtual bool computes() const { return true; }
  virtual size_t ScratchBytes() const { return 0; }
  /// Most pixels of one Compute call.
  virtual int ChunkPixels() const { return 256; }
  /// Pixels of a square tile of this side are cheaper together: they are listed one after the
  /// other.
  virtual int TileSide() const { return 1; }
  virtual int64_t MacsPerPixel() const { return 0; }
  /// True if Compute obeys Work::limits.
  virtual bool takes_cutoff() const { return false; }
  virtual size_t WeightBytes() const { return 0; }
  /// True if an element of this input (counted as in MakeContext::inputs) is read for the same
  /// element of the output only, before that one is written: both could lie in the same memory.
  virtual bool MayOverwrite(size_t /*input*/) const { return false; }
};

/// Zeros that a spatial operator reads around its input, in pixels.
struct Halo {
  int top = 0, bottom = 0, left = 0, right = 0;
  void Cover(const Halo& other);
  bool Empty() const { return top == 0 && bottom == 0 && left == 0 && right == 0; }
};

/// What shape inference sees. Also records outputs that are known constants.
class InferContext {
 public:
  InferContext(const Node& node, Graph& graph, uint64_t max_constant_bytes = uint64_t{1} << 29)
      : node(node), max_constant_bytes(max_constant_bytes), graph_(graph) {}

  const Node& node;
  const uint64_t max_constant_bytes;  // most that a few numbers in a file may ask for
  int64_t opset() const { return graph_.opset; }
  bool Has(size_t input) const { return node.Input(input) != kNoValue; }
  const Shape& shape(size_t input) const { return *value(input).shape; }
  size_t rank(size_t input) const { return shape(input).size(); }
  DType dtype(size_t input) const { return value(input).dtype; }
  /// Null unless the input is a constant.
  const Tensor* constant(size_t input) const { return value(input).constant.get(); }
  /// The elements of a constant int64 or int32 input. An error marked data-dependent if it is none.
  Result<std::vector<int64_t>> ConstantInts(size_t input);
  /// `axis` counted from the front; an error if it is out of range.
  Result<size_t> NormalisedAxis(int64_t axis, size_t rank) const;

  /// An error if a constant that the node makes would be too large; to be asked before it is made.
  Status CheckConstant(const Shape& shape, DType dtype) const;
  void SetOutput(size_t output, DType dtype, Shape shape);
  void SetConstant(size_t output, Tensor tensor);
  /// "node 'Conv_3' (Conv): <what>"
  Error Invalid(const std::string& what) const;
  Error Unsupported(const std::string& what) const;
  /// An error that also marks the node data-dependent.
  Error DataDependent(const std::string& what);
  /// True after an input that had to be constant was not: the node's output shape depends on data.
  bool data_dependent() const { return data_dependent_; }

 private:
  const Value& value(size_t input) const {
    return graph_.values[static_cast<size_t>(node.Input(input))];
  }
  Graph& graph_;
  bool data_dependent_ = false;
};

/// What layout selection sees and decides. `input_axes` holds the pixel axes that the inputs (then
/// the chain operands) have; the operator changes those it needs otherwise and sets `output_axes`.
struct LayoutContext {
  const Node& node;
  const Graph& graph;
  std::vector<AxisSet> input_axes;
  std::vector<Halo> input_halo;  // zeros wanted around each input, none by default
  // False for constants that `make` takes from Placement::constant, so that no second copy is laid
  // out.
  std::vector<bool> input_in_memory;
  std::vector<AxisSet> output_axes;  // one per output

  const Shape& shape(size_t input) const {
    return *graph.values[static_cast<size_t>(node.Input(input))].shape;
  }
  const Shape& output_shape(size_t output) const {
    return *graph.values[static_cast<size_t>(node.outputs[output])].shape;
  }
};

/// What kernel construction sees.
struct MakeContext {
  const Node& node;
  const Graph& graph;
  int64_t opset;
  bool alias;  // the output lies in the memory of the first input: nothing has to move
  std::vector<const Placement*> inputs;   // node inputs, then chain operands; null where absent
  std::vector<const Placement*> outputs;  // null where absent
  const kernels::Table& kernels;
  WeightMemory& memory;           // for what the kernel makes of constants
  bool bfloat16_weights = false;  // PlanOptions::weights asks for them

  const Placement& in(size_t i) const { return *inputs[i]; }
  const Placement& out(size_t o) const { return *outputs[o]; }
  bool Has(size_t i) const { return i < node.inputs.size() && inputs[i] != nullptr; }
  Error Unsupported(const std::string& what) const;
};

using KernelPtr = std::unique_ptr<Kernel>;

/// An operator type. One row of ops.inc.
struct OpDef {
  std::string_view type;  // ONNX name, or that of an internal one
  bool internal;          // made by the passes (see graph/lower.h); no model may name it
  Status (*infer)(InferContext& context);
  void (*layout)(LayoutContext& context);
  Result<KernelPtr> (*make)(const MakeContext& context);
};

/// "node 'Conv_3' (Conv): <what>", on one line.
Error NodeError(ErrorCode code, const Node& node, const std::string& what);
/// What `make` returns for operators that shape inference always turns into constants.
Error NeverPlanned(const MakeContext& context);

/// Null if no operator has this type (of the default ONNX domain).
const OpDef* FindOp(std::string_view type);
/// Every row of ops.inc.
std::span<const OpDef> AllOps();

}  // namespace deltacnn
