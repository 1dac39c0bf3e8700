#include "loader.h"

#include <sched.h>

#include <algorithm>
#include <charconv>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>

#include "terminal.h"

namespace deltacnn::cli {
namespace {

/// Those that this process may run on: a container or taskset may leave it only some.
int CoreCount() {
  cpu_set_t cores;
  if (sched_getaffinity(0, sizeof(cores), &cores) == 0) return CPU_COUNT(&cores);
  return static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
}

/// Empty if `text` is not dimensions joined by 'x'.
Shape ParseDimensions(std::string_view text) {
  Shape shape;
  while (true) {
    int64_t dim = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), dim);
    if (error != std::errc() || dim < 1) return {};
    shape.push_back(dim);
    text.remove_prefix(static_cast<size_t>(end - text.data()));
    if (text.empty()) return shape;
    if (text[0] != 'x' && text[0] != ',') return {};
    text.remove_prefix(1);
  }
}

/// Empty if `text` is not numbers joined by commas.
std::vector<double> ParseNumbers(std::string_view text) {
  std::vector<double> numbers;
  while (true) {
    double number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error != std::errc()) return {};
    numbers.push_back(number);
    text.remove_prefix(static_cast<size_t>(end - text.data()));
    if (text.empty()) return numbers;
    if (text[0] != ',') return {};
    text.remove_prefix(1);
  }
}

/// Whether `shape` only fills in what `declared` leaves open.
bool Fits(const Shape& shape, const Shape& declared) {
  return declared.empty() || std::ranges::equal(shape, declared, [](int64_t dim, int64_t wanted) {
           return wanted < 0 || dim == wanted;
         });
}

/// "NAME=1x3x640x640" for each input; kUsage if malformed.
Result<std::map<std::string, Shape>> ParseShapes(const std::vector<std::string>& texts) {
  std::map<std::string, Shape> shapes;
  for (const std::string& text : texts) {
    const auto pair = ParseKeyValue(text, "--shape");
    if (!pair.ok()) return pair.error();
    Shape shape = ParseDimensions(pair->value);
    if (shape.empty())
      return Error{ErrorCode::kUsage,
                   "--shape: '" + pair->value + "' is no shape such as 1x3x640x640"};
    DELTACNN_RETURN_IF_ERROR(AddValue(shapes, pair->key, std::move(shape), "--shape"));
  }
  return shapes;
}

Result<std::map<std::string, std::vector<double>>> ParseValues(
    const std::vector<std::string>& texts) {
  std::map<std::string, std::vector<double>> values;
  for (const std::string& text : texts) {
    const auto pair = ParseKeyValue(text, "--value");
    if (!pair.ok()) return pair.error();
    std::vector<double> numbers = ParseNumbers(pair->value);
    if (numbers.empty())
      return Error{ErrorCode::kUsage,
                   "--value: '" + pair->value + "' is no list of numbers such as 640,640"};
    DELTACNN_RETURN_IF_ERROR(AddValue(values, pair->key, std::move(numbers), "--value"));
  }
  return values;
}

}  // namespace

Result<KeyValue> ParseKeyValue(const std::string& text, const std::string& option) {
  const size_t split = text.find('=');
  if (split == std::string::npos || split == 0 || split + 1 == text.size())
    return Error{ErrorCode::kUsage, option + ": '" + text + "' is not of the form NAME=VALUE"};
  return KeyValue{text.substr(0, split), text.substr(split + 1)};
}

int ThreadCount(const ModelArguments& arguments) {
  return arguments.threads > 0 ? arguments.threads : CoreCount();
}

std::shared_ptr<Executor> MakeExecutor(const ModelArguments& arguments) {
  const int threads = ThreadCount(arguments);
  if (const int cores = CoreCount(); threads > cores) {
    Note("--threads {}: more threads than cores are slower; cores for this process: {}", threads,
         cores);
  }
  return MakeThreadPool(threads);
}

Result<PlanOptions> PlanOptionsOf(const ModelArguments& arguments) {
  auto shapes = ParseShapes(arguments.shapes);
  if (!shapes.ok()) return shapes.error();
  auto values = ParseValues(arguments.values);
  if (!values.ok()) return values.error();
  PlanOptions options;
  options.input_shapes = std::move(*shapes);
  options.input_values = std::move(*values);
  options.isa = arguments.isa;
  if (arguments.weights == "bfloat16") options.weights = WeightFormat::kBfloat16;
  return options;
}

Result<LoadedModel> LoadModel(const ModelArguments& arguments,
                              std::map<std::string, Shape> shapes) {
  auto options = PlanOptionsOf(arguments);
  if (!options.ok()) return options.error();
  auto model = Model::Load(arguments.path);
  if (!model.ok()) return model.error();
  for (const TensorInfo& input : (*model)->inputs()) {
    const auto shape = shapes.find(input.name);
    if (shape != shapes.end() && !Fits(shape->second, input.shape)) shapes.erase(shape);
  }
  options->input_shapes.merge(shapes);
  auto plan = Plan::Compile(**model, *options);
  if (!plan.ok()) return plan.error();
  return LoadedModel{std::move(*model), std::move(*plan)};
}

Result<VisionModel> LoadVisionModel(const ModelArguments& arguments, const std::string& preset) {
  const auto options = PlanOptionsOf(arguments);
  if (!options.ok()) return options.error();
  return VisionModel::Load(arguments.path, *options, preset);
}

}  // namespace deltacnn::cli
