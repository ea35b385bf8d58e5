/* The forward pass for x86 processors with AVX-512. */
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#pragma GCC target("avx2,fma,avx512f,avx512vl,avx512bw,avx512dq")
#define LANES 16
#define FORWARD heed_forward_avx512
#include "forward.c"
#endif
