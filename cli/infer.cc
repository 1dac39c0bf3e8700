// `deltacnn infer`: one dense run on tensors.
#include <algorithm>
#include <filesystem>
#include <map>
#include <system_error>
#include <utility>

#include "commands.h"
#include "deltacnn/stream.h"
#include "loader.h"
#include "npy.h"

namespace deltacnn::cli {
namespace {

Result<std::map<std::string, Tensor>> ReadInputs(const std::vector<std::string>& arguments) {
  std::map<std::string, Tensor> tensors;
  for (const std::string& argument : arguments) {
    const auto pair = ParseKeyValue(argument, "--input");
    if (!pair.ok()) return pair.error();
    auto tensor = ReadNpy(pair->value);
    if (!tensor.ok()) return tensor.error();
    tensors[pair->key] = std::move(*tensor);
  }
  return tensors;
}

std::string FileName(std::string output) {
  std::ranges::replace(output, '/', '_');
  return output + ".npy";
}

}  // namespace

Status Infer(const InferArguments& arguments) {
  auto tensors = ReadInputs(arguments.inputs);
  if (!tensors.ok()) return tensors.error();
  std::map<std::string, Shape> shapes;
  for (const auto& [name, tensor] : *tensors) shapes[name] = tensor.shape;
  auto loaded = LoadModel(arguments.model, std::move(shapes));
  if (!loaded.ok()) return loaded.error();
  StreamOptions options;
  options.threads = ThreadCount(arguments.model);
  auto stream = Stream::Create(loaded->plan, options);
  if (!stream.ok()) return stream.error();

  const auto& inputs = loaded->plan->inputs();
  for (size_t i = 0; i < inputs.size(); ++i) {
    const auto tensor = tensors->find(inputs[i].name);
    if (tensor == tensors->end()) {
      return Error{ErrorCode::kUsage, "input '" + inputs[i].name + "' is missing; give --input " +
                                          inputs[i].name + "=FILE.npy"};
    }
    DELTACNN_RETURN_IF_ERROR(stream->SetInput(i, tensor->second));
  }
  if (const auto report = stream->Step(); !report.ok()) return report.error();

  const std::filesystem::path folder = arguments.out;
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) {
    return Error{ErrorCode::kIo,
                 arguments.out + ": cannot be made a folder (" + error.message() + ")"};
  }
  const auto& outputs = loaded->plan->outputs();
  for (size_t i = 0; i < outputs.size(); ++i)
    DELTACNN_RETURN_IF_ERROR(WriteNpy(folder / FileName(outputs[i].name), stream->Output(i)));
  return {};
}

}  // namespace deltacnn::cli
