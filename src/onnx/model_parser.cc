#include "onnx/model_parser.h"

#include <algorithm>

#include "onnx/proto.h"
#include "onnx/read_error.h"

namespace deltacnn::onnx {
namespace {

using protozero::pbf_message;
using protozero::pbf_wire_type;

// The largest networks have some ten thousand nodes. A record that takes a few bytes in the file
// takes some hundred in memory, so their number is limited.
constexpr size_t kMaxRecords = size_t{1} << 20;

// Branches within branches; each takes some stack to read.
constexpr int kMaxDepth = 32;

/// The domain of the standard operators has two names.
std::string_view NormalizedDomain(std::string_view domain) {
  return domain == "ai.onnx" ? std::string_view() : domain;
}

class Parser {
 public:
  explicit Parser(TensorReader* tensors) : tensors_(tensors) {}

  ParsedModel Parse(std::string_view bytes) {
    ReadAt([] { return std::string("the file"); }, [&] { ReadModel(bytes); });
    if (!has_graph_) throw Invalid("holds no graph: it is no ONNX model, or cut short");
    if (model_.graph.opset <= 0) {
      throw Invalid("does not say which version of the ONNX operators it uses");
    }
    return std::move(model_);
  }

 private:
  void ReadModel(std::string_view bytes);
  void ReadOpset(std::string_view bytes, int64_t* opset);
  void ReadFunction(std::string_view bytes);
  ParsedGraph ReadGraph(std::string_view bytes);
  ParsedNode ReadNode(std::string_view bytes, size_t position);
  void ReadAttribute(std::string_view bytes, ParsedNode* parsed);
  void ReadInitializer(std::string_view bytes, bool sparse, ParsedGraph* graph);
  ValueInfo ReadValueInfo(std::string_view bytes);
  void ReadShape(std::string_view bytes, ValueInfo* info);

  void CountRecord() {
    if (++records_ > kMaxRecords) {
      throw ReadError(ErrorCode::kLimit, "lists more than " + std::to_string(kMaxRecords) +
                                             " nodes, values and attributes (split the model)");
    }
  }

  TensorReader* tensors_;
  ParsedModel model_;
  size_t records_ = 0;
  int depth_ = 0;  // of the graph being read
  bool has_graph_ = false;
};

void Parser::ReadModel(std::string_view bytes) {
  Graph& graph = model_.graph;
  pbf_message<ModelField> message(bytes);
  while (message.next()) {
    switch (message.tag_and_type()) {
      case Bytes(ModelField::kGraph):
        has_graph_ = true;
        model_.main = ReadGraph(message.get_view());
        break;
      case Bytes(ModelField::kOpsetImport):
        ReadOpset(message.get_view(), &graph.opset);
        break;
      case Bytes(ModelField::kMetadataProps): {
        CountRecord();
        const std::string_view entry = message.get_view();
        graph.metadata[FindString(entry, StringStringEntryField::kKey)] =
            FindString(entry, StringStringEntryField::kValue);
        break;
      }
      case Bytes(ModelField::kFunctions):
        ReadFunction(message.get_view());
        break;
      default:
        message.skip();
    }
  }
}

void Parser::ReadOpset(std::string_view bytes, int64_t* opset) {
  const std::string domain = FindString(bytes, OperatorSetIdField::kDomain);
  if (NormalizedDomain(domain).empty()) {
    *opset = FindInt(bytes, OperatorSetIdField::kVersion).value_or(0);
  }
}

void Parser::ReadFunction(std::string_view bytes) {
  CountRecord();
  const auto domain = FindBytes(bytes, FunctionField::kDomain);
  const auto name = FindBytes(bytes, FunctionField::kName);
  if (!name) return;
  ParsedFunction function;
  function.defaults.node.name = function.defaults.node.op = *name;
  const auto value = [&](std::string_view value_name) {
    CountRecord();
    return ValueInfo{.name = value_name, .shape = {}};
  };
  pbf_message<FunctionField> message(bytes);
  while (message.next()) {
    switch (message.tag_and_type()) {
      case Bytes(FunctionField::kInput):
        function.body.inputs.push_back(value(message.get_view()));
        break;
      case Bytes(FunctionField::kOutput):
        function.body.outputs.push_back(value(message.get_view()));
        break;
      case Bytes(FunctionField::kNode):
        function.body.nodes.push_back(ReadNode(message.get_view(), function.body.nodes.size()));
        break;
      case Bytes(FunctionField::kOpsetImport):
        ReadOpset(message.get_view(), &function.opset);
        break;
      case Bytes(FunctionField::kAttributeProto):
        ReadAttribute(message.get_view(), &function.defaults);
        break;
      default:
        message.skip();
    }
  }
  const auto key = std::make_pair(NormalizedDomain(domain.value_or("")), *name);
  if (!model_.functions.emplace(key, std::move(function)).second) {
    throw ReadError(ErrorCode::kUnsupported, "function " + Quote(*name) +
                                                 " is there twice, which is not supported (inline "
                                                 "it with onnx.inliner.inline_local_functions)");
  }
}

ParsedGraph Parser::ReadGraph(std::string_view bytes) {
  if (++depth_ > kMaxDepth) {
    throw ReadError(ErrorCode::kLimit, "has branches within branches, more than " +
                                           std::to_string(kMaxDepth) + " deep (simplify it)");
  }
  ParsedGraph graph;
  pbf_message<GraphField> message(bytes);
  while (message.next()) {
    switch (message.tag_and_type()) {
      case Bytes(GraphField::kNode):
        graph.nodes.push_back(ReadNode(message.get_view(), graph.nodes.size()));
        break;
      case Bytes(GraphField::kInitializer):
        ReadInitializer(message.get_view(), false, &graph);
        break;
      case Bytes(GraphField::kSparseInitializer):
        ReadInitializer(message.get_view(), true, &graph);
        break;
      case Bytes(GraphField::kInput):
        graph.inputs.push_back(ReadValueInfo(message.get_view()));
        break;
      case Bytes(GraphField::kOutput):
        graph.outputs.push_back(ReadValueInfo(message.get_view()));
        break;
      case Bytes(GraphField::kValueInfo):
        graph.value_infos.push_back(ReadValueInfo(message.get_view()));
        break;
      default:
        message.skip();
    }
  }
  --depth_;
  return graph;
}

ParsedNode Parser::ReadNode(std::string_view bytes, size_t position) {
  CountRecord();
  const std::string index = std::to_string(position);
  ParsedNode parsed;
  ReadAt([&] { return "node " + index; },
         [&] {
           Node& node = parsed.node;
           std::vector<std::string_view> attributes;
           pbf_message<NodeField> message(bytes);
           while (message.next()) {
             switch (message.tag_and_type()) {
               case Bytes(NodeField::kInput):
                 CountRecord();
                 parsed.inputs.push_back(message.get_view());
                 break;
               case Bytes(NodeField::kOutput):
                 CountRecord();
                 parsed.outputs.push_back(message.get_view());
                 break;
               case Bytes(NodeField::kName):
                 node.name = message.get_string();
                 break;
               case Bytes(NodeField::kOpType):
                 node.op = message.get_string();
                 break;
               case Bytes(NodeField::kAttribute):
                 CountRecord();
                 attributes.push_back(message.get_view());
                 break;
               case Bytes(NodeField::kDomain):
                 node.domain = NormalizedDomain(message.get_view());
                 break;
               default:
                 message.skip();
             }
           }
           if (node.op.empty()) {
             throw Invalid("node " + index + " " + Quote(node.name) + " has no operator");
           }
           if (node.name.empty()) node.name = node.op + "_" + index;
           for (const std::string_view attribute : attributes) ReadAttribute(attribute, &parsed);
         });
  return parsed;
}

void Parser::ReadAttribute(std::string_view bytes, ParsedNode* parsed) {
  Node& node = parsed->node;
  std::string name = FindString(bytes, AttributeField::kName);
  const std::string what = "attribute " + Quote(name) + " of " + Describe(node);
  if (std::string reference = FindString(bytes, AttributeField::kRefAttrName); !reference.empty()) {
    parsed->references.emplace_back(std::move(name), std::move(reference));
    return;
  }
  const int64_t type = FindInt(bytes, AttributeField::kType).value_or(0);
  Attribute attribute;
  switch (static_cast<AttributeType>(type)) {
    case AttributeType::kFloat: {
      float value = 0.0f;
      ForEachNumber<float>(bytes, AttributeField::kFloat, [&](float number) { value = number; });
      attribute = value;
      break;
    }
    case AttributeType::kInt:
      attribute = FindInt(bytes, AttributeField::kInt).value_or(0);
      break;
    case AttributeType::kString:
      attribute = FindString(bytes, AttributeField::kString);
      break;
    case AttributeType::kTensor:
      attribute = tensors_->Read(FindBytes(bytes, AttributeField::kTensor).value_or(""), what);
      break;
    case AttributeType::kFloats: {
      std::vector<float> list;
      ForEachNumber<float>(bytes, AttributeField::kFloats, [&](float f) { list.push_back(f); });
      attribute = std::move(list);
      break;
    }
    case AttributeType::kInts: {
      std::vector<int64_t> list;
      ForEachNumber<int64_t>(bytes, AttributeField::kInts, [&](int64_t i) { list.push_back(i); });
      attribute = std::move(list);
      break;
    }
    case AttributeType::kStrings: {
      std::vector<std::string> list;
      pbf_message<AttributeField> message(bytes);
      while (message.next(AttributeField::kStrings, pbf_wire_type::length_delimited)) {
        CountRecord();
        list.push_back(message.get_string());
      }
      attribute = std::move(list);
      break;
    }
    case AttributeType::kGraph:
      if (node.op == "If" && node.domain.empty()) {
        parsed->branches[name] = std::make_shared<const ParsedGraph>(
            ReadGraph(FindBytes(bytes, AttributeField::kGraph).value_or("")));
      }
      attribute = SubgraphMarker{};
      break;
    case AttributeType::kGraphs:
      attribute = SubgraphMarker{};
      break;
    default:
      throw ReadError(ErrorCode::kUnsupported,
                      what + " has the type " + std::to_string(type) +
                          ", which is not supported (export the model with dense tensors only)");
  }
  if (!node.attributes.emplace(std::move(name), std::move(attribute)).second) {
    throw Invalid(what + " is there twice");
  }
}

void Parser::ReadInitializer(std::string_view bytes, bool sparse, ParsedGraph* graph) {
  CountRecord();
  const auto place = [&] { return "initializer " + std::to_string(graph->initializers.size()); };
  const std::string_view name = ReadAt(place, [&] {
    const std::string_view tensor =
        sparse ? FindBytes(bytes, SparseTensorField::kValues).value_or("") : bytes;
    return FindBytes(tensor, TensorField::kName).value_or("");
  });
  if (!graph->initializers.emplace(name, Initializer{bytes, sparse}).second) {
    throw Invalid("initializer " + Quote(name) + " is there twice");
  }
}

ValueInfo Parser::ReadValueInfo(std::string_view bytes) {
  CountRecord();
  ValueInfo info;
  ReadAt([&] { return "the description of value " + Quote(info.name); },
         [&] {
           info.name = FindBytes(bytes, ValueInfoField::kName).value_or("");
           const auto type = FindBytes(bytes, ValueInfoField::kType);
           if (!type || type->empty()) return;
           const auto tensor_type = FindBytes(*type, TypeField::kTensor);
           info.is_tensor = tensor_type.has_value();
           if (!tensor_type) return;
           info.data_type = FindInt(*tensor_type, TensorTypeField::kElemType).value_or(0);
           const auto shape = FindBytes(*tensor_type, TensorTypeField::kShape);
           if (shape) ReadShape(*shape, &info);
         });
  return info;
}

void Parser::ReadShape(std::string_view bytes, ValueInfo* info) {
  Shape& shape = info->shape.emplace();
  pbf_message<TensorShapeField> message(bytes);
  while (message.next(TensorShapeField::kDim, pbf_wire_type::length_delimited)) {
    const std::string_view dim = message.get_view();
    // Some exporters write -1 or less for a dimension that is not known.
    const int64_t size = std::max(FindInt(dim, DimensionField::kValue).value_or(-1), int64_t{-1});
    if (size > kMaxDimension || shape.size() == kMaxRank) {
      throw Invalid("value " + Quote(info->name) + " has the impossible dimension " +
                    std::to_string(size) + " at position " + std::to_string(shape.size()));
    }
    shape.push_back(size);
  }
}

}  // namespace

ParsedModel ParseModel(std::string_view bytes, TensorReader* tensors) {
  return Parser(tensors).Parse(bytes);
}

}  // namespace deltacnn::onnx
