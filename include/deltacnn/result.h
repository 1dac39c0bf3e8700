// Errors as values: no exception crosses the API of the core (model.h, stream.h), not even where
// memory is missing. Of video.h, post.h and vision.h only std::bad_alloc does.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <variant>

namespace deltacnn {

enum class ErrorCode {
  kUsage,         // the caller asked for something that makes no sense
  kUnsupported,   // valid input that this version cannot handle
  kInvalidModel,  // the ONNX file is damaged or contradicts itself
  kIo,            // a file, camera or network peer failed
  kLimit,         // memory is missing, or a limit that guards against hostile input was exceeded
};

/// One line of text: where it happened, what is wrong, what to do about it.
struct Error {
  ErrorCode code = ErrorCode::kUsage;
  std::string message;
};

/// A value or an Error. `value()` may be called only when `ok()`.
template <class T>
class [[nodiscard]] Result {
 public:
  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}      // NOLINT(*-explicit-*)
  Result(Error error) : state_(std::in_place_index<1>, std::move(error)) {}  // NOLINT(*-explicit-*)

  bool ok() const { return state_.index() == 0; }
  explicit operator bool() const { return ok(); }
  T& value() & { return *std::get_if<0>(&state_); }
  const T& value() const& { return *std::get_if<0>(&state_); }
  T&& value() && { return std::move(*std::get_if<0>(&state_)); }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }
  const Error& error() const { return *std::get_if<1>(&state_); }

 private:
  std::variant<T, Error> state_;
};

/// Success, or an Error.
template <>
class [[nodiscard]] Result<void> {
 public:
  Result() = default;
  Result(Error error) : error_(std::move(error)) {}  // NOLINT(*-explicit-*)

  bool ok() const { return !error_.has_value(); }
  explicit operator bool() const { return ok(); }
  const Error& error() const { return *error_; }

 private:
  std::optional<Error> error_;
};

using Status = Result<void>;

}  // namespace deltacnn

/// Leaves the enclosing function with the error of `expression`, if it has one.
#define DELTACNN_RETURN_IF_ERROR(expression)                        \
  do {                                                              \
    if (auto deltacnn_status = (expression); !deltacnn_status.ok()) \
      return deltacnn_status.error();                               \
  } while (false)
