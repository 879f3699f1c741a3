// Sums in one fixed order, and histograms of magnitudes.
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
    thin(thinning, model, base, offset + done, here + done, end - done, row + done);
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

// -------------------------------------------------------------------------------- magnitudes

// Upper 16 bits of a magnitude decide its bin; four histograms, so that an increment need not
// wait for the one before it.
constexpr int64_t kBins = 1 << 16;
constexpr int64_t kHistograms = 4;

// Bits of the magnitudes of a tile of (model - base).
inline void read_magnitudes(const Values& model, const Values& base, int64_t offset, int64_t length,
                            uint32_t* __restrict bits) {
  with_type(model, offset, [=](const auto* __restrict values) {
    with_type(base, offset, [=](const auto* __restrict origin) {
      for (int64_t i = 0; i < length; ++i)
        bits[i] = to_bits(widen(values[i]) - widen(origin[i])) & 0x7fffffffu;
    });
  });
}

template <class Action>
inline void each_tile(const Values& model, const Values& base, int64_t length, Action action) {
  alignas(64) uint32_t bits[kTile];
  for (int64_t offset = 0; offset < length; offset += kTile) {
    const int64_t here = shorter(kTile, length - offset);
    read_magnitudes(model, base, offset, here, bits);
    if (!action(offset, here, bits)) return;
  }
}

inline void count_upper(const Values& model, const Values& base, int64_t length, uint32_t* counts) {
  each_tile(model, base, length, [=](int64_t, int64_t here, const uint32_t* bits) {
    int64_t i = 0;
    for (; i + kHistograms <= here; i += kHistograms)
      for (int64_t k = 0; k < kHistograms; ++k) ++counts[k * kBins + (bits[i + k] >> 15)];
    for (; i < here; ++i) ++counts[bits[i] >> 15];
    return true;
  });
}

// Whether a tile holds any element whose bits, shifted, equal `key`: rarely, so look first.
inline bool holds(const uint32_t* __restrict bits, int64_t length, int shift, uint32_t key) {
  uint32_t found = 0;
  for (int64_t i = 0; i < length; ++i) found |= (bits[i] >> shift) == key ? 1u : 0u;
  return found != 0;
}

constexpr int64_t kGlance = 64;

template <class Action>
inline void each_match(const uint32_t* bits, int64_t length, int shift, uint32_t key, Action action) {
  for (int64_t from = 0; from < length; from += kGlance) {
    const int64_t here = shorter(kGlance, length - from);
    if (!holds(bits + from, here, shift, key)) continue;
    for (int64_t i = from; i < from + here; ++i)
      if ((bits[i] >> shift) == key) action(i);
  }
}

inline void count_lower(const Values& model, const Values& base, int64_t length, uint32_t bin,
                        uint32_t* counts) {
  each_tile(model, base, length, [=](int64_t, int64_t here, const uint32_t* bits) {
    each_match(bits, here, 15, bin, [=](int64_t i) { ++counts[bits[i] & 0x7fffu]; });
    return true;
  });
}

// Index of the element that is the left-th of those with these bits, or -1; lessens `left` by
// those that were met.
inline int64_t find_equal(const Values& model, const Values& base, int64_t length, uint32_t key,
                          int64_t* left) {
  int64_t found = -1;
  each_tile(model, base, length, [&](int64_t offset, int64_t here, const uint32_t* bits) {
    each_match(bits, here, 0, key, [&](int64_t i) {
      if (--*left == 0) found = offset + i;
    });
    return found < 0;
  });
  return found;
}

}  // namespace evomerge::EVOMERGE_PATH
