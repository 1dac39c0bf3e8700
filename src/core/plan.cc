#include "core/plan.h"

#include <algorithm>
#include <map>
#include <set>

#include "core/arena.h"
#include "core/layout.h"
#include "core/place.h"
#include "core/port.h"
#include "graph/infer.h"
#include "graph/lower.h"
#include "ops/chain.h"

namespace deltacnn {
namespace {

Value& At(Graph& graph, ValueId id) { return graph.values[static_cast<size_t>(id)]; }

/// One line that names every node that cannot run.
Error Combine(const std::vector<Unsupported>& unsupported) {
  Error error{ErrorCode::kUnsupported, ""};
  error.message = unsupported.size() == 1 ? "the model has a node that cannot run: "
                                          : "the model has " + std::to_string(unsupported.size()) +
                                                " nodes that cannot run: ";
  for (size_t i = 0; i < unsupported.size(); ++i) {
    const Unsupported& u = unsupported[i];
    if (u.code != ErrorCode::kUnsupported) error.code = u.code;
    error.message += (i == 0 ? "'" : "; '") + u.node + "' (" + u.op + "): " + u.reason;
  }
  error.message = OneLine(std::move(error.message));
  return error;
}

/// Takes the nodes whose shapes depend on data out of the graph. What they read of the rest becomes
/// outputs of the graph.
std::vector<Node> SplitDynamic(Graph& graph, const std::vector<bool>& dynamic) {
  std::vector<Node> late;
  std::vector<Node> early;
  std::set<ValueId> produced;  // by late nodes
  std::set<ValueId> wanted;
  for (size_t n = 0; n < graph.nodes.size(); ++n) {
    Node& node = graph.nodes[n];
    if (!dynamic[n]) {
      early.push_back(std::move(node));
      continue;
    }
    for (const ValueId in : node.inputs)
      if (in != kNoValue && !produced.contains(in)) wanted.insert(in);
    for (const Guard& guard : node.guards)
      if (!produced.contains(guard.condition)) wanted.insert(guard.condition);
    produced.insert(node.outputs.begin(), node.outputs.end());
    late.push_back(std::move(node));
  }
  for (const ValueId out : graph.outputs)
    if (!produced.contains(out)) wanted.insert(out);
  graph.nodes = std::move(early);
  graph.outputs.clear();
  for (const ValueId id : wanted)
    if (graph.Constant(id) == nullptr) graph.outputs.push_back(id);
  return late;
}

class Builder {
 public:
  Builder(PlanState& state, const PlanOptions& options) : state_(state), options_(options) {}

  Status Run() {
    Graph& graph = state_.graph;
    DELTACNN_RETURN_IF_ERROR(CheckSizes(graph, options_.max_state_bytes));
    const Layouts layouts = ChooseLayouts(graph);
    std::vector<bool> aliases;
    DELTACNN_RETURN_IF_ERROR(
        PlaceValues(graph, layouts, options_.max_state_bytes, state_, aliases));
    for (size_t n = 0; n < graph.nodes.size(); ++n) {
      DELTACNN_RETURN_IF_ERROR(AddStep(graph.nodes[n], aliases[n]));
    }
    for (const ValueId in : graph.inputs)
      state_.inputs.push_back(MakePort(state_, in, state_.masks[static_cast<size_t>(in)]));
    for (const ValueId out : graph.outputs) AddOutput(out);
    FindFeeders();
    PackArena();
    for (size_t b = 0; b < state_.buffer_bytes.size(); ++b) {
      (state_.constants[b].empty() ? state_.state_bytes : state_.weight_bytes) +=
          state_.buffer_bytes[b];
    }
    for (const Grid& grid : state_.mask_grids)
      state_.state_bytes += grid.words() * sizeof(uint64_t);
    return {};
  }

 private:
  Status AddStep(const Node& node, bool alias) {
    MakeContext context{node,
                        state_.graph,
                        state_.graph.opset,
                        alias,
                        {},
                        {},
                        *state_.kernels,
                        *state_.weights,
                        options_.weights == WeightFormat::kBfloat16};
    PlanStep step;
    const auto add_input = [&](ValueId id) {
      context.inputs.push_back(id == kNoValue ? nullptr
                                              : &state_.placements[static_cast<size_t>(id)]);
      step.input_masks.push_back(id == kNoValue ? -1 : state_.masks[static_cast<size_t>(id)]);
    };
    std::ranges::for_each(node.inputs, add_input);
    std::ranges::for_each(node.chain_inputs, add_input);
    for (const ValueId id : node.outputs) {
      const bool absent = id == kNoValue;
      context.outputs.push_back(absent ? nullptr : &state_.placements[static_cast<size_t>(id)]);
      if (!absent && step.output_mask < 0) {
        step.value = id;
        step.output_mask = state_.masks[static_cast<size_t>(id)];
        step.grid = state_.placements[static_cast<size_t>(id)].grid;
        step.output = state_.placements[static_cast<size_t>(id)].shape;
      }
    }
    // A moved value that shares memory and mask with its source needs no step at all.
    if (alias && step.input_masks[0] == step.output_mask) return {};
    for (const auto* list : {&context.inputs, &context.outputs})
      for (const Placement* value : *list)
        if (value != nullptr) Use(value->buffer, step);
    auto kernel = FindOp(node.op)->make(context);
    if (!kernel.ok()) return kernel.error();
    step.kernel = std::move(*kernel);
    step.name = node.name;
    step.op = node.op + DescribeChain(node);
    FindOverwritable(*step.kernel, context);
    state_.macs += step.kernel->MacsPerPixel() * step.grid.pixels();
    state_.weight_bytes += step.kernel->WeightBytes();
    state_.scratch_bytes = std::max(state_.scratch_bytes, step.kernel->ScratchBytes());
    state_.steps.push_back(std::move(step));
    return {};
  }

  void AddOutput(ValueId id) {
    const int mask = state_.masks[static_cast<size_t>(id)];
    Port port = MakePort(state_, id, mask);
    if (port.buffer < 0) {
      const Placement& p = state_.placements[static_cast<size_t>(id)];
      port.buffer = static_cast<int>(state_.buffer_bytes.size());
      state_.buffer_bytes.push_back(static_cast<uint64_t>(ElementCount(p.shape)) * SizeOf(p.dtype));
      state_.constants.emplace_back();
      PlanStep step;
      step.name = port.info.name;
      step.op = "Output";
      step.kernel = MakeExport(p, port, *state_.kernels);
      step.input_masks = {mask};
      step.grid = p.grid;
      step.output = p.shape;
      Use(p.buffer, step);
      state_.steps.push_back(std::move(step));
    }
    state_.outputs.push_back(std::move(port));
  }

  /// The step that is about to be added reads or writes this buffer.
  void Use(int buffer, PlanStep& step) {
    if (buffer < 0) return;
    const auto index = static_cast<int>(state_.steps.size());
    const auto [life, first] = lifetimes_.try_emplace(
        buffer, Lifetime{state_.buffer_bytes[static_cast<size_t>(buffer)], index, index});
    if (first) step.opens.push_back(buffer);
    life->second.last = index;
  }

  /// Notes which inputs of the step that is about to be added could give their memory to the
  /// output.
  void FindOverwritable(const Kernel& kernel, const MakeContext& context) {
    if (context.outputs.size() != 1 || context.outputs[0] == nullptr) return;
    const Placement& out = context.out(0);
    for (size_t i = 0; i < context.inputs.size(); ++i) {
      const Placement* in = context.inputs[i];
      if (in == nullptr || in->buffer < 0 || !kernel.MayOverwrite(i)) continue;
      // Nothing else that the step reads may lie there.
      const auto sharing = std::ranges::count_if(context.inputs, [&](const Placement* other) {
        return other != nullptr && other->buffer == in->buffer;
      });
      if (sharing == 1 && in->row_offset == out.row_offset && in->col_stride == out.col_stride &&
          in->buffer != out.buffer)
        overwritable_.push_back({static_cast<int>(state_.steps.size()), in->buffer, out.buffer});
    }
  }

  /// Outputs take over the memory of inputs that die in their step, in steps that keep nothing.
  void JoinLifetimes() {
    for (const auto& [step, in, out] : overwritable_) {
      const int from = joined_.contains(in) ? joined_[in] : in;
      if (!lifetimes_.contains(from) || !lifetimes_.contains(out)) continue;
      Lifetime& life = lifetimes_[from];
      const Lifetime next = lifetimes_[out];
      const auto size_of = [&](int buffer) {
        return state_.buffer_bytes[static_cast<size_t>(buffer)];
      };
      if (life.last != step || next.first != step || size_of(in) != size_of(out) ||
          state_.halos[static_cast<size_t>(in)] != state_.halos[static_cast<size_t>(out)])
        continue;
      life.last = next.last;
      lifetimes_.erase(out);
      joined_[out] = from;
    }
  }

  void PackArena() {
    const size_t buffers = state_.buffer_bytes.size();
    state_.arena_offset.assign(buffers, -1);
    state_.halos.resize(buffers);
    for (const Port& port : state_.inputs)
      lifetimes_.erase(state_.placements[static_cast<size_t>(port.value)].buffer);
    for (const Port& port : state_.outputs) lifetimes_.erase(port.buffer);
    std::erase_if(lifetimes_, [&](const auto& item) {
      return !state_.constants[static_cast<size_t>(item.first)].empty();
    });
    JoinLifetimes();
    std::vector<Lifetime> lifetimes;
    for (const auto& item : lifetimes_) lifetimes.push_back(item.second);
    const std::vector<uint64_t> offsets = PackLifetimes(lifetimes);
    size_t next = 0;
    for (const auto& item : lifetimes_)
      state_.arena_offset[static_cast<size_t>(item.first)] = static_cast<int64_t>(offsets[next++]);
    for (const auto& [buffer, source] : joined_)
      state_.arena_offset[static_cast<size_t>(buffer)] =
          state_.arena_offset[static_cast<size_t>(source)];
    for (PlanStep& step : state_.steps)
      std::erase_if(step.opens, [&](int buffer) { return !lifetimes_.contains(buffer); });
  }

  void FindFeeders() {
    std::vector<bool> feeds(state_.mask_grids.size(), false);  // by mask
    for (auto step = state_.steps.rbegin(); step != state_.steps.rend(); ++step) {
      step->feeds_macs = step->output_mask >= 0 && feeds[static_cast<size_t>(step->output_mask)];
      if (!step->feeds_macs && step->kernel->MacsPerPixel() == 0) continue;
      for (const int mask : step->input_masks)
        if (mask >= 0) feeds[static_cast<size_t>(mask)] = true;
    }
  }

  PlanState& state_;
  const PlanOptions& options_;
  std::map<int, Lifetime> lifetimes_;  // by buffer
  struct Overwritable {
    int step, in, out;  // buffers
  };
  std::vector<Overwritable> overwritable_;
  std::map<int, int> joined_;  // a buffer that takes over the memory of another one
};

}  // namespace

std::optional<Grid> PictureInput(const PlanState& plan) {
  if (plan.inputs.size() != 1) return std::nullopt;
  const Port& input = plan.inputs[0];
  if (input.info.shape.size() != 4 || input.info.shape[0] != 1) return std::nullopt;
  return plan.mask_grids[static_cast<size_t>(input.mask)];
}

bool GivesPicture(const PlanStep& step) {
  return step.output_mask >= 0 && step.output.size() == 4 && step.grid.rows > 1 &&
         step.grid.cols > 1;
}

Result<std::unique_ptr<PlanState>> PlanGraph(Graph graph, const PlanOptions& options, bool fold) {
  auto state = std::make_unique<PlanState>();
  state->kernels = kernels::Find(options.isa);
  state->max_state_bytes = options.max_state_bytes;
  if (state->kernels == nullptr) {
    std::string names;
    for (const kernels::Table* table : kernels::Available())
      names += std::string(" ") + table->name;
    return Error{ErrorCode::kUsage, "this machine cannot run instruction set '" + options.isa +
                                        "' (it has:" + names + ")"};
  }
  for (const Value& value : graph.values)
    if (value.constant != nullptr) state->parameters += value.constant->elements();

  state->weights.emplace(static_cast<size_t>(state->parameters) * sizeof(float));

  Inference inference = InferShapes(graph, fold, options.max_state_bytes);
  if (!inference.unsupported.empty()) return Combine(inference.unsupported);
  state->model_outputs = graph.outputs;
  for (const ValueId id : graph.inputs) {
    const Value& value = At(graph, id);
    state->input_infos.push_back({value.name, value.dtype, *value.shape});
  }
  state->dynamic = SplitDynamic(graph, inference.dynamic);
  if (!fold && !state->dynamic.empty()) {
    return NodeError(ErrorCode::kUnsupported, state->dynamic[0],
                     "it needs an input that is not known");
  }
  for (const ValueId id : state->model_outputs) {
    const Value& value = At(graph, id);
    state->output_infos.push_back({value.name, value.dtype, value.shape.value_or(Shape{})});
  }
  Lower(graph);
  state->graph = std::move(graph);
  DELTACNN_RETURN_IF_ERROR(Builder(*state, options).Run());
  return state;
}

}  // namespace deltacnn
