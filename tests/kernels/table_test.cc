#include <cctype>
#include <set>

#include "kernels/kernel_test.h"

namespace deltacnn::kernels {
namespace {

TEST(TableTest, AvailableTablesAreCompleteAndDistinct) {
  ASSERT_FALSE(Available().empty());
  std::set<std::string> names;
  for (const Table* table : Available()) {
    ASSERT_NE(table, nullptr);
    EXPECT_TRUE(names.insert(table->name).second) << table->name << " twice";
    EXPECT_GE(table->panel, 2u);
    EXPECT_EQ(table->panel % 2, 0u);
    EXPECT_NE(table->gemm, nullptr);
    EXPECT_NE(table->depthwise, nullptr);
    EXPECT_NE(table->unary, nullptr);
    EXPECT_NE(table->binary, nullptr);
    EXPECT_NE(table->binary_scalar, nullptr);
    EXPECT_NE(table->store_changed, nullptr);
    EXPECT_NE(table->store_stronger, nullptr);
    EXPECT_NE(table->accumulate, nullptr);
  }
}

TEST(TableTest, BestComesFirst) {
  for (size_t i = 1; i < Available().size(); ++i) {
    EXPECT_GE(Available()[i - 1]->panel, Available()[i]->panel);
  }
}

TEST(TableTest, FindIgnoresCase) {
  for (const Table* table : Available()) {
    std::string name = table->name;
    EXPECT_EQ(Find(name), table);
    for (char& c : name) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    EXPECT_EQ(Find(name), table);
  }
}

TEST(TableTest, FindOfNothingIsTheBest) { EXPECT_EQ(Find(""), Available().front()); }

TEST(TableTest, FindOfUnknownNameIsNull) {
  EXPECT_EQ(Find("AVX9"), nullptr);
  EXPECT_EQ(Find("AVX"), nullptr);
  EXPECT_EQ(Find(std::string(Available().front()->name) + "2"), nullptr);
}

}  // namespace
}  // namespace deltacnn::kernels
