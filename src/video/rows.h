// Work on rows of samples and of levels, compiled for several instruction sets. All of them give
// the same bits: the same sums in the same order, none of them fused.
#pragma once

#include <cstddef>
#include <cstdint>

namespace deltacnn::rows {

/// So many elements behind the last one of a row may be read and written, where nothing else is
/// said.
inline constexpr size_t kPadding = 16;

/// Y' = (Y - luma_offset) * luma_scale; with U and V around 0: R = Y' + red_v V,
/// G = Y' - green_u U - green_v V, B = Y' + blue_u U.
struct YuvCoefficients {
  float luma_scale = 1;
  float luma_offset = 0;
  float red_v = 0;
  float green_u = 0;
  float green_v = 0;
  float blue_u = 0;
};

/// Levels of 0..255, fractions kept, values outside clamped.
void YuvToRgb(const YuvCoefficients& k, const uint8_t* luma, const uint8_t* u, const uint8_t* v,
              size_t count, float* red, float* green, float* blue);
void LumaToGray(const YuvCoefficients& k, const uint8_t* luma, size_t count, float* gray);
void RgbToGray(const uint8_t* red, const uint8_t* green, const uint8_t* blue, size_t count,
               float* gray);
void ToFloat(const uint8_t* samples, size_t count, float* levels);

/// result = top + (bottom - top) * weight.
void Blend(const float* top, const float* bottom, float weight, size_t count, float* result);

/// result[i] = (l + (levels[columns[i] + 1] - l) * weights[i] - mean) / deviation, where
/// l = levels[columns[i]].
void Interpolate(const float* levels, const int32_t* columns, const float* weights, float mean,
                 float deviation, size_t count, float* result);

/// Of a plane in two pictures: rows of `bytes` bytes, nothing behind which is read.
struct PlanePair {
  const uint8_t* a = nullptr;
  const uint8_t* b = nullptr;
  ptrdiff_t a_stride = 0;
  ptrdiff_t b_stride = 0;
};

/// Where two planes differ, by sub-blocks of 4 columns of pixels, each of `step` (1 to 4)
/// interleaved samples, in up to 4 rows; the last one may be cut. Bit k % 8 of byte k / 8 of
/// `large` tells whether the mean of |a - b| over one of the components of sub-block k exceeds
/// `limit`. Returns whether any does. `sums` is scratch for bytes + 4 kPadding elements, `large`
/// has a byte for every 8 sub-blocks and one more.
bool FindLargeDifferences(const PlanePair& planes, int rows, size_t bytes, size_t step, float limit,
                          int16_t* sums, uint8_t* large);

}  // namespace deltacnn::rows
