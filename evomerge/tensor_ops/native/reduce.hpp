// Sums in one fixed order.
#pragma once

#include <memory>

#include "tally.hpp"

namespace evomerge::EVOMERGE_PATH {

// Elements that are summed by halves: x[j] + x[j + 512], and so on down to one number.
constexpr int64_t kRow = 1024;
static_assert(kRow <= kTile);

// Three halvings at once, all summands in registers: the sum over k < 8 of term(j + k * Width).
template <int64_t Width, class Term>
inline double halve_thrice(int64_t j, Term term) {
  return ((term(j) + term(j + 4 * Width)) + (term(j + 2 * Width) + term(j + 6 * Width))) +
         ((term(j + Width) + term(j + 5 * Width)) + (term(j + 3 * Width) + term(j + 7 * Width)));
}

constexpr int64_t kThriceHalved = kRow / 8;

// The rest of the way.
inline double finish_halving(const double* sums) {
  alignas(64) double few[16], last[2];
  for (int64_t j = 0; j < 16; ++j) few[j] = halve_thrice<16>(j, [=](int64_t i) { return sums[i]; });
  for (int64_t j = 0; j < 2; ++j) last[j] = halve_thrice<2>(j, [&](int64_t i) { return few[i]; });
  return last[0] + last[1];
}

inline double sum_magnitudes(const float* values) {
  alignas(64) double sums[kThriceHalved];
  const auto term = [=](int64_t i) { return double(magnitude(values[i])); };
  for (int64_t j = 0; j < kThriceHalved; ++j) sums[j] = halve_thrice<kThriceHalved>(j, term);
  return finish_halving(sums);
}

// Write one row of an operand (minus the base), zeros filling it up.
inline void widen_row(const Values& operand, int64_t offset, int64_t length, const float* origin,
                      float* __restrict row) {
  with_type(operand, offset, [=](const auto* from) {
    EVOMERGE_APART
    for (int64_t i = 0; i < length; ++i) row[i] = widen(from[i]) - origin[i];
  });
  for (int64_t i = length; i < kRow; ++i) row[i] = 0.0f;
}

// Four numbers in float64, side by side.
#if defined(EVOMERGE_PICKS_BY_LANES)
struct Four {
  __m256d lanes;
};
inline Four zeros() { return {_mm256_setzero_pd()}; }
inline Four widen_four(const float* from) { return {_mm256_cvtps_pd(_mm_load_ps(from))}; }
inline Four add_product(Four sum, Four a, Four b) {
  return {_mm256_add_pd(sum.lanes, _mm256_mul_pd(a.lanes, b.lanes))};
}
inline void store_four(Four sum, double* to) { _mm256_storeu_pd(to, sum.lanes); }
#else
struct Four {
  double lanes[4];
};
inline Four zeros() { return {}; }
inline Four widen_four(const float* from) { return {{from[0], from[1], from[2], from[3]}}; }
inline Four add_product(Four sum, Four a, Four b) {
  for (int i = 0; i < 4; ++i) sum.lanes[i] += a.lanes[i] * b.lanes[i];
  return sum;
}
inline void store_four(Four sum, double* to) { std::memcpy(to, sum.lanes, sizeof sum.lanes); }
#endif

// Products of rows are added in eight lanes, one after another in each: x[j] + x[j + 8] + ...
constexpr int64_t kLaneCount = 8;

inline double halve_lanes(const double* lanes) {
  return ((lanes[0] + lanes[4]) + (lanes[2] + lanes[6])) + ((lanes[1] + lanes[5]) + (lanes[3] + lanes[7]));
}

// The products of K rows with each other in four lanes: row 0 with 0, 1 with 0 and 1, and so on.
// Told by templates, as compilers keep what loops count in memory, not in registers.
template <int M, int K, int Rows>
inline void add_pairs(Four (&totals)[Rows * (Rows + 1) / 2], const Four (&row)[Rows]) {
  if constexpr (M < Rows) {
    totals[M * (M + 1) / 2 + K] = add_product(totals[M * (M + 1) / 2 + K], row[M], row[K]);
    add_pairs<(K < M ? M : M + 1), (K < M ? K + 1 : 0), Rows>(totals, row);
  }
}

template <int K>
inline void add_rows(const float* rows, Four (&totals)[K * (K + 1) / 2]) {
  Four row[K];
  for (int m = 0; m < K; ++m) row[m] = widen_four(rows + m * kRow);
  add_pairs<0, 0, K>(totals, row);
}

// Add to sums[i * count + j], j <= i, the products of K rows with each other.
template <int K>
inline void multiply_rows(const float* rows, int32_t count, double* sums) {
  constexpr int kPairs = K * (K + 1) / 2;
  double lanes[kPairs][kLaneCount];
  Four low[kPairs], high[kPairs];
  for (int pair = 0; pair < kPairs; ++pair) low[pair] = high[pair] = zeros();
  if (K > 2) {  // not enough registers for all lanes
    for (int64_t i = 0; i < kRow; i += kLaneCount) add_rows<K>(rows + i, low);
    for (int64_t i = 4; i < kRow; i += kLaneCount) add_rows<K>(rows + i, high);
  } else {
    for (int64_t i = 0; i < kRow; i += kLaneCount) {
      add_rows<K>(rows + i, low);
      add_rows<K>(rows + i + 4, high);
    }
  }
  for (int pair = 0; pair < kPairs; ++pair) {
    store_four(low[pair], lanes[pair]);
    store_four(high[pair], lanes[pair] + 4);
  }
  for (int m = 0, pair = 0; m < K; ++m)
    for (int k = 0; k <= m; ++k, ++pair) sums[m * count + k] += halve_lanes(lanes[pair]);
}

// The same for two rows: what is added to the sum.
inline double multiply_two(const float* left, const float* right) {
  double lanes[kLaneCount];
  Four low = zeros(), high = zeros();
  for (int64_t i = 0; i < kRow; i += kLaneCount) {
    low = add_product(low, widen_four(left + i), widen_four(right + i));
    high = add_product(high, widen_four(left + i + 4), widen_four(right + i + 4));
  }
  store_four(low, lanes);
  store_four(high, lanes + 4);
  return halve_lanes(lanes);
}

inline void multiply_rows(const float* rows, int32_t count, double* sums) {
  switch (count) {
    case 1:
      return multiply_rows<1>(rows, count, sums);
    case 2:
      return multiply_rows<2>(rows, count, sums);
    case 3:
      return multiply_rows<3>(rows, count, sums);
    case 4:
      return multiply_rows<4>(rows, count, sums);
    default:
      for (int32_t m = 0; m < count; ++m)
        for (int32_t k = 0; k <= m; ++k)
          sums[m * count + k] += multiply_two(rows + m * kRow, rows + k * kRow);
  }
}

// Add to sums[i * count + j], j <= i, the inner products of `count` operands (minus the base).
inline void add_products(const Values* operands, int32_t count, const Values& base, int64_t length,
                         double* sums) {
  struct alignas(64) Row {
    float values[kRow];
  };
  const std::unique_ptr<Row[]> rows(new Row[size_t(count)]);
  alignas(64) float origin[kRow] = {};
  for (int64_t offset = 0; offset < length; offset += kRow) {
    const int64_t left = shorter(kRow, length - offset);
    if (base.data) read_tile(base, offset, left, origin);
    for (int32_t m = 0; m < count; ++m) widen_row(operands[m], offset, left, origin, rows[m].values);
    multiply_rows(rows[0].values, count, sums);
  }
}

// Write a whole row of a task vector, and what a mask leaves of it.
template <class T>
inline void write_masked(const T* model, const T* base, const uint32_t* chunks, float* row, float* left) {
  for (int64_t c = 0; c < kRow / kChunk; ++c) {
    const uint32_t chunk = chunks[c];
    EVOMERGE_APART
    for (int64_t i = 0; i < kChunk; ++i) {
      const float delta = widen(model[c * kChunk + i]) - widen(base[c * kChunk + i]);
      row[c * kChunk + i] = delta;
      left[c * kChunk + i] = delta * (chunk & kBits.at[i] ? 1.0f : 0.0f);
    }
  }
}

// Write elements [offset, offset + length) of a task vector.
inline void write_deltas(const Values& model, const Values& base, int64_t offset, int64_t length,
                         float* deltas) {
  with_type(model, offset, [=](const auto* from) {
    with_type(base, offset, [=](const auto* origin) {
      EVOMERGE_APART
      for (int64_t i = 0; i < length; ++i) deltas[i] = widen(from[i]) - widen(origin[i]);
    });
  });
}

// Add to sums[0] and sums[1] the L1 norm of a task vector, before and after it is thinned out;
// `start` is the index of its first element in the flat tensor.
inline void add_norms(const Thinning& thinning, const Values& model, const Values& base,
                      int64_t start, int64_t length, double* sums) {
  alignas(64) float row[kRow], thinned[kRow];
  const bool masked = !cuts(thinning) && thinning.kept && thinning.factor == 1.0f &&
                      thinning.weight == 1.0f && model.dtype == base.dtype;
  for (int64_t offset = 0; offset < length; offset += kRow) {
    const int64_t left = shorter(kRow, length - offset);
    if (masked && left == kRow) {
      uint32_t chunks[kRow / kChunk];
      read_bits(thinning.kept, start + offset - thinning.first, kRow, chunks);
      with_type(model, offset, [&](const auto* from) {
        write_masked(from, static_cast<decltype(from)>(base.data) + offset, chunks, row, thinned);
      });
    } else {
      for (int64_t i = left; i < kRow; ++i) row[i] = thinned[i] = 0.0f;
      write_deltas(model, base, offset, left, row);
      for (int64_t done = 0, end; done < left; done = end) {
        const int64_t here = start + offset + done;
        end = clip(thinning, here, start + offset + left) - start - offset;
        thin<false>(thinning, thinning.weight, model, base, offset + done, here, end - done, thinned + done);
      }
    }
    sums[0] += sum_magnitudes(row);
    sums[1] += sum_magnitudes(thinned);
  }
}

}  // namespace evomerge::EVOMERGE_PATH
