/* LANES floats at once, as many as a register of the processor holds, and the functions of gates on them.
 *
 * Who includes this says how many: 4, 8 or 16. */
#ifndef HEED_VECTORS_H
#define HEED_VECTORS_H

#include <stdint.h>
#include <string.h>

typedef float Lanes __attribute__((vector_size(4 * LANES)));
typedef int32_t Bits __attribute__((vector_size(4 * LANES)));

#define INLINE static inline __attribute__((always_inline))
#define UNROLLED _Pragma("GCC unroll 16")
#define EACH(name, count) UNROLLED for (int name = 0; name < count; name++)

INLINE Lanes load(const float *from)
{
    Lanes lanes;
    memcpy(&lanes, from, sizeof lanes);
    return lanes;
}

INLINE void store(float *to, Lanes lanes) { memcpy(to, &lanes, sizeof lanes); }

INLINE Lanes at_most(Lanes lanes, float most)
{
    const Bits above = lanes > most; /* of what is not a number neither is: it stays */
    const Lanes bound = most - (Lanes){0};
    return (Lanes)(((Bits)bound & above) | ((Bits)lanes & ~above));
}

/* e to the power of each, within 2 units in the last place; what is beyond +-87 is taken for +-87.
 * Cody and Waite's reduction, and the polynomial of Cephes' expf (Moshier, netlib.org/cephes). */
INLINE Lanes exponential(Lanes exponent)
{
    exponent = -at_most(-at_most(exponent, 87.0f), 87.0f);
    const Lanes shifted = exponent * 1.44269504f + 12582912.0f; /* 1.5 * 2^23: the sum is rounded to an integer */
    const Bits power = ((Bits)shifted - (0x4B400000 - 127)) << 23; /* the bits of two to that power */
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

/* sigmoid(logits) * hyperbolic_tangent(angles) with one division, which takes as long as all else of an exponential. */
INLINE Lanes sigmoid_times_tangent(Lanes logits, Lanes angles)
{
    const Lanes of_logits = exponential(-logits), of_angles = exponential(-2.0f * angles);
    return (1.0f - of_angles) / ((1.0f + of_logits) * (1.0f + of_angles));
}

#endif
