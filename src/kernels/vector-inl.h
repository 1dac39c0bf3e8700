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

/// The same vector. Keeps GCC from reading memory anew for every use of a loaded one.
HWY_INLINE V InRegister(V v) {
#if HWY_COMPILER_GCC_ACTUAL && (HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3)
  asm("" : "+v"(v.raw));
#endif
  return v;
}

// Masked loads and stores that touch nothing behind the mask.
#define DELTACNN_MASKED_MEMORY (HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3)

/// Moves all lanes of a vector of type `D`.
template <class D>
struct WholeLanes {
  HWY_INLINE hn::Vec<D> Load(const float* from) const { return hn::LoadU(D(), from); }
  HWY_INLINE void Store(hn::Vec<D> v, float* to) const { hn::StoreU(v, D(), to); }
  HWY_INLINE hn::Vec<D> Keep(hn::Vec<D> v) const { return v; }
};
using WholeVector = WholeLanes<F32>;

/// Moves the first `n` lanes and touches no memory behind them; the other lanes load as zero.
template <class D>
class PartialLanes {
 public:
#if DELTACNN_MASKED_MEMORY
  HWY_INLINE explicit PartialLanes(size_t n) : mask_(hn::FirstN(D(), n)) {}
  HWY_INLINE hn::Vec<D> Load(const float* from) const { return hn::MaskedLoad(mask_, D(), from); }
  HWY_INLINE void Store(hn::Vec<D> v, float* to) const { hn::BlendedStore(v, mask_, D(), to); }
  /// Zero in the other lanes, as they load.
  HWY_INLINE hn::Vec<D> Keep(hn::Vec<D> v) const { return hn::IfThenElseZero(mask_, v); }

 private:
  hn::Mask<D> mask_;
#else
  HWY_INLINE explicit PartialLanes(size_t n) : n_(n) {}
  HWY_INLINE hn::Vec<D> Load(const float* from) const {
    HWY_ALIGN float lanes[kWide] = {};
    for (size_t i = 0; i < n_; ++i) lanes[i] = from[i];
    return hn::Load(D(), lanes);
  }
  HWY_INLINE void Store(hn::Vec<D> v, float* to) const {
    HWY_ALIGN float lanes[kWide];
    hn::Store(v, D(), lanes);
    for (size_t i = 0; i < n_; ++i) to[i] = lanes[i];
  }
  HWY_INLINE hn::Vec<D> Keep(hn::Vec<D> v) const {
    return hn::IfThenElseZero(hn::FirstN(D(), n_), v);
  }

 private:
  static constexpr size_t kWide = hn::MaxLanes(D());
  size_t n_;
#endif
};
using PartialVector = PartialLanes<F32>;

}  // namespace deltacnn::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
