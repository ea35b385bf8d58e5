/* The forward pass of one architecture: bidirectional LSTM or GRU over token ids, additive pooling, linear head.
 *
 * Texts are concatenated without padding. A text's outputs are the same to the last bit in any batch: every sum runs
 * over its terms in the same order whatever is computed beside it.
 *
 * This file is compiled once by itself, for any processor, and once more by forward_avx2.c and forward_avx512.c, which
 * define LANES and FORWARD and include it. */
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#ifndef LANES
#define LANES 4 /* floats in a vector of SSE2 or NEON, which every processor has */
#define FORWARD heed_forward_any
#define DISPATCHES
#endif

#define PANEL 16           /* columns of a matrix that are stored together, on every processor */
#define PARTS (PANEL / LANES)
#define BLOCK (4 * PANEL)  /* outputs of a matrix are padded to a multiple of this */
#define BATCH 8            /* texts that run side by side */
#define MAX_INPUTS 1024    /* rows of a matrix */
#define MAX_OUTPUTS 65536
#define MAX_TOKENS (1 << 26) /* in one call */
#define ROW (MAX_INPUTS + PANEL) /* stride between rows; not a power of two, so that 8 rows use different cache sets */

typedef float Lanes __attribute__((vector_size(4 * LANES)));
typedef int32_t Bits __attribute__((vector_size(4 * LANES)));
typedef uint32_t Unsigned __attribute__((vector_size(4 * LANES)));

#define INLINE static inline __attribute__((always_inline))
#define EACH(name, count) _Pragma("GCC unroll 16") for (int name = 0; name < count; name++)

/* `_Model` of forward.py. U is `units`, and G is `gates` * U. */
typedef struct {
    int32_t vocabulary; /* ids are 1 to vocabulary - 1 */
    int32_t units;      /* of each direction: a multiple of PANEL */
    int32_t gates;      /* 4, an LSTM: input, forget, output, candidate; or 3, a GRU: update, reset, candidate */
    int32_t outputs;    /* G, padded to a multiple of BLOCK */
    int32_t hidden;     /* width of the scoring network, padded to a multiple of BLOCK */
    int32_t labels;
    float temperature;              /* of the scores */
    const float *tables[2];         /* forward, backward: [vocabulary, G], each token's vector times the kernel, plus the bias */
    const float *recurrent[2];      /* [outputs / PANEL, U, PANEL] */
    const float *recurrent_bias[2]; /* [outputs] */
    const float *kernel;            /* [hidden / PANEL, 2U, PANEL] */
    const float *bias;              /* [hidden] */
    const float *query;             /* [hidden], zeros beyond the layer's own width */
    const float *head;              /* [labels, 2U] */
    const float *head_bias;         /* [labels] */
    const float *contrasts;         /* [labels, 2U]: each label's row minus the mean of the others */
} Model;

enum { INVALID = -3, NO_MEMORY = -2, WRONG_ID = -1, NOT_FINITE = 0, FINITE = 1 };

INLINE Lanes load(const float *from)
{
    Lanes lanes;
    memcpy(&lanes, from, sizeof lanes);
    return lanes;
}

INLINE void store(float *to, Lanes lanes) { memcpy(to, &lanes, sizeof lanes); }

INLINE float sum_of(Lanes lanes)
{
    float sum = 0;
    EACH(lane, LANES) sum += lanes[lane];
    return sum;
}

INLINE Lanes minimum(Lanes lanes, float most)
{
    const Bits above = lanes > most; /* false for NaN, which is kept */
    const Lanes bound = most - (Lanes){0};
    return (Lanes)(((Bits)bound & above) | ((Bits)lanes & ~above));
}

/* e to the power of each lane, within 2 units in the last place; exponents are clipped to [-87, 87].
 * Cody and Waite's reduction and the polynomial of Cephes' expf (Moshier, netlib.org/cephes). */
INLINE Lanes exponential(Lanes exponent)
{
    exponent = -minimum(-minimum(exponent, 87.0f), 87.0f);
    const Lanes shifted = exponent * 1.44269504f + 12582912.0f; /* 1.5 * 2^23: rounds the sum to an integer */
    const Bits power = (Bits)(((Unsigned)shifted - (0x4B400000u - 127)) << 23); /* the bits of 2 to that power */
    const Lanes twos = shifted - 12582912.0f;
    const Lanes rest = (exponent - twos * 0.693359375f) + twos * 2.12194440e-4f;
    Lanes sum = rest * 1.9875691500e-4f + 1.3981999507e-3f;
    sum = sum * rest + 8.3334519073e-3f;
    sum = sum * rest + 4.1665795894e-2f;
    sum = sum * rest + 1.6666665459e-1f;
    sum = sum * rest + 5.0000001201e-1f;
    sum = sum * (rest * rest) + rest + 1.0f;
    return sum * (Lanes)power;
}

INLINE Lanes sigmoid(Lanes logits) { return 1.0f / (1.0f + exponential(-logits)); }

INLINE Lanes hyperbolic_tangent(Lanes angles) { return 2.0f / (1.0f + exponential(-2.0f * angles)) - 1.0f; }

/* sigmoid(logits) * hyperbolic_tangent(angles) with one division. */
INLINE Lanes sigmoid_times_tangent(Lanes logits, Lanes angles)
{
    const Lanes of_logits = exponential(-logits), of_angles = exponential(-2.0f * angles);
    return (1.0f - of_angles) / ((1.0f + of_logits) * (1.0f + of_angles));
}

/* products[row] = bias + rows[row] x matrix, for `count` rows and all panels, `panels` of them at a time. `count` and
 * `panels` are constants where this is inlined, so that the sums stay in registers. */
INLINE void multiply_rows(const int count, const int panels, int inputs, int outputs, const float *matrix,
                          const float *bias, const float *rows, float *products)
{
    for (int column = 0; column < outputs; column += panels * PANEL) {
        const float *panel = matrix + (size_t)column * inputs;
        Lanes sums[BATCH][4 * PARTS];
        EACH(row, count) EACH(part, panels * PARTS) sums[row][part] = load(bias + column + part * LANES);
        for (int input = 0; input < inputs; input++) {
            Lanes weights[4 * PARTS];
            EACH(part, panels * PARTS)
                weights[part] = load(panel + ((size_t)(part / PARTS) * inputs + input) * PANEL + part % PARTS * LANES);
            EACH(row, count)
            {
                const Lanes value = rows[row * ROW + input] - (Lanes){0};
                EACH(part, panels * PARTS) sums[row][part] += weights[part] * value;
            }
        }
        EACH(row, count) EACH(part, panels * PARTS)
            store(products + row * outputs + column + part * LANES, sums[row][part]);
    }
}

/* products[row] = bias + rows[row] x matrix: rows [BATCH, ROW], products [BATCH, outputs]. Rows and panels are taken
 * together as far as there are registers for their sums. */
INLINE void multiply(int count, int inputs, int outputs, const float *matrix, const float *bias, const float *rows,
                     float *products)
{
#define TAKE(taken, least, panels)                                                                                     \
    for (; count >= least; count -= taken, rows += taken * ROW, products += (size_t)taken * outputs)                   \
    multiply_rows(taken, panels, inputs, outputs, matrix, bias, rows, products)
#if LANES == 16
    TAKE(8, 7, 2); /* a batch of 7 multiplies one row of zeros */
    TAKE(6, 5, 2);
    TAKE(4, 3, 4);
    TAKE(2, 2, 4);
    TAKE(1, 1, 4);
#elif LANES == 8
    TAKE(4, 3, 1);
    TAKE(2, 2, 2);
    TAKE(1, 1, 4);
#else
    TAKE(2, 2, 1);
    TAKE(1, 1, 2);
#endif
}

INLINE void lstm_step(int units, const float *token, const float *product, float *cell, float *state, float *output)
{
    for (int unit = 0; unit < units; unit += LANES) {
        const Lanes into = load(token + unit) + load(product + unit);
        const Lanes forget = load(token + units + unit) + load(product + units + unit);
        const Lanes out = load(token + 2 * units + unit) + load(product + 2 * units + unit);
        const Lanes candidate = load(token + 3 * units + unit) + load(product + 3 * units + unit);
        const Lanes kept = sigmoid(forget) * load(cell + unit) + sigmoid_times_tangent(into, candidate);
        store(cell + unit, kept);
        const Lanes next = sigmoid_times_tangent(out, kept);
        store(state + unit, next);
        store(output + unit, next);
    }
}

INLINE void gru_step(int units, const float *token, const float *product, float *state, float *output)
{
    for (int unit = 0; unit < units; unit += LANES) {
        const Lanes update = sigmoid(load(token + unit) + load(product + unit));
        const Lanes reset = sigmoid(load(token + units + unit) + load(product + units + unit));
        const Lanes candidate =
            hyperbolic_tangent(load(token + 2 * units + unit) + reset * load(product + 2 * units + unit));
        const Lanes next = update * load(state + unit) + (1.0f - update) * candidate;
        store(state + unit, next);
        store(output + unit, next);
    }
}

INLINE void prefetch(const float *row, int length)
{
    for (int at = 0; at < length; at += PANEL) __builtin_prefetch(row + at);
}

/* One text of a batch: its ids and its states float32[length, 2U]. */
typedef struct {
    const int32_t *ids;
    int32_t length;
    float *states;
} Text;

/* Run one direction over up to BATCH texts, longest first; forward fills the first half of the states. */
INLINE void run_direction(const Model *model, int backward, int count, const Text *texts, float *scratch)
{
    const int units = model->units, gates = model->gates * units;
    const float *table = model->tables[backward];
    float *states = scratch;                 /* [BATCH, ROW] */
    float *cells = states + BATCH * ROW;     /* [BATCH, U] */
    float *products = cells + BATCH * units; /* [BATCH, outputs] */
    memset(states, 0, sizeof(float) * BATCH * (ROW + units));
    for (int step = 0; step < texts[0].length; step++) {
        while (texts[count - 1].length <= step) count--; /* texts that have ended cost nothing more */
        multiply(count, units, model->outputs, model->recurrent[backward], model->recurrent_bias[backward], states,
                 products);
        for (int row = 0; row < count; row++) {
            const Text *text = texts + row;
            const int at = backward ? text->length - 1 - step : step, next = backward ? at - 1 : at + 1;
            const float *token = table + (size_t)text->ids[at] * gates;
            if (next >= 0 && next < text->length) prefetch(table + (size_t)text->ids[next] * gates, gates);
            float *output = text->states + ((size_t)at * 2 + backward) * units;
            float *state = states + row * ROW, *product = products + (size_t)row * model->outputs;
            if (model->gates == 4)
                lstm_step(units, token, product, cells + row * units, state, output);
            else
                gru_step(units, token, product, state, output);
        }
    }
}

/* The states of up to BATCH texts: float32[tokens, 2U], one text after the other. */
INLINE void encode(const Model *model, int count, const int32_t *lengths, const int32_t *ids, float *states,
                   float *scratch)
{
    Text texts[BATCH]; /* the longest first, without those that have no token */
    int rows = 0;
    for (int text = 0; text < count; text++) {
        int at = rows;
        for (; at > 0 && texts[at - 1].length < lengths[text]; at--) texts[at] = texts[at - 1];
        texts[at] = (Text){ids, lengths[text], states};
        rows += 1;
        ids += lengths[text];
        states += (size_t)lengths[text] * 2 * model->units;
    }
    while (rows && texts[rows - 1].length == 0) rows--;
    if (!rows) return;
    run_direction(model, 0, rows, texts, scratch);
    run_direction(model, 1, rows, texts, scratch);
}

/* attention = softmax of tanh(state W + b) . query over the tokens of one text: Yang et al. 2016, equations 5 and 6. */
INLINE void attend(const Model *model, int tokens, const float *states, float *attention, float *scratch)
{
    const int width = 2 * model->units, hidden = model->hidden;
    float *rows = scratch, *products = rows + BATCH * ROW;
    float most = -INFINITY;
    double sum = 0; /* double, so that a thousand weights still sum to 1 */
    memset(rows, 0, sizeof(float) * BATCH * ROW);
    for (int first = 0; first < tokens; first += BATCH) {
        const int count = tokens - first < BATCH ? tokens - first : BATCH;
        for (int row = 0; row < count; row++)
            memcpy(rows + row * ROW, states + (size_t)(first + row) * width, sizeof(float) * width);
        multiply(count, width, hidden, model->kernel, model->bias, rows, products);
        for (int row = 0; row < count; row++) {
            Lanes sums = {0};
            for (int at = 0; at < hidden; at += LANES)
                sums += hyperbolic_tangent(load(products + (size_t)row * hidden + at)) * load(model->query + at);
            const float score = sum_of(sums) / model->temperature;
            attention[first + row] = score;
            if (score > most) most = score;
        }
    }
    for (int token = 0; token < tokens; token++) sum += attention[token] = expf(attention[token] - most);
    for (int token = 0; token < tokens; token++) attention[token] = (float)(attention[token] / sum);
}

INLINE float dot(const float *one, const float *other, int length)
{
    Lanes sums = {0};
    for (int at = 0; at < length; at += LANES) sums += load(one + at) * load(other + at);
    return sum_of(sums);
}

/* Logits of the states' weighted sum, and each token's share of them: models/layers/linear_head.py. The logits include
 * those of another path, `added`, unless that is NULL. */
INLINE void classify(const Model *model, int tokens, const float *states, const float *attention, const float *added,
                     float *logits, float *contributions, float *pooled)
{
    const int width = 2 * model->units;
    memset(pooled, 0, sizeof(float) * width);
    for (int token = 0; token < tokens; token++)
        for (int at = 0; at < width; at += LANES)
            store(pooled + at, load(pooled + at) + attention[token] * load(states + (size_t)token * width + at));
    int target = model->labels == 2;
    for (int label = 0; label < model->labels; label++) {
        logits[label] = dot(pooled, model->head + (size_t)label * width, width) + model->head_bias[label];
        if (added) logits[label] += added[label];
        if (model->labels > 2 && logits[label] > logits[target]) target = label;
    }
    const float *contrast = model->contrasts + (size_t)target * width;
    for (int token = 0; token < tokens; token++)
        contributions[token] = attention[token] * dot(states + (size_t)token * width, contrast, width);
}

/* Adds up to something that is not finite if one of the values is not. */
INLINE double total(int64_t count, const float *values)
{
    double sum = 0;
    for (int64_t at = 0; at < count; at++) sum += values[at];
    return sum;
}

INLINE int is_valid(const Model *model)
{
    return model->units > 0 && model->units % PANEL == 0 && model->units <= MAX_INPUTS / 2 &&
           (model->gates == 3 || model->gates == 4) && model->outputs >= model->gates * model->units &&
           model->outputs <= MAX_OUTPUTS && model->outputs % BLOCK == 0 && model->hidden > 0 &&
           model->hidden <= MAX_OUTPUTS && model->hidden % BLOCK == 0 && model->labels >= 2 &&
           model->labels <= MAX_OUTPUTS && model->vocabulary > 1 && isfinite(model->temperature) &&
           model->temperature > 0;
}

/* Run a forward pass and return one of the codes above. BATCH neighbours run side by side; this is fastest if their
 * lengths are similar.
 *
 * lengths int32[texts], 0 or more, `tokens` in all. ids int32[tokens], one text after the other; so are attention and
 * contributions, float32[tokens]. logits float32[texts, labels], to which `added` is added unless it is NULL. Nothing is
 * written if an id is out of range. */
int FORWARD(const Model *model, int32_t texts, int64_t tokens, const int32_t *lengths, const int32_t *ids,
            const float *added, float *logits, float *attention, float *contributions)
{
    if (!is_valid(model) || texts < 0 || tokens < 0 || tokens > MAX_TOKENS) return INVALID;
    int64_t counted = 0, most = 0; /* tokens in all, and in the largest batch */
    for (int32_t first = 0; first < texts; first += BATCH) {
        int64_t of_batch = 0;
        for (int32_t text = first; text < texts && text < first + BATCH; text++) {
            if (lengths[text] < 0) return INVALID;
            of_batch += lengths[text];
        }
        counted += of_batch;
        if (of_batch > most) most = of_batch;
    }
    if (counted != tokens) return INVALID;
    for (int64_t at = 0; at < tokens; at++)
        if (ids[at] < 1 || ids[at] >= model->vocabulary) return WRONG_ID;

    const int width = 2 * model->units, wider = model->outputs > model->hidden ? model->outputs : model->hidden;
    const size_t working = (size_t)BATCH * (ROW + model->units + wider);
    float *pooled = malloc(sizeof(float) * (width * (1 + (size_t)most) + working));
    if (!pooled) return NO_MEMORY;
    float *states = pooled + width, *scratch = states + most * width;
    double sum = 0;
    for (int32_t first = 0; first < texts; first += BATCH) {
        const int32_t end = texts - first < BATCH ? texts : first + BATCH;
        encode(model, end - first, lengths + first, ids, states, scratch);
        const float *of_text = states;
        for (int32_t text = first; text < end; text++) {
            const int32_t length = lengths[text];
            attend(model, length, of_text, attention, scratch);
            classify(model, length, of_text, attention, added, logits, contributions, pooled);
            sum += total(length, attention) + total(length, contributions) + total(model->labels, logits);
            of_text += (size_t)length * width;
            ids += length, attention += length, contributions += length, logits += model->labels;
            if (added) added += model->labels;
        }
    }
    free(pooled);
    return isfinite(sum) ? FINITE : NOT_FINITE;
}

#ifdef DISPATCHES
typedef int Forward(const Model *model, int32_t texts, int64_t tokens, const int32_t *lengths, const int32_t *ids,
                    const float *added, float *logits, float *attention, float *contributions);

/* Lanes of the widest vectors that this processor has and this library has code for. */
int heed_lanes(void)
{
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq"))
        return 16;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return 8;
#endif
    return 4;
}

/* The forward pass with the widest vectors that this processor has. */
int heed_forward(const Model *model, int32_t texts, int64_t tokens, const int32_t *lengths, const int32_t *ids,
                 const float *added, float *logits, float *attention, float *contributions)
{
    Forward *forward = heed_forward_any;
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
    extern Forward heed_forward_avx2, heed_forward_avx512;
    if (heed_lanes() == 8) forward = heed_forward_avx2;
    if (heed_lanes() == 16) forward = heed_forward_avx512;
#endif
    return forward(model, texts, tokens, lengths, ids, added, logits, attention, contributions);
}

/* A hash of the sources that this library was compiled from. */
const char *heed_sources(void) { return HEED_SOURCES; }
#endif
