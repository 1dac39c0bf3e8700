#include "policy.h"

#include <fmt/format.h>

#include <utility>

namespace deltacnn::cli {
namespace {

// What these keep and cost on real clips is measured in docs/accuracy.md; FastestDet needs more
// reach.
constexpr float kTolerance = 5;
constexpr Policy kBalanced{
    .reach = 4, .cutoff = 0.12f, .strong = 0.24f, .background = 2.5f, .refresh = 32};
constexpr Policy kFast{
    .reach = 4, .cutoff = 0.14f, .strong = 0.28f, .background = 3, .refresh = 32};

}  // namespace

bool RunPolicy::exact() const { return tolerance == 0 && layers.reach < 0 && layers.cutoff == 0; }

std::string RunPolicy::GivesUp() const {
  std::string text = fmt::format("policy {} may give up ", name);
  const std::string later =
      budget_ms > 0
          ? fmt::format("; what does not fit into {:g} ms waits for later frames", budget_ms)
          : "";
  if (exact()) return text + "nothing: every answer is bit-identical to a dense run" + later;
  const bool background = layers.cutoff > 0 && layers.reach >= 0 && layers.background > 1;
  if (tolerance > 0) {
    text += fmt::format("changes of the picture of up to {:g} levels of 255 (mean of 4x4 pixels",
                        tolerance);
    if (background) {
      text += fmt::format("; away from objects {:g} levels, for up to {} frames",
                          tolerance * layers.background, layers.refresh);
    }
    text += ")";
  }
  if (layers.cutoff > 0) {
    text += fmt::format("{}changes within layers below {:g} %", tolerance > 0 ? ", " : "",
                        100 * layers.cutoff);
    if (background) {
      text += fmt::format(" (away from objects {:g} %, for up to {} frames)",
                          100 * layers.cutoff * layers.background, layers.refresh);
    }
  }
  if (layers.reach >= 0) {
    text +=
        fmt::format("{}for up to {} frames effects farther than {} cells",
                    tolerance > 0 || layers.cutoff > 0 ? ", " : "", layers.refresh, layers.reach);
    if (layers.strong > layers.cutoff && layers.cutoff > 0)
      text += fmt::format(" and those below {:g} % on cells beside a change", 100 * layers.strong);
  }
  if (!tuned_for.empty()) text += "; tuned for " + tuned_for;
  return text + later + "; 'verify' measures it";
}

Result<RunPolicy> FindPolicy(const PolicyArguments& arguments) {
  RunPolicy policy;
  policy.name = arguments.name;
  if (policy.name == "balanced") {
    policy.tolerance = kTolerance;
    policy.layers = kBalanced;
  } else if (policy.name == "fast") {
    policy.tolerance = kTolerance;
    policy.layers = kFast;
  } else if (policy.name != "exact") {
    auto read = ReadPolicy(policy.name);
    if (!read.ok()) return read.error();
    policy = std::move(*read);
  }
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

}  // namespace deltacnn::cli
