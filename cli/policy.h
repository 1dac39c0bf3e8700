// What a policy's name means, in numbers.
#pragma once

#include <string>

#include "commands.h"
#include "deltacnn/result.h"
#include "deltacnn/stream.h"

namespace deltacnn::cli {

/// What may be given up for speed between picture and answer.
struct RunPolicy {
  std::string name;
  float tolerance = 0;   // of the picture, levels of 255, as ChangeOptions
  Policy layers = {};    // within the network
  double budget_ms = 0;  // as StreamOptions

  bool exact() const;
  /// One line for the user.
  std::string GivesUp() const;
};

/// kUsage for an unknown name or a tolerance under `exact`, kUnsupported for a file.
Result<RunPolicy> FindPolicy(const PolicyArguments& arguments);

}  // namespace deltacnn::cli
