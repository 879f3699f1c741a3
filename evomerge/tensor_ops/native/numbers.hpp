// Numbers as tensors keep them, to and from float32: bit for bit what torch does.
//
// Plain integer arithmetic without branches, so that the compiler turns the loops around it into
// vector code for whichever processor it is compiled for.
#pragma once

#include <cstdint>
#include <cstring>

namespace evomerge::EVOMERGE_PATH {

struct Bf16 {
  uint16_t bits;
};

struct F16 {
  uint16_t bits;
};

inline uint32_t to_bits(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

inline float from_bits(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

inline uint32_t magnitude_bits(float value) { return to_bits(value) & 0x7fffffffu; }

inline float magnitude(float value) { return from_bits(magnitude_bits(value)); }

inline float widen(float value) { return value; }

inline float widen(Bf16 value) { return from_bits(uint32_t(value.bits) << 16); }

inline float widen(F16 value) {
  const uint32_t sign = uint32_t(value.bits & 0x8000u) << 16;
  const uint32_t size = value.bits & 0x7fffu;
  const uint32_t special = size >= 0x7c00u ? 112u << 23 : 0u;  // infinity and NaN keep theirs
  const uint32_t normal = (size << 13) + (112u << 23) + special;
  const uint32_t subnormal = to_bits(from_bits(size | 126u << 23) - 0.5f);  // steps of 2^-24
  return from_bits(sign | (size < 0x0400u ? subnormal : normal));
}

// Rounding to nearest, ties to even. Each returns the new bits in the lower part of a word. The
// first form is for magnitudes below `endless`, which stay finite; the second for any.

inline uint32_t round_finite(uint32_t bits, const float*) { return bits; }

inline uint32_t round_finite(uint32_t bits, const Bf16*) {
  return (bits + 0x7fffu + (bits >> 16 & 1u)) >> 16;
}

inline uint32_t round_finite(uint32_t bits, const F16*) {
  const uint32_t size = bits & 0x7fffffffu;
  const uint32_t normal = (size - (112u << 23) + 0xfffu + (size >> 13 & 1u)) >> 13;
  const uint32_t subnormal = to_bits(from_bits(size) + 0.5f) - (126u << 23);  // steps of 2^-24
  return (bits >> 16 & 0x8000u) | (size < (113u << 23) ? subnormal : normal);
}

// Bits of the smallest magnitude that rounds to infinity.
inline constexpr uint32_t endless(const float*) { return 0x7f800000u; }
inline constexpr uint32_t endless(const Bf16*) { return 0x7f7f8000u; }
inline constexpr uint32_t endless(const F16*) { return 0x477ff000u; }

inline uint32_t round_any(uint32_t bits, const float*) { return bits; }

inline uint32_t round_any(uint32_t bits, const Bf16* type) {
  return (bits & 0x7fffffffu) > 0x7f800000u ? 0x7fc0u : round_finite(bits, type);
}

inline uint32_t round_any(uint32_t bits, const F16* type) {
  const uint32_t size = bits & 0x7fffffffu;
  const uint32_t special = (bits >> 16 & 0x8000u) | (size > 0x7f800000u ? 0x7e00u : 0x7c00u);
  return size >= endless(type) ? special : round_finite(bits, type);
}

inline void put(float& place, uint32_t bits) { place = from_bits(bits); }
inline void put(Bf16& place, uint32_t bits) { place.bits = uint16_t(bits); }
inline void put(F16& place, uint32_t bits) { place.bits = uint16_t(bits); }

}  // namespace evomerge::EVOMERGE_PATH
