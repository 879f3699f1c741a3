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

// Write model - base, zeroed where it is not kept, times factor, times weight.
template <class T, class B, class Kept>
inline void thin_run(const T* model, const B* base, float floor, float ceiling, float factor,
                     float weight, int64_t length, Kept kept, float* out) {
  EVOMERGE_APART
  for (int64_t i = 0; i < length; ++i) {
    const float delta = widen(model[i]) - widen(base[i]);
    const float size = magnitude(delta);
    const bool keep = (size >= floor) & !(size >= ceiling) & kept(i);
    out[i] = delta * (keep ? 1.0f : 0.0f) * factor * weight;  // infinity times 0 is NaN
  }
}

// The thinned task vector, times its weight, of elements [offset, offset + length), a run of one bound;
// `here` is the index of the first in the flat tensor.
inline void thin(const Thinning& thinning, float weight, const Values& model, const Values& base,
                 int64_t offset, int64_t here, int64_t length, float* out) {
  const float floor = bound(thinning.floor, here), ceiling = bound(thinning.ceiling, here);
  with_type(model, offset, [&](const auto* from) {
    with_type(base, offset, [&](const auto* origin) {
      if (thinning.limit == kAllDraws) {
        const auto all = [](int64_t) { return true; };
        thin_run(from, origin, floor, ceiling, thinning.factor, weight, length, all, out);
      } else {
        alignas(64) uint32_t draws[kTile];
        draw(thinning.key, here, length, draws);
        const uint32_t limit = uint32_t(thinning.limit);
        const auto drawn = [&draws, limit](int64_t i) { return draws[i] < limit; };
        thin_run(from, origin, floor, ceiling, thinning.factor, weight, length, drawn, out);
      }
    });
  });
}

inline float sign(float value) { return (value > 0.0f ? 1.0f : 0.0f) - (value < 0.0f ? 1.0f : 0.0f); }

inline float agrees(float vote, float delta) {
  const float along = vote >= 0.0f ? delta : -delta;
  return along > 0.0f ? 1.0f : 0.0f;
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
    float total = 0.0f, share = 0.0f;
    for (int k = 0; k < K; ++k) {
      const float delta = deltas[k * kTile + i];
      const float agreed = agrees(vote, delta);
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
      const float agreed = agrees(votes[i], delta[i]);
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
    for (int32_t k = 0; k < call_.count; ++k)
      thin(call_.thinnings[k], call_.consensus == kPlainSum ? 1.0f : weights_[k], call_.models[k],
           call_.base, offset, call_.start + offset, length, deltas_.get() + k * kTile);
    if (call_.consensus == kNone)
      add_all(length);
    else
      elect(length);
    return sum_;
  }

 private:
  void add_all(int64_t length) {
    std::memcpy(sum_, deltas_.get(), size_t(length) * sizeof(float));
    for (int32_t k = 1; k < call_.count; ++k) {
      const float* delta = deltas_.get() + k * kTile;
      EVOMERGE_APART
      for (int64_t i = 0; i < length; ++i) sum_[i] += delta[i];
    }
    divide_tile(sum_, call_.divisor, length);
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

inline bool elect(const Election& call) {
  return with_type(call.out, 0, [&call](auto* out) {
    Writer writer(out, call.length);
    Ballot ballot(call);
    for (int64_t offset = 0, end; offset < call.length; offset = end) {
      end = ballot.end(offset);
      const float* sum = ballot.merge(offset, end - offset);
      const float scale = call.scale;
      with_type(call.base, offset, [&](const auto* base) {
        writer.write(offset, end - offset,
                     [=](int64_t i) { return sum[i] * scale + widen(base[i]); });
      });
    }
    return writer.finite();
  });
}

}  // namespace evomerge::EVOMERGE_PATH
