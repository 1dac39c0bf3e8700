#include "onnx/reader.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <filesystem>
#include <fstream>
#include <new>
#include <stdexcept>

#include "onnx/linker.h"
#include "onnx/model_parser.h"
#include "onnx/read_error.h"
#include "onnx/tensor_reader.h"

namespace deltacnn::onnx {
namespace {

// No protobuf message may be larger.
constexpr uint64_t kMaxFileBytes = (uint64_t{1} << 31) - 1;

struct Signature {
  size_t offset;
  std::string_view magic;
  const char* message;
};

using namespace std::string_view_literals;  // the magic numbers contain zero bytes

constexpr std::array kSignatures = {
    Signature{0, "version https://git-lfs"sv,
              "is a Git LFS pointer, not the model itself (fetch it with git lfs pull)"},
    Signature{0, "PK\x03\x04"sv,
              "is a ZIP archive, like the checkpoints of PyTorch, not an ONNX file (export the "
              "model with torch.onnx.export, or unpack the archive)"},
    Signature{0, "\x80\x02"sv,
              "is a Python pickle, not an ONNX file (load it in PyTorch and export the model with "
              "torch.onnx.export)"},
    Signature{4, "TFL3"sv,
              "is a TensorFlow Lite model, not an ONNX file (convert it with tf2onnx)"},
    Signature{4, "ORTM"sv,
              "is a model in ONNX Runtime's own format (use the ONNX file it was made from)"},
    Signature{0, "\x89HDF"sv,
              "is an HDF5 file, like the models of Keras, not an ONNX file (convert it with "
              "tf2onnx)"},
    Signature{0, "\x89PNG"sv, "is a PNG image, not an ONNX file (name the model's file)"},
    Signature{0, "\xff\xd8\xff"sv, "is a JPEG image, not an ONNX file (name the model's file)"},
    Signature{4, "ftyp"sv, "is an MP4 video, not an ONNX file (name the model's file)"},
    Signature{0, "\x1a\x45\xdf\xa3"sv,
              "is a Matroska video, not an ONNX file (name the model's file)"},
    Signature{0, "\x1f\x8b"sv, "is a gzip archive, not an ONNX file (unpack it first)"},
};

/// What a file that could not be read seems to be; null if it may be a damaged ONNX file.
const char* RecognizeOtherFormat(std::string_view bytes) {
  for (const Signature& signature : kSignatures) {
    if (bytes.size() >= signature.offset &&
        bytes.substr(signature.offset).starts_with(signature.magic)) {
      return signature.message;
    }
  }
  const std::string_view start = bytes.substr(0, 256);
  const bool is_text = std::all_of(start.begin(), start.end(), [](unsigned char c) {
    return std::isprint(c) != 0 || std::isspace(c) != 0;
  });
  return is_text ? "is a text file, not an ONNX file (name the model's file)" : nullptr;
}

Error OutOfMemory(const std::string& label) {
  return {ErrorCode::kLimit, label + ": does not fit into memory (use a smaller model)"};
}

Result<std::string> ReadWholeFile(const std::string& path) {
  const auto fail = [&](ErrorCode code, const char* text) {
    return Error{code, path + ": " + text};
  };
  std::error_code error;
  const std::filesystem::file_status status = std::filesystem::status(path, error);
  if (!std::filesystem::exists(status)) {
    return fail(ErrorCode::kIo, "there is no such file (check the path and its permissions)");
  }
  if (std::filesystem::is_directory(status)) {
    return fail(ErrorCode::kIo, "is a directory (name the .onnx file in it)");
  }
  if (!std::filesystem::is_regular_file(status)) {
    return fail(ErrorCode::kIo, "is not a regular file (save the model to a file first)");
  }
  const uint64_t size = std::filesystem::file_size(path, error);
  if (error) return fail(ErrorCode::kIo, "cannot be examined (check its permissions)");
  if (size > kMaxFileBytes) {
    return fail(ErrorCode::kLimit,
                "is larger than the 2 GiB a protobuf file may have (save the weights as external "
                "data)");
  }
  std::string bytes(size, '\0');
  std::ifstream stream(path, std::ios::binary);
  if (!stream.read(bytes.data(), static_cast<std::streamsize>(size))) {
    return fail(ErrorCode::kIo, "cannot be read (check its permissions)");
  }
  return bytes;
}

}  // namespace

Result<Graph> ReadBytes(std::string_view bytes, const std::string& directory,
                        const std::string& label) {
  if (bytes.empty()) {
    return Error{ErrorCode::kInvalidModel, label + ": is empty (copy or export the model again)"};
  }
  if (bytes.size() > kMaxFileBytes) {
    return Error{ErrorCode::kLimit, label + ": is larger than 2 GiB (use external data)"};
  }
  try {
    TensorReader tensors(directory);
    return Link(ParseModel(bytes, &tensors), &tensors);
  } catch (const ReadError& error) {
    // Almost any bytes can be taken for the beginning of a message, so ask what they are only now.
    if (const char* other = RecognizeOtherFormat(bytes)) {
      return Error{ErrorCode::kInvalidModel, label + ": " + other};
    }
    return Error{error.code(), label + ": " + error.what()};
  } catch (const std::bad_alloc&) {
    return OutOfMemory(label);
  } catch (const std::length_error&) {
    return OutOfMemory(label);
  }
}

Result<Graph> ReadFile(const std::string& path) {
  try {
    const Result<std::string> bytes = ReadWholeFile(path);
    if (!bytes) return bytes.error();
    const std::filesystem::path directory = std::filesystem::path(path).parent_path();
    return ReadBytes(*bytes, directory.empty() ? "." : directory.string(), path);
  } catch (const std::bad_alloc&) {
    return OutOfMemory(path);
  }
}

}  // namespace deltacnn::onnx
