// The report of `verify` as a page: one HTML file that needs nothing else.
#pragma once

#include "deltacnn/result.h"
#include "outputs.h"
#include "report.h"
#include "verifier.h"

namespace deltacnn::cli {

/// `report` is verify's JSON.
Status WritePage(const Output& output, const Json& report, const Verifier& verifier);

}  // namespace deltacnn::cli
