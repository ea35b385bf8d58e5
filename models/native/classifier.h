/* A whole forward pass of the commonest classifier: bidirectional LSTM or GRU, additive pooling, linear head.
 *
 * Texts stand one after the other, none is padded, and what comes of a text is the same to the last bit in any batch.
 */
#ifndef HEED_CLASSIFIER_H
#define HEED_CLASSIFIER_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "recurrence.h"

typedef struct {
    Direction forward, backward;
    Product hidden;         /* [2U] -> u before its tanh */
    const float *query;     /* [hidden.outputs]; zeros beyond the layer's own units */
    float temperature;      /* of the scores */
    int labels;
    const float *head;      /* [labels, 2U] */
    const float *head_bias; /* [labels] */
    const float *contrasts; /* [labels, 2U]: each label's column less the mean of the others */
    int first_id, last_id;  /* of a token: rows of the directions' tables */
} Classifier;

enum Outcome { WRONG_ID = -1, NOT_FINITE = 0, ALL_FINITE = 1 };

/* How many floats of scratch `classify` needs for eight texts that have so many tokens together. */
INLINE int64_t scratch_for(const Classifier *model, int64_t tokens)
{
    const int64_t units = model->forward.units;
    const int64_t gates = model->forward.of_state.outputs, hidden = model->hidden.outputs;
    const int64_t working = MOST_ROWS * (ROW + units + (gates > hidden ? gates : hidden));
    return working + (1 + tokens) * 2 * units;
}

INLINE float sum_of(Lanes lanes)
{
    float sum = 0;
    EACH(lane, LANES) sum += lanes[lane];
    return sum;
}

INLINE float dot(const float *one, const float *other, int length)
{
    Lanes sums = {0};
    for (int at = 0; at < length; at += LANES) sums += load(one + at) * load(other + at);
    return sum_of(sums);
}

/* attention = softmax of tanh(state W + b) . query over the tokens of one text: Yang et al. 2016, equations 5 and 6. */
INLINE void attend(const Classifier *model, int tokens, const float *states, float *attention, float *scratch)
{
    const int width = model->hidden.inputs, hidden = model->hidden.outputs;
    float *rows = scratch, *products = rows + MOST_ROWS * ROW;
    float most = -INFINITY;
    double sum = 0; /* of up to a thousand weights, that shall sum to 1 */
    for (int first = 0; first < tokens; first += MOST_ROWS) {
        const int count = tokens - first < MOST_ROWS ? tokens - first : MOST_ROWS;
        for (int row = 0; row < count; row++)
            memcpy(rows + row * ROW, states + (size_t)(first + row) * width, sizeof(float) * width);
        multiply(&model->hidden, count, rows, products);
        for (int row = 0; row < count; row++) {
            Lanes sums = {0};
            for (int at = 0; at < hidden; at += LANES)
                sums += hyperbolic_tangent(load(products + row * hidden + at)) * load(model->query + at);
            const float score = sum_of(sums) / model->temperature;
            attention[first + row] = score;
            if (score > most) most = score;
        }
    }
    for (int token = 0; token < tokens; token++) sum += attention[token] = expf(attention[token] - most);
    for (int token = 0; token < tokens; token++) attention[token] = (float)(attention[token] / sum);
}

/* Logits of the states' weighted sum, and each token's share in them, as in models/layers/linear_head.py. */
INLINE void judge(const Classifier *model, int tokens, const float *states, const float *attention, float *logits,
                  float *contributions, float *pooled)
{
    const int width = model->hidden.inputs;
    memset(pooled, 0, sizeof(float) * width);
    for (int token = 0; token < tokens; token++)
        for (int at = 0; at < width; at += LANES)
            store(pooled + at, load(pooled + at) + attention[token] * load(states + (size_t)token * width + at));
    int target = model->labels == 2;
    for (int label = 0; label < model->labels; label++) {
        logits[label] = dot(pooled, model->head + label * width, width) + model->head_bias[label];
        if (model->labels > 2 && logits[label] > logits[target]) target = label;
    }
    for (int token = 0; token < tokens; token++)
        contributions[token] = attention[token] * dot(states + (size_t)token * width, model->contrasts + target * width, width);
}

/* The places of up to MOST_ROWS texts, the longest first; of equal ones the first. */
INLINE void rank(int texts, const int32_t *lengths, int *places)
{
    for (int text = 0; text < texts; text++) {
        int at = text;
        for (; at > 0 && lengths[places[at - 1]] < lengths[text]; at--) places[at] = places[at - 1];
        places[at] = text;
    }
}

INLINE int are_tokens(const Classifier *model, int64_t count, const int32_t *ids)
{
    int wrong = 0;
    for (int64_t at = 0; at < count; at++) wrong |= ids[at] < model->first_id || ids[at] > model->last_id;
    return !wrong;
}

/* What is not finite stays so in a sum; of finite floats no such sum is too large for a double. */
INLINE double total(int64_t count, const float *values)
{
    double sum = 0;
    for (int64_t at = 0; at < count; at++) sum += values[at];
    return sum;
}

/* The states of up to MOST_ROWS texts, one text after the other: float32[tokens, 2U]. What is behind them is scratch. */
INLINE void encode(const Classifier *model, int texts, const int32_t *lengths, const int32_t *ids, float *states,
                   float *spare, const Pause *pause)
{
    const int width = 2 * model->forward.units;
    const int32_t *text_ids[MOST_ROWS], *row_ids[MOST_ROWS];
    float *text_states[MOST_ROWS], *row_states[MOST_ROWS], *row_halves[MOST_ROWS];
    int places[MOST_ROWS], rows = 0;
    int32_t row_lengths[MOST_ROWS];
    for (int text = 0; text < texts; text++) {
        text_ids[text] = ids;
        text_states[text] = states;
        ids += lengths[text];
        states += (size_t)lengths[text] * width;
    }
    rank(texts, lengths, places);
    for (; rows < texts && lengths[places[rows]] > 0; rows++) {
        row_ids[rows] = text_ids[places[rows]];
        row_lengths[rows] = lengths[places[rows]];
        row_states[rows] = text_states[places[rows]];
        row_halves[rows] = row_states[rows] + model->forward.units;
    }
    if (!rows) return;
    run_rows(&model->forward, rows, row_ids, row_lengths, 0, row_states, spare, pause);
    run_rows(&model->backward, rows, row_ids, row_lengths, 1, row_halves, spare, pause);
}

/* A forward pass. Each MOST_ROWS neighbours run side by side, quickest where their lengths are alike.
 *
 * lengths int32[texts], 0 or more. ids int32[tokens of all texts], one text after the other; so are attention and
 * contributions, float32[tokens]. logits float32[texts, labels]. With an id that is none nothing is computed. While it
 * pauses, the caller may do another pass with other scratch. */
INLINE int classify(const Classifier *model, int texts, const int32_t *lengths, const int32_t *ids, float *logits,
                    float *attention, float *contributions, float *scratch, const Pause *pause)
{
    const int width = 2 * model->forward.units;
    float *pooled = scratch, *states = pooled + width;
    int64_t all_tokens = 0;
    double sum = 0;
    for (int text = 0; text < texts; text++) all_tokens += lengths[text];
    if (!are_tokens(model, all_tokens, ids)) return WRONG_ID;
    for (int first = 0; first < texts; first += MOST_ROWS) {
        const int count = texts - first < MOST_ROWS ? texts - first : MOST_ROWS;
        int64_t tokens = 0;
        for (int text = first; text < first + count; text++) tokens += lengths[text];
        float *spare = states + tokens * width, *of_text = states;
        encode(model, count, lengths + first, ids, states, spare, pause);
        for (int text = first; text < first + count; text++) {
            const int length = lengths[text];
            if (length > PAUSE_STEPS) rest(pause);
            attend(model, length, of_text, attention, spare);
            judge(model, length, of_text, attention, logits, contributions, pooled);
            sum += total(length, attention) + total(length, contributions) + total(model->labels, logits);
            of_text += (size_t)length * width;
            attention += length, contributions += length, logits += model->labels;
        }
        ids += tokens;
    }
    return isfinite(sum) ? ALL_FINITE : NOT_FINITE;
}

/* `classify`, as compiled for the widest vectors that this processor has. */
int heed_classify(const Classifier *model, int texts, const int32_t *lengths, const int32_t *ids, float *logits,
                  float *attention, float *contributions, float *scratch, const Pause *pause);

/* `classify` as compiled here, under a name of its own. */
#define CLASSIFY_AS(NAME)                                                                                              \
    int NAME(const Classifier *model, int texts, const int32_t *lengths, const int32_t *ids, float *logits,            \
             float *attention, float *contributions, float *scratch, const Pause *pause)                               \
    {                                                                                                                  \
        return classify(model, texts, lengths, ids, logits, attention, contributions, scratch, pause);                 \
    }

#endif
