#include "npy.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <array>
#include <charconv>
#include <cstring>
#include <fstream>
#include <optional>
#include <string_view>
#include <system_error>
#include <utility>

namespace deltacnn::cli {
namespace {

constexpr std::string_view kMagic = "\x93NUMPY";
constexpr size_t kMaxHeader = 64 << 10;
constexpr size_t kMaxRank = 32;

struct TypeName {
  std::string_view descr;
  DType dtype;
};
constexpr std::array<TypeName, 8> kTypes = {{{"<f4", DType::kFloat32},
                                             {"<f8", DType::kFloat64},
                                             {"<f2", DType::kFloat16},
                                             {"|i1", DType::kInt8},
                                             {"|u1", DType::kUint8},
                                             {"<i4", DType::kInt32},
                                             {"<i8", DType::kInt64},
                                             {"|b1", DType::kBool}}};

struct Header {
  std::string descr;
  bool fortran = false;
  Shape shape;
};

/// Reads the header, a Python literal such as {'descr': '<f4', 'fortran_order': False, 'shape':
/// (2, 3), }.
class HeaderParser {
 public:
  explicit HeaderParser(std::string_view text) : rest_(text) {}

  std::optional<Header> Parse() {
    Header header;
    int keys = 0;
    if (!Take("{")) return std::nullopt;
    while (!Take("}")) {
      const auto key = String();
      if (!key || !Take(":")) return std::nullopt;
      if (*key == "descr") {
        auto descr = String();
        if (!descr) return std::nullopt;
        header.descr = std::move(*descr);
      } else if (*key == "fortran_order") {
        header.fortran = Take("True");
        if (!header.fortran && !Take("False")) return std::nullopt;
      } else if (*key == "shape") {
        if (!ParseShape(header.shape)) return std::nullopt;
      } else {
        return std::nullopt;
      }
      ++keys;
      Take(",");
    }
    if (keys != 3) return std::nullopt;
    return header;
  }

 private:
  bool Take(std::string_view token) {
    const size_t start = rest_.find_first_not_of(" \t\n");
    rest_.remove_prefix(start == std::string_view::npos ? rest_.size() : start);
    if (!rest_.starts_with(token)) return false;
    rest_.remove_prefix(token.size());
    return true;
  }

  std::optional<std::string> String() {
    const std::string_view quote = Take("'") ? "'" : Take("\"") ? "\"" : "";
    const size_t end = quote.empty() ? std::string_view::npos : rest_.find(quote);
    if (end == std::string_view::npos) return std::nullopt;
    std::string text(rest_.substr(0, end));
    rest_.remove_prefix(end + 1);
    return text;
  }

  bool ParseShape(Shape& shape) {
    if (!Take("(")) return false;
    while (!Take(")")) {
      Take("");  // skips spaces
      int64_t dim = 0;
      const auto [end, error] = std::from_chars(rest_.data(), rest_.data() + rest_.size(), dim);
      if (error != std::errc() || dim < 0 || shape.size() == kMaxRank) return false;
      rest_.remove_prefix(static_cast<size_t>(end - rest_.data()));
      shape.push_back(dim);
      Take(",");
    }
    return true;
  }

  std::string_view rest_;
};

/// From column-major to row-major.
Tensor FromFortran(const Tensor& source) {
  Tensor tensor(source.dtype, source.shape);
  const size_t element = SizeOf(source.dtype);
  const size_t rank = source.shape.size();
  std::vector<int64_t> index(rank, 0);
  for (size_t to = 0; to < tensor.bytes.size(); to += element) {
    int64_t from = 0;
    for (size_t d = rank; d-- > 0;) from = from * source.shape[d] + index[d];
    std::memcpy(&tensor.bytes[to], &source.bytes[static_cast<size_t>(from) * element], element);
    for (size_t d = rank; d-- > 0 && ++index[d] == source.shape[d];) index[d] = 0;
  }
  return tensor;
}

Error Damaged(const std::string& path, std::string_view what) {
  return {ErrorCode::kIo, fmt::format("{}: {}; numpy.save() writes what is read here", path, what)};
}

}  // namespace

Result<Tensor> ReadNpy(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::string text;
  if (file) text.assign(std::istreambuf_iterator<char>(file), {});
  if (!file || file.bad()) {
    return Error{ErrorCode::kIo, path + ": cannot be read; is the path right and a file?"};
  }
  if (!text.starts_with(kMagic) || text.size() < 12) return Damaged(path, "not a .npy file");
  const auto byte = [&](size_t i) { return static_cast<size_t>(static_cast<uint8_t>(text[i])); };
  const size_t version = byte(6);
  if (version < 1 || version > 3) return Damaged(path, "unknown version of the .npy format");
  const size_t start = version == 1 ? 10 : 12;
  size_t size = byte(8) | byte(9) << 8;
  if (version > 1) size |= byte(10) << 16 | byte(11) << 24;
  if (size > kMaxHeader || size > text.size() - start)
    return Damaged(path, "the header is cut off");

  const std::string_view content = text;
  const auto header = HeaderParser(content.substr(start, size)).Parse();
  if (!header) return Damaged(path, "the header makes no sense");
  const TypeName* type = nullptr;
  for (const TypeName& candidate : kTypes)
    if (candidate.descr == header->descr) type = &candidate;
  if (type == nullptr) {
    return Error{ErrorCode::kUnsupported,
                 fmt::format("{}: type '{}' is not supported; convert it with numpy's astype()",
                             path, header->descr)};
  }
  const std::string_view data = content.substr(start + size);
  const int64_t count = ElementCount(header->shape);
  if (count < 0 || static_cast<uint64_t>(count) != data.size() / SizeOf(type->dtype) ||
      data.size() % SizeOf(type->dtype) != 0) {
    return Damaged(path, fmt::format("the shape {} does not fit the {} bytes of data",
                                     ToString(header->shape), data.size()));
  }
  Tensor tensor(type->dtype, header->shape);
  if (!data.empty()) std::memcpy(tensor.bytes.data(), data.data(), data.size());
  return header->fortran ? FromFortran(tensor) : tensor;
}

Status WriteNpy(const std::string& path, const TensorView& tensor) {
  std::string_view descr;
  for (const TypeName& type : kTypes)
    if (type.dtype == tensor.dtype) descr = type.descr;
  std::string header =
      fmt::format("{{'descr': '{}', 'fortran_order': False, 'shape': ({}{}), }}", descr,
                  fmt::join(tensor.shape, ", "), tensor.shape.size() == 1 ? "," : "");
  // Data starts at a multiple of 64 bytes, and the header ends with a line end.
  constexpr size_t kPrefix = 10;
  header.append(63 - (kPrefix + header.size()) % 64, ' ');
  header += '\n';
  const std::string prefix = {1, 0, static_cast<char>(header.size() & 0xFF),
                              static_cast<char>(header.size() >> 8)};
  std::ofstream file(path, std::ios::binary);
  file << kMagic << prefix << header;
  file.write(static_cast<const char*>(tensor.data),
             static_cast<std::streamsize>(tensor.elements()) *
                 static_cast<std::streamsize>(SizeOf(tensor.dtype)));
  file.close();
  if (!file)
    return Error{ErrorCode::kIo, path + ": cannot be written; is there space and a folder?"};
  return {};
}

}  // namespace deltacnn::cli
