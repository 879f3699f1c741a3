// The kernels for x86-64 processors with AVX2: the same source, compiled for wider vectors.
#if defined(__x86_64__) && defined(__GNUC__)

// What the standard library inlines is compiled before, for any processor: the linker keeps one
// copy for all paths.
#include <cstdint>
#include <cstring>
#include <immintrin.h>
#include <memory>

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2"))), apply_to = function)
#else
#pragma GCC target("avx2")
#endif

#define EVOMERGE_PATH avx2
#define EVOMERGE_PICKS_BY_LANES
#include "exports.hpp"

#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
