// Sums in one fixed order.
#pragma once

#include <memory>

#include "elect.hpp"

namespace evomerge::EVOMERGE_PATH {

// Elements that are summed by halves: x[j] + x[j + 512], and so on down to one number.
constexpr int64_t kRow = 1024;

// The first three halvings of terms [j, j + 128), all their summands in registers.
template <class Term>
inline double sum_by_halves(Term term) {
  alignas(64) double sums[128];
  for (int64_t j = 0; j < 128; ++j)
    sums[j] = ((term(j) + term(j + 512)) + (term(j + 256) + term(j + 768))) +
              ((term(j + 128) + term(j + 640)) + (term(j + 384) + term(j + 896)));
  for (int64_t half = 64; half; half /= 2)
    for (int64_t j = 0; j < half; ++j) sums[j] += sums[j + half];
  return sums[0];
}

inline double sum_magnitudes(const float* values) {
  return sum_by_halves([=](int64_t j) { return double(magnitude(values[j])); });
}

// Add to sums[i * count + j], j <= i, the inner products of `count` operands (minus the base).
inline void add_products(const Values* operands, int32_t count, const Values& base, int64_t length,
                         double* sums) {
  const std::unique_ptr<double[]> rows(new double[size_t(count) * kRow]);
  alignas(64) float origin[kRow] = {}, row[kRow];
  for (int64_t offset = 0; offset < length; offset += kRow) {
    const int64_t left = shorter(kRow, length - offset);
    if (base.data) read_tile(base, offset, left, origin);
    for (int32_t m = 0; m < count; ++m) {
      double* __restrict wide = rows.get() + m * kRow;
      read_tile(operands[m], offset, left, row);
      for (int64_t i = 0; i < left; ++i) wide[i] = double(row[i] - origin[i]);
      for (int64_t i = left; i < kRow; ++i) wide[i] = 0.0;
      for (int32_t other = 0; other <= m; ++other) {
        const double* __restrict right = rows.get() + other * kRow;
        sums[m * count + other] += sum_by_halves([=](int64_t j) { return wide[j] * right[j]; });
      }
    }
  }
}

// Write one row of a thinned task vector, zeros filling it up.
inline void thin_row(const Thinning& thinning, const Values& model, const Values& base,
                     int64_t offset, int64_t here, int64_t length, float* row) {
  for (int64_t done = 0, end; done < length; done = end) {
    end = clip(thinning, here + done, here + length) - here;
    thin(thinning, thinning.weight, model, base, offset + done, here + done, end - done, row + done);
  }
  for (int64_t i = length; i < kRow; ++i) row[i] = 0.0f;
}

// Add to sums[0] and sums[1] the L1 norm of a task vector, before and after it is thinned out.
inline void add_norms(const Thinning& thinning, const Values& model, const Values& base,
                      int64_t start, int64_t length, double* sums) {
  const float nan = from_bits(0x7fc00000u);
  const Thinning whole{{-1.0f, -1.0f, 0}, {nan, nan, 0}, {0, 0}, kAllDraws, 1.0f, 1.0f};
  alignas(64) float row[kRow];
  for (int64_t offset = 0; offset < length; offset += kRow) {
    const int64_t left = shorter(kRow, length - offset);
    thin_row(whole, model, base, offset, start + offset, left, row);
    sums[0] += sum_magnitudes(row);
    thin_row(thinning, model, base, offset, start + offset, left, row);
    sums[1] += sum_magnitudes(row);
  }
}

}  // namespace evomerge::EVOMERGE_PATH
