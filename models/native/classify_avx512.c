/* `classify` for x86 processors with AVX-512. */
#include "processors.h"

#if HEED_X86
#pragma GCC target("avx2,fma,avx512f,avx512vl,avx512bw,avx512dq")
#define LANES 16
#include "classifier.h"
CLASSIFY_AS(heed_classify_avx512)
#endif
