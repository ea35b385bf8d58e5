/* Token ids and spans of a lower-cased text: models/tokenizer.py in machine code. */
#include <stdint.h>
#include <string.h>

enum Kind { SPACE, WORD, APOSTROPHE, SINGLE, JOINING }; /* as in models/tokenizer.py */

/* Where a word is found: by its hash, which few words share. All but its letters is in one line of the cache. */
typedef struct {
    uint32_t hash;
    int32_t id; /* 0: nothing is here */
    int32_t start, length;
} Slot;

/* Open addressing. */
typedef struct {
    const uint32_t *letters; /* the code points of all words, one word after the other */
    const int32_t *ends;     /* [words]: where each word ends in `letters` */
    Slot *slots;             /* [mask + 1] */
    uint32_t mask;           /* a power of two, less one */
    int32_t words, first_id;
} Vocabulary;

/* FNV-1a over code points, its bits then mixed down to those that choose a slot. */
#define HASHED(hash, code) (((hash) ^ (code)) * 16777619u)
#define PLACE(vocabulary, hash) (((hash) ^ ((hash) >> 15)) & (vocabulary)->mask)
#define EMPTY 2166136261u
#define NOWHERE (-1)

void heed_fill_vocabulary(const Vocabulary *vocabulary)
{
    for (int32_t word = 0; word < vocabulary->words; word++) {
        const int32_t start = word ? vocabulary->ends[word - 1] : 0, end = vocabulary->ends[word];
        uint32_t hash = EMPTY;
        for (int32_t at = start; at < end; at++) hash = HASHED(hash, vocabulary->letters[at]);
        uint32_t place = PLACE(vocabulary, hash);
        while (vocabulary->slots[place].id) place = (place + 1) & vocabulary->mask;
        vocabulary->slots[place] = (Slot){hash, vocabulary->first_id + word, start, end - start};
    }
}

/* The first place from `place` on of a word with this hash and length, which may yet be another; or NOWHERE. */
static inline int32_t next_like(const Vocabulary *vocabulary, uint32_t place, uint32_t hash, int32_t length)
{
    for (;; place = (place + 1) & vocabulary->mask) {
        const Slot *slot = vocabulary->slots + place;
        if (!slot->id) return NOWHERE;
        if (slot->hash == hash && slot->length == length) return (int32_t)place;
    }
}

/* Tokens of a text of code points below `known_kinds`; -1 where kinds alone do not tell tokens.
 * The first max_tokens of them go to ids, starts and ends; unknown words get first_id - 1, and are counted.
 * What is looked up is fetched for all tokens before it is needed for the first, so that the waits for memory overlap. */
#define ENCODE(NAME, CODE)                                                                                             \
    static int32_t id_of_##NAME(const Vocabulary *vocabulary, const CODE *word, int32_t length, int32_t place)         \
    {                                                                                                                  \
        while (place != NOWHERE) {                                                                                     \
            const Slot *slot = vocabulary->slots + place;                                                              \
            int32_t at = 0;                                                                                            \
            while (at < length && vocabulary->letters[slot->start + at] == word[at]) at++;                             \
            if (at == length) return slot->id;                                                                         \
            place = next_like(vocabulary, (uint32_t)(place + 1) & vocabulary->mask, slot->hash, length);               \
        }                                                                                                              \
        return vocabulary->first_id - 1;                                                                               \
    }                                                                                                                  \
                                                                                                                       \
    int32_t heed_encode_##NAME(const Vocabulary *vocabulary, const CODE *text, int32_t length, const uint8_t *kinds,   \
                               uint32_t known_kinds, int32_t max_tokens, int32_t *ids, int32_t *starts, int32_t *ends, \
                               int32_t *unknown)                                                                       \
    {                                                                                                                  \
        for (int32_t at = 0; at < length; at++)                                                                        \
            if (text[at] >= known_kinds || kinds[text[at]] == JOINING) return -1;                                      \
        int32_t tokens = 0;                                                                                            \
        for (int32_t at = 0; at < length;) {                                                                           \
            const int32_t start = at;                                                                                  \
            const uint8_t kind = kinds[text[at]];                                                                      \
            if (kind == SPACE) {                                                                                       \
                at++;                                                                                                  \
                continue;                                                                                              \
            }                                                                                                          \
            if (text[at] == '<' && length - at > 3 && text[at + 1] == 'b' && text[at + 2] == 'r') {                    \
                int32_t end = at + 3;                                                                                  \
                while (end < length && kinds[text[end]] == SPACE) end++;                                               \
                if (end < length && text[end] == '/') end++;                                                           \
                if (end < length && text[end] == '>') {                                                                \
                    at = end + 1;                                                                                      \
                    continue;                                                                                          \
                }                                                                                                      \
            }                                                                                                          \
            uint32_t hash = HASHED(EMPTY, text[at++]);                                                                 \
            if (kind == WORD)                                                                                          \
                for (; at < length; at++) {                                                                            \
                    const uint8_t next = kinds[text[at]];                                                              \
                    if (next != WORD &&                                                                                \
                        !(next == APOSTROPHE && at + 1 < length && kinds[text[at + 1]] == WORD))                       \
                        break;                                                                                         \
                    hash = HASHED(hash, text[at]);                                                                     \
                }                                                                                                      \
            if (tokens < max_tokens) {                                                                                 \
                __builtin_prefetch(vocabulary->slots + PLACE(vocabulary, hash));                                       \
                ids[tokens] = (int32_t)hash;                                                                           \
                starts[tokens] = start;                                                                                \
                ends[tokens] = at;                                                                                     \
            }                                                                                                          \
            tokens++;                                                                                                  \
        }                                                                                                              \
        const int32_t kept = tokens < max_tokens ? tokens : max_tokens;                                                \
        for (int32_t token = 0; token < kept; token++) {                                                               \
            const uint32_t hash = (uint32_t)ids[token];                                                                \
            ids[token] = next_like(vocabulary, PLACE(vocabulary, hash), hash, ends[token] - starts[token]);            \
            if (ids[token] != NOWHERE)                                                                                 \
                __builtin_prefetch(vocabulary->letters + vocabulary->slots[ids[token]].start);                         \
        }                                                                                                              \
        *unknown = 0;                                                                                                  \
        for (int32_t token = 0; token < kept; token++) {                                                               \
            ids[token] = id_of_##NAME(vocabulary, text + starts[token], ends[token] - starts[token], ids[token]);      \
            *unknown += ids[token] < vocabulary->first_id;                                                             \
        }                                                                                                              \
        return tokens;                                                                                                 \
    }

ENCODE(bytes, uint8_t)
ENCODE(codes, uint32_t)
