// The policy that the command line asks for.
#pragma once

#include "commands.h"
#include "deltacnn/result.h"
#include "deltacnn/vision.h"
#include "report.h"

namespace deltacnn::cli {

/// VideoPolicy::Find, and what the command line says besides, which overrides it. kUsage for looser
/// numbers under `exact`.
Result<VideoPolicy> FindPolicy(const PolicyArguments& arguments);

/// The numbers as a policy file holds them.
Json NumbersOf(const VideoPolicy& policy);

}  // namespace deltacnn::cli
