#include "policy.h"

#include <fmt/format.h>

#include <cstdlib>
#include <type_traits>
#include <utility>

#include "vision/policy_numbers.h"

namespace deltacnn::cli {
Result<VideoPolicy> FindPolicy(const PolicyArguments& arguments) {
  auto found = VideoPolicy::Find(arguments.name);
  if (!found.ok()) return found.error();
  VideoPolicy policy = std::move(*found);
  const bool loosened = arguments.tolerance > 0 || arguments.reach.value_or(-1) >= 0 ||
                        arguments.cutoff.value_or(0) > 0 || arguments.strong.value_or(0) > 0 ||
                        arguments.background.value_or(1) > 1;
  if (policy.name == "exact" && loosened) {
    return Error{
        ErrorCode::kUsage,
        "--policy exact gives up nothing: it contradicts --tolerance, --reach, --cutoff, --strong "
        "and --background"};
  }
  if (arguments.tolerance >= 0) policy.tolerance = static_cast<float>(arguments.tolerance);
  policy.layers.reach = arguments.reach.value_or(policy.layers.reach);
  policy.layers.cutoff = arguments.cutoff.value_or(policy.layers.cutoff);
  policy.layers.strong = arguments.strong.value_or(policy.layers.strong);
  policy.layers.background = arguments.background.value_or(policy.layers.background);
  policy.layers.refresh = arguments.refresh.value_or(policy.layers.refresh);
  return policy;
}

Json NumbersOf(const VideoPolicy& policy) {
  Json json;
  ForEachNumber(policy, [&](const char* key, auto number, double /*least*/, double /*most*/) {
    if constexpr (std::is_integral_v<decltype(number)>) {
      json[key] = number;
    } else {  // 0.02, not the double nearest to the float
      json[key] = std::strtod(fmt::format("{}", number).c_str(), nullptr);
    }
  });
  return json;
}

}  // namespace deltacnn::cli
