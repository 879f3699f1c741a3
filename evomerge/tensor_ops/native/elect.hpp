// Thinned task vectors and the election among them, in one pass.
//
// Every operation is rounded to float32 on its own, in the order in which the torch form in
// consensus.py does it: both give the same bits.
#pragma once

#include <memory>

#include "blend.hpp"
#include "philox.hpp"

namespace evomerge::EVOMERGE_PATH {

constexpr uint64_t kAllDraws = uint64_t(1) << 32;

// What a cut keeps from element `here` on, up to where that changes.
inline float bound(const Cut& cut, int64_t here) {
  return here <= cut.last_equal ? cut.upto : cut.beyond;
}

// The end of a run from `here` on, at most `end`, within which the bounds of a cut are the same.
inline int64_t clip(const Cut& cut, int64_t here, int64_t end) {
  return here <= cut.last_equal && cut.last_equal < end - 1 ? cut.last_equal + 1 : end;
}

inline int64_t clip(const Thinning& thinning, int64_t here, int64_t end) {
  return clip(thinning.ceiling, here, clip(thinning.floor, here, end));
}

// Whether some cut drops anything: the bounds of none are -1 and NaN.
inline bool cuts(const Thinning& thinning) {
  return thinning.floor.upto != -1.0f || thinning.ceiling.upto == thinning.ceiling.upto ||
         thinning.ceiling.beyond == thinning.ceiling.beyond;
}

// Write delta(i), zeroed where it is not kept, times factor, times weight; with `Add` add it.
template <bool Add, bool Cuts, class Delta, class Kept>
inline void thin_run(Delta delta, float floor, float ceiling, float factor, float weight,
                     int64_t length, Kept kept, float* out) {
  EVOMERGE_APART
  for (int64_t i = 0; i < length; ++i) {
    const float value = delta(i), size = magnitude(value);
    const bool keep = Cuts ? (size >= floor) & !(size >= ceiling) & kept(i) : kept(i);
    // Infinity times 0 is NaN.
    const float thinned = value * (keep ? 1.0f : 0.0f) * factor * weight;
    out[i] = Add ? out[i] + thinned : thinned;
  }
}

// The same for a run of one bound; `here` is the index of its first element in the flat tensor.
template <bool Add, bool Cuts, class Delta>
inline void thin_run(const Thinning& thinning, float weight, Delta delta, int64_t here, int64_t length,
                     float* out) {
  const float floor = bound(thinning.floor, here), ceiling = bound(thinning.ceiling, here);
  const float factor = thinning.factor;
  if (thinning.limit == kAllDraws && !thinning.kept)
    return thin_run<Add, Cuts>(delta, floor, ceiling, factor, weight, length,
                               [](int64_t) { return true; }, out);
  uint32_t chunks[kTile / kChunk];
  if (thinning.kept)
    read_bits(thinning.kept, here - thinning.first, length, chunks);
  else
    draw_mask(thinning.key, uint32_t(thinning.limit), here, length, chunks);
  const auto thin_chunk = [&](int64_t from, int64_t count) {
    const uint32_t chunk = chunks[from / kChunk];
    thin_run<Add, Cuts>([=](int64_t i) { return delta(from + i); }, floor, ceiling, factor, weight, count,
                        [=](int64_t i) { return (chunk & kBits.at[i]) != 0; }, out + from);
  };
  int64_t from = 0;
  for (; from + kChunk <= length; from += kChunk) thin_chunk(from, kChunk);
  if (from < length) thin_chunk(from, length - from);
}

// The thinned task vector, times its weight, of elements [offset, offset + length).
template <bool Add>
inline void thin(const Thinning& thinning, float weight, const Values& model, const Values& base,
                 int64_t offset, int64_t here, int64_t length, float* out) {
  with_type(model, offset, [&](const auto* from) {
    with_type(base, offset, [&](const auto* origin) {
      const auto delta = [=](int64_t i) { return widen(from[i]) - widen(origin[i]); };
      if (cuts(thinning))
        thin_run<Add, true>(thinning, weight, delta, here, length, out);
      else
        thin_run<Add, false>(thinning, weight, delta, here, length, out);
    });
  });
}

inline float sign(float value) { return (value > 0.0f ? 1.0f : 0.0f) - (value < 0.0f ? 1.0f : 0.0f); }

// The bit that turns what agrees with a vote into a positive number. Bits, as compilers make a
// choice between two numbers into choices between all that follows from them.
inline uint32_t against(float vote) { return vote >= 0.0f ? 0u : 0x80000000u; }

inline float agrees(uint32_t against, float delta) {
  return from_bits(to_bits(delta) ^ against) > 0.0f ? 1.0f : 0.0f;
}

// What a vote is: a weighted task vector, its sign, or a task vector not weighted yet.
enum Vote { kWeighted, kSign, kPlain };

// sum = what agrees with the elected sign, shares = its weights; K task vectors in registers.
template <int K, Vote V>
inline void elect_few(const float* deltas, const float* weights, int64_t length, float* sum,
                      float* shares) {
  float weight[K];
  for (int k = 0; k < K; ++k) weight[k] = weights[k];
  EVOMERGE_APART
  for (int64_t i = 0; i < length; ++i) {
    float vote = V == kSign ? sign(deltas[i]) : deltas[i];
    for (int k = 1; k < K; ++k) {
      const float delta = deltas[k * kTile + i];
      vote += V == kSign ? sign(delta) : delta;
    }
    const uint32_t flip = against(vote);
    float total = 0.0f, share = 0.0f;
    for (int k = 0; k < K; ++k) {
      const float delta = deltas[k * kTile + i];
      const float agreed = agrees(flip, delta);
      total += (V == kPlain ? delta * weight[k] : delta) * agreed;
      share += weight[k] * agreed;
    }
    sum[i] = total;
    shares[i] = share;
  }
}

// The same for any number of task vectors, one walk over each.
template <Vote V>
inline void elect_many(const float* deltas, const float* weights, int32_t count, int64_t length,
                       float* sum, float* shares) {
  alignas(64) float votes[kTile];
  for (int64_t i = 0; i < length; ++i) {
    votes[i] = V == kSign ? sign(deltas[i]) : deltas[i];
    sum[i] = shares[i] = 0.0f;
  }
  for (int32_t k = 1; k < count; ++k) {
    const float* delta = deltas + k * kTile;
    for (int64_t i = 0; i < length; ++i) votes[i] += V == kSign ? sign(delta[i]) : delta[i];
  }
  for (int32_t k = 0; k < count; ++k) {
    const float* delta = deltas + k * kTile;
    const float weight = weights[k];
    EVOMERGE_APART
    for (int64_t i = 0; i < length; ++i) {
      const float agreed = agrees(against(votes[i]), delta[i]);
      sum[i] += (V == kPlain ? delta[i] * weight : delta[i]) * agreed;
      shares[i] += weight * agreed;
    }
  }
}

template <Vote V>
inline void elect_signs(const float* deltas, const float* weights, int32_t count, int64_t length,
                        float* sum, float* shares) {
  switch (count) {
    case 1:
      return elect_few<1, V>(deltas, weights, length, sum, shares);
    case 2:
      return elect_few<2, V>(deltas, weights, length, sum, shares);
    case 3:
      return elect_few<3, V>(deltas, weights, length, sum, shares);
    case 4:
      return elect_few<4, V>(deltas, weights, length, sum, shares);
    default:
      return elect_many<V>(deltas, weights, count, length, sum, shares);
  }
}

// One tile of an election: task vectors, and what becomes of them.
class Ballot {
 public:
  explicit Ballot(const Election& call)
      : call_(call), deltas_(new float[size_t(call.count) * kTile]), weights_(new float[call.count]) {
    for (int32_t k = 0; k < call.count; ++k) weights_[k] = call.thinnings[k].weight;
  }

  // The end of the tile that begins at `offset`: bounds do not change within it.
  int64_t end(int64_t offset) const {
    int64_t end = call_.start + shorter(offset - offset % kTile + kTile, call_.length);
    for (int32_t k = 0; k < call_.count; ++k)
      end = clip(call_.thinnings[k], call_.start + offset, end);
    return end - call_.start;
  }

  EVOMERGE_ONCE const float* merge(int64_t offset, int64_t length) {
    if (call_.consensus == kNone) {
      thin_out<false>(0, weights_[0], offset, length, sum_);
      for (int32_t k = 1; k < call_.count; ++k) thin_out<true>(k, weights_[k], offset, length, sum_);
      divide_tile(sum_, call_.divisor, length);
      return sum_;
    }
    for (int32_t k = 0; k < call_.count; ++k)
      thin_out<false>(k, call_.consensus == kPlainSum ? 1.0f : weights_[k], offset, length,
                      deltas_.get() + k * kTile);
    elect(length);
    return sum_;
  }

 private:
  template <bool Add>
  EVOMERGE_ONCE void thin_out(int32_t k, float weight, int64_t offset, int64_t length, float* out) {
    thin<Add>(call_.thinnings[k], weight, call_.models[k], call_.base, offset, call_.start + offset,
              length, out);
  }

  void elect(int64_t length) {
    if (call_.consensus == kCount)
      elect_signs<kSign>(deltas_.get(), weights_.get(), call_.count, length, sum_, shares_);
    else if (call_.consensus == kPlainSum)
      elect_signs<kPlain>(deltas_.get(), weights_.get(), call_.count, length, sum_, shares_);
    else
      elect_signs<kWeighted>(deltas_.get(), weights_.get(), call_.count, length, sum_, shares_);
    if (!call_.normalize) return;
    for (int64_t i = 0; i < length; ++i) sum_[i] /= shares_[i] == 0.0f ? 1.0f : shares_[i];
  }

  const Election& call_;
  std::unique_ptr<float[]> deltas_;
  std::unique_ptr<float[]> weights_;
  alignas(64) float sum_[kTile];
  alignas(64) float shares_[kTile];
};

}  // namespace evomerge::EVOMERGE_PATH
