// The vector type of the current target, and loads and stores of whole and of partial vectors.
// Compiled once per target: see kernels.cc.
#if defined(DELTACNN_KERNELS_VECTOR_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef DELTACNN_KERNELS_VECTOR_INL_H_
#undef DELTACNN_KERNELS_VECTOR_INL_H_
#else
#define DELTACNN_KERNELS_VECTOR_INL_H_
#endif

#include <hwy/highway.h>

#include <cstddef>
#include <cstdint>

HWY_BEFORE_NAMESPACE();
namespace deltacnn::kernels::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

using F32 = hn::ScalableTag<float>;
using U32 = hn::RebindToUnsigned<F32>;
using V = hn::Vec<F32>;
using VU = hn::Vec<U32>;

inline constexpr F32 kF32{};
inline constexpr U32 kU32{};

static_assert(HWY_HAVE_SCALABLE == 0, "the kernels keep vectors in arrays");
inline constexpr size_t kLanes = hn::MaxLanes(kF32);

// Masked loads and stores that touch nothing behind the mask.
#define DELTACNN_MASKED_MEMORY (HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3)

/// Moves all lanes of a vector.
struct WholeVector {
  HWY_INLINE V Load(const float* from) const { return hn::LoadU(kF32, from); }
  HWY_INLINE void Store(V v, float* to) const { hn::StoreU(v, kF32, to); }
  HWY_INLINE V Keep(V v) const { return v; }
};

/// Moves the first `n` lanes and touches no memory behind them; the other lanes load as zero.
class PartialVector {
 public:
#if DELTACNN_MASKED_MEMORY
  HWY_INLINE explicit PartialVector(size_t n) : mask_(hn::FirstN(kF32, n)) {}
  HWY_INLINE V Load(const float* from) const { return hn::MaskedLoad(mask_, kF32, from); }
  HWY_INLINE void Store(V v, float* to) const { hn::BlendedStore(v, mask_, kF32, to); }
  /// Zero in the other lanes, as they load.
  HWY_INLINE V Keep(V v) const { return hn::IfThenElseZero(mask_, v); }

 private:
  hn::Mask<F32> mask_;
#else
  HWY_INLINE explicit PartialVector(size_t n) : n_(n) {}
  HWY_INLINE V Load(const float* from) const {
    HWY_ALIGN float lanes[kLanes] = {};
    for (size_t i = 0; i < n_; ++i) lanes[i] = from[i];
    return hn::Load(kF32, lanes);
  }
  HWY_INLINE void Store(V v, float* to) const {
    HWY_ALIGN float lanes[kLanes];
    hn::Store(v, kF32, lanes);
    for (size_t i = 0; i < n_; ++i) to[i] = lanes[i];
  }
  HWY_INLINE V Keep(V v) const { return hn::IfThenElseZero(hn::FirstN(kF32, n_), v); }

 private:
  size_t n_;
#endif
};

}  // namespace deltacnn::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
