// The program: arguments in, exit code out. 0 done, 1 failed, 2 wrong usage or unsupported.
#include <fcntl.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cerrno>
#include <cmath>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <functional>
#include <new>
#include <sstream>
#include <string>

#include "commands.h"
#include "terminal.h"

namespace deltacnn::cli {
namespace {

constexpr int kFailed = 1;
constexpr int kWrongUsage = 2;
constexpr int64_t kMostFrames = 1'000'000'000'000;

using Action = std::function<Status()>;

int Fail(std::string message, int code) {
  std::ranges::replace(message, '\n', ' ');
  Note("deltacnn: {}", message);
  return code;
}

int ExitCode(ErrorCode code) {
  return code == ErrorCode::kUsage || code == ErrorCode::kUnsupported ? kWrongUsage : kFailed;
}

/// CLI::Range, which "nan" would pass.
CLI::Validator Between(double low, double high) {
  const auto check = [](const std::string& text) {
    return std::isnan(std::strtod(text.c_str(), nullptr)) ? text + " is no number" : "";
  };
  return CLI::Range(low, high) & CLI::Validator(check, "");
}

void AddModel(CLI::App& command, ModelArguments& model, bool runs = true) {
  command.add_option("MODEL", model.path, "ONNX file")->required();
  command
      .add_option("--shape", model.shapes,
                  "Shape of an input, in place of the one that the model states or leaves open; "
                  "once for each input")
      ->allow_extra_args(false)
      ->type_name("NAME=1x3x640x640");
  command
      .add_option("--value", model.values,
                  "Elements of an input that is the same for every frame, such as the size of the "
                  "picture; once for each such input")
      ->allow_extra_args(false)
      ->type_name("NAME=640,640");
  command.add_option("--isa", model.isa, "Instruction set (default: the best of this machine)");
  command
      .add_option("--weights", model.weights,
                  "float32 or bfloat16: rounded, for half the memory of most of them")
      ->check(CLI::IsMember({"float32", "bfloat16"}))
      ->capture_default_str();
  if (runs) {
    command.add_option("--threads", model.threads, "Threads; 0: one for each core")
        ->check(CLI::Range(0, 1024))
        ->capture_default_str();
  }
}

void AddPolicy(CLI::App& command, PolicyArguments& policy) {
  command.add_option("--policy", policy.name, "exact, balanced, fast or a file of 'tune'")
      ->capture_default_str();
  command
      .add_option("--tolerance", policy.tolerance,
                  "Change of the picture that is ignored, in levels of 255")
      ->check(Between(0.0, 255.0));
  command
      .add_option("--reach", policy.reach,
                  "Cells from a changed pixel that a layer may update; -1: no limit")
      ->check(CLI::Range(-1, 1000));
  command
      .add_option(
          "--cutoff", policy.cutoff,
          "Change of a layer's pixel that is ignored, as a share of what the layer varies by")
      ->check(Between(0.0, 1.0));
  command
      .add_option("--strong", policy.strong,
                  "Change of a layer's pixel from which on it spreads as far as --reach says")
      ->check(Between(0.0, 1.0));
  command
      .add_option("--background", policy.background,
                  "How many times as large tolerance, cutoff and strong are away from objects")
      ->check(Between(1.0, 1000.0));
  command
      .add_option("--refresh", policy.refresh,
                  "Frames within which what the policy put off is computed")
      ->check(CLI::Range(1, 100000));
}

/// Returns the option of its name.
CLI::Option* AddVideo(CLI::App& command, VideoArguments& video) {
  command.add_option("--raw", video.raw_format,
                     "VIDEO has no header: FFmpeg's name of its pixel format, such as yuv420p");
  command.add_option("--size", video.size, "Of raw video; of a camera: the size to ask for")
      ->type_name("WIDTHxHEIGHT");
  command
      .add_option(
          "--fps", video.fps,
          "Of raw video, images and streams without times; of a camera: the rate to ask for")
      ->check(Between(0.001, 1e6));
  return command.add_option(
      "VIDEO", video.path,
      "File, glob, folder of images, rtsp://..., /dev/videoN or - (standard input)");
}

void AddInspect(CLI::App& app, InspectArguments& arguments, Action& action) {
  CLI::App& command = *app.add_subcommand("inspect", "Describe a model and what it costs");
  AddModel(command, arguments.model, false);
  command.add_flag("--layers", arguments.layers, "List every layer");
  command.add_option("--json", arguments.json, "Write the description to this file");
  command.callback([&] { action = [&] { return Inspect(arguments); }; });
}

void AddInfer(CLI::App& app, InferArguments& arguments, Action& action) {
  CLI::App& command = *app.add_subcommand("infer", "Run a model once on tensors");
  AddModel(command, arguments.model);
  command.add_option("--input", arguments.inputs, "A tensor for each input")
      ->type_name("NAME=FILE.npy");
  command.add_option("--out", arguments.out, "Folder for the outputs, one .npy each")->required();
  command.callback([&] { action = [&] { return Infer(arguments); }; });
}

void AddRun(CLI::App& app, RunArguments& arguments, Action& action) {
  CLI::App& command = *app.add_subcommand("run", "Run a model on a video");
  AddModel(command, arguments.model);
  AddVideo(command, arguments.video)->required();
  AddPolicy(command, arguments.policy);
  command.add_option("--save", arguments.save, "Write the annotated video")->type_name("OUT.mp4");
  command.add_option("--jsonl", arguments.jsonl, "Write one JSON object a frame; - for stdout");
  command.add_flag("--heatmap", arguments.heatmap, "Show in the video where the network worked");
  CLI::Option* encode =
      command
          .add_option("--encode", arguments.encode,
                      "Record the frames as H.264, and run on what the recording shows")
          ->type_name("REC.mp4");
  command
      .add_option("--encoder", arguments.encoder,
                  "FFmpeg's name of the encoder (default: libx264, or else what is there)")
      ->type_name("NAME")
      ->needs(encode);
  command
      .add_option("--encode-crf", arguments.encode_crf,
                  "Quality of the recording: 1 (best) to 51, as x264's CRF")
      ->check(CLI::Range(1, 51))
      ->needs(encode)
      ->capture_default_str();
  command.add_option("--preset", arguments.preset, "Model family, or a JSON file (default: found)");
  command.add_option("--conf", arguments.conf, "Lowest score (default: the preset's)")
      ->check(Between(0.0, 1.0));
  command.add_option("--iou", arguments.iou, "Overlap above which the worse box goes")
      ->check(Between(0.0, 1.0));
  command.add_option("--frames", arguments.frames, "Stop after so many frames")
      ->check(CLI::Range(int64_t{1}, kMostFrames));
  command
      .add_option("--budget", arguments.budget,
                  "Milliseconds of network a frame; what does not fit waits for later frames")
      ->check(Between(0.001, 1e6));
  command.callback([&] { action = [&] { return Run(arguments); }; });
}

void AddVerify(CLI::App& app, VerifyArguments& arguments, Action& action) {
  CLI::App& command =
      *app.add_subcommand("verify", "Compare incremental with dense runs, frame by frame");
  AddModel(command, arguments.model);
  AddVideo(command, arguments.video)->required();
  AddPolicy(command, arguments.policy);
  command.add_option("--preset", arguments.preset, "Model family, or a JSON file (default: found)");
  command.add_option("--frames", arguments.frames, "Stop after so many frames")
      ->check(CLI::Range(int64_t{1}, kMostFrames));
  command.add_option("--skip", arguments.skip, "Leave out so many frames first")
      ->check(CLI::Range(int64_t{0}, kMostFrames));
  command.add_option("--conf", arguments.conf, "Lowest score of an object")
      ->check(Between(0.0, 1.0))
      ->capture_default_str();
  CLI::Option* baseline =
      command
          .add_option("--baseline", arguments.baseline,
                      "Instead of the policy: skip:N (dense on one frame in N) or region (dense on "
                      "what moves)")
          ->type_name("NAME");
  for (const char* name :
       {"--policy", "--reach", "--cutoff", "--strong", "--background", "--refresh"})
    baseline->excludes(command.get_option(name));
  command.add_option("--json", arguments.json, "Write the report to this file");
  command.add_option("--html", arguments.html, "Write the report as a page with pictures");
  command.callback([&] { action = [&] { return Verify(arguments); }; });
}

void AddBench(CLI::App& app, BenchArguments& arguments, Action& action) {
  CLI::App& command = *app.add_subcommand("bench", "Time dense and incremental steps");
  AddModel(command, arguments.model);
  AddVideo(command, arguments.video)->description("As VIDEO of run (default: synthetic changes)");
  AddPolicy(command, arguments.policy);
  command
      .add_option("--active", arguments.active, "Shares of the input that change, without VIDEO")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->check(Between(0.0, 1.0))
      ->capture_default_str();
  command
      .add_option("--spread", arguments.spread,
                  "natural: changes grow from layer to layer as far as the policy lets them; "
                  "none: every layer updates the same share")
      ->check(CLI::IsMember({"natural", "none"}))
      ->capture_default_str();
  command.add_option("--seconds", arguments.seconds, "Time for each row")
      ->check(Between(0.01, 3600.0))
      ->capture_default_str();
  command.add_option("--json", arguments.json, "Write the results to this file");
  command.callback([&] { action = [&] { return Bench(arguments); }; });
}

void AddTune(CLI::App& app, TuneArguments& arguments, Action& action) {
  CLI::App& command = *app.add_subcommand("tune", "Pick a policy for a model and a sample clip");
  AddModel(command, arguments.model);
  AddVideo(command, arguments.video)->required();
  command.add_option("--target", arguments.target, "Lowest agreement with dense")
      ->check(Between(0.5, 1.0))
      ->capture_default_str();
  command.add_option("--conf", arguments.conf, "Lowest score of an object (default: the preset's)")
      ->check(Between(0.0, 1.0));
  command.add_option("-o,--out", arguments.out, "Policy file to write; - for stdout")
      ->type_name("POLICY.json")
      ->required();
  command.add_option("--preset", arguments.preset, "Model family, or a JSON file (default: found)");
  command.add_option("--frames", arguments.frames, "Look at so many frames at most")
      ->check(CLI::Range(int64_t{1}, kMostFrames))
      ->capture_default_str();
  command.add_option("--skip", arguments.skip, "Leave out so many frames first")
      ->check(CLI::Range(int64_t{0}, kMostFrames));
  command.callback([&] { action = [&] { return Tune(arguments); }; });
}

/// What an empty value does to an option is hardly what was meant: to turn it off.
void RefuseEmptyValues(CLI::App& app) {
  const auto check = [](const std::string& value) {
    return value.empty() ? "the value is empty; give one or leave it out" : "";
  };
  for (CLI::App* command : app.get_subcommands({}))
    for (CLI::Option* option : command->get_options()) option->check(check);
}

/// Results that did not reach stdout are a failure, unless the reader has seen enough and left.
int Finish() {
  const int error = FinishResults();
  if (error == 0 || error == EPIPE) return 0;
  return Fail(std::string("standard output: ") + std::strerror(error), kFailed);
}

/// No file may get the number of a standard stream that is closed: what is meant for the stream
/// would end up in it.
void FillStandardStreams() {
  for (const int stream : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    // The lowest number that is free is this one. Read only: results that go there are lost.
    if (fcntl(stream, F_GETFD) < 0) open("/dev/null", O_RDONLY);
  }
}

/// What is wrong with the command line, and where to look it up.
std::string UsageProblem(const CLI::App& app, const CLI::ParseError& error) {
  std::string command = "deltacnn";
  for (const CLI::App* sub : app.get_subcommands()) command += " " + sub->get_name();
  std::string problem = error.what();
  const std::vector<std::string> extras = app.remaining(/*recurse=*/true);
  const auto option = std::ranges::find_if(
      extras, [](const std::string& argument) { return argument.starts_with("-"); });
  if (option != extras.end()) {
    problem = "there is no option " + *option;
  } else if (app.get_subcommands().empty() && !extras.empty()) {
    problem = "there is no subcommand " + extras.front();
  } else if (!extras.empty() &&
             error.get_exit_code() == static_cast<int>(CLI::ExitCodes::ExtrasError)) {
    problem = "one argument too many: " + extras.front();
  }
  return problem + "; see '" + command + " --help'";
}

int Main(int argc, char** argv) {
  CLI::App app("Runs convolutional networks on video and recomputes only what changed.",
               "deltacnn");
  app.require_subcommand(1);
  app.set_version_flag("--version", DELTACNN_VERSION);
  InspectArguments inspect;
  InferArguments infer;
  RunArguments run;
  VerifyArguments verify;
  BenchArguments bench;
  TuneArguments tune;
  Action action;
  AddInspect(app, inspect, action);
  AddInfer(app, infer, action);
  AddRun(app, run, action);
  AddVerify(app, verify, action);
  AddBench(app, bench, action);
  AddTune(app, tune, action);
  RefuseEmptyValues(app);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) {  // --help and --version
      std::ostringstream text;
      app.exit(error, text);
      WriteResult(text.str());
      return Finish();
    }
    return Fail(UsageProblem(app, error), kWrongUsage);
  }
  if (const Status status = action(); !status.ok())
    return Fail(status.error().message, ExitCode(status.error().code));
  return Finish();
}

}  // namespace
}  // namespace deltacnn::cli

int main(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);  // a reader that leaves shows as a failed write
  deltacnn::cli::FillStandardStreams();
  try {
    return deltacnn::cli::Main(argc, argv);
  } catch (const std::bad_alloc&) {
    return deltacnn::cli::Fail("out of memory; a smaller --shape needs less", 1);
  } catch (const std::exception& error) {
    return deltacnn::cli::Fail(error.what(), 1);
  }
}
