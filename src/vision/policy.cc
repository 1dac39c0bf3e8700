#include <cstdio>

#include "vision/policy_numbers.h"

namespace deltacnn {
namespace {

// What these keep and cost on real clips is measured in docs/accuracy.md; FastestDet needs more
// reach.
constexpr float kTolerance = 5;
constexpr Policy kBalanced{
    .reach = 4, .cutoff = 0.12f, .strong = 0.24f, .background = 2.5f, .refresh = 32};
constexpr Policy kFast{
    .reach = 4, .cutoff = 0.14f, .strong = 0.28f, .background = 3, .refresh = 32};

}  // namespace

std::string ShortNumber(double number) {
  char text[32];
  std::snprintf(text, sizeof(text), "%g", number);
  return text;
}

Result<VideoPolicy> VideoPolicy::Find(const std::string& name) {
  if (name == "exact") return VideoPolicy{};
  if (name == "balanced")
    return VideoPolicy{.name = name, .tolerance = kTolerance, .layers = kBalanced};
  if (name == "fast") return VideoPolicy{.name = name, .tolerance = kTolerance, .layers = kFast};
  return ReadPolicyFile(name);
}

bool VideoPolicy::exact() const { return tolerance == 0 && layers.reach < 0 && layers.cutoff == 0; }

std::string VideoPolicy::GivesUp() const {
  std::string text = "policy " + name + " may give up ";
  const std::string later = budget_ms > 0 ? "; what does not fit into " + ShortNumber(budget_ms) +
                                                " ms waits for later frames"
                                          : "";
  if (exact()) return text + "nothing: every answer is bit-identical to a dense run" + later;
  const bool background = layers.cutoff > 0 && layers.reach >= 0 && layers.background > 1;
  const std::string for_a_while = ", for up to " + std::to_string(layers.refresh) + " frames)";
  if (tolerance > 0) {
    text += "changes of the picture of up to " + ShortNumber(tolerance) +
            " levels of 255 (mean of 4x4 pixels";
    text += background ? "; away from objects " + ShortNumber(tolerance * layers.background) +
                             " levels" + for_a_while
                       : ")";
  }
  if (layers.cutoff > 0) {
    text += (tolerance > 0 ? ", " : "") +
            ("changes within layers below " + ShortNumber(100 * layers.cutoff) + " %");
    if (background) {
      text += " (away from objects " + ShortNumber(100 * layers.cutoff * layers.background) + " %" +
              for_a_while;
    }
  }
  if (layers.reach >= 0) {
    text += (tolerance > 0 || layers.cutoff > 0 ? ", " : "") +
            ("for up to " + std::to_string(layers.refresh) + " frames effects farther than " +
             std::to_string(layers.reach) + " cells");
    if (layers.strong > layers.cutoff && layers.cutoff > 0) {
      text +=
          " and those below " + ShortNumber(100 * layers.strong) + " % on cells beside a change";
    }
  }
  if (!tuned_for.empty()) text += "; tuned for " + tuned_for;
  return text + later + "; 'verify' measures it";
}

}  // namespace deltacnn
