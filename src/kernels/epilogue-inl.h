// What happens to a tile of fresh results: pointwise steps, then storing. Compiled once per target:
// see kernels.cc.
#if defined(DELTACNN_KERNELS_EPILOGUE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef DELTACNN_KERNELS_EPILOGUE_INL_H_
#undef DELTACNN_KERNELS_EPILOGUE_INL_H_
#else
#define DELTACNN_KERNELS_EPILOGUE_INL_H_
#endif

#include "kernels/kernels.h"
#include "kernels/pointwise-inl.h"
#include "kernels/vector-inl.h"

HWY_BEFORE_NAMESPACE();
namespace deltacnn::kernels::HWY_NAMESPACE {

/// What an epilogue does first of all, to vectors of type `D` in registers.
template <class D>
class Rectify {
 public:
  HWY_INLINE explicit Rectify(const Epilogue* epilogue) {
    if (epilogue == nullptr) return;
    kind_ = epilogue->rectifier;
    low_ = hn::Set(D(), epilogue->low);
    high_ = hn::Set(D(), epilogue->high);
    slope_ = hn::Set(D(), epilogue->slope);
  }

  template <size_t kRows, size_t kCount>
  HWY_INLINE void Apply(hn::Vec<D> (&x)[kRows][kCount]) const {
    if (kind_ == Epilogue::Rectifier::kClip) {
      HWY_UNROLL(16)
      for (size_t i = 0; i < kRows; ++i)
        for (size_t v = 0; v < kCount; ++v) x[i][v] = AtMost(AtLeast(x[i][v], low_), high_);
    } else if (kind_ == Epilogue::Rectifier::kLeaky) {
      HWY_UNROLL(16)
      for (size_t i = 0; i < kRows; ++i)
        for (size_t v = 0; v < kCount; ++v) x[i][v] = Leaky(x[i][v], slope_);
    }
  }
  template <size_t kCount>
  HWY_INLINE void Apply(hn::Vec<D> (&x)[kCount]) const {
    if (kind_ == Epilogue::Rectifier::kClip) {
      HWY_UNROLL(16)
      for (size_t i = 0; i < kCount; ++i) x[i] = AtMost(AtLeast(x[i], low_), high_);
    } else if (kind_ == Epilogue::Rectifier::kLeaky) {
      HWY_UNROLL(16)
      for (size_t i = 0; i < kCount; ++i) x[i] = Leaky(x[i], slope_);
    }
  }

 private:
  Epilogue::Rectifier kind_ = Epilogue::Rectifier::kNone;
  hn::Vec<D> low_ = hn::Zero(D());
  hn::Vec<D> high_ = hn::Zero(D());
  hn::Vec<D> slope_ = hn::Zero(D());
};

HWY_INLINE void ApplyOperand(const EpilogueStep& step, size_t channel, float* x, size_t pitch,
                             size_t width, size_t first, size_t rows) {
  for (size_t i = 0; i < rows; ++i) {
    const float* y = step.operand[first + i];
    if (step.single) {
      BinaryUniform(step.binary, x + i * pitch, *y, width);
    } else {
      BinaryElements(step.binary, x + i * pitch, y + channel, width);
    }
  }
}

/// Where the epilogue's first channel of a pixel goes.
HWY_INLINE float* Target(const Epilogue& epilogue, size_t pixel) {
  float* first = epilogue.target_step == 0
                     ? epilogue.targets[pixel]
                     : epilogue.targets[0] + static_cast<ptrdiff_t>(pixel) * epilogue.target_step;
  return first + epilogue.channel;
}

/// Asks for the epilogue's channels of a pixel. Always inlined: GCC drops calls of functions that
/// do nothing but prefetch.
template <int kWrite>
HWY_INLINE void PrefetchChannels(const Epilogue& epilogue, const float* pixel) {
  constexpr size_t kLine = 64 / sizeof(float);
  for (size_t c = 0; c < epilogue.width; c += kLine) __builtin_prefetch(pixel + c, kWrite);
}

/// Asks for the memory that FinishTile will touch, early enough that it is there by then: pixels
/// lie too far apart for the hardware to guess the next one.
HWY_INLINE void PrefetchTile(const Epilogue& epilogue, size_t first, size_t rows) {
  // Stores that follow each other without a gap need no help.
  const bool stream =
      epilogue.changed == nullptr && epilogue.target_step == static_cast<ptrdiff_t>(epilogue.width);
  if (!stream) {
    for (size_t i = first; i < first + rows; ++i)
      PrefetchChannels<1>(epilogue, Target(epilogue, i));
  }
  if (epilogue.addend != nullptr) {
    for (size_t i = first; i < first + rows; ++i)
      PrefetchChannels<0>(epilogue, epilogue.addend[i] + epilogue.channel);
  }
  for (size_t s = 0; s < epilogue.step_count; ++s) {
    const EpilogueStep& step = epilogue.steps[s];
    if (step.kind != EpilogueStep::Kind::kOperand || step.single) continue;
    for (size_t i = first; i < first + rows; ++i)
      PrefetchChannels<0>(epilogue, step.operand[i] + epilogue.channel);
  }
}

/// Finishes the tile `x`: `rows` pixels from number `first` on, `pitch` floats each, of which the
/// first epilogue.width are wanted. They have been rectified and
/// the addend been added.
HWY_INLINE void FinishTile(const Epilogue& epilogue, float* x, size_t pitch, size_t first,
                           size_t rows) {
  for (size_t s = 0; s < epilogue.step_count; ++s) {
    const EpilogueStep& step = epilogue.steps[s];
    switch (step.kind) {
      case EpilogueStep::Kind::kUnary:
        ApplyUnary(step.unary, step.a, step.b, x, rows * pitch);
        break;
      case EpilogueStep::Kind::kScalar:
        BinaryUniform(step.binary, x, step.a, rows * pitch);
        break;
      case EpilogueStep::Kind::kOperand:
        ApplyOperand(step, epilogue.channel, x, pitch, epilogue.width, first, rows);
        break;
    }
  }
  for (size_t i = 0; i < rows; ++i, x += pitch) {
    float* target = Target(epilogue, first + i);
    if (epilogue.changed == nullptr) {
      StoreRow(target, x, epilogue.width);
    } else if (StoreChangedRow(target, x, epilogue.width)) {
      epilogue.changed[first + i] = 1;
    }
  }
}

}  // namespace deltacnn::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
