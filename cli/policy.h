// What a policy's name means, in numbers.
#pragma once

#include <string>

#include "commands.h"
#include "deltacnn/result.h"
#include "deltacnn/stream.h"
#include "report.h"

namespace deltacnn::cli {

/// What may be given up for speed between picture and answer.
struct RunPolicy {
  std::string name;
  float tolerance = 0;         // of the picture, levels of 255, as ChangeOptions
  Policy layers = {};          // within the network
  std::string tuned_for = {};  // the model of the policy file; empty: none
  double budget_ms = 0;        // as StreamOptions

  bool exact() const;
  /// One line for the user.
  std::string GivesUp() const;
};

/// Calls visit(key, number, least, most) for every number of a policy: those that policy files
/// hold.
template <class AnyRunPolicy, class Visit>
void ForEachNumber(AnyRunPolicy& policy, Visit&& visit) {
  visit("tolerance", policy.tolerance, 0, 255);
  visit("reach", policy.layers.reach, -1, 1000);
  visit("cutoff", policy.layers.cutoff, 0, 1);
  visit("strong", policy.layers.strong, 0, 1);
  visit("background", policy.layers.background, 1, 1000);
  visit("refresh", policy.layers.refresh, 1, 100'000);
}

/// `name` is exact, balanced, fast or a policy file; what the command line says besides goes before
/// it. kUsage for anything else, a file that is none, and looser numbers under `exact`.
Result<RunPolicy> FindPolicy(const PolicyArguments& arguments);

/// The numbers as a policy file holds them.
Json NumbersOf(const RunPolicy& policy);
/// {"deltacnn_policy": 1, "model", the numbers, "target", "measured"}; a number left out gives
/// nothing up. kUsage for a file that cannot be read, unknown fields and values out of range.
Result<RunPolicy> ReadPolicy(const std::string& path);

}  // namespace deltacnn::cli
