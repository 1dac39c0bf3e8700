#include "graph/graph.h"

#include <algorithm>

namespace deltacnn {
namespace {

template <class T>
T Get(const Node& node, const std::string& key, T fallback) {
  const auto it = node.attributes.find(key);
  if (it == node.attributes.end()) return fallback;
  const T* held = std::get_if<T>(&it->second);
  return held != nullptr ? *held : fallback;
}

}  // namespace

std::string OneLine(std::string text) {
  std::ranges::replace_if(
      text, [](unsigned char c) { return c < 0x20 || c == 0x7f; }, '?');
  return text;
}

std::vector<int64_t> IntsOf(const Tensor& tensor) {
  const auto convert = [](const auto& values) {
    return std::vector<int64_t>(values.begin(), values.end());
  };
  return tensor.dtype == DType::kInt32 ? convert(tensor.as<int32_t>())
                                       : convert(tensor.as<int64_t>());
}

int64_t Node::Int(const std::string& key, int64_t fallback) const {
  return Get(*this, key, fallback);
}
float Node::Float(const std::string& key, float fallback) const {
  return Get(*this, key, fallback);
}
std::string Node::String(const std::string& key, const std::string& fallback) const {
  return Get(*this, key, fallback);
}
std::vector<int64_t> Node::Ints(const std::string& key) const {
  return Get(*this, key, std::vector<int64_t>{});
}
std::vector<float> Node::Floats(const std::string& key) const {
  return Get(*this, key, std::vector<float>{});
}
TensorPtr Node::TensorAttribute(const std::string& key) const {
  return Get(*this, key, TensorPtr{});
}

ValueId Graph::AddValue(Value value) {
  values.push_back(std::move(value));
  return static_cast<ValueId>(values.size() - 1);
}

}  // namespace deltacnn
