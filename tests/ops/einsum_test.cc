#include <limits>

#include "core/node_model.h"

namespace deltacnn::testing {
namespace {

/// The letters of a term, and how many elements each has.
Shape SizesOf(const std::string& term) {
  Shape shape;
  for (const char c : term) shape.push_back(2 + c % 4);
  return shape;
}

struct Terms {
  std::string a, b, out;
  std::string equation() const { return a + "," + b + "->" + out; }
};

/// The definition: the sum over all values of all letters.
std::vector<double> Reference(const Terms& terms, const Tensor& a, const Tensor& b) {
  std::string letters = terms.out;  // those of the result first, so that its elements come in order
  for (const char c : terms.a + terms.b)
    if (letters.find(c) == letters.npos) letters += c;
  const Shape sizes = SizesOf(letters);
  const auto element = [&](const Tensor& tensor, const std::string& term, const Shape& at) {
    int64_t index = 0;
    for (size_t d = 0; d < term.size(); ++d)
      index = index * tensor.shape[d] + at[letters.find(term[d])];
    return double{tensor.as<float>()[static_cast<size_t>(index)]};
  };
  const int64_t results = ElementCount(SizesOf(terms.out));
  const int64_t each = ElementCount(sizes) / results;
  std::vector<double> want(static_cast<size_t>(results), 0);
  for (int64_t i = 0; i < ElementCount(sizes); ++i) {
    int64_t rest = i;
    Shape at(letters.size());
    for (size_t d = letters.size(); d-- > 0; rest /= sizes[d]) at[d] = rest % sizes[d];
    want[static_cast<size_t>(i / each)] += element(a, terms.a, at) * element(b, terms.b, at);
  }
  return want;
}

TEST(Einsum, MatchesTheDefinition) {
  std::mt19937 rng(4);
  const Terms rows[] = {
      {"ij", "jk", "ik"},       {"ij", "kj", "ki"},       {"bchw", "kc", "bkhw"},
      {"kc", "bchw", "bkhw"},   {"bchw", "c", "bhw"},     {"bchw", "bck", "bkhw"},
      {"bij", "bjk", "bik"},    {"bhid", "bhjd", "bhij"}, {"bhij", "bhjd", "bihd"},
      {"nkctv", "kvw", "nctw"}, {"i", "j", "ij"},         {"i", "j", "ji"},
      {"ij", "ij", "ij"},       {"ij", "ji", "ij"},       {"ij", "ij", ""},
      {"i", "i", ""},           {"", "ij", "ji"},         {"bc", "c", "b"},
      {"c", "bc", "b"},         {"Bb", "bB", "b"},        {"abcde", "edcfg", "gbfa"},
      {"ij", "jk", "i"},        {"ij", "jk", "k"},        {"ij", "kl", "il"},
      {"ij", "k", ""},          {"bchw", "kc", "bk"},
  };
  for (const Terms& terms : rows) {
    for (const std::vector<size_t>& constants : {std::vector<size_t>{}, {0}, {1}, {0, 1}}) {
      SCOPED_TRACE(terms.equation() + ", " + std::to_string(constants.size()) + " constants");
      const OpCase test{
          .op = "Einsum",
          .attributes = {{"equation", terms.equation()}},
          .inputs = {RandomTensor(rng, SizesOf(terms.a)), RandomTensor(rng, SizesOf(terms.b))},
          .constants = constants};
      ExpectNear(RunModel(test, rng), SizesOf(terms.out),
                 Reference(terms, *test.inputs[0], *test.inputs[1]));
    }
  }
}

TEST(Einsum, OneOperandIsMovedAndSummed) {
  std::mt19937 rng(4);
  struct Row {
    const char* equation;
    Terms terms;  // of a product with 1
  };
  const Row rows[] = {
      {"bchw->bhwc", {"bchw", "", "bhwc"}},
      {"ij->ji", {"ij", "", "ji"}},
      {"ij->", {"ij", "", ""}},
      {"bchw->bc", {"bchw", "", "bc"}},
      {"bchw->bhw", {"bchw", "", "bhw"}},
      {"bchw -> wb", {"bchw", "", "wb"}},
      {"ba", {"ba", "", "ab"}},
      {"aB", {"aB", "", "Ba"}},
      {"...ij->...ji", {"pqij", "", "pqji"}},
      {"...->...", {"ij", "", "ij"}},
      {"i...->...", {"ipq", "", "pq"}},
      {"->", {"", "", ""}},
      {"...j->j", {"pqj", "", "j"}},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(row.equation);
    OpCase test{.op = "Einsum",
                .attributes = {{"equation", std::string(row.equation)}},
                .inputs = {RandomTensor(rng, SizesOf(row.terms.a))}};
    const auto want = Reference(row.terms, *test.inputs[0], Floats({}, {1}));
    ExpectNear(RunModel(test, rng), SizesOf(row.terms.out), want);
    test.constants = {0};
    ExpectNear(RunModel(test, rng), SizesOf(row.terms.out), want);
  }
}

TEST(Einsum, EllipsesAndImplicitResultsAreSpelledOut) {
  std::mt19937 rng(4);
  struct Row {
    const char* equation;
    Terms terms;
  };
  const Row rows[] = {
      {"...ij,jk->...ik", {"pij", "jk", "pik"}},
      {"...ij,jk->...ik", {"ij", "jk", "ik"}},
      {"...ij,...jk->...ik", {"pqij", "pqjk", "pqik"}},
      {"...ij,...jk->...ik", {"pqij", "qjk", "pqik"}},
      {"...ij,...jk->...ik", {"jk", "pqki", "pqji"}},
      {"...chw,kc->...khw", {"bchw", "kc", "bkhw"}},
      {"i...j,j->...i", {"ipj", "j", "pi"}},
      {"ij,jk", {"ij", "jk", "ik"}},
      {"kj,ji", {"kj", "ji", "ik"}},
      {"ba,ba", {"ba", "ba", ""}},
      {"...b,ba", {"pqb", "ba", "pqa"}},
  };
  for (const Row& row : rows) {
    for (const std::vector<size_t>& constants : {std::vector<size_t>{}, {0}, {1}, {0, 1}}) {
      SCOPED_TRACE(row.equation);
      const OpCase test{.op = "Einsum",
                        .attributes = {{"equation", std::string(row.equation)}},
                        .inputs = {RandomTensor(rng, SizesOf(row.terms.a)),
                                   RandomTensor(rng, SizesOf(row.terms.b))},
                        .constants = constants};
      ExpectNear(RunModel(test, rng), SizesOf(row.terms.out),
                 Reference(row.terms, *test.inputs[0], *test.inputs[1]));
    }
  }
}

TEST(Einsum, AChangedPixelComputesOnlyThatPixel) {
  std::mt19937 rng(4);
  for (const char* equation : {"bchw, kc -> bkhw", "kc,bchw->bkhw"}) {
    SCOPED_TRACE(equation);
    GraphMaker net;
    const ValueId image = net.Input("image", {1, 4, 6, 5});
    const ValueId weights = net.Constant(RandomTensor(rng, {3, 4}));
    const bool second = equation[0] == 'b';
    net.Output(net.Add("Einsum", {second ? image : weights, second ? weights : image},
                       {{"equation", std::string(equation)}}));
    auto plan = Plan::Compile(Model(net.graph));
    ASSERT_TRUE(plan.ok());
    auto stream = Stream::Create(*plan);
    ASSERT_TRUE(stream.ok());
    std::vector<Tensor> inputs = {RandomTensor(rng, {1, 4, 6, 5})};
    Feed(*stream, inputs);
    inputs[0].as<float>()[7] += 1;
    Feed(*stream, inputs);
    const auto& layers = (*plan)->layers();
    const auto product = std::ranges::find(layers, "Linear", &LayerInfo::op) - layers.begin();
    ASSERT_LT(static_cast<size_t>(product), layers.size());
    EXPECT_EQ(stream->work()[static_cast<size_t>(product)].computed, 1);
  }
}

TEST(Einsum, RejectsWhatIsNoProductOfMatrices) {
  std::mt19937 rng(4);
  OpCase test{.op = "Einsum", .inputs = {RandomTensor(rng, {2, 3}), RandomTensor(rng, {3, 4})}};
  for (const char* equation :
       {"", "->", "ij", "ij->ji", "ij,jk,kl->il", "ii,ik->ik", "ij,jk->iik", "ij,jk->ikl",
        "ij,jk->i\nk", "i1,1k->ik", "ij->jk,ik", "ij,jk->ik->k", "....ij,jk->ik", "..ij,jk->ik",
        "...ij...,jk->ik", "ij,jk->...0ik", "i0j,jk->i0k"}) {
    SCOPED_TRACE(equation);
    test.attributes["equation"] = std::string(equation);
    ExpectRejected(test, "supported: one or two operands");
  }
  test.attributes["equation"] = std::string(",");
  ExpectRejected(test, "[2,3] does not fit");
  for (const char* equation : {"ij,jk->ik", "...ij,j...k->i...k"}) {
    SCOPED_TRACE(equation);
    test.attributes["equation"] = std::string(equation);
    for (const Shape& shape : {Shape{4, 3}, {3}, {}, {3, 0}}) {
      test.inputs[1] = Tensor(DType::kFloat32, shape);
      ExpectRejected(test, ToString(shape) + " does not fit equation '" + equation + "'");
    }
  }
  test.inputs[1] = Tensor(DType::kFloat32, Shape(20, 1));
  ExpectRejected(test, "supported: one or two operands");
  test.inputs[1] = MakeTensor<int64_t>(DType::kInt64, {3, 1}, {1, 2, 3});
  ExpectRejected(test, "int64");
  test.inputs[1] = std::nullopt;
  ExpectRejected(test, "input 1 is missing");
  test.inputs.pop_back();
  ExpectRejected(test, "supported: one or two operands");
}

}  // namespace
}  // namespace deltacnn::testing
