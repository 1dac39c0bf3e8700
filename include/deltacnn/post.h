// Answers: what a network's output tensors mean. Presets say how a model family is fed and decoded;
// decoders turn raw outputs into boxes, classes, masks and key points; sinks write or draw them.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "deltacnn/input.h"
#include "deltacnn/region.h"
#include "deltacnn/result.h"
#include "deltacnn/tensor.h"

namespace deltacnn {

// ---------------------------------------------------------------------------------------- answers

struct KeyPoint {
  float x = 0;
  float y = 0;
  float score = 0;
};

/// A rectangle of a picture with one byte a pixel: 1 inside the object, 0 outside. Row-major.
struct Mask {
  int x = 0;  // position of the rectangle in the picture
  int y = 0;
  int width = 0;  // 0: there is no mask
  int height = 0;
  std::vector<uint8_t> pixels;
};

/// One object. Corners are continuous coordinates: a whole picture is (0, 0)-(width, height).
struct Detection {
  int class_id = 0;
  float score = 0;  // 0..1
  float x1 = 0;
  float y1 = 0;
  float x2 = 0;
  float y2 = 0;
  std::vector<KeyPoint> keypoints;  // empty where the model gives none
  Mask mask;                        // width 0 where the model gives none
};

struct ClassScore {
  int class_id = 0;
  float score = 0;
};

/// The class of every cell of a grid that covers the picture. Row-major.
struct ClassMap {
  int width = 0;
  int height = 0;
  std::vector<uint8_t> classes;
};

enum class AnswerKind {
  kNone,            // raw outputs only
  kDetections,      // `detections`; also the poses of several people
  kClassification,  // `topk`, best first
  kSegmentation,    // `class_map`
  kKeyPoints,       // `keypoints` of the one object that fills the picture
};

/// What the network says about one frame. Decoders give network-input pixels; MapToSource turns
/// them into pixels of the source picture. Reuse one Answer for all frames: its memory is kept.
struct Answer {
  AnswerKind kind = AnswerKind::kNone;
  std::vector<Detection> detections;  // best score first
  std::vector<ClassScore> topk;
  ClassMap class_map;
  std::vector<KeyPoint> keypoints;
};

/// Turns an answer in pixels of a `network_width` x `network_height` input into pixels of the
/// source picture. Boxes are clipped to the picture and dropped when nothing is left; masks and
/// class maps are resampled (nearest) to source pixels, class 0 where the network saw nothing; key
/// points are not clipped.
void MapToSource(const PixelTransform& transform, int network_width, int network_height,
                 int source_width, int source_height, Answer& answer);

// ---------------------------------------------------------------------------------------- presets

enum class DecoderKind {
  kNone,          // no decoder: raw outputs only
  kYolox,         // [1,N,5+C] on a grid: cx, cy, w, h in cells, obj, classes
  kYolov5,        // [1,N,5+C (+masks)]: cx, cy, w, h in pixels, obj, classes
  kYolov8,        // [1,4+C (+masks or key points),N] or transposed: cx, cy, w, h in pixels, classes
  kYoloEndToEnd,  // [1,N,6 (+masks or key points)]: x1, y1, x2, y2, score, class
  kNanodet,       // per stride [1,HW,C] and [1,HW,4*bins], or all strides in one [1,N,C+32]
  kFastestdet,    // [1,5+C,H,W]: obj, box, classes
  kUltraface,     // scores [1,N,2], normalised corner boxes [1,N,4]
  kRetinaface,    // boxes [1,N,4], scores [1,N,2], landmarks [1,N,10], relative to prior boxes
  kYunet,         // per stride cls, obj [1,HW,1], bbox [1,HW,4], kps [1,HW,10]
  kScrfd,         // per stride scores [2*HW,1], boxes [2*HW,4], key points [2*HW,10] (or none)
  kCenterface,    // heat map [1,1,H,W], scale and offset [1,2,H,W], landmarks [1,10,H,W]
  kBoxes,         // decoded boxes [1,N,4] (see BoxFormat), scores [1,N,C] without a background
  kRtdetr,        // boxes [1,N,4] (shares), logits [1,N,C]; or rows [1,N,4+C], [1,N,6]
  kDetr,          // the same boxes, logits [1,N,C+1] for a softmax, the last for "no object"
  kNms,           // the graph ends in its own non-maximum suppression (see BoxFormat)
  kClassification,  // [1,C] or [1,C,1,1]
  kSegmentation,    // [1,C,H,W], [1,H,W,C] (C >= 2), or classes [1,H,W]
  kHeatmaps,        // [1,K,H,W] (K key points, one object)
  kOpenSeeFace,     // [1,3*K,H,W]: heat maps, then offsets in y and in x
  kPosenet,         // heat maps [1,K,H,W], offsets [1,2K,H,W], displacements [1,4*(K-1),H,W]
};

/// How a graph that decodes its boxes itself writes them.
enum class BoxFormat { kXyxy, kYxyx, kCxcywh };

/// Everything that the outputs of a model do not say by themselves.
struct Preset {
  std::string name = "none";
  DecoderKind decoder = DecoderKind::kNone;
  std::vector<std::string> names;  // of the classes; may be empty
  std::vector<int> strides;  // of the grids, in the order of the outputs; empty: the usual ones
  InputSpec input;
  float conf = 0.4F;         // objects below are dropped, key points below are not drawn
  float iou = 0.5F;          // of two boxes of a class that overlap more, the worse is dropped
  int max_detections = 300;  // also of `topk`, which has at most 5
  int keypoints = 0;         // of each object, for YOLO pose models
  BoxFormat box_format = BoxFormat::kYxyx;    // for kNms and kBoxes
  bool normalized_boxes = false;              // for both: coordinates are shares of the input size
  std::vector<std::pair<int, int>> skeleton;  // key points to join by a line in drawings

  /// Name of a class, or its number where it has no name.
  std::string Label(int class_id) const;
};

struct TensorFacts {
  std::string name;
  Shape shape;  // -1: depends on the data
};

/// What a model file says about itself. Shapes are those of the run, not the declared symbols.
struct ModelFacts {
  std::string path;  // of the ONNX file; `stem.json` beside it is read if it exists
  std::vector<TensorFacts> inputs;
  std::vector<TensorFacts> outputs;
  std::map<std::string, std::string> metadata;  // ONNX metadata_props
};

/// Finds out how to feed and decode a model. In order: `name` (a preset's name, or a path that ends
/// in .json), the JSON file beside the model, metadata (Ultralytics writes names, stride and task),
/// the outputs' names and shapes. A JSON file may state any of
///   {"decoder": "yolox", "names": ["car", ...] or "coco"|"voc"|"face", "strides": [8, 16, 32],
///    "input": {"color": "rgb"|"bgr"|"gray", "mean": [0, 0, 0], "std": [255, 255, 255],
///              "resize": "letterbox"|"stretch"|"crop", "pad_value": 114, "align":
///              "centre"|"top-left"},
///    "conf": 0.4, "iou": 0.5, "max_detections": 300, "keypoints": 17, "skeleton": [[0, 1], ...],
///    "box_format": "xyxy"|"yxyx"|"cxcywh", "normalized_boxes": false}
/// and leaves the rest to the decoder's preset. A model that nothing fits gets the preset "none"
/// (an RGB input of 0..1, no decoder). Errors: an unknown name, a preset that does not fit the
/// outputs (says what it expects), a JSON file that cannot be read or has an unknown key.
Result<Preset> FindPreset(const ModelFacts& facts, const std::string& name = "");

/// The names that FindPreset accepts.
std::vector<std::string> PresetNames();

// --------------------------------------------------------------------------------------- decoders

class FamilyDecoder;  // internal

/// Turns output tensors into an Answer. Keeps scratch memory: one Decoder for each thread.
class Decoder {
 public:
  /// Fails if the outputs in `facts` are not what the preset's decoder expects.
  static Result<Decoder> Create(const Preset& preset, const ModelFacts& facts);

  Decoder(Decoder&&) noexcept;
  Decoder& operator=(Decoder&&) noexcept;
  ~Decoder();

  /// `outputs` in the order of `facts.outputs`, float32 (class numbers may be integers). `conf` and
  /// `iou` as in Preset. The answer is in network-input pixels. Objects with a score or corner that
  /// is not a number are dropped. On an error (a tensor that is missing or has another shape than
  /// Create saw) the answer is empty.
  Status Decode(std::span<const TensorView> outputs, float conf, float iou, Answer& answer);

  /// Where the outputs last decoded hold an object, be it too faint for the answer: the boxes with
  /// a score of at least 0.1, or the preset's `conf` if that is lower, for Stream::SetFocus.
  /// (FastestDet: 0.32, since its scores are means of two probabilities, not their product.) Of
  /// decoders that do not look for boxes, and before the first Decode, one region that covers any
  /// picture. Valid until the next Decode.
  std::span<const Region> regions() const { return regions_; }

  /// Number of classes that the outputs have room for; 0 where the shapes do not tell.
  int classes() const;

 private:
  Decoder(std::unique_ptr<FamilyDecoder> family, bool finds_boxes, float region_score);
  std::unique_ptr<FamilyDecoder> family_;
  bool finds_boxes_;
  float region_score_;  // of the boxes that are regions
  std::vector<Region> regions_;
};

/// Intersection over union of two boxes; 0 for empty ones.
float BoxIou(const Detection& a, const Detection& b);

// -------------------------------------------------------------------------------------- agreement

/// How well the answers of incremental runs agree with those of dense runs, over many frames.
/// An object of one run with score >= 0.40 is found if the other run has any of the same class with
/// score >= 0.25 and IoU >= 0.5 (or 0.75): recall looks for the dense run's objects, precision for
/// the incremental run's. Several objects may find the same partner.
class Agreement {
 public:
  static constexpr float kObjectScore = 0.40F;

  /// Another score may decide what an object is; that of a partner keeps its ratio to it.
  Agreement() = default;
  explicit Agreement(float object_score) : object_score_(object_score) {}
  float object_score() const { return object_score_; }
  /// Decode both answers with `conf` at or below this.
  float partner_score() const { return object_score_ * (0.25F / kObjectScore); }

  /// Shares are 1 where there was nothing to find, and absent where the model has no such answers.
  struct Summary {
    int64_t frames = 0;
    int64_t objects = 0;  // of the dense runs
    std::optional<double> recall50;
    std::optional<double> precision50;
    std::optional<double> recall75;
    std::optional<double> precision75;
    std::optional<double> same_top1;  // share of frames with the same best class
    std::optional<double> pixels;     // share of pixels with the same class
    std::optional<double> keypoints;  // share of the dense run's key points (object_score())
                                      // that moved by at most 5 % of the points' extent
  };

  /// Both answers in the same coordinates. Leave out the first frame: it is dense in both runs.
  void Add(const Answer& dense, const Answer& incremental);
  Summary Summarize() const;

 private:
  struct Share {
    int64_t hits = 0;
    int64_t total = 0;
  };
  void AddObjects(const std::vector<Detection>& objects, const std::vector<Detection>& others,
                  Share& at50, Share& at75) const;

  float object_score_ = kObjectScore;
  int64_t frames_ = 0;
  bool has_objects_ = false;
  bool has_topk_ = false;
  bool has_map_ = false;
  bool has_keypoints_ = false;
  Share recall50_;
  Share recall75_;
  Share precision50_;
  Share precision75_;
  Share top1_;
  Share pixels_;
  Share keypoints_;
};

// ------------------------------------------------------------------------------------------ sinks

/// What a frame cost, for the JSON line.
struct FrameWork {
  double macs_share = 1;  // multiply-adds done / those of a dense run
  double changed = 1;     // share of input pixels that changed
  double step_ms = 0;
  bool dense = true;
};

/// One line of JSON lines, without the line end:
///   {"frame", "pts" (seconds), "objects": [{"class", "label", "score", "xyxy": [x1, y1, x2, y2]}],
///    "work": {"macs_share", "changed", "step_ms", "dense"}}
/// Pictures that are files of their own have "file", its path, behind "pts".
/// Objects may have "keypoints": [[x, y, score], ...] and "rle". Classification adds "topk":
/// [{"class", "label", "score"}], segmentation "size": [height, width] and "segments": [{"class",
/// "label", "rle"}], pose of one object "keypoints". An "rle" is a list of run lengths over the
/// whole picture, row by row, that starts with the pixels outside (perhaps 0) and alternates;
/// objects' rle go with "size" too. Numbers have 6 significant digits; NaN and infinity are null.
/// `answer` in source pixels, `width` and `height` of the source picture, `file` as
/// FrameView::file.
std::string FrameJson(int64_t frame, double pts, const Answer& answer, const Preset& preset,
                      const FrameWork& work, int width, int height, std::string_view file = {});

/// A picture to draw on: 4 bytes a pixel in the order B, G, R, unused. `stride` in bytes, a
/// multiple of 4.
struct BgraPicture {
  uint8_t* data = nullptr;
  int width = 0;
  int height = 0;
  ptrdiff_t stride = 0;
};

/// How much of each cell was recomputed, and the rectangle of the picture that the cells cover.
struct HeatMap {
  std::span<const uint8_t> cells;  // rows * columns, row-major: 0 nothing, 255 everything
  int rows = 0;
  int columns = 0;
  float x = 0;
  float y = 0;
  float width = 0;
  float height = 0;
};

struct AnnotateOptions {
  HeatMap heat_map;         // none while rows or columns is 0
  std::string status_line;  // such as "work 7 %"; none while empty
};

/// Draws an answer (in pixels of the picture): boxes with labels, key points, class colours, and
/// what `options` asks for. Line widths and letters grow with the picture. Fails on a picture that
/// Cairo cannot take (no data, a size below 1 or above 32767, a bad stride).
Status Annotate(const BgraPicture& picture, const Answer& answer, const Preset& preset,
                const AnnotateOptions& options = {});

}  // namespace deltacnn
