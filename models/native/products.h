/* Rows of floats times a matrix: [rows, inputs] x [inputs, outputs], for few rows.
 *
 * What counts is that the matrix is read once for several rows and that the sums stay in registers. Every sum runs over the
 * inputs in the same order whatever goes beside it: a row's products are the same to the last bit in any company.
 */
#ifndef HEED_PRODUCTS_H
#define HEED_PRODUCTS_H

#include <stddef.h>

#include "vectors.h"

#define PANEL 16 /* columns of the kernel that lie together, on every processor */
#define PARTS (PANEL / LANES)

typedef struct {
    int inputs;          /* at most MOST_INPUTS */
    int outputs;         /* a multiple of 4 PANELs; zeros fill it up */
    const float *kernel; /* [outputs / PANEL, inputs, PANEL] */
    const float *bias;   /* [outputs] */
} Product;

/* How far one row is from the next: fixed, so that the inner loop needs one address for all of them, and no power of
 * two, since eight rows would then fall on one set of the cache. */
#define MOST_INPUTS 1024
#define ROW (MOST_INPUTS + PANEL)
#define MOST_ROWS 8

/* products[row][column...] = bias + rows[row] x kernel, for ROWS rows and PANELS neighbouring panels of outputs. */
#define BLOCK(ROWS, PANELS)                                                                                            \
    INLINE void block_##ROWS(const Product *of, int panel, const float *rows, float *products)                         \
    {                                                                                                                  \
        const int inputs = of->inputs;                                                                                 \
        const float *kernel = of->kernel + (size_t)panel * inputs * PANEL;                                             \
        Lanes sums[ROWS][PANELS * PARTS];                                                                              \
        EACH(row, ROWS) EACH(part, PANELS * PARTS) sums[row][part] = load(of->bias + panel * PANEL + part * LANES);    \
        for (int input = 0; input < inputs; input++) {                                                                 \
            Lanes weights[PANELS * PARTS];                                                                             \
            EACH(part, PANELS * PARTS)                                                                                 \
                weights[part] = load(kernel + ((part / PARTS) * inputs + input) * PANEL + part % PARTS * LANES);       \
            EACH(row, ROWS)                                                                                            \
            {                                                                                                          \
                const Lanes value = rows[row * ROW + input] - (Lanes){0};                                              \
                EACH(part, PANELS * PARTS) sums[row][part] += weights[part] * value;                                   \
            }                                                                                                          \
        }                                                                                                              \
        EACH(row, ROWS) EACH(part, PANELS * PARTS)                                                                     \
            store(products + row * of->outputs + panel * PANEL + part * LANES, sums[row][part]);                       \
    }                                                                                                                  \
                                                                                                                       \
    INLINE void products_##ROWS(const Product *of, const float *rows, float *products)                                 \
    {                                                                                                                  \
        for (int panel = 0; panel < of->outputs / PANEL; panel += PANELS) block_##ROWS(of, panel, rows, products);     \
    }

/* As many sums at a time as hide how long one addition takes, and as there are registers for. */
#if LANES == 16
BLOCK(8, 2)
BLOCK(6, 2)
BLOCK(4, 4)
BLOCK(2, 4)
BLOCK(1, 4)
#elif LANES == 8
BLOCK(4, 1)
BLOCK(2, 2)
BLOCK(1, 4)
#else
BLOCK(2, 1)
BLOCK(1, 2)
#endif

/* products[row] = bias + rows[row] x kernel: rows [MOST_ROWS, ROW], products [MOST_ROWS, outputs]. */
INLINE void multiply(const Product *of, int count, const float *rows, float *products)
{
    int row = 0;
#if LANES == 16
    for (; count - row > 6; row += 8) products_8(of, rows + row * ROW, products + row * of->outputs);
    for (; count - row > 4; row += 6) products_6(of, rows + row * ROW, products + row * of->outputs);
#endif
#if LANES >= 8
    for (; count - row > 2; row += 4) products_4(of, rows + row * ROW, products + row * of->outputs);
#endif
    for (; count - row > 1; row += 2) products_2(of, rows + row * ROW, products + row * of->outputs);
    for (; row < count; row++) products_1(of, rows + row * ROW, products + row * of->outputs);
}

#endif
