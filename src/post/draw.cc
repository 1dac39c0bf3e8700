#include <cairo.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <memory>

#include "deltacnn/post.h"

namespace deltacnn {
namespace {

struct Colour {
  double red, green, blue;

  /// Whether black letters read better on it than white ones.
  bool IsLight() const { return 0.3 * red + 0.59 * green + 0.11 * blue > 0.55; }
};

/// Neighbouring classes get colours far apart: hues a golden angle from each other.
Colour ColourOf(int class_id) {
  const double turns = 0.33 + 0.618034 * class_id;
  const double hue = 6 * (turns - std::floor(turns));
  const auto channel = [hue](double shift) {
    const double k = std::fmod(shift + hue, 6.0);
    return 0.95 - 0.75 * std::clamp(std::min(k, 4 - k), 0.0, 1.0);
  };
  return {channel(5), channel(3), channel(1)};
}

bool IsBackground(const Preset& preset, int class_id) {
  return class_id == 0 && (preset.names.empty() || preset.names[0] == "background");
}

/// The text, or its ASCII letters if it is not UTF-8: Cairo stops drawing at such text.
std::string Drawable(const std::string& text) {
  for (size_t i = 0; i < text.size(); ++i) {
    const auto lead = static_cast<uint8_t>(text[i]);
    int more = lead >= 0xF0 && lead < 0xF5 ? 3 : lead >= 0xE0 ? 2 : lead >= 0xC2 ? 1 : 0;
    if ((lead >= 0x80 && more == 0) || lead >= 0xF5 || i + more >= text.size()) more = -1;
    for (int k = 1; k <= more; ++k) {
      if ((static_cast<uint8_t>(text[i + k]) & 0xC0) != 0x80) more = -1;
    }
    if (more < 0) {
      std::string ascii = text;
      std::replace_if(
          ascii.begin(), ascii.end(), [](char c) { return c < ' ' || c > '~'; }, '?');
      return ascii;
    }
    i += static_cast<size_t>(more);
  }
  return text;
}

/// Draws on one picture. All sizes follow from `unit`, about one pixel at 360 lines.
class Canvas {
 public:
  explicit Canvas(const BgraPicture& picture)
      : picture_(picture),
        unit_(std::max(0.9, std::min(picture.width, picture.height) / 360.0)),
        surface_(cairo_image_surface_create_for_data(picture.data, CAIRO_FORMAT_RGB24,
                                                     picture.width, picture.height,
                                                     static_cast<int>(picture.stride))),
        cairo_(cairo_create(surface_.get())) {
    cairo_select_font_face(cairo(), "sans-serif", CAIRO_FONT_SLANT_NORMAL,
                           CAIRO_FONT_WEIGHT_NORMAL);
    cairo_set_font_size(cairo(), 11 * unit_);
    cairo_set_line_join(cairo(), CAIRO_LINE_JOIN_ROUND);
    cairo_set_line_cap(cairo(), CAIRO_LINE_CAP_ROUND);
    cairo_font_extents(cairo(), &font_);
  }

  cairo_status_t Finish() {
    cairo_surface_flush(surface_.get());
    const cairo_status_t status = cairo_status(cairo());
    return status != CAIRO_STATUS_SUCCESS ? status : cairo_surface_status(surface_.get());
  }

  void DrawHeatMap(const HeatMap& map) {
    const double width = map.width / map.columns;
    const double height = map.height / map.rows;
    // Neighbouring cells share an edge: without this it would show as a line.
    cairo_set_antialias(cairo(), CAIRO_ANTIALIAS_NONE);
    for (int row = 0; row < map.rows; ++row) {
      const uint8_t* cells = map.cells.data() + ptrdiff_t{row} * map.columns;
      int end = 0;
      for (int begin = 0; begin < map.columns; begin = end) {
        const uint8_t level = cells[begin];
        while (end < map.columns && cells[end] == level) ++end;
        if (level == 0) continue;
        const double heat = level / 255.0;  // from pale yellow to dense red
        cairo_set_source_rgba(cairo(), 1, 0.85 - 0.7 * heat, 0, 0.2 + 0.4 * heat);
        cairo_rectangle(cairo(), map.x + begin * width, map.y + row * height, (end - begin) * width,
                        height);
        cairo_fill(cairo());
      }
    }
    cairo_set_antialias(cairo(), CAIRO_ANTIALIAS_DEFAULT);
  }

  void DrawClassMap(const ClassMap& map, const Preset& preset) {
    cairo_surface_flush(surface_.get());
    std::array<Colour, 256> colours;
    for (int c = 0; c < 256; ++c) colours[static_cast<size_t>(c)] = ColourOf(c);
    const bool skip_zero = IsBackground(preset, 0);
    for (int y = 0; y < std::min(map.height, picture_.height); ++y) {
      const uint8_t* classes = map.classes.data() + ptrdiff_t{y} * map.width;
      for (int x = 0; x < std::min(map.width, picture_.width); ++x) {
        if (classes[x] == 0 && skip_zero) continue;
        Tint(x, y, colours[classes[x]]);
      }
    }
    cairo_surface_mark_dirty(surface_.get());
  }

  void DrawDetection(const Detection& detection, const Preset& preset, float point_score) {
    const Colour colour = ColourOf(detection.class_id);
    DrawMask(detection.mask, colour);
    cairo_rectangle(cairo(), detection.x1, detection.y1, detection.x2 - detection.x1,
                    detection.y2 - detection.y1);
    SetColour(colour);
    cairo_set_line_width(cairo(), 1.8 * unit_);
    cairo_stroke(cairo());
    DrawKeyPoints(detection.keypoints, preset, point_score, colour);
    std::array<char, 16> score;
    std::snprintf(score.data(), score.size(), " %.2f", static_cast<double>(detection.score));
    const double top = detection.y1 - LabelHeight();
    DrawLabel(preset.Label(detection.class_id) + score.data(), detection.x1,
              top >= 0 ? top : detection.y1, colour);
  }

  void DrawKeyPoints(const std::vector<KeyPoint>& points, const Preset& preset, float least_score,
                     const Colour& colour) {
    const auto is_visible = [&](int i) {
      if (i < 0 || i >= std::ssize(points)) return false;
      const KeyPoint& point = points[static_cast<size_t>(i)];
      return point.score >= least_score && std::isfinite(point.x) && std::isfinite(point.y);
    };
    SetColour(colour);
    cairo_set_line_width(cairo(), 1.8 * unit_);
    for (const auto& [from, to] : preset.skeleton) {
      if (!is_visible(from) || !is_visible(to)) continue;
      const KeyPoint& a = points[static_cast<size_t>(from)];
      const KeyPoint& b = points[static_cast<size_t>(to)];
      cairo_move_to(cairo(), a.x, a.y);
      cairo_line_to(cairo(), b.x, b.y);
    }
    cairo_stroke(cairo());
    cairo_set_source_rgb(cairo(), 1, 1, 1);
    for (int i = 0; i < std::ssize(points); ++i) {
      if (!is_visible(i)) continue;
      const KeyPoint& point = points[static_cast<size_t>(i)];
      cairo_new_sub_path(cairo());
      cairo_arc(cairo(), point.x, point.y, 1.7 * unit_, 0, 2 * M_PI);
    }
    cairo_fill_preserve(cairo());
    SetColour(colour);
    cairo_set_line_width(cairo(), 0.9 * unit_);
    cairo_stroke(cairo());
  }

  void DrawTopk(const std::vector<ClassScore>& topk, const Preset& preset) {
    for (size_t i = 0; i < topk.size(); ++i) {
      std::array<char, 16> score;
      std::snprintf(score.data(), score.size(), "  %.1f %%",
                    100 * static_cast<double>(topk[i].score));
      DrawLabel(preset.Label(topk[i].class_id) + score.data(), 4 * unit_,
                4 * unit_ + static_cast<double>(i) * 1.2 * LabelHeight(),
                ColourOf(topk[i].class_id));
    }
  }

  void DrawStatusLine(const std::string& text) {
    DrawLabel(text, 0, picture_.height - LabelHeight(), {0.1, 0.1, 0.1});
  }

 private:
  struct Free {
    void operator()(cairo_surface_t* surface) const { cairo_surface_destroy(surface); }
    void operator()(cairo_t* cairo) const { cairo_destroy(cairo); }
  };

  cairo_t* cairo() { return cairo_.get(); }
  void SetColour(const Colour& c) { cairo_set_source_rgb(cairo(), c.red, c.green, c.blue); }
  double LabelHeight() const { return font_.ascent + font_.descent + 2 * unit_; }

  /// Mixes the pixel half and half with the colour.
  void Tint(int x, int y, const Colour& colour) {
    uint8_t* pixel = picture_.data + y * picture_.stride + ptrdiff_t{4} * x;
    const double bgr[] = {colour.blue, colour.green, colour.red};
    for (int c = 0; c < 3; ++c) pixel[c] = static_cast<uint8_t>(0.5 * pixel[c] + 127 * bgr[c]);
  }

  void DrawMask(const Mask& mask, const Colour& colour) {
    if (mask.width <= 0 || mask.height <= 0) return;
    cairo_surface_flush(surface_.get());
    for (int row = 0; row < mask.height; ++row) {
      for (int column = 0; column < mask.width; ++column) {
        const int x = mask.x + column;
        const int y = mask.y + row;
        const bool is_inside = x >= 0 && y >= 0 && x < picture_.width && y < picture_.height;
        if (is_inside && mask.pixels[static_cast<size_t>(row) * static_cast<size_t>(mask.width) +
                                     static_cast<size_t>(column)] != 0) {
          Tint(x, y, colour);
        }
      }
    }
    cairo_surface_mark_dirty(surface_.get());
  }

  /// Text on a filled rectangle, moved to the left where it would stick out.
  void DrawLabel(const std::string& label, double x, double y, const Colour& colour) {
    const std::string text = Drawable(label);
    cairo_text_extents_t extents;
    cairo_text_extents(cairo(), text.c_str(), &extents);
    const double width = extents.x_advance + 4 * unit_;
    x = std::clamp(x, 0.0, std::max(0.0, picture_.width - width));
    cairo_rectangle(cairo(), x, y, width, LabelHeight());
    SetColour(colour);
    cairo_fill(cairo());
    const double ink = colour.IsLight() ? 0 : 1;
    cairo_set_source_rgb(cairo(), ink, ink, ink);
    cairo_move_to(cairo(), x + 2 * unit_, y + unit_ + font_.ascent);
    cairo_show_text(cairo(), text.c_str());
    cairo_new_path(cairo());
  }

  BgraPicture picture_;
  double unit_;
  std::unique_ptr<cairo_surface_t, Free> surface_;
  std::unique_ptr<cairo_t, Free> cairo_;
  cairo_font_extents_t font_{};
};

}  // namespace

Status Annotate(const BgraPicture& picture, const Answer& answer, const Preset& preset,
                const AnnotateOptions& options) {
  constexpr int kMaxSide = 32767;
  if (picture.data == nullptr || picture.width < 1 || picture.height < 1 ||
      picture.width > kMaxSide || picture.height > kMaxSide ||
      picture.stride < ptrdiff_t{4} * picture.width || picture.stride % 4 != 0 ||
      picture.stride > ptrdiff_t{8} * kMaxSide) {
    return Error{
        ErrorCode::kUsage,
        "drawing: a picture of " + std::to_string(picture.width) + "x" +
            std::to_string(picture.height) + " with a stride of " + std::to_string(picture.stride) +
            " cannot be drawn on; sides go from 1 to 32767, the stride is a multiple of 4"};
  }
  const HeatMap& heat = options.heat_map;
  const bool has_heat_map = heat.rows > 0 && heat.columns > 0;
  if (has_heat_map &&
      heat.cells.size() < static_cast<size_t>(heat.rows) * static_cast<size_t>(heat.columns)) {
    return Error{ErrorCode::kUsage, "drawing: the heat map has fewer cells than rows * columns"};
  }

  Canvas canvas(picture);
  if (has_heat_map) canvas.DrawHeatMap(heat);
  if (answer.kind == AnswerKind::kSegmentation) canvas.DrawClassMap(answer.class_map, preset);
  // The best objects last: their labels stay readable.
  for (size_t i = answer.detections.size(); i-- > 0;) {
    canvas.DrawDetection(answer.detections[i], preset, preset.conf);
  }
  canvas.DrawKeyPoints(answer.keypoints, preset, preset.conf, ColourOf(0));
  canvas.DrawTopk(answer.topk, preset);
  if (!options.status_line.empty()) canvas.DrawStatusLine(options.status_line);
  const cairo_status_t status = canvas.Finish();
  if (status != CAIRO_STATUS_SUCCESS) {
    return Error{ErrorCode::kIo, std::string("drawing: ") + cairo_status_to_string(status)};
  }
  return {};
}

}  // namespace deltacnn
