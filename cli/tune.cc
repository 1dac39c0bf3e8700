// `deltacnn tune`: picks the policy's numbers for a model and a sample clip.
#include "commands.h"

namespace deltacnn::cli {

Status Tune() {
  return Error{ErrorCode::kUnsupported,
               "tune is not built yet; --policy exact, balanced or fast and --tolerance are"};
}

}  // namespace deltacnn::cli
