#include "report.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <optional>
#include <string_view>

namespace deltacnn::cli {
namespace {

std::string Scaled(double value, double step, const std::array<std::string_view, 5>& units) {
  size_t unit = 0;
  while (value >= step && unit + 1 < units.size()) {
    value /= step;
    ++unit;
  }
  const int decimals = unit == 0 || value >= 100 ? 0 : value >= 10 ? 1 : 2;
  return fmt::format("{:.{}f}{}", value, decimals, units[unit]);
}

Json ToJson(const std::optional<double>& value) { return value ? Json(*value) : Json(nullptr); }

}  // namespace

std::string FormatCount(double count) { return Scaled(count, 1000, {"", " k", " M", " G", " T"}); }

std::string FormatBytes(uint64_t bytes) {
  return Scaled(static_cast<double>(bytes), 1024, {" B", " KiB", " MiB", " GiB", " TiB"});
}

std::string FormatShare(double share) { return fmt::format("{:.3g} %", 100 * share); }

double Samples::Mean() const {
  if (values_.empty()) return 0;
  return std::accumulate(values_.begin(), values_.end(), 0.0) / static_cast<double>(values_.size());
}

double Samples::Quantile(double share) const {
  if (values_.empty()) return 0;
  std::vector<double> sorted = values_;
  std::ranges::sort(sorted);
  const double place = share * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<size_t>(place);
  const size_t above = std::min(below + 1, sorted.size() - 1);
  return std::lerp(sorted[below], sorted[above], place - static_cast<double>(below));
}

std::string Table::Format() const {
  std::vector<size_t> widths;
  for (const auto& row : rows_) {
    widths.resize(std::max(widths.size(), row.size()));
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  const auto is_number = [&](size_t column) {
    const auto& last = rows_.back();
    return column < last.size() && !last[column].empty() && last[column][0] >= '0' &&
           last[column][0] <= '9';
  };
  std::string text;
  for (const auto& row : rows_) {
    for (size_t i = 0; i < row.size(); ++i) {
      if (i > 0) text += "  ";
      text += is_number(i) ? fmt::format("{:>{}}", row[i], widths[i])
                           : fmt::format("{:<{}}", row[i], widths[i]);
    }
    text.erase(text.find_last_not_of(' ') + 1);
    text += '\n';
  }
  return text;
}

Json ToJson(const Agreement::Summary& summary) {
  Json json;
  json["objects"] = summary.objects;
  json["recall50"] = ToJson(summary.recall50);
  json["precision50"] = ToJson(summary.precision50);
  json["recall75"] = ToJson(summary.recall75);
  json["precision75"] = ToJson(summary.precision75);
  if (summary.same_top1) json["same_top1"] = *summary.same_top1;
  if (summary.pixels) json["pixels"] = *summary.pixels;
  if (summary.keypoints) json["keypoints"] = *summary.keypoints;
  return json;
}

Status WriteJson(const Output& output, const Json& json) {
  if (output.path.empty()) return {};
  // Names in models need not be UTF-8.
  return WriteText(output, json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n");
}

}  // namespace deltacnn::cli
