/* One direction of an LSTM or GRU over token ids: the equations of service/inference/recurrence.py. */
#ifndef HEED_RECURRENCE_H
#define HEED_RECURRENCE_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "products.h"

typedef struct {
    int units;          /* U, a multiple of PANEL */
    int gates;          /* 4U of an LSTM: input, forget, output, candidate; 3U of a GRU: update, reset, candidate */
    const float *table; /* [vocabulary, gates]: a token's vector times the kernel, plus the bias */
    Product of_state;   /* [U] -> [gates and more]; an LSTM's bias is zeros */
} Direction;

/* What a pass does every so many steps, for others that should not wait for all of it. NULL: nothing. */
#define PAUSE_STEPS 64

typedef struct {
    void (*rest)(void *whose);
    void *whose;
} Pause;

INLINE void rest(const Pause *pause)
{
    if (pause) pause->rest(pause->whose);
}

INLINE void lstm_gates(int units, const float *token, const float *product, float *cell, float *state, float *output)
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

INLINE void gru_gates(int units, const float *token, const float *product, float *state, float *output)
{
    for (int unit = 0; unit < units; unit += LANES) {
        const Lanes update = sigmoid(load(token + unit) + load(product + unit));
        const Lanes reset = sigmoid(load(token + units + unit) + load(product + units + unit));
        const Lanes candidate = hyperbolic_tangent(load(token + 2 * units + unit) + reset * load(product + 2 * units + unit));
        const Lanes next = update * load(state + unit) + (1.0f - update) * candidate;
        store(state + unit, next);
        store(output + unit, next);
    }
}

INLINE void fetch_early(const float *row, int gates)
{
    for (int gate = 0; gate < gates; gate += LANES) __builtin_prefetch(row + gate);
}

/* One direction over up to MOST_ROWS texts, longest first: ids[row] int32[lengths[row]], outputs[row] float32[tokens, 2U]
 * from the direction's own half on. */
INLINE void run_rows(const Direction *way, int rows, const int32_t **ids, const int32_t *lengths, int backward,
                     float **outputs, float *scratch, const Pause *pause)
{
    const int units = way->units, gates = way->gates, width = way->of_state.outputs;
    float *states = scratch;                    /* [MOST_ROWS, ROW] */
    float *cells = states + MOST_ROWS * ROW;    /* [MOST_ROWS, U] */
    float *products = cells + MOST_ROWS * units; /* [MOST_ROWS, width] */
    memset(states, 0, sizeof(float) * MOST_ROWS * (ROW + units));
    for (int first = 0; first < lengths[0]; first += PAUSE_STEPS) {
        const int end = lengths[0] - first < PAUSE_STEPS ? lengths[0] : first + PAUSE_STEPS;
        if (first) rest(pause);
        for (int step = first; step < end; step++) {
            while (lengths[rows - 1] <= step) rows--; /* texts that are at their end cost nothing more */
            multiply(&way->of_state, rows, states, products);
            for (int row = 0; row < rows; row++) {
                const int at = backward ? lengths[row] - 1 - step : step;
                const float *token = way->table + (size_t)ids[row][at] * gates;
                const int next = backward ? at - 1 : at + 1;
                if (next >= 0 && next < lengths[row]) fetch_early(way->table + (size_t)ids[row][next] * gates, gates);
                float *output = outputs[row] + (size_t)at * 2 * units;
                float *state = states + row * ROW, *product = products + row * width;
                if (gates == 4 * units)
                    lstm_gates(units, token, product, cells + row * units, state, output);
                else
                    gru_gates(units, token, product, state, output);
            }
        }
    }
}

#endif
