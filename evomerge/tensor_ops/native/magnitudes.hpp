// Histograms of the magnitudes of a task vector (model - base), which is never written down.
#pragma once

#include "pairs.hpp"

#if defined(_MSC_VER)
#include <intrin.h>
#endif

namespace evomerge::EVOMERGE_PATH {

inline int64_t lowest_bit(uint64_t word) {
#if defined(_MSC_VER)
  unsigned long place;
  _BitScanForward64(&place, word);
  return int64_t(place);
#else
  return __builtin_ctzll(word);
#endif
}

// The bits of float32 magnitudes, read as integers, are ordered as the magnitudes are.
inline void write_magnitudes(const Values& model, const Values& base, int64_t offset, int64_t length,
                             uint32_t* bits) {
  with_type(model, offset, [=](const auto* values) {
    with_type(base, offset, [=](const auto* origin) {
      EVOMERGE_APART
      for (int64_t i = 0; i < length; ++i)
        bits[i] = magnitude_bits(widen(values[i]) - widen(origin[i]));
    });
  });
}

inline void write_magnitudes(const Values& model, const Values& base, int64_t length, uint32_t* bits) {
  write_magnitudes(model, base, 0, length, bits);
}

// The same in any order: of pairs the lower halves come first.
inline void write_unordered(const Values& model, const Values& base, int64_t offset, int64_t length,
                            uint32_t* bits) {
  if (length % 2 || model.dtype != kBf16 || base.dtype != kBf16)
    return write_magnitudes(model, base, offset, length, bits);
  const Pairs<1> pairs(&model, base, offset);
  const Bf16 *from = pairs.from[0], *origin = pairs.base;
  uint32_t* others = bits + length / 2;
  EVOMERGE_APART
  for (int64_t i = 0; i < length / 2; ++i) {
    const uint32_t value = load_pair(from, i), zero = load_pair(origin, i);
    bits[i] = magnitude_bits(widen_half<false>(value) - widen_half<false>(zero));
    others[i] = magnitude_bits(widen_half<true>(value) - widen_half<true>(zero));
  }
}

// Call action(offset, length, bits) with one tile after another until it answers false.
template <bool Ordered = true, class Action>
inline void each_tile(const Values& model, const Values& base, int64_t length, Action action) {
  alignas(64) uint32_t bits[kTile];
  for (int64_t offset = 0; offset < length; offset += kTile) {
    const int64_t here = shorter(kTile, length - offset);
    if (Ordered)
      write_magnitudes(model, base, offset, here, bits);
    else
      write_unordered(model, base, offset, here, bits);
    if (!action(offset, here, bits)) return;
  }
}

// Upper 16 bits of a magnitude decide its bin; four histograms, so that an increment need not
// wait for the one before it.
constexpr int64_t kBins = 1 << 16;
constexpr int64_t kHistograms = 4;

inline void count_upper(const Values& model, const Values& base, int64_t length, uint32_t* counts) {
  each_tile<false>(model, base, length, [=](int64_t, int64_t here, const uint32_t* bits) {
    int64_t i = 0;
    for (; i + kHistograms <= here; i += kHistograms)
      for (int64_t k = 0; k < kHistograms; ++k) ++counts[k * kBins + (bits[i + k] >> 15)];
    for (; i < here; ++i) ++counts[bits[i] >> 15];
    return true;
  });
}

// Call action(i) for the few elements that a test, which is vector code, says yes to.
template <class Test, class Action>
inline void each_where(int64_t length, Test test, Action action) {
  constexpr int64_t kGlance = 64, kWord = 8;
  alignas(64) uint8_t found[kGlance];
  for (int64_t from = 0; from < length; from += kGlance) {
    const int64_t here = shorter(kGlance, length - from);
    if (here < kGlance) std::memset(found, 0, sizeof found);
    for (int64_t i = 0; i < here; ++i) found[i] = test(from + i) ? 1 : 0;
    for (int64_t k = 0; k < kGlance; k += kWord) {
      uint64_t word;
      std::memcpy(&word, found + k, sizeof word);
      for (; word; word &= word - 1) action(from + k + lowest_bit(word) / 8);
    }
  }
}

// Count in `counts` the magnitudes whose bits are first + 0, first + 1, ... below first + width;
// returns how many lie above all of these.
inline int64_t count_between(const Values& model, const Values& base, int64_t length, uint32_t first,
                             uint32_t width, uint32_t* counts) {
  int64_t above = 0;
  each_tile<false>(model, base, length, [=, &above](int64_t, int64_t here, const uint32_t* bits) {
    uint32_t larger = 0;
    for (int64_t i = 0; i < here; ++i) larger += bits[i] >= first + width ? 1u : 0u;
    above += larger;
    each_where(here, [=](int64_t i) { return bits[i] - first < width; },
               [=](int64_t i) { ++counts[bits[i] - first]; });
    return true;
  });
  return above;
}

// Magnitudes that are looked for: bits in [first, first + width); of those with the bits `common`,
// which may be many, only the number is wanted.
struct Range {
  uint32_t first;
  uint32_t width;
  uint32_t common;
};

// Where the next word that is picked goes, how many words lie above the range, how many are common.
struct Picked {
  uint32_t* next;
  int64_t above;
  int64_t common;
};

// Append the words of a tile that lie in a range, and count those above.
// There must be room for kSpare words more than there are. Branches would be missed too often.
constexpr int64_t kSpare = 8;

inline Picked pick_one_by_one(const uint32_t* bits, int64_t length, Range range, Picked picked) {
  for (int64_t i = 0; i < length; ++i) {
    const bool common = bits[i] == range.common;
    *picked.next = bits[i];
    picked.next += (bits[i] - range.first < range.width) & !common ? 1 : 0;
    picked.above += bits[i] >= range.first + range.width ? 1 : 0;
    picked.common += common ? 1 : 0;
  }
  return picked;
}

#if defined(EVOMERGE_PICKS_BY_LANES)

// Compilers do not find this by themselves.
// For every set of eight lanes the places to gather them from, so that they come to lie in front.
struct Lanes {
  alignas(32) uint32_t front[256][8];
  constexpr Lanes() : front() {
    for (int set = 0; set < 256; ++set)
      for (int lane = 0, next = 0; lane < 8; ++lane)
        if (set >> lane & 1) front[set][next++] = lane;
  }
};
inline constexpr Lanes kLanes{};

inline int64_t add_lanes(__m256i counts) {
  alignas(32) uint32_t lanes[8];
  _mm256_store_si256(reinterpret_cast<__m256i*>(lanes), counts);
  int64_t total = 0;
  for (const uint32_t lane : lanes) total += lane;
  return total;
}

inline Picked pick(const uint32_t* bits, int64_t length, Range range, uint32_t* out) {
  const __m256i below = _mm256_set1_epi32(int(range.first) - 1);  // no word has the highest bit
  const __m256i last = _mm256_set1_epi32(int(range.first + range.width - 1));
  const __m256i common = _mm256_set1_epi32(int(range.common));
  __m256i above = _mm256_setzero_si256(), alike = _mm256_setzero_si256();
  uint32_t* next = out;
  int64_t i = 0;
  for (; i + 8 <= length; i += 8) {
    const __m256i word = _mm256_load_si256(reinterpret_cast<const __m256i*>(bits + i));
    const __m256i equal = _mm256_cmpeq_epi32(word, common);
    const __m256i larger = _mm256_cmpgt_epi32(word, last);
    const __m256i within = _mm256_andnot_si256(larger, _mm256_cmpgt_epi32(word, below));
    const __m256i inside = _mm256_andnot_si256(equal, within);
    alike = _mm256_sub_epi32(alike, equal);
    above = _mm256_sub_epi32(above, larger);
    const unsigned set = unsigned(_mm256_movemask_ps(_mm256_castsi256_ps(inside)));
    const __m256i order = _mm256_load_si256(reinterpret_cast<const __m256i*>(kLanes.front[set]));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(next), _mm256_permutevar8x32_epi32(word, order));
    next += __builtin_popcount(set);
  }
  const Picked picked{next, add_lanes(above), add_lanes(alike)};
  return pick_one_by_one(bits + i, length - i, range, picked);
}

#else

inline Picked pick(const uint32_t* bits, int64_t length, Range range, uint32_t* out) {
  return pick_one_by_one(bits, length, range, Picked{out, 0, 0});
}

#endif

// Append to `out` the magnitudes that lie in a range, without the common ones, as long as there is
// room for a whole tile; lessens `room` by their number, or makes it negative where it was too
// little. Adds to `common` how many are that. Returns how many lie above.
inline int64_t collect_between(const Values& model, const Values& base, int64_t length, Range range,
                               uint32_t* out, int64_t* room, int64_t* common) {
  int64_t above = 0;
  each_tile<false>(model, base, length, [&](int64_t, int64_t here, const uint32_t* bits) {
    if (*room < kTile + kSpare) {
      *room = -1;
      return false;
    }
    const Picked picked = pick(bits, here, range, out);
    above += picked.above;
    *common += picked.common;
    *room -= picked.next - out;
    out = picked.next;
    return true;
  });
  return above;
}

// Index of the element that is the left-th of those with these bits, or -1; lessens `left` by
// those that were met.
inline int64_t find_equal(const Values& model, const Values& base, int64_t length, uint32_t wanted,
                          int64_t* left) {
  int64_t place = -1;
  each_tile(model, base, length, [&](int64_t offset, int64_t here, const uint32_t* bits) {
    each_where(here, [=](int64_t i) { return bits[i] == wanted; },
               [&](int64_t i) {
                 if (--*left == 0) place = offset + i;
               });
    return place < 0;
  });
  return place;
}

}  // namespace evomerge::EVOMERGE_PATH
