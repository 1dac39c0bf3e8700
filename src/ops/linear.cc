// Gemm and MatMul of what the network computes. Every row of the result is a pixel: it reads one
// row of A, all of B (or of its matrix, where B is a stack of them) and, for Gemm, its row of C.
// Most products with constants have become Linear (conv.cc).
#include <algorithm>
#include <optional>
#include <utility>

#include "ops/broadcast.h"
#include "ops/checks.h"
#include "ops/op.h"
#include "ops/packed_weights.h"
#include "ops/scratch.h"

namespace deltacnn {
namespace {

/// What both operators are: row = alpha * (row of A) * B + beta * (row of C).
struct Product {
  size_t k_axis = 0;  // of B: the summed one
  size_t n_axis = 1;  // of B: the other one; k_axis if B is a vector
  float alpha = 1;
  float beta = 1;
  const Placement* c = nullptr;
};

/// The pixels of a value, as if each of them held one element.
Placement PixelsOf(const Placement& value) {
  Placement pixels = value;
  pixels.shape.clear();
  for (size_t a = 0; a < value.shape.size(); ++a) {
    if (HasAxis(value.pixel_axes, a)) pixels.shape.push_back(value.shape[a]);
  }
  pixels.pixel_axes = AllAxes(pixels.shape.size());
  pixels.channels = 1;
  return pixels;
}

/// beta * C, if there is any.
class AddedOperand {
 public:
  AddedOperand(const Product& product, const Placement& out, const kernels::Table& kernels)
      : kernels_(kernels), beta_(product.beta) {
    if (product.c != nullptr) map_.emplace(*product.c, out);
  }

  void Affect(std::span<const MaskView> inputs, const MaskView& out) const {
    if (map_) map_->Affect(inputs[2], out);
  }

  /// Adds elements [first, first + n) of output pixel (row, col) to `sum`.
  void AddTo(float* sum, const Work& work, int row, int col, size_t first, size_t n) const {
    if (!map_) return;
    const float* c = map_->Pixel<float>(work, row, col);
    if (map_->single()) {
      kernels_.binary_scalar(kernels::Binary::kAdd, sum, beta_ * c[0], n);
    } else {
      kernels_.accumulate(sum, c + first, beta_, n);
    }
  }

 private:
  const kernels::Table& kernels_;
  float beta_;
  std::optional<BroadcastMap> map_;
};

/// Any change of B reaches every row. Each call packs the panels of B that it needs.
class StreamedProduct : public Kernel {
 public:
  StreamedProduct(const MakeContext& context, const Product& product)
      : b_(context.in(1)),
        out_(context.out(0)),
        kernels_(context.kernels),
        a_map_(PixelsOf(context.in(0)), PixelsOf(out_)),
        depth_(static_cast<size_t>(context.in(0).channels)),
        width_(static_cast<size_t>(out_.channels)),
        k_stride_(StrideOf(product.k_axis)),
        n_stride_(product.n_axis == product.k_axis ? 1 : StrideOf(product.n_axis)),
        alpha_(product.alpha),
        added_(product, out_, kernels_) {
    // Leading axes of B, if any, pair up with those of the result.
    const size_t stacked = b_.shape.size() > 2 ? b_.shape.size() - 2 : 0;
    Shape stack = PixelsOf(out_).shape;
    if (context.in(0).shape.size() > 1) {
      rows_per_matrix_ = stack.back();
      stack.pop_back();
    }
    const int64_t matrices = ElementCount(stack);
    for (int64_t m = 0; m < matrices; ++m) {
      int64_t rest = m;
      int64_t offset = b_.Offset(0, 0);
      int64_t row = 0;  // of B's grid, where each matrix is one
      int64_t rows = 1;
      for (size_t i = 0; i < stacked; ++i) {  // from the innermost axis
        const size_t axis = stacked - 1 - i;
        const int64_t dim = stack[stack.size() - 1 - i];
        const int64_t at = b_.shape[axis] != 1 ? rest % dim : 0;
        offset += at * b_.strides[axis];
        row += at * rows;
        rows *= b_.shape[axis];
        rest /= dim;
      }
      const bool in_grid = stacked > 0 && b_.pixel_axes != 0;
      matrix_offset_.push_back(in_grid ? b_.Offset(static_cast<int>(row), 0) : offset);
    }
  }

  void Affected(std::span<const MaskView> inputs, const MaskView& out) const override {
    if (inputs[1].words != nullptr && !inputs[1].Empty()) {
      out.Fill();
      return;
    }
    a_map_.Affect(inputs[0], out);
    added_.Affect(inputs, out);
  }

  void Compute(const Work& work) const override {
    Row* rows = Divide(work.scratch).rows;
    size_t count = 0;
    int64_t matrix = -1;  // of these rows
    for (const Span& span : work.spans) {
      for (int i = 0; i < span.count; ++i) {
        const int col = span.col + i;
        const int64_t next = (int64_t{span.row} * out_.grid.cols + col) / rows_per_matrix_;
        if (next != matrix && count > 0) {
          Multiply(work, rows, count, matrix);
          count = 0;
        }
        matrix = next;
        rows[count++] = {span.row, col, span.first + static_cast<size_t>(i)};
      }
    }
    Multiply(work, rows, count, matrix);
  }

  size_t ScratchBytes() const override { return Divide(nullptr).bytes; }
  int64_t MacsPerPixel() const override { return static_cast<int64_t>(depth_ * width_); }

 private:
  /// Of one of B's last two axes. If B has pixels, one of them is a pixel's channels.
  int64_t StrideOf(size_t axis) const {
    if (b_.pixel_axes == 0) return b_.strides[axis];
    return HasAxis(b_.pixel_axes, axis) ? b_.col_stride : 1;
  }

  static constexpr size_t kPart = 512;  // rows of a panel that are packed at once

  /// A listed row of the result.
  struct Row {
    int row, col;
    size_t place;  // in the list
  };

  struct Scratch {
    Row* rows;
    const float** pixels;
    float* panel;
    float* sums;
    size_t bytes;
  };

  Scratch Divide(std::byte* scratch) const {
    const auto chunk = static_cast<size_t>(ChunkPixels());
    ScratchDivider divider(scratch);
    return {.rows = divider.Take<Row>(chunk),
            .pixels = divider.Take<const float*>(chunk),
            .panel = divider.Take<float>(std::min(depth_, kPart) * kernels_.panel),
            .sums = divider.Take<float>(chunk * kernels_.panel),
            .bytes = divider.used()};
  }

  /// The listed rows, all of which read the same matrix.
  void Multiply(const Work& work, const Row* rows, size_t count, int64_t matrix) const {
    const Scratch scratch = Divide(work.scratch);
    const auto* b = reinterpret_cast<const float*>(work.buffers[b_.buffer]) +
                    matrix_offset_[static_cast<size_t>(matrix)];
    for (size_t i = 0; i < count; ++i)
      scratch.pixels[i] = a_map_.Pixel<float>(work, rows[i].row, rows[i].col);
    const size_t panel = kernels_.panel;
    for (size_t first = 0; first < width_; first += panel) {
      const size_t n = std::min(panel, width_ - first);
      for (size_t k = 0; k == 0 || k < depth_; k += kPart) {
        const size_t length = std::min(kPart, depth_ - k);
        Pack(b + static_cast<int64_t>(k) * k_stride_ + static_cast<int64_t>(first) * n_stride_,
             length, n, scratch.panel);
        const auto offset = static_cast<ptrdiff_t>(k);
        kernels_.gemm({.pixels = scratch.pixels,
                       .count = count,
                       .run_offset = &offset,
                       .runs = 1,
                       .run_length = length,
                       .weights = scratch.panel,
                       .bias = kNoBias.data(),
                       .sums = k == 0 ? nullptr : scratch.sums,
                       .out = scratch.sums,
                       .out_pitch = panel,
                       .columns = n});
      }
      for (size_t i = 0; i < count; ++i) {
        const Row& row = rows[i];
        float* sum = scratch.sums + i * panel;
        added_.AddTo(sum, work, row.row, row.col, first, n);
        if (kernels_.store_changed(work.Pixel<float>(out_, row.row, row.col) + first, sum, n))
          work.changed[row.place] = kChanged;
      }
    }
  }

  /// `length` rows of `n` elements of alpha * B as rows of a panel.
  void Pack(const float* b, size_t length, size_t n, float* packed) const {
    const size_t panel = kernels_.panel;
    if (n_stride_ == 1) {
      for (size_t k = 0; k < length; ++k)
        std::copy_n(b + static_cast<int64_t>(k) * k_stride_, n, packed + k * panel);
    } else {
      kernels_.transpose(b, n_stride_, n, length, packed, static_cast<ptrdiff_t>(panel));
    }
    if (alpha_ != 1) kernels_.binary_scalar(kernels::Binary::kMul, packed, alpha_, length * panel);
  }

  Placement b_;
  Placement out_;
  const kernels::Table& kernels_;
  BroadcastMap a_map_;
  size_t depth_;
  size_t width_;
  int64_t k_stride_;
  int64_t n_stride_;  // 1, or else k_stride_ is
  float alpha_;
  int64_t rows_per_matrix_ = 1;
  std::vector<int64_t> matrix_offset_;
  AddedOperand added_;
};

}  // namespace

Status InferGemm(InferContext& context) {
  DELTACNN_RETURN_IF_ERROR(CheckFloats(context, 3, 2));
  const Shape& a = context.shape(0);
  const Shape& b = context.shape(1);
  if (a.size() != 2 || b.size() != 2) {
    return context.Invalid("A " + ToString(a) + " and B " + ToString(b) + " must be matrices");
  }
  const bool trans_a = context.node.Int("transA", 0) != 0;
  const bool trans_b = context.node.Int("transB", 0) != 0;
  if (a[trans_a ? 0 : 1] != b[trans_b ? 1 : 0])
    return context.Invalid("A " + ToString(a) + " and B " + ToString(b) + " do not fit");
  const Shape output = {a[trans_a ? 1 : 0], b[trans_b ? 0 : 1]};
  if (context.Has(2) && !BroadcastsTo(context.shape(2), output)) {
    return context.Invalid("C " + ToString(context.shape(2)) + " does not broadcast to " +
                           ToString(output));
  }
  context.SetOutput(0, DType::kFloat32, output);
  return {};
}

void LayoutGemm(LayoutContext& context) {
  const Node& node = context.node;
  context.output_axes[0] = Axis(0);
  context.input_axes[0] = Axis(node.Int("transA", 0) != 0 ? 1 : 0);
  context.input_axes[1] = Axis(0);
  if (node.Input(2) != kNoValue)
    context.input_axes[2] = BroadcastAxes(context.shape(2), context.output_shape(0), Axis(0));
}

Result<KernelPtr> MakeGemm(const MakeContext& context) {
  const Node& node = context.node;
  Product product;
  if (node.Int("transB", 0) != 0) std::swap(product.k_axis, product.n_axis);
  product.alpha = node.Float("alpha", 1);
  product.beta = node.Float("beta", 1);
  if (context.Has(2)) product.c = &context.in(2);
  return KernelPtr(std::make_unique<StreamedProduct>(context, product));
}

Status InferMatMul(InferContext& context) {
  DELTACNN_RETURN_IF_ERROR(CheckFloats(context, 2, 2));
  Shape a = context.shape(0);
  Shape b = context.shape(1);
  const Error mismatch =
      context.Invalid("A " + ToString(a) + " and B " + ToString(b) + " do not fit");
  if (a.empty() || b.empty()) return mismatch;
  // A vector is a row of A or a column of B; its other axis is dropped from the result.
  const bool a_is_vector = a.size() == 1;
  const bool b_is_vector = b.size() == 1;
  if (a_is_vector) a.insert(a.begin(), 1);
  if (b_is_vector) b = {b[0], 1};
  if (a.back() != b[b.size() - 2]) return mismatch;
  auto output = BroadcastShapes(Shape(a.begin(), a.end() - 2), Shape(b.begin(), b.end() - 2));
  if (!output) return mismatch;
  if (!a_is_vector) output->push_back(a[a.size() - 2]);
  if (!b_is_vector) output->push_back(b.back());
  context.SetOutput(0, DType::kFloat32, *std::move(output));
  return {};
}

void LayoutMatMul(LayoutContext& context) {
  const bool b_is_vector = context.shape(1).size() == 1;
  const size_t rank = context.output_shape(0).size();
  context.input_axes[0] = AllAxes(context.shape(0).size() - 1);
  // B may lie by rows, by columns or as one block.
  const size_t b_rank = context.shape(1).size();
  AxisSet& b_axes = context.input_axes[1];
  const AxisSet by_rows = AllAxes(b_rank - 1);
  const bool by_columns = b_rank >= 2 && b_axes == (AllAxes(b_rank) & ~Axis(b_rank - 2));
  if (b_axes != 0 && !by_columns) b_axes = by_rows;
  context.output_axes[0] = AllAxes(b_is_vector ? rank : rank - 1);
}

Result<KernelPtr> MakeMatMul(const MakeContext& context) {
  const Placement& b = context.in(1);
  const size_t rank = b.shape.size();
  Product product;
  product.k_axis = rank < 2 ? 0 : rank - 2;
  product.n_axis = rank - 1;
  return KernelPtr(std::make_unique<StreamedProduct>(context, product));
}

}  // namespace deltacnn
