// Streams: what they share and do not share, what they report, and what they must not do.
#include "deltacnn/stream.h"

#include <thread>

#include "conv_net.h"

namespace deltacnn::testing {
namespace {

Stream StreamOf(std::shared_ptr<const Plan> plan, int threads = 1) {
  StreamOptions options;
  options.threads = threads;
  auto stream = Stream::Create(std::move(plan), options);
  EXPECT_TRUE(stream.ok());
  return std::move(stream).value();
}

StepReport StepWith(Stream& stream, const Tensor& input) {
  EXPECT_TRUE(stream.SetInput(0, input).ok());
  const auto report = stream.Step();
  EXPECT_TRUE(report.ok());
  return *report;
}

TEST(Stream, ThreadsDoNotChangeABit) {
  const auto plan = PlanOf(ConvNet());
  std::vector<Stream> streams;
  for (const int threads : {1, 2, 3, 8}) streams.push_back(StreamOf(plan, threads));
  std::mt19937 rng(2);
  Tensor image = RandomTensor(rng, {1, 3, 48, 40});
  for (int frame = 0; frame < 12; ++frame) {
    for (Stream& stream : streams) StepWith(stream, image);
    for (const Stream& stream : streams) {
      EXPECT_EQ(OutputsOf(stream), OutputsOf(streams[0]));
      for (size_t l = 0; l < stream.work().size(); ++l) {
        EXPECT_EQ(stream.work()[l].computed, streams[0].work()[l].computed);
        EXPECT_EQ(stream.work()[l].changed, streams[0].work()[l].changed);
      }
    }
    ChangeBlock(image, rng);
  }
}

/// Runs everything on the calling thread, last task first, under changing thread numbers.
class Backwards final : public Executor {
 public:
  explicit Backwards(int threads) : threads_(threads) {}
  int threads() const override { return threads_; }
  void Run(size_t tasks, Task call, const void* context) override {
    ++runs;
    while (tasks-- > 0) call(context, tasks, static_cast<int>(tasks) % threads_);
  }
  int runs = 0;

 private:
  int threads_;
};

TEST(Stream, RunsOnAnExecutorOfTheCaller) {
  const auto plan = PlanOf(ConvNet());
  StreamOptions options;
  const auto executor = std::make_shared<Backwards>(3);
  options.executor = executor;
  auto brought = Stream::Create(plan, options);
  ASSERT_TRUE(brought.ok());
  Stream own = StreamOf(plan, 1);
  std::mt19937 rng(2);
  Tensor image = RandomTensor(rng, {1, 3, 48, 40});
  for (int frame = 0; frame < 8; ++frame) {
    StepWith(*brought, image);
    StepWith(own, image);
    EXPECT_EQ(OutputsOf(*brought), OutputsOf(own));
    ChangeBlock(image, rng);
  }
  EXPECT_GT(executor->runs, 0);
  options.executor = std::make_shared<Backwards>(0);
  EXPECT_FALSE(Stream::Create(plan, options).ok());
}

TEST(Stream, RefusesAnImpossibleNumberOfThreads) {
  const auto plan = PlanOf(ConvNet());
  for (const int threads : {0, -1, 100'000}) {
    StreamOptions options;
    options.threads = threads;
    EXPECT_FALSE(Stream::Create(plan, options).ok());
  }
}

TEST(Stream, ManyShareAPlanAndNothingElse) {
  const auto plan = PlanOf(ConvNet());
  constexpr unsigned kStreams = 4;
  std::vector<std::vector<std::vector<std::byte>>> alone(kStreams), together(kStreams);
  const auto run = [&](unsigned s) {
    Stream stream = StreamOf(plan, s % 2 == 0 ? 1 : 2);
    std::mt19937 rng(10 + s);
    Tensor image = RandomTensor(rng, {1, 3, 48, 40});
    for (int frame = 0; frame < 10; ++frame) {
      StepWith(stream, image);
      ChangeBlock(image, rng);
    }
    return OutputsOf(stream);
  };
  for (unsigned s = 0; s < kStreams; ++s) alone[s] = run(s);
  std::vector<std::thread> threads;
  for (unsigned s = 0; s < kStreams; ++s) threads.emplace_back([&, s] { together[s] = run(s); });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(together, alone);
}

TEST(Stream, OutlivesTheHandleOfItsPlanAndMoves) {
  auto plan = PlanOf(ConvNet());
  Stream first = StreamOf(plan, 2);
  Stream other = StreamOf(plan);
  plan.reset();
  std::mt19937 rng(3);
  Tensor image = RandomTensor(rng, {1, 3, 48, 40});
  StepWith(first, image);
  const auto want = OutputsOf(first);
  Stream moved = std::move(first);
  EXPECT_EQ(OutputsOf(moved), want);
  EXPECT_FALSE(StepWith(moved, image).dense);
  other = std::move(moved);
  ChangeBlock(image, rng);
  EXPECT_FALSE(StepWith(other, image).dense);
  EXPECT_NE(OutputsOf(other), want);
}

TEST(Stream, ResetMakesTheNextStepDense) {
  Stream stream = StreamOf(PlanOf(ConvNet()));
  std::mt19937 rng(4);
  const Tensor image = RandomTensor(rng, {1, 3, 48, 40});
  EXPECT_TRUE(StepWith(stream, image).dense);
  const auto want = OutputsOf(stream);
  EXPECT_FALSE(StepWith(stream, image).dense);
  stream.Reset();
  const StepReport report = StepWith(stream, image);
  EXPECT_TRUE(report.dense);
  EXPECT_EQ(report.macs_share, 1);
  EXPECT_EQ(report.input_changed, 1);
  EXPECT_EQ(OutputsOf(stream), want);
}

TEST(Stream, StepsWithoutAnyInputSeeZeros) {
  const auto plan = PlanOf(ConvNet());
  Stream fed = StreamOf(plan);
  Stream unfed = StreamOf(plan);
  StepWith(fed, Tensor(DType::kFloat32, {1, 3, 48, 40}));
  EXPECT_TRUE(unfed.Step()->dense);
  EXPECT_EQ(OutputsOf(unfed), OutputsOf(fed));
}

TEST(Stream, RefusesInputsThatDoNotFit) {
  Stream stream = StreamOf(PlanOf(ConvNet()));
  const Tensor image(DType::kFloat32, {1, 3, 48, 40});
  EXPECT_FALSE(stream.SetInput(1, image).ok());
  const auto wrong_shape = stream.SetInput(0, Tensor(DType::kFloat32, {1, 3, 40, 48}));
  ASSERT_FALSE(wrong_shape.ok());
  EXPECT_EQ(wrong_shape.error().code, ErrorCode::kUsage);
  EXPECT_NE(wrong_shape.error().message.find("'image'"), std::string::npos);
  EXPECT_NE(wrong_shape.error().message.find("[1,3,48,40]"), std::string::npos);
  EXPECT_FALSE(stream.SetInput(0, Tensor(DType::kInt32, {1, 3, 48, 40})).ok());
  EXPECT_FALSE(stream.SetInput(0, Tensor(DType::kFloat32, {1, 3, 48, 40, 1})).ok());
  EXPECT_FALSE(stream.Image(1).ok());
}

/// An image of either order, a 1x1 convolution whose weights make every channel count.
GraphMaker ImageNet(bool nhwc) {
  std::mt19937 rng(5);
  GraphMaker net;
  const ValueId image = net.Input("image", nhwc ? Shape{1, 7, 70, 3} : Shape{1, 3, 7, 70});
  const ValueId planes =
      nhwc ? net.Add("Transpose", {image}, {{"perm", IntList{0, 3, 1, 2}}}) : image;
  net.Output(net.Conv(rng, planes, 4, 3, 1, 1));
  return net;
}

TEST(Stream, ImageIsAWindowOntoTheInput) {
  for (const bool nhwc : {false, true}) {
    const auto plan = PlanOf(ImageNet(nhwc));
    Stream written = StreamOf(plan);
    Stream set = StreamOf(plan);
    std::mt19937 rng(6);
    Tensor tensor = RandomTensor(rng, plan->inputs()[0].shape);
    StepWith(written, tensor);
    StepWith(set, tensor);
    const auto image = written.Image(0);
    ASSERT_TRUE(image.ok());
    EXPECT_EQ(image->height, 7);
    EXPECT_EQ(image->width, 70);
    EXPECT_EQ(image->channels, 3);
    for (const auto& [y, x] : {std::pair{0, 0}, {6, 69}, {3, 64}}) {
      for (int c = 0; c < 3; ++c) {
        const float value = static_cast<float>(c) + 0.5f;
        image->Pixel(y, x)[c * image->channel_stride] = value;
        tensor
            .as<float>()[static_cast<size_t>(nhwc ? (y * 70 + x) * 3 + c : (c * 7 + y) * 70 + x)] =
            value;
      }
      image->Mark(y, x);
    }
    const auto report = written.Step();
    ASSERT_TRUE(report.ok());
    EXPECT_DOUBLE_EQ(report->input_changed, 3.0 / 490);
    StepWith(set, tensor);
    EXPECT_EQ(OutputsOf(written), OutputsOf(set));
    EXPECT_EQ(written.Step()->input_changed, 0) << "the step clears the marks";
  }
}

TEST(Stream, ImageIsForImagesOnly) {
  for (const auto& [shape, dtype] : {std::pair{Shape{1, 8}, DType::kFloat32},
                                     {Shape{2, 3, 8, 8}, DType::kFloat32},
                                     {Shape{1, 3, 8, 8}, DType::kInt32}}) {
    GraphMaker net;
    net.Output(net.Add("Identity", {net.Input("x", shape, dtype)}));
    Stream stream = StreamOf(PlanOf(net));
    EXPECT_FALSE(stream.Image(0).ok()) << ToString(shape);
  }
}

TEST(Stream, OutputsMayBeConstantsOrInputs) {
  GraphMaker net;
  const ValueId image = net.Input("image", {1, 2, 3, 4});
  const ValueId vector = net.Input("vector", {5});
  const ValueId constant = net.Constant(Floats({2}, {7, 8}));
  net.Output(constant);
  net.Output(image);
  net.Output(net.Add("Shape", {image}));
  net.Output(vector);
  net.Output(net.Add("Add", {constant, constant}));
  net.Output(image);
  Stream stream = StreamOf(PlanOf(net));
  std::mt19937 rng(7);
  for (int frame = 0; frame < 3; ++frame) {
    const Tensor pixels = RandomTensor(rng, {1, 2, 3, 4});
    const Tensor values = RandomTensor(rng, {5});
    ASSERT_TRUE(stream.SetInput(1, values).ok());
    StepWith(stream, pixels);
    EXPECT_EQ(BytesOf(stream.Output(0)), Floats({2}, {7, 8}).bytes);
    EXPECT_EQ(BytesOf(stream.Output(1)), pixels.bytes);
    EXPECT_EQ(BytesOf(stream.Output(2)), Ints({1, 2, 3, 4}).bytes);
    EXPECT_EQ(BytesOf(stream.Output(3)), values.bytes);
    EXPECT_EQ(BytesOf(stream.Output(4)), Floats({2}, {14, 16}).bytes);
    EXPECT_EQ(BytesOf(stream.Output(5)), pixels.bytes);
  }
}

TEST(Stream, OutputShapesMayDependOnTheData) {
  GraphMaker net;
  const ValueId scores = net.Input("scores", {1, 1, 3});
  const ValueId boxes = net.Constant(Floats({1, 3, 4}, {0, 0, 1, 1, 0, 2, 1, 3, 0, 4, 1, 5}));
  const ValueId kept =
      net.AddUnchecked("NonMaxSuppression",
                       {boxes, scores, net.Constant(Ints({10})), net.Constant(Floats({1}, {0.5f})),
                        net.Constant(Floats({1}, {0.5f}))})[0];
  const ValueId twice = net.AddUnchecked("Concat", {kept, kept}, {{"axis", int64_t{0}}})[0];
  net.Output(twice);
  net.Output(net.Add("Relu", {scores}));
  const auto plan = PlanOf(net);
  ASSERT_NE(plan, nullptr);
  Stream stream = StreamOf(plan);
  const auto rows = [&](const std::vector<float>& values) {
    StepWith(stream, Floats({1, 1, 3}, values));
    const TensorView view = stream.Output(0);
    EXPECT_EQ(view.shape[1], 3);
    const auto elements = view.as<int64_t>();
    IntList kept_boxes;
    for (size_t i = 2; i < elements.size(); i += 3) kept_boxes.push_back(elements[i]);
    return kept_boxes;
  };
  EXPECT_EQ(rows({0.9f, 0.1f, 0.8f}), (IntList{0, 2, 0, 2}));
  EXPECT_EQ(rows({0, 0, 0}), IntList{});
  EXPECT_EQ(rows({0.6f, 0.9f, 0.8f}), (IntList{1, 2, 0, 1, 2, 0}));
  EXPECT_EQ(BytesOf(stream.Output(1)), Floats({1, 1, 3}, {0.6f, 0.9f, 0.8f}).bytes);
}

TEST(Stream, NothingChangedMeansNothingDone) {
  Stream stream = StreamOf(PlanOf(ConvNet()), 2);
  std::mt19937 rng(8);
  const Tensor image = RandomTensor(rng, {1, 3, 48, 40});
  StepWith(stream, image);
  const auto want = OutputsOf(stream);
  const StepReport report = StepWith(stream, image);
  EXPECT_FALSE(report.dense);
  EXPECT_EQ(report.macs_share, 0);
  EXPECT_EQ(report.input_changed, 0);
  for (const LayerWork& layer : stream.work()) {
    EXPECT_EQ(layer.computed, 0);
    EXPECT_EQ(layer.changed, 0);
  }
  EXPECT_EQ(OutputsOf(stream), want);
}

/// The work of the convolutions, in order.
std::vector<LayerWork> ConvWork(const Stream& stream) {
  std::vector<LayerWork> work;
  const auto layers = stream.plan().layers();
  for (size_t l = 0; l < layers.size(); ++l)
    if (layers[l].op.starts_with("Conv")) work.push_back(stream.work()[l]);
  return work;
}

TEST(WorkLog, CountsTheCellsThatAChangeReaches) {
  std::mt19937 rng(9);
  GraphMaker net;
  const ValueId image = net.Input("image", {1, 3, 16, 16});
  const ValueId a = net.Conv(rng, image, 8, 3, 1, 1);
  const ValueId b = net.Conv(rng, a, 8, 3, 2, 1);
  const ValueId c = net.Conv(rng, b, 4, 1);
  net.Output(c);
  Stream stream = StreamOf(PlanOf(net));
  Tensor tensor = RandomTensor(rng, {1, 3, 16, 16});
  const auto check = [&](const std::vector<int64_t>& want) {
    const auto work = ConvWork(stream);
    ASSERT_EQ(work.size(), want.size());
    for (size_t l = 0; l < want.size(); ++l) {
      EXPECT_EQ(work[l].computed, want[l]) << "layer " << l;
      EXPECT_EQ(work[l].changed, want[l]) << "layer " << l;
    }
  };
  EXPECT_EQ(stream.plan().macs(), 256 * 216 + 64 * 576 + 64 * 32);
  StepWith(stream, tensor);
  check({256, 64, 64});

  const auto change = [&](int y, int x) {
    tensor.as<float>()[static_cast<size_t>((16 + y) * 16 + x)] += 1;  // of one channel
  };
  change(5, 6);  // reaches rows 4-6 and columns 5-7, of which rows 2-3 and columns 2-4 are made
  EXPECT_DOUBLE_EQ(StepWith(stream, tensor).macs_share,
                   (9.0 * 216 + 6 * 576 + 6 * 32) / (256 * 216 + 64 * 576 + 64 * 32));
  check({9, 6, 6});
  change(0, 0);
  EXPECT_DOUBLE_EQ(StepWith(stream, tensor).input_changed, 1.0 / 256);
  check({4, 4, 4});
  change(15, 15);
  StepWith(stream, tensor);
  check({4, 1, 1});
  change(3, 3);
  change(3, 12);
  EXPECT_DOUBLE_EQ(StepWith(stream, tensor).input_changed, 2.0 / 256);
  check({18, 10, 10});
}

TEST(WorkLog, ChangesThatALayerSwallowsGoNoFurther) {
  GraphMaker net;
  const ValueId image = net.Input("image", {1, 1, 8, 8});
  const ValueId one = net.Constant(Floats({1, 1, 1, 1}, {1}));
  const ValueId a = net.Add("Conv", {image, one, net.Constant(Floats({1}, {-10}))});
  const ValueId b = net.Add("Conv", {net.Add("Relu", {a}), one});
  net.Output(b);
  Stream stream = StreamOf(PlanOf(net));
  Tensor tensor(DType::kFloat32, {1, 1, 8, 8});
  StepWith(stream, tensor);
  tensor.as<float>()[20] = 5;  // still negative before the Relu
  StepWith(stream, tensor);
  EXPECT_EQ(ConvWork(stream)[0].computed, 1);
  EXPECT_EQ(ConvWork(stream)[0].changed, 0);
  EXPECT_EQ(ConvWork(stream)[1].computed, 0);
  tensor.as<float>()[20] = 15;
  StepWith(stream, tensor);
  EXPECT_EQ(ConvWork(stream)[0].changed, 1);
  EXPECT_EQ(ConvWork(stream)[1].computed, 1);
  EXPECT_EQ(stream.Output(0).as<float>()[20], 5);
}

TEST(WorkLog, CountsChangesOfRowsOfManyWords) {
  // Half of what the ReLU sees is negative: many pixels are computed and stay what they were.
  std::mt19937 rng(12);
  constexpr int64_t kRows = 5, kCols = 300;
  GraphMaker net;
  const ValueId image = net.Input("image", {1, 1, kRows, kCols});
  net.Output(net.Add("Relu", {net.Conv(rng, image, 1, 3, 1, 1)}));
  Stream stream = StreamOf(PlanOf(net));
  Tensor tensor = RandomTensor(rng, {1, 1, kRows, kCols});
  StepWith(stream, tensor);
  for (int round = 0; round < 40; ++round) {
    const auto before = OutputsOf(stream)[0];
    for (int i = 0; i < 1 + round / 2; ++i)
      tensor.as<float>()[rng() % (kRows * kCols)] = static_cast<float>(rng() % 100) / 50 - 1;
    StepWith(stream, tensor);
    const auto after = OutputsOf(stream)[0];
    int64_t changed = 0;
    for (size_t i = 0; i < after.size(); i += sizeof(float))
      changed += std::memcmp(&before[i], &after[i], sizeof(float)) != 0 ? 1 : 0;
    ASSERT_EQ(ConvWork(stream)[0].changed, changed) << round;
    ASSERT_GT(ConvWork(stream)[0].computed, changed) << round;
    Stream fresh = StreamOf(PlanOf(net));
    StepWith(fresh, tensor);
    ASSERT_EQ(after, OutputsOf(fresh)[0]) << round;
  }
}

TEST(Stream, ScatteredChangesAreComputedDenselyWhereThatIsCheaper) {
  // A cheap layer and changes in every third pixel: a run each.
  std::mt19937 rng(13);
  GraphMaker net;
  const ValueId image = net.Input("image", {1, 1, 40, 60});
  net.Output(net.Conv(rng, image, 1, 1));
  Stream stream = StreamOf(PlanOf(net));
  Tensor tensor = RandomTensor(rng, {1, 1, 40, 60});
  StepWith(stream, tensor);
  const auto step = [&](size_t every) {
    for (size_t i = 0; i < 40 * 60; i += every) tensor.as<float>()[i] += 1;
    return StepWith(stream, tensor).macs_share;
  };
  EXPECT_LT(step(3), 0.5);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(step(3), 1);
  EXPECT_EQ(step(200), 1);  // dense once more, to keep its state
  EXPECT_LT(step(200), 0.01);
}

TEST(WorkLog, SaysWhereAStepWorked) {
  std::mt19937 rng(10);
  GraphMaker net;
  const ValueId image = net.Input("image", {1, 3, 20, 32});
  const ValueId a = net.Conv(rng, image, 8, 1);
  const ValueId b = net.Conv(rng, a, 8, 2, 2);
  net.Output(b);
  Stream stream = StreamOf(PlanOf(net));
  EXPECT_EQ(stream.work_map().rows, 0);
  ASSERT_TRUE(stream.TrackWorkMap().ok());
  Tensor tensor = RandomTensor(rng, {1, 3, 20, 32});
  StepWith(stream, tensor);
  const WorkMap& map = stream.work_map();
  ASSERT_EQ(map.rows, 3);  // the last one is cut in half
  ASSERT_EQ(map.columns, 4);
  EXPECT_EQ(map.share, std::vector<float>(12, 1.0f));

  const auto change = [&](int y, int x) {
    tensor.as<float>()[static_cast<size_t>(y * 32 + x)] += 1;  // of one channel
  };
  change(17, 11);  // a pixel of 8x4 ones in its cell, and one of 4x2
  StepWith(stream, tensor);
  const double macs_a = 20 * 32 * 24;
  const double macs_b = 10 * 16 * 256;
  std::vector<float> want(12, 0.0f);
  want[9] = static_cast<float>((macs_a / 32 + macs_b / 8) / (macs_a + macs_b));
  for (size_t i = 0; i < want.size(); ++i) EXPECT_NEAR(map.share[i], want[i], 1e-6) << i;

  for (int y = 0; y < 20; ++y)
    for (int x = 0; x < 32; ++x) change(y, x);
  EXPECT_FALSE(StepWith(stream, tensor).dense);
  for (const float share : map.share) EXPECT_NEAR(share, 1, 1e-5);
  StepWith(stream, tensor);
  for (const float share : map.share) EXPECT_EQ(share, 0);
}

TEST(WorkLog, WantsAPicture) {
  GraphMaker net;
  net.Output(net.Add("Relu", {net.Input("x", {4, 4})}));
  EXPECT_EQ(StreamOf(PlanOf(net)).TrackWorkMap().error().code, ErrorCode::kUnsupported);
}

}  // namespace
}  // namespace deltacnn::testing
