// The table of presets, and the JSON file that may stand beside a model.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "deltacnn/post.h"

namespace deltacnn {

/// A preset of the table, by name.
std::optional<Preset> BuiltInPreset(const std::string& name);

/// The name of the preset that metadata and the outputs' names and shapes suggest, "none" if
/// nothing fits. `class_names` (their number, 0 if unknown) tells apart what shapes alone do not.
std::string SuggestPreset(const ModelFacts& facts, size_t class_names);

/// The class names that Ultralytics writes as a Python literal: {0: 'person', 1: "cat's"} or
/// ['person', ...]. Empty if `text` is neither.
std::vector<std::string> ParsePythonNames(const std::string& text);

/// Reads a JSON file whose top level is an object.
Result<nlohmann::json> ReadPresetFile(const std::string& path);

/// Writes what the file states, except "decoder", over `preset`.
Status ApplyPresetFile(const nlohmann::json& file, const std::string& path, Preset& preset);

}  // namespace deltacnn
