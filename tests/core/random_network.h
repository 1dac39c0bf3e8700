// Random networks of many kinds of operators, for properties that every network must have.
#pragma once

#include <set>

#include "random_units.h"

namespace deltacnn::testing {

/// A random acyclic graph with random weights. The same seed makes the same graph.
class RandomNetwork : private RandomUnits {
 public:
  explicit RandomNetwork(uint32_t seed) : RandomUnits(seed) {
    AddInputs();
    const size_t wanted = 5 + Pick(21);
    for (int tries = 0; maker_.graph.nodes.size() < wanted && tries < 300; ++tries) AddRandom();
    ChooseOutputs();
  }

  const Graph& graph() const { return maker_.graph; }
  /// True if small errors of earlier values can make large ones of this value, e.g. behind ArgMax.
  bool rough(ValueId id) const { return rough_.contains(id); }

 private:
  using Adder = void (RandomNetwork::*)();

  void AddInputs() {
    static const std::vector<Shape> kImages = {{1, 3, 16, 16},  {1, 3, 24, 20}, {1, 4, 9, 13},
                                               {1, 1, 1, 1},    {1, 2, 1, 17},  {1, 5, 11, 1},
                                               {2, 3, 7, 8},    {1, 8, 12, 12}, {1, 3, 5, 70},
                                               {1, 16, 30, 33}, {1, 2, 66, 9}};
    if (Chance(10)) {
      const ValueId image =
          maker_.Input("nhwc", {1, Between(5, 20), Between(1, 20), Between(1, 4)});
      Keep(maker_.TryAdd("Transpose", {image}, {{"perm", IntList{0, 3, 1, 2}}}), {image});
      if (Chance(30)) pool_.push_back(image);
    } else {
      pool_.push_back(maker_.Input("image", kImages[Pick(kImages.size())]));
    }
    if (Chance(25)) {
      Shape other = shape(pool_[0]);
      if (Chance(50)) other[1] = Between(1, 6);
      if (Chance(30)) other[2] = other[3] = 1;
      pool_.push_back(maker_.Input("second", other));
    }
  }

  void AddConv() {
    const ValueId x = Any(Chance(90) ? 4 : 3);
    if (x == kNoValue) return;
    const size_t spatial = shape(x).size() - 2;
    const int64_t channels = shape(x)[1];
    int64_t groups = 1;
    if (Chance(30)) groups = channels;
    if (Chance(15)) {
      for (int64_t g = 2; g < channels; ++g)
        if (channels % g == 0) groups = g;
    }
    // With enough channels on both sides, often one that is computed by Winograd's transforms.
    const bool plain = spatial == 2 && channels >= 16 && Chance(60);
    if (plain) groups = 1;
    int64_t outputs = groups * (groups == channels && Chance(60) ? 1 : Between(1, 9));
    if (plain || (groups == 1 && Chance(20))) outputs = Between(16, 24);
    Shape kernel = {outputs, channels / groups};
    IntList strides, dilations, pads;
    int64_t taps = 1;
    for (size_t d = 0; d < spatial; ++d) {
      kernel.push_back(plain ? 3 : Chance(30) ? 1 : Between(1, 5));
      taps *= kernel.back();
      strides.push_back(plain || Chance(65) ? 1 : Between(1, 3));
      dilations.push_back(plain || Chance(75) ? 1 : Between(1, 3));
    }
    const bool same = Chance(50);
    for (size_t i = 0; i < 2 * spatial; ++i) {
      const size_t d = i % spatial;
      pads.push_back(same ? (kernel[d + 2] - 1) * dilations[d] / 2 : Between(0, kernel[d + 2]));
    }
    Attributes attributes = {{"group", groups}, {"strides", strides}, {"dilations", dilations}};
    if (Chance(15)) {
      attributes["auto_pad"] = Name({"SAME_UPPER", "SAME_LOWER", "VALID"});
    } else {
      attributes["pads"] = pads;
    }
    const auto fan_in = static_cast<float>(taps * channels / groups);
    const ValueId weights = Weights(kernel, 1.5f / std::sqrt(fan_in));
    const ValueId y =
        Apply("Conv", x, {weights, Chance(70) ? Weights({outputs}, 0.5f) : kNoValue}, attributes);
    if (y == kNoValue || !Chance(40)) return;
    if (Chance(30)) {
      const ValueId normal = BatchNorm(y);
      if (normal != kNoValue) Activate(normal);
    } else {
      Activate(y);
    }
  }

  ValueId BatchNorm(ValueId x) {
    const int64_t n = shape(x)[1];
    return Apply("BatchNormalization", x,
                 {Weights({n}), Weights({n}), Weights({n}),
                  maker_.Constant(RandomTensor(rng_, {n}, 0.5f, 1.5f))});
  }

  void AddConvTranspose() {
    const ValueId x = Any(4);
    if (x == kNoValue) return;
    const int64_t channels = shape(x)[1];
    const int64_t groups = Chance(25) ? channels : 1;
    const Shape kernel = {channels, Between(1, 4), Between(1, 4), Between(1, 4)};
    IntList strides = {Between(1, 3), Between(1, 3)};
    IntList pads = {Between(0, 2), Between(0, 2), Between(0, 2), Between(0, 2)};
    Attributes attributes = {{"group", groups}, {"strides", strides}, {"pads", pads}};
    if (Chance(20)) attributes["dilations"] = IntList{Between(1, 2), Between(1, 2)};
    if (Chance(20))
      attributes["output_padding"] =
          IntList{Between(0, strides[0] - 1), Between(0, strides[1] - 1)};
    Apply("ConvTranspose", x,
          {Weights(kernel, 1.5f / std::sqrt(static_cast<float>(channels * 2))),
           Chance(50) ? Weights({kernel[1] * groups}) : kNoValue},
          attributes);
  }

  void AddPool() {
    const ValueId x = Any(4);
    if (x == kNoValue) return;
    const IntList kernel = {Between(1, 5), Between(1, 5)};
    IntList pads;
    for (size_t i = 0; i < 4; ++i) pads.push_back(Between(0, kernel[i % 2] / 2));
    Attributes attributes = {{"kernel_shape", kernel},
                             {"pads", pads},
                             {"ceil_mode", Between(0, 1)},
                             {"strides", IntList{Between(1, 3), Between(1, 3)}}};
    if (Chance(50)) {
      if (Chance(20)) attributes["dilations"] = IntList{Between(1, 2), Between(1, 2)};
      Apply("MaxPool", x, {}, attributes);
    } else {
      attributes["count_include_pad"] = Between(0, 1);
      Apply("AveragePool", x, {}, attributes);
    }
  }

  void AddResize() {
    const ValueId x = Any(4);
    if (x == kNoValue) return;
    const Shape& in = shape(x);
    const std::string mode = Name({"nearest", "nearest", "linear", "linear", "cubic"});
    Attributes attributes = {
        {"mode", mode},
        {"coordinate_transformation_mode",
         Name({"asymmetric", "half_pixel", "align_corners", "pytorch_half_pixel"})}};
    if (mode == "nearest")
      attributes["nearest_mode"] = Name({"floor", "ceil", "round_prefer_floor"});
    if (Chance(60)) {
      const auto factor = [&] {
        return Chance(70) ? 2.0f : 0.25f * static_cast<float>(Between(1, 12));
      };
      Apply("Resize", x, {kNoValue, maker_.Constant(Floats({4}, {1, 1, factor(), factor()}))},
            attributes);
    } else {
      Apply("Resize", x,
            {kNoValue, kNoValue, Indices({in[0], in[1], Between(1, 24), Between(1, 24)})},
            attributes);
    }
  }

  void AddConcat() {
    const ValueId x = Any();
    const size_t rank = shape(x).size();
    const size_t axis = rank >= 3 && Chance(60) ? 1 : Pick(rank);
    std::vector<ValueId> parts = {x};
    for (int64_t n = Between(1, 3); n > 0; --n) {
      if (Chance(12)) {
        Shape constant = shape(x);
        constant[axis] = Between(1, 3);
        parts.push_back(Weights(constant));
      } else {
        parts.push_back(Like(x, axis));
      }
    }
    std::ranges::shuffle(parts, rng_);
    const std::vector<ValueId> rest(parts.begin() + 1, parts.end());
    const auto place = static_cast<int64_t>(axis) - (Chance(20) ? static_cast<int64_t>(rank) : 0);
    Apply("Concat", parts[0], rest, {{"axis", place}});
  }

  void AddSplit() {
    const ValueId x = Any();
    const size_t axis = Pick(shape(x).size());
    const int64_t n = shape(x)[axis];
    if (n < 2) return;
    const int64_t first = Between(1, n - 1);
    const auto ids = maker_.TryAdd("Split", {x, Indices({first, n - first})},
                                   {{"axis", static_cast<int64_t>(axis)}}, 2);
    Keep(ids, {x});
  }

  void AddSlice() {
    const ValueId x = Any();
    const size_t rank = shape(x).size();
    IntList starts, ends, axes, steps;
    for (size_t a = 0; a < rank; ++a) {
      if (!Chance(50)) continue;
      const int64_t n = shape(x)[a];
      int64_t from = Between(0, n - 1);
      int64_t to = Between(0, n - 1);
      const int64_t step = Chance(60) ? 1 : Between(1, 3);
      if (Chance(80)) {
        if (from > to) std::swap(from, to);
        ++to;
        steps.push_back(step);
      } else {
        if (from < to) std::swap(from, to);
        to = to == 0 ? -n - 1 : to - 1;
        steps.push_back(-step);
      }
      starts.push_back(from);
      ends.push_back(to);
      axes.push_back(static_cast<int64_t>(a));
    }
    if (axes.empty()) return;
    Apply("Slice", x, {Indices(starts), Indices(ends), Indices(axes), Indices(steps)});
  }

  void AddAssignment() {  // to a slice, as exporters spell it
    const ValueId x = Any();
    const size_t axis = Pick(shape(x).size());
    const int64_t n = shape(x)[axis];
    const int64_t step = n % 2 == 0 && Chance(30) ? 2 : 1;
    const int64_t from = step == 2 ? Between(0, 1) : Between(0, n - 1);
    const int64_t to = step == 2 ? n : Between(from + 1, n);
    const ValueId slice = Apply(
        "Slice", x,
        {Indices({from}), Indices({to}), Indices({static_cast<int64_t>(axis)}), Indices({step})});
    const ValueId part = Apply(Name({"Sigmoid", "Relu", "Neg"}), slice);
    Shape indices(shape(x).begin(), shape(x).begin() + static_cast<ptrdiff_t>(axis) + 1);
    indices[axis] = shape(slice)[axis];
    IntList places;
    for (int64_t i = 0; i < ElementCount(indices); ++i) {
      int64_t rest = i;
      IntList tuple(axis + 1);
      for (size_t a = axis + 1; a-- > 0; rest /= indices[a]) tuple[a] = rest % indices[a];
      tuple[axis] = from + tuple[axis] * step;
      places.insert(places.end(), tuple.begin(), tuple.end());
    }
    indices.push_back(static_cast<int64_t>(axis) + 1);
    Apply("ScatterND", x, {maker_.Constant(MakeTensor(DType::kInt64, indices, places)), part});
  }

  void AddFocus() {  // every second pixel, four times
    const ValueId x = Any(4);
    if (x == kNoValue || shape(x)[2] % 2 != 0 || shape(x)[3] % 2 != 0) return;
    std::vector<ValueId> parts;
    for (const IntList& start : {IntList{0, 0}, {1, 0}, {0, 1}, {1, 1}}) {
      parts.push_back(Apply(
          "Slice", x, {Indices(start), Indices({1000, 1000}), Indices({2, 3}), Indices({2, 2})}));
    }
    Apply("Concat", parts[0], {parts[1], parts[2], parts[3]}, {{"axis", int64_t{1}}});
  }

  void AddGather() {
    const ValueId x = Any();
    if (Chance(25)) {  // by positions along the first axes
      const auto depth = static_cast<int64_t>(1 + Pick(shape(x).size()));
      const Shape picked = {Between(1, 4), Between(1, 3), depth};
      IntList positions;
      for (int64_t i = 0; i < picked[0] * picked[1]; ++i) {
        for (size_t a = 0; a < static_cast<size_t>(depth); ++a)
          positions.push_back(Between(-shape(x)[a], shape(x)[a] - 1));
      }
      Apply("GatherND", x, {maker_.Constant(MakeTensor(DType::kInt64, picked, positions))});
      return;
    }
    const size_t axis = Pick(shape(x).size());
    const int64_t n = shape(x)[axis];
    IntList at;
    for (int64_t i = Between(1, 5); i > 0; --i) at.push_back(Between(-n, n - 1));
    const ValueId indices =
        Chance(20) ? maker_.Constant(MakeTensor<int64_t>(DType::kInt64, {}, {at[0]})) : Indices(at);
    Apply("Gather", x, {indices}, {{"axis", static_cast<int64_t>(axis)}});
  }

  void AddReshape() {
    const ValueId x = Any();
    const Shape in = shape(x);
    const size_t rank = in.size();
    switch (Pick(5)) {
      case 0: {  // channel shuffle
        if (rank != 4 || in[1] % 2 != 0) return;
        const ValueId split = Apply("Reshape", x, {Indices({in[0], 2, in[1] / 2, in[2], in[3]})});
        const ValueId turned = Apply("Transpose", split, {}, {{"perm", IntList{0, 2, 1, 3, 4}}});
        Apply("Reshape", turned, {Indices({in[0], -1, in[2], in[3]})});
        return;
      }
      case 1: {  // a detector's head
        if (rank != 4) return;
        const ValueId last = Apply("Transpose", x, {}, {{"perm", IntList{0, 2, 3, 1}}});
        Apply("Reshape", last,
              {Indices({in[0], -1, Chance(50) || in[1] % 2 != 0 ? in[1] : in[1] / 2})});
        return;
      }
      case 2:
        Apply("Reshape", x, {Indices(rank == 4 ? IntList{0, 0, -1} : IntList{in[0], -1})});
        return;
      case 3:
        Apply("Flatten", x, {}, {{"axis", Between(0, static_cast<int64_t>(rank))}});
        return;
      default: {  // to an image of any shape
        const int64_t count = ElementCount(in);
        Shape out;
        int64_t rest = count;
        for (int d = 0; d < 3; ++d) {
          IntList divisors;
          for (int64_t k = 1; k <= std::min<int64_t>(rest, 40); ++k)
            if (rest % k == 0) divisors.push_back(k);
          out.push_back(OneOf(divisors));
          rest /= out.back();
        }
        out.push_back(rest);
        std::ranges::shuffle(out, rng_);
        if (Chance(50)) std::ranges::sort(out);
        Apply("Reshape", x, {Indices(out)});
      }
    }
  }

  void AddTranspose() {
    const ValueId x = Any();
    IntList perm(shape(x).size());
    for (size_t a = 0; a < perm.size(); ++a) perm[a] = static_cast<int64_t>(a);
    std::ranges::shuffle(perm, rng_);
    Apply("Transpose", x, {}, {{"perm", perm}});
  }

  void AddAxes() {
    const ValueId x = Any();
    const size_t rank = shape(x).size();
    if (Chance(50) && rank < 5) {
      Apply("Unsqueeze", x, {Indices({Between(0, static_cast<int64_t>(rank))})});
      return;
    }
    const auto one = std::ranges::find(shape(x), 1);
    if (one == shape(x).end() || rank < 2) return;
    Apply("Squeeze", x, {Indices({one - shape(x).begin()})});
  }

  void AddPad() {
    const ValueId x = Any();
    const size_t rank = shape(x).size();
    const std::string mode = Name({"constant", "constant", "reflect", "edge", "wrap"});
    IntList pads(2 * rank, 0);
    for (size_t i = 0; i < pads.size(); ++i) {
      const int64_t n = shape(x)[i % rank];
      const bool inside = rank == 4 && i % rank < 2 && Chance(80);
      const int64_t most = mode == "reflect" ? std::min<int64_t>(n - 1, 3) : 3;
      if (!inside) pads[i] = Between(mode == "constant" && Chance(20) ? -1 : 0, most);
    }
    const ValueId fill = mode == "constant" && Chance(30) ? Scalar(0.75f) : kNoValue;
    const ValueId y = Apply("Pad", x, {Indices(pads), fill}, {{"mode", mode}});
    if (y == kNoValue || shape(y).size() != 4 || !Chance(40)) return;
    Apply("Conv", y, {Weights({Between(1, 8), shape(y)[1], 3, 3}, 0.3f)},
          Chance(50) ? Attributes{{"pads", IntList{1, 0, 0, 1}}} : Attributes{});
  }

  void AddBinary() {
    const std::string op = Name({"Add", "Add", "Mul", "Sub", "Min", "Max", "Div"});
    ValueId x = Any();
    const size_t rank = shape(x).size();
    ValueId y = kNoValue;
    switch (op == "Div" ? 0 : Pick(4)) {
      case 0: {  // a constant, perhaps broadcast
        Shape constant = shape(x);
        for (int64_t& dim : constant)
          if (Chance(50)) dim = 1;
        if (Chance(30))
          constant.erase(constant.begin(), constant.begin() + static_cast<int64_t>(Pick(rank)));
        y = op == "Div" ? maker_.Constant(RandomTensor(rng_, constant, 0.5f, 2))
                        : Weights(constant);
        break;
      }
      case 1:  // any other value that happens to broadcast
        y = Any();
        break;
      default:
        y = Like(x, rank);
    }
    if (op != "Div" && Chance(30)) std::swap(x, y);
    const ValueId z = Apply(op, x, {y});
    if (z != kNoValue && Chance(40)) Activate(z);
  }

  void AddSoftmax() {
    const ValueId x = Any();
    Apply(Chance(80) ? "Softmax" : "LogSoftmax", x, {},
          {{"axis", Between(0, static_cast<int64_t>(shape(x).size()) - 1)}});
  }

  void AddReduce() {
    const ValueId x = Any();
    const size_t rank = shape(x).size();
    if (rank == 4 && Chance(30)) {
      Apply(Chance(50) ? "GlobalAveragePool" : "GlobalMaxPool", x);
      return;
    }
    IntList axes;
    for (size_t a = 0; a < rank; ++a)
      if (Chance(50))
        axes.push_back(static_cast<int64_t>(a) - (Chance(30) ? static_cast<int64_t>(rank) : 0));
    if (axes.empty()) axes = {static_cast<int64_t>(rank) - 1};
    Apply(Name({"ReduceMean", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceL1", "ReduceL2"}), x,
          {Indices(axes)}, {{"keepdims", Between(0, 1)}});
  }

  void AddNormalisation() {
    const ValueId x = Any(4);
    if (x == kNoValue) return;
    const int64_t channels = shape(x)[1];
    switch (Pick(5)) {
      case 0: {
        const int64_t groups = channels % 2 == 0 && Chance(70) ? channels / 2 : 1;
        Apply("GroupNormalization", x, {Weights({groups}), Weights({groups})},
              {{"num_groups", groups}, {"epsilon", 0.3f}});
        return;
      }
      case 1:
        Apply("InstanceNormalization", x, {Weights({channels}), Weights({channels})},
              {{"epsilon", 0.3f}});
        return;
      case 2:
        Apply("LayerNormalization", x, {Weights({shape(x)[3]})}, {{"epsilon", 0.3f}});
        return;
      default:
        if (Chance(50)) {
          Apply("LRN", x, {}, {{"size", int64_t{3}}, {"alpha", 0.1f}});
        } else {
          BatchNorm(x);
        }
    }
  }

  void AddLinear() {
    const ValueId x = Any();
    const size_t rank = shape(x).size();
    const float scale = 1.5f / std::sqrt(static_cast<float>(shape(x).back()));
    if (rank == 4 && Chance(20)) {
      Apply("Einsum", x, {Weights({Between(1, 12), shape(x)[1]})},
            {{"equation", Name({"bchw,kc->bkhw", "bchw,kc->hbkw"})}});
    } else if (rank == 2) {
      const int64_t outputs = Between(1, 12);
      const bool turned = Chance(50);
      const Shape weights = turned ? Shape{outputs, shape(x)[1]} : Shape{shape(x)[1], outputs};
      Apply("Gemm", x, {Weights(weights, scale), Chance(60) ? Weights({outputs}) : kNoValue},
            {{"transB", int64_t{turned}}});
    } else if (Chance(60)) {
      Apply("MatMul", x, {Weights({shape(x).back(), Between(1, 12)}, scale)});
    } else if (rank >= 3) {  // attention: every row with every row
      IntList perm(rank);
      for (size_t a = 0; a < rank; ++a) perm[a] = static_cast<int64_t>(a);
      std::swap(perm[rank - 1], perm[rank - 2]);
      const ValueId turned = Apply("Transpose", x, {}, {{"perm", perm}});
      Apply("Softmax", Apply("MatMul", x, {turned}), {}, {{"axis", int64_t{-1}}});
    }
  }

  void AddBlocks() {
    const ValueId x = Any(4);
    if (x == kNoValue) return;
    if (Chance(50)) {
      Apply("DepthToSpace", x, {}, {{"blocksize", Between(1, 2)}, {"mode", Name({"DCR", "CRD"})}});
    } else {
      Apply("SpaceToDepth", x, {}, {{"blocksize", Between(2, 3)}});
    }
  }

  void AddRepeat() {
    const ValueId x = Any();
    const Shape& in = shape(x);
    if (Chance(50)) {
      IntList repeats;
      for (size_t a = 0; a < in.size(); ++a) repeats.push_back(Chance(60) ? 1 : 2);
      Apply("Tile", x, {Indices(repeats)});
      return;
    }
    IntList target = in;
    for (int64_t& dim : target)
      if (dim == 1 && Chance(50)) dim = Between(1, 5);
    Apply("Expand", x, {Indices(target)});
  }

  void AddTyped() {
    const ValueId x = Any();
    switch (Pick(4)) {
      case 0: {
        const ValueId greater =
            Apply(Name({"Greater", "LessOrEqual"}), x, {Scalar(0.1f)}, {}, true);
        if (greater != kNoValue) Apply("Where", greater, {x, Like(x, shape(x).size())});
        return;
      }
      case 1: {
        const ValueId scaled = Apply("Mul", x, {Scalar(10)});
        const ValueId whole = Apply("Cast", scaled, {}, {{"to", int64_t{6}}}, true);  // int32
        if (whole == kNoValue) return;
        const ValueId sum = Apply("Add", whole, {whole});
        Apply("Cast", sum, {}, {{"to", int64_t{1}}});
        return;
      }
      case 2:
        Apply(Name({"ArgMax", "ArgMin"}), x, {},
              {{"axis", static_cast<int64_t>(Pick(shape(x).size()))}, {"keepdims", Between(0, 1)}},
              true);
        return;
      default: {
        const size_t axis = Pick(shape(x).size());
        Keep(maker_.TryAdd("TopK", {x, Indices({Between(1, shape(x)[axis])})},
                           {{"axis", static_cast<int64_t>(axis)}}, 2),
             {x}, true);
      }
    }
  }

  void AddIdentity() { Apply(Chance(50) ? "Identity" : "Dropout", Any()); }

  void AddRandom() {
    struct Row {
      int weight;
      Adder add;
    };
    static constexpr Row kRows[] = {
        {24, &RandomNetwork::AddConv},         {4, &RandomNetwork::AddConvTranspose},
        {6, &RandomNetwork::AddPool},          {5, &RandomNetwork::AddResize},
        {14, &RandomNetwork::AddConcat},       {5, &RandomNetwork::AddSplit},
        {6, &RandomNetwork::AddSlice},         {2, &RandomNetwork::AddFocus},
        {3, &RandomNetwork::AddGather},        {7, &RandomNetwork::AddReshape},
        {5, &RandomNetwork::AddTranspose},     {3, &RandomNetwork::AddAxes},
        {6, &RandomNetwork::AddPad},           {14, &RandomNetwork::AddBinary},
        {4, &RandomNetwork::AddSeparable},     {4, &RandomNetwork::AddSqueezeExcite},
        {3, &RandomNetwork::AddShuffledUnits}, {8, &RandomNetwork::AddActivation},
        {3, &RandomNetwork::AddSoftmax},       {5, &RandomNetwork::AddReduce},
        {4, &RandomNetwork::AddNormalisation}, {4, &RandomNetwork::AddLinear},
        {4, &RandomNetwork::AddBlocks},        {3, &RandomNetwork::AddRepeat},
        {4, &RandomNetwork::AddTyped},         {2, &RandomNetwork::AddIdentity},
        {3, &RandomNetwork::AddAssignment},    {2, &RandomNetwork::AddPyramid},
        {4, &RandomNetwork::AddPooled},        {3, &RandomNetwork::AddGroupSums},
        {3, &RandomNetwork::AddBranches},      {3, &RandomNetwork::AddWindows},
        {3, &RandomNetwork::AddHeads},         {3, &RandomNetwork::AddSampled},
        {3, &RandomNetwork::AddQuantised}};
    int total = 0;
    for (const Row& row : kRows) total += row.weight;
    auto at = static_cast<int>(Pick(static_cast<size_t>(total)));
    for (const Row& row : kRows) {
      if ((at -= row.weight) >= 0) continue;
      (this->*row.add)();
      return;
    }
  }

  /// Everything that nothing reads, and some inner values or inputs.
  void ChooseOutputs() {
    Graph& graph = maker_.graph;
    std::set<ValueId> read;
    for (const Node& node : graph.nodes) read.insert(node.inputs.begin(), node.inputs.end());
    std::set<ValueId> outputs;
    for (const auto* list : {&pool_, &tails_}) {
      for (const ValueId id : *list)
        if (!read.contains(id) || Chance(6)) outputs.insert(id);
    }
    graph.outputs.assign(outputs.begin(), outputs.end());
    if (graph.outputs.empty()) graph.outputs = {pool_.back()};
    std::ranges::shuffle(graph.outputs, rng_);
  }
};

}  // namespace deltacnn::testing
