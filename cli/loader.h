// From the command line's model arguments to a plan with its preset.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "commands.h"
#include "deltacnn/executor.h"
#include "deltacnn/model.h"
#include "deltacnn/result.h"
#include "deltacnn/vision.h"

namespace deltacnn::cli {

struct KeyValue {
  std::string key;
  std::string value;
};

/// Splits "NAME=VALUE" at the first "=".
Result<KeyValue> ParseKeyValue(const std::string& text, const std::string& option);

/// kUsage if `option` has given the name a value before.
template <class Value>
Status AddValue(std::map<std::string, Value>& values, const std::string& name, Value value,
                const std::string& option) {
  if (values.emplace(name, std::move(value)).second) return {};
  return Error{ErrorCode::kUsage, option + " " + name + ": is given twice; leave one out"};
}

/// How the arguments ask for a plan.
Result<PlanOptions> PlanOptionsOf(const ModelArguments& arguments);

/// Number of threads: 0 stands for one for each core that this process may use.
int ThreadCount(const ModelArguments& arguments);
/// So many threads, for all streams of a subcommand. Notes where they are too many.
std::shared_ptr<Executor> MakeExecutor(const ModelArguments& arguments);

struct LoadedModel {
  std::shared_ptr<const Model> model;
  std::shared_ptr<const Plan> plan;
};

/// Reads, checks and plans the model. `shapes`, by input name, fill in what the model and the
/// arguments leave open; others than that are not taken.
Result<LoadedModel> LoadModel(const ModelArguments& arguments,
                              std::map<std::string, Shape> shapes = {});

/// VisionModel::Load with the arguments' plan. `preset` as in FindPreset.
Result<VisionModel> LoadVisionModel(const ModelArguments& arguments, const std::string& preset);

}  // namespace deltacnn::cli
