// Sums along the elements of a pixel, in double precision and in an order that depends on nothing
// but their number.
#pragma once

#include <array>
#include <cstddef>

namespace deltacnn {

/// The sum of term(x[i]) over n elements. Four partial sums keep the additions independent.
template <class T, class Term>
double SumOf(const T* x, size_t n, Term&& term) {
  std::array<double, 4> part{};
  size_t i = 0;
  for (; i + part.size() <= n; i += part.size()) {
    for (size_t lane = 0; lane < part.size(); ++lane) part[lane] += term(x[i + lane]);
  }
  for (size_t lane = 0; i < n; ++i, ++lane) part[lane] += term(x[i]);
  return (part[0] + part[1]) + (part[2] + part[3]);
}

}  // namespace deltacnn
