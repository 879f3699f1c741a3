// The functions Python calls, named after the path they are compiled for.
#pragma once

#include "magnitudes.hpp"
#include "reduce.hpp"
#include "row_ranks.hpp"

#if defined(_WIN32)
#define EVOMERGE_API extern "C" __declspec(dllexport)
#else
#define EVOMERGE_API extern "C" __attribute__((visibility("default")))
#endif
#define EVOMERGE_JOIN(path, name) path##_##name
#define EVOMERGE_NAME(path, name) EVOMERGE_JOIN(path, name)
#define EVOMERGE(name) EVOMERGE_NAME(EVOMERGE_PATH, name)

namespace path = evomerge::EVOMERGE_PATH;
using evomerge::Values;

EVOMERGE_API int32_t EVOMERGE(blend)(const evomerge::Blend* call) { return path::blend(*call); }

EVOMERGE_API int32_t EVOMERGE(elect)(const evomerge::Election* call) { return path::elect(*call); }

EVOMERGE_API void EVOMERGE(draw)(const uint64_t* key, int64_t start, int64_t length, uint32_t* out) {
  path::draw(key, start, length, out);
}

EVOMERGE_API void EVOMERGE(draw_bits)(const uint64_t* key, uint32_t limit, int64_t start, int64_t length,
                                      uint8_t* bits) {
  path::draw_bits(key, limit, start, length, bits);
}

EVOMERGE_API void EVOMERGE(mask_by_rank)(const Values* model, const Values* base, int64_t start,
                                         int64_t length, int64_t width, const uint64_t* limits,
                                         const uint64_t* key, uint8_t* bits) {
  path::mask_by_rank(*model, *base, start, length, width, limits, key, bits);
}

EVOMERGE_API void EVOMERGE(add_products)(const Values* operands, int32_t count, const Values* base,
                                         int64_t length, double* sums) {
  path::add_products(operands, count, *base, length, sums);
}

EVOMERGE_API void EVOMERGE(add_norms)(const evomerge::Thinning* thinning, const Values* model,
                                      const Values* base, int64_t start, int64_t length,
                                      double* sums) {
  path::add_norms(*thinning, *model, *base, start, length, sums);
}

EVOMERGE_API void EVOMERGE(thin_by_rank)(float* deltas, int64_t start, int64_t length, int64_t width,
                                         const uint64_t* limits, const float* chances,
                                         const uint64_t* key) {
  path::thin_by_rank(deltas, start, length, width, limits, chances, key);
}

EVOMERGE_API void EVOMERGE(count_upper)(const Values* model, const Values* base, int64_t length,
                                        uint32_t* counts) {
  path::count_upper(*model, *base, length, counts);
}

EVOMERGE_API int64_t EVOMERGE(count_between)(const Values* model, const Values* base, int64_t length,
                                             uint32_t first, uint32_t width, uint32_t* counts) {
  return path::count_between(*model, *base, length, first, width, counts);
}

EVOMERGE_API int64_t EVOMERGE(collect_between)(const Values* model, const Values* base, int64_t length,
                                               uint32_t first, uint32_t width, uint32_t common,
                                               uint32_t* out, int64_t* room, int64_t* equals) {
  return path::collect_between(*model, *base, length, {first, width, common}, out, room, equals);
}

EVOMERGE_API void EVOMERGE(write_magnitudes)(const Values* model, const Values* base, int64_t length,
                                             uint32_t* bits) {
  path::write_magnitudes(*model, *base, length, bits);
}

EVOMERGE_API int64_t EVOMERGE(find_equal)(const Values* model, const Values* base, int64_t length,
                                          uint32_t bits, int64_t* left) {
  return path::find_equal(*model, *base, length, bits, left);
}
