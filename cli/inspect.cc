// `deltacnn inspect`: what a model is made of and what it costs.
#include <fmt/core.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <utility>

#include "commands.h"
#include "deltacnn/post.h"
#include "graph/graph.h"
#include "loader.h"
#include "report.h"
#include "terminal.h"

namespace deltacnn::cli {
namespace {

Json ToJson(const std::vector<TensorInfo>& infos) {
  Json list = Json::array();
  for (const TensorInfo& info : infos) {
    list.push_back({{"name", info.name}, {"dtype", NameOf(info.dtype)}, {"shape", info.shape}});
  }
  return list;
}

Json OperatorCounts(const Graph& graph) {
  std::map<std::string, int64_t> counts;
  for (const Node& node : graph.nodes) ++counts[node.op];
  std::vector<std::pair<std::string, int64_t>> sorted(counts.begin(), counts.end());
  std::ranges::stable_sort(sorted, std::ranges::greater(),
                           &std::pair<std::string, int64_t>::second);
  Json json = Json::object();
  for (const auto& [op, count] : sorted) json[op] = count;
  return json;
}

Json LayerList(const Plan& plan) {
  Json list = Json::array();
  for (const LayerInfo& layer : plan.layers()) {
    list.push_back({{"name", layer.name},
                    {"op", layer.op},
                    {"output", layer.output},
                    {"pixels", layer.pixels},
                    {"macs", layer.macs}});
  }
  return list;
}

void PrintTensors(const char* title, const Json& infos) {
  for (const Json& info : infos) {
    Say("{:<11} {}  {} {}\n", title, info["name"].get<std::string>(),
        info["dtype"].get<std::string>(), ToString(info["shape"].get<Shape>()));
    title = "";
  }
}

void PrintModel(const Json& json) {
  Say("model       {}\n", json["model"].get<std::string>());
  PrintTensors("inputs", json["inputs"]);
  PrintTensors("outputs", json["outputs"]);
  std::vector<std::string> operators;
  for (const auto& [op, count] : json["operators"].items())
    operators.push_back(fmt::format("{} {}", op, count.get<int64_t>()));
  Say("operators   {}\n", fmt::join(operators, ", "));
}

void PrintCost(const Json& json) {
  Say("MACs        {}\n", FormatCount(json["macs"].get<double>()));
  Say("parameters  {}\n", FormatCount(json["parameters"].get<double>()));
  Say("weights     {}, {}\n", FormatBytes(json["weights_bytes"].get<uint64_t>()),
      json["weights"].get<std::string>());
  Say("state       {} a stream\n", FormatBytes(json["state_bytes"].get<uint64_t>()));
  Say("preset      {}\n", json["preset"].get<std::string>());
  Say("isa         {}\n", json["isa"].get<std::string>());
}

void PrintLayers(const Plan& plan) {
  Table table;
  table.Add({"layer", "operator", "output", "pixels", "MACs", "share"});
  for (const LayerInfo& layer : plan.layers()) {
    const double share =
        plan.macs() == 0 ? 0 : static_cast<double>(layer.macs) / static_cast<double>(plan.macs());
    table.Add({layer.name, layer.op, ToString(layer.output), std::to_string(layer.pixels),
               FormatCount(static_cast<double>(layer.macs)), fmt::format("{:.1f} %", 100 * share)});
  }
  Say("\n{}", table.Format());
}

/// Names every node that cannot run; the error is for the exit code.
Status ReportUnsupported(const InspectArguments& arguments, const Output& output, Json json,
                         const std::vector<Unsupported>& unsupported) {
  Json list = Json::array();
  Error error{ErrorCode::kUnsupported, fmt::format("{}: {} of its nodes cannot run",
                                                   arguments.model.path, unsupported.size())};
  if (arguments.json != "-") {
    PrintModel(json);
    Say("cannot run:\n");
  }
  for (const Unsupported& node : unsupported) {
    if (node.code != ErrorCode::kUnsupported) error.code = node.code;
    list.push_back({{"node", node.node}, {"op", node.op}, {"reason", node.reason}});
    if (arguments.json != "-") Say("  {} ({}): {}\n", node.node, node.op, node.reason);
  }
  json["unsupported"] = std::move(list);
  DELTACNN_RETURN_IF_ERROR(WriteJson(output, json));
  return error;
}

}  // namespace

Status Inspect(const InspectArguments& arguments) {
  const Output output{"--json", arguments.json};
  DELTACNN_RETURN_IF_ERROR(CheckOutputs({output}, InputsOf(arguments.model)));
  const auto options = PlanOptionsOf(arguments.model);
  if (!options.ok()) return options.error();
  auto model = Model::Load(arguments.model.path);
  if (!model.ok()) return model.error();

  Json json;
  json["model"] = arguments.model.path;
  json["inputs"] = ToJson((*model)->inputs());
  json["outputs"] = ToJson((*model)->outputs());
  json["operators"] = OperatorCounts((*model)->graph());
  const auto unsupported = Plan::Check(**model, *options);
  if (unsupported.size() == 1 && unsupported[0].node.empty())  // not a node, but the arguments
    return Error{unsupported[0].code, unsupported[0].reason};
  if (!unsupported.empty())
    return ReportUnsupported(arguments, output, std::move(json), unsupported);

  auto plan = Plan::Compile(**model, *options);
  if (!plan.ok()) return plan.error();
  const auto preset = FindPreset(FactsOf(**model, **plan, arguments.model.path));
  json["inputs"] = ToJson((*plan)->inputs());
  json["outputs"] = ToJson((*plan)->outputs());
  json["macs"] = (*plan)->macs();
  json["parameters"] = (*plan)->parameters();
  json["weights_bytes"] = (*plan)->weight_bytes();
  json["weights"] = arguments.model.weights;
  json["state_bytes"] = (*plan)->state_bytes();
  json["preset"] = preset.ok() ? preset->name : "none (" + preset.error().message + ")";
  json["isa"] = (*plan)->isa();
  json["unsupported"] = Json::array();
  if (arguments.json != "-") {
    PrintModel(json);
    PrintCost(json);
    if (arguments.layers) PrintLayers(**plan);
  }
  if (arguments.layers) json["layers"] = LayerList(**plan);
  return WriteJson(output, json);
}

}  // namespace deltacnn::cli
