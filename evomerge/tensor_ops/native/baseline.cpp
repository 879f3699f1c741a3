// The kernels for any processor the compiler builds for (SSE2 on x86-64, NEON on arm64), and the
// question which others this one can run.
#define EVOMERGE_PATH baseline
#include "exports.hpp"

EVOMERGE_API int32_t interface_version() { return evomerge::kVersion; }

EVOMERGE_API int32_t runs_baseline() { return 1; }

EVOMERGE_API int32_t runs_avx2() {
#if defined(__x86_64__) && defined(__GNUC__)
  return __builtin_cpu_supports("avx2") != 0;
#else
  return 0;
#endif
}

EVOMERGE_API int32_t runs_avx512() {
#if defined(__x86_64__) && defined(__GNUC__)
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
#else
  return 0;
#endif
}
