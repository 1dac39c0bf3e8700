// How far two tensors are apart.
#pragma once

#include "deltacnn/tensor.h"

namespace deltacnn::cli {

struct Difference {
  bool same_bits = true;
  /// Largest |a - b|. Where only one of the two is a number, or shapes differ: the largest double.
  double absolute = 0;
  /// `absolute` / the largest finite |reference|; 0 where `absolute` is, else at most the largest
  /// double.
  double relative = 0;
};

Difference Compare(const TensorView& tensor, const TensorView& reference);

}  // namespace deltacnn::cli
