// Philox 4x64-10 (Salmon et al., 2011), counted as numpy counts: up before each draw.
#pragma once

#include <cstdint>
#include <cstring>

namespace evomerge::EVOMERGE_PATH {

constexpr int64_t kDrawsPerCounter = 8;

inline uint64_t multiply(uint64_t left, uint64_t right, uint64_t& high) {
#if defined(__SIZEOF_INT128__)
  const unsigned __int128 product = static_cast<unsigned __int128>(left) * right;
  high = uint64_t(product >> 64);
  return uint64_t(product);
#else
  const uint64_t a = left >> 32, b = uint32_t(left), c = right >> 32, d = uint32_t(right);
  const uint64_t middle = a * d + (b * d >> 32);
  const uint64_t other = b * c + uint32_t(middle);
  high = a * c + (middle >> 32) + (other >> 32);
  return left * right;
#endif
}

// The 256 bits of one counter; it never exceeds 64 bits here.
inline void draw_counter(uint64_t counter, const uint64_t key[2], uint64_t out[4]) {
  uint64_t x0 = counter, x1 = 0, x2 = 0, x3 = 0, k0 = key[0], k1 = key[1];
  for (int round = 0; round < 10; ++round) {
    uint64_t high0, high1;
    const uint64_t low0 = multiply(0xD2E7470EE14C6C93u, x0, high0);
    const uint64_t low1 = multiply(0xCA5A826395121157u, x2, high1);
    x0 = high1 ^ x1 ^ k0;
    x1 = low1;
    x2 = high0 ^ x3 ^ k1;
    x3 = low0;
    k0 += 0x9E3779B97F4A7C15u;
    k1 += 0xBB67AE8584CAA73Bu;
  }
  out[0] = x0, out[1] = x1, out[2] = x2, out[3] = x3;
}

// Draws [start, start + length) of 32 bits each, lower halves first: as words lie in the memory of
// a little-endian machine, which all of this is for.
inline void draw(const uint64_t key[2], int64_t start, int64_t length, uint32_t* out) {
  for (int64_t done = 0; done < length;) {
    const int64_t skipped = (start + done) % kDrawsPerCounter, left = length - done;
    const uint64_t counter = uint64_t((start + done) / kDrawsPerCounter) + 1;
    uint64_t words[4];
    draw_counter(counter, key, words);
    if (skipped == 0 && left >= kDrawsPerCounter) {
      std::memcpy(out + done, words, sizeof words);
      done += kDrawsPerCounter;
    } else {
      const int64_t room = kDrawsPerCounter - skipped, here = left < room ? left : room;
      std::memcpy(out + done, reinterpret_cast<char*>(words) + 4 * skipped, size_t(4 * here));
      done += here;
    }
  }
}

}  // namespace evomerge::EVOMERGE_PATH
