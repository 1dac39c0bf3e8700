// Element types, shapes, owned tensors and views, and the image-shaped window onto a network input.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace deltacnn {

enum class DType : uint8_t { kFloat32, kFloat64, kInt8, kUint8, kInt32, kInt64, kBool, kFloat16 };

/// Bytes of one element.
size_t SizeOf(DType dtype);
/// "float32", "int64", ...
const char* NameOf(DType dtype);

/// Dimensions, outermost first. In a model's declared shapes -1 stands for an unknown dimension.
using Shape = std::vector<int64_t>;

/// Product of the dimensions; 1 for a scalar. -1 if a dimension is unknown or the product
/// overflows.
int64_t ElementCount(std::span<const int64_t> shape);
/// "[1,3,416,416]"; unknown dimensions print as "?".
std::string ToString(std::span<const int64_t> shape);

/// An owned, row-major tensor.
struct Tensor {
  DType dtype = DType::kFloat32;
  Shape shape;
  std::vector<std::byte> bytes;

  Tensor() = default;
  /// Zero-filled. `shape` must have a known element count.
  Tensor(DType dtype, Shape shape);

  int64_t elements() const { return ElementCount(shape); }
  template <class T>
  std::span<T> as() {
    return {reinterpret_cast<T*>(bytes.data()), bytes.size() / sizeof(T)};
  }
  template <class T>
  std::span<const T> as() const {
    return {reinterpret_cast<const T*>(bytes.data()), bytes.size() / sizeof(T)};
  }
};

/// A borrowed, row-major, read-only tensor.
struct TensorView {
  DType dtype = DType::kFloat32;
  std::span<const int64_t> shape;
  const void* data = nullptr;

  TensorView() = default;
  TensorView(DType dtype, std::span<const int64_t> shape, const void* data)
      : dtype(dtype), shape(shape), data(data) {}
  TensorView(const Tensor& tensor)  // NOLINT(*-explicit-*)
      : dtype(tensor.dtype), shape(tensor.shape), data(tensor.bytes.data()) {}

  int64_t elements() const { return ElementCount(shape); }
  template <class T>
  std::span<const T> as() const {
    return {static_cast<const T*>(data), static_cast<size_t>(elements())};
  }
};

/// A writable window onto a float32 image input of a stream, whatever its layout in memory.
/// Channel c of pixel (y, x) is `data[y * row_stride + x * pixel_stride + c * channel_stride]`.
/// Whoever changes a pixel sets bit x of bitmap row y (`Mark`); the next step clears the bitmap.
struct ImageTarget {
  float* data = nullptr;
  int height = 0;
  int width = 0;
  int channels = 0;
  ptrdiff_t row_stride = 0;
  ptrdiff_t pixel_stride = 0;
  ptrdiff_t channel_stride = 1;
  uint64_t* changed = nullptr;  // `words_per_row` words a row, bit x % 64 of word x / 64
  int words_per_row = 0;

  float* Pixel(int y, int x) const { return data + y * row_stride + x * pixel_stride; }
  void Mark(int y, int x) const {
    changed[static_cast<ptrdiff_t>(y) * words_per_row + x / 64] |= uint64_t{1} << (x % 64);
  }
};

}  // namespace deltacnn
