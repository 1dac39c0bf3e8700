// What an input argument means.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "deltacnn/result.h"

namespace deltacnn {

enum class InputKind : uint8_t {
  kFiles,    // videos or images, one after the other
  kUrl,      // something finite behind a network protocol
  kNetwork,  // a live network stream
  kCamera,
  kPipe,  // standard input
};

struct Inputs {
  InputKind kind = InputKind::kFiles;
  std::vector<std::string> paths;  // or the one URL or device
};

/// Expands directories and globs, and checks that local files exist and are not empty.
Result<Inputs> ResolveInput(const std::string& input);

/// By its extension.
bool IsImagePath(const std::string& path);

/// The input as messages may show it: quoted, without user name, password and query.
std::string DisplayName(const std::string& input);

}  // namespace deltacnn
