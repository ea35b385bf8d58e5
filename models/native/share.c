/* Many texts that several threads classify together: none of them needs the interpreter before all is done. */
#include "processors.h"

#define LANES 4 /* of what is not compiled for each kind of processor: here nothing that computes */
#include "classifier.h"

typedef struct {
    const Classifier *model;
    int32_t texts, taken;             /* how many there are, and how many the threads have taken so far */
    const int32_t *lengths;           /* [texts] */
    const int64_t *starts;            /* [texts]: of each in the arrays of tokens */
    const int32_t *ids;               /* [tokens of all texts] */
    float *logits;                    /* [texts, labels] */
    float *attention, *contributions; /* [tokens of all texts] */
    int32_t *outcomes;                /* [texts]: an Outcome each */
} Shared;

static int run(const Shared *shared, int first, int count, float *scratch)
{
    const int64_t start = shared->starts[first];
    return heed_classify(shared->model, count, shared->lengths + first, shared->ids + start,
                         shared->logits + (size_t)first * shared->model->labels, shared->attention + start,
                         shared->contributions + start, scratch, NULL);
}

/* Take the next few texts and classify them, until there are none left. A bad text fails alone. */
void heed_share(Shared *shared, float *scratch)
{
    int first;
    while ((first = __atomic_fetch_add(&shared->taken, MOST_ROWS, __ATOMIC_RELAXED)) < shared->texts) {
        const int left = shared->texts - first, count = left < MOST_ROWS ? left : MOST_ROWS;
        const int together = run(shared, first, count, scratch);
        for (int text = first; text < first + count; text++)
            shared->outcomes[text] = together == ALL_FINITE || count == 1 ? together : run(shared, text, 1, scratch);
    }
}
