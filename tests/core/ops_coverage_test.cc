// Every operator is planned and run as part of a model at least once.
#include <set>

#include "op_cases.h"

namespace deltacnn::testing {
namespace {

TEST(Operators, AllHaveACase) {
  std::set<std::string_view> covered;
  const auto cases = AllNodeCases();
  for (const NodeCase& c : cases) covered.insert(c.test.op);
  for (const OpDef& op : AllOps()) EXPECT_EQ(covered.contains(op.type), !op.internal) << op.type;
}

std::vector<Tensor> InputsOf(const OpCase& test) {
  std::vector<Tensor> inputs;
  for (size_t i = 0; i < test.inputs.size(); ++i) {
    const bool constant = std::ranges::find(test.constants, i) != test.constants.end();
    if (test.inputs[i] && !constant) inputs.push_back(*test.inputs[i]);
  }
  return inputs;
}

void Feed(Stream& stream, const std::vector<Tensor>& inputs) {
  for (size_t i = 0; i < inputs.size(); ++i) ASSERT_TRUE(stream.SetInput(i, inputs[i]).ok());
  const auto report = stream.Step();
  ASSERT_TRUE(report.ok()) << report.error().message;
}

TEST(Operators, AllRunAsAModel) {
  std::mt19937 rng(1);
  for (const NodeCase& c : AllNodeCases()) {
    SCOPED_TRACE(c.test.op);
    auto plan = Plan::Compile(Model(ModelGraph(c.test)));
    ASSERT_TRUE(plan.ok()) << plan.error().message;
    auto stream = Stream::Create(*plan);
    ASSERT_TRUE(stream.ok());
    std::vector<Tensor> inputs = InputsOf(c.test);
    Feed(*stream, inputs);
    if (!c.want.empty()) {
      const auto got = Doubles(stream->Output(0));
      ASSERT_EQ(got.size(), c.want.size());
      for (size_t i = 0; i < got.size(); ++i) {
        if (!std::isfinite(c.want[i])) {
          EXPECT_TRUE(std::isnan(got[i]) == std::isnan(c.want[i]));
        } else {
          EXPECT_NEAR(got[i], c.want[i], 1e-5 * (1 + std::abs(c.want[i]))) << "element " << i;
        }
      }
    }
    for (int step = 0; step < 4; ++step) {
      for (Tensor& input : inputs) Perturb(input, rng);
      Feed(*stream, inputs);
      auto fresh = Stream::Create(*plan);
      ASSERT_TRUE(fresh.ok());
      Feed(*fresh, inputs);
      EXPECT_EQ(OutputsOf(*stream), OutputsOf(*fresh));
    }
  }
}

TEST(Operators, InternalOnesAreNotForModels) {
  for (const OpDef& op : AllOps()) {
    if (!op.internal) continue;
    const OpCase test{.op = std::string(op.type), .inputs = {Image({1, 2, 4, 4})}};
    EXPECT_FALSE(Plan::Compile(Model(ModelGraph(test))).ok()) << op.type;
    EXPECT_EQ(Plan::Check(Model(ModelGraph(test))).size(), 1u) << op.type;
  }
}

}  // namespace
}  // namespace deltacnn::testing
