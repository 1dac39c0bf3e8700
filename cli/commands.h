// The subcommands: what the command line may ask of each, and the function that does it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "deltacnn/result.h"

namespace deltacnn::cli {

/// How to load a model and make it ready to run.
struct ModelArguments {
  std::string path;
  std::vector<std::string> shapes;  // "NAME=1x3x640x640"
  std::vector<std::string> values;  // "NAME=640,640"
  std::string isa;                  // empty: the best of this machine
  std::string weights = "float32";  // or "bfloat16"
  int threads = 1;                  // 0: one for each core
};

struct PolicyArguments {
  std::string name = "balanced";
  double tolerance = -1;  // levels of 255; below 0: the policy's own
  // Of deltacnn::Policy; unset: the policy's own.
  std::optional<int> reach;
  std::optional<float> cutoff;
  std::optional<float> strong;
  std::optional<float> background;
  std::optional<int> refresh;
};

/// A video; all but the path as in VideoOptions.
struct VideoArguments {
  std::string path;  // empty: none
  std::string raw_format;
  std::string size;  // "WIDTHxHEIGHT"; empty: the input's own
  double fps = 0;
};

struct InspectArguments {
  ModelArguments model;
  bool layers = false;
  std::string json;  // file to write; empty: a table on stdout
};

struct InferArguments {
  ModelArguments model;
  std::vector<std::string> inputs;  // "NAME=FILE.npy"
  std::string out;                  // folder
};

struct RunArguments {
  ModelArguments model;
  PolicyArguments policy;
  VideoArguments video;
  std::string save;   // MP4 file; empty: none
  std::string jsonl;  // file, or "-" for stdout; empty: none
  bool heatmap = false;
  std::string encode;   // MP4 file for the frames as the network sees them; empty: none
  std::string encoder;  // empty: the first that opens
  int encode_crf = 23;
  std::string preset;   // empty: found
  double conf = -1;     // below 0: the preset's
  double iou = -1;      // below 0: the preset's
  int64_t frames = -1;  // below 0: all
  double budget = 0;    // milliseconds of network a frame; 0: none
};

struct VerifyArguments {
  ModelArguments model;
  PolicyArguments policy;
  VideoArguments video;
  std::string preset;
  int64_t frames = -1;  // below 0: all
  int64_t skip = 0;
  double conf = 0.4;     // of an object
  std::string baseline;  // "skip:N" or "region" in place of the policy; empty: the policy
  std::string json;
  std::string html;  // file; empty: none
};

struct TuneArguments {
  ModelArguments model;
  VideoArguments video;
  std::string preset;
  double target = 0.99;  // lowest agreement with dense
  double conf = -1;      // of an object; below 0: the preset's
  int64_t frames = 288;  // at most
  int64_t skip = 0;
  std::string out;  // policy file
};

struct BenchArguments {
  ModelArguments model;
  PolicyArguments policy;
  VideoArguments video;  // none: synthetic input
  std::vector<double> active = {1, 0.5, 0.25, 0.1, 0.05, 0.02, 0.01, 0};
  std::string spread = "natural";  // or "none"
  double seconds = 3;              // of measuring, for each row
  std::string json;

  /// Whether synthetic changes grow from layer to layer.
  bool spreads() const { return spread == "natural"; }
};

/// Each writes its results to stdout or the files named and its notes to stderr.
Status Inspect(const InspectArguments& arguments);
Status Infer(const InferArguments& arguments);
Status Run(const RunArguments& arguments);
Status Verify(const VerifyArguments& arguments);
Status Bench(const BenchArguments& arguments);
Status Tune(const TuneArguments& arguments);

}  // namespace deltacnn::cli
