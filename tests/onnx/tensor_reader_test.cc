// Tensors: every way to store elements, in the model and beside it.
#include "onnx/tensor_reader.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "model_builder.h"
#include "onnx/reader.h"

namespace deltacnn::onnx {
namespace {

using Tensors = Builder<TensorField>;

/// A model whose one output is the initializer `tensor`, which is called "w".
std::string ModelOf(const std::string& tensor) {
  ModelBuilder builder;
  return builder.Initializer(tensor).Output("w").Bytes();
}

Result<Graph> ReadModelOf(const std::string& tensor, const std::string& directory = "") {
  return ReadBytes(ModelOf(tensor), directory, "model.onnx");
}

template <class T>
void ExpectTensor(const std::string& tensor, DType dtype, const Shape& shape,
                  const std::vector<T>& expected) {
  const Result<Graph> graph = ReadModelOf(tensor);
  ASSERT_TRUE(graph.ok()) << graph.error().message;
  const TensorPtr constant = graph->Constant(graph->outputs.at(0));
  ASSERT_NE(constant, nullptr);
  EXPECT_EQ(constant->dtype, dtype);
  EXPECT_EQ(constant->shape, shape);
  const auto elements = constant->as<T>();
  EXPECT_EQ(std::vector<T>(elements.begin(), elements.end()), expected);
}

void ExpectError(const std::string& tensor, ErrorCode code, const std::string& part,
                 const std::string& directory = "") {
  const Result<Graph> graph = ReadModelOf(tensor, directory);
  ASSERT_FALSE(graph.ok()) << "no error: " << part;
  EXPECT_EQ(graph.error().code, code) << graph.error().message;
  EXPECT_TRUE(graph.error().message.starts_with("model.onnx: initializer 'w'"))
      << graph.error().message;
  EXPECT_NE(graph.error().message.find(part), std::string::npos) << graph.error().message;
}

TEST(TensorReader, RawData) {
  ExpectTensor<float>(RawTensor("w", kFloat, {2, 1}, RawBytes<float>({1.5f, -2})), DType::kFloat32,
                      {2, 1}, {1.5f, -2});
  ExpectTensor<double>(RawTensor("w", kDouble, {1}, RawBytes<double>({0.1})), DType::kFloat64, {1},
                       {0.1});
  ExpectTensor<uint16_t>(RawTensor("w", kFloat16, {2}, RawBytes<uint16_t>({0x3c00, 0xc000})),
                         DType::kFloat16, {2}, {0x3c00, 0xc000});
  ExpectTensor<int8_t>(RawTensor("w", kInt8, {2}, RawBytes<int8_t>({-128, 127})), DType::kInt8, {2},
                       {-128, 127});
  ExpectTensor<uint8_t>(RawTensor("w", kUint8, {2}, RawBytes<uint8_t>({0, 255})), DType::kUint8,
                        {2}, {0, 255});
  ExpectTensor<int32_t>(RawTensor("w", kInt32, {1}, RawBytes<int32_t>({-9})), DType::kInt32, {1},
                        {-9});
  ExpectTensor<int64_t>(RawTensor("w", kInt64, {1}, RawBytes<int64_t>({-9})), DType::kInt64, {1},
                        {-9});
  // A bool is 0 or 1, whatever the file says.
  ExpectTensor<uint8_t>(RawTensor("w", kBool, {3}, RawBytes<uint8_t>({0, 1, 200})), DType::kBool,
                        {3}, {0, 1, 1});
}

TEST(TensorReader, ScalarsAndEmptyTensors) {
  ExpectTensor<float>(RawTensor("w", kFloat, {}, RawBytes<float>({7})), DType::kFloat32, {}, {7});
  ExpectTensor<float>(RawTensor("w", kFloat, {0}, ""), DType::kFloat32, {0}, {});
  ExpectTensor<float>(TensorMessage("w", kFloat, {3, 0, 2}, [](Tensors&) {}), DType::kFloat32,
                      {3, 0, 2}, {});
}

TEST(TensorReader, TypedData) {
  const float floats[] = {1.5f, -2.5f};
  ExpectTensor<float>(
      TensorMessage(
          "w", kFloat, {2},
          [&](Tensors& t) { t.add_packed_float(TensorField::kFloatData, floats, floats + 2); }),
      DType::kFloat32, {2}, {1.5f, -2.5f});
  // Parsers must take repeated fields unpacked too, and in several pieces.
  ExpectTensor<float>(TensorMessage("w", kFloat, {3},
                                    [&](Tensors& t) {
                                      t.add_float(TensorField::kFloatData, 0.5f);
                                      t.add_packed_float(TensorField::kFloatData, floats,
                                                         floats + 2);
                                    }),
                      DType::kFloat32, {3}, {0.5f, 1.5f, -2.5f});
  const double doubles[] = {1e300};
  ExpectTensor<double>(
      TensorMessage(
          "w", kDouble, {1},
          [&](Tensors& t) { t.add_packed_double(TensorField::kDoubleData, doubles, doubles + 1); }),
      DType::kFloat64, {1}, {1e300});
  const int64_t longs[] = {INT64_MIN, INT64_MAX};
  ExpectTensor<int64_t>(
      TensorMessage(
          "w", kInt64, {2},
          [&](Tensors& t) { t.add_packed_int64(TensorField::kInt64Data, longs, longs + 2); }),
      DType::kInt64, {2}, {INT64_MIN, INT64_MAX});
}

TEST(TensorReader, SmallTypesInInt32Data) {
  const auto with = [](int32_t data_type, std::vector<int32_t> numbers) {
    return TensorMessage("w", data_type, {static_cast<int64_t>(numbers.size())}, [&](Tensors& t) {
      t.add_packed_int32(TensorField::kInt32Data, numbers.begin(), numbers.end());
    });
  };
  ExpectTensor<int32_t>(with(kInt32, {-1, INT32_MAX}), DType::kInt32, {2}, {-1, INT32_MAX});
  ExpectTensor<int8_t>(with(kInt8, {-1, 127}), DType::kInt8, {2}, {-1, 127});
  ExpectTensor<uint8_t>(with(kUint8, {255, 0}), DType::kUint8, {2}, {255, 0});
  ExpectTensor<uint8_t>(with(kBool, {0, 256}), DType::kBool, {2}, {0, 1});
  ExpectTensor<uint16_t>(with(kFloat16, {0x3c00, 0xfbff}), DType::kFloat16, {2}, {0x3c00, 0xfbff});
}

TEST(TensorReader, RefusesContradictions) {
  const std::string four = RawBytes<float>({1, 2, 3, 4});
  ExpectError(RawTensor("w", kFloat, {5}, four), ErrorCode::kInvalidModel, "16 bytes");
  ExpectError(RawTensor("w", kFloat, {3}, four), ErrorCode::kInvalidModel, "float32[3] takes 12");
  ExpectError(RawTensor("w", kFloat, {-4}, four), ErrorCode::kInvalidModel, "dimension -4");
  ExpectError(RawTensor("w", kFloat, {int64_t{1} << 40}, four), ErrorCode::kInvalidModel,
              "impossible dimension");
  ExpectError(RawTensor("w", kFloat, {1 << 30, 1 << 30, 1 << 30}, four), ErrorCode::kInvalidModel,
              "impossible shape");
  ExpectError(RawTensor("w", kDouble, {1 << 30, 1 << 30}, four), ErrorCode::kInvalidModel,
              "16 bytes");
  ExpectError(RawTensor("w", kFloat, std::vector<int64_t>(33, 1), four), ErrorCode::kInvalidModel,
              "more than 32 dimensions");
  ExpectError(TensorMessage("w", kFloat, {1 << 30}, [](Tensors&) {}), ErrorCode::kInvalidModel,
              "no such data");
  ExpectError(
      TensorMessage("w", kFloat, {2}, [](Tensors& t) { t.add_float(TensorField::kFloatData, 1); }),
      ErrorCode::kInvalidModel, "1 elements where its shape has 2");
  ExpectError(
      TensorMessage("w", kInt64, {1}, [](Tensors& t) { t.add_float(TensorField::kFloatData, 1); }),
      ErrorCode::kInvalidModel, "0 elements");
  // A packed list that ends in the middle of a number.
  ExpectError(TensorMessage("w", kInt64, {1},
                            [](Tensors& t) { t.add_bytes(TensorField::kInt64Data, "\xff"); }),
              ErrorCode::kInvalidModel, "damaged");
}

TEST(TensorReader, UnsupportedTypesMatterOnlyIfUsed) {
  const std::string tensor = RawTensor("w", kBfloat16, {1}, "\x01\x02");
  ExpectError(tensor, ErrorCode::kUnsupported, "element type bfloat16");
  ExpectError(RawTensor("w", 999, {1}, ""), ErrorCode::kUnsupported, "element type number 999");
  ExpectError(RawTensor("w", -1, {1}, ""), ErrorCode::kUnsupported, "element type number -1");
  ModelBuilder builder;
  builder.Initializer(tensor).Input("x").Output("x");
  EXPECT_TRUE(ReadBytes(builder.Bytes(), "", "model.onnx").ok());
}

TEST(TensorReader, SparseInitializersMatterOnlyIfUsed) {
  const std::string sparse = Message<SparseTensorField>([](auto& builder) {
    builder.add_message(SparseTensorField::kValues,
                        RawTensor("w", kFloat, {1}, RawBytes<float>({1})));
  });
  ModelBuilder builder;
  builder.Add(GraphField::kSparseInitializer, sparse).Input("x").Output("x");
  EXPECT_TRUE(ReadBytes(builder.Bytes(), "", "model.onnx").ok());
  const Result<Graph> used = ReadBytes(builder.Output("w").Bytes(), "", "model.onnx");
  ASSERT_FALSE(used.ok());
  EXPECT_EQ(used.error().code, ErrorCode::kUnsupported);
  EXPECT_NE(used.error().message.find("'w' is sparse"), std::string::npos);
}

class ExternalData : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::path(::testing::TempDir()) /
              ("deltacnn_" +
               std::string(::testing::UnitTest::GetInstance()->current_test_info()->name()));
    std::filesystem::create_directories(folder_ / "model" / "sub");
    const std::string bytes = RawBytes<float>({1, 2, 3, 4});
    std::ofstream(folder_ / "model" / "sub" / "w.bin", std::ios::binary) << bytes;
    std::ofstream(folder_ / "secret.bin", std::ios::binary) << bytes;
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::string directory() const { return (folder_ / "model").string(); }

  std::filesystem::path folder_;
};

TEST_F(ExternalData, IsReadFromItsPlace) {
  const std::string tensor = ExternalTensor(
      "w", {2}, {{"location", "sub/w.bin"}, {"offset", "4"}, {"length", "8"}, {"checksum", "x"}});
  const std::string path = directory() + "/model.onnx";
  std::ofstream(path, std::ios::binary) << ModelOf(tensor);
  const Result<Graph> graph = ReadFile(path);
  ASSERT_TRUE(graph.ok()) << graph.error().message;
  const TensorPtr constant = graph->Constant(graph->outputs[0]);
  EXPECT_EQ(constant->as<float>()[0], 2);
  EXPECT_EQ(constant->as<float>()[1], 3);

  // Offset and length are optional.
  const Result<Graph> whole =
      ReadModelOf(ExternalTensor("w", {4}, {{"location", "./sub/../sub/w.bin"}}), directory());
  ASSERT_TRUE(whole.ok()) << whole.error().message;
  EXPECT_EQ(whole->Constant(whole->outputs[0])->as<float>()[3], 4);
}

TEST_F(ExternalData, StaysInTheFolderOfTheModel) {
  for (const char* location : {"../secret.bin", "sub/../../secret.bin", "/etc/passwd", ""}) {
    ExpectError(ExternalTensor("w", {4}, {{"location", location}}), ErrorCode::kInvalidModel,
                "outside the model's folder", directory());
  }
  ExpectError(ExternalTensor("w", {4}, {{"location", "sub/w.bin"}}), ErrorCode::kInvalidModel,
              "read from memory");
}

TEST_F(ExternalData, MustBeThere) {
  ExpectError(ExternalTensor("w", {4}, {{"location", "gone.bin"}}), ErrorCode::kIo, "'gone.bin'",
              directory());
  ExpectError(ExternalTensor("w", {4}, {{"location", "sub"}}), ErrorCode::kIo, "'sub'",
              directory());
  using Entries = std::vector<std::pair<std::string, std::string>>;
  for (const Entries& entries :
       {Entries{{"location", "sub/w.bin"}, {"offset", "1"}},
        Entries{{"location", "sub/w.bin"}, {"offset", "18446744073709551615"}}}) {
    ExpectError(ExternalTensor("w", {4}, entries), ErrorCode::kInvalidModel, "beyond the end",
                directory());
  }
  for (const char* offset : {"-1", "four", "", "1x", "99999999999999999999"}) {
    ExpectError(ExternalTensor("w", {4}, {{"location", "sub/w.bin"}, {"offset", offset}}),
                ErrorCode::kInvalidModel, "external offset or length", directory());
  }
  ExpectError(ExternalTensor("w", {4}, {{"location", "sub/w.bin"}, {"length", "12"}}),
              ErrorCode::kInvalidModel, "12", directory());
}

TEST_F(ExternalData, CannotBeMultipliedWithoutBound) {
  ModelBuilder builder;
  for (int i = 0; i < 10; ++i) {
    const std::string name = "w" + std::to_string(i);
    builder.Initializer(ExternalTensor(name, {4}, {{"location", "sub/w.bin"}})).Output(name);
  }
  const Result<Graph> graph = ReadBytes(builder.Bytes(), directory(), "model.onnx");
  ASSERT_FALSE(graph.ok());
  EXPECT_EQ(graph.error().code, ErrorCode::kLimit) << graph.error().message;
}

}  // namespace
}  // namespace deltacnn::onnx
