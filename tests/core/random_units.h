// Units of several nodes, as known networks have them: what the passes fuse or rewrite.
#pragma once

#include <algorithm>

#include "random_builder.h"

namespace deltacnn::testing {

class RandomUnits : protected RandomBuilder {
 protected:
  using RandomBuilder::RandomBuilder;

  /// Maxima around every pixel over windows of several sizes.
  void AddPyramid() {
    const ValueId x = Any(4);
    if (x == kNoValue) return;
    for (int i = 0; i < 3; ++i) {
      const IntList half = {Between(0, 3), Between(0, 3)};
      Apply("MaxPool", x, {},
            {{"kernel_shape", IntList{2 * half[0] + 1, 2 * half[1] + 1}},
             {"pads", IntList{half[0], half[1], half[0], half[1]}}});
    }
  }

  /// A depthwise and a 1x1 convolution, often with a function of one number between them.
  void AddSeparable() {
    const ValueId x = Any(4);
    if (x == kNoValue || shape(x)[1] < 2) return;
    const int64_t channels = shape(x)[1];
    const int64_t size = Chance(70) ? 3 : 5;
    const IntList pads(4, size / 2);
    ValueId y =
        Apply("Conv", x, {Weights({channels, 1, size, size}, 0.6f)},
              {{"group", channels}, {"pads", pads}, {"strides", IntList(2, Between(1, 2))}});
    if (y != kNoValue && Chance(60)) y = Apply(Name({"Relu", "LeakyRelu", "HardSwish", "Elu"}), y);
    if (y == kNoValue) return;
    const int64_t outputs = Between(5, 20);
    Apply("Conv", y, {Weights({outputs, channels, 1, 1}, 0.6f), Weights({outputs}, 0.5f)});
  }

  /// A depthwise or narrow convolution, an activation and a pool whose windows do not overlap.
  void AddPooled() {
    const ValueId x = Any(4);
    if (x == kNoValue) return;
    const int64_t channels = shape(x)[1];
    const bool depthwise = Chance(60);
    const int64_t outputs = depthwise ? channels : Between(5, 40);
    ValueId y = Apply("Conv", x, {Weights({outputs, depthwise ? 1 : channels, 3, 3}, 0.6f)},
                      {{"group", depthwise ? channels : 1},
                       {"pads", IntList(4, Between(0, 1))},
                       {"strides", IntList(2, Between(1, 2))}});
    if (y != kNoValue && Chance(60)) y = Apply(Name({"Relu", "LeakyRelu", "HardSwish", "Elu"}), y);
    if (y == kNoValue) return;
    const IntList window = {Between(2, 3), Between(2, 3)};
    Apply("MaxPool", y, {},
          {{"kernel_shape", window},
           {"strides", window},
           {"pads", IntList{Between(0, 1), Between(0, 1), Between(0, 1), Between(0, 1)}},
           {"ceil_mode", Between(0, 1)}});
  }

  /// Units that pass on some channels, compute others and shuffle them, as ShuffleNet's do.
  void AddShuffledUnits() {
    const ValueId x = Any(4);
    if (x == kNoValue) return;
    const int64_t half = Between(1, 6);
    const Shape size = {shape(x)[2], shape(x)[3]};
    const auto conv = [&](ValueId from) {
      return Apply("Conv", from,
                   {Weights({half, shape(from)[1], 1, 1}, 0.8f), Weights({half}, 0.5f)});
    };
    std::vector<ValueId> parts = {conv(x), conv(x)};
    const bool by_parity = Chance(50) && shape(x)[0] == 1;
    for (int64_t units = Between(1, 4); units > 0; --units) {
      if (parts[0] == kNoValue || parts[1] == kNoValue) return;
      if (Chance(30)) std::ranges::reverse(parts);
      const ValueId joined = Apply("Concat", parts[0], {parts[1]}, {{"axis", int64_t{1}}});
      const int64_t n = shape(x)[0];
      if (by_parity) {
        const ValueId pairs = Apply("Reshape", joined, {Indices({half, 2, size[0] * size[1]})});
        const ValueId dealt = Apply("Transpose", pairs, {}, {{"perm", IntList{1, 0, 2}}});
        const ValueId split = Apply("Reshape", dealt, {Indices({2, 1, half, size[0], size[1]})});
        for (int64_t p = 0; p < 2; ++p) {
          const ValueId at = maker_.Constant(MakeTensor<int64_t>(DType::kInt64, {}, {p}));
          parts[static_cast<size_t>(p)] = Apply("Gather", split, {at}, {{"axis", int64_t{0}}});
        }
      } else {
        const ValueId pairs = Apply("Reshape", joined, {Indices({n, 2, half, size[0], size[1]})});
        const ValueId dealt = Apply("Transpose", pairs, {}, {{"perm", IntList{0, 2, 1, 3, 4}}});
        const ValueId whole = Apply("Reshape", dealt, {Indices({n, -1, size[0], size[1]})});
        for (int64_t p = 0; p < 2; ++p) {
          parts[static_cast<size_t>(p)] =
              Apply("Slice", whole, {Indices({p * half}), Indices({(p + 1) * half}), Indices({1})});
        }
      }
      if (parts[0] == kNoValue || parts[1] == kNoValue) return;
      parts[1] = conv(parts[1]);
    }
    Apply("Concat", parts[0], {parts[1]}, {{"axis", int64_t{1}}});
  }

  void AddSqueezeExcite() {
    const ValueId x = Any(4);
    if (x == kNoValue) return;
    const ValueId mean =
        Chance(50) ? Apply("GlobalAveragePool", x)
                   : Apply("ReduceMean", x, {Indices({2, 3})}, {{"keepdims", int64_t{1}}});
    if (mean == kNoValue) return;
    const int64_t channels = shape(x)[1];
    const ValueId gate = Apply("Conv", mean, {Weights({channels, channels, 1, 1}, 0.5f)});
    const ValueId bounded = Apply(Name({"Sigmoid", "HardSigmoid"}), gate);
    Apply("Mul", x, {bounded});
  }

  /// Narrow convolutions of one value with depthwise ones behind them, as of small detectors.
  void AddHeads() {
    const ValueId x = Any(4);
    if (x == kNoValue) return;
    const int64_t pad = Between(0, 1);
    for (int64_t heads = Between(2, 4); heads > 0; --heads) {
      const int64_t outputs = Between(1, 10);
      const auto bias = [&] { return Chance(60) ? Weights({outputs}) : kNoValue; };
      const ValueId conv = Apply("Conv", x, {Weights({outputs, shape(x)[1], 1, 1}, 0.5f), bias()});
      if (conv == kNoValue) return;
      if (Chance(40)) {
        Apply("Transpose", conv, {}, {{"perm", IntList{0, 2, 3, 1}}});
        continue;
      }
      const ValueId head = Apply("Conv", conv, {Weights({outputs, 1, 3, 3}, 0.5f), bias()},
                                 {{"group", outputs}, {"pads", IntList{pad, pad, pad, pad}}});
      if (head != kNoValue && Chance(40)) Apply("Sigmoid", head);
    }
  }

  /// Values quantised and dequantised, by the same numbers or by others.
  void AddQuantised() {
    const ValueId x = Any(4);
    if (x == kNoValue) return;
    const int64_t axis = Between(-4, 3);
    const int64_t count = Chance(70) ? 1 : shape(x)[static_cast<size_t>((axis + 4) % 4)];
    const Shape numbers = count == 1 && Chance(50) ? Shape{} : Shape{count};
    const auto scales = [&] {
      std::vector<float> values;
      for (int64_t i = 0; i < count; ++i)
        values.push_back(static_cast<float>(Between(1, 40)) / 256);
      return maker_.Constant(Floats(numbers, values));
    };
    std::vector<uint8_t> zeros;
    for (int64_t i = 0; i < count; ++i) zeros.push_back(static_cast<uint8_t>(Between(0, 127)));
    const ValueId zero_point =
        maker_.Constant(MakeTensor(Chance(50) ? DType::kInt8 : DType::kUint8, numbers, zeros));
    const ValueId scale = scales();
    // A last bit may decide between two integers; inputs are the same to the last bit.
    const bool computed = std::ranges::find(maker_.graph.inputs, x) == maker_.graph.inputs.end();
    const ValueId q = Apply("QuantizeLinear", x, {scale, zero_point}, {{"axis", axis}}, computed);
    if (q == kNoValue) return;
    const ValueId taken = Chance(80) ? scale : scales();
    Apply("DequantizeLinear", q, {taken, zero_point}, {{"axis", axis}});
    if (count > 1 || Chance(50)) return;
    ValueId moved = Chance(50) ? Apply("Transpose", q, {}, {{"perm", IntList{0, 1, 3, 2}}}) : q;
    if (moved != kNoValue && Chance(50)) moved = Apply("Concat", moved, {moved}, {{"axis", axis}});
    if (moved != kNoValue) Apply("DequantizeLinear", moved, {taken, zero_point});
  }

  /// Pixels picked at positions that are constants or computed (deformable attention, flow).
  void AddSampled() {
    const ValueId x = Any(4);
    if (x == kNoValue) return;
    ValueId grid = kNoValue;
    const bool computed = Chance(50);  // a last bit may decide which pixel is the nearest
    if (!computed) {
      grid = Weights({shape(x)[0], Between(1, 9), Between(1, 9), 2}, 1.5f);
    } else {
      const ValueId flow = Apply("Conv", x, {Weights({2, shape(x)[1], 1, 1}, 0.5f)});
      if (flow == kNoValue) return;
      grid = Apply("Transpose", flow, {}, {{"perm", IntList{0, 2, 3, 1}}});
    }
    if (grid == kNoValue) return;
    Apply("GridSample", x, {grid},
          {{"mode", std::string(Name({"linear", "nearest", "cubic"}))},
           {"padding_mode", std::string(Name({"zeros", "border", "reflection"}))},
           {"align_corners", Between(0, 1)}},
          computed);
  }

  /// A picture cut into windows, whose pixels become rows, and some of the way back (MobileViT).
  void AddWindows() {
    const ValueId x = Any(4);
    if (x == kNoValue) return;
    const Shape in = shape(x);
    const auto part = [&](int64_t size) {
      const int64_t wanted = Between(1, 4);
      return size % wanted == 0 ? wanted : 1;
    };
    const int64_t height = part(in[2]), width = part(in[3]);
    const int64_t rows = in[2] / height, cols = in[3] / width, planes = in[0] * in[1];
    const auto reshape = [&](ValueId value, const IntList& dims) {
      return value == kNoValue ? value : Apply("Reshape", value, {Indices(dims)});
    };
    const auto turn = [&](ValueId value, IntList perm) {
      return value == kNoValue ? value : Apply("Transpose", value, {}, {{"perm", std::move(perm)}});
    };
    ValueId y = turn(reshape(x, {planes * rows, height, cols, width}), {0, 2, 1, 3});
    y = turn(reshape(y, {in[0], in[1], rows * cols, height * width}), {0, 3, 2, 1});
    if (y == kNoValue) return;
    if (Chance(50)) y = Apply(Name({"Relu", "Tanh"}), y);
    y = reshape(turn(y, {0, 3, 2, 1}), {planes * rows, cols, height, width});
    if (Chance(70)) reshape(turn(y, {0, 2, 1, 3}), in);
  }

  /// Convolutions of one value whose outputs are added, as of networks whose branches are to be
  /// merged.
  void AddBranches() {
    const ValueId x = Any(4);
    if (x == kNoValue) return;
    const int64_t channels = shape(x)[1], stride = Between(1, 2);
    const int64_t outputs = Chance(50) ? channels : Between(1, 12);
    ValueId sum = kNoValue;
    for (int64_t branches = Between(2, 4); branches > 0; --branches) {
      const int64_t pad = Between(0, 2), kernel = Chance(80) ? 2 * pad + 1 : Between(1, 4);
      ValueId branch =
          Apply("Conv", x,
                {Weights({outputs, channels, kernel, kernel}, 0.3f),
                 Chance(50) ? Weights({outputs}) : kNoValue},
                {{"pads", IntList{pad, pad, pad, pad}}, {"strides", IntList{stride, stride}}});
      if (branch != kNoValue && Chance(50))
        branch = Apply(Chance(50) ? "Mul" : "Add", branch, {Weights({outputs, 1, 1})});
      if (branch == kNoValue) return;
      sum = sum == kNoValue ? branch : Apply("Add", sum, {branch});
      if (sum == kNoValue) return;
    }
  }

  /// Channels in groups, which are reduced one way or the other (split attention).
  void AddGroupSums() {
    const ValueId x = Any(4);
    if (x == kNoValue) return;
    const int64_t groups = Between(1, 3), each = Between(1, 20);
    const ValueId wide = Apply("Conv", x, {Weights({groups * each, shape(x)[1], 1, 1}, 0.5f)});
    if (wide == kNoValue) return;
    const Shape size = shape(wide);
    const ValueId split =
        Apply("Reshape", wide, {Indices({size[0], groups, each, size[2], size[3]})});
    if (split == kNoValue) return;
    Apply(Name({"ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin"}), split,
          {Indices({Chance(70) ? 1 : -3})}, {{"keepdims", Between(0, 1)}});
  }

  /// An activation over x, as exporters spell them.
  void Activate(ValueId x) {
    switch (Pick(8)) {
      case 0:
        Apply("Mul", x, {Apply("Sigmoid", x)});
        return;
      case 1: {
        const ValueId shifted = Apply("Add", x, {Scalar(3)});
        const ValueId clipped = Apply("Clip", shifted, {Scalar(0), Scalar(6)});
        const ValueId gated = Chance(50) ? Apply("Mul", x, {clipped}) : Apply("Mul", clipped, {x});
        Apply("Div", gated, {Scalar(6)});
        return;
      }
      case 2: {
        const ValueId scaled = Apply("Div", x, {Scalar(1.41421356f)});
        const ValueId shifted = Apply("Add", Apply("Erf", scaled), {Scalar(1)});
        Apply("Mul", Apply("Mul", x, {shifted}), {Scalar(0.5f)});
        return;
      }
      case 3:
        Apply("Mul", Apply("Tanh", Apply("Softplus", x)), {x});
        return;
      case 4:
        if (shape(x).size() == 4) {
          Apply("PRelu", x, {Weights({shape(x)[1], 1, 1})});
          return;
        }
        [[fallthrough]];
      case 5:
        Apply("Clip", x, {Scalar(-0.5f), Scalar(0.75f)});
        return;
      default:
        Apply(Name({"Relu", "LeakyRelu", "Elu", "Sigmoid", "HardSwish", "Tanh", "Softsign", "Abs",
                    "Neg", "Sin", "Selu", "HardSigmoid", "Mish"}),
              x);
    }
  }
  void AddActivation() { Activate(Any()); }
};

}  // namespace deltacnn::testing
