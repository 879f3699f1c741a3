// What Python hands over: the C side of the structures in native_library.py.
#pragma once

#include <cstdint>

namespace evomerge {

// Counts up with every change of what is declared here or in exports.hpp; a library whose
// version is not VERSION in native_library.py is not used.
constexpr int32_t kVersion = 5;

enum Dtype : int32_t { kF32 = 0, kBf16 = 1, kF16 = 2 };

// A run of elements in the dtype they are kept in; data is null where there are none.
struct Values {
  void* data;
  int32_t dtype;
};

// Magnitudes that are kept: those from `upto` on while the index is at most last_equal, from
// `beyond` on afterwards. Neither keeps NaN.
struct Cut {
  float upto;
  float beyond;
  int64_t last_equal;
};

// What is left of one task vector, and its weight in the sum.
struct Thinning {
  Cut floor;
  Cut ceiling;      // what it keeps is dropped
  uint64_t key[2];  // Philox key of the random mask
  uint64_t limit;   // 32-bit draws below it are kept; 2^32 keeps all and draws nothing
  const uint8_t* kept;  // the mask, drawn before, as one bit per element; null where it is not
  int64_t first;        // index of the element whose bit is the first
  float factor;
  float weight;
};

struct Blend {
  const Values* operands;  // with `deltas` the base comes first
  const float* factors;    // one per operand, none for the base of `deltas`
  Values out;
  int64_t length;
  int32_t count;   // of operands
  int32_t deltas;  // whether task vectors are combined and added to the base
  float divisor;
  float scale;     // of the task vectors' sum
};

enum Consensus : int32_t { kNone = 0, kSum = 1, kCount = 2, kPlainSum = 3 };

struct Election {
  const Values* models;
  const Thinning* thinnings;
  Values base;
  Values out;
  int64_t start;  // index of the first element in the flat tensor
  int64_t length;
  int32_t count;
  int32_t consensus;
  int32_t normalize;  // whether sums are divided by the weights that agree
  float divisor;      // applied where consensus is kNone
  float scale;
};

}  // namespace evomerge
