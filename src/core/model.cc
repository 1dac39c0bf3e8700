#include "deltacnn/model.h"

#include "core/guarded.h"
#include "core/plan.h"
#include "graph/infer.h"
#include "onnx/reader.h"

namespace deltacnn {
namespace {

TensorInfo InfoOf(const Graph& graph, ValueId id) {
  const Value& value = graph.values[static_cast<size_t>(id)];
  return {value.name, value.dtype, value.shape.value_or(Shape{})};
}

Result<std::shared_ptr<const Model>> ModelOf(Result<Graph> graph) {
  if (!graph.ok()) return graph.error();
  return std::shared_ptr<const Model>(std::make_shared<Model>(std::move(*graph)));
}

}  // namespace

Result<std::shared_ptr<const Model>> Model::Load(const std::string& path) {
  return Guarded(path, "the file's weights have to fit",
                 [&] { return ModelOf(onnx::ReadFile(path)); });
}

Result<std::shared_ptr<const Model>> Model::Parse(std::string_view bytes) {
  return Guarded("model", "its weights have to fit",
                 [&] { return ModelOf(onnx::ReadBytes(bytes, "", "model")); });
}

Model::Model(Graph graph) : graph_(std::make_unique<const Graph>(std::move(graph))) {}
Model::~Model() = default;

std::vector<TensorInfo> Model::inputs() const {
  std::vector<TensorInfo> infos;
  for (const ValueId id : graph_->inputs) infos.push_back(InfoOf(*graph_, id));
  return infos;
}

std::vector<TensorInfo> Model::outputs() const {
  std::vector<TensorInfo> infos;
  for (const ValueId id : graph_->outputs) infos.push_back(InfoOf(*graph_, id));
  return infos;
}

const std::map<std::string, std::string>& Model::metadata() const { return graph_->metadata; }

Result<std::shared_ptr<const Plan>> Plan::Compile(const Model& model, const PlanOptions& options) {
  using PlanPtr = std::shared_ptr<const Plan>;
  return Guarded("plan", "bfloat16 weights need about half", [&]() -> Result<PlanPtr> {
    Graph graph = model.graph();
    DELTACNN_RETURN_IF_ERROR(FixInputs(graph, options));
    auto state = PlanGraph(std::move(graph), options, true);
    if (!state.ok()) return state.error();
    return PlanPtr(std::make_shared<Plan>(std::move(*state)));
  });
}

std::vector<Unsupported> Plan::Check(const Model& model, const PlanOptions& options) {
  using List = std::vector<Unsupported>;
  const auto checked = Guarded("model", "try smaller input shapes", [&]() -> Result<List> {
    Graph graph = model.graph();
    DELTACNN_RETURN_IF_ERROR(FixInputs(graph, options));
    return InferShapes(graph, true, options.max_state_bytes).unsupported;
  });
  if (!checked.ok()) return {{"", "", checked.error().message, checked.error().code}};
  return *checked;
}

Plan::Plan(std::unique_ptr<const PlanState> state) : state_(std::move(state)) {}
Plan::~Plan() = default;

const std::vector<TensorInfo>& Plan::inputs() const { return state_->input_infos; }
const std::vector<TensorInfo>& Plan::outputs() const { return state_->output_infos; }

std::vector<LayerInfo> Plan::layers() const {
  std::vector<LayerInfo> layers;
  for (const PlanStep& step : state_->steps) {
    const int64_t pixels = step.grid.pixels();
    layers.push_back(
        {step.name, step.op, step.output, step.kernel->MacsPerPixel() * pixels, pixels});
  }
  return layers;
}

int64_t Plan::macs() const { return state_->macs; }
int64_t Plan::parameters() const { return state_->parameters; }
uint64_t Plan::state_bytes() const { return state_->state_bytes; }
uint64_t Plan::weight_bytes() const { return state_->weight_bytes; }
const char* Plan::isa() const { return state_->kernels->name; }

}  // namespace deltacnn
