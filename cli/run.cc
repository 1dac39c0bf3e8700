// `deltacnn run`: video in, annotated video and JSON lines out.
#include <fmt/core.h>

#include <cerrno>
#include <cstdio>
#include <memory>
#include <optional>
#include <utility>

#include "annotated_video.h"
#include "commands.h"
#include "loader.h"
#include "outputs.h"
#include "policy.h"
#include "report.h"
#include "terminal.h"
#include "timed_pipeline.h"
#include "video_input.h"

namespace deltacnn::cli {
namespace {

Output JsonLines(const RunArguments& arguments) { return {"--jsonl", arguments.jsonl}; }

/// A file, or stdout, that gets one line at a time.
class LineSink {
 public:
  static Result<LineSink> Open(Output output) {
    std::FILE* file = output.path == "-" ? stdout : std::fopen(output.path.c_str(), "w");
    if (file == nullptr) return CannotWrite(output);
    return LineSink(std::move(output), file);
  }

  /// False when nobody reads any more.
  Result<bool> Write(const std::string& line) {
    if (std::fputs(line.c_str(), file_.get()) >= 0 && std::fputc('\n', file_.get()) != EOF &&
        std::fflush(file_.get()) == 0) {
      return true;
    }
    if (errno == EPIPE) return false;
    return CannotWrite(output_);
  }

 private:
  struct Closer {
    void operator()(std::FILE* file) const {
      if (file != stdout) std::fclose(file);
    }
  };

  LineSink(Output output, std::FILE* file) : output_(std::move(output)), file_(file) {}

  Output output_;
  std::unique_ptr<std::FILE, Closer> file_;
};

/// Sums over all frames; a camera's run may last for months, so nothing is kept for each frame.
struct Totals {
  int64_t frames = 0;
  int64_t dense = 0;
  double work = 0;
  double changed = 0;
  double pending = 0;
  double decode_ms = 0;
  double encode_ms = 0;
  double decode_again_ms = 0;
  double feed_ms = 0;
  double step_ms = 0;
  double answer_ms = 0;

  double Mean(double sum) const { return frames == 0 ? 0 : sum / static_cast<double>(frames); }
};

class Runner {
 public:
  Runner(const RunArguments& arguments, VisionModel model, VideoSource source,
         TimedPipeline pipeline)
      : arguments_(arguments),
        model_(std::move(model)),
        source_(std::move(source)),
        pipeline_(std::move(pipeline)) {}

  Status OpenSinks();
  Status Loop();
  Status Close();
  void PrintSummary() const;

 private:
  Status OpenRecorder();
  Result<std::optional<FrameView>> Next() { return recorder_ ? recorder_->Next() : source_.Next(); }
  /// One frame; false when the reader of the JSON lines has gone.
  Result<bool> Process(const FrameView& frame);
  void Count(const StepReport& report);

  const RunArguments& arguments_;
  VisionModel model_;
  VideoSource source_;
  TimedPipeline pipeline_;
  std::optional<LineSink> lines_;
  std::optional<AnnotatedVideo> video_;
  std::optional<VideoRecorder> recorder_;  // reads source_
  Answer answer_;
  Totals totals_;
  bool reader_left_ = false;
  Stopwatch watch_;
};

Status Runner::OpenRecorder() {
  auto recorder = VideoRecorder::Create(arguments_.encode, [this] { return source_.Next(); },
                                        {.encoder = arguments_.encoder,
                                         .fps = source_.info().fps,
                                         .quality = arguments_.encode_crf,
                                         .threads = ThreadCount(arguments_.model),
                                         .pixel_aspect = source_.info().pixel_aspect});
  if (!recorder.ok()) return recorder.error();
  recorder_ = std::move(*recorder);
  return {};
}

Status Runner::OpenSinks() {
  if (!arguments_.encode.empty()) DELTACNN_RETURN_IF_ERROR(OpenRecorder());
  if (!arguments_.jsonl.empty()) {
    auto sink = LineSink::Open(JsonLines(arguments_));
    if (!sink.ok()) return sink.error();
    lines_ = std::move(*sink);
  }
  if (!arguments_.save.empty()) {
    const VideoInfo& info = source_.info();
    auto video = AnnotatedVideo::Create(arguments_.save, info.width, info.height,
                                        {.fps = info.fps,
                                         .threads = ThreadCount(arguments_.model),
                                         .pixel_aspect = info.pixel_aspect});
    if (!video.ok()) return video.error();
    video_ = std::move(*video);
    if (arguments_.heatmap) DELTACNN_RETURN_IF_ERROR(pipeline_.stream().TrackWorkMap());
  }
  return {};
}

Status Runner::Close() {
  const Status recorded = recorder_ ? recorder_->Close() : Status();
  const Status saved = video_ ? video_->Close() : Status();
  return recorded.ok() ? saved : recorded;
}

Status Runner::Loop() {
  int64_t total = source_.info().frames;  // 0: unknown
  if (arguments_.frames > 0 && (total == 0 || arguments_.frames < total)) total = arguments_.frames;
  Progress progress;
  while (totals_.frames != arguments_.frames && !Interrupted()) {
    const auto frame = Next();
    if (!frame.ok()) return frame.error();
    if (!*frame) break;
    const auto more = Process(**frame);
    if (!more.ok()) return more.error();
    if (!*more) {
      reader_left_ = true;
      break;
    }
    if (progress.due()) {
      progress.Show(fmt::format("frame {}{}  {:.1f}/s  work {}", totals_.frames,
                                total > 0 ? fmt::format("/{}", total) : "",
                                1e3 * static_cast<double>(totals_.frames) / watch_.ms(),
                                FormatShare(totals_.Mean(totals_.work))));
    }
  }
  return {};
}

Result<bool> Runner::Process(const FrameView& frame) {
  DELTACNN_RETURN_IF_ERROR(pipeline_.Feed(frame));
  const auto report = pipeline_.Step();
  if (!report.ok()) return report.error();
  const Preset& preset = model_.preset;
  DELTACNN_RETURN_IF_ERROR(pipeline_.Decode(preset.conf, preset.iou, answer_));
  if (video_) {
    DELTACNN_RETURN_IF_ERROR(video_->Write(frame, answer_, preset, pipeline_.heat_map(), *report));
  }
  bool more = true;
  if (lines_) {
    const FrameWork work{.macs_share = report->macs_share,
                         .changed = report->input_changed,
                         .step_ms = pipeline_.step_ms(),
                         .dense = report->dense};
    const auto written = lines_->Write(FrameJson(totals_.frames, frame.pts, answer_, preset, work,
                                                 frame.width, frame.height, frame.file));
    if (!written.ok()) return written.error();
    more = *written;
  }
  Count(*report);
  return more;
}

void Runner::Count(const StepReport& report) {
  ++totals_.frames;
  if (report.dense) ++totals_.dense;
  totals_.work += report.macs_share;
  totals_.changed += report.input_changed;
  totals_.pending += report.pending;
  totals_.decode_ms += source_.stats().decode_ms;
  if (recorder_) {
    totals_.encode_ms += recorder_->encode_ms();
    totals_.decode_again_ms += recorder_->decode_ms();
  }
  totals_.feed_ms += pipeline_.feed_ms();
  totals_.step_ms += pipeline_.step_ms();
  totals_.answer_ms += pipeline_.answer_ms();
}

void Runner::PrintSummary() const {
  const double seconds = watch_.ms() / 1e3;
  Note("{} frames in {:.1f} s: {:.1f} frames/s", totals_.frames, seconds,
       static_cast<double>(totals_.frames) / seconds);
  Note("work {} of dense runs ({} of {} frames dense), input changed {}",
       FormatShare(totals_.Mean(totals_.work)), totals_.dense, totals_.frames,
       FormatShare(totals_.Mean(totals_.changed)));
  Note("a frame: decode {:.3f} ms, preprocess {:.3f} ms, network {:.3f} ms, answers {:.3f} ms",
       totals_.Mean(totals_.decode_ms), totals_.Mean(totals_.feed_ms),
       totals_.Mean(totals_.step_ms), totals_.Mean(totals_.answer_ms));
  if (recorder_) {
    Note("recording in {}, by {}: encode {:.3f} ms, decode {:.3f} ms a frame", arguments_.encode,
         recorder_->encoder(), totals_.Mean(totals_.encode_ms),
         totals_.Mean(totals_.decode_again_ms));
  }
  if (arguments_.budget > 0) {
    Note("budget {:g} ms: {} of the input waited, on average", arguments_.budget,
         FormatShare(totals_.Mean(totals_.pending)));
  }
  const VideoStats& stats = source_.stats();
  if (stats.decode_errors > 0)
    Note("{} damaged packets or pictures were skipped; the first: {}", stats.decode_errors,
         stats.first_error.message);
  if (stats.reconnects > 0) Note("{} reconnects", stats.reconnects);
  if (Interrupted()) Note("interrupted: what was written so far is complete");
  if (reader_left_) Note("stopped: nobody reads the JSON lines any more");
  if (!arguments_.save.empty()) Note("video in {}", arguments_.save);
}

Status CheckArguments(const RunArguments& arguments) {
  if (arguments.heatmap && arguments.save.empty())
    return Error{ErrorCode::kUsage, "--heatmap draws into a video; give --save OUT.mp4 too"};
  return CheckOutputs(
      {{"--save", arguments.save, Output::Kind::kVideo},
       {"--encode", arguments.encode, Output::Kind::kVideo},
       JsonLines(arguments)},
      InputsOf(arguments.model, arguments.video, {arguments.preset, arguments.policy.name}));
}

}  // namespace

Status Run(const RunArguments& arguments) {
  DELTACNN_RETURN_IF_ERROR(CheckArguments(arguments));
  auto policy = FindPolicy(arguments.policy);
  if (!policy.ok()) return policy.error();
  policy->budget_ms = arguments.budget;
  auto model = LoadVisionModel(arguments.model, arguments.preset);
  if (!model.ok()) return model.error();
  if (arguments.conf >= 0) model->preset.conf = static_cast<float>(arguments.conf);
  if (arguments.iou >= 0) model->preset.iou = static_cast<float>(arguments.iou);
  auto pipeline = TimedPipeline::Create(*model, *policy, MakeExecutor(arguments.model));
  if (!pipeline.ok()) return pipeline.error();
  auto source = OpenVideo(arguments.video);
  if (!source.ok()) return source.error();

  Runner runner(arguments, std::move(*model), std::move(*source), std::move(*pipeline));
  DELTACNN_RETURN_IF_ERROR(runner.OpenSinks());
  Note("{}", policy->GivesUp());
  if (arguments.save.empty() && arguments.jsonl.empty()) {
    Note("only the cost is measured: --save OUT.mp4 or --jsonl FILE keeps the answers");
  }
  Status status = runner.Loop();
  Status closed = runner.Close();  // also after an error: keeps the frames so far
  if (!status.ok()) return status;
  if (closed.ok()) runner.PrintSummary();
  return closed;
}

}  // namespace deltacnn::cli
