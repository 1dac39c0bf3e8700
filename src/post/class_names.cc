#include "post/class_names.h"

namespace deltacnn {

std::vector<std::string> CocoNames() {
  return {"person",        "bicycle",      "car",
          "motorcycle",    "airplane",     "bus",
          "train",         "truck",        "boat",
          "traffic light", "fire hydrant", "stop sign",
          "parking meter", "bench",        "bird",
          "cat",           "dog",          "horse",
          "sheep",         "cow",          "elephant",
          "bear",          "zebra",        "giraffe",
          "backpack",      "umbrella",     "handbag",
          "tie",           "suitcase",     "frisbee",
          "skis",          "snowboard",    "sports ball",
          "kite",          "baseball bat", "baseball glove",
          "skateboard",    "surfboard",    "tennis racket",
          "bottle",        "wine glass",   "cup",
          "fork",          "knife",        "spoon",
          "bowl",          "banana",       "apple",
          "sandwich",      "orange",       "broccoli",
          "carrot",        "hot dog",      "pizza",
          "donut",         "cake",         "chair",
          "couch",         "potted plant", "bed",
          "dining table",  "toilet",       "tv",
          "laptop",        "mouse",        "remote",
          "keyboard",      "cell phone",   "microwave",
          "oven",          "toaster",      "sink",
          "refrigerator",  "book",         "clock",
          "vase",          "scissors",     "teddy bear",
          "hair drier",    "toothbrush"};
}

std::vector<std::string> CocoIdNames() {
  std::vector<std::string> names = CocoNames();
  for (const int unused : {0, 12, 26, 29, 30, 45, 66, 68, 69, 71, 83})
    names.insert(names.begin() + unused, "unused");
  return names;
}

std::vector<std::string> VocNames() {
  return {"background", "aeroplane", "bicycle",      "bird",  "boat",         "bottle", "bus",
          "car",        "cat",       "chair",        "cow",   "dining table", "dog",    "horse",
          "motorbike",  "person",    "potted plant", "sheep", "sofa",         "train",  "tv"};
}

}  // namespace deltacnn
