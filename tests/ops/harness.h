// Runs one operator on its own, through the functions that the planner calls, without the planner.
//
//   OpCase test{.op = "MaxPool",
//               .attributes = {{"kernel_shape", std::vector<int64_t>{3, 3}}},
//               .inputs = {RandomTensor(rng, {1, 5, 9, 7})}};
//   Tensor y = RunDense(test)[0];        // all outputs, row-major
//   CheckIncremental(test, rng);         // random changes: incremental == dense, bit for bit
//   ExpectRejected(test, "kernel_shape") // inference fails, and the message contains the text
//
// Inputs named in `constants` are constants of the graph; std::nullopt is an absent optional input.
// The placements have gaps between pixels and rows, so that a kernel that ignores a stride fails;
// the dense runs of CheckIncremental are packed.
// Not for operators without arithmetic of their own (Kernel::computes() false), nor for chains.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "core/mask.h"
#include "graph/graph.h"
#include "kernels/kernels.h"
#include "ops/op.h"

namespace deltacnn::testing {

struct OpCase {
  std::string op = {};
  int64_t opset = 19;
  std::map<std::string, Attribute> attributes = {};
  std::vector<std::optional<Tensor>> inputs = {};
  std::vector<size_t> constants = {};  // which inputs are constants
  size_t outputs = 1;
  std::vector<AxisSet> input_axes =
      {};                // pixel axes that the inputs come with; default: the image's
  std::string isa = {};  // of kernels::Find; default: the best
  int64_t gap = 3;       // elements between stored pixels, and after every row
};

inline Tensor RandomTensor(std::mt19937& rng, Shape shape, float low = -1, float high = 1) {
  Tensor tensor(DType::kFloat32, std::move(shape));
  std::uniform_real_distribution<float> value(low, high);
  for (float& x : tensor.as<float>()) x = value(rng);
  return tensor;
}

template <class T>
Tensor MakeTensor(DType dtype, Shape shape, const std::vector<T>& values) {
  Tensor tensor(dtype, std::move(shape));
  std::ranges::copy(values, tensor.as<T>().begin());
  return tensor;
}
inline Tensor Floats(Shape shape, const std::vector<float>& values) {
  return MakeTensor(DType::kFloat32, std::move(shape), values);
}
inline Tensor Ints(const std::vector<int64_t>& values) {
  return MakeTensor(DType::kInt64, {static_cast<int64_t>(values.size())}, values);
}

/// The case as a graph of one node.
struct OpGraph {
  explicit OpGraph(const OpCase& test) {
    graph.opset = test.opset;
    Node node;
    node.name = test.op + "_0";
    node.op = test.op;
    node.attributes = test.attributes;
    for (size_t i = 0; i < test.inputs.size(); ++i) {
      if (!test.inputs[i]) {
        node.inputs.push_back(kNoValue);
        continue;
      }
      Value value;
      value.name = "in" + std::to_string(i);
      value.dtype = test.inputs[i]->dtype;
      value.dtype_known = true;
      value.shape = test.inputs[i]->shape;
      if (std::ranges::find(test.constants, i) != test.constants.end())
        value.constant = std::make_shared<const Tensor>(*test.inputs[i]);
      node.inputs.push_back(graph.AddValue(std::move(value)));
    }
    for (size_t o = 0; o < test.outputs; ++o) {
      Value value;
      value.name = "out" + std::to_string(o);
      node.outputs.push_back(graph.AddValue(std::move(value)));
    }
    graph.outputs = node.outputs;
    graph.nodes.push_back(std::move(node));
  }

  Graph graph;
};

/// One value in memory: pixels one after the other with gaps, zeros around if a halo is asked for.
class Stored {
 public:
  Stored() = default;
  Stored(DType dtype, Shape shape, AxisSet axes, const Halo& halo, TensorPtr constant,
         int64_t gap) {
    place_.dtype = dtype;
    place_.shape = std::move(shape);
    place_.pixel_axes = axes;
    place_.constant = std::move(constant);
    const size_t rank = place_.shape.size();
    place_.strides.assign(rank, 0);
    std::vector<size_t> pixel_axes;
    for (size_t a = rank; a-- > 0;) {
      if (HasAxis(axes, a)) {
        pixel_axes.push_back(a);  // columns first
      } else {
        place_.strides[a] = place_.channels;
        place_.channels *= place_.shape[a];
      }
    }
    int64_t stride = place_.channels + gap;
    place_.col_stride = stride;
    int64_t origin = 0;
    for (size_t i = 0; i < pixel_axes.size(); ++i) {
      const int64_t size = place_.shape[pixel_axes[i]];
      place_.strides[pixel_axes[i]] = stride;
      const int before = i == 0 ? halo.left : i == 1 ? halo.top : 0;
      const int after = i == 0 ? halo.right : i == 1 ? halo.bottom : 0;
      origin += before * stride;
      stride = (size + before + after) * stride + (i == 0 ? gap : 0);
      (i == 0 ? place_.grid.cols : place_.grid.rows) *= static_cast<int>(size);
    }
    // Row offsets: all pixel axes but the columns', in logical order.
    for (int64_t row = 0; row < place_.grid.rows; ++row) {
      int64_t rest = row;
      int64_t offset = origin;
      for (size_t i = 1; i < pixel_axes.size(); ++i) {
        const int64_t size = place_.shape[pixel_axes[i]];
        offset += rest % size * place_.strides[pixel_axes[i]];
        rest /= size;
      }
      place_.row_offset.push_back(offset);
    }
    bytes_ = static_cast<size_t>(stride + gap) * SizeOf(dtype);
    memory_ = std::make_unique<std::max_align_t[]>(bytes_ / sizeof(std::max_align_t) + 1);
    // Garbage where nothing is stored, but in a halo.
    std::memset(memory_.get(), halo.Empty() ? 0xCB : 0, bytes_);
    mask_words_.assign(place_.grid.words(), 0);
  }

  Placement& placement() { return place_; }
  const Placement& placement() const { return place_; }
  std::byte* data() const { return reinterpret_cast<std::byte*>(memory_.get()); }
  MaskView mask() { return {mask_words_.data(), place_.grid}; }

  /// Stores a row-major tensor and sets the mask bit of every pixel whose bits change.
  void Write(const Tensor& tensor) {
    const size_t size = SizeOf(place_.dtype);
    ForEachElement([&](int64_t index, int64_t offset, int64_t row, int64_t col) {
      std::byte* at = data() + static_cast<size_t>(offset) * size;
      const std::byte* from = tensor.bytes.data() + static_cast<size_t>(index) * size;
      if (std::memcmp(at, from, size) == 0) return;
      std::memcpy(at, from, size);
      mask().Set(place_.grid.Bit(row, col));
    });
  }

  Tensor Read() const {
    Tensor tensor(place_.dtype, place_.shape);
    const size_t size = SizeOf(place_.dtype);
    ForEachElement([&](int64_t index, int64_t offset, int64_t, int64_t) {
      std::memcpy(tensor.bytes.data() + static_cast<size_t>(index) * size,
                  data() + static_cast<size_t>(offset) * size, size);
    });
    return tensor;
  }

 private:
  template <class Visit>
  void ForEachElement(const Visit& visit) const {
    const int64_t count = ElementCount(place_.shape);
    for (int64_t index = 0; index < count; ++index) {
      // Peel the coordinates off from the innermost axis.
      int64_t rest = index;
      int64_t offset = place_.row_offset.empty() ? 0 : place_.row_offset[0];
      int64_t row = 0, col = 0, row_scale = 1;
      bool is_col = true;
      for (size_t a = place_.shape.size(); a-- > 0;) {
        const int64_t at = rest % place_.shape[a];
        rest /= place_.shape[a];
        offset += at * place_.strides[a];
        if (!HasAxis(place_.pixel_axes, a)) continue;
        if (is_col) {
          col = at;
          is_col = false;
        } else {
          row += at * row_scale;
          row_scale *= place_.shape[a];
        }
      }
      visit(index, offset, row, col);
    }
  }

  Placement place_;
  size_t bytes_ = 0;
  std::unique_ptr<std::max_align_t[]> memory_;
  std::vector<uint64_t> mask_words_;
};

/// A planned node with the memory of one stream.
class OpRunner {
 public:
  static Result<std::unique_ptr<OpRunner>> Create(const OpCase& test) {
    std::unique_ptr<OpRunner> runner(new OpRunner(test));
    if (Status status = runner->Prepare(test); !status.ok()) return status.error();
    return runner;
  }

  /// Brings the outputs up to date with `inputs`: every pixel, or those the change can reach.
  /// Pixels are computed in spans and calls of random length, on the claim that it does not matter.
  void Run(const std::vector<std::optional<Tensor>>& inputs, bool dense, std::mt19937& rng) {
    std::vector<MaskView> masks;
    for (size_t i = 0; i < inputs_.size(); ++i) {
      if (placed_inputs_[i] == nullptr) {
        masks.push_back({});
        continue;
      }
      inputs_[i].mask().Clear();
      if (in_memory_[i]) inputs_[i].Write(*inputs[i]);
      if (dense) inputs_[i].mask().Fill();
      masks.push_back(inputs_[i].mask());
    }
    const Grid grid = outputs_[0].placement().grid;
    std::vector<uint64_t> words(grid.words(), 0);
    const MaskView affected{words.data(), grid};
    kernel_->Affected(masks, affected);
    if (dense) affected.Fill();

    const std::vector<Tensor> before = Outputs();
    std::vector<uint64_t> changed_words(grid.words(), 0);
    const MaskView changed{changed_words.data(), grid};
    std::vector<Span> spans;
    size_t listed = 0;
    const auto flush = [&] {
      if (!spans.empty()) Compute(spans, listed, changed);
      spans.clear();
      listed = 0;
    };
    computed_ = 0;
    for (int row = 0; row < grid.rows; ++row) {
      ForEachRun(affected.row(row), grid.cols, [&](int begin, int end) {
        ASSERT_LE(end, grid.cols) << "a mask bit beyond the last column";
        while (begin < end) {
          if (rng() % 8 == 0) flush();
          const int room = kernel_->ChunkPixels() - static_cast<int>(listed);
          int count = std::min(end - begin, room);
          if (!dense && count > 1)
            count = 1 + static_cast<int>(rng() % static_cast<unsigned>(count));
          spans.push_back({row, begin, count, listed});
          listed += static_cast<size_t>(count);
          begin += count;
          if (static_cast<int>(listed) == kernel_->ChunkPixels()) flush();
        }
      });
    }
    flush();
    EXPECT_EQ(changed_words, Difference(before)) << "changed flags";
  }

  std::vector<Tensor> Outputs() const {
    std::vector<Tensor> tensors;
    for (const Stored& output : outputs_) tensors.push_back(output.Read());
    return tensors;
  }
  /// Pixels that the last Run computed, and that there are.
  int64_t computed() const { return computed_; }
  int64_t pixels() const { return outputs_[0].placement().grid.pixels(); }
  const Kernel& kernel() const { return *kernel_; }

 private:
  explicit OpRunner(const OpCase& test) : graph_(test) {}

  Status Prepare(const OpCase& test) {
    Graph& graph = graph_.graph;
    const Node& node = graph.nodes[0];
    const OpDef* op = FindOp(test.op);
    if (op == nullptr) return Error{ErrorCode::kUnsupported, "unknown operator " + test.op};
    InferContext infer(node, graph);
    DELTACNN_RETURN_IF_ERROR(op->infer(infer));

    LayoutContext layout{node, graph, {}, {}, {}, {}};
    for (size_t i = 0; i < node.inputs.size(); ++i) {
      const size_t rank = test.inputs[i] ? test.inputs[i]->shape.size() : 0;
      const AxisSet image = rank >= 3 ? SpatialAxes(rank) : 0;
      layout.input_axes.push_back(i < test.input_axes.size() ? test.input_axes[i] : image);
    }
    layout.input_halo.resize(node.inputs.size());
    layout.input_in_memory.assign(node.inputs.size(), true);
    layout.output_axes.assign(node.outputs.size(), 0);
    op->layout(layout);
    in_memory_ = layout.input_in_memory;

    MakeContext make{node, graph, graph.opset, false, {}, {}, *kernels::Find(test.isa), memory_};
    const auto place = [&](ValueId id, AxisSet axes, const Halo& halo, Stored& stored) {
      const Value& value = graph.values[static_cast<size_t>(id)];
      stored = Stored(value.dtype, *value.shape, axes, halo, value.constant, test.gap);
      stored.placement().buffer = static_cast<int>(buffers_.size());
      buffers_.push_back(stored.data());
    };
    inputs_.resize(node.inputs.size());
    placed_inputs_.assign(node.inputs.size(), nullptr);
    for (size_t i = 0; i < node.inputs.size(); ++i) {
      if (node.inputs[i] != kNoValue) {
        place(node.inputs[i], layout.input_axes[i], layout.input_halo[i], inputs_[i]);
        placed_inputs_[i] = &inputs_[i].placement();
      }
      make.inputs.push_back(placed_inputs_[i]);
    }
    outputs_.resize(node.outputs.size());
    for (size_t o = 0; o < node.outputs.size(); ++o) {
      place(node.outputs[o], layout.output_axes[o], {}, outputs_[o]);
      EXPECT_EQ(outputs_[o].placement().grid, outputs_[0].placement().grid);
      make.outputs.push_back(&outputs_[o].placement());
    }
    Result<KernelPtr> kernel = op->make(make);
    if (!kernel.ok()) return kernel.error();
    kernel_ = std::move(kernel).value();
    scratch_.resize(kernel_->ScratchBytes() + 64);
    return {};
  }

  /// One call of the kernel; adds the pixels that it reports as changed to `reported`.
  void Compute(const std::vector<Span>& spans, size_t listed, const MaskView& reported) {
    std::vector<uint8_t> changed(listed, 0);
    void* scratch = scratch_.data();
    size_t space = scratch_.size();
    std::align(64, space - 63, scratch, space);
    kernel_->Compute({spans, buffers_.data(), static_cast<std::byte*>(scratch), changed.data()});
    for (const Span& span : spans) {
      for (int k = 0; k < span.count; ++k) {
        if (changed[span.first + static_cast<size_t>(k)] != 0)
          reported.Set(reported.grid.Bit(span.row, span.col + k));
      }
    }
    computed_ += static_cast<int64_t>(listed);
  }

  /// The pixels in which an output differs from `before`.
  std::vector<uint64_t> Difference(const std::vector<Tensor>& before) const {
    std::vector<uint64_t> words(outputs_[0].placement().grid.words(), 0);
    for (size_t o = 0; o < outputs_.size(); ++o) {
      const Placement& p = outputs_[o].placement();
      Stored old(p.dtype, p.shape, p.pixel_axes, {}, nullptr, 0);
      old.Write(before[o]);
      old.mask().Clear();
      old.Write(outputs_[o].Read());
      for (size_t w = 0; w < words.size(); ++w) words[w] |= old.mask().words[w];
    }
    return words;
  }

  OpGraph graph_;
  std::vector<Stored> inputs_;
  std::vector<const Placement*> placed_inputs_;
  std::vector<bool> in_memory_;
  std::vector<Stored> outputs_;
  WeightMemory memory_{0};
  std::vector<std::byte*> buffers_;
  KernelPtr kernel_;
  std::vector<std::byte> scratch_;
  int64_t computed_ = 0;
};

/// All outputs for the case's inputs; empty, with a test failure, if the node is rejected.
inline std::vector<Tensor> RunDense(const OpCase& test) {
  auto runner = OpRunner::Create(test);
  if (!runner.ok()) {
    ADD_FAILURE() << runner.error().message;
    return {};
  }
  std::mt19937 rng(1);
  (*runner)->Run(test.inputs, true, rng);
  return (*runner)->Outputs();
}

inline void ExpectRejected(const OpCase& test, const std::string& text) {
  const auto runner = OpRunner::Create(test);
  ASSERT_FALSE(runner.ok()) << test.op << " was accepted";
  EXPECT_NE(runner.error().message.find(text), std::string::npos) << runner.error().message;
}

inline void ExpectSameBits(const std::vector<Tensor>& got, const std::vector<Tensor>& want) {
  ASSERT_EQ(got.size(), want.size());
  for (size_t o = 0; o < got.size(); ++o) {
    EXPECT_EQ(got[o].shape, want[o].shape);
    EXPECT_TRUE(got[o].bytes == want[o].bytes) << "output " << o << " differs";
  }
}

/// |got - want| <= tolerance * (1 + |want|) everywhere; NaN and infinities must agree.
inline void ExpectNear(const Tensor& got, const Shape& shape, const std::vector<double>& want,
                       double tolerance = 1e-5) {
  ASSERT_EQ(got.shape, shape);
  const auto values = got.as<float>();
  ASSERT_EQ(values.size(), want.size());
  for (size_t i = 0; i < want.size(); ++i) {
    if (std::isfinite(want[i])) {
      ASSERT_LE(std::abs(values[i] - want[i]), tolerance * (1 + std::abs(want[i])))
          << "element " << i << ": " << values[i] << " instead of " << want[i];
    } else {
      ASSERT_TRUE(std::isnan(want[i]) ? std::isnan(values[i]) : values[i] == want[i])
          << "element " << i << ": " << values[i] << " instead of " << want[i];
    }
  }
}

/// Changes a few elements, a stretch, all, or nothing of a tensor: each gets the bytes of another
/// element, so that any element type keeps sensible values.
inline void Perturb(Tensor& tensor, std::mt19937& rng) {
  const auto count = static_cast<uint32_t>(tensor.elements());
  if (count == 0) return;
  const size_t size = SizeOf(tensor.dtype);
  const Tensor old = tensor;
  const auto change = [&](uint32_t i) {
    if (tensor.dtype == DType::kFloat32) {
      tensor.as<float>()[i] += std::uniform_real_distribution<float>(-0.5f, 0.5f)(rng);
    } else {
      std::memcpy(tensor.bytes.data() + i * size, old.bytes.data() + rng() % count * size, size);
    }
  };
  switch (rng() % 5) {
    case 0:
      return;
    case 1:
      return change(rng() % count);
    case 2:
      for (uint32_t k = 0; k < 1 + count / 50; ++k) change(rng() % count);
      return;
    case 3:
      for (uint32_t i = rng() % count, end = i + count / 10; i < std::min(end, count); ++i)
        change(i);
      return;
    default:
      for (uint32_t i = 0; i < count; ++i) change(i);
  }
}

/// Random changes of all inputs that are no constants; after each, the incremental outputs must
/// have the bits of a fresh dense run.
inline void CheckIncremental(const OpCase& test, std::mt19937& rng, int steps = 6) {
  auto incremental = OpRunner::Create(test);
  if (!incremental.ok()) {
    ADD_FAILURE() << incremental.error().message;
    return;
  }
  std::vector<std::optional<Tensor>> inputs = test.inputs;
  (*incremental)->Run(inputs, true, rng);
  OpCase packed = test;
  packed.gap = 0;
  for (int step = 0; step < steps; ++step) {
    for (size_t i = 0; i < inputs.size(); ++i) {
      const bool constant = std::ranges::find(test.constants, i) != test.constants.end();
      if (inputs[i] && !constant) Perturb(*inputs[i], rng);
    }
    (*incremental)->Run(inputs, false, rng);
    auto dense = OpRunner::Create(packed);
    (*dense)->Run(inputs, true, rng);
    ExpectSameBits((*incremental)->Outputs(), (*dense)->Outputs());
  }
}

}  // namespace deltacnn::testing
