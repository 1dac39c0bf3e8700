// Steps a model over frames that the caller brings: here two pictures that differ in one square.
//   c++ -std=c++20 step.cc $(pkg-config --cflags --libs --static deltacnn) -o step && ./step
//   model.onnx
#include <deltacnn/stream.h>

#include <cstdio>

int main(int argc, char** argv) {
  if (argc != 2) return std::fprintf(stderr, "usage: step MODEL.onnx\n"), 2;
  const auto fail = [](const deltacnn::Error& error) {
    std::fprintf(stderr, "step: %s\n", error.message.c_str());
    return 1;
  };
  const auto model = deltacnn::Model::Load(argv[1]);
  if (!model.ok()) return fail(model.error());
  const auto plan = deltacnn::Plan::Compile(**model);
  if (!plan.ok()) return fail(plan.error());
  auto camera = deltacnn::Stream::Create(*plan, {.threads = 2});
  if (!camera.ok()) return fail(camera.error());
  const auto picture = camera->Image(0);
  if (!picture.ok()) return fail(picture.error());

  for (int frame = 0; frame < 2; ++frame) {
    // Write the pixels that changed, and say which they were. The first step computes everything.
    for (int y = 0; y < 16 && frame > 0; ++y) {
      for (int x = 0; x < 16; ++x) {
        for (int c = 0; c < picture->channels; ++c)
          picture->Pixel(y, x)[c * picture->channel_stride] = 1.0f;
        picture->Mark(y, x);
      }
    }
    const auto report = camera->Step();
    if (!report.ok()) return fail(report.error());
    std::printf("frame %d: %.1f %% of the dense work\n", frame, 100 * report->macs_share);
  }
  const deltacnn::TensorView output = camera->Output(0);
  std::printf("output 0: %s\n", deltacnn::ToString(output.shape).c_str());
}
