// The passes between shape inference and layout. They rewrite ONNX operators into the fewer ones
// that the engine runs, fuse pointwise work behind its producer and drop what nothing reads.
#pragma once

#include <array>
#include <optional>

#include "graph/graph.h"
#include "ops/conv_window.h"
#include "ops/move.h"

namespace deltacnn {

/// All passes, in order. Shapes and types of every value that a node touches are known and stay
/// known.
void Lower(Graph& graph);

// The single passes; each keeps the invariants of Graph.

/// Products with constant weights along the last axis become Linear (lower_products.cc).
void LowerProducts(Graph& graph);
/// BatchNormalization becomes part of the convolution or the Linear before it, as do constant sums
/// and products of its channels; or else a multiply and an add (fold_weights.cc).
void FoldIntoWeights(Graph& graph);
/// Parallel convolutions whose outputs are added become one (merge_branches.cc).
void MergeBranches(Graph& graph);
/// Narrow convolutions of one value, and depthwise ones behind them, become one (merge_heads.cc).
void MergeHeads(Graph& graph);
/// Zero padding before a convolution or a mean becomes its own (this and the two
/// next: lower_windows.cc).
void FoldPads(Graph& graph);
/// Taps of a convolution that only ever meet its padding, as of wide dilations over small pictures,
/// disappear.
void TrimTaps(Graph& graph);
/// The larger ones of centred maximum pools of one input read the smaller ones.
void CascadePools(Graph& graph);
/// A convolution behind 2x2 patches made channels works on the picture itself (lower_patches.cc).
void FoldPatches(Graph& graph);
/// Repeated pixels become an Upsample (lower_repeats.cc).
void LowerRepeats(Graph& graph);
/// Reductions over whole pictures become a reduction of every row and one of the rows, so that a
/// changed pixel recomputes its row only.
void LowerGlobalReductions(Graph& graph);
/// Floats that are quantised and dequantised again are rounded (lower_quantised.cc).
void LowerQuantised(Graph& graph);
/// Assignments to slices become concatenations (lower_scatter.cc).
void LowerScatters(Graph& graph);
/// GatherND becomes a Gather of rows (lower_gather_nd.cc).
void LowerGatherND(Graph& graph);
/// Attention becomes products of matrices and a softmax (lower_attention.cc).
void LowerAttention(Graph& graph);
/// Einsum becomes a product of matrices between moves (lower_einsum.cc).
void LowerEinsums(Graph& graph);
/// Split becomes one slice per output (this and the next three: lower_moves.cc).
void LowerSplits(Graph& graph);
/// Gather of adjacent positions becomes a slice.
void LowerGathers(Graph& graph);
/// Slices that a concatenation lays side by side again are one, or the value itself.
void JoinSlices(Graph& graph);
/// Reshapes and transposes in a row move every element once (compose_moves.cc).
void ComposeMoves(Graph& graph);
/// Functions of one number go before reshapes and transposes, if a node there can take them into
/// its chain.
void HoistChains(Graph& graph);
/// Normalisations by the statistics of many pixels become those and arithmetic (lower_norm.cc).
void LowerNormalisations(Graph& graph);
/// float32 arithmetic becomes "Pointwise" nodes, that of other types "TypedArithmetic".
void LowerArithmetic(Graph& graph);
/// Pointwise nodes move into the chain of their producer; spelled-out activations become one step.
void FuseChains(Graph& graph);
/// Channels that are shuffled and split stay where they are until they are needed side by side
/// (lower_shuffles.cc).
void LowerShuffles(Graph& graph);
/// A depthwise or narrow convolution that only a 1x1 convolution reads becomes one node with it
/// (fuse_separable.cc).
void FuseSeparable(Graph& graph);
/// The same with a maximum pool.
void FusePooled(Graph& graph);
/// Removes nodes whose outputs nothing reads or that folding has turned into constants.
void RemoveDeadNodes(Graph& graph);

inline const Value& At(const Graph& graph, ValueId id) {
  return graph.values[static_cast<size_t>(id)];
}
/// Removes the nodes that are marked.
void EraseNodes(Graph& graph, const std::vector<bool>& dead);
/// The node that produces each value; -1 for inputs and constants.
std::vector<int> Producers(const Graph& graph);
/// True if pointwise work can become a part of the node.
bool TakesChain(const Node& node);
/// True of moves that leave the elements in their row-major order, and of those that keep every
/// element and make no new one (lower_moves.cc).
bool KeepsOrder(const Node& node);
bool Rearranges(const Node& node);
/// A float32 constant that has elements; null if the value is none.
const Tensor* ConstantFloats(const Graph& graph, ValueId id);
/// True if the filters of a Conv or Linear, and its bias if it has one, are constants.
bool HasConstantFilters(const Graph& graph, const Node& node);
/// True if every input but the first is a constant or absent.
bool HasConstantArguments(const Graph& graph, const Node& node);
/// A new constant.
ValueId AddConstant(Graph& graph, const std::string& name, Tensor tensor);
/// The same of float32.
ValueId AddConstant(Graph& graph, const std::string& name, const std::vector<float>& data,
                    Shape shape);
/// A new value of the type of another one, whose name it extends (this and the next:
/// lower_moves.cc).
ValueId AddLike(Graph& graph, ValueId like, const std::string& suffix, Shape shape);
/// `out`: the indices [start, end) of `in` along an axis.
Node MakeSlice(const std::string& name, ValueId in, ValueId out, int64_t axis, int64_t start,
               int64_t end);
/// The window of a MaxPool of [N,C,H,W] that has no output but the maxima (lower_windows.cc).
std::optional<ConvWindow> MaxPoolWindow(const Graph& graph, const Node& node);
/// Start and step of a slice along an axis.
std::array<int64_t, 2> StartAndStep(const IndexMap& slice, size_t axis);
/// How often every value is read, graph outputs included.
std::vector<int> CountUses(const Graph& graph);

}  // namespace deltacnn
