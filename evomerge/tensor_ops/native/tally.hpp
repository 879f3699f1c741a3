// Elections among bfloat16 task vectors, up to four, that are thinned out by magnitude alone: all in
// registers, nothing written but the result.
//
// The bits of the loops in elect.hpp: masks choose where those multiply by 1 or 0, which is the same
// for all that is finite.
#pragma once

#include "elect.hpp"

namespace evomerge::EVOMERGE_PATH {

// Whether an election can be held this way.
inline bool tallied(const Election& call) {
  bool plain = call.consensus == kNone || call.consensus == kSum;
  for (int32_t k = 0; k < call.count; ++k) {
    const Thinning& thinning = call.thinnings[k];
    plain &= thinning.limit == kAllDraws && !thinning.kept && thinning.factor == 1.0f;
  }
  return plain && paired(call.models, call.count) && paired(&call.base, 1);
}

// What a run keeps of a task vector: magnitudes with bits above `below` and not above `most`.
struct Band {
  int32_t below;
  int32_t most;
};

inline Band band(const Thinning& thinning, int64_t here) {
  const float floor = bound(thinning.floor, here), ceiling = bound(thinning.ceiling, here);
  const int32_t below = floor < 0.0f ? -1 : int32_t(to_bits(floor)) - 1;
  return {below, ceiling == ceiling ? int32_t(to_bits(ceiling)) - 1 : INT32_MAX};
}

// All bits where a condition holds, none elsewhere: compilers make a choice between two numbers into
// choices between all that follows from them.
inline uint32_t mask(bool condition) { return 0u - uint32_t(condition); }

// Bits of a number that is kept; dropped ones are zero.
template <bool Caps>
inline uint32_t thin_one(uint32_t bits, Band band) {
  const int32_t size = int32_t(bits & 0x7fffffffu);
  const uint32_t kept = bits & mask(size > band.below);
  return Caps ? kept & ~mask(size > band.most) : kept;
}

// The sum of what has the sign of the vote, divided by its weights where they are asked for.
template <int K, bool Normalize>
inline float elect_one(const float* deltas, const float* weights, float vote) {
  const uint32_t flip = against(vote);
  float total = 0.0f, share = 0.0f;
  for (int k = 0; k < K; ++k) {
    const uint32_t bits = to_bits(deltas[k]) ^ flip;
    const uint32_t agrees = mask(int32_t(bits) > 0);
    total += from_bits(bits & agrees);
    share += from_bits(to_bits(weights[k]) & agrees);
  }
  total = from_bits(to_bits(total) ^ flip);
  return Normalize ? total / (share == 0.0f ? 1.0f : share) : total;
}

enum Form { kAdd, kAddDivided, kElect, kElectNormalized };

// Caps: whether there are ceilings; what these drop is not seen in the vote, and may be infinite.
template <int K, Form F, bool Caps>
EVOMERGE_ONCE bool tally(const Election& call, const Pairs<K>& pairs, int64_t here, int64_t length,
                         Bf16* out) {
  float weights[K];
  Band bands[K];
  for (int k = 0; k < K; ++k) {
    weights[k] = call.thinnings[k].weight;
    bands[k] = band(call.thinnings[k], here);
  }
  const float scale = call.scale, divisor = call.divisor;
  return round_pairs<K>(out, length, pairs, [=](auto half, const uint32_t* words, uint32_t base) {
    const float origin = widen_half<half>(base);
    float deltas[K], vote = 0.0f;
    uint32_t size = 0;
    for (int k = 0; k < K; ++k) {
      const uint32_t bits = to_bits(widen_half<half>(words[k]) - origin);
      if (Caps) size = larger(size, bits & 0x7fffffffu);
      uint32_t kept = thin_one<Caps>(bits, bands[k]);
      if (F == kAdd || F == kAddDivided) kept |= bits & 0x80000000u;  // as a product with 0
      deltas[k] = from_bits(kept) * weights[k];
      vote = k ? vote + deltas[k] : deltas[k];
    }
    size = larger(size, magnitude_bits(vote));
    float total = vote;
    if (F == kAddDivided) total /= divisor;
    if (F == kElect) total = elect_one<K, false>(deltas, weights, vote);
    if (F == kElectNormalized) total = elect_one<K, true>(deltas, weights, vote);
    return Checked{total * scale + origin, size};
  });
}

// Merge a tile; false where the general loops have to.
inline bool tally(const Election& call, int64_t offset, int64_t length, Bf16* out) {
  const int64_t here = call.start + offset;
  bool caps = false;
  for (int32_t k = 0; k < call.count; ++k) caps |= band(call.thinnings[k], here).most != INT32_MAX;
  return with_count(call.count, [=](auto count) {
    const Pairs<count> pairs(call.models, call.base, offset);
    if (call.consensus == kNone)
      return call.divisor == 1.0f ? tally<count, kAdd, true>(call, pairs, here, length, out)
                                  : tally<count, kAddDivided, true>(call, pairs, here, length, out);
    if (caps)
      return call.normalize ? tally<count, kElectNormalized, true>(call, pairs, here, length, out)
                            : tally<count, kElect, true>(call, pairs, here, length, out);
    return call.normalize ? tally<count, kElectNormalized, false>(call, pairs, here, length, out)
                          : tally<count, kElect, false>(call, pairs, here, length, out);
  });
}

inline bool elect(const Election& call) {
  return with_type(call.out, 0, [&call](auto* out) {
    Writer writer(out, call.length);
    Ballot ballot(call);
    const bool pairs = tallied(call);
    for (int64_t offset = 0, end; offset < call.length; offset = end) {
      end = ballot.end(offset);
      if (pairs && writer.try_pairs(offset, end - offset, [&](Bf16* to) {
            return tally(call, offset, end - offset, to);
          }))
        continue;
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
