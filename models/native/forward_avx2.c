/* The forward pass for x86 processors with AVX2. */
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#pragma GCC target("avx2,fma")
#define LANES 8
#define FORWARD heed_forward_avx2
#include "forward.c"
#endif
