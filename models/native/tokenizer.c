/* Tokens of a text and their ids: what models/tokenizer.py finds where the kinds of characters tell the tokens. */
#include <stdint.h>
#include <string.h>

#define INLINE static inline __attribute__((always_inline))

enum { SPACE = 0, WORD = 1, APOSTROPHE = 2, SINGLE = 4, JOINING = 8 }; /* kinds of characters, as in models/token_rules.py */

/* Slots that are looked at for a word, besides its first. A vocabulary that needs more was made to collide: it is
 * refused, in linear time. */
#define MAX_PROBES 128

typedef struct {
    uint64_t hash;
    int32_t id; /* 0: empty */
    int32_t start, length; /* of the word in `letters` */
} Slot;

/* `_Vocabulary` of vocabulary.py: a hash table with linear probing. */
typedef struct {
    const uint32_t *letters; /* the code points of all words, one word after the other */
    const int32_t *ends;     /* [words]: where each word ends in `letters` */
    Slot *slots;             /* [mask + 1], empty at first */
    uint32_t mask;           /* a power of two minus one, at least 2 * words */
    int32_t words, first_id;
} Vocabulary;

/* A text: code points of `width` bytes each. The functions below are inlined once for each width. */
typedef struct {
    const void *codes;
    int32_t length;
    const uint8_t *kinds; /* [known_kinds]: the kind of each code point; others are JOINING */
    uint32_t known_kinds;
} Text;

INLINE uint32_t code_at(const Text *text, const int width, int32_t at)
{
    return width == 4 ? ((const uint32_t *)text->codes)[at] : ((const uint8_t *)text->codes)[at];
}

INLINE int kind_at(const Text *text, const int width, int32_t at)
{
    const uint32_t code = code_at(text, width, at);
    return code < text->known_kinds ? text->kinds[code] : JOINING;
}

/* The end of a line break of HTML, <br\s*\/?>, that starts at `at`; 0 if there is none. */
INLINE int32_t end_of_break(const Text *text, const int width, int32_t at)
{
    if (text->length - at < 4 || code_at(text, width, at) != '<' || code_at(text, width, at + 1) != 'b' ||
        code_at(text, width, at + 2) != 'r')
        return 0;
    at += 3;
    while (at < text->length && kind_at(text, width, at) == SPACE) at++;
    if (at < text->length && code_at(text, width, at) == '/') at++;
    return at < text->length && code_at(text, width, at) == '>' ? at + 1 : 0;
}

/* The end of the word that starts at `at`: letters with single apostrophes between them. */
INLINE int32_t end_of_word(const Text *text, const int width, int32_t at)
{
    for (;;) {
        while (at < text->length && kind_at(text, width, at) == WORD) at++;
        if (at + 1 >= text->length || kind_at(text, width, at) != APOSTROPHE || kind_at(text, width, at + 1) != WORD)
            return at;
        at++;
    }
}

INLINE uint64_t hash_with(uint64_t hash, uint32_t code)
{
    hash = (hash ^ code) * 0x9e3779b97f4a7c15ull; /* 2^64 over the golden ratio */
    return hash ^ hash >> 32;
}

INLINE int32_t id_of(const Vocabulary *vocabulary, const Text *text, const int width, int32_t start, int32_t end)
{
    uint64_t hash = 0;
    for (int32_t at = start; at < end; at++) hash = hash_with(hash, code_at(text, width, at));
    for (uint32_t probe = 0; probe <= MAX_PROBES; probe++) {
        const Slot *slot = vocabulary->slots + ((hash + probe) & vocabulary->mask);
        if (!slot->id) break;
        if (slot->hash != hash || slot->length != end - start) continue;
        int32_t at = 0;
        while (at < slot->length && vocabulary->letters[slot->start + at] == code_at(text, width, start + at)) at++;
        if (at == slot->length) return slot->id;
    }
    return vocabulary->first_id - 1;
}

INLINE int32_t encode(const Vocabulary *vocabulary, const Text *text, const int width, int32_t room, int32_t *found)
{
    int32_t *ids = found, *starts = ids + room, *ends = starts + room, tokens = 0, end;
    for (int32_t at = 0; at < text->length; at = end) {
        const int kind = kind_at(text, width, at);
        end = at + 1;
        if (kind == SPACE) continue;
        if (kind == WORD)
            end = end_of_word(text, width, at);
        else if (kind != SINGLE && kind != APOSTROPHE)
            return -1;
        else if (kind == SINGLE && (end = end_of_break(text, width, at)))
            continue;
        else
            end = at + 1;
        if (tokens < room) {
            ids[tokens] = id_of(vocabulary, text, width, at, end);
            starts[tokens] = at;
            ends[tokens] = end;
        }
        tokens++;
    }
    return tokens;
}

/* Fill the slots; 0 if too many words collide. Takes time in proportion to the letters and words, whatever they are. */
int heed_fill_vocabulary(const Vocabulary *vocabulary)
{
    for (int32_t word = 0; word < vocabulary->words; word++) {
        const int32_t start = word ? vocabulary->ends[word - 1] : 0, end = vocabulary->ends[word];
        uint64_t hash = 0;
        for (int32_t at = start; at < end; at++) hash = hash_with(hash, vocabulary->letters[at]);
        uint32_t probe = 0;
        while (vocabulary->slots[(hash + probe) & vocabulary->mask].id)
            if (++probe > MAX_PROBES) return 0;
        vocabulary->slots[(hash + probe) & vocabulary->mask] = (Slot){hash, vocabulary->first_id + word, start, end - start};
    }
    return 1;
}

/* Return the number of tokens in a text, or -1 where the kinds of characters do not tell them.
 *
 * text: uint8[length], ASCII, or uint32[length], as words are looked up; `width` is 1 or 4. found: int32[3, room] for the ids, the
 * starts and the ends of the first `room` tokens; an unknown word has the id first_id - 1. */
int32_t heed_encode(const Vocabulary *vocabulary, const void *codes, int32_t width, int32_t length, const uint8_t *kinds,
                    uint32_t known_kinds, int32_t room, int32_t *found)
{
    const Text text = {codes, length, kinds, known_kinds};
    return width == 1 ? encode(vocabulary, &text, 1, room, found) : encode(vocabulary, &text, 4, room, found);
}
