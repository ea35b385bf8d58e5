/* A forward pass, with the widest vectors that this processor has. */
#include "processors.h"

#define LANES 4 /* SSE2 and NEON, which every processor has */
#include "classifier.h"

int64_t heed_classify_scratch(const Classifier *model, int64_t tokens) { return scratch_for(model, tokens); }

typedef int Classify(const Classifier *model, int texts, const int32_t *lengths, const int32_t *ids, float *logits,
                     float *attention, float *contributions, float *scratch, const Pause *pause);

CLASSIFY_AS(heed_classify_any)

#if HEED_X86
Classify heed_classify_avx2, heed_classify_avx512;
#endif

/* Floats in the widest vectors that this processor has and there is code for. */
int heed_lanes(void)
{
#if HEED_X86
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq"))
        return 16;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return 8;
#endif
    return 4;
}

int heed_classify(const Classifier *model, int texts, const int32_t *lengths, const int32_t *ids, float *logits,
                  float *attention, float *contributions, float *scratch, const Pause *pause)
{
    Classify *classify_here = heed_classify_any;
#if HEED_X86
    const int lanes = heed_lanes();
    if (lanes == 8) classify_here = heed_classify_avx2;
    if (lanes == 16) classify_here = heed_classify_avx512;
#endif
    return classify_here(model, texts, lengths, ids, logits, attention, contributions, scratch, pause);
}
