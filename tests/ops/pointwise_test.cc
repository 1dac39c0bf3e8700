#include <limits>

#include "harness.h"

namespace deltacnn::testing {
namespace {

TEST(Pointwise, CeluNeedsAPositiveAlpha) {
  OpCase test{.op = "Celu", .inputs = {Floats({1}, {1})}};
  using Limits = std::numeric_limits<float>;
  for (const float alpha : {0.0f, -1.0f, Limits::infinity(), Limits::quiet_NaN()}) {
    test.attributes["alpha"] = alpha;
    ExpectRejected(test, "is no positive number");
  }
}

}  // namespace
}  // namespace deltacnn::testing
