/* `classify` for x86 processors with AVX2. */
#include "processors.h"

#if HEED_X86
#pragma GCC target("avx2,fma")
#define LANES 8
#include "classifier.h"
CLASSIFY_AS(heed_classify_avx2)
#endif
