#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>

#include "deltacnn/post.h"

namespace deltacnn {
namespace {

// Written by hand, not as a tree: run lengths of a large picture are many, and numbers stay short.
class Writer {
 public:
  Writer& Raw(std::string_view text) {
    text_ += text;
    return *this;
  }

  Writer& Number(double value, int digits = 6) {
    if (!std::isfinite(value)) return Raw("null");
    std::array<char, 32> buffer;
    const auto end = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value,
                                   std::chars_format::general, digits);
    return Raw({buffer.data(), end.ptr});
  }

  Writer& Integer(int64_t value) { return Raw(std::to_string(value)); }

  Writer& Bool(bool value) { return Raw(value ? "true" : "false"); }

  /// Quoted and escaped; bytes that are not UTF-8 become U+FFFD.
  Writer& String(std::string_view value) {
    return Raw(
        nlohmann::json(value).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
  }

  /// `write` for each element, with commas between and brackets around.
  template <class Range, class Function>
  Writer& List(const Range& range, const Function& write) {
    Raw("[");
    bool first = true;
    for (const auto& element : range) {
      if (!first) Raw(",");
      first = false;
      write(element);
    }
    return Raw("]");
  }

  std::string Take() { return std::move(text_); }

 private:
  std::string text_;
};

/// Run lengths of a picture, row by row: outside first, then by turns.
class RunLengths {
 public:
  void Add(bool inside, int64_t count) {
    if (count <= 0) return;
    if (inside != inside_) {
      runs_.push_back(length_);
      length_ = 0;
      inside_ = inside;
    }
    length_ += count;
  }

  std::vector<int64_t> Take() {
    runs_.push_back(length_);
    return std::move(runs_);
  }

 private:
  std::vector<int64_t> runs_;
  bool inside_ = false;
  int64_t length_ = 0;
};

/// Of a mask that lies within a picture of `width` x `height`.
std::vector<int64_t> MaskRuns(const Mask& mask, int width, int height) {
  RunLengths runs;
  runs.Add(false, int64_t{mask.y} * width + mask.x);
  const uint8_t* pixel = mask.pixels.data();
  for (int y = 0; y < mask.height; ++y) {
    if (y > 0) runs.Add(false, width - mask.width);
    for (int x = 0; x < mask.width; ++x) runs.Add(*pixel++ != 0, 1);
  }
  runs.Add(false, int64_t{height} * width -
                      (int64_t{mask.y + mask.height - 1} * width + mask.x + mask.width));
  return runs.Take();
}

struct ClassRuns {
  int class_id;
  std::vector<int64_t> runs;
};

/// Of every class in the map, all in one pass.
std::vector<ClassRuns> MapRuns(const ClassMap& map) {
  std::array<RunLengths, 256> writers;
  std::array<int64_t, 256> ends{};  // where the last run of the class ended
  const auto size = std::ssize(map.classes);
  for (int64_t begin = 0, end = 0; begin < size; begin = end) {
    const uint8_t class_id = map.classes[static_cast<size_t>(begin)];
    while (end < size && map.classes[static_cast<size_t>(end)] == class_id) ++end;
    writers[class_id].Add(false, begin - ends[class_id]);
    writers[class_id].Add(true, end - begin);
    ends[class_id] = end;
  }
  std::vector<ClassRuns> all;
  for (size_t c = 0; c < writers.size(); ++c) {
    if (ends[c] == 0) continue;
    if (ends[c] < size) writers[c].Add(false, size - ends[c]);
    all.push_back({static_cast<int>(c), writers[c].Take()});
  }
  return all;
}

class FrameWriter {
 public:
  FrameWriter(const Preset& preset, int width, int height)
      : preset_(preset), width_(width), height_(height) {}

  void Write(int64_t frame, double pts, std::string_view file, const Answer& answer,
             const FrameWork& work) {
    constexpr int kTimeDigits = 12;
    out_.Raw("{\"frame\":").Integer(frame).Raw(",\"pts\":").Number(pts, kTimeDigits);
    if (!file.empty()) out_.Raw(",\"file\":").String(file);
    const bool has_masks =
        std::any_of(answer.detections.begin(), answer.detections.end(),
                    [](const Detection& detection) { return detection.mask.width > 0; });
    const bool has_map = answer.kind == AnswerKind::kSegmentation;
    if (has_masks || has_map) {
      out_.Raw(",\"size\":[").Integer(has_map ? answer.class_map.height : height_);
      out_.Raw(",").Integer(has_map ? answer.class_map.width : width_).Raw("]");
    }
    out_.Raw(",\"objects\":").List(answer.detections, [this](const Detection& d) {
      WriteObject(d);
    });
    if (answer.kind == AnswerKind::kClassification) {
      out_.Raw(",\"topk\":").List(answer.topk, [this](const ClassScore& entry) {
        out_.Raw("{");
        WriteClass(entry.class_id);
        out_.Raw(",\"score\":").Number(entry.score).Raw("}");
      });
    }
    if (has_map) WriteSegments(answer.class_map);
    if (answer.kind == AnswerKind::kKeyPoints) {
      out_.Raw(",\"keypoints\":");
      WritePoints(answer.keypoints);
    }
    out_.Raw(",\"work\":{\"macs_share\":").Number(work.macs_share);
    out_.Raw(",\"changed\":").Number(work.changed);
    out_.Raw(",\"step_ms\":").Number(work.step_ms);
    out_.Raw(",\"dense\":").Bool(work.dense).Raw("}}");
  }

  std::string Take() { return out_.Take(); }

 private:
  void WriteClass(int class_id) {
    out_.Raw("\"class\":").Integer(class_id).Raw(",\"label\":").String(preset_.Label(class_id));
  }

  void WriteObject(const Detection& d) {
    out_.Raw("{");
    WriteClass(d.class_id);
    out_.Raw(",\"score\":").Number(d.score).Raw(",\"xyxy\":");
    out_.List(std::array{d.x1, d.y1, d.x2, d.y2}, [this](float value) { out_.Number(value); });
    if (!d.keypoints.empty()) {
      out_.Raw(",\"keypoints\":");
      WritePoints(d.keypoints);
    }
    if (d.mask.width > 0) {
      WriteRuns(MaskRuns(d.mask, width_, height_));
    }
    out_.Raw("}");
  }

  void WritePoints(const std::vector<KeyPoint>& points) {
    out_.List(points, [this](const KeyPoint& point) {
      out_.List(std::array{point.x, point.y, point.score},
                [this](float value) { out_.Number(value); });
    });
  }

  void WriteSegments(const ClassMap& map) {
    out_.Raw(",\"segments\":").List(MapRuns(map), [this](const ClassRuns& segment) {
      out_.Raw("{");
      WriteClass(segment.class_id);
      WriteRuns(segment.runs);
      out_.Raw("}");
    });
  }

  void WriteRuns(const std::vector<int64_t>& runs) {
    out_.Raw(",\"rle\":").List(runs, [this](int64_t run) { out_.Integer(run); });
  }

  const Preset& preset_;
  int width_;
  int height_;
  Writer out_;
};

}  // namespace

std::string FrameJson(int64_t frame, double pts, const Answer& answer, const Preset& preset,
                      const FrameWork& work, int width, int height, std::string_view file) {
  FrameWriter writer(preset, width, height);
  writer.Write(frame, pts, file, answer, work);
  return writer.Take();
}

}  // namespace deltacnn
