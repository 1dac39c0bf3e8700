#include "ops/statistics.h"

#include <algorithm>
#include <cmath>

#include "ops/checks.h"
#include "ops/op.h"
#include "ops/runs.h"
#include "ops/store.h"

namespace deltacnn {
namespace {

using kernels::Binary;

/// The mean of each row of pixels and the sum of its squared distances from that mean: two floats a
/// channel, all means first. They combine without the cancellation that plain sums suffer.
class RowMoments : public RunKernel {
 public:
  explicit RowMoments(const MakeContext& context)
      : RunKernel(context.in(0), context.out(0).grid),
        out_(context.out(0)),
        kernels_(context.kernels) {}

  size_t ScratchBytes() const override { return 3 * lanes() * channels() * sizeof(float); }

  void Compute(const Work& work) const override {
    const size_t n = channels();
    auto* mean = reinterpret_cast<float*>(work.scratch);  // of every lane: of all pixels
    float* squares = mean + lanes() * n;
    float* distance = squares + lanes() * n;
    ForEachPixel(work, [&](int row, int col) {
      std::fill_n(mean, 2 * lanes() * n, 0.0f);
      ForEachStretch(work, row, col, [&](const float* x, size_t lane, size_t count) {
        kernels_.binary(Binary::kAdd, mean + lane * n, x, count * n);
      });
      AddLanes(mean);
      kernels_.binary_scalar(Binary::kDiv, mean, static_cast<float>(run()), n);
      for (size_t lane = 1; lane < lanes(); ++lane) std::copy_n(mean, n, mean + lane * n);
      ForEachStretch(work, row, col, [&](const float* x, size_t lane, size_t count) {
        std::copy_n(x, count * n, distance);
        kernels_.binary(Binary::kSub, distance, mean, count * n);
        kernels_.binary(Binary::kMul, distance, distance, count * n);
        kernels_.binary(Binary::kAdd, squares + lane * n, distance, count * n);
      });
      AddLanes(squares);
      float* stored = work.Pixel<float>(out_, row, col);
      const bool mean_changed = kernels_.store_changed(stored, mean, n);
      return kernels_.store_changed(stored + n, squares, n) || mean_changed;
    });
  }

 private:
  void AddLanes(float* sums) const {
    for (size_t lane = 1; lane < lanes(); ++lane)
      kernels_.binary(Binary::kAdd, sums, sums + lane * channels(), channels());
  }

  Placement out_;
  const kernels::Table& kernels_;
};

/// The moments of all rows of a picture, scale and bias -> factor and offset of every channel.
/// Adjacent channels form groups of one size, each normalised as a whole; scale and bias belong to
/// channels or to groups.
class MomentsToAffine : public RunKernel {
 public:
  explicit MomentsToAffine(const MakeContext& context)
      : RunKernel(context.in(0), context.out(0).grid),
        scale_(context.in(1)),
        bias_(context.in(2)),
        factor_(context.out(0)),
        offset_(context.out(1)),
        kernels_(context.kernels),
        groups_(static_cast<size_t>(context.node.Int("groups", factor_.channels))),
        row_pixels_(static_cast<double>(context.node.Int("row_pixels", 1))),
        epsilon_(context.node.Float("epsilon", 1e-5f)) {}

  size_t ScratchBytes() const override {
    const auto n = static_cast<size_t>(factor_.channels);
    return n * (2 * sizeof(double) + 2 * sizeof(float));
  }

  void Compute(const Work& work) const override {
    const auto n = static_cast<size_t>(factor_.channels);
    auto* mean = reinterpret_cast<double*>(work.scratch);
    double* squares = mean + n;
    auto* factor = reinterpret_cast<float*>(squares + n);
    float* offset = factor + n;
    const float* scale = work.Pixel<float>(scale_, 0, 0);
    const float* bias = work.Pixel<float>(bias_, 0, 0);
    const auto rows = static_cast<double>(run());
    const size_t sharing = n / static_cast<size_t>(scale_.shape[0]);  // channels of one scale
    ForEachPixel(work, [&](int row, int col) {
      std::fill_n(mean, 2 * n, 0.0);
      ForEachRow(work, row, col, [&](const float* row_means, const float*) {
        for (size_t c = 0; c < n; ++c) mean[c] += row_means[c];
      });
      for (size_t c = 0; c < n; ++c) mean[c] /= rows;
      ForEachRow(work, row, col, [&](const float* row_means, const float* row_squares) {
        for (size_t c = 0; c < n; ++c) {
          const double distance = row_means[c] - mean[c];
          squares[c] += row_squares[c] + row_pixels_ * distance * distance;
        }
      });
      JoinGroups(mean, squares, rows * row_pixels_);
      for (size_t c = 0; c < n; ++c) {
        const double variance = squares[c] / (rows * row_pixels_);
        const double f = scale[c / sharing] / std::sqrt(variance + epsilon_);
        factor[c] = static_cast<float>(f);
        offset[c] = static_cast<float>(bias[c / sharing] - mean[c] * f);
      }
      const bool factor_changed =
          kernels_.store_changed(work.Pixel<float>(factor_, row, col), factor, n);
      return kernels_.store_changed(work.Pixel<float>(offset_, row, col), offset, n) ||
             factor_changed;
    });
  }

 private:
  /// Calls visit(means, squares) for every row of a picture.
  template <class Visit>
  void ForEachRow(const Work& work, int row, int col, Visit&& visit) const {
    const auto n = static_cast<size_t>(factor_.channels);
    ForEachStretch(work, row, col, [&](const float* moments, size_t, size_t count) {
      for (size_t i = 0; i < count; ++i, moments += 2 * n) visit(moments, moments + n);
    });
  }

  /// Gives every channel the mean of its group and, of the squared distances from it, its share.
  void JoinGroups(double* mean, double* squares, double pixels) const {
    const size_t size = static_cast<size_t>(factor_.channels) / groups_;
    if (size == 1) return;
    const auto share = static_cast<double>(size);
    for (size_t g = 0; g < groups_; ++g, mean += size, squares += size) {
      double joint_mean = 0;
      for (size_t c = 0; c < size; ++c) joint_mean += mean[c] / share;
      double joint_squares = 0;
      for (size_t c = 0; c < size; ++c) {
        const double distance = mean[c] - joint_mean;
        joint_squares += squares[c] + pixels * distance * distance;
      }
      std::fill_n(mean, size, joint_mean);
      std::fill_n(squares, size, joint_squares / share);
    }
  }

  Placement scale_;
  Placement bias_;
  Placement factor_;
  Placement offset_;
  const kernels::Table& kernels_;
  size_t groups_;
  double row_pixels_;
  double epsilon_;
};

/// Checks that inputs 1 and 2 are vectors of `channels` elements.
Status CheckScaleAndBias(const InferContext& context, int64_t channels) {
  for (size_t i = 1; i <= 2; ++i) {
    if (context.shape(i) != Shape{channels}) {
      return context.Invalid("input " + std::to_string(i) + " " + ToString(context.shape(i)) +
                             " must be [" + std::to_string(channels) + "]");
    }
  }
  return {};
}

Status InferInstances(InferContext& context) {
  DELTACNN_RETURN_IF_ERROR(CheckFloats(context, 3, 3));
  DELTACNN_RETURN_IF_ERROR(CheckPicture(context));
  return CheckScaleAndBias(context, context.shape(0)[1]);
}

Status InferGroups(InferContext& context) {
  DELTACNN_RETURN_IF_ERROR(CheckFloats(context, 3, 3));
  DELTACNN_RETURN_IF_ERROR(CheckPicture(context));
  const int64_t channels = context.shape(0)[1];
  const int64_t groups = context.node.Int("num_groups", 0);
  if (groups < 1 || channels % groups != 0) {
    return context.Invalid("num_groups " + std::to_string(groups) + " does not divide the " +
                           std::to_string(channels) + " channels");
  }
  constexpr int64_t kPerChannelSince = 21;  // of the opset: scale and bias were per group before
  return CheckScaleAndBias(context, context.opset() < kPerChannelSince ? groups : channels);
}

Status InferLp(InferContext& context) {
  DELTACNN_RETURN_IF_ERROR(CheckFloats(context, 1, 1));
  const auto axis = context.NormalisedAxis(context.node.Int("axis", -1), context.rank(0));
  if (!axis.ok()) return axis.error();
  if (const int64_t p = context.node.Int("p", 2); p != 1 && p != 2)
    return context.Invalid("p is " + std::to_string(p) + ", neither 1 nor 2");
  return {};
}

Status InferMeanVariance(InferContext& context) {
  DELTACNN_RETURN_IF_ERROR(CheckFloats(context, 1, 1));
  if (ElementCount(context.shape(0)) < 1)
    return context.Invalid("nothing to normalise in " + ToString(context.shape(0)));
  for (const int64_t axis : MeanVarianceAxes(context.node)) {
    if (const auto normal = context.NormalisedAxis(axis, context.rank(0)); !normal.ok())
      return normal.error();
  }
  return {};
}

Status InferByType(InferContext& context) {
  const std::string& op = context.node.op;
  if (op == "GroupNormalization") return InferGroups(context);
  if (op == "LpNormalization") return InferLp(context);
  if (op == "MeanVarianceNormalization") return InferMeanVariance(context);
  return InferInstances(context);
}

}  // namespace

std::vector<int64_t> MeanVarianceAxes(const Node& node) {
  std::vector<int64_t> axes = node.Ints("axes");
  if (axes.empty()) axes = {0, 2, 3};
  return axes;
}

Status InferNormalisation(InferContext& context) {
  DELTACNN_RETURN_IF_ERROR(InferByType(context));
  context.SetOutput(0, DType::kFloat32, context.shape(0));
  return {};
}

void LayoutNormalisation(LayoutContext&) {}

Result<KernelPtr> MakeNormalisation(const MakeContext& context) { return NeverPlanned(context); }

Status InferRowMoments(InferContext& context) {
  DELTACNN_RETURN_IF_ERROR(CheckFloats(context, 1, 1));
  DELTACNN_RETURN_IF_ERROR(CheckPicture(context));
  Shape shape = context.shape(0);
  shape[1] *= 2;
  shape.back() = 1;
  context.SetOutput(0, DType::kFloat32, std::move(shape));
  return {};
}

void LayoutRowMoments(LayoutContext& context) {
  const size_t rank = context.shape(0).size();
  context.input_axes[0] = SpatialAxes(rank);
  context.output_axes[0] = SpatialAxes(rank) & ~Axis(rank - 1);
}

Result<KernelPtr> MakeRowMoments(const MakeContext& context) {
  return KernelPtr(std::make_unique<RowMoments>(context));
}

Status InferMomentsToAffine(InferContext& context) {
  DELTACNN_RETURN_IF_ERROR(CheckFloats(context, 3, 3));
  DELTACNN_RETURN_IF_ERROR(CheckPicture(context));
  const Shape& moments = context.shape(0);
  if (moments[1] % 2 != 0 || moments.back() != 1 || context.node.Int("row_pixels", 1) < 1)
    return context.Invalid("the input " + ToString(moments) + " does not hold moments of rows");
  const int64_t channels = moments[1] / 2;
  const int64_t groups = context.node.Int("groups", channels);
  if (groups < 1 || channels % groups != 0)
    return context.Invalid("there are no " + std::to_string(groups) + " groups of channels");
  const bool by_group = context.shape(1) == Shape{groups};
  DELTACNN_RETURN_IF_ERROR(CheckScaleAndBias(context, by_group ? groups : channels));
  Shape shape(moments.size(), 1);
  shape[0] = moments[0];
  shape[1] = channels;
  context.SetOutput(0, DType::kFloat32, shape);
  context.SetOutput(1, DType::kFloat32, shape);
  return {};
}

void LayoutMomentsToAffine(LayoutContext& context) {
  const size_t rank = context.shape(0).size();
  context.input_axes[0] = SpatialAxes(rank) & ~Axis(rank - 1);
  context.input_axes[1] = 0;
  context.input_axes[2] = 0;
  std::ranges::fill(context.output_axes, SpatialAxes(rank));
}

Result<KernelPtr> MakeMomentsToAffine(const MakeContext& context) {
  return KernelPtr(std::make_unique<MomentsToAffine>(context));
}

}  // namespace deltacnn
