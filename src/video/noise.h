// How strong the noise of a source is.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace deltacnn {

/// Estimates the noise of one component from the differences between frames and the picture held.
/// What it looks at is the ripple of the means of four 4x4 sub-blocks in a row: of the difference
/// that an exposure step, a fade or a shadow makes, little is left in it; of noise, all. The lowest
/// third of a frame and the median of many frames leave out what moves.
class NoiseMeter {
 public:
  /// `sums`: for each column of 4 samples the sum of signed differences; one sample every `step`.
  void Add(std::span<const int16_t> sums, int step);
  /// Ends a frame.
  void EndFrame();

  /// Standard deviation of a 4x4 mean of the difference of two frames, levels.
  float mean_deviation() const { return level_ / kThirdOfNormal; }
  /// Standard deviation of a sample in one frame, as far as the noise is white.
  float sigma() const;

 private:
  static constexpr int kMemory = 15;  // frames
  static constexpr int kBins = 512;
  // A third of the values of a normal distribution are nearer to its mean, in deviations.
  static constexpr float kThirdOfNormal = 0.4307F;

  std::array<uint32_t, kBins> histogram_{};  // of ripples, in 1/32 of a level
  std::array<float, kMemory> levels_{};      // of the last frames: a third of the ripples are below
  size_t frames_ = 0;
  float level_ = 0;  // median of levels_
};

}  // namespace deltacnn
