#include "policy.h"

#include <fmt/format.h>

#include <filesystem>
#include <system_error>

namespace deltacnn::cli {
namespace {

constexpr float kBalancedTolerance = 4;
constexpr float kFastTolerance = 8;

}  // namespace

bool RunPolicy::exact() const { return tolerance == 0 && layers.reach < 0 && layers.cutoff == 0; }

std::string RunPolicy::GivesUp() const {
  std::string text = fmt::format("policy {} may give up ", name);
  if (exact()) return text + "nothing: every answer is bit-identical to a dense run";
  if (tolerance > 0) {
    text += fmt::format("changes of the picture of up to {:g} levels of 255 (mean of 4x4 pixels)",
                        tolerance);
  }
  if (layers.cutoff > 0) {
    text += fmt::format("{}changes within layers below {:g} %", tolerance > 0 ? ", " : "",
                        100 * layers.cutoff);
  }
  if (layers.reach >= 0) {
    text +=
        fmt::format("{}effects farther than {} cells for up to {} frames",
                    tolerance > 0 || layers.cutoff > 0 ? ", " : "", layers.reach, layers.refresh);
  }
  return text + "; 'verify' measures it";
}

Result<RunPolicy> FindPolicy(const PolicyArguments& arguments) {
  RunPolicy policy;
  policy.name = arguments.name;
  if (policy.name == "balanced") {
    policy.tolerance = kBalancedTolerance;
  } else if (policy.name == "fast") {
    policy.tolerance = kFastTolerance;
  } else if (policy.name != "exact") {
    std::error_code error;
    if (std::filesystem::exists(policy.name, error)) {
      return Error{ErrorCode::kUnsupported, "--policy " + policy.name +
                                                ": policy files come with 'tune', which is not "
                                                "built yet; name exact, balanced or fast"};
    }
    return Error{ErrorCode::kUsage,
                 "--policy " + policy.name + ": neither exact, balanced or fast nor a file"};
  }
  if (arguments.tolerance >= 0) {
    if (policy.name == "exact" && arguments.tolerance > 0)
      return Error{ErrorCode::kUsage, "--tolerance and --policy exact contradict each other"};
    policy.tolerance = static_cast<float>(arguments.tolerance);
  }
  return policy;
}

}  // namespace deltacnn::cli
