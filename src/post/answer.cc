#include <algorithm>
#include <cmath>

#include "deltacnn/post.h"

namespace deltacnn {
namespace {

/// For each of `source_size` pixels the element of `size` (a map of `network_size` pixels that
/// starts at `start`) that it shows, or -1.
std::vector<int> FindSources(double scale, double offset, int source_begin, int source_size,
                             float network_start, float network_size, int size) {
  std::vector<int> sources;
  for (int i = 0; i < source_size; ++i) {
    const double network = (source_begin + i + 0.5 - offset) / scale;
    const double at = (network - network_start) * size / network_size;
    sources.push_back(at >= 0 && at < size ? static_cast<int>(at) : -1);
  }
  return sources;
}

/// The nearest element of a `width` wide map for each pixel; 0 where there is none.
std::vector<uint8_t> Resample(const std::vector<uint8_t>& from, int width,
                              const std::vector<int>& rows, const std::vector<int>& columns) {
  std::vector<uint8_t> to;
  to.reserve(rows.size() * columns.size());
  for (const int row : rows) {
    const uint8_t* values = row < 0 ? nullptr : from.data() + ptrdiff_t{row} * width;
    for (const int column : columns) {
      to.push_back(values == nullptr || column < 0 ? 0 : values[column]);
    }
  }
  return to;
}

/// `value` cut to 0..limit as an integer; 0 if it is not a number.
int ToPixel(double value, int limit) {
  return value > 0 ? static_cast<int>(std::min<double>(value, limit)) : 0;
}

void MapMask(const PixelTransform& t, int source_width, int source_height, Mask& mask) {
  const auto left = static_cast<float>(mask.x);
  const auto top = static_cast<float>(mask.y);
  const auto width = static_cast<float>(mask.width);
  const auto height = static_cast<float>(mask.height);
  const int x1 = ToPixel(std::floor(t.SourceX(left)), source_width);
  const int y1 = ToPixel(std::floor(t.SourceY(top)), source_height);
  const int x2 = ToPixel(std::ceil(t.SourceX(left + width)), source_width);
  const int y2 = ToPixel(std::ceil(t.SourceY(top + height)), source_height);
  if (x2 <= x1 || y2 <= y1) {
    mask = {};
    return;
  }
  mask.pixels = Resample(mask.pixels, mask.width,
                         FindSources(t.scale_y, t.offset_y, y1, y2 - y1, top, height, mask.height),
                         FindSources(t.scale_x, t.offset_x, x1, x2 - x1, left, width, mask.width));
  mask.x = x1;
  mask.y = y1;
  mask.width = x2 - x1;
  mask.height = y2 - y1;
}

}  // namespace

void MapToSource(const PixelTransform& t, int network_width, int network_height, int source_width,
                 int source_height, Answer& answer) {
  const auto map_x = [&](float x) { return static_cast<float>(t.SourceX(x)); };
  const auto map_y = [&](float y) { return static_cast<float>(t.SourceY(y)); };
  const auto clip_x = [&](float x) {
    return std::clamp(map_x(x), 0.0F, static_cast<float>(source_width));
  };
  const auto clip_y = [&](float y) {
    return std::clamp(map_y(y), 0.0F, static_cast<float>(source_height));
  };
  const auto map_points = [&](std::vector<KeyPoint>& points) {
    for (KeyPoint& point : points) {
      point.x = map_x(point.x);
      point.y = map_y(point.y);
    }
  };
  for (Detection& detection : answer.detections) {
    detection.x1 = clip_x(detection.x1);
    detection.y1 = clip_y(detection.y1);
    detection.x2 = clip_x(detection.x2);
    detection.y2 = clip_y(detection.y2);
    map_points(detection.keypoints);
    if (detection.mask.width > 0) MapMask(t, source_width, source_height, detection.mask);
  }
  std::erase_if(answer.detections,
                [](const Detection& d) { return !(d.x2 > d.x1) || !(d.y2 > d.y1); });
  map_points(answer.keypoints);
  ClassMap& map = answer.class_map;
  if (map.width > 0 && map.height > 0) {
    map.classes = Resample(map.classes, map.width,
                           FindSources(t.scale_y, t.offset_y, 0, source_height, 0,
                                       static_cast<float>(network_height), map.height),
                           FindSources(t.scale_x, t.offset_x, 0, source_width, 0,
                                       static_cast<float>(network_width), map.width));
    map.width = source_width;
    map.height = source_height;
  }
}

}  // namespace deltacnn
