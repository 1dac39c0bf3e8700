// Policy files: what `tune` writes.
#include <fstream>
#include <nlohmann/json.hpp>
#include <type_traits>

#include "post/parse_json.h"
#include "vision/policy_numbers.h"

namespace deltacnn {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kVersionKey = "deltacnn_policy";
constexpr int kVersion = 1;
constexpr std::streamsize kMostBytes = 1 << 20;  // more is no policy, perhaps a video

/// The start of a file, as far as a policy could be long; empty if it cannot be read.
std::string ReadStart(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::string text(kMostBytes, '\0');
  file.read(text.data(), kMostBytes);
  text.resize(static_cast<size_t>(file.gcount()));
  return text;
}

/// Sets `number` to a field of the file; what is wrong with it otherwise.
template <class Number>
std::string SetNumber(const Json& field, Number& number, double least, double most) {
  const bool fits = std::is_integral_v<Number> ? field.is_number_integer() : field.is_number();
  const double value = fits ? field.get<double>() : 0;
  if (!fits || !(value >= least && value <= most)) {
    return std::string("wants ") + (std::is_integral_v<Number> ? "a whole number" : "a number") +
           " from " + ShortNumber(least) + " to " + ShortNumber(most);
  }
  number = static_cast<Number>(value);
  return {};
}

/// What is wrong with a field besides the numbers; empty: nothing.
std::string CheckNote(const std::string& key, const Json& field) {
  if (key == kVersionKey) return field == kVersion ? "" : "wants " + std::to_string(kVersion);
  if (key == "model") return field.is_string() ? "" : "wants a text";
  if (key == "target") return field.is_number() ? "" : "wants a number";
  if (key == "measured") return field.is_object() ? "" : "wants an object";
  return "is unknown";
}

}  // namespace

Result<VideoPolicy> ReadPolicyFile(const std::string& path) {
  const auto fail = [&](const std::string& what) {
    return Error{ErrorCode::kUsage, "policy " + path + ": " + what};
  };
  const std::string text = ReadStart(path);
  if (text.empty()) return fail("neither exact, balanced or fast nor a file that can be read");
  std::string place;
  const Json json = ParseJson<Json>(text, place);
  if (json.is_discarded())
    return fail("is no policy file: not JSON at " + place + "; 'deltacnn tune' writes one");
  if (!json.is_object() || !json.contains(kVersionKey))
    return fail("is no policy file; 'deltacnn tune' writes one");
  VideoPolicy policy{.name = path};
  for (const auto& item : json.items()) {
    const std::string& key = item.key();
    const Json& field = item.value();
    bool known = false;
    std::string wrong;
    ForEachNumber(policy, [&](const char* name, auto& number, double least, double most) {
      if (key != name) return;
      known = true;
      wrong = SetNumber(field, number, least, most);
    });
    if (!known) wrong = CheckNote(key, field);
    if (!wrong.empty()) return fail("\"" + key + "\" " + wrong);
  }
  if (json.contains("model")) policy.tuned_for = json["model"].get<std::string>();
  return policy;
}

}  // namespace deltacnn
