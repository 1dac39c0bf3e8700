// `deltacnn infer`: one dense run on tensors.
#include <algorithm>
#include <filesystem>
#include <map>
#include <system_error>
#include <utility>
#include <vector>

#include "commands.h"
#include "deltacnn/stream.h"
#include "loader.h"
#include "npy.h"
#include "outputs.h"

namespace deltacnn::cli {
namespace {

struct InputTensors {
  std::map<std::string, Tensor> by_name;
  std::vector<std::string> files;
};

Result<InputTensors> ReadInputs(const std::vector<std::string>& arguments) {
  InputTensors inputs;
  for (const std::string& argument : arguments) {
    const auto pair = ParseKeyValue(argument, "--input");
    if (!pair.ok()) return pair.error();
    auto tensor = ReadNpy(pair->value);
    if (!tensor.ok()) return tensor.error();
    DELTACNN_RETURN_IF_ERROR(AddValue(inputs.by_name, pair->key, std::move(*tensor), "--input"));
    inputs.files.push_back(pair->value);
  }
  return inputs;
}

std::vector<Output> OutputsOf(const Plan& plan, const std::filesystem::path& folder) {
  std::vector<Output> outputs;
  for (const TensorInfo& info : plan.outputs()) {
    std::string name = info.name + ".npy";
    std::ranges::replace(name, '/', '_');
    outputs.push_back({"output '" + info.name + "' in", folder / name, Output::Kind::kFile});
  }
  return outputs;
}

}  // namespace

Status Infer(const InferArguments& arguments) {
  auto given = ReadInputs(arguments.inputs);
  if (!given.ok()) return given.error();
  std::map<std::string, Shape> shapes;
  for (const auto& [name, tensor] : given->by_name) shapes[name] = tensor.shape;
  auto loaded = LoadModel(arguments.model, std::move(shapes));
  if (!loaded.ok()) return loaded.error();
  StreamOptions options;
  options.executor = MakeExecutor(arguments.model);
  auto stream = Stream::Create(loaded->plan, options);
  if (!stream.ok()) return stream.error();

  const auto& inputs = loaded->plan->inputs();
  for (size_t i = 0; i < inputs.size(); ++i) {
    const auto tensor = given->by_name.find(inputs[i].name);
    if (tensor == given->by_name.end()) {
      return Error{ErrorCode::kUsage, "input '" + inputs[i].name + "' is missing; give --input " +
                                          inputs[i].name + "=FILE.npy"};
    }
    DELTACNN_RETURN_IF_ERROR(stream->SetInput(i, tensor->second));
  }

  std::error_code error;
  std::filesystem::create_directories(arguments.out, error);
  if (error) {
    return Error{ErrorCode::kIo,
                 arguments.out + ": cannot be made a folder (" + error.message() + ")"};
  }
  const std::vector<Output> outputs = OutputsOf(*loaded->plan, arguments.out);
  DELTACNN_RETURN_IF_ERROR(CheckOutputs(outputs, InputsOf(arguments.model, {}, given->files)));
  if (const auto report = stream->Step(); !report.ok()) return report.error();
  for (size_t i = 0; i < outputs.size(); ++i)
    DELTACNN_RETURN_IF_ERROR(WriteNpy(outputs[i].path, stream->Output(i)));
  return {};
}

}  // namespace deltacnn::cli
