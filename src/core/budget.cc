#include "core/budget.h"

#include <algorithm>

namespace deltacnn {

template <class Visit>
void Budget::ForEachWordOf(const Tile& tile, Visit&& visit) const {
  for (int r = tile.first_row; r < tile.last_row; ++r) {
    const auto row = static_cast<size_t>(r) * static_cast<size_t>(input_.words_per_row());
    ForEachWord(tile.first_col, tile.last_col, [&](int word, int shift, int count) {
      visit(row + static_cast<size_t>(word), BitRange(shift, count));
    });
  }
}

Budget::Budget(const Grid& input, double ms) : ms_(ms), input_(input) {
  if (!enabled()) return;
  waiting_.assign(input.words(), 0);
  for (int r = 0; r < input.rows; r += kTile) {
    for (int c = 0; c < input.cols; c += kTile) {
      tiles_.push_back({.first_row = r,
                        .last_row = std::min(r + kTile, input.rows),
                        .first_col = c,
                        .last_col = std::min(c + kTile, input.cols)});
    }
  }
  order_.reserve(tiles_.size());
}

void Budget::Release(const MaskView& input) {
  MaskView{waiting_.data(), input_}.Or(input);
  input.Clear();
  order_.clear();
  pending_ = 0;
  for (size_t t = 0; t < tiles_.size(); ++t) {
    Tile& tile = tiles_[t];
    tile.changed = 0;
    ForEachWordOf(tile,
                  [&](size_t w, uint64_t bits) { tile.changed += CountBits(waiting_[w] & bits); });
    tile.age = tile.changed == 0 ? 0 : tile.age + 1;
    pending_ += tile.changed;
    if (tile.changed > 0) order_.push_back(static_cast<int>(t));
  }
  std::ranges::sort(order_, [&](int a, int b) {
    const Tile& x = tiles_[static_cast<size_t>(a)];
    const Tile& y = tiles_[static_cast<size_t>(b)];
    const int patience_x = x.age > kPatience ? x.age : 0;
    const int patience_y = y.age > kPatience ? y.age : 0;
    if (patience_x != patience_y) return patience_x > patience_y;
    if (x.changed != y.changed) return x.changed > y.changed;
    return a < b;
  });
  const size_t released = std::min(order_.size(), static_cast<size_t>(allowance_));
  left_out_ = released < order_.size();
  for (size_t i = 0; i < released; ++i) {
    Tile& tile = tiles_[static_cast<size_t>(order_[i])];
    ForEachWordOf(tile, [&](size_t w, uint64_t bits) {
      input.words[w] |= waiting_[w] & bits;
      waiting_[w] &= ~bits;
    });
    pending_ -= tile.changed;
    tile.age = 0;
  }
}

void Budget::Took(double ms) {
  // Steps that let everything in say nothing about how many more would have fitted.
  if (!left_out_ && ms <= ms_) return;
  const double change = std::clamp(ms_ / std::max(ms, 1e-6), 0.5, 1.5);
  allowance_ = std::clamp(allowance_ * change, 1.0, static_cast<double>(tiles_.size()));
}

void Budget::TookDense(double ms) {
  std::ranges::fill(waiting_, 0);
  for (Tile& tile : tiles_) tile.age = 0;
  pending_ = 0;
  const auto tiles = static_cast<double>(tiles_.size());
  allowance_ = std::clamp(tiles * ms_ / std::max(ms, 1e-6), 1.0, tiles);
}

}  // namespace deltacnn
