// Random masks where an element's chance depends on the rank of its magnitude in its row: sorted by
// radix, row by row, in the first caches.
#pragma once

#include <memory>
#include <utility>

#include "magnitudes.hpp"
#include "philox.hpp"

namespace evomerge::EVOMERGE_PATH {

constexpr uint32_t kNotANumber = 0x7F800001u;

inline int32_t bit_length(uint32_t word) {
  int32_t length = 0;
  for (; word; word >>= 1) ++length;
  return length;
}

// Rows of one width, ranked one after another by the same memory.
class RowRanks {
 public:
  explicit RowRanks(int64_t width)
      : width_(width), most_(width < kWide ? 8 : kMostBits), bits_(new uint32_t[size_t(width)]),
        ranks_(new uint32_t[size_t(width)]), odd_(new Ranked[size_t(width)]),
        even_(new Ranked[size_t(width)]) {}

  // Each element's rank, ascending by magnitude, of equal ones the first lowest; all that is not a
  // number is equal, and last.
  const uint32_t* find(const float* row) {
    const int32_t used = shorten(row), passes = used > most_ ? (used + most_ - 1) / most_ : 1;
    const int32_t digit = (used + passes - 1) / passes;
    uint32_t* const ranks = ranks_.get();
    const auto settle = [=](Ranked one, uint32_t rank) { ranks[one.place] = rank; };
    Ranked* dealt = nullptr;
    for (int32_t pass = 1; pass <= passes; ++pass) {
      Ranked* const next = pass % 2 ? odd_.get() : even_.get();
      const auto move = [=](Ranked one, uint32_t rank) { next[rank] = {one.bits >> digit, one.place}; };
      pass < passes ? deal(dealt, digit, move) : deal(dealt, digit, settle);
      dealt = next;
    }
    return ranks;
  }

 private:
  // What is still to be sorted by, and the place in the row.
  struct Ranked {
    uint32_t bits;
    uint32_t place;
  };

  static constexpr int32_t kMostBits = 11;
  static constexpr int64_t kWide = 1024;  // elements from which on many counters pay
  // Parts of a row with counters of their own, dealt side by side: in task vectors of 16 bits many
  // digits are equal, and an increment would wait for the one before it.
  static constexpr int64_t kParts = 4;

  // Write numbers in the order of the magnitudes, zero for zero, and as small as a shift and a
  // difference make them; returns how many bits they have.
  int32_t shorten(const float* row) {
    uint32_t all = 0, most = 0, beyond = 0;  // beyond: all bits of the least that is not zero
    for (int64_t i = 0; i < width_; ++i) {
      const uint32_t found = magnitude_bits(row[i]);
      const uint32_t bits = found < kNotANumber ? found : kNotANumber;
      bits_[i] = bits;
      all |= bits;
      most = bits > most ? bits : most;
      beyond = bits && ~bits > beyond ? ~bits : beyond;
    }
    if (!all) return 0;
    const int64_t shift = lowest_bit(all);
    const uint32_t zero = (~beyond >> shift) - 1;
    for (int64_t i = 0; i < width_; ++i) {
      const uint32_t bits = bits_[i] >> shift;
      bits_[i] = bits > zero ? bits - zero : 0;
    }
    return bit_length((most >> shift) - zero);
  }

  // Tell of each element the rank of its digit, of equal ones in order; without `dealt` of the row's.
  template <class Tell>
  void deal(const Ranked* dealt, int32_t digit, Tell tell) {
    const uint32_t* const bits = bits_.get();
    if (dealt)
      deal([=](int64_t i) { return dealt[i]; }, width_, digit, next_, tell);
    else
      deal([=](int64_t i) { return Ranked{bits[i], uint32_t(i)}; }, width_, digit, next_, tell);
  }

  template <class Source, class Tell>
  static void deal(Source source, int64_t width, int32_t digit, uint32_t (*next)[kParts], Tell tell) {
    const uint32_t values = uint32_t(1) << digit, mask = values - 1;
    std::memset(next, 0, values * sizeof *next);
    each(width, [=](int64_t i, int64_t part) { ++next[source(i).bits & mask][part]; });
    uint32_t first = 0;
    for (uint32_t value = 0; value < values; ++value)
      for (int64_t part = 0; part < kParts; ++part) first += std::exchange(next[value][part], first);
    each(width, [=](int64_t i, int64_t part) {
      const Ranked one = source(i);
      tell(one, next[one.bits & mask][part]++);
    });
  }

  template <class Action>
  static void each(int64_t width, Action action) {
    const int64_t size = width / kParts;
    for (int64_t i = 0; i < size; ++i)
      for (int64_t part = 0; part < kParts; ++part) action(part * size + i, part);
    for (int64_t i = kParts * size; i < width; ++i) action(i, kParts - 1);
  }

  int64_t width_;
  int32_t most_;  // bits of a digit
  std::unique_ptr<uint32_t[]> bits_, ranks_;
  std::unique_ptr<Ranked[]> odd_, even_;
  uint32_t next_[1 << kMostBits][kParts];
};

// Masks of rows: an element is kept where its number is below the limit of its rank.
class RowMask {
 public:
  RowMask(int64_t width, const uint64_t* limits, const uint64_t* key)
      : width_(width), limits_(limits), key_(key), ranks_(width), upper_(new uint8_t[size_t(width)]),
        numbers_(new uint8_t[size_t(width) + 2 * kGroup]),
        kept_(new uint8_t[size_t(width) + sizeof(uint64_t)]()) {
    for (int64_t rank = 0; rank < width; ++rank)
      upper_[rank] = uint8_t(limits[rank] >> kPlanes ? 255 : limits[rank] >> (kPlanes - 8));
  }

  // One byte per element, 1 where it is kept, and zeros beyond the end; `start` is the index of the
  // first. Upper bits decide but for the few numbers that share those of their limit.
  const uint8_t* draw(const float* row, int64_t start) {
    found_ = ranks_.find(row);
    const uint8_t* numbers = draw_upper(key_, start, width_, numbers_.get());
    uint8_t uppers[kTile];
    for (int64_t offset = 0; offset < width_; offset += kTile) {
      const int64_t here = shorter(kTile, width_ - offset);
      for (int64_t i = 0; i < here; ++i) uppers[i] = upper_[found_[offset + i]];
      const uint8_t* number = numbers + offset;
      uint8_t* kept = kept_.get() + offset;
      EVOMERGE_APART
      for (int64_t i = 0; i < here; ++i) kept[i] = number[i] < uppers[i] ? 1 : 0;
      each_where(here, [=, &uppers](int64_t i) { return number[i] == uppers[i]; },
                 [=](int64_t i) {
                   kept[i] = is_below(key_, start + offset + i, limits_[found_[offset + i]]);
                 });
    }
    return kept_.get();
  }

  const uint32_t* ranks() const { return found_; }

 private:
  int64_t width_;
  const uint64_t *limits_, *key_;
  RowRanks ranks_;
  const uint32_t* found_ = nullptr;
  std::unique_ptr<uint8_t[]> upper_, numbers_, kept_;
};

// Write one bit for each element of a task vector's rows; `start` is the index of the first.
inline void mask_by_rank(const Values& model, const Values& base, int64_t start, int64_t length,
                         int64_t width, const uint64_t* limits, const uint64_t* key, uint8_t* bits) {
  RowMask mask(width, limits, key);
  const std::unique_ptr<float[]> row(new float[size_t(width)]), origin(new float[size_t(width)]);
  std::memset(bits, 0, size_t(length) / 8 + sizeof(uint64_t));
  for (int64_t offset = 0; offset < length; offset += width) {
    read_tile(model, offset, width, row.get());
    read_tile(base, offset, width, origin.get());
    for (int64_t i = 0; i < width; ++i) row[i] -= origin[i];
    const uint8_t* kept = mask.draw(row.get(), start + offset);
    for (int64_t i = 0; i < width; i += 8) add_bits(kept + i, bits, offset + i);
  }
}

// Zero in place what chance drops; with `chances` (one per rank) what is kept is divided by its own.
inline void thin_by_rank(float* deltas, int64_t start, int64_t length, int64_t width, const uint64_t* limits,
                         const float* chances, const uint64_t* key) {
  RowMask mask(width, limits, key);
  for (int64_t offset = 0; offset < length; offset += width) {
    float* row = deltas + offset;
    const uint8_t* kept = mask.draw(row, start + offset);
    const uint32_t* ranks = mask.ranks();
    for (int64_t i = 0; i < width; ++i) {
      const float delta = chances ? row[i] / chances[ranks[i]] : row[i];
      row[i] = delta * (kept[i] ? 1.0f : 0.0f);  // infinity times 0 is NaN
    }
  }
}

}  // namespace evomerge::EVOMERGE_PATH
