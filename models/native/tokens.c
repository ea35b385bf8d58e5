/* Token ids and spans of a lower-cased text: models/tokenizer.py in machine code. */
#include <stdint.h>
#include <string.h>

enum Kind { SPACE, WORD, APOSTROPHE, SINGLE, JOINING }; /* as in models/tokenizer.py */

/* Open addressing: slots int32[mask + 1], the id of a word or 0 where there is none. */
typedef struct {
    const uint32_t *letters; /* the code points of all words, one word after the other */
    const int32_t *ends;     /* [words]: where each word ends in `letters` */
    int32_t *slots;
    uint32_t mask; /* a power of two, less one */
    int32_t words, first_id;
} Vocabulary;

/* FNV-1a over code points, its bits then mixed down to those that choose a slot. */
#define HASHED(hash, code) (((hash) ^ (code)) * 16777619u)
#define SLOT(hash) ((hash) ^ ((hash) >> 15))
#define EMPTY 2166136261u

void heed_fill_vocabulary(const Vocabulary *vocabulary)
{
    for (int32_t word = 0; word < vocabulary->words; word++) {
        uint32_t hash = EMPTY;
        for (int32_t at = word ? vocabulary->ends[word - 1] : 0; at < vocabulary->ends[word]; at++)
            hash = HASHED(hash, vocabulary->letters[at]);
        uint32_t slot = SLOT(hash) & vocabulary->mask;
        while (vocabulary->slots[slot]) slot = (slot + 1) & vocabulary->mask;
        vocabulary->slots[slot] = vocabulary->first_id + word;
    }
}

/* Tokens of a text of code points below `known_kinds`; -1 where kinds alone do not tell tokens.
 * The first max_tokens of them go to ids, starts and ends; unknown words get first_id - 1, and are counted. */
#define ENCODE(NAME, CODE)                                                                                             \
    static int32_t id_of_##NAME(const Vocabulary *vocabulary, const CODE *word, int32_t length, uint32_t hash)         \
    {                                                                                                                  \
        for (uint32_t slot = SLOT(hash) & vocabulary->mask;; slot = (slot + 1) & vocabulary->mask) {                   \
            const int32_t id = vocabulary->slots[slot];                                                                \
            if (!id) return vocabulary->first_id - 1;                                                                  \
            const int32_t place = id - vocabulary->first_id;                                                           \
            const int32_t start = place ? vocabulary->ends[place - 1] : 0;                                             \
            if (vocabulary->ends[place] - start != length) continue;                                                   \
            int32_t at = 0;                                                                                            \
            while (at < length && vocabulary->letters[start + at] == word[at]) at++;                                   \
            if (at == length) return id;                                                                               \
        }                                                                                                              \
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
                __builtin_prefetch(vocabulary->slots + (SLOT(hash) & vocabulary->mask));                               \
                ids[tokens] = (int32_t)hash;                                                                           \
                starts[tokens] = start;                                                                                \
                ends[tokens] = at;                                                                                     \
            }                                                                                                          \
            tokens++;                                                                                                  \
        }                                                                                                              \
        /* Looked up when all are known, so that the waits for memory overlap. */                                      \
        *unknown = 0;                                                                                                  \
        for (int32_t token = 0; token < tokens && token < max_tokens; token++) {                                       \
            ids[token] = id_of_##NAME(vocabulary, text + starts[token], ends[token] - starts[token], ids[token]);      \
            *unknown += ids[token] < vocabulary->first_id;                                                             \
        }                                                                                                              \
        return tokens;                                                                                                 \
    }

ENCODE(bytes, uint8_t)
ENCODE(codes, uint32_t)
