#include "deltacnn/stream.h"

#include <algorithm>
#include <chrono>
#include <cstring>

#include "core/budget.h"
#include "core/cost.h"
#include "core/dynamic.h"
#include "core/flags.h"
#include "core/focus.h"
#include "core/guarded.h"
#include "core/memory.h"
#include "core/momentum.h"
#include "core/plan.h"
#include "core/reach.h"
#include "core/spans.h"
#include "core/strength.h"
#include "core/threads.h"
#include "core/work_log.h"

namespace deltacnn {
namespace {

using Clock = std::chrono::steady_clock;

// Below so much work (multiply-adds and moved elements) a second thread costs more than it brings.
constexpr int64_t kSerialWork = 100'000;

constexpr size_t kScratchAlignment = 64;

size_t Align(size_t size) {
  return (size + kScratchAlignment - 1) / kScratchAlignment * kScratchAlignment;
}

}  // namespace

struct Stream::State {
  State(std::shared_ptr<const Plan> plan_, const StreamOptions& options)
      : plan(std::move(plan_)),
        executor(options.executor != nullptr ? options.executor : MakeThreadPool(options.threads)),
        time_layers(options.time_layers),
        // Under a budget no step may take much longer than the others.
        reach(p(), options.policy, options.budget_ms > 0 ? 1 : Reach::kStepsPerBand),
        focus(p(), options.policy, reach),
        strength(p(), options.policy),
        cost_model(p()),
        budget(
            p().inputs.empty() ? Grid{} : p().mask_grids[static_cast<size_t>(p().inputs[0].mask)],
            p().inputs.size() == 1 ? options.budget_ms : 0) {}

  const PlanState& p() const { return plan->state(); }
  MaskView Mask(int index) const {
    if (index < 0) return {};
    return {mask_words.data() + mask_offset[static_cast<size_t>(index)],
            p().mask_grids[static_cast<size_t>(index)]};
  }

  /// The part of a mask that strong changes made.
  MaskView StrongMask(int index) const {
    if (index < 0 || !reach.judges()) return {};
    return {strong_words.data() + mask_offset[static_cast<size_t>(index)],
            p().mask_grids[static_cast<size_t>(index)]};
  }

  void Allocate();
  void ClearHalo(int buffer);
  void UseMemory(bool keep);
  MaskView FindAffected(size_t index, const MaskView& out);
  void RunStep(size_t index);
  void RunSteps();
  void ClearInputs();
  void Compute(const PlanStep& step, size_t index, const MaskView& affected,
               const MaskView& near = {});
  double CountInputs();
  void Begin(double input_changed);
  Result<StepReport> Step();
  TensorView PortView(const Port& port) const {
    return {port.info.dtype, port.info.shape, buffers[static_cast<size_t>(port.buffer)]};
  }

  std::shared_ptr<const Plan> plan;
  std::shared_ptr<Executor> executor;
  bool time_layers;
  Reach reach;
  Focus focus;
  Strength strength;
  CostModel cost_model;
  Budget budget;
  Bytes memory;
  // The buffers of the current step: those of the state, or, in a step that keeps nothing, the
  // arena. The arena lies in the memory of the state, which such steps make void.
  std::vector<std::byte*> buffers, state_buffers, arena_buffers;
  Momentum momentum;
  double cost = 0;    // of the current step, as the model has it
  bool keeps = true;  // the current step keeps its state
  mutable std::vector<uint64_t> mask_words, strong_words;
  std::vector<size_t> mask_offset;
  std::vector<int64_t> mask_count;  // set bits of every mask
  SpanList list;
  std::vector<uint8_t> changed;
  Bytes scratch;
  size_t scratch_stride = 0;
  std::vector<MaskView> step_masks;
  bool dense = true;
  std::vector<LayerWork> work;
  WorkLog work_log;
  DynamicValues dynamic;
};

void Stream::State::Allocate() {
  const PlanState& plan_state = p();
  uint64_t total = 0;
  for (size_t b = 0; b < plan_state.buffer_bytes.size(); ++b)
    if (plan_state.constants[b].empty()) total += Align(plan_state.buffer_bytes[b]);
  memory = AllocateZeroed(total);
  // What the arena may not overwrite lies behind it.
  std::byte* next = memory.get();
  state_buffers.assign(plan_state.buffer_bytes.size(), nullptr);
  for (const bool in_arena : {true, false}) {
    for (size_t b = 0; b < plan_state.buffer_bytes.size(); ++b) {
      if ((plan_state.arena_offset[b] >= 0) != in_arena) continue;
      if (!plan_state.constants[b].empty()) {
        // Steps never write to constants; the table of buffers just has one type.
        state_buffers[b] = const_cast<std::byte*>(plan_state.constants[b].data());
        continue;
      }
      state_buffers[b] = next;
      next += Align(plan_state.buffer_bytes[b]);
    }
  }
  arena_buffers = state_buffers;
  for (size_t b = 0; b < arena_buffers.size(); ++b)
    if (plan_state.arena_offset[b] >= 0)
      arena_buffers[b] = memory.get() + plan_state.arena_offset[b];
  buffers = state_buffers;
  size_t words = 0;
  for (const Grid& grid : plan_state.mask_grids) {
    mask_offset.push_back(words);
    words += grid.words();
  }
  mask_words.assign(words, 0);
  if (reach.judges()) strong_words.assign(words, 0);
  mask_count.assign(plan_state.mask_grids.size(), 0);
  size_t pixels = 0;
  size_t most_inputs = 0;
  for (const PlanStep& step : plan_state.steps) {
    list.Reserve(step.grid);
    pixels = std::max(pixels, static_cast<size_t>(step.grid.pixels()));
    most_inputs = std::max(most_inputs, step.input_masks.size());
  }
  changed.assign(pixels + 7, 0);  // see Gather
  step_masks.reserve(most_inputs);
  scratch_stride = Align(plan_state.scratch_bytes + 1);
  scratch = AllocateZeroed(scratch_stride * static_cast<size_t>(executor->threads()));
  work.assign(plan_state.steps.size(), {});
}

void Stream::State::ClearHalo(int buffer) {
  for (const ByteRange& gap : p().halos[static_cast<size_t>(buffer)])
    std::memset(buffers[static_cast<size_t>(buffer)] + gap.begin, 0, gap.size);
}

/// Chooses between the state and the arena, and makes either fit to be written.
void Stream::State::UseMemory(bool keep) {
  if (keep == keeps) return;
  keeps = keep;
  buffers = keep ? state_buffers : arena_buffers;
  if (!keep) return;
  for (size_t b = 0; b < buffers.size(); ++b)
    if (p().arena_offset[b] >= 0) ClearHalo(static_cast<int>(b));
}

void Stream::State::RunStep(size_t index) {
  const PlanStep& step = p().steps[index];
  if (!keeps) std::ranges::for_each(step.opens, [this](int buffer) { ClearHalo(buffer); });
  bool reached = dense;
  for (const int mask : step.input_masks)
    reached = reached || (mask >= 0 && mask_count[static_cast<size_t>(mask)] > 0);
  reached = reached || reach.Owes(index);
  MaskView out = Mask(step.output_mask);
  const auto out_index = static_cast<size_t>(step.output_mask);
  if (!reached) {
    if (out.words != nullptr && mask_count[out_index] > 0) {
      out.Clear();
      mask_count[out_index] = 0;
      if (reach.judges()) StrongMask(step.output_mask).Clear();
    }
    return;
  }
  if (out.words == nullptr) {  // a copy into an output: over the pixels of its input
    MaskView in = Mask(step.input_masks[0]);
    if (in.words == nullptr) return;  // cannot happen: outputs that are constants are not copied
    if (dense) in.Fill();
    return Compute(step, index, in);
  }
  const MaskView strong = FindAffected(index, out);
  if (!step.kernel->computes()) {
    mask_count[out_index] = out.Count();
    return;
  }
  MaskView near;
  if (!dense && !reach.refreshing() && strength.limits(index).cutoff > 0) near = focus.Mask(index);
  Compute(step, index, out, near);
  auto changes = static_cast<int64_t>(list.pixels());
  if (!dense) {
    changes = 0;
    for (const Span& span : list.all())
      changes += KeepFlagged(span, &changed[span.first], out, strong);
    if (near.words != nullptr) reach.Doubt(index, list.all(), out);
    if (strong.words != nullptr) strong.And(out);
  }
  mask_count[out_index] = changes;
  work[index].changed += changes;
  if (dense && keeps) strength.Measure(p(), index, buffers.data());
}

/// All layers, in order.
void Stream::State::RunSteps() {
  for (size_t i = 0; i < p().steps.size(); ++i) {
    const auto start = time_layers ? Clock::now() : Clock::time_point();
    RunStep(i);
    if (time_layers)
      work[i].ms += std::chrono::duration<double, std::milli>(Clock::now() - start).count();
  }
}

/// The changes of the inputs have been taken up.
void Stream::State::ClearInputs() {
  for (const Port& port : p().inputs) {
    int64_t& count = mask_count[static_cast<size_t>(port.mask)];
    if (count > 0) Mask(port.mask).Clear();
    count = 0;
  }
}

/// Fills `out` with the pixels that the step has to compute. Returns its strong part, if that is
/// kept: of a step that judges its changes itself it is still empty.
MaskView Stream::State::FindAffected(size_t index, const MaskView& out) {
  const PlanStep& step = p().steps[index];
  // Behind the last layers nobody asks.
  const bool asked = step.feeds_macs || step.kernel->MacsPerPixel() > 0;
  const MaskView strong = asked ? StrongMask(step.output_mask) : MaskView{};
  if (dense) {
    out.Fill();
    return strong;
  }
  const auto affected = [&](const auto& mask_of, const MaskView& result) {
    step_masks.clear();
    for (const int mask : step.input_masks) step_masks.push_back(mask_of(mask));
    result.Clear();
    step.kernel->Affected(step_masks, result);
  };
  affected([&](int mask) { return Mask(mask); }, out);
  if (reach.refreshing()) {
    if (strong.words != nullptr) strong.Clear();
    reach.Settle(index, out);
    return {};
  }
  if (strong.words != nullptr) {
    const int picture = p().inputs[0].mask;  // all of its change is strong
    if (std::ranges::all_of(step.input_masks, [&](int m) { return m < 0 || m == picture; })) {
      std::copy_n(out.words, out.grid.words(), strong.words);
    } else {
      affected([&](int mask) { return StrongMask(mask); }, strong);
    }
  }
  if (reach.enabled()) reach.Limit(index, out, strong);
  if (strong.words != nullptr && strength.limits(index).cutoff > 0) strong.Clear();
  return strong;
}

void Stream::State::Compute(const PlanStep& step, size_t index, const MaskView& affected,
                            const MaskView& near) {
  const Kernel& kernel = *step.kernel;
  const int most = kernel.ChunkPixels();
  const int side = kernel.TileSide();
  int chunk = most;
  bool parallel = false;
  if (executor->threads() > 1) {
    const int64_t pixels = affected.Count();
    // What moves or compares a channel costs as much as some multiply-adds.
    int64_t channels = 1;
    for (const int64_t size : step.output) channels *= size;
    channels /= std::max<int64_t>(affected.grid.pixels(), 1);
    const int64_t each = kernel.MacsPerPixel() + 16 * channels + 64;
    parallel = pixels * each >= kSerialWork;
    // Four chunks a thread even out unequal ones; 14 pixels (or tiles) fill the widest register
    // block.
    const int64_t even = pixels / (int64_t{4} * executor->threads()) + 1;
    const int least = std::min(side * side * 14, most);
    if (parallel) chunk = static_cast<int>(std::clamp<int64_t>(even, least, most));
  }
  list.Build(affected, chunk, side, near);
  std::fill_n(changed.begin(), list.pixels(), uint8_t{0});
  const auto run = [&](size_t task, int thread) {
    kernel.Compute({.spans = list.chunk(task),
                    .buffers = buffers.data(),
                    .scratch = scratch.get() + static_cast<size_t>(thread) * scratch_stride,
                    .changed = changed.data(),
                    .compare = !dense,
                    .limits = dense ? ChangeLimits{} : strength.limits(index)});
  };
  if (parallel) {
    RunTasks(*executor, list.chunks(), run);
  } else {
    for (size_t task = 0; task < list.chunks(); ++task) run(task, 0);
  }
  work[index].computed += static_cast<int64_t>(list.pixels());
  // Not the spans: how chunks cut them depends on the threads, and answers must not.
  cost += cost_model.Incremental(step, list.pixels(), list.runs());
  if (work_log.on()) work_log.Add(index, step.grid, list.all());
}

/// Counts the changed pixels of the inputs; returns their share.
double Stream::State::CountInputs() {
  int64_t pixels = 0;
  int64_t changed_pixels = 0;
  for (const Port& port : p().inputs) {
    const auto mask = static_cast<size_t>(port.mask);
    if (dense) Mask(port.mask).Fill();
    mask_count[mask] = Mask(port.mask).Count();
    pixels += p().mask_grids[mask].pixels();
    changed_pixels += mask_count[mask];
  }
  return pixels == 0 ? 0 : static_cast<double>(changed_pixels) / static_cast<double>(pixels);
}

/// Chooses how the step runs, from what changed in the inputs.
void Stream::State::Begin(double input_changed) {
  const Momentum::Mode mode = momentum.Next(dense, input_changed);
  dense = mode != Momentum::Mode::kIncremental;
  UseMemory(mode != Momentum::Mode::kPassThrough);
  if (dense) CountInputs();
  if (!reach.enabled()) return;
  const MaskView input = Mask(p().inputs[0].mask);
  if (reach.judges())
    std::copy_n(input.words, input.grid.words(), StrongMask(p().inputs[0].mask).words);
  if (dense) reach.Forget();
  reach.Begin(input);
}

Result<StepReport> Stream::State::Step() {
  const PlanState& plan_state = p();
  StepReport report;
  const auto begin = Clock::now();
  if (budget.enabled() && !dense) budget.Release(Mask(plan_state.inputs[0].mask));
  report.input_changed = CountInputs();
  Begin(report.input_changed);
  report.dense = dense;
  if (work_log.on()) work_log.Begin(dense);
  std::ranges::fill(work, LayerWork{});
  cost = 0;
  RunSteps();
  if (!dense && reach.BeginRefresh()) {
    ClearInputs();
    RunSteps();
  }
  int64_t macs = 0;
  for (size_t i = 0; i < plan_state.steps.size(); ++i)
    macs += work[i].computed * plan_state.steps[i].kernel->MacsPerPixel();
  report.macs_share = plan_state.macs == 0
                          ? report.input_changed
                          : static_cast<double>(macs) / static_cast<double>(plan_state.macs);
  if (keeps) momentum.Record(report.input_changed, dense ? 1 : cost_model.Ratio(cost));
  if (!plan_state.dynamic.empty()) {
    for (const Port& port : plan_state.outputs) dynamic.Set(port.value, PortView(port));
    DELTACNN_RETURN_IF_ERROR(dynamic.Run(plan_state));
  }
  ClearInputs();
  if (budget.enabled()) {
    const std::chrono::duration<double, std::milli> ms = Clock::now() - begin;
    dense ? budget.TookDense(ms.count()) : budget.Took(ms.count());
    report.pending =
        static_cast<double>(budget.pending()) /
        static_cast<double>(
            plan_state.mask_grids[static_cast<size_t>(plan_state.inputs[0].mask)].pixels());
  }
  dense = false;
  return report;
}

Stream::Stream(std::unique_ptr<State> state) : state_(std::move(state)) {}
Stream::Stream(Stream&&) noexcept = default;
Stream& Stream::operator=(Stream&&) noexcept = default;
Stream::~Stream() = default;

Result<Stream> Stream::Create(std::shared_ptr<const Plan> plan, const StreamOptions& options) {
  if (plan == nullptr) return Error{ErrorCode::kUsage, "stream: there is no plan"};
  const int threads = options.executor != nullptr ? options.executor->threads() : options.threads;
  if (threads < 1 || threads > 1024)
    return Error{ErrorCode::kUsage, "threads: " + std::to_string(threads) + " is not in 1..1024"};
  const Policy& policy = options.policy;
  if (!(policy.cutoff >= 0 && policy.cutoff <= 1) || !(policy.strong >= 0 && policy.strong <= 1) ||
      !(policy.background >= 1 && policy.background <= 1000) || policy.refresh < 1) {
    return Error{ErrorCode::kUsage,
                 "policy: cutoff and strong must lie in 0..1, background in 1..1000, and refresh "
                 "be at least 1"};
  }
  if (!(options.budget_ms >= 0)) return Error{ErrorCode::kUsage, "budget_ms: must not be negative"};
  const std::string size = std::to_string(plan->state_bytes() >> 20) + " MiB";
  return Guarded("stream of " + size, "a smaller input shape needs less", [&]() -> Result<Stream> {
    auto state = std::make_unique<State>(std::move(plan), options);
    state->Allocate();
    return Stream(std::move(state));
  });
}

const Plan& Stream::plan() const { return *state_->plan; }
const std::vector<LayerWork>& Stream::work() const { return state_->work; }
void Stream::SetFocus(std::span<const Region> regions) {
  try {
    state_->focus.Set(regions);
  } catch (const std::bad_alloc&) {
    state_->focus.Forget();
  }
}
std::span<const Region> Stream::focus() { return state_->focus.Strict(state_->reach); }
void Stream::Reset() {
  state_->dense = true;
  state_->focus.Forget();
}
Status Stream::TrackWorkMap() { return state_->work_log.SwitchOn(state_->p()); }
const WorkMap& Stream::work_map() const { return state_->work_log.map(); }

Status Stream::SetInput(size_t index, const TensorView& tensor) {
  const PlanState& plan = state_->p();
  if (index >= plan.inputs.size())
    return Error{ErrorCode::kUsage, "the model has no input " + std::to_string(index)};
  const Port& port = plan.inputs[index];
  if (tensor.dtype != port.info.dtype || !std::ranges::equal(tensor.shape, port.info.shape)) {
    return Error{ErrorCode::kUsage, "input '" + port.info.name + "' takes " +
                                        NameOf(port.info.dtype) + " " + ToString(port.info.shape) +
                                        ", not " + NameOf(tensor.dtype) + " " +
                                        ToString(tensor.shape)};
  }
  if (tensor.data == nullptr && tensor.elements() > 0)
    return Error{ErrorCode::kUsage, "input '" + port.info.name + "' has no data"};
  const Placement& p = plan.placements[static_cast<size_t>(port.value)];
  const MaskView mask = state_->Mask(port.mask);
  const size_t element = SizeOf(p.dtype);
  const auto* source = static_cast<const std::byte*>(tensor.data);
  for (int r = 0; r < p.grid.rows; ++r) {
    for (int c = 0; c < p.grid.cols; ++c) {
      std::byte* to = state_->buffers[static_cast<size_t>(p.buffer)] +
                      static_cast<size_t>(p.Offset(r, c)) * element;
      const int64_t from = port.row[static_cast<size_t>(r)] + port.col[static_cast<size_t>(c)];
      bool changed = false;
      for (const int64_t channel : port.channel) {
        const std::byte* value = source + static_cast<size_t>(from + channel) * element;
        if (std::memcmp(to, value, element) != 0) {
          std::memcpy(to, value, element);
          changed = true;
        }
        to += element;
      }
      if (changed) mask.Set(mask.grid.Bit(r, c));
    }
  }
  return {};
}

Result<ImageTarget> Stream::Image(size_t index) {
  const PlanState& plan = state_->p();
  if (index >= plan.inputs.size())
    return Error{ErrorCode::kUsage, "the model has no input " + std::to_string(index)};
  const Port& port = plan.inputs[index];
  const Placement& p = plan.placements[static_cast<size_t>(port.value)];
  const bool nhwc = p.pixel_axes == (AllAxes(4) & ~Axis(3));
  if (p.dtype != DType::kFloat32 || p.shape.size() != 4 || p.shape[0] != 1 ||
      (p.pixel_axes != SpatialAxes(4) && !nhwc)) {
    std::string remedy = "; export the model with such an input";
    if (p.dtype == DType::kFloat32 && p.shape.size() == 4 && p.shape[0] != 1) {
      remedy = "; try --shape " + port.info.name + "=1";
      for (size_t i = 1; i < 4; ++i) remedy += "x" + std::to_string(p.shape[i]);
    }
    return Error{ErrorCode::kUnsupported, "input '" + port.info.name + "' of type " +
                                              NameOf(p.dtype) + " and shape " + ToString(p.shape) +
                                              " is not a float32 image of batch 1" + remedy};
  }
  const MaskView mask = state_->Mask(port.mask);
  ImageTarget target;
  target.data =
      reinterpret_cast<float*>(state_->buffers[static_cast<size_t>(p.buffer)]) + p.Offset(0, 0);
  target.height = static_cast<int>(p.shape[nhwc ? 1 : 2]);
  target.width = static_cast<int>(p.shape[nhwc ? 2 : 3]);
  target.channels = static_cast<int>(p.channels);
  target.row_stride = static_cast<ptrdiff_t>(p.strides[nhwc ? 1 : 2]);
  target.pixel_stride = static_cast<ptrdiff_t>(p.col_stride);
  target.changed = mask.words;
  target.words_per_row = mask.grid.words_per_row();
  return target;
}

Result<StepReport> Stream::Step() {
  auto report = Guarded("step", "a smaller input shape needs less", [&] { return state_->Step(); });
  if (!report.ok()) {  // what was computed is not to be relied on
    state_->dense = true;
    state_->dynamic.Forget();
  }
  return report;
}

TensorView Stream::Output(size_t index) const {
  const PlanState& plan = state_->p();
  if (index >= plan.model_outputs.size()) return state_->dynamic.At(kNoValue);  // nothing
  const ValueId id = plan.model_outputs[index];
  if (const TensorPtr& constant = plan.graph.Constant(id)) return *constant;
  const auto port = std::ranges::find(plan.outputs, id, &Port::value);
  if (port != plan.outputs.end()) return state_->PortView(*port);
  return state_->dynamic.At(id);
}

}  // namespace deltacnn
