/* `classify` for x86 processors with AVX-512. */
#include "processors.h"

#if HEED_X86
#pragma GCC target("avx2,fma,avx512f,avx512vl,avx512bw,avx512dq")
#define LANES 16
#include "classifier.h"

void heed_classify_avx512(const Classifier *model, int texts, const int32_t *lengths, const int32_t *ids, float *logits,
                          float *attention, float *contributions, float *scratch)
{
    classify(model, texts, lengths, ids, logits, attention, contributions, scratch);
}
#endif
