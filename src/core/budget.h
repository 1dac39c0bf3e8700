// The budget mode: which changes of the input a step may take up, and which wait.
#pragma once

#include <cstdint>
#include <vector>

#include "core/mask.h"

namespace deltacnn {

/// Holds back changed input pixels, tile by tile, so that a step takes about as long as it may. The
/// tiles with most changed pixels go first; one that has waited for kPatience steps goes before all
/// that have not, the oldest first. Every step lets at least one tile in, so none waits forever.
class Budget {
 public:
  static constexpr int kTile = 32;  // pixels: a cell of the coarsest layers of most detectors
  static constexpr int kPatience = 8;

  /// `ms` is what a step may take; 0: no effect.
  Budget(const Grid& input, double ms);

  bool enabled() const { return ms_ > 0; }
  /// Adds the marks of `input` to those that wait and leaves in it those to be taken up now.
  void Release(const MaskView& input);
  /// What the step after the last Release took. Adapts the number of tiles.
  void Took(double ms);
  /// A dense step took this long: nothing waits.
  void TookDense(double ms);

  int64_t pending() const { return pending_; }  // pixels that wait

 private:
  struct Tile {
    int64_t changed = 0;  // pixels that wait
    int age = 0;          // steps since the first of them came
    int first_row = 0, last_row = 0, first_col = 0, last_col = 0;
  };

  /// Calls visit(index, bits) for the words of a mask that hold pixels of the tile.
  template <class Visit>
  void ForEachWordOf(const Tile& tile, Visit&& visit) const;

  double ms_ = 0;
  Grid input_;
  std::vector<uint64_t> waiting_;  // pixels
  std::vector<Tile> tiles_;
  std::vector<int> order_;  // of the tiles that wait, most urgent first
  double allowance_ = 1;    // tiles of a step
  bool left_out_ = false;   // by the last Release
  int64_t pending_ = 0;
};

}  // namespace deltacnn
