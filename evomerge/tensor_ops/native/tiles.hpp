// Runs of elements short enough to stay in the first-level cache: read once, written once.
#pragma once

#include <type_traits>

#include "interface.hpp"
#include "numbers.hpp"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace evomerge::EVOMERGE_PATH {

constexpr int64_t kTile = 1024;

inline int64_t shorter(int64_t a, int64_t b) { return a < b ? a : b; }

// Tells the compiler that what a loop writes is none of what it reads.
#if defined(__clang__)
#define EVOMERGE_APART _Pragma("clang loop vectorize(assume_safety)")
#elif defined(__GNUC__)
#define EVOMERGE_APART _Pragma("GCC ivdep")
#else
#define EVOMERGE_APART
#endif

// From this many bytes on, a result goes past the caches: it would push out what is still needed
// and be read before it is overwritten.
constexpr int64_t kLarge = int64_t(8) << 20;

// Keeps one copy of a function instead of one per place that calls it.
#if defined(__GNUC__)
#define EVOMERGE_ONCE __attribute__((noinline))
#else
#define EVOMERGE_ONCE
#endif

template <class Action>
inline auto with_type(const Values& values, int64_t offset, Action action) {
  switch (values.dtype) {
    case kBf16:
      return action(static_cast<Bf16*>(values.data) + offset);
    case kF16:
      return action(static_cast<F16*>(values.data) + offset);
    default:
      return action(static_cast<float*>(values.data) + offset);
  }
}

inline void read_tile(const Values& values, int64_t offset, int64_t length, float* __restrict to) {
  with_type(values, offset, [=](const auto* __restrict from) {
    for (int64_t i = 0; i < length; ++i) to[i] = widen(from[i]);
  });
}

// Round a tile of value(i) into `out`; false where any result is infinite or NaN.
template <class T, class Value>
inline bool round_tile(T* __restrict out, int64_t length, Value value) {
  uint32_t largest = 0;
  for (int64_t i = 0; i < length; ++i) {
    const float exact = value(i);
    const uint32_t size = magnitude_bits(exact);
    largest = size > largest ? size : largest;
    put(out[i], round_finite(to_bits(exact), out));
  }
  if (largest < endless(out)) return true;
  for (int64_t i = 0; i < length; ++i) put(out[i], round_any(to_bits(value(i)), out));
  return false;
}

// Copy past the caches; both aligned to 16 bytes, bytes a multiple of 16.
inline void stream_tile(const void* from, void* to, int64_t bytes) {
#if defined(__SSE2__)
  const auto* source = static_cast<const __m128i*>(from);
  auto* target = static_cast<__m128i*>(to);
  for (int64_t i = 0; i < bytes / 16; ++i) _mm_stream_si128(target + i, _mm_load_si128(source + i));
#else
  std::memcpy(to, from, bytes);
#endif
}

inline void finish_streams() {
#if defined(__SSE2__)
  _mm_sfence();
#endif
}

// Writes tiles of a result, in order, each element once.
template <class T>
class Writer {
 public:
  Writer(T* out, int64_t length)
      : out_(out),
        streams_(length * int64_t(sizeof(T)) >= kLarge && reinterpret_cast<uintptr_t>(out) % 16 == 0) {}

  ~Writer() {
    if (streams_) finish_streams();
  }

  template <class Value>
  void write(int64_t offset, int64_t length, Value value) {
    if (!streams_ || length < kTile) {
      finite_ &= round_tile(out_ + offset, length, value);
      return;
    }
    finite_ &= round_tile(tile_, length, value);
    stream_tile(tile_, out_ + offset, length * int64_t(sizeof(T)));
  }

  // Let fill(place) write a tile of pairs; false where it does not succeed, or there are none.
  template <class Fill>
  bool try_pairs(int64_t offset, int64_t length, Fill fill) {
    if constexpr (std::is_same_v<T, Bf16>) {
      const bool streamed = streams_ && length == kTile;
      if (length % 2 || !fill(streamed ? tile_ : out_ + offset)) return false;
      if (streamed) stream_tile(tile_, out_ + offset, length * int64_t(sizeof(T)));
      return true;
    }
    return false;
  }

  bool finite() const { return finite_; }

 private:
  T* out_;
  bool streams_;
  bool finite_ = true;
  alignas(64) T tile_[kTile];
};

}  // namespace evomerge::EVOMERGE_PATH
