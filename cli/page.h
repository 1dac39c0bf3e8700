// The report of `verify` as a page: one HTML file that needs nothing else.
#pragma once

#include <string>

#include "deltacnn/result.h"
#include "report.h"
#include "verifier.h"

namespace deltacnn::cli {

/// `report` is verify's JSON.
Status WritePage(const std::string& path, const Json& report, const Verifier& verifier);

}  // namespace deltacnn::cli
