/* The forward pass of attention over hashed n-grams with tables in 8 bits, under a linear head:
 * models/layers/ngram_attention.py and models/layers/linear_head.py.
 *
 * A text's n-grams are sorted by bucket, which brings equal ones together in linear time, whatever the text. A text's
 * outputs are the same to the last bit in any batch. */
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define MAX_BUCKETS (1 << 23)
#define MAX_LONGEST 8
#define MAX_OUTPUTS 65536
#define MAX_ID ((1 << 24) - 1)
#define MAX_TOKENS (1 << 26)      /* in one call */
#define MAX_TEXT_TOKENS (1 << 20) /* in one text */

#define PRIME 16777213u
#define PIECE_BITS 12
#define PIECE_MASK ((1u << PIECE_BITS) - 1)
#define DIGIT_BITS 8 /* of a bucket's 24; a pass of the sort for each digit */
#define DIGITS (1 << DIGIT_BITS)

/* `_Model` of ngrams.py. The head is of value codes: it is multiplied by their step and by the scale of the mean. */
typedef struct {
    int32_t buckets;
    int32_t longest;
    int32_t features;
    int32_t labels;
    const uint8_t *rows;    /* [buckets, 1 + features]: the code of the attention logit, those of the values (int8) */
    const float *logits;    /* [256]: the attention logit of each code */
    const float *head;      /* [labels, features] */
    const float *head_bias; /* [labels] */
    const float *contrasts; /* [labels, features]: each label's row minus the mean of the others */
} Model;

/* Working memory for one text. An n-gram stands at the place (its tokens - 1) * tokens of the text + its first token. */
typedef struct {
    uint64_t *grams, *sorted; /* [places]: bucket << 32 | place */
    float *shares, *parts;    /* [places]: of the n-gram there, weight and contribution */
    float *weights;           /* [places]: of each distinct n-gram */
    int32_t *begins;          /* [places + 1]: of each distinct n-gram in `sorted`, and the end of the last one */
    double *pooled;           /* [features], in codes */
} Scratch;

enum { INVALID = -3, NO_MEMORY = -2, WRONG_ID = -1, NOT_FINITE = 0, FINITE = 1 };

static const uint8_t *row_of(const Model *model, uint64_t gram)
{
    return model->rows + (gram >> 32) * (1 + (size_t)model->features);
}

/* Write all n-grams of a text to `grams`, and return their number. */
static int32_t find_grams(const Model *model, int32_t tokens, const int32_t *ids, uint64_t *grams)
{
    int32_t count = 0;
    for (int32_t first = 0; first < tokens; first++) {
        uint32_t state = 0;
        for (int32_t more = 0; more < model->longest && first + more < tokens; more++) {
            const uint32_t id = (uint32_t)ids[first + more];
            state = (130363u * (state & PIECE_MASK) + 95789u * (state >> PIECE_BITS) + 120371u * (id & PIECE_MASK) +
                     84631u * (id >> PIECE_BITS)) %
                    PRIME;
            grams[count++] = (uint64_t)(state % (uint32_t)model->buckets) << 32 | (uint32_t)(more * tokens + first);
        }
    }
    return count;
}

/* Sort `grams` by bucket into `sorted`; both are overwritten. */
static void sort_grams(int32_t count, uint64_t *grams, uint64_t *sorted)
{
    for (int shift = 32; shift < 32 + 3 * DIGIT_BITS; shift += DIGIT_BITS) {
        int32_t starts[DIGITS + 1] = {0};
        for (int32_t at = 0; at < count; at++) starts[(grams[at] >> shift & (DIGITS - 1)) + 1]++;
        for (int digit = 0; digit < DIGITS; digit++) starts[digit + 1] += starts[digit];
        for (int32_t at = 0; at < count; at++) sorted[starts[grams[at] >> shift & (DIGITS - 1)]++] = grams[at];
        uint64_t *const other = grams;
        grams = sorted, sorted = other; /* after three passes the result is where it belongs */
    }
}

/* Find the distinct n-grams of a text, their attention weights and the weighted sum of their values. Return how many
 * there are. */
static int32_t attend(const Model *model, int32_t tokens, const int32_t *ids, const Scratch *scratch)
{
    const int32_t count = find_grams(model, tokens, ids, scratch->grams);
    const uint64_t *sorted = scratch->sorted;
    float *weights = scratch->weights, most = -INFINITY;
    int32_t distinct = 0;
    double sum = 0; /* double, so that thousands of weights still sum to 1 */
    sort_grams(count, scratch->grams, scratch->sorted);
    for (int32_t at = 0; at < count; at++) {
        if (at && sorted[at] >> 32 == sorted[at - 1] >> 32) continue;
        const float logit = model->logits[*row_of(model, sorted[at])];
        scratch->begins[distinct] = at;
        weights[distinct++] = logit;
        if (logit > most) most = logit;
    }
    scratch->begins[distinct] = count;
    memset(scratch->pooled, 0, sizeof(double) * model->features);
    for (int32_t gram = 0; gram < distinct; gram++) sum += weights[gram] = expf(weights[gram] - most);
    for (int32_t gram = 0; gram < distinct; gram++) {
        const int8_t *values = (const int8_t *)row_of(model, sorted[scratch->begins[gram]]) + 1;
        weights[gram] = (float)(weights[gram] / sum);
        for (int32_t at = 0; at < model->features; at++) scratch->pooled[at] += (double)weights[gram] * values[at];
    }
    return distinct;
}

/* Write the logits, and return the label that contributions are of: the highest of `joint`, or of the logits if that
 * is NULL. */
static int32_t classify(const Model *model, const double *pooled, const float *joint, float *logits)
{
    for (int32_t label = 0; label < model->labels; label++) {
        const float *head = model->head + (size_t)label * model->features;
        double sum = model->head_bias[label];
        for (int32_t at = 0; at < model->features; at++) sum += pooled[at] * head[at];
        logits[label] = (float)sum;
    }
    if (model->labels == 2) return 1;
    if (!joint) joint = logits;
    int32_t target = 0;
    for (int32_t label = 1; label < model->labels; label++)
        if (joint[label] > joint[target]) target = label;
    return target;
}

/* Divide what each n-gram has evenly among its places, and there among its tokens. */
static void divide(const Model *model, int32_t tokens, int32_t distinct, int32_t target, const Scratch *scratch,
                   float *attention, float *contributions)
{
    const float *contrast = model->contrasts + (size_t)target * model->features;
    for (int32_t gram = 0; gram < distinct; gram++) {
        const int32_t begin = scratch->begins[gram], end = scratch->begins[gram + 1];
        const int8_t *values = (const int8_t *)row_of(model, scratch->sorted[begin]) + 1;
        const float share = scratch->weights[gram] / (float)(end - begin);
        float value = 0;
        for (int32_t at = 0; at < model->features; at++) value += values[at] * contrast[at];
        for (int32_t at = begin; at < end; at++) {
            const uint32_t place = (uint32_t)scratch->sorted[at];
            scratch->shares[place] = share;
            scratch->parts[place] = share * value;
        }
    }
    memset(attention, 0, sizeof(float) * tokens);
    memset(contributions, 0, sizeof(float) * tokens);
    for (int32_t size = 1; size <= model->longest && size <= tokens; size++) {
        float *shares = scratch->shares + (size_t)(size - 1) * tokens, *parts = scratch->parts + (size_t)(size - 1) * tokens;
        const int32_t places = tokens - size + 1;
        for (int32_t at = 0; at < places; at++) shares[at] /= (float)size, parts[at] /= (float)size;
        for (int32_t later = 0; later < size; later++)
            for (int32_t at = 0; at < places; at++) {
                attention[at + later] += shares[at];
                contributions[at + later] += parts[at];
            }
    }
}

/* Adds up to something that is not finite if one of the values is not. */
static double total(int64_t count, const float *values)
{
    double sum = 0;
    for (int64_t at = 0; at < count; at++) sum += values[at];
    return sum;
}

static int is_valid(const Model *model)
{
    return model->buckets >= 1 && model->buckets <= MAX_BUCKETS && model->longest >= 1 &&
           model->longest <= MAX_LONGEST && model->features >= 1 && model->features <= MAX_OUTPUTS &&
           model->labels >= 2 && model->labels <= MAX_OUTPUTS;
}

/* Run a forward pass and return one of the codes above.
 *
 * lengths int32[texts], 0 or more, `tokens` in all. ids int32[tokens], one text after the other; so are attention and
 * contributions, float32[tokens]. logits float32[texts, labels]. joint: float32[texts, labels], of which the highest of
 * a text names the label that its contributions are of; NULL: the logits. Nothing is written if an id is out of range. */
int heed_ngrams(const Model *model, int32_t texts, int64_t tokens, const int32_t *lengths, const int32_t *ids,
                const float *joint, float *logits, float *attention, float *contributions)
{
    if (!is_valid(model) || texts < 0 || tokens < 0 || tokens > MAX_TOKENS) return INVALID;
    int64_t counted = 0;
    int32_t most = 0; /* tokens of the longest text */
    for (int32_t text = 0; text < texts; text++) {
        if (lengths[text] < 0 || lengths[text] > MAX_TEXT_TOKENS) return INVALID;
        counted += lengths[text];
        if (lengths[text] > most) most = lengths[text];
    }
    if (counted != tokens) return INVALID;
    for (int64_t at = 0; at < tokens; at++)
        if (ids[at] < 1 || ids[at] > MAX_ID) return WRONG_ID;

    const size_t places = (size_t)most * model->longest;
    Scratch scratch = {.grams = malloc(places * (2 * sizeof(uint64_t) + 3 * sizeof(float) + sizeof(int32_t)) +
                                       sizeof(int32_t) + sizeof(double) * (1 + model->features))};
    if (!scratch.grams) return NO_MEMORY;
    scratch.sorted = scratch.grams + places;
    scratch.pooled = (double *)(scratch.sorted + places);
    scratch.shares = (float *)(scratch.pooled + model->features);
    scratch.parts = scratch.shares + places;
    scratch.weights = scratch.parts + places;
    scratch.begins = (int32_t *)(scratch.weights + places);
    double sum = 0;
    for (int32_t text = 0; text < texts; text++) {
        const int32_t length = lengths[text], distinct = attend(model, length, ids, &scratch);
        const int32_t target = classify(model, scratch.pooled, joint, logits);
        divide(model, length, distinct, target, &scratch, attention, contributions);
        sum += total(length, attention) + total(length, contributions) + total(model->labels, logits);
        ids += length, attention += length, contributions += length, logits += model->labels;
        if (joint) joint += model->labels;
    }
    free(scratch.grams);
    return isfinite(sum) ? FINITE : NOT_FINITE;
}
