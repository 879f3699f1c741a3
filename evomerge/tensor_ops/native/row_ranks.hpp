// A task vector thinned out by chance, where an element's chance depends on the rank of its
// magnitude in its row: sorted by radix, row by row, in the first caches.
#pragma once

#include <memory>
#include <utility>

#include "philox.hpp"
#include "tiles.hpp"

namespace evomerge::EVOMERGE_PATH {

constexpr int32_t kDigits = 4;  // of 8 bits each, lowest first
constexpr uint32_t kNotANumber = 0x7F800001u;

// A magnitude's bits, and its place in the row.
struct Ranked {
  uint32_t bits;
  uint32_t place;
};

// Rows of one width, sorted one after another by the same memory.
class RowSort {
 public:
  explicit RowSort(int64_t width)
      : width_(width), from_(new Ranked[size_t(width)]), to_(new Ranked[size_t(width)]) {}

  // Ascending magnitudes, equal ones in order of place; all that is not a number is equal, and last.
  const Ranked* sort(const float* row) {
    uint32_t counts[kDigits][256] = {};
    for (int64_t i = 0; i < width_; ++i) {
      const uint32_t found = magnitude_bits(row[i]);
      const uint32_t bits = found < kNotANumber ? found : kNotANumber;
      from_[i] = {bits, uint32_t(i)};
      for (int32_t digit = 0; digit < kDigits; ++digit) ++counts[digit][bits >> (8 * digit) & 255];
    }
    for (int32_t digit = 0; digit < kDigits; ++digit) move(counts[digit], 8 * digit);
    return from_.get();
  }

 private:
  void move(uint32_t* counts, int32_t shift) {
    if (counts[from_[0].bits >> shift & 255] == uint64_t(width_)) return;  // one digit for all
    uint32_t first = 0;
    for (int32_t value = 0; value < 256; ++value) first += std::exchange(counts[value], first);
    for (int64_t i = 0; i < width_; ++i) to_[counts[from_[i].bits >> shift & 255]++] = from_[i];
    std::swap(from_, to_);
  }

  int64_t width_;
  std::unique_ptr<Ranked[]> from_, to_;
};

// Zero in place what chance drops: element i is kept where its draw is below the limit of its rank;
// with `chances` (one per rank) what is kept is divided by its own. `start` is the first element's index.
inline void thin_by_rank(float* deltas, int64_t start, int64_t length, int64_t width, const uint64_t* limits,
                         const float* chances, const uint64_t* key) {
  RowSort rows(width);
  std::unique_ptr<uint32_t[]> draws(new uint32_t[size_t(width)]);
  for (int64_t offset = 0; offset < length; offset += width) {
    float* row = deltas + offset;
    const Ranked* sorted = rows.sort(row);
    draw(key, start + offset, width, draws.get());
    for (int64_t rank = 0; rank < width; ++rank) {
      const uint32_t place = sorted[rank].place;
      const float delta = chances ? row[place] / chances[rank] : row[place];
      row[place] = delta * (draws[place] < limits[rank] ? 1.0f : 0.0f);  // infinity times 0 is NaN
    }
  }
}

}  // namespace evomerge::EVOMERGE_PATH
