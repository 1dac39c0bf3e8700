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

TEST(Operators, AllRunAsAModel) {
  std::mt19937 rng(1);
  for (const NodeCase& c : AllNodeCases()) {
    SCOPED_TRACE(c.test.op);
    const Tensor output = RunModel(c.test, rng);
    if (c.want.empty()) continue;
    const auto got = Doubles(output);
    ASSERT_EQ(got.size(), c.want.size());
    for (size_t i = 0; i < got.size(); ++i) {
      if (!std::isfinite(c.want[i])) {
        EXPECT_TRUE(std::isnan(got[i]) == std::isnan(c.want[i]));
      } else {
        EXPECT_NEAR(got[i], c.want[i], 1e-5 * (1 + std::abs(c.want[i]))) << "element " << i;
      }
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
