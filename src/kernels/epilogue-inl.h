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

/// Asks for the memory that FinishTile will touch, early enough that it is there by then: pixels
/// lie too far apart for the hardware to guess the next one.
HWY_INLINE void PrefetchTile(const Epilogue& epilogue, size_t first, size_t rows) {
  constexpr size_t kLine = 64 / sizeof(float);
  const auto prefetch = [&](const float* const* pixels) {
    for (size_t i = first; i < first + rows; ++i)
      for (size_t c = 0; c < epilogue.width; c += kLine)
        __builtin_prefetch(pixels[i] + epilogue.channel + c);
  };
  for (size_t i = first; i < first + rows; ++i)
    for (size_t c = 0; c < epilogue.width; c += kLine)
      __builtin_prefetch(epilogue.targets[i] + epilogue.channel + c, 1);
  if (epilogue.addend != nullptr) prefetch(epilogue.addend);
  for (size_t s = 0; s < epilogue.step_count; ++s) {
    const EpilogueStep& step = epilogue.steps[s];
    if (step.kind == EpilogueStep::Kind::kOperand && !step.single) prefetch(step.operand);
  }
}

/// Finishes the tile `x`: `rows` pixels from number `first` on, `pitch` floats each, of which the
/// first epilogue.width are wanted. Clamp and addend have been applied.
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
    float* target = epilogue.targets[first + i] + epilogue.channel;
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
