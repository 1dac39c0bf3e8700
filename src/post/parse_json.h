// JSON files that users write.
#pragma once

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace deltacnn {

/// Discarded where `text` is no JSON; `place` then says where that shows: "line 3, column 7".
template <class Json>
Json ParseJson(std::string_view text, std::string& place) {
  try {
    return Json::parse(text);
  } catch (const typename Json::parse_error& error) {
    const std::string_view good = text.substr(0, std::min(error.byte - 1, text.size()));
    place = "line " + std::to_string(std::ranges::count(good, '\n') + 1) + ", column " +
            std::to_string(good.size() - (good.rfind('\n') + 1) + 1);
    return Json(Json::value_t::discarded);
  }
}

}  // namespace deltacnn
