// bfloat16 numbers two by two, in the words of 32 bits they are kept in.
//
// A shift widens the one in the lower half, a mask the one in the upper: nothing is rearranged, and
// results are put together the same way. What is not a number, or too large, is left to the general
// loops: these answer false, and what they wrote is to be written again.
#pragma once

#include <type_traits>

#include "tiles.hpp"

namespace evomerge::EVOMERGE_PATH {

constexpr uint32_t kUpperHalf = 0xffff0000u;
constexpr uint32_t kInfinite = 0x7f800000u;
constexpr int32_t kMostPaired = 4;  // operands besides the base

inline uint32_t load_pair(const Bf16* from, int64_t i) {
  uint32_t pair;
  std::memcpy(&pair, from + 2 * i, sizeof pair);
  return pair;
}

template <bool Upper>
inline float widen_half(uint32_t pair) {
  return from_bits(Upper ? pair & kUpperHalf : pair << 16);
}

// Both as round_finite rounds them.
inline uint32_t round_pair(uint32_t lower, uint32_t upper) {
  const uint32_t even = lower + 0x7fffu + (lower >> 16 & 1u);
  const uint32_t odd = upper + 0x7fffu + (upper >> 16 & 1u);
  return even >> 16 | (odd & kUpperHalf);
}

inline uint32_t larger(uint32_t a, uint32_t b) { return a > b ? a : b; }

// Whether these operands, and what they are merged into, are pairs.
inline bool paired(const Values* operands, int32_t count) {
  bool alike = count <= kMostPaired;
  for (int32_t k = 0; k < count; ++k) alike &= operands[k].dtype == kBf16;
  return alike;
}

// Where K operands and their base begin.
template <int K>
struct Pairs {
  const Bf16* from[K];
  const Bf16* base;

  Pairs(const Values* operands, const Values& origin, int64_t offset) {
    for (int k = 0; k < K; ++k) from[k] = static_cast<const Bf16*>(operands[k].data) + offset;
    base = origin.data ? static_cast<const Bf16*>(origin.data) + offset : from[0];
  }
};

// Call action with the number of operands as a type; false where there are too many or too few.
template <class Action>
inline bool with_count(int32_t count, Action action) {
  if (count == 1) return action(std::integral_constant<int, 1>());
  if (count == 2) return action(std::integral_constant<int, 2>());
  if (count == 3) return action(std::integral_constant<int, 3>());
  return count == kMostPaired && action(std::integral_constant<int, kMostPaired>());
}

// A result, and the largest magnitude among what it is made of.
struct Checked {
  float value;
  uint32_t size;
};

// Round pairs of result(half, words, base) into `out`; false where something is not finite. The type
// of `half` says which half of the words to take.
template <int K, class Result>
inline bool round_pairs(Bf16* __restrict out, int64_t length, const Pairs<K>& pairs, Result result) {
  const Bf16* from[K];
  for (int k = 0; k < K; ++k) from[k] = pairs.from[k];
  const Bf16* base = pairs.base;
  uint32_t largest = 0, checked = 0;
  EVOMERGE_APART
  for (int64_t i = 0; i < length / 2; ++i) {
    uint32_t words[K];
    for (int k = 0; k < K; ++k) words[k] = load_pair(from[k], i);
    const uint32_t origin = load_pair(base, i);
    const Checked lower = result(std::false_type(), words, origin);
    const Checked upper = result(std::true_type(), words, origin);
    const uint32_t even = to_bits(lower.value), odd = to_bits(upper.value);
    largest = larger(largest, larger(even & 0x7fffffffu, odd & 0x7fffffffu));
    checked = larger(checked, larger(lower.size, upper.size));
    const uint32_t pair = round_pair(even, odd);
    std::memcpy(out + 2 * i, &pair, sizeof pair);
  }
  return largest < endless(out) && checked < kInfinite;
}

}  // namespace evomerge::EVOMERGE_PATH
