// Concat and Split. A concatenation costs nothing: its inputs are computed in its memory
// (core/place.cc sees to that), so the kernel only joins their masks. Split is lowered to slices.
#include "ops/concat.h"

#include <algorithm>

namespace deltacnn {
namespace {

class ConcatKernel : public Kernel {
 public:
  ConcatKernel(const MakeContext& context, size_t axis) {
    const Placement& out = context.out(0);
    along_pixels_ = HasAxis(out.pixel_axes, axis);
    int64_t before = 0;
    for (size_t i = 0; i < context.node.inputs.size(); ++i) {
      const Placement& in = context.in(i);
      Part part;
      if (along_pixels_) {
        // Row r of the part is row `rows[r]` of the whole, from column `col` on.
        for (int r = 0; r < in.grid.rows; ++r)
          part.rows.push_back(WholeRow(in, out, axis, before, r));
        part.col = IsLastPixelAxis(out, axis) ? static_cast<int>(before) : 0;
      }
      parts_.push_back(std::move(part));
      before += in.shape[axis];
    }
  }

  void Affected(std::span<const MaskView> inputs, const MaskView& out) const override {
    for (size_t i = 0; i < parts_.size(); ++i) {
      const MaskView& in = inputs[i];
      if (in.words == nullptr) continue;
      if (!along_pixels_) {
        out.Or(in);
        continue;
      }
      for (int r = 0; r < in.grid.rows; ++r) {
        ForEachRun(in.row(r), in.grid.cols, [&](int begin, int end) {
          out.SetRange(parts_[i].rows[static_cast<size_t>(r)], parts_[i].col + begin,
                       parts_[i].col + end);
        });
      }
    }
  }

  void Compute(const Work&) const override {}
  bool computes() const override { return false; }

 private:
  struct Part {
    std::vector<int> rows;
    int col = 0;
  };

  static bool IsLastPixelAxis(const Placement& value, size_t axis) {
    return (value.pixel_axes >> axis) == 1;
  }

  /// The grid row of `out` in which row r of a part lies that starts at index `before` of `axis`.
  static int WholeRow(const Placement& in, const Placement& out, size_t axis, int64_t before,
                      int r) {
    int64_t whole = 0;
    int64_t weight = 1;
    int64_t rest = r;
    bool last = true;
    for (size_t a = out.shape.size(); a-- > 0;) {
      if (!HasAxis(out.pixel_axes, a)) continue;
      if (last) {
        last = false;
        continue;
      }
      const int64_t index = rest % in.shape[a] + (a == axis ? before : 0);
      rest /= in.shape[a];
      whole += index * weight;
      weight *= out.shape[a];
    }
    return static_cast<int>(whole);
  }

  bool along_pixels_;
  std::vector<Part> parts_;
};

}  // namespace

size_t ConcatAxis(const Node& node, size_t rank) { return FromFront(node.Int("axis", 1), rank); }

void LayoutConcat(LayoutContext& context) {
  // All inputs take the layout of the one with the most pixels that is computed at run time.
  AxisSet axes = 0;
  int64_t most = 0;
  for (size_t i = 0; i < context.node.inputs.size(); ++i) {
    if (context.graph.Constant(context.node.inputs[i]) != nullptr) continue;
    int64_t pixels = 1;
    for (size_t a = 0; a < context.shape(i).size(); ++a)
      if (HasAxis(context.input_axes[i], a)) pixels *= context.shape(i)[a];
    if (pixels > most) {
      most = pixels;
      axes = context.input_axes[i];
    }
  }
  // Along a channel axis the parts of a pixel must be adjacent: no channel axis may lie outside it.
  const size_t axis = ConcatAxis(context.node, context.output_shape(0).size());
  if (!HasAxis(axes, axis)) {
    for (size_t a = 0; a < axis; ++a) axes |= Axis(a);
  }
  std::ranges::fill(context.input_axes, axes);
  context.output_axes[0] = axes;
}

Result<KernelPtr> MakeConcat(const MakeContext& context) {
  return KernelPtr(std::make_unique<ConcatKernel>(
      context, ConcatAxis(context.node, context.out(0).shape.size())));
}

void LayoutSplit(LayoutContext&) {}
Result<KernelPtr> MakeSplit(const MakeContext& context) {
  return context.Unsupported("internal error: not lowered to slices");
}

}  // namespace deltacnn
