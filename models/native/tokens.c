/* Token ids and spans of a text: models/tokenizer.py in machine code.
 *
 * Where tokens start and end is found for 64 characters at once, one bit for each: neither the characters nor the lengths
 * of words are branched on, which no processor could foresee. */
#include "eight.h"
#include "vocabulary.h"

enum Kind { SPACE = 0, WORD = 1, APOSTROPHE = 2, SINGLE = 4, JOINING = 8 }; /* as in models/tokenizer.py */

#define BLOCK 64

/* Characters by their kinds, the first in the lowest bit. */
typedef struct {
    uint64_t letter, apostrophe, single;
} Block;

/* Of the last character of the block before, in the lowest bit: its kind, and whether it belongs to a word. */
typedef struct {
    uint64_t letter, word, single;
} Before;

/* Where tokens start, and where they end: the character behind their last one. */
typedef struct {
    uint64_t starting, ending;
} Edges;

/* The lowest bit of each of eight bytes, the lowest byte's first. */
static inline uint64_t lowest_bits(uint64_t eight)
{
    return (eight & EIGHT(1)) * 0x0102040810204080ull >> 56;
}

static inline uint64_t bits_between(int32_t start, int32_t end)
{
    if (start < 0) start = 0;
    if (end > BLOCK) end = BLOCK;
    return end <= start ? 0 : ~0ull >> (BLOCK - (end - start)) << start;
}

/* A word is letters with single apostrophes between them; all else that is seen is a token of its own. */
static inline Edges edges_of(Block block, uint64_t next_letter, Before *before)
{
    const uint64_t between = (block.letter << 1 | before->letter) & (block.letter >> 1 | next_letter << (BLOCK - 1));
    const uint64_t inner = block.apostrophe & between;
    const uint64_t word = block.letter | inner, single = (block.apostrophe & ~inner) | block.single;
    const uint64_t behind_word = word << 1 | before->word, behind_single = single << 1 | before->single;
    *before = (Before){block.letter >> (BLOCK - 1), word >> (BLOCK - 1), single >> (BLOCK - 1)};
    return (Edges){single | (word & ~behind_word), behind_single | (behind_word & ~word)};
}

/* Writes the places of the bits behind the `written` ones that are there, while there is room; how many bits there are. */
static inline int32_t put_places(uint64_t bits, int32_t from, int32_t *places, int32_t written, int32_t room)
{
    const int32_t count = __builtin_popcountll(bits);
    for (; bits && written < room; bits &= bits - 1) places[written++] = from + __builtin_ctzll(bits);
    return count;
}

/* The first place of a character from `from` on; `end` or beyond if it is nowhere before that. */
static inline int32_t find_bytes(const uint8_t *text, int32_t from, int32_t end, uint8_t sought)
{
    const uint8_t *found = from < end ? memchr(text + from, sought, end - from) : NULL;
    return found ? (int32_t)(found - text) : end;
}

static inline int32_t find_codes(const uint32_t *text, int32_t from, int32_t end, uint32_t sought)
{
    while (from < end && text[from] != sought) from++;
    return from;
}

void heed_fill_vocabulary(const Vocabulary *vocabulary)
{
    for (int32_t word = 0; word < vocabulary->words; word++) {
        const int32_t start = word ? vocabulary->ends[word - 1] : 0, length = vocabulary->ends[word] - start;
        const uint64_t key = key_of_codes(vocabulary->letters + start, length, length);
        const Slot *place = slot_of(vocabulary, key);
        while (place->id) place = slot_behind(vocabulary, place);
        vocabulary->slots[place - vocabulary->slots] = (Slot){key, vocabulary->first_id + word, start};
    }
}

#define NAME bytes
#define CODE uint8_t
#include "tokens.h"
#undef NAME
#undef CODE
#define NAME codes
#define CODE uint32_t
#include "tokens.h"

/* The same of a text in ASCII with capitals; the lower-cased one, uint8[length], goes to `found` behind all else. */
int32_t heed_encode_ascii(const Vocabulary *vocabulary, const uint8_t *text, int32_t length, const uint8_t *kinds,
                          uint32_t known_kinds, int32_t max_tokens, int32_t *found)
{
    uint8_t *lowered = (uint8_t *)(found + 3 * (length < max_tokens ? length : max_tokens) + 1);
    for (int32_t at = 0; at < length; at++) lowered[at] = text[at] + ((uint8_t)(text[at] - 'A') < 26) * ('a' - 'A');
    return heed_encode_bytes(vocabulary, lowered, length, kinds, known_kinds, max_tokens, found);
}
