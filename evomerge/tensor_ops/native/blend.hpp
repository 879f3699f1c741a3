// Combinations with fixed factors, in one pass, straight from the dtypes the tensors are kept in.
//
// Every product, sum and quotient is rounded to float32 on its own, in the order in which the torch
// form in interpolation.py does it: both give the same bits.
#pragma once

#include <memory>

#include "pairs.hpp"

namespace evomerge::EVOMERGE_PATH {

// A tile of every operand in one element type: their own, or float32 where they differ.
class Inputs {
 public:
  Inputs(const Values* operands, int32_t count)
      : operands_(operands), count_(count), tiles_(new Values[count]) {
    for (int32_t k = 1; k < count; ++k) mixed_ |= operands[k].dtype != operands[0].dtype;
    if (mixed_) wide_.reset(new float[size_t(count) * kTile]);
  }

  const Values* at(int64_t offset, int64_t length) {
    for (int32_t k = 0; k < count_; ++k) tiles_[k] = mixed_ ? widened(k, offset, length) : own(k, offset);
    return tiles_.get();
  }

 private:
  Values own(int32_t k, int64_t offset) const {
    return with_type(operands_[k], offset, [&](auto* place) { return Values{place, operands_[k].dtype}; });
  }

  Values widened(int32_t k, int64_t offset, int64_t length) const {
    float* place = wide_.get() + k * kTile;
    read_tile(operands_[k], offset, length, place);
    return Values{place, kF32};
  }

  const Values* operands_;
  int32_t count_;
  bool mixed_ = false;
  std::unique_ptr<Values[]> tiles_;
  std::unique_ptr<float[]> wide_;
};

// sum = (first ? 0 : sum) + Σ factor·(operand - origin) over K operands, kept in registers.
template <int K, bool First, class T, class Origin>
inline void add_scaled(const T* const* operands, const float* factors, Origin origin,
                       int64_t length, float* sum) {
  const T* from[K];
  float factor[K];
  for (int k = 0; k < K; ++k) from[k] = operands[k], factor[k] = factors[k];
  EVOMERGE_APART
  for (int64_t i = 0; i < length; ++i) {
    float total = origin(widen(from[0][i]), i) * factor[0];
    if (!First) total = sum[i] + total;
    for (int k = 1; k < K; ++k) total += origin(widen(from[k][i]), i) * factor[k];
    sum[i] = total;
  }
}

constexpr int32_t kAtOnce = 4;

// Sum any number of operands, up to four in one walk.
template <class T, class Origin>
inline void sum_scaled(const Values* operands, int32_t count, const float* factors, Origin origin,
                       int64_t length, float* sum) {
  for (int32_t done = 0; done < count; done += kAtOnce) {
    const T* from[kAtOnce] = {};
    const int32_t here = count - done < kAtOnce ? count - done : kAtOnce;
    for (int32_t k = 0; k < here; ++k) from[k] = static_cast<const T*>(operands[done + k].data);
    const float* factor = factors + done;
    if (done) {
      if (here == 1) add_scaled<1, false>(from, factor, origin, length, sum);
      if (here == 2) add_scaled<2, false>(from, factor, origin, length, sum);
      if (here == 3) add_scaled<3, false>(from, factor, origin, length, sum);
      if (here == 4) add_scaled<4, false>(from, factor, origin, length, sum);
    } else {
      if (here == 1) add_scaled<1, true>(from, factor, origin, length, sum);
      if (here == 2) add_scaled<2, true>(from, factor, origin, length, sum);
      if (here == 3) add_scaled<3, true>(from, factor, origin, length, sum);
      if (here == 4) add_scaled<4, true>(from, factor, origin, length, sum);
    }
  }
}

inline void divide_tile(float* sum, float divisor, int64_t length) {
  if (divisor == 1.0f) return;
  for (int64_t i = 0; i < length; ++i) sum[i] /= divisor;
}

// (Σ factor·(model - base)) / divisor over a tile; the base is the first operand.
template <class T>
EVOMERGE_ONCE void sum_deltas(const Blend& call, const Values* tiles, const T* base, int64_t length,
                              float* sum) {
  const auto delta = [base](float value, int64_t i) { return value - widen(base[i]); };
  sum_scaled<T>(tiles + 1, call.count - 1, call.factors, delta, length, sum);
  divide_tile(sum, call.divisor, length);
}

// (Σ factor·operand) / divisor over a tile.
template <class T>
EVOMERGE_ONCE void sum_plain(const Blend& call, const Values* tiles, const T*, int64_t length,
                             float* sum) {
  const auto itself = [](float value, int64_t) { return value; };
  sum_scaled<T>(tiles, call.count, call.factors, itself, length, sum);
  divide_tile(sum, call.divisor, length);
}

// The same of pairs, all in registers.
template <int K, bool Deltas, bool Divides>
EVOMERGE_ONCE bool blend_pairs(const Blend& call, const Pairs<K>& pairs, int64_t length, Bf16* out) {
  float factor[K];
  for (int k = 0; k < K; ++k) factor[k] = call.factors[k];
  const float divisor = call.divisor, scale = call.scale;
  return round_pairs<K>(out, length, pairs, [=](auto half, const uint32_t* words, uint32_t base) {
    const float origin = Deltas ? widen_half<half>(base) : 0.0f;
    float total = 0.0f;
    for (int k = 0; k < K; ++k) {
      const float value = widen_half<half>(words[k]);
      const float part = (Deltas ? value - origin : value) * factor[k];
      total = k ? total + part : part;
    }
    if (Divides) total /= divisor;
    return Checked{Deltas ? total * scale + origin : total, 0};
  });
}

inline bool blend_pairs(const Blend& call, int64_t offset, int64_t length, Bf16* out) {
  const int32_t skipped = call.deltas ? 1 : 0;
  return with_count(call.count - skipped, [=](auto count) {
    const Pairs<count> pairs(call.operands + skipped, call.deltas ? call.operands[0] : Values{}, offset);
    if (call.divisor == 1.0f)
      return call.deltas ? blend_pairs<count, true, false>(call, pairs, length, out)
                         : blend_pairs<count, false, false>(call, pairs, length, out);
    return call.deltas ? blend_pairs<count, true, true>(call, pairs, length, out)
                       : blend_pairs<count, false, true>(call, pairs, length, out);
  });
}

// With `deltas` base + scale times the sum, otherwise the sum; whether all of it is finite.
inline bool blend(const Blend& call) {
  return with_type(call.out, 0, [&call](auto* out) {
    Writer writer(out, call.length);
    Inputs inputs(call.operands, call.count);
    alignas(64) float sum[kTile];
    const float scale = call.scale;
    const bool pairs = paired(call.operands, call.count);
    for (int64_t offset = 0; offset < call.length; offset += kTile) {
      const int64_t length = shorter(kTile, call.length - offset);
      if (pairs && writer.try_pairs(offset, length, [&](Bf16* to) {
            return blend_pairs(call, offset, length, to);
          }))
        continue;
      const Values* tiles = inputs.at(offset, length);
      with_type(tiles[0], 0, [&](const auto* first) {
        if (call.deltas) {
          sum_deltas(call, tiles, first, length, sum);
          writer.write(offset, length, [&](int64_t i) { return sum[i] * scale + widen(first[i]); });
        } else {
          sum_plain(call, tiles, first, length, sum);
          writer.write(offset, length, [&](int64_t i) { return sum[i]; });
        }
      });
    }
    return writer.finite();
  });
}

}  // namespace evomerge::EVOMERGE_PATH
