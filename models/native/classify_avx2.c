/* `classify` for x86 processors with AVX2. */
#include "processors.h"

#if HEED_X86
#pragma GCC target("avx2,fma")
#define LANES 8
#include "classifier.h"

void heed_classify_avx2(const Classifier *model, int texts, const int32_t *lengths, const int32_t *ids, float *logits,
                          float *attention, float *contributions, float *scratch)
{
    classify(model, texts, lengths, ids, logits, attention, contributions, scratch);
}
#endif
