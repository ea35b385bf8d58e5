/* Eight bytes at once, in one integer whose lowest byte is the first. */
#ifndef HEED_EIGHT_H
#define HEED_EIGHT_H
#include <stdint.h>
#include <string.h>

/* The same byte eight times. */
#define EIGHT(byte) ((byte) * 0x0101010101010101ull)

static inline uint64_t in_order(uint64_t eight)
{
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    return __builtin_bswap64(eight);
#else
    return eight;
#endif
}

static inline uint64_t load_eight(const void *from)
{
    uint64_t eight;
    memcpy(&eight, from, 8);
    return in_order(eight);
}

static inline void store_eight(void *to, uint64_t eight)
{
    eight = in_order(eight);
    memcpy(to, &eight, 8);
}

#endif
