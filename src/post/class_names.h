// Class names of the public data sets that detectors and segmenters are trained on.
#pragma once

#include <string>
#include <vector>

namespace deltacnn {

std::vector<std::string> CocoNames();    // 80
std::vector<std::string> CocoIdNames();  // 91, by their ids in the data set
std::vector<std::string> VocNames();     // 21, the first is the background

}  // namespace deltacnn
