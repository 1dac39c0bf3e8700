#include "chart.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "report.h"

namespace deltacnn::cli {
namespace {

// Of the drawing, in its own units; the page scales it.
constexpr double kWidth = 1000;
constexpr double kLeft = 48;  // room for the numbers
constexpr double kTop = 8;
constexpr double kHeight = 110;
constexpr double kBottom = 20;
constexpr size_t kMostPoints = 450;  // more would be narrower than a line

std::string Number(double value, Unit unit) {
  switch (unit) {
    case Unit::kShare:
      return FormatShare(value);
    case Unit::kMilliseconds:
      return fmt::format("{:.3g} ms", value);
    case Unit::kCount:
      break;
  }
  return fmt::format("{:g}", value);
}

/// The next number of 1, 2, 5, 10, ... above.
double Round(double value) {
  if (!(value > 0)) return 1;
  const double ten = std::pow(10, std::floor(std::log10(value)));
  for (const double step : {1.0, 2.0, 5.0})
    if (value <= step * ten) return step * ten;
  return 10 * ten;
}

double Top(const std::vector<Series>& series, Unit unit) {
  double most = 0;
  for (const Series& line : series) {
    for (const double value : line.values) most = std::max(most, value);
  }
  if (unit == Unit::kShare) return 1;
  return unit == Unit::kCount ? std::max(Round(most), 1.0) : Round(most);
}

double Y(double share) { return kTop + kHeight * (1 - std::clamp(share, 0.0, 1.0)); }

/// Means of neighbours where there are too many values.
std::vector<double> Thin(const std::vector<double>& values) {
  const size_t width = (values.size() + kMostPoints - 1) / kMostPoints;
  std::vector<double> means;
  for (size_t i = 0; i < values.size(); i += width) {
    const auto end = values.begin() + static_cast<ptrdiff_t>(std::min(i + width, values.size()));
    const auto begin = values.begin() + static_cast<ptrdiff_t>(i);
    means.push_back(std::accumulate(begin, end, 0.0) / static_cast<double>(end - begin));
  }
  return means;
}

std::string Line(const Series& series, double top) {
  const std::vector<double> values = Thin(series.values);
  const double wide = (kWidth - kLeft) / static_cast<double>(values.size());
  std::string points;
  for (size_t i = 0; i < values.size(); ++i) {  // a step for each frame
    const double x = kLeft + static_cast<double>(i) * wide;
    points += fmt::format("{:.1f},{:.1f} {:.1f},{:.1f} ", x, Y(values[i] / top), x + wide,
                          Y(values[i] / top));
  }
  std::string svg;
  if (series.filled) {
    svg = fmt::format("<polygon points=\"{},{} {}{},{}\" style=\"fill:var(--{});opacity:.25\"/>",
                      kLeft, Y(0), points, kWidth, Y(0), series.colour);
  }
  return svg + fmt::format(
                   "<polyline points=\"{}\" fill=\"none\" style=\"stroke:var(--{})\" "
                   "stroke-width=\"1.4\"/>\n",
                   points, series.colour);
}

std::string Open() {
  return fmt::format("<svg viewBox=\"0 0 {} {}\">\n", kWidth, kTop + kHeight + kBottom);
}

/// Lines and numbers for 0, a half and all of `top`.
std::string Scale(double top, Unit unit) {
  std::string svg;
  for (const double share : {0.0, 0.5, 1.0}) {
    svg += fmt::format(
        "<line class=\"axis\" x1=\"{}\" x2=\"{}\" y1=\"{}\" y2=\"{}\"/>"
        "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>\n",
        kLeft, kWidth, Y(share), Y(share), kLeft - 6, Y(share) + 4, Number(share * top, unit));
  }
  return svg;
}

}  // namespace

std::string EscapeHtml(const std::string& text) {
  std::string safe;
  for (const char c : text) {
    switch (c) {
      case '&':
        safe += "&amp;";
        break;
      case '<':
        safe += "&lt;";
        break;
      case '>':
        safe += "&gt;";
        break;
      case '"':
        safe += "&quot;";
        break;
      default:
        safe += c;
    }
  }
  return safe;
}

std::string TimeChart::Draw(const std::vector<Series>& series, Unit unit,
                            const std::vector<size_t>& marked) const {
  const double top = Top(series, unit);
  std::string svg = Open() + Scale(top, unit);
  const double wide = (kWidth - kLeft) / static_cast<double>(series.front().values.size());
  for (const size_t frame : marked) {
    svg += fmt::format(
        "<rect x=\"{:.1f}\" y=\"{}\" width=\"{:.2f}\" height=\"{}\" "
        "style=\"fill:var(--dense);opacity:.5\"/>\n",
        kLeft + static_cast<double>(frame) * wide, kTop, std::max(wide, 2.0), kHeight);
  }
  for (const Series& line : series) svg += Line(line, top);
  return svg + fmt::format(
                   "<text x=\"{}\" y=\"{}\">frame {}</text>"
                   "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text></svg>\n",
                   kLeft, kTop + kHeight + kBottom - 4, first_frame_, kWidth,
                   kTop + kHeight + kBottom - 4, last_frame_);
}

std::string Skyline(const std::vector<Block>& blocks) {
  double all = 0;
  for (const Block& block : blocks) all += block.weight;
  std::string svg = Open() + Scale(1, Unit::kShare);
  double x = kLeft;
  for (const Block& block : blocks) {
    const double wide = (kWidth - kLeft) * block.weight / all;
    svg += fmt::format(
        "<g><title>{}: {} of the network, {} computed</title>"
        "<rect x=\"{:.2f}\" y=\"{}\" width=\"{:.2f}\" height=\"{}\" "
        "style=\"fill:var(--work);opacity:.12\"/>"
        "<rect x=\"{:.2f}\" y=\"{:.2f}\" width=\"{:.2f}\" height=\"{:.2f}\" "
        "style=\"fill:var(--work)\"/></g>\n",
        EscapeHtml(block.name), FormatShare(block.weight / all), FormatShare(block.share), x, kTop,
        std::max(wide - 0.6, 0.2), kHeight, x, Y(block.share), std::max(wide - 0.6, 0.2),
        Y(0) - Y(block.share));
    x += wide;
  }
  return svg + fmt::format(
                   "<text x=\"{}\" y=\"{}\">input</text>"
                   "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">output</text></svg>\n",
                   kLeft, kTop + kHeight + kBottom - 4, kWidth, kTop + kHeight + kBottom - 4);
}

}  // namespace deltacnn::cli
