/* Where a word is found by its letters. */
#ifndef HEED_VOCABULARY_H
#define HEED_VOCABULARY_H
#include <stdint.h>

#include "eight.h"

/* All that is needed of most words is in one line of the cache. */
typedef struct {
    uint64_t key;
    int32_t id;    /* 0: nothing is here */
    int32_t start; /* of its letters in the vocabulary's */
} Slot;

/* Open addressing. */
typedef struct {
    const uint32_t *letters; /* the code points of all words, one word after the other */
    const int32_t *ends;     /* [words]: where each word ends in `letters` */
    Slot *slots;             /* [mask + 1] */
    uint32_t mask;           /* a power of two, less one */
    int32_t words, first_id;
} Vocabulary;

/* The key of a word of up to eight ASCII characters is these themselves, the first in the lowest byte, and no other word
 * has it; what is left of the eight bytes is full. Other words have a hash of all their letters: it may be that of another
 * word too, and is told from a word itself by its highest byte, which neither ASCII nor a full byte is. */
#define A_KEY 8
#define HASHED 0x80ull
#define IS_HASH(key) ((key) >> 56 == HASHED)
#define ODD 0x9e3779b97f4a7c15ull /* 2^64 over the golden ratio: spreads what differs in the lowest bits over the highest */

static inline uint64_t itself(uint64_t chunk, int32_t length)
{
    return length == A_KEY ? chunk : chunk | ~0ull << 8 * length;
}

static inline uint64_t folded(uint64_t hash, uint64_t chunk)
{
    hash = (hash ^ chunk) * ODD;
    return hash ^ hash >> 32;
}

static inline uint64_t as_hash(uint64_t hash)
{
    return hash >> 8 | HASHED << 56;
}

/* Up to eight code points in as many bytes; those beyond a byte reach into the next ones. */
static inline uint64_t chunk_of_codes(const uint32_t *codes, int32_t length)
{
    uint64_t chunk = 0;
    for (int32_t at = 0; at < length; at++) chunk ^= (uint64_t)codes[at] << 8 * at;
    return chunk;
}

static inline uint64_t key_of_codes(const uint32_t *codes, int32_t length, int32_t readable)
{
    (void)readable;
    uint32_t all = 0;
    for (int32_t at = 0; at < length; at++) all |= codes[at];
    if (all < 0x80 && length <= A_KEY) return itself(chunk_of_codes(codes, length), length);
    uint64_t hash = 0;
    for (; length > A_KEY; codes += A_KEY, length -= A_KEY) hash = folded(hash, chunk_of_codes(codes, A_KEY));
    return as_hash(folded(hash, chunk_of_codes(codes, length)));
}

/* Up to eight bytes, of which at least `length` may be read. */
static inline uint64_t chunk_of_bytes(const uint8_t *bytes, int32_t length, int32_t readable)
{
    if (readable >= A_KEY) return load_eight(bytes) & ~0ull >> 8 * (A_KEY - length);
    uint64_t chunk = 0;
    for (int32_t at = 0; at < length; at++) chunk |= (uint64_t)bytes[at] << 8 * at;
    return chunk;
}

/* The key of a word in ASCII, in a text of which `readable` bytes are left from its beginning. */
static inline uint64_t key_of_bytes(const uint8_t *bytes, int32_t length, int32_t readable)
{
    if (length <= A_KEY) return itself(chunk_of_bytes(bytes, length, readable), length);
    uint64_t hash = 0;
    for (; length > A_KEY; bytes += A_KEY, length -= A_KEY, readable -= A_KEY)
        hash = folded(hash, chunk_of_bytes(bytes, A_KEY, readable));
    return as_hash(folded(hash, chunk_of_bytes(bytes, length, readable)));
}

static inline const Slot *slot_of(const Vocabulary *vocabulary, uint64_t key)
{
    return vocabulary->slots + (key * ODD >> 32 & vocabulary->mask);
}

static inline const Slot *slot_behind(const Vocabulary *vocabulary, const Slot *slot)
{
    return vocabulary->slots + ((slot - vocabulary->slots + 1) & vocabulary->mask);
}

#endif
