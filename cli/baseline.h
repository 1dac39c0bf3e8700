// What is done today instead of running the network on every frame, for comparison.
#pragma once

#include <memory>
#include <string>

#include "contender.h"
#include "deltacnn/result.h"
#include "timed_pipeline.h"

namespace deltacnn::cli {

/// `name` is one of
///   skip:N  the network runs densely on one frame in N; in between its answer is repeated;
///   region  the network runs densely on the part of the picture that changed (`tolerance` as in
///           ChangeOptions): a square around all changed blocks, cut out and fed like a picture.
///           Its boxes replace those held there. Nothing changed: no run.
/// kUsage for any other name, kUnsupported for `region` with a model that detects no objects.
Result<std::unique_ptr<Contender>> MakeBaseline(const std::string& name, const VisionModel& model,
                                                float tolerance,
                                                std::shared_ptr<Executor> executor);

}  // namespace deltacnn::cli
