// What a Plan holds: where every value lives, and the steps in the order they run.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "deltacnn/model.h"
#include "graph/graph.h"
#include "kernels/kernels.h"
#include "ops/op.h"

namespace deltacnn {

/// A node of the lowered graph, ready to run.
struct PlanStep {
  std::string name;
  std::string op;  // with its chain, for reports
  KernelPtr kernel;
  std::vector<int> input_masks;  // -1: absent or constant
  ValueId value = kNoValue;      // the first output
  int output_mask = -1;          // -1 for the copies into row-major outputs
  Grid grid;
  Shape output;
  bool feeds_macs = false;  // a step with multiply-adds reads what this one computes
  std::vector<int> opens;   // buffers of the arena that no step before this one uses
};

/// Bytes [begin, begin + size) of a buffer.
struct ByteRange {
  uint64_t begin;
  uint64_t size;
  bool operator==(const ByteRange&) const = default;
};

/// A value that the outside reads or writes row-major.
struct Port {
  TensorInfo info;
  ValueId value = kNoValue;
  int mask = -1;
  // Element offsets of the logical tensor: row[r] + col[c] + channel[k] for pixel (r, c), element
  // k.
  std::vector<int64_t> row, col, channel;
  int buffer = -1;  // of an output: its own memory if that is row-major, else that of a copy
};

struct PlanState {
  const kernels::Table* kernels = nullptr;
  std::optional<WeightMemory> weights;  // of the steps' kernels
  Graph graph;                          // lowered; values keep their names and shapes
  std::vector<Placement> placements;    // by value id; buffer -1 where a value is not stored
  std::vector<int> masks;               // by value id; -1 where there is none
  std::vector<Grid> mask_grids;         // by mask
  std::vector<uint64_t> buffer_bytes;   // by buffer
  std::vector<std::vector<std::byte>> constants;  // by buffer; empty for those of the stream
  std::vector<std::vector<ByteRange>> halos;      // by buffer: what stays zero around its values
  // By buffer: its place in the arena of a step that keeps nothing; -1 for inputs, outputs and
  // constants, which have memory of their own in every step.
  std::vector<int64_t> arena_offset;
  std::vector<PlanStep> steps;
  std::vector<Port> inputs;
  std::vector<Port> outputs;           // those of the steps, for the caller or for `dynamic`
  std::vector<ValueId> model_outputs;  // in the model's order; may be dynamic or constant values
  std::vector<TensorInfo> input_infos, output_infos;
  // Nodes that are planned anew at every step, because their output shapes depend on the data.
  std::vector<Node> dynamic;
  int64_t macs = 0;
  int64_t parameters = 0;
  uint64_t state_bytes = 0;
  uint64_t max_state_bytes = 0;  // of the values of `dynamic` too, which are known only later
  uint64_t weight_bytes = 0;
  size_t scratch_bytes = 0;  // most that a kernel wants, per thread
};

/// The pixels of the plan's one input, if that is one picture.
std::optional<Grid> PictureInput(const PlanState& plan);

/// True if a step gives a picture; a grid of one row or column is a pooled or a flattened one.
bool GivesPicture(const PlanStep& step);

/// Plans a graph whose inputs have static shapes. `fold` is off for Evaluate's one-node graphs.
Result<std::unique_ptr<PlanState>> PlanGraph(Graph graph, const PlanOptions& options, bool fold);

}  // namespace deltacnn
