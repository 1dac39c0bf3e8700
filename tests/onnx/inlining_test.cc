// Functions and branches, spelled out among the other nodes.
#include <gtest/gtest.h>

#include "model_builder.h"
#include "onnx/reader.h"

namespace deltacnn::onnx {
namespace {

Result<Graph> Read(ModelBuilder& builder) { return ReadBytes(builder.Bytes(), "", "model.onnx"); }

void ExpectError(ModelBuilder& builder, ErrorCode code, const std::string& part) {
  const Result<Graph> graph = Read(builder);
  ASSERT_FALSE(graph.ok()) << "no error that names " << part;
  EXPECT_EQ(graph.error().code, code) << graph.error().message;
  EXPECT_NE(graph.error().message.find(part), std::string::npos) << graph.error().message;
  EXPECT_TRUE(graph.error().message.ends_with(")")) << graph.error().message;
}

std::string NameOf(const Graph& graph, ValueId id) {
  return id == kNoValue ? "" : graph.values[static_cast<size_t>(id)].name;
}

/// A model that calls function "F" of its input.
ModelBuilder Caller(const std::vector<std::string>& attributes = {}) {
  ModelBuilder builder;
  builder.Input("x").Output("y").Node("F", {"x"}, {"y"}, attributes, "call", "pkg");
  builder.Opset("", 18);
  return builder;
}

TEST(Functions, AreSpelledOutWhereTheyAreCalled) {
  ModelBuilder builder = Caller();
  builder.Function("F", {"a", "b"}, {"c"},
                   {NodeMessage("Neg", {"d"}, {"c"}, {}, "last"),
                    NodeMessage("Clip", {"a", "", "b"}, {"d"}, {}, "first")});
  const Result<Graph> graph = Read(builder);
  ASSERT_TRUE(graph.ok()) << graph.error().message;
  ASSERT_EQ(graph->nodes.size(), 2u);
  const Node& first = graph->nodes[0];
  EXPECT_EQ(first.name, "call/first");
  EXPECT_EQ(first.inputs, std::vector<ValueId>({graph->inputs[0], kNoValue, kNoValue}));
  EXPECT_EQ(NameOf(*graph, first.outputs[0]), "call/d");
  EXPECT_EQ(graph->nodes[1].inputs, first.outputs);
  EXPECT_EQ(graph->nodes[1].outputs, graph->outputs);
  EXPECT_EQ(NameOf(*graph, graph->outputs[0]), "y");
}

TEST(Functions, MatterOnlyIfCalled) {
  ModelBuilder builder;
  builder.Input("x").Output("y").Node("Relu", {"x"}, {"y"}, {}, "n", "pkg");
  builder.Opset("", 18).Function("Gelu", {"a"}, {"b"}, {NodeMessage("Neg", {"none"}, {"b"})});
  const Result<Graph> graph = Read(builder);
  ASSERT_TRUE(graph.ok()) << graph.error().message;
  EXPECT_EQ(graph->nodes[0].op, "Relu");
}

TEST(Functions, TakeAttributesFromTheCallOrTheirDefaults) {
  const auto alpha_of = [](const std::vector<std::string>& given) {
    ModelBuilder builder = Caller(given);
    builder.Function("F", {"a"}, {"c"},
                     {NodeMessage("G", {"a"}, {"c"}, {Reference("beta", "alpha")}, "", "pkg")},
                     [](auto& function) {
                       function.add_message(FunctionField::kAttributeProto,
                                            FloatAttribute("alpha", 0.25f));
                     });
    builder.Function("G", {"a"}, {"c"},
                     {NodeMessage("Elu", {"a"}, {"c"},
                                  {Reference("alpha", "beta"), Reference("gamma", "none")})});
    const Result<Graph> graph = Read(builder);
    EXPECT_TRUE(graph.ok()) << graph.error().message;
    EXPECT_FALSE(graph->nodes[0].Has("gamma"));
    return graph->nodes[0].Float("alpha", -1);
  };
  EXPECT_EQ(alpha_of({FloatAttribute("alpha", 3)}), 3);
  EXPECT_EQ(alpha_of({}), 0.25f);
}

TEST(Functions, MayPassInputsOnAndLeaveOutputsUnread) {
  ModelBuilder builder;
  builder.Input("x").Output("y").Node("F", {"x"}, {"", "y"}, {}, "call", "pkg");
  builder.Opset("", 18).Function("F", {"a"}, {"c", "a"}, {NodeMessage("Neg", {"a"}, {"c"})});
  const Result<Graph> graph = Read(builder);
  ASSERT_TRUE(graph.ok()) << graph.error().message;
  ASSERT_EQ(graph->nodes.size(), 1u);  // that of the output which is read
  EXPECT_EQ(graph->nodes[0].op, "Identity");
  EXPECT_EQ(graph->nodes[0].inputs, graph->inputs);
  EXPECT_EQ(graph->nodes[0].outputs, graph->outputs);
}

TEST(Functions, SeeNothingOfTheModelAroundThem) {
  ModelBuilder builder = Caller();
  builder.Function("F", {"a"}, {"c"}, {NodeMessage("Neg", {"x"}, {"c"}, {}, "n")});
  ExpectError(builder, ErrorCode::kInvalidModel, "node 'call/n' (Neg) needs 'x'");
}

TEST(Functions, MustFitTheirCalls) {
  ModelBuilder inputs = Caller();
  inputs.Function("F", {}, {"c"}, {NodeMessage("Constant", {}, {"c"})});
  ExpectError(inputs, ErrorCode::kInvalidModel, "more inputs or outputs");

  ModelBuilder nothing = Caller();
  nothing.Function("F", {"a"}, {"c"}, {});
  ExpectError(nothing, ErrorCode::kInvalidModel, "node 'call' (F) needs 'c'");

  ModelBuilder left_out;
  left_out.Input("x").Output("y").Node("F", {""}, {"y"}, {}, "call", "pkg");
  left_out.Opset("", 18).Function("F", {"a"}, {"a"}, {});
  ExpectError(left_out, ErrorCode::kInvalidModel, "leaves out");

  ModelBuilder version = Caller();
  version.Function("F", {"a"}, {"c"}, {NodeMessage("Neg", {"a"}, {"c"})}, [](auto& function) {
    const auto opset = Message<OperatorSetIdField>(
        [](auto& entry) { entry.add_int64(OperatorSetIdField::kVersion, 9); });
    function.add_message(FunctionField::kOpsetImport, opset);
  });
  ExpectError(version, ErrorCode::kUnsupported, "convert_version");

  ModelBuilder twice = Caller();
  for (int i = 0; i < 2; ++i) twice.Function("F", {"a"}, {"a"}, {});
  ExpectError(twice, ErrorCode::kUnsupported, "onnx.inliner");
}

TEST(Functions, CannotGoOnForEver) {
  ModelBuilder itself = Caller();
  itself.Function("F", {"a"}, {"c"}, {NodeMessage("F", {"a"}, {"c"}, {}, "", "pkg")});
  ExpectError(itself, ErrorCode::kLimit, "does a function call itself?");

  // Each calls the next one twice: 2^40 calls, of a function without nodes at last.
  ModelBuilder doubling = Caller();
  std::string name = "F";
  for (int i = 0; i < 40; ++i) {
    const std::string next = "F" + std::to_string(i);
    doubling.Function(name, {"a"}, {"c"},
                      {NodeMessage(next, {"a"}, {"b"}, {}, "", "pkg"),
                       NodeMessage(next, {"b"}, {"c"}, {}, "", "pkg")});
    name = next;
  }
  doubling.Function(name, {"a"}, {"a"}, {});
  ExpectError(doubling, ErrorCode::kLimit, "spelled out");
}

ModelBuilder Branch(const std::string& op, const std::string& input) {
  ModelBuilder branch;
  branch.Node(op, {input}, {"b"}).Output("b");
  return branch;
}

TEST(Functions, CannotMultiplyLongNamesAndLists) {
  enum class Long : uint8_t { kName, kList, kListOfTheCall };
  for (const Long what : {Long::kName, Long::kList, Long::kListOfTheCall}) {
    SCOPED_TRACE(static_cast<int>(what));
    ModelBuilder builder = Caller();
    const std::string long_name(1 << 16, 'n');
    const std::string list = IntsAttribute("l", std::vector<int64_t>(1 << 14, 1));
    const bool of_call = what == Long::kListOfTheCall;
    std::vector<std::string> attributes;
    if (what != Long::kName) attributes.push_back(of_call ? Reference("l", "l") : list);
    std::vector<std::string> calls;
    for (int i = 0; i < 3000; ++i)
      calls.push_back(NodeMessage("G", {i == 0 ? "a" : "v" + std::to_string(i - 1)},
                                  {"v" + std::to_string(i)}, {Reference("l", "l")}, "", "pkg"));
    builder.Function("F", {"a"}, {"v2999"}, calls, [&](auto& function) {
      function.add_message(FunctionField::kAttributeProto,
                           of_call ? list : IntsAttribute("l", {1}));
    });
    std::vector<std::string> nodes;
    for (int i = 0; i < 10; ++i)
      nodes.push_back(NodeMessage("Neg", {"a"}, {"b" + std::to_string(i)}, attributes,
                                  what == Long::kName ? long_name : "n"));
    builder.Function("G", {"a"}, {"b9"}, nodes);
    ExpectError(builder, ErrorCode::kLimit, "spelled out");
  }
}

TEST(Branches, LieAmongTheOtherNodesWithTheirConditions) {
  ModelBuilder inner;
  inner.Node("If", {"c"}, {"b"},
             {Branch("Neg", "n").Branch("then_branch"), Branch("Abs", "x").Branch("else_branch")});
  inner.Output("b");
  ModelBuilder builder;
  // The If comes before what its branches read.
  builder.Input("x")
      .Input("c", {}, kBool)
      .Node("If", {"d"}, {"y"},
            {inner.Branch("then_branch"), Branch("Relu", "x").Branch("else_branch")}, "outer")
      .Node("Exp", {"x"}, {"n"})
      .Node("Not", {"c"}, {"d"})
      .Output("y");
  const Result<Graph> graph = Read(builder);
  ASSERT_TRUE(graph.ok()) << graph.error().message;
  std::map<std::string, const Node*> nodes;
  for (const Node& node : graph->nodes) nodes[node.op == "If" ? node.name : node.op] = &node;
  ASSERT_EQ(nodes.size(), 7u);
  const auto conditions = [&](const std::string& key) {
    std::vector<std::pair<std::string, bool>> list;
    for (const Guard& guard : nodes.at(key)->guards)
      list.emplace_back(NameOf(*graph, guard.condition), guard.when);
    return list;
  };
  using Conditions = std::vector<std::pair<std::string, bool>>;
  EXPECT_EQ(conditions("Exp"), Conditions());
  EXPECT_EQ(conditions("outer"), Conditions());
  EXPECT_EQ(conditions("Relu"), Conditions({{"d", false}}));
  EXPECT_EQ(conditions("outer/If_0"), Conditions({{"d", true}}));
  EXPECT_EQ(conditions("Neg"), Conditions({{"d", true}, {"c", true}}));
  EXPECT_EQ(conditions("Abs"), Conditions({{"d", true}, {"c", false}}));
  EXPECT_EQ(nodes["outer"]->inputs,
            std::vector<ValueId>({nodes["Not"]->outputs[0], nodes["outer/If_0"]->outputs[0],
                                  nodes["Relu"]->outputs[0]}));
}

TEST(Branches, MustBeThereAndFit) {
  const auto model = [](const std::vector<std::string>& inputs,
                        const std::vector<std::string>& branches) {
    ModelBuilder builder;
    builder.Input("x").Input("c", {}, kBool).Node("If", inputs, {"y"}, branches, "n").Output("y");
    return builder;
  };
  const std::string then_branch = Branch("Relu", "x").Branch("then_branch");
  const std::string else_branch = Branch("Neg", "x").Branch("else_branch");
  ModelBuilder good = model({"c"}, {then_branch, else_branch});
  EXPECT_TRUE(Read(good).ok());
  ModelBuilder one = model({"c"}, {then_branch});
  ExpectError(one, ErrorCode::kInvalidModel, "has no else_branch");
  ModelBuilder none = model({}, {then_branch, else_branch});
  ExpectError(none, ErrorCode::kInvalidModel, "its condition");
  ModelBuilder unknown = model({"c"}, {then_branch, Branch("Neg", "w").Branch("else_branch")});
  ExpectError(unknown, ErrorCode::kInvalidModel, "node 'n/Neg_0' (Neg) needs 'w'");
  ModelBuilder empty;
  ModelBuilder short_of_outputs = model({"c"}, {then_branch, empty.Branch("else_branch")});
  ExpectError(short_of_outputs, ErrorCode::kInvalidModel, "has 0 outputs");
}

TEST(Branches, MayNotBeNestedWithoutBound) {
  ModelBuilder branch = Branch("Relu", "x");
  for (int i = 0; i < 40; ++i) {
    ModelBuilder outer;
    outer.Node("If", {"c"}, {"b"},
               {branch.Branch("then_branch"), Branch("Relu", "x").Branch("else_branch")});
    outer.Output("b");
    branch = outer;
  }
  branch.Input("x").Input("c", {}, kBool);
  ExpectError(branch, ErrorCode::kLimit, "branches within branches");
}

}  // namespace
}  // namespace deltacnn::onnx
