// `deltacnn verify`: the honesty tool. On every frame, the incremental run of the policy and a
// dense run on that very frame's pixels, side by side.
#include <fmt/core.h>

#include <algorithm>
#include <memory>
#include <utility>

#include "baseline.h"
#include "commands.h"
#include "loader.h"
#include "page.h"
#include "policy.h"
#include "report.h"
#include "terminal.h"
#include "timed_pipeline.h"
#include "verifier.h"
#include "video_input.h"

namespace deltacnn::cli {
namespace {

std::string AgreementText(const Json& agreement) {
  if (agreement.is_null()) return "no decoder for this model";
  std::string text;
  for (const auto& [name, value] : agreement.items()) {
    if (value.is_null()) continue;
    if (!text.empty()) text += ", ";
    text += value.is_number_integer() ? fmt::format("{} {}", value.get<int64_t>(), name)
                                      : fmt::format("{} {:.4f}", name, value.get<double>());
  }
  return text;
}

/// The report in one line.
std::string Verdict(const Json& json) {
  const double step = json["step_ms"]["median"].get<double>();
  const double dense = json["dense_ms"]["median"].get<double>();
  std::string text = fmt::format("{} frames, ", json["frames"].get<int64_t>());
  text += step > 0 ? fmt::format("{:.1f}x faster than dense, ", dense / step)
                   : fmt::format("{} of dense, ", FormatShare(json["macs_share"].get<double>()));
  const Json& agreement = json["agreement"];
  if (json["max_abs_diff"] == 0) return text + "same bits";
  if (agreement.is_null() || agreement["recall50"].is_null()) {
    return text + fmt::format("outputs differ by at most {:g}", json["max_abs_diff"].get<double>());
  }
  const double recall = agreement["recall50"].get<double>();
  const double precision = agreement["precision50"].get<double>();
  if (recall == 1 && precision == 1) return text + "same detections";
  return text + fmt::format("{} of its detections found, {} of those found right (IoU 0.5)",
                            FormatShare(recall), FormatShare(precision));
}

/// The layers that do most of the work that is left.
void PrintLayers(const Json& layers) {
  constexpr size_t kMost = 8;
  const auto work = [](const Json& layer) {
    return layer["macs"].get<double>() * layer["computed"].get<double>();
  };
  std::vector<Json> busy(layers.begin(), layers.end());
  std::erase_if(busy, [&](const Json& layer) { return work(layer) == 0; });
  std::ranges::stable_sort(busy, std::ranges::greater(), work);
  if (busy.empty()) return;
  double dense = 0;
  for (const Json& layer : layers) dense += layer["macs"].get<double>();
  Table table;
  table.Add({"busiest layer", "op", "output", "computed", "changed", "MACs of dense"});
  for (const Json& layer : std::span(busy).first(std::min(kMost, busy.size()))) {
    table.Add({layer["name"].get<std::string>(), layer["op"].get<std::string>(),
               ToString(layer["output"].get<Shape>()), FormatShare(layer["computed"].get<double>()),
               FormatShare(layer["changed"].get<double>()), FormatShare(work(layer) / dense)});
  }
  Say("{}", table.Format());
}

void Print(const Json& json) {
  const auto number = [&](const char* key) { return json[key].get<double>(); };
  const auto times = [&](const char* key) {
    return fmt::format("{:.3f} ms median, {:.3f} ms p95", json[key]["median"].get<double>(),
                       json[key]["p95"].get<double>());
  };
  const auto text = [&](const char* key) { return json[key].get<std::string>(); };
  const double step = json["step_ms"]["median"].get<double>();
  Say("model          {}\n", text("model"));
  Say("video          {}\n", text("video"));
  Say("frames         {}\n", json["frames"].get<int64_t>());
  Say("policy         {} (tolerance {:g})\n", text("policy"), number("tolerance"));
  Say("threads, isa   {}, {}\n", json["threads"].get<int>(), text("isa"));
  if (!json["max_abs_diff"].is_null()) {
    Say("max_abs_diff   {:g}\n", number("max_abs_diff"));
    Say("max_rel_diff   {:g} of the output's largest value\n", number("max_rel_diff"));
  }
  Say("agreement      {}\n", AgreementText(json["agreement"]));
  Say("input changed  {}\n", FormatShare(number("input_changed")));
  Say("macs_share     {} of dense\n", FormatShare(number("macs_share")));
  Say("dense step     {}\n", times("dense_ms"));
  Say("step           {}{}\n", times("step_ms"),
      step > 0 ? fmt::format(" ({:.2f}x faster)", json["dense_ms"]["median"].get<double>() / step)
               : "");
  Say("preprocess     {:.3f} ms median\n", json["preprocess_ms"]["median"].get<double>());
  Say("decode         {:.3f} ms median\n", json["decode_ms"]["median"].get<double>());
  Say("state          {} a stream\n", FormatBytes(json["state_bytes"].get<uint64_t>()));
  if (json.contains("layers")) PrintLayers(json["layers"]);
  Say("{}\n", Verdict(json));
}

Status Loop(const VerifyArguments& arguments, VideoSource& source, Verifier& verifier) {
  Progress progress;
  for (int64_t number = 0; verifier.frames() != arguments.frames && !Interrupted(); ++number) {
    const auto frame = source.Next();
    if (!frame.ok()) return frame.error();
    if (!*frame) break;
    if (number < arguments.skip) continue;
    DELTACNN_RETURN_IF_ERROR(verifier.Add(**frame, number, source.stats().decode_ms));
    if (progress.due())
      progress.Show(fmt::format("frame {}  work {}", number, FormatShare(verifier.macs_share())));
  }
  progress.Clear();
  if (Interrupted()) Note("interrupted: the report covers the frames so far");
  if (verifier.frames() == 0 && !Interrupted()) {
    return Error{ErrorCode::kUsage,
                 fmt::format("{}: has no frame after the {} that --skip leaves out",
                             arguments.video.path, arguments.skip)};
  }
  return {};
}

Result<std::unique_ptr<Contender>> MakeContender(const VerifyArguments& arguments,
                                                 const VisionModel& model,
                                                 const VideoPolicy& policy,
                                                 const std::shared_ptr<Executor>& executor) {
  if (!arguments.baseline.empty())
    return MakeBaseline(arguments.baseline, model, policy.tolerance, executor);
  auto pipeline = TimedPipeline::Create(model, policy, executor);
  if (!pipeline.ok()) return pipeline.error();
  if (!arguments.html.empty()) DELTACNN_RETURN_IF_ERROR(pipeline->stream().TrackWorkMap());
  return std::unique_ptr<Contender>(std::make_unique<TimedPipeline>(std::move(*pipeline)));
}

}  // namespace

Status Verify(const VerifyArguments& arguments) {
  const Output report{"--json", arguments.json};
  const Output page{"--html", arguments.html, Output::Kind::kFile};
  DELTACNN_RETURN_IF_ERROR(CheckOutputs(
      {report, page},
      InputsOf(arguments.model, arguments.video, {arguments.preset, arguments.policy.name})));
  const auto policy = FindPolicy(arguments.policy);
  if (!policy.ok()) return policy.error();
  const auto model = LoadVisionModel(arguments.model, arguments.preset);
  if (!model.ok()) return model.error();
  const std::shared_ptr<Executor> executor = MakeExecutor(arguments.model);
  auto contender = MakeContender(arguments, *model, *policy, executor);
  if (!contender.ok()) return contender.error();
  // What rounded weights change counts as a difference.
  ModelArguments full = arguments.model;
  full.weights = "float32";
  const bool rounded = arguments.model.weights != full.weights;
  const auto dense_model = rounded ? LoadVisionModel(full, arguments.preset) : model;
  if (!dense_model.ok()) return dense_model.error();
  auto dense = TimedPipeline::Create(*dense_model, VideoPolicy{}, executor);
  if (!dense.ok()) return dense.error();
  auto source = OpenVideo(arguments.video);
  if (!source.ok()) return source.error();
  const bool is_baseline = !arguments.baseline.empty();
  if (!is_baseline) Note("{}", policy->GivesUp());
  Verifier verifier(*model, std::move(*contender), std::move(*dense),
                    static_cast<float>(arguments.conf));
  if (!arguments.html.empty()) verifier.StartAlbum();
  DELTACNN_RETURN_IF_ERROR(Loop(arguments, *source, verifier));

  Json json;
  json["frames"] = verifier.frames();
  json["policy"] = is_baseline ? arguments.baseline : policy->name;
  json["policy_numbers"] = is_baseline ? Json(nullptr) : NumbersOf(*policy);
  json["tolerance"] = policy->tolerance;
  json["threads"] = executor->threads();
  json["isa"] = model->plan->isa();
  json["model"] = arguments.model.path;
  json["video"] = arguments.video.path;
  json.update(verifier.Report());
  if (arguments.json != "-") Print(json);
  DELTACNN_RETURN_IF_ERROR(WriteJson(report, json));
  if (!arguments.html.empty()) DELTACNN_RETURN_IF_ERROR(WritePage(page, json, verifier));
  if (!is_baseline && policy->exact() && verifier.first_difference()) {
    const FirstDifference& first = *verifier.first_difference();
    return Error{
        ErrorCode::kIo,
        fmt::format("policy exact was not exact: output '{}' first differs in frame {}, by "
                    "{:g}; please report it with the model and the video",
                    first.output, first.frame, first.absolute)};
  }
  return {};
}

}  // namespace deltacnn::cli
