// Sums in one fixed order.
#pragma once

#include <memory>

#include "elect.hpp"

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

// Write one row of an operand (minus the base) in float64, zeros filling it up.
inline void widen_row(const Values& operand, int64_t offset, int64_t length, const float* origin,
                      double* row) {
  with_type(operand, offset, [=](const auto* from) {
    EVOMERGE_APART
    for (int64_t i = 0; i < length; ++i) row[i] = double(widen(from[i]) - origin[i]);
  });
  for (int64_t i = length; i < kRow; ++i) row[i] = 0.0;
}

// Add to sums[k] the inner product of the row `left` with the k-th of K rows: what is read of `left`
// serves them all.
template <int K>
inline void multiply_rows(const double* left, const double* rights, double* sums) {
  alignas(64) double products[K][kThriceHalved];
  EVOMERGE_APART
  for (int64_t j = 0; j < kThriceHalved; ++j)
    for (int k = 0; k < K; ++k) {
      const double* right = rights + k * kRow;
      const auto term = [=](int64_t i) { return left[i] * right[i]; };
      products[k][j] = halve_thrice<kThriceHalved>(j, term);
    }
  for (int k = 0; k < K; ++k) sums[k] += finish_halving(products[k]);
}

// The same for any number of rows.
inline void multiply_rows(const double* left, const double* rights, int32_t count, double* sums) {
  for (int32_t done = 0; done < count; done += kAtOnce) {
    const double* here = rights + done * kRow;
    if (count - done == 1) multiply_rows<1>(left, here, sums + done);
    if (count - done == 2) multiply_rows<2>(left, here, sums + done);
    if (count - done == 3) multiply_rows<3>(left, here, sums + done);
    if (count - done >= 4) multiply_rows<kAtOnce>(left, here, sums + done);
  }
}

// Add to sums[i * count + j], j <= i, the inner products of `count` operands (minus the base).
inline void add_products(const Values* operands, int32_t count, const Values& base, int64_t length,
                         double* sums) {
  const std::unique_ptr<double[]> rows(new double[size_t(count) * kRow]);
  alignas(64) float origin[kRow] = {};
  for (int64_t offset = 0; offset < length; offset += kRow) {
    const int64_t left = shorter(kRow, length - offset);
    if (base.data) read_tile(base, offset, left, origin);
    for (int32_t m = 0; m < count; ++m) {
      double* row = rows.get() + m * kRow;
      widen_row(operands[m], offset, left, origin, row);
      multiply_rows(row, rows.get(), m + 1, sums + m * count);
    }
  }
}

// Thin out a row in place; `here` is the index of its first element in the flat tensor.
inline void thin_row(const Thinning& thinning, int64_t here, int64_t length, float* row) {
  for (int64_t done = 0, end; done < length; done = end) {
    end = clip(thinning, here + done, here + length) - here;
    float* from = row + done;
    const auto delta = [from](int64_t i) { return from[i]; };
    thin_run<false, true>(thinning, thinning.weight, delta, here + done, end - done, from);
  }
}

// Add to sums[0] and sums[1] the L1 norm of a task vector, before and after it is thinned out.
inline void add_norms(const Thinning& thinning, const Values& model, const Values& base,
                      int64_t start, int64_t length, double* sums) {
  alignas(64) float row[kRow], origin[kRow];
  for (int64_t offset = 0; offset < length; offset += kRow) {
    const int64_t left = shorter(kRow, length - offset);
    read_tile(model, offset, left, row);
    read_tile(base, offset, left, origin);
    for (int64_t i = 0; i < left; ++i) row[i] -= origin[i];
    for (int64_t i = left; i < kRow; ++i) row[i] = 0.0f;
    sums[0] += sum_magnitudes(row);
    thin_row(thinning, start + offset, left, row);
    sums[1] += sum_magnitudes(row);
  }
}

}  // namespace evomerge::EVOMERGE_PATH
