// `deltacnn tune`: the cheapest policy that keeps enough of the dense run's answers on frames that
// it was not picked on.
#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <numeric>
#include <optional>
#include <vector>

#include "clip.h"
#include "commands.h"
#include "judge.h"
#include "loader.h"
#include "policy.h"
#include "report.h"
#include "terminal.h"
#include "timed_pipeline.h"

namespace deltacnn::cli {
namespace {

constexpr uint64_t kMostClipBytes = uint64_t{1} << 30;

/// A number of a policy, and the values to try: each saves more and keeps less than the one before.
struct Knob {
  const char* name;
  std::array<double, 5> values;
  void (*set)(VideoPolicy& policy, double value);
};

constexpr std::array<Knob, 3> kKnobs = {{
    {"tolerance",
     {1, 2, 4, 6, 10},
     [](VideoPolicy& policy, double value) { policy.tolerance = static_cast<float>(value); }},
    {"reach",
     {-1, 8, 4, 2, 0},
     [](VideoPolicy& policy, double value) { policy.layers.reach = static_cast<int>(value); }},
    {"cutoff",
     {0.005, 0.03, 0.06, 0.10, 0.15},
     [](VideoPolicy& policy, double value) {
       policy.layers.cutoff = static_cast<float>(value);
       policy.layers.strong = 2 * policy.layers.cutoff;
     }},
}};

/// One value of each knob.
using Choice = std::array<size_t, kKnobs.size()>;

VideoPolicy PolicyOf(const VideoPolicy& base, const Choice& choice) {
  VideoPolicy policy = base;
  for (size_t k = 0; k < kKnobs.size(); ++k) kKnobs[k].set(policy, kKnobs[k].values[choice[k]]);
  return policy;
}

/// All of them, those expected to be cheapest first.
std::vector<Choice> AllChoices() {
  std::vector<Choice> choices = {Choice{}};
  for (size_t k = 0; k < kKnobs.size(); ++k) {
    std::vector<Choice> longer;
    for (Choice choice : choices) {
      for (choice[k] = 0; choice[k] < kKnobs[k].values.size(); ++choice[k])
        longer.push_back(choice);
    }
    choices = std::move(longer);
  }
  const auto looseness = [](const Choice& choice) {
    return std::accumulate(choice.begin(), choice.end(), size_t{0});
  };
  std::ranges::stable_sort(choices, std::ranges::greater(), looseness);
  return choices;
}

/// True if `choice` gives up nothing that `other` does not give up as well: it costs no less.
bool IsStricter(const Choice& choice, const Choice& other) {
  return std::ranges::equal(choice, other, std::ranges::less_equal());
}

/// A policy that kept enough of the first stretch, and what came of it.
struct Finalist {
  Choice choice;
  Trial trial;
};

class Tuner {
 public:
  Tuner(const Judge& judge, VideoPolicy base, double target)
      : judge_(judge), base_(std::move(base)), target_(target) {}

  Status Search();
  void Print() const;
  /// The cheapest policy that reached the target, or `exact`, and how it did.
  Status Pick(VideoPolicy& policy, Trial& trial) const;

 private:
  const Judge& judge_;
  VideoPolicy base_;
  double target_;
  std::vector<Finalist> finalists_;
  std::optional<size_t> best_;  // of the finalists
  size_t tried_ = 0;
};

Status Tuner::Search() {
  Progress progress;
  const std::vector<Choice> choices = AllChoices();
  for (size_t i = 0; i < choices.size() && !Interrupted(); ++i) {
    const auto costs_no_more = [&](const Finalist& finalist) {
      return finalist.trial.reached && IsStricter(choices[i], finalist.choice);
    };
    if (std::ranges::any_of(finalists_, costs_no_more)) continue;
    if (progress.due()) {
      progress.Show(fmt::format(
          "policy {}/{}  {}", i + 1, choices.size(),
          best_ ? "best so far: work " + FormatShare(finalists_[*best_].trial.macs_share()) : ""));
    }
    ++tried_;
    const auto trial = judge_.Try(PolicyOf(base_, choices[i]), target_);
    if (!trial.ok()) return trial.error();
    if (!trial->complete && trial->stretches < 2) continue;
    finalists_.push_back({choices[i], *trial});
    if (trial->reached && (!best_ || trial->macs_share() < finalists_[*best_].trial.macs_share())) {
      best_ = finalists_.size() - 1;
    }
  }
  if (Interrupted()) return Error{ErrorCode::kIo, "interrupted: no policy was written"};
  return {};
}

void Tuner::Print() const {
  Table table;
  std::vector<std::string> head = {"work", "agreement", "held out", "result"};
  head.insert(head.begin(), kKnobs.size(), "");
  std::ranges::transform(kKnobs, head.begin(), &Knob::name);
  table.Add(std::move(head));
  for (size_t i = 0; i < finalists_.size(); ++i) {
    const auto& [choice, trial] = finalists_[i];
    std::vector<std::string> row;
    for (size_t k = 0; k < kKnobs.size(); ++k)
      row.push_back(fmt::format("{:g}", kKnobs[k].values[choice[k]]));
    row.push_back(FormatShare(trial.macs_share()));
    row.push_back(fmt::format("{:.4f}", trial.tuning.agreement));
    row.push_back(fmt::format("{:.4f}", trial.held_out.agreement));
    row.emplace_back(i == best_       ? "picked"
                     : trial.reached  ? "costs more"
                     : trial.complete ? "keeps too little"
                                      : "keeps too little, given up");
    table.Add(std::move(row));
  }
  if (!finalists_.empty()) Say("{}", table.Format());
  Say("{} of {} policies tried, {} of them failed in the first two stretches\n", tried_,
      AllChoices().size(), tried_ - finalists_.size());
}

Status Tuner::Pick(VideoPolicy& policy, Trial& trial) const {
  if (best_) {
    policy = PolicyOf(base_, finalists_[*best_].choice);
    trial = finalists_[*best_].trial;
    return {};
  }
  policy = VideoPolicy{};
  auto exact = judge_.Try(policy, target_);
  if (!exact.ok()) return exact.error();
  trial = *exact;
  return {};
}

Json MeasuredJson(const Judge& judge, const Score& score, const TuneArguments& arguments) {
  Json json;
  json["video"] = std::filesystem::path(arguments.video.path).filename().string();
  json["frames"] = score.frames;
  json["agreement"] = score.agreement;
  json["macs_share"] = score.macs_share;
  if (judge.has_decoder()) json["answers"] = ToJson(score.answers);
  if (judge.by_outputs()) json["deviation"] = score.deviation;
  return json;
}

void PrintPick(const VideoPolicy& policy, const Trial& trial, const TuneArguments& arguments) {
  const Json list = NumbersOf(policy);
  std::string numbers;
  for (const auto& [key, value] : list.items())
    numbers += fmt::format("{}{} {:g}", numbers.empty() ? "" : ", ", key, value.get<double>());
  if (policy.exact()) Say("nothing loosened reaches {:g}: the policy is exact\n", arguments.target);
  Say("picked: {}\n", numbers);
  Say("on {} frames held out: agreement {:.4f}, work {} of dense\n", trial.held_out.frames,
      trial.held_out.agreement, FormatShare(trial.held_out.macs_share));
}

}  // namespace

Status Tune(const TuneArguments& arguments) {
  const Output output{"--out", arguments.out};
  DELTACNN_RETURN_IF_ERROR(
      CheckOutputs({output}, InputsOf(arguments.model, arguments.video, {arguments.preset})));
  const auto base = FindPolicy({});
  if (!base.ok()) return base.error();
  const auto model = LoadVisionModel(arguments.model, arguments.preset);
  if (!model.ok()) return model.error();
  const auto clip = Clip::Read(arguments.video, arguments.skip, arguments.frames, kMostClipBytes);
  if (!clip.ok()) return clip.error();
  const size_t frames = clip->frames().size();
  if (frames < Judge::kFewestFrames) {
    return Error{ErrorCode::kUsage,
                 fmt::format("{}: {} frames are too few to tune on; give {}", arguments.video.path,
                             frames, Judge::kFewestFrames)};
  }
  const float conf = arguments.conf < 0 ? model->preset.conf : static_cast<float>(arguments.conf);
  const auto judge = Judge::Create(*model, *clip, MakeExecutor(arguments.model), conf);
  if (!judge.ok()) return judge.error();
  if (!judge->has_decoder()) {
    Note("no decoder for this model: judged by how far its outputs deviate");
  } else if (judge->by_outputs()) {
    Note("only {} objects in {} frames: judged by how far the outputs deviate as well",
         judge->objects(), frames);
  }
  Tuner tuner(*judge, *base, arguments.target);
  DELTACNN_RETURN_IF_ERROR(tuner.Search());
  VideoPolicy policy;
  Trial trial;
  DELTACNN_RETURN_IF_ERROR(tuner.Pick(policy, trial));

  Json json;
  json["deltacnn_policy"] = 1;
  json["model"] = std::filesystem::path(arguments.model.path).filename().string();
  json.update(NumbersOf(policy));
  json["target"] = arguments.target;
  json["measured"] = MeasuredJson(*judge, trial.held_out, arguments);
  if (arguments.out != "-") {
    tuner.Print();
    PrintPick(policy, trial, arguments);
  }
  return WriteJson(output, json);
}

}  // namespace deltacnn::cli
