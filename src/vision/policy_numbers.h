// The numbers of a policy, by the names that policy files have for them.
#pragma once

#include "deltacnn/vision.h"

namespace deltacnn {

/// Calls visit(key, number, least, most) for each.
template <class AnyVideoPolicy, class Visit>
void ForEachNumber(AnyVideoPolicy& policy, Visit&& visit) {
  visit("tolerance", policy.tolerance, 0, 255);
  visit("reach", policy.layers.reach, -1, 1000);
  visit("cutoff", policy.layers.cutoff, 0, 1);
  visit("strong", policy.layers.strong, 0, 1);
  visit("background", policy.layers.background, 1, 1000);
  visit("refresh", policy.layers.refresh, 1, 100'000);
}

/// "0.02", "5".
std::string ShortNumber(double number);

/// See VideoPolicy::Find.
Result<VideoPolicy> ReadPolicyFile(const std::string& path);

}  // namespace deltacnn
