// Numbers, tables and JSON files for the user.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "deltacnn/post.h"
#include "deltacnn/result.h"
#include "outputs.h"

namespace deltacnn::cli {

using Json = nlohmann::ordered_json;

/// "1.23 G": three significant digits and a decimal prefix.
std::string FormatCount(double count);
/// "12.3 MiB".
std::string FormatBytes(uint64_t bytes);
/// "12.3 %".
std::string FormatShare(double share);

/// Measured values of one kind.
class Samples {
 public:
  void Add(double value) { values_.push_back(value); }
  size_t size() const { return values_.size(); }
  double Mean() const;  // 0 if empty, as the others
  double Median() const { return Quantile(0.5); }
  double Quantile(double share) const;  // linear between neighbours

 private:
  std::vector<double> values_;
};

/// Columns set apart by two spaces; numbers (judged by the last row) are aligned right.
class Table {
 public:
  void Add(std::vector<std::string> row) { rows_.push_back(std::move(row)); }
  std::string Format() const;

 private:
  std::vector<std::vector<std::string>> rows_;
};

/// Null where the model has no such answers.
Json ToJson(const Agreement::Summary& summary);

/// Nothing where `output` is not asked for.
Status WriteJson(const Output& output, const Json& json);

}  // namespace deltacnn::cli
