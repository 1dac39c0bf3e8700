// Masks, windows and work lists against brute force.
#include "core/mask.h"

#include <gtest/gtest.h>

#include <random>
#include <set>

#include "core/spans.h"

namespace deltacnn {
namespace {

/// A mask with its memory, and the same bits as plain booleans.
struct Mask {
  explicit Mask(Grid grid) : words(grid.words(), 0), view{words.data(), grid} {}
  Mask(Grid grid, int percent, std::mt19937& rng) : Mask(grid) {
    for (int r = 0; r < grid.rows; ++r) {
      for (int c = 0; c < grid.cols; ++c)
        if (rng() % 100 < static_cast<unsigned>(percent)) view.Set(grid.Bit(r, c));
    }
  }
  bool at(int row, int col) const { return view.Test(view.grid.Bit(row, col)); }

  std::vector<uint64_t> words;
  MaskView view;
};

constexpr int kWidths[] = {1, 2, 63, 64, 65, 100, 127, 128, 129, 200};

TEST(MaskView, CountsAndFillsOnlyItsOwnColumns) {
  for (const int cols : kWidths) {
    Mask mask({3, cols});
    EXPECT_TRUE(mask.view.Empty());
    mask.view.Fill();
    EXPECT_EQ(mask.view.Count(), 3 * cols);
    EXPECT_FALSE(mask.view.RowEmpty(2));
    mask.view.Clear();
    EXPECT_EQ(mask.view.Count(), 0);
  }
}

TEST(MaskView, SetRangeSetsExactlyTheRange) {
  std::mt19937 rng(1);
  for (int round = 0; round < 500; ++round) {
    const int cols = kWidths[rng() % std::size(kWidths)];
    const int begin = static_cast<int>(rng() % static_cast<unsigned>(cols));
    const int end = begin + static_cast<int>(rng() % static_cast<unsigned>(cols - begin + 1));
    Mask mask({2, cols});
    mask.view.SetRange(1, begin, end);
    for (int c = 0; c < cols; ++c) {
      ASSERT_FALSE(mask.at(0, c));
      ASSERT_EQ(mask.at(1, c), c >= begin && c < end) << begin << ".." << end << " at " << c;
    }
    ASSERT_EQ(mask.view.Count(), end - begin);
  }
}

TEST(MaskView, CombinesMasks) {
  std::mt19937 rng(2);
  for (const int cols : kWidths) {
    const Mask a({4, cols}, 40, rng);
    const Mask b({4, cols}, 40, rng);
    Mask either = a;
    either.view.words = either.words.data();
    either.view.Or(b.view);
    Mask both = a;
    both.view.words = both.words.data();
    both.view.And(b.view);
    for (int r = 0; r < 4; ++r) {
      for (int c = 0; c < cols; ++c) {
        ASSERT_EQ(either.at(r, c), a.at(r, c) || b.at(r, c));
        ASSERT_EQ(both.at(r, c), a.at(r, c) && b.at(r, c));
      }
    }
  }
}

TEST(ForEachRun, FindsEveryMaximalRun) {
  std::mt19937 rng(3);
  for (int round = 0; round < 2000; ++round) {
    const int cols = kWidths[rng() % std::size(kWidths)];
    const int percents[] = {0, 3, 50, 97, 100};
    const Mask mask({1, cols}, percents[rng() % 5], rng);
    std::vector<std::pair<int, int>> want;
    for (int c = 0; c < cols; ++c) {
      if (!mask.at(0, c)) continue;
      if (want.empty() || want.back().second != c) want.push_back({c, c});
      want.back().second = c + 1;
    }
    std::vector<std::pair<int, int>> got;
    ForEachRun(mask.view.row(0), cols, [&](int begin, int end) { got.push_back({begin, end}); });
    ASSERT_EQ(got, want) << cols << " columns";
  }
}

/// True if the window of output o holds input i.
bool Reads(int o, int i, int taps, int stride, int dilation, int pad) {
  for (int t = 0; t < taps; ++t)
    if (o * stride - pad + t * dilation == i) return true;
  return false;
}

TEST(WindowMap, CoversEveryReadAndNoMoreWithoutDilation) {
  std::mt19937 rng(4);
  const auto pick = [&](int low, int high) {
    return low + static_cast<int>(rng() % static_cast<unsigned>(high - low + 1));
  };
  for (int round = 0; round < 3000; ++round) {
    const int inputs = pick(1, 20);
    const int taps = pick(1, 5);
    const int stride = pick(1, 4);
    const int dilation = pick(1, 3);
    const int pad = pick(0, 6);
    const int outputs = pick(1, 20);
    const WindowMap map = WindowMap::Window(inputs, outputs, taps, stride, dilation, pad);
    for (int i = 0; i < inputs; ++i) {
      bool read = false;
      for (int o = 0; o < outputs; ++o) {
        const bool reads = Reads(o, i, taps, stride, dilation, pad);
        read = read || reads;
        const bool in_window = i >= map.first[o] && i < map.last[o];
        const bool in_readers = o >= map.reader_first[i] && o < map.reader_last[i];
        if (reads) {
          ASSERT_TRUE(in_window && in_readers);
        }
        if (dilation == 1) {
          ASSERT_EQ(in_window, reads);
          ASSERT_EQ(in_readers, reads);
        }
      }
      if (dilation == 1 && !read) {
        ASSERT_GE(map.reader_first[i], map.reader_last[i]);
      }
    }
  }
}

TEST(Affect, ReachesExactlyTheOutputsThatReadAChangedPixel) {
  std::mt19937 rng(5);
  const auto pick = [&](int low, int high) {
    return low + static_cast<int>(rng() % static_cast<unsigned>(high - low + 1));
  };
  for (int round = 0; round < 600; ++round) {
    int inputs[2], outputs[2], taps[2], stride[2], dilation[2], pad[2];
    WindowMap maps[2];
    for (int a = 0; a < 2; ++a) {
      inputs[a] = pick(1, a == 0 ? 9 : 140);
      taps[a] = pick(1, 4);
      stride[a] = pick(1, 3);
      dilation[a] = pick(1, 4) == 1 ? 2 : 1;
      pad[a] = pick(0, 3);
      int pads = 2 * pad[a];
      if (pick(0, 1) == 1) {  // as many outputs as inputs or half as many, as most layers have
        taps[a] = pick(1, 80);
        stride[a] = pick(1, 2);
        dilation[a] = 1;
        pad[a] = pick(0, taps[a] - 1);
        pads = taps[a] - 1;
      }
      outputs[a] =
          std::max(1, (inputs[a] + pads - (taps[a] - 1) * dilation[a] - 1) / stride[a] + 1);
      maps[a] = WindowMap::Window(inputs[a], outputs[a], taps[a], stride[a], dilation[a], pad[a]);
    }
    const int images = pick(1, 2);
    const Mask in({images * inputs[0], inputs[1]}, pick(0, 3) == 0 ? 30 : 2, rng);
    Mask out({images * outputs[0], outputs[1]});
    Affect(in.view, maps[0], maps[1], images, out.view);

    Mask want({images * outputs[0], outputs[1]});
    for (int r = 0; r < in.view.grid.rows; ++r) {
      for (int c = 0; c < inputs[1]; ++c) {
        if (!in.at(r, c)) continue;
        for (int y = 0; y < outputs[0]; ++y) {
          if (!Reads(y, r % inputs[0], taps[0], stride[0], dilation[0], pad[0])) continue;
          for (int x = 0; x < outputs[1]; ++x)
            if (Reads(x, c, taps[1], stride[1], dilation[1], pad[1]))
              want.view.Set(want.view.grid.Bit(r / inputs[0] * outputs[0] + y, x));
        }
      }
    }
    const bool tight = dilation[0] == 1 && dilation[1] == 1;
    for (size_t w = 0; w < want.words.size(); ++w) {
      ASSERT_EQ(want.words[w] & ~out.words[w], 0u) << "a reader was missed";
      if (tight) {
        ASSERT_EQ(out.words[w], want.words[w]) << "more than the readers";
      }
    }
  }
}

TEST(Affect, ReachesTheReadersWhateverTheirOrder) {
  // As a transposed convolution with dilations has them: windows that go back and forth.
  std::mt19937 rng(8);
  for (int round = 0; round < 500; ++round) {
    const int inputs = 1 + static_cast<int>(rng() % 70);
    const int outputs = 1 + static_cast<int>(rng() % 70);
    WindowMap rows = WindowMap::Window(1, 1, 1, 1, 1, 0);
    WindowMap cols;
    for (int o = 0; o < outputs; ++o) {
      cols.first.push_back(static_cast<int>(rng() % static_cast<unsigned>(inputs)));
      cols.last.push_back(std::min(inputs, cols.first.back() + static_cast<int>(rng() % 3)));
    }
    cols.Invert(inputs);
    const Mask in({1, inputs}, 10, rng);
    Mask out({1, outputs});
    Affect(in.view, rows, cols, 1, out.view);
    for (int o = 0; o < outputs; ++o) {
      for (int i = cols.first[o]; i < cols.last[o]; ++i) {
        ASSERT_TRUE(!in.at(0, i) || out.at(0, o)) << "output " << o << " reads input " << i;
      }
    }
  }
}

TEST(Affect, NothingOfABatchOfNone) {
  const WindowMap map = WindowMap::Window(2, 4, 2, 1, 1, 1);
  const Mask in({0, 2});
  const Mask out({0, 4});
  Affect(in.view, map, map, 0, out.view);
  EXPECT_TRUE(out.view.Empty());
}

TEST(SpanList, ListsTheSetPixelsInOrderInChunks) {
  std::mt19937 rng(6);
  for (int round = 0; round < 500; ++round) {
    const Grid grid{1 + static_cast<int>(rng() % 5), kWidths[rng() % std::size(kWidths)]};
    const int percents[] = {0, 5, 50, 95, 100};
    const Mask mask(grid, percents[rng() % 5], rng);
    const int chunk = 1 + static_cast<int>(rng() % 40);
    SpanList list;
    list.Reserve(grid);
    list.Build(mask.view, chunk);
    std::vector<std::pair<int, int>> want;
    for (int r = 0; r < grid.rows; ++r) {
      for (int c = 0; c < grid.cols; ++c)
        if (mask.at(r, c)) want.push_back({r, c});
    }
    std::vector<std::pair<int, int>> got;
    for (size_t i = 0; i < list.chunks(); ++i) {
      int pixels = 0;
      for (const Span& span : list.chunk(i)) {
        ASSERT_EQ(span.first, got.size());
        ASSERT_GT(span.count, 0);
        pixels += span.count;
        for (int k = 0; k < span.count; ++k) got.push_back({span.row, span.col + k});
      }
      ASSERT_LE(pixels, chunk);
      if (i + 1 < list.chunks()) {
        ASSERT_EQ(pixels, chunk) << "only the last chunk may be short";
      }
    }
    ASSERT_EQ(got, want);
    ASSERT_EQ(list.pixels(), want.size());
    size_t runs = 0;  // whatever the chunks
    for (const auto& [r, c] : want) runs += c == 0 || !mask.at(r, c - 1) ? 1 : 0;
    ASSERT_EQ(list.runs(), runs);
  }
}

TEST(SpanList, ListsTilesOneAfterTheOther) {
  std::mt19937 rng(8);
  for (int round = 0; round < 500; ++round) {
    const Grid grid{1 + static_cast<int>(rng() % 9), kWidths[rng() % std::size(kWidths)]};
    const int percents[] = {0, 5, 50, 95, 100};
    const Mask mask(grid, percents[rng() % 5], rng);
    const int side = rng() % 2 == 0 ? 2 : 4;
    const int chunk = 1 + static_cast<int>(rng() % 200);
    SpanList list;
    list.Reserve(grid);
    const Span* memory = list.all().data();
    list.Build(mask.view, chunk, side);
    std::vector<std::pair<int, int>> want;
    for (int top = 0; top < grid.rows; top += side) {
      for (int left = 0; left < grid.cols; left += side) {
        for (int r = top; r < std::min(top + side, grid.rows); ++r) {
          for (int c = left; c < std::min(left + side, grid.cols); ++c)
            if (mask.at(r, c)) want.push_back({r, c});
        }
      }
    }
    std::vector<std::pair<int, int>> got;
    for (size_t i = 0; i < list.chunks(); ++i) {
      std::set<std::pair<int, int>> tiles;
      for (const Span& span : list.chunk(i)) {
        ASSERT_EQ(span.first, got.size());
        for (int k = 0; k < span.count; ++k) {
          got.push_back({span.row, span.col + k});
          tiles.insert({span.row / side, (span.col + k) / side});
        }
      }
      ASSERT_LE(static_cast<int>(tiles.size()), std::max(1, chunk / (side * side)));
    }
    ASSERT_EQ(got, want);
    ASSERT_EQ(list.pixels(), want.size());
    ASSERT_EQ(list.all().data(), memory) << "no allocation after Reserve";
  }
}

TEST(SpanList, CutsRunsWhereTheFocusEnds) {
  std::mt19937 rng(9);
  for (int round = 0; round < 500; ++round) {
    const Grid grid{1 + static_cast<int>(rng() % 9), kWidths[rng() % std::size(kWidths)]};
    const Mask mask(grid, 80, rng);
    const int percents[] = {0, 5, 50, 95, 100};
    const Mask focus(grid, percents[rng() % 5], rng);
    const int side = round % 2 == 0 ? 1 : 4;
    SpanList plain;
    plain.Build(mask.view, 30, side);
    SpanList list;
    list.Reserve(grid);
    const Span* memory = list.all().data();
    list.Build(mask.view, 30, side, focus.view);
    ASSERT_EQ(list.all().data(), memory) << "no allocation after Reserve";
    std::vector<std::pair<int, int>> want;
    for (const Span& span : plain.all())
      for (int k = 0; k < span.count; ++k) want.push_back({span.row, span.col + k});
    std::vector<std::pair<int, int>> got;
    for (const Span& span : list.all()) {
      ASSERT_EQ(span.first, got.size());
      for (int k = 0; k < span.count; ++k) {
        ASSERT_EQ(span.background, !focus.at(span.row, span.col + k));
        got.push_back({span.row, span.col + k});
      }
    }
    ASSERT_EQ(got, want) << "the same pixels in the same order";
    if (side == 1) {
      ASSERT_EQ(list.runs(), plain.runs());
    }
  }
}

TEST(SpanList, KeepsItsMemoryAfterReserve) {
  std::mt19937 rng(7);
  const Grid grid{7, 100};
  SpanList list;
  list.Reserve(grid);
  list.Build(Mask(grid, 0, rng).view, 1);
  Mask checkered(grid);  // the most spans that a mask can have
  for (int r = 0; r < grid.rows; ++r)
    for (int c = r % 2; c < grid.cols; c += 2) checkered.view.Set(grid.Bit(r, c));
  Mask full(grid);
  full.view.Fill();
  list.Build(full.view, 1);
  const Span* memory = list.all().data();
  for (const Mask* mask : {&checkered, &full}) {
    for (const int chunk : {1, 2, 3, 1000}) {
      list.Build(mask->view, chunk);
      EXPECT_EQ(list.all().data(), memory);
    }
  }
}

}  // namespace
}  // namespace deltacnn
