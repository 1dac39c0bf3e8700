#include "difference.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

namespace deltacnn::cli {
namespace {

constexpr double kLargest = std::numeric_limits<double>::max();

template <class T>
double Distance(T a, T b) {
  const auto x = static_cast<double>(a);
  const auto y = static_cast<double>(b);
  if (x == y || (std::isnan(x) && std::isnan(y))) return 0;
  const double distance = std::abs(x - y);
  return std::isfinite(distance) ? distance : kLargest;
}

template <class T>
Difference CompareAs(const TensorView& tensor, const TensorView& reference) {
  Difference difference;
  difference.same_bits = false;
  double scale = 0;
  const auto a = tensor.as<T>();
  const auto b = reference.as<T>();
  for (size_t i = 0; i < a.size(); ++i) {
    difference.absolute = std::max(difference.absolute, Distance(a[i], b[i]));
    const double size = std::abs(static_cast<double>(b[i]));
    if (std::isfinite(size)) scale = std::max(scale, size);
  }
  if (difference.absolute > 0)
    difference.relative = scale > 0 ? std::min(kLargest, difference.absolute / scale) : kLargest;
  return difference;
}

}  // namespace

Difference Compare(const TensorView& tensor, const TensorView& reference) {
  constexpr Difference kApart = {.same_bits = false, .absolute = kLargest, .relative = kLargest};
  if (tensor.dtype != reference.dtype || !std::ranges::equal(tensor.shape, reference.shape))
    return kApart;
  const size_t bytes = static_cast<size_t>(tensor.elements()) * SizeOf(tensor.dtype);
  if (bytes == 0 || std::memcmp(tensor.data, reference.data, bytes) == 0) return {};
  switch (tensor.dtype) {
    case DType::kFloat32:
      return CompareAs<float>(tensor, reference);
    case DType::kFloat64:
      return CompareAs<double>(tensor, reference);
    case DType::kInt8:
      return CompareAs<int8_t>(tensor, reference);
    case DType::kUint8:
      return CompareAs<uint8_t>(tensor, reference);
    case DType::kInt32:
      return CompareAs<int32_t>(tensor, reference);
    case DType::kInt64:
      return CompareAs<int64_t>(tensor, reference);
    case DType::kBool:
      return CompareAs<bool>(tensor, reference);
    case DType::kFloat16:  // no operator computes in it, so outputs of the type are constants
      break;
  }
  return kApart;
}

}  // namespace deltacnn::cli
