// Memory: steps take none, and where the system has none there is an error, not an end.
#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <new>

#include "conv_net.h"
#include "onnx_writer.h"

namespace {

std::atomic<int64_t> allocations{0};
std::atomic<int64_t> failing{-1};  // the number of the one allocation that fails

void* Take(size_t size, size_t alignment) {
  if (allocations++ == failing) return nullptr;
  return std::aligned_alloc(alignment, (size / alignment + 1) * alignment);
}

}  // namespace

// Every allocation of this program counts and may fail. (Not inline: compilers warn where they see
// that memory comes from malloc.)
#define DELTACNN_HOOK [[gnu::noinline]]
DELTACNN_HOOK void* operator new(size_t size) {
  if (void* memory = Take(size, alignof(std::max_align_t))) return memory;
  throw std::bad_alloc();
}
DELTACNN_HOOK void* operator new(size_t size, const std::nothrow_t&) noexcept {
  return Take(size, alignof(std::max_align_t));
}
DELTACNN_HOOK void* operator new(size_t size, std::align_val_t alignment) {
  if (void* memory = Take(size, static_cast<size_t>(alignment))) return memory;
  throw std::bad_alloc();
}
DELTACNN_HOOK void operator delete(void* memory) noexcept { std::free(memory); }
DELTACNN_HOOK void operator delete(void* memory, size_t) noexcept { std::free(memory); }
DELTACNN_HOOK void operator delete(void* memory, std::align_val_t) noexcept { std::free(memory); }
DELTACNN_HOOK void operator delete(void* memory, size_t, std::align_val_t) noexcept {
  std::free(memory);
}
#undef DELTACNN_HOOK

namespace deltacnn::testing {
namespace {

TEST(Memory, NothingIsAllocatedAfterTheFirstStep) {
  const Policy approximate{.reach = 2, .cutoff = 0.1f, .strong = 0.2f, .refresh = 8};
  for (const auto& [threads, policy] :
       {std::pair{1, Policy{}}, {3, Policy{}}, {1, approximate}, {3, approximate}}) {
    auto created = Stream::Create(PlanOf(ConvNet()), {.threads = threads, .policy = policy});
    ASSERT_TRUE(created.ok());
    Stream& stream = *created;
    std::mt19937 rng(10);
    Tensor image = RandomTensor(rng, {1, 3, 48, 40});
    ASSERT_TRUE(stream.SetInput(0, image).ok() && stream.Step().ok());
    const int64_t before = allocations;
    for (int step = 0; step < 200; ++step) {
      switch (rng() % 4) {
        case 0:
          break;
        case 1:
          image.as<float>()[rng() % 5760] += 1;
          break;
        case 2:
          ChangeBlock(image, rng);
          break;
        default:
          for (float& value : image.as<float>()) value = -value;
      }
      if (!stream.SetInput(0, image).ok() || !stream.Step().ok()) FAIL();
    }
    EXPECT_EQ(allocations - before, 0) << threads << " threads";
  }
}

/// Calls `use` again and again, each time with another of its allocations failing, until all have.
/// `use` returns whether it got what it wanted.
template <class Use>
void FailEveryAllocation(Use&& use) {
  allocations = 0;
  ASSERT_TRUE(use());
  const int64_t count = allocations;
  ASSERT_GT(count, 0);
  // Of many, a sample: the first ones, then every so many.
  for (int64_t n = 0; n < count; n += 1 + n / 200) {
    allocations = 0;
    failing = n;
    (void)use();  // an exception would end the test, std::terminate the program
    failing = -1;
  }
  EXPECT_TRUE(use());
}

TEST(Memory, ThatIsMissingIsAnError) {
  const std::string bytes = OnnxBytes(ConvNet().graph);
  FailEveryAllocation([&] {
    const auto model = Model::Parse(bytes);
    EXPECT_TRUE(model.ok() || model.error().message.find("memory") != std::string::npos)
        << model.error().message;
    return model.ok();
  });
  const auto model = Model::Parse(bytes);
  ASSERT_TRUE(model.ok());
  FailEveryAllocation([&] { return Plan::Compile(**model).ok(); });
  FailEveryAllocation([&] { return Plan::Check(**model).empty(); });
  const auto plan = Plan::Compile(**model);
  ASSERT_TRUE(plan.ok());
  const Policy policy{.reach = 2, .cutoff = 0.1f, .strong = 0.2f, .background = 2};
  FailEveryAllocation(
      [&] { return Stream::Create(*plan, {.threads = 3, .policy = policy, .budget_ms = 5}).ok(); });
}

/// Outputs the sum of the positions that are not 0.
std::string SumOfPositions() {
  GraphMaker net;
  const ValueId x = net.Input("x", {64});
  const ValueId positions = net.AddUnchecked("NonZero", {x})[0];
  net.Output(net.AddUnchecked("ReduceSum", {positions, net.Constant(Ints({1}))},
                              {{"keepdims", int64_t{0}}})[0]);
  return OnnxBytes(net.graph);
}

TEST(Memory, ThatIsMissingInAStepLeavesNothingStale) {
  const auto model = Model::Parse(SumOfPositions());
  ASSERT_TRUE(model.ok()) << model.error().message;
  const auto plan = Plan::Compile(**model);
  ASSERT_TRUE(plan.ok()) << plan.error().message;
  auto stream = Stream::Create(*plan);
  ASSERT_TRUE(stream.ok());
  Tensor x(DType::kFloat32, {64});
  const auto step = [&](int at) {
    x.as<float>()[static_cast<size_t>(at)] = 1;
    return stream->SetInput(0, x).ok() && stream->Step().ok();
  };
  ASSERT_TRUE(step(0));
  int64_t want = 0;
  int failures = 0;
  for (int at = 1; at < 64; ++at) {
    want += at;
    allocations = 0;
    failing = 3 * at;
    failures += step(at) ? 0 : 1;
    failing = -1;
    ASSERT_TRUE(stream->Step().ok());
    EXPECT_EQ(stream->Output(0).as<int64_t>()[0], want);
  }
  EXPECT_GT(failures, 20);
}

TEST(Memory, ThatIsMissingForRegionsNamesThePicture) {
  const Policy policy{.reach = 2, .cutoff = 0.1f, .background = 2};
  auto stream = Stream::Create(PlanOf(ConvNet()), {.policy = policy});
  ASSERT_TRUE(stream.ok());
  const std::vector<Region> regions(100, Region{4, 4, 8, 8});
  for (const int64_t n : {0, 1, 2, 3}) {
    allocations = 0;
    failing = n;
    stream->SetFocus(regions);
    const auto strict = stream->focus();
    failing = -1;
    ASSERT_FALSE(strict.empty());
    EXPECT_TRUE(strict.size() >= regions.size() || strict[0].x1 == kEverywhere.x1);
  }
}

}  // namespace
}  // namespace deltacnn::testing
