// Random numbers of 32 bits: the streams of philox.py, by Philox 4x64-10 (Salmon et al., 2011).
//
// A number's bits lie in 32 planes, the highest first; one counter yields one plane's bits of 256
// numbers. Whether a number is below a limit shows in the first plane where the two differ: so few
// planes are ever drawn, and one alone where the limit is a half.
#pragma once

#include "tiles.hpp"

namespace evomerge::EVOMERGE_PATH {

constexpr int64_t kGroup = 256, kWords = 4, kWordBits = 64;
constexpr int kPlanes = 32;

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

// The bits of one plane of a group of numbers. numpy counts up before it draws.
inline void draw_plane(const uint64_t key[2], uint64_t group, uint64_t plane, uint64_t bits[kWords]) {
  uint64_t x0 = group + 1, x1 = plane, x2 = 0, x3 = 0, k0 = key[0], k1 = key[1];
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
  bits[0] = x0, bits[1] = x1, bits[2] = x2, bits[3] = x3;
}

// Bit 8·i + j becomes bit 8·j + i.
inline uint64_t transpose(uint64_t word) {
  uint64_t moved = (word ^ word >> 7) & 0x00AA00AA00AA00AAu;
  word ^= moved ^ moved << 7;
  moved = (word ^ word >> 14) & 0x0000CCCC0000CCCCu;
  word ^= moved ^ moved << 14;
  moved = (word ^ word >> 28) & 0x00000000F0F0F0F0u;
  return word ^ moved ^ moved << 28;
}

// Set the bits of those numbers of a group that are below `limit`.
inline void find_below(const uint64_t key[2], uint64_t group, uint32_t limit, uint64_t below[kWords]) {
  uint64_t level[kWords], bits[kWords], undecided = 1;
  for (int64_t k = 0; k < kWords; ++k) below[k] = 0, level[k] = ~uint64_t(0);
  for (uint64_t plane = 0; limit && undecided; limit <<= 1, ++plane) {
    draw_plane(key, group, plane, bits);
    const uint64_t wanted = limit >> 31 ? ~uint64_t(0) : 0;
    undecided = 0;
    for (int64_t k = 0; k < kWords; ++k) {
      below[k] |= level[k] & wanted & ~bits[k];
      level[k] &= ~(bits[k] ^ wanted);
      undecided |= level[k];
    }
  }
}

// Bits are handed on in chunks of 32; vector code tests them by `chunk & kBits.at[i]`.
constexpr int64_t kChunk = 32;

struct Bits {
  alignas(64) uint32_t at[kChunk];
  constexpr Bits() : at() {
    for (int i = 0; i < kChunk; ++i) at[i] = uint32_t(1) << i;
  }
};
inline constexpr Bits kBits{};

// Write one bit for each of the numbers [start, start + length), at most a tile: find(group, words)
// tells the bits of a group. What is beyond the end is undefined.
template <class Find>
inline void write_bits(int64_t start, int64_t length, uint32_t* chunks, Find find) {
  uint64_t words[kTile / kWordBits + kWords + 1] = {};
  const int64_t skipped = start % kGroup;
  for (int64_t done = 0; done < skipped + length; done += kGroup)
    find(uint64_t((start + done) / kGroup), words + done / kWordBits);
  for (int64_t i = 0; i * kChunk < length; ++i) {
    const int64_t bit = skipped + i * kChunk, shift = bit % kWordBits;
    const uint64_t* word = words + bit / kWordBits;
    chunks[i] = uint32_t(word[0] >> shift | (shift ? word[1] << (kWordBits - shift) : 0));
  }
}

// Masks are kept as one bit per element, the lowest of a byte first, with 8 bytes of room at the end.
// Read those of the elements [first, first + length), at most a tile.
inline void read_bits(const uint8_t* bits, int64_t first, int64_t length, uint32_t* chunks) {
  for (int64_t i = 0; i * kChunk < length; ++i) {
    uint64_t word;
    std::memcpy(&word, bits + (first + i * kChunk) / 8, sizeof word);
    chunks[i] = uint32_t(word >> first % 8);
  }
}

// Add the bits of 8 elements, one byte each, 0 or 1, from bit `first` on; bits there are zero.
inline void add_bits(const uint8_t* kept, uint8_t* bits, int64_t first) {
  uint64_t word;
  std::memcpy(&word, kept, sizeof word);
  const uint32_t packed = uint32_t(word * 0x0102040810204080u >> 56) << first % 8;
  bits[first / 8] |= uint8_t(packed);
  bits[first / 8 + 1] |= uint8_t(packed >> 8);
}

// Tell of each of the numbers [start, start + length), at most a tile, whether it is below `limit`.
EVOMERGE_ONCE void draw_mask(const uint64_t key[2], uint32_t limit, int64_t start, int64_t length,
                             uint32_t* chunks) {
  write_bits(start, length, chunks, [=](uint64_t group, uint64_t* words) {
    find_below(key, group, limit, words);
  });
}

// Write the mask of the numbers [start, start + length), bits and 8 bytes of room.
inline void draw_bits(const uint64_t key[2], uint32_t limit, int64_t start, int64_t length, uint8_t* bits) {
  for (int64_t done = 0; done < length; done += kTile) {
    uint32_t chunks[kTile / kChunk];
    const int64_t here = shorter(kTile, length - done);
    draw_mask(key, limit, start + done, here, chunks);
    std::memcpy(bits + done / 8, chunks, size_t(here + 7) / 8);
  }
}

// Write the upper 8 bits of the numbers [start, start + length) somewhere in `room`, which holds two
// groups more than these; returns where.
inline const uint8_t* draw_upper(const uint64_t key[2], int64_t start, int64_t length, uint8_t* room) {
  const int64_t skipped = start % kGroup;
  uint8_t* out = room;
  for (int64_t done = 0; done < skipped + length; done += kGroup) {
    alignas(64) uint64_t eights[kGroup / 8] = {};  // of each byte one plane
    for (uint64_t plane = 0; plane < 8; ++plane) {
      uint64_t bits[kWords];
      draw_plane(key, uint64_t((start + done) / kGroup), plane, bits);
      for (int64_t k = 0; k < kWords; ++k)
        for (uint64_t j = 0; j < 8; ++j)
          eights[k * 8 + int64_t(j)] |= (bits[k] >> 8 * j & 255) << 8 * (7 - plane);
    }
    for (uint64_t& eight : eights) eight = transpose(eight);
    std::memcpy(out + done, eights, sizeof eights);
  }
  return room + skipped;
}

// Whether one number is below `limit`, bit by bit from the highest, the first 8 of which are equal.
EVOMERGE_ONCE bool is_below(const uint64_t key[2], int64_t index, uint64_t limit) {
  if (limit >> kPlanes) return true;
  for (int plane = 8; plane < kPlanes; ++plane) {
    uint64_t bits[kWords];
    draw_plane(key, uint64_t(index / kGroup), uint64_t(plane), bits);
    const uint64_t bit = bits[index % kGroup / kWordBits] >> index % kWordBits & 1;
    const uint64_t wanted = limit >> (kPlanes - 1 - plane) & 1;
    if (bit != wanted) return bit < wanted;
  }
  return false;
}

// Write the numbers [start, start + length).
inline void draw(const uint64_t key[2], int64_t start, int64_t length, uint32_t* out) {
  for (int64_t done = 0; done < length; done += kTile) {
    const int64_t here = shorter(kTile, length - done);
    uint32_t chunks[kTile / kChunk], numbers[kTile] = {};
    for (uint64_t plane = 0; plane < kPlanes; ++plane) {
      write_bits(start + done, here, chunks, [=](uint64_t group, uint64_t* words) {
        draw_plane(key, group, plane, words);
      });
      for (int64_t i = 0; i < kTile; ++i)
        numbers[i] = numbers[i] << 1 | (chunks[i / kChunk] >> i % kChunk & 1u);
    }
    std::memcpy(out + done, numbers, size_t(here) * sizeof(uint32_t));
  }
}

}  // namespace evomerge::EVOMERGE_PATH
