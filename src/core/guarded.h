// What stands between the API and std::bad_alloc.
#pragma once

#include <new>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>

#include "deltacnn/result.h"

namespace deltacnn {

/// Runs `work`, which returns a Result. Memory that cannot be had becomes an Error that names
/// `place` and `remedy`: no exception crosses the API.
template <class Work>
std::invoke_result_t<Work> Guarded(const std::string& place, const char* remedy, Work&& work) {
  try {
    return std::forward<Work>(work)();
  } catch (const std::bad_alloc&) {
  } catch (const std::length_error&) {  // a container of more elements than it could ever hold
  }
  return Error{ErrorCode::kLimit, place + ": out of memory (" + remedy + ")"};
}

}  // namespace deltacnn
