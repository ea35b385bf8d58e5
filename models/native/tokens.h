/* Tokens of a text whose characters are CODE, by functions whose names end in NAME: tokens.c includes this for each. */
#define PASTED(one, other) one##_##other
#define JOINED(one, other) PASTED(one, other)
#define NAMED(function) JOINED(function, NAME)

/* Where reading has come to in a text. */
typedef struct {
    const CODE *text;
    int32_t length;
    const uint8_t *kinds;
    uint32_t known_kinds;
    int32_t break_start, break_end; /* the next line break of HTML; both `length` behind the last one */
    uint64_t seen;                  /* the kinds of all characters so far, each in any byte */
} NAMED(Reader);

/* The first line break of HTML, <br\s*\/?>, at or behind `from`. */
static void NAMED(find_break)(NAMED(Reader) *reader, int32_t from)
{
    const CODE *text = reader->text;
    for (int32_t at = from; (at = NAMED(find)(text, at, reader->length - 3, '<')) < reader->length - 3; at++) {
        if (text[at + 1] != 'b' || text[at + 2] != 'r') continue;
        int32_t end = at + 3;
        while (end < reader->length && text[end] < reader->known_kinds && reader->kinds[text[end]] == SPACE) end++;
        if (end < reader->length && text[end] == '/') end++;
        if (end < reader->length && text[end] == '>') {
            reader->break_start = at;
            reader->break_end = end + 1;
            return;
        }
    }
    reader->break_start = reader->break_end = reader->length;
}

static inline uint64_t NAMED(kind)(const NAMED(Reader) *reader, int32_t at)
{
    const CODE code = reader->text[at];
    return sizeof(CODE) == 1 || code < reader->known_kinds ? reader->kinds[code] : JOINING; /* bytes are all known */
}

/* The characters from `from` on, line breaks as if they were spaces; there is nothing behind the end of the text. */
static inline Block NAMED(block)(NAMED(Reader) *reader, int32_t from)
{
    Block block = {0, 0, 0};
    for (int32_t at = 0; at < BLOCK && from + at < reader->length; at += 8) {
        uint64_t eight = 0;
        if (from + at + 8 <= reader->length)
            for (int byte = 0; byte < 8; byte++) eight |= NAMED(kind)(reader, from + at + byte) << 8 * byte;
        else
            for (int byte = 0; from + at + byte < reader->length; byte++)
                eight |= NAMED(kind)(reader, from + at + byte) << 8 * byte;
        reader->seen |= eight;
        block.letter |= lowest_bits(eight) << at; /* WORD */
        block.apostrophe |= lowest_bits(eight >> 1) << at;
        block.single |= lowest_bits(eight >> 2) << at;
    }
    while (reader->break_start < from + BLOCK && reader->break_start < reader->length) {
        const uint64_t kept = ~bits_between(reader->break_start - from, reader->break_end - from);
        block = (Block){block.letter & kept, block.apostrophe & kept, block.single & kept};
        if (reader->break_end > from + BLOCK) break; /* the rest of it is in the next block */
        NAMED(find_break)(reader, reader->break_end);
    }
    return block;
}

static int32_t NAMED(id_of)(const Vocabulary *vocabulary, const CODE *word, int32_t length, uint64_t key)
{
    for (const Slot *slot = slot_of(vocabulary, key); slot->id; slot = slot_behind(vocabulary, slot)) {
        if (slot->key != key) continue;
        if (!IS_HASH(key)) return slot->id;
        if (vocabulary->ends[slot->id - vocabulary->first_id] - slot->start != length) continue;
        int32_t at = 0;
        while (at < length && vocabulary->letters[slot->start + at] == word[at]) at++;
        if (at == length) return slot->id;
    }
    return vocabulary->first_id - 1;
}

/* The ids of tokens; how many of them are no words. What is looked up is fetched for many tokens before it is needed for
 * the first, so that the waits for memory overlap. */
static int32_t NAMED(look_up)(const Vocabulary *vocabulary, const CODE *text, int32_t length, int32_t tokens,
                              const int32_t *starts, const int32_t *ends, int32_t *ids)
{
    enum { AT_ONCE = 64 };
    uint64_t keys[AT_ONCE];
    int32_t unknown = 0;
    for (int32_t first = 0; first < tokens; first += AT_ONCE) {
        const int32_t last = tokens - first < AT_ONCE ? tokens : first + AT_ONCE;
        for (int32_t token = first; token < last; token++) {
            const int32_t start = starts[token];
            const uint64_t key = NAMED(key_of)(text + start, ends[token] - start, length - start);
            keys[token - first] = key;
            __builtin_prefetch(slot_of(vocabulary, key));
        }
        for (int32_t token = first; token < last; token++) {
            const int32_t start = starts[token];
            ids[token] = NAMED(id_of)(vocabulary, text + start, ends[token] - start, keys[token - first]);
            unknown += ids[token] < vocabulary->first_id;
        }
    }
    return unknown;
}

/* All tokens of a lower-cased text; -1 where kinds alone do not tell them. Of the first max_tokens, the ids, starts and
 * ends are at the beginning of `found`, one array after the other, and at its end how many are no words: these have the
 * id first_id - 1. `found` has room for 3 * `room` + 1 integers, `room` being the lesser of `length` and max_tokens. */
int32_t NAMED(heed_encode)(const Vocabulary *vocabulary, const CODE *text, int32_t length, const uint8_t *kinds,
                           uint32_t known_kinds, int32_t max_tokens, int32_t *found)
{
    const int32_t room = length < max_tokens ? length : max_tokens;
    int32_t *ids = found, *starts = ids + room, *ends = starts + room, *unknown = ends + room;
    NAMED(Reader) reader = {text, length, kinds, known_kinds, 0, 0, 0};
    NAMED(find_break)(&reader, 0);
    int32_t started = 0, ended = 0;
    Before before = {0, 0, 0};
    Block next = NAMED(block)(&reader, 0);
    for (int32_t from = 0; from <= length; from += BLOCK) { /* the last token may end at `length` itself */
        const Block block = next;
        next = NAMED(block)(&reader, from + BLOCK);
        const Edges edges = edges_of(block, next.letter, &before);
        started += put_places(edges.starting, from, starts, started, room);
        ended += put_places(edges.ending, from, ends, ended, room);
    }
    if (reader.seen & EIGHT(JOINING)) return -1;
    const int32_t kept = started < room ? started : room;
    *unknown = NAMED(look_up)(vocabulary, text, length, kept, starts, ends, ids);
    memmove(ids + kept, starts, sizeof(int32_t) * kept);
    memmove(ids + 2 * kept, ends, sizeof(int32_t) * kept);
    return started;
}

#undef NAMED
#undef JOINED
#undef PASTED
