// Charts as SVG, in the colours of the page's style sheet.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace deltacnn::cli {

/// Text that is safe between and within tags.
std::string EscapeHtml(const std::string& text);

enum class Unit { kShare, kMilliseconds, kCount };

/// A line over the frames.
struct Series {
  const char* colour;  // of the style sheet
  std::vector<double> values;
  bool filled = false;
};

class TimeChart {
 public:
  TimeChart(int64_t first_frame, int64_t last_frame)
      : first_frame_(first_frame), last_frame_(last_frame) {}

  /// All series have a value for every frame; `marked` frames get a tick.
  std::string Draw(const std::vector<Series>& series, Unit unit,
                   const std::vector<size_t>& marked) const;

 private:
  int64_t first_frame_;
  int64_t last_frame_;
};

struct Block {
  std::string name;
  double weight = 0;
  double share = 0;  // 0..1
};

/// Blocks side by side, as wide as their weight, filled up to their share.
std::string Skyline(const std::vector<Block>& blocks);

}  // namespace deltacnn::cli
