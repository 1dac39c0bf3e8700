#include "onnx/tensor_reader.h"

#include <bit>
#include <charconv>
#include <filesystem>
#include <fstream>
#include <optional>
#include <span>

#include "graph/data_type.h"
#include "onnx/proto.h"
#include "onnx/read_error.h"

namespace deltacnn::onnx {

static_assert(std::endian::native == std::endian::little, "raw_data is little-endian");

// Many tensors may name the same bytes of an external file (tied weights), but without a bound on
// that, a small model could claim any amount of memory.
constexpr uint64_t kMaxReadsOfExternalBytes = 4;

/// A TensorProto without the elements that it stores one by one.
struct TensorHeader {
  int64_t data_type = 0;
  Shape shape;
  std::optional<std::string_view> raw_data;
  bool external = false;  // then the bytes lie in another file:
  std::string location;
  std::string offset = "0";
  std::optional<std::string> length;
};

namespace {

TensorHeader ReadHeader(std::string_view proto, const std::string& what) {
  TensorHeader header;
  header.data_type = FindInt(proto, TensorField::kDataType).value_or(0);
  header.raw_data = FindBytes(proto, TensorField::kRawData);
  header.external = FindInt(proto, TensorField::kDataLocation) == kExternalLocation;
  ForEachNumber<int64_t>(proto, TensorField::kDims, [&](int64_t dim) {
    if (header.shape.size() == kMaxRank) {
      throw Invalid(what + " has more than " + std::to_string(kMaxRank) + " dimensions");
    }
    if (dim < 0 || dim > kMaxDimension) {
      throw Invalid(what + " has the impossible dimension " + std::to_string(dim));
    }
    header.shape.push_back(dim);
  });
  protozero::pbf_message<TensorField> message(proto);
  while (message.next(TensorField::kExternalData, protozero::pbf_wire_type::length_delimited)) {
    const std::string_view entry = message.get_view();
    const std::string key = FindString(entry, StringStringEntryField::kKey);
    const std::string value = FindString(entry, StringStringEntryField::kValue);
    if (key == "location") header.location = value;
    if (key == "offset") header.offset = value;
    if (key == "length") header.length = value;
  }
  return header;
}

uint64_t ParseDecimal(std::string_view text, const std::string& what) {
  uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{} || end != text.data() + text.size()) {
    throw Invalid(what + " has the external offset or length " + Quote(text));
  }
  return number;
}

/// Stores the numbers of `field`, of which there must be as many as `out` has elements.
template <class Wire, class Element>
void ReadNumbers(std::string_view proto, TensorField field, std::span<Element> out,
                 const std::string& what) {
  size_t count = 0;
  ForEachNumber<Wire>(proto, field, [&](Wire number) {
    if (count < out.size()) out[count] = static_cast<Element>(number);
    ++count;
  });
  if (count != out.size()) {
    throw Invalid(what + " holds " + std::to_string(count) + " elements where its shape has " +
                  std::to_string(out.size()));
  }
}

void ReadTypedData(std::string_view proto, const std::string& what, Tensor* tensor) {
  switch (tensor->dtype) {
    case DType::kFloat32:
      return ReadNumbers<float>(proto, TensorField::kFloatData, tensor->as<float>(), what);
    case DType::kFloat64:
      return ReadNumbers<double>(proto, TensorField::kDoubleData, tensor->as<double>(), what);
    case DType::kInt64:
      return ReadNumbers<int64_t>(proto, TensorField::kInt64Data, tensor->as<int64_t>(), what);
    case DType::kInt32:
      return ReadNumbers<int64_t>(proto, TensorField::kInt32Data, tensor->as<int32_t>(), what);
    case DType::kInt8:
      return ReadNumbers<int64_t>(proto, TensorField::kInt32Data, tensor->as<int8_t>(), what);
    case DType::kUint8:
      return ReadNumbers<int64_t>(proto, TensorField::kInt32Data, tensor->as<uint8_t>(), what);
    case DType::kBool:
      return ReadNumbers<int64_t>(proto, TensorField::kInt32Data, tensor->as<bool>(), what);
    case DType::kFloat16:  // its bits, one number an element
      return ReadNumbers<int64_t>(proto, TensorField::kInt32Data, tensor->as<uint16_t>(), what);
  }
}

}  // namespace

TensorPtr TensorReader::Read(std::string_view proto, const std::string& what) {
  return ReadAt([&] { return what; }, [&] { return Decode(proto, what); });
}

TensorPtr TensorReader::Decode(std::string_view proto, const std::string& what) {
  TensorHeader header = ReadHeader(proto, what);
  const std::optional<DType> dtype = ToDType(header.data_type);
  if (!dtype) {
    throw ReadError(ErrorCode::kUnsupported,
                    what + " has the element type " + NameOfDataType(header.data_type) +
                        ", which is not supported (export the model in float32)");
  }
  const int64_t elements = ElementCount(header.shape);
  size_t size = 0;
  if (elements < 0 || __builtin_mul_overflow(elements, SizeOf(*dtype), &size)) {
    throw Invalid(what + " has the impossible shape " + ToString(header.shape));
  }

  auto tensor = std::make_shared<Tensor>();
  tensor->dtype = *dtype;
  tensor->shape = std::move(header.shape);
  if (header.external) {
    tensor->bytes = ReadExternal(header, size, what);
  } else if (header.raw_data) {
    if (header.raw_data->size() != size) {
      throw Invalid(what + " holds " + std::to_string(header.raw_data->size()) + " bytes where " +
                    NameOf(*dtype) + ToString(tensor->shape) + " takes " + std::to_string(size));
    }
    const auto raw = std::as_bytes(std::span(*header.raw_data));
    tensor->bytes.assign(raw.begin(), raw.end());
  } else {
    // Nothing is allocated for a shape alone: an element takes at least a byte of the message.
    if (static_cast<size_t>(elements) > proto.size()) {
      throw Invalid(what + " has the shape " + ToString(tensor->shape) + " but no such data");
    }
    tensor->bytes.resize(size);
    ReadTypedData(proto, what, tensor.get());
  }
  if (*dtype == DType::kBool) {
    // Whatever byte stands for true in the file, a C++ bool must be 0 or 1.
    for (std::byte& byte : tensor->bytes) byte = std::byte{byte != std::byte{0}};
  }
  return tensor;
}

std::vector<std::byte> TensorReader::ReadExternal(const TensorHeader& header, size_t size,
                                                  const std::string& what) {
  const std::string name = Quote(header.location);
  if (directory_.empty()) {
    throw ReadError(ErrorCode::kInvalidModel,
                    what + " lies in the external file " + name +
                        ", which a model read from memory cannot have (save it in one file)");
  }
  const std::filesystem::path relative = std::filesystem::path(header.location).lexically_normal();
  if (relative.empty() || relative.has_root_path() || *relative.begin() == "..") {
    throw ReadError(ErrorCode::kInvalidModel,
                    what + " lies in the external file " + name +
                        " outside the model's folder (save the model with a relative location)");
  }
  const std::filesystem::path path = std::filesystem::path(directory_) / relative;
  std::error_code error;
  if (!std::filesystem::is_regular_file(path, error)) {
    throw ReadError(ErrorCode::kIo, what + " lies in the external file " + name +
                                        ", which is not there (put it beside the model)");
  }
  const uint64_t file_size = std::filesystem::file_size(path, error);
  const uint64_t offset = ParseDecimal(header.offset, what);
  if (header.length && ParseDecimal(*header.length, what) != size) {
    throw Invalid(what + " has " + Quote(*header.length) +
                  " bytes of external data where its shape takes " + std::to_string(size));
  }
  if (error || offset > file_size || size > file_size - offset) {
    throw ReadError(ErrorCode::kInvalidModel,
                    what + " ends beyond the end of the external file " + name +
                        " (copy that file again, or export the model again)");
  }
  uint64_t& bytes_read = bytes_read_[path.string()];
  bytes_read += size;
  if (bytes_read / kMaxReadsOfExternalBytes > file_size) {
    throw ReadError(ErrorCode::kLimit, what + " reads the same bytes of the external file " + name +
                                           " once too often (export the model again)");
  }
  std::vector<std::byte> bytes(size);
  std::ifstream stream(path, std::ios::binary);
  stream.seekg(static_cast<std::streamoff>(offset));
  if (!stream.read(reinterpret_cast<char*>(bytes.data()), static_cast<std::streamsize>(size))) {
    throw ReadError(ErrorCode::kIo, what + " cannot be read from the external file " + name +
                                        " (check its permissions)");
  }
  return bytes;
}

}  // namespace deltacnn::onnx
