// Runs the pointwise chain of a node over a block of freshly computed values.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "ops/broadcast.h"
#include "ops/op.h"

namespace deltacnn {

class Chain {
 public:
  /// The operands are the inputs of the context from position `first_operand` on.
  Chain(const MakeContext& context, size_t first_operand);

  /// True if Finish needs `saved`.
  bool saves() const { return saves_; }

  /// True if the kernels can run the whole chain as their epilogue.
  bool fuses() const { return fuses_; }
  size_t steps() const { return steps_.size(); }
  size_t operands() const { return operands_.size(); }
  /// True if no element of the operand is read for another element of the output.
  bool elementwise(size_t operand) const { return operands_[operand].elementwise(); }
  /// The chain as an epilogue for the work's pixels; targets, channel and width are to be filled
  /// in. It refers to the rooms given: `operands()` pointers a pixel, and `steps()` steps. `adds`:
  /// the kernel takes an addend.
  kernels::Epilogue Fused(const Work& work, bool adds, const float** operand_pointers,
                          kernels::EpilogueStep* epilogue_steps) const;
  /// Makes the epilogue store and compare the work's pixels. `targets` has room for all of them.
  void SetTargets(const Work& work, float** targets, kernels::Epilogue& epilogue) const;

  /// Asks for the memory of the work's pixels, which Finish will compare and write.
  void Prefetch(const Work& work) const;

  /// Applies all steps to channels [channel, channel + width) of the pixels of `spans` and stores
  /// the result in the output. The block `x` has one row of `pitch` floats a pixel; what lies
  /// beyond `width` is scratch. `saved` is as large.
  void Finish(const Work& work, std::span<const Span> spans, size_t channel, size_t width,
              size_t pitch, float* x, float* saved) const;
  /// The same where the steps have been applied.
  void Store(const Work& work, std::span<const Span> spans, size_t channel, size_t width,
             size_t pitch, const float* x) const;

  /// ORs into `out` the pixels whose operands changed; `masks` are those of the operands.
  void Affect(std::span<const MaskView> masks, const MaskView& out) const;

 private:
  void Apply(const Work& work, std::span<const Span> spans, size_t channel, size_t width,
             size_t pitch, float* x, float* saved) const;
  void ApplyOperand(const Work& work, const ChainStep& step, std::span<const Span> spans,
                    size_t channel, size_t width, size_t pitch, float* x) const;

  const kernels::Table& kernels_;
  Placement out_;
  std::vector<ChainStep> steps_;
  std::vector<BroadcastMap> operands_;
  bool saves_ = false;
  bool fuses_ = true;
};

/// Makes Relu, Clip or LeakyRelu the rectifier of an epilogue that has none yet.
bool TakeRectifier(const ChainStep& step, kernels::Epilogue& epilogue);
/// The epilogue's step for one without an operand.
kernels::EpilogueStep MakeEpilogueStep(const ChainStep& step);

/// Asks for the operands' layouts to follow the output's.
void LayoutChainOperands(LayoutContext& context);

/// "+Silu+Add": the chain of a node, for reports.
std::string DescribeChain(const Node& node);

}  // namespace deltacnn
