// Video in, boxes out.
//   c++ -std=c++20 video.cc $(pkg-config --cflags --libs deltacnn_vision) -o video
//   ./video model.onnx clip.mp4            # or rtsp://camera/1, or /dev/video0
#include <deltacnn/vision.h>

#include <cstdio>

int main(int argc, char** argv) {
  if (argc != 3) return std::fprintf(stderr, "usage: video MODEL.onnx VIDEO\n"), 2;
  const auto fail = [](const deltacnn::Error& error) {
    std::fprintf(stderr, "video: %s\n", error.message.c_str());
    return 1;
  };
  const auto model = deltacnn::VisionModel::Load(argv[1]);
  if (!model.ok()) return fail(model.error());
  const auto policy = deltacnn::VideoPolicy::Find("balanced");
  if (!policy.ok()) return fail(policy.error());
  auto camera = deltacnn::Pipeline::Create(*model, *policy);
  if (!camera.ok()) return fail(camera.error());
  auto source = deltacnn::VideoSource::Open(argv[2]);
  if (!source.ok()) return fail(source.error());

  deltacnn::Answer answer;
  for (int number = 0;; ++number) {
    const auto frame = source->Next();
    if (!frame.ok()) return fail(frame.error());
    if (!*frame) return 0;  // the end
    const auto report = camera->Run(**frame, answer);
    if (!report.ok()) return fail(report.error());
    std::printf("frame %d, %.1f %% of the dense work\n", number, 100 * report->macs_share);
    for (const deltacnn::Detection& object : answer.detections) {
      std::printf("  %s %.2f at (%.0f, %.0f)-(%.0f, %.0f)\n",
                  model->preset.Label(object.class_id).c_str(), object.score, object.x1, object.y1,
                  object.x2, object.y2);
    }
  }
}
