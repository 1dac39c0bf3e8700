// Padding that becomes a window's own, and large maxima made of smaller ones.
#include <algorithm>
#include <limits>
#include <random>

#include "graph/lower.h"
#include "run_once.h"

namespace deltacnn::testing {
namespace {

constexpr int64_t kRows = 9, kCols = 11;

Tensor Image() {
  std::mt19937 rng(6);
  return RandomTensor(rng, {1, 2, kRows, kCols});
}

/// Of every pixel, fold(results so far, value) over the `rows` x `cols` values around it, from
/// `start` on. Those outside of the picture are `outside`.
template <class Fold>
std::vector<float> AroundEach(int64_t rows, int64_t cols, float start, float outside, Fold&& fold) {
  const Tensor image = Image();
  std::vector<float> result;
  for (int64_t c = 0; c < 2; ++c) {
    for (int64_t y = 0; y < kRows; ++y) {
      for (int64_t x = 0; x < kCols; ++x) {
        float folded = start;
        for (int64_t r = y - rows / 2; r <= y + rows / 2; ++r) {
          for (int64_t k = x - cols / 2; k <= x + cols / 2; ++k) {
            const bool inside = r >= 0 && r < kRows && k >= 0 && k < kCols;
            const auto at = static_cast<size_t>((c * kRows + r) * kCols + k);
            folded = fold(folded, inside ? image.as<float>()[at] : outside);
          }
        }
        result.push_back(folded);
      }
    }
  }
  return result;
}

std::vector<float> MaximaAround(int64_t rows, int64_t cols) {
  constexpr float kLowest = -std::numeric_limits<float>::infinity();
  return AroundEach(rows, cols, kLowest, kLowest, [](float a, float b) { return std::max(a, b); });
}

using Windows = std::vector<std::array<int64_t, 2>>;

/// Pools the image by all windows and lays the results one after the other.
GraphMaker Pyramid(const Windows& windows, Attributes more = {}) {
  GraphMaker net;
  const ValueId image = net.Input("image", {1, 2, kRows, kCols});
  std::vector<ValueId> pools;
  for (const auto& [rows, cols] : windows) {
    Attributes attributes = more;
    attributes["kernel_shape"] = IntList{rows, cols};
    if (!more.contains("auto_pad"))
      attributes["pads"] = IntList{rows / 2, cols / 2, rows / 2, cols / 2};
    pools.push_back(net.Add("MaxPool", {image}, attributes));
  }
  net.Output(net.Add("Concat", pools, {{"axis", int64_t{1}}}));
  return net;
}

std::vector<int64_t> TapsAfterLowering(const GraphMaker& net) {
  Graph graph = net.graph;
  CascadePools(graph);
  std::vector<int64_t> taps;
  for (const Node& node : graph.nodes) {
    const std::vector<int64_t> kernel = node.Ints("kernel_shape");
    if (node.op == "MaxPool") taps.push_back(kernel[0] * kernel[1]);
  }
  return taps;
}

TEST(Windows, LargeMaximaAreMadeOfSmallerOnes) {
  const Windows windows = {{13, 13}, {5, 5}, {9, 9}, {5, 5}};
  for (const Attributes& more :
       {Attributes{}, Attributes{{"auto_pad", std::string("SAME_UPPER")}}}) {
    const GraphMaker net = Pyramid(windows, more);
    EXPECT_EQ(TapsAfterLowering(net), (std::vector<int64_t>{25, 25, 25, 25}));
    std::vector<float> want;
    for (const auto& [rows, cols] : windows)
      std::ranges::copy(MaximaAround(rows, cols), std::back_inserter(want));
    EXPECT_EQ(RunOn(net, Image()).output, want);
  }
}

TEST(Windows, MaximaThatDoNotContainEachOtherStay) {
  const GraphMaker net = Pyramid({{3, 7}, {5, 5}, {5, 9}});
  EXPECT_EQ(TapsAfterLowering(net), (std::vector<int64_t>{21, 25, 5}));
  std::vector<float> want;
  for (const auto& [rows, cols] : Windows{{3, 7}, {5, 5}, {5, 9}})
    std::ranges::copy(MaximaAround(rows, cols), std::back_inserter(want));
  EXPECT_EQ(RunOn(net, Image()).output, want);

  const Windows rows = {{1, 3}, {1, 5}};
  for (const std::string other : {"strides", "dilations"})
    EXPECT_EQ(TapsAfterLowering(Pyramid(rows, {{other, IntList{2, 1}}})),
              (std::vector<int64_t>{3, 5}));
}

/// A 3x3 convolution of two channels whose outputs lie `dilation` pixels within its padding.
Outcome Dilated(int64_t dilation, int64_t stride, int64_t size, const Tensor& weights,
                const Tensor& image) {
  GraphMaker net;
  const ValueId x = net.Input("image", {1, 2, size, size});
  net.Output(net.Add("Conv", {x, net.Constant(weights)},
                     {{"dilations", IntList{dilation, dilation}},
                      {"strides", IntList{stride, stride}},
                      {"pads", IntList{dilation, dilation, dilation, dilation}}}));
  return RunOn(net, image);
}

TEST(Windows, TapsInThePaddingDisappear) {
  for (const int64_t size : {1, 4, 5}) {
    for (const int64_t stride : {1, 2}) {
      for (const int64_t dilation : {1, 3, 4, 5, 24}) {
        std::mt19937 rng(7);
        const Tensor weights = RandomTensor(rng, {3, 2, 3, 3});
        const Tensor image = RandomTensor(rng, {1, 2, size, size});
        const Outcome got = Dilated(dilation, stride, size, weights, image);
        const int64_t out = (size - 1) / stride + 1;
        ASSERT_EQ(got.output.size(), static_cast<size_t>(3 * out * out));
        for (size_t i = 0; i < got.output.size(); ++i) {
          const auto at = static_cast<int64_t>(i);
          const int64_t o = at / (out * out), y = at / out % out * stride, x = at % out * stride;
          double want = 0;
          for (int64_t t = 0; t < 18; ++t) {
            const int64_t c = t / 9, row = y + (t % 9 / 3 - 1) * dilation;
            const int64_t col = x + (t % 3 - 1) * dilation;
            if (row < 0 || row >= size || col < 0 || col >= size) continue;
            want += double{weights.as<float>()[static_cast<size_t>(o * 18 + t)]} *
                    image.as<float>()[static_cast<size_t>((c * size + row) * size + col)];
          }
          EXPECT_NEAR(got.output[i], want, 1e-5)
              << size << " " << stride << " " << dilation << " " << i;
        }
      }
    }
  }
}

TEST(Windows, OnlyTapsInThePaddingDisappear) {
  const auto taps = [](int64_t dilation, const IntList& pads) {
    std::mt19937 rng(7);
    GraphMaker net;
    net.Output(net.Add(
        "Conv", {net.Input("image", {1, 2, 5, 5}), net.Constant(RandomTensor(rng, {3, 2, 3, 3}))},
        {{"dilations", IntList{dilation, dilation}}, {"pads", pads}}));
    Graph graph = net.graph;
    TrimTaps(graph);
    const Shape& weights = graph.Constant(graph.nodes[0].inputs[1])->shape;
    return IntList{weights[2], weights[3]};
  };
  EXPECT_EQ(taps(4, {4, 4, 4, 4}), (IntList{3, 3}));
  EXPECT_EQ(taps(5, {5, 5, 5, 5}), (IntList{1, 1}));
  EXPECT_EQ(taps(5, {5, 6, 5, 4}), (IntList{1, 2}));
  EXPECT_EQ(taps(5, {5, 4, 5, 10}), (IntList{1, 2}));
  EXPECT_EQ(taps(5, {5, 4, 5, 3}), (IntList{1, 3}));  // pads would be negative
}

/// A mean over 3x3 pixels, behind a Pad of one pixel all around.
Outcome PaddedMean(Attributes attributes, float fill = 0) {
  GraphMaker net;
  Tensor pads(DType::kInt64, {8});
  std::ranges::copy(IntList{0, 0, 1, 1, 0, 0, 1, 1}, pads.as<int64_t>().begin());
  Tensor value(DType::kFloat32, {});
  value.as<float>()[0] = fill;
  const ValueId padded =
      net.Add("Pad", {net.Input("image", {1, 2, kRows, kCols}), net.Constant(std::move(pads)),
                      net.Constant(std::move(value))});
  attributes["kernel_shape"] = IntList{3, 3};
  net.Output(net.Add("AveragePool", {padded}, attributes));
  return RunOn(net, Image());
}

TEST(Windows, MeansTakeZerosAroundTheirInput) {
  const Outcome got = PaddedMean({});
  EXPECT_FALSE(got.Has("Pad"));
  const auto want = AroundEach(3, 3, 0.0f, 0.0f, [](float a, float b) { return a + b / 9; });
  ASSERT_EQ(got.output.size(), want.size());
  for (size_t i = 0; i < want.size(); ++i) EXPECT_NEAR(got.output[i], want[i], 1e-6f) << i;
}

TEST(Windows, MeansThatWouldCountOtherwiseKeepThePad) {
  const IntList ones = {1, 1, 1, 1};
  EXPECT_TRUE(PaddedMean({}, 1).Has("Pad"));
  EXPECT_TRUE(PaddedMean({{"ceil_mode", int64_t{1}}}).Has("Pad"));
  EXPECT_TRUE(PaddedMean({{"pads", ones}}).Has("Pad"));  // of which the pool counts the inner ones
  EXPECT_FALSE(PaddedMean({{"pads", ones}, {"count_include_pad", int64_t{1}}}).Has("Pad"));
  const IntList twos = {2, 2, 2, 2};  // more than a window has room for
  EXPECT_TRUE(PaddedMean({{"pads", twos}, {"count_include_pad", int64_t{1}}}).Has("Pad"));
}

TEST(Windows, PadsThatAddUpToNoWindowStayApart) {
  GraphMaker net;
  net.most_elements = int64_t{1} << 30;
  const ValueId x = net.Input("x", {1, 1, 1, 2});
  const ValueId padded =
      net.AddUnchecked("Pad", {x, net.Constant(Ints({0, 0, 0, 9'000'000, 0, 0, 0, 0}))})[0];
  const ValueId weights = net.Constant(Floats({1, 1, 1, 3}, {1, 1, 1}));
  net.Output(
      net.AddUnchecked("Conv", {padded, weights},
                       {{"pads", IntList{0, 9'000'000, 0, 0}}, {"strides", IntList{1, 2}}})[0]);
  const auto plan = Plan::Compile(Model(net.graph));  // does not crash
  EXPECT_TRUE(plan.ok() || plan.error().code == ErrorCode::kLimit);
}

}  // namespace
}  // namespace deltacnn::testing
