/* The tokens of an answer as JSON: what orjson would write of service/predictions.py's dictionaries, without these. */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "eight.h"

static const double TENS[] = {
    1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17,
    1e18, 1e19, 1e20, 1e21, 1e22, 1e23, 1e24, 1e25, 1e26, 1e27, 1e28, 1e29, 1e30, 1e31, 1e32, 1e33, 1e34, 1e35,
    1e36, 1e37, 1e38, 1e39, 1e40, 1e41, 1e42, 1e43, 1e44, 1e45, 1e46, 1e47, 1e48, 1e49, 1e50, 1e51, 1e52,
};
static const uint64_t WHOLE_TENS[] = {
    1,
    10,
    100,
    1000,
    10000,
    100000,
    1000000,
    10000000,
    100000000,
    1000000000,
    10000000000,
    100000000000,
    1000000000000,
};
#define MOST_TENS 52
#define MOST_DIGITS 1e17
#define MOST_WEIGHT 1.5f

#define LITERAL(out, text) (memcpy(out, text, sizeof(text) - 1), (out) + sizeof(text) - 1)

static char *write_pair(char *out, uint32_t value)
{
    static const char PAIRS[] = "00010203040506070809101112131415161718192021222324252627282930313233343536373839404142434445464748"
                                "495051525354555657585960616263646566676869707172737475767778798081828384858687888990919293949596"
                                "979899";
    memcpy(out, PAIRS + 2 * value, 2);
    return out + 2;
}

/* The eight digits of a number below 10^8, the first in the lowest byte, all at once: each step halves its parts. */
static uint64_t eight_digits(uint32_t value)
{
    uint64_t parts = value / 10000 | (uint64_t)(value % 10000) << 32;
    uint64_t high = parts * 10486 >> 20 & 0x0000007f0000007f; /* hundreds */
    parts = high | (parts - 100 * high) << 16;
    high = parts * 103 >> 10 & 0x000f000f000f000f; /* tens */
    return high | (parts - 10 * high) << 8;
}

/* value / 10^decimals, of 1 to 12 decimals, for a value below 10^8 and not 0: the digits behind the point. */
static inline char *write_fraction(char *out, uint32_t value, int decimals)
{
    const uint64_t digits = eight_digits(value);
    const int trailing = __builtin_clzll(digits) / 8;
    const int zeros = decimals > 8 ? decimals - 8 : 0, left_out = decimals < 8 ? 8 - decimals : 0;
    memcpy(out, "0000", 4);
    store_eight(out + zeros, (digits | EIGHT('0')) >> 8 * left_out);
    return out + decimals - trailing;
}

/* Places in a text rise, so that the processor foresees how many digits the next one has. */
static char *write_integer(char *out, uint64_t value)
{
    if (value >= 10000) return write_pair(write_integer(out, value / 100), value % 100);
    const uint32_t small = (uint32_t)value;
    if (small < 10) return *out = (char)('0' + small), out + 1;
    if (small < 100) return write_pair(out, small);
    if (small < 1000) return *out = (char)('0' + small / 100), write_pair(out + 1, small % 100);
    return write_pair(write_pair(out, small / 100), small % 100);
}

/* Any but 0, as few digits as tell it. */
static char *write_unusual(char *out, uint64_t value, int decimals)
{
    for (; value % 10 == 0 && decimals > 1; decimals--) value /= 10;
    char digits[20];
    int count = (int)(write_integer(digits, value) - digits);
    if (decimals - count >= 5) { /* below 1e-5: one digit, a point, the others, an exponent */
        const int exponent = decimals - count + 1;
        *out++ = digits[0];
        if (count > 1) {
            *out++ = '.';
            memcpy(out, digits + 1, count - 1);
            out += count - 1;
        }
        out = LITERAL(out, "e-");
        return write_integer(out, exponent);
    }
    if (count <= decimals) {
        out = LITERAL(out, "0.");
        memset(out, '0', decimals - count);
        out += decimals - count;
        memcpy(out, digits, count);
        return out + count;
    }
    memcpy(out, digits, count - decimals);
    out += count - decimals;
    *out++ = '.';
    memcpy(out, digits + count - decimals, decimals);
    return out + decimals;
}

/* value / 10^decimals, as few digits as tell it. */
static inline char *write_decimal(char *out, uint64_t value, int decimals)
{
    const int usual = 5 <= decimals && decimals <= 12 && value < 100000000; /* and so are most: 0.00001 to 1 */
    if (usual && value < WHOLE_TENS[decimals] && value >= WHOLE_TENS[decimals - 5]) {
        out = LITERAL(out, "0.");
        return write_fraction(out, (uint32_t)value, decimals);
    }
    return value ? write_unusual(out, value, decimals) : LITERAL(out, "0.0");
}

/* A weight, of 0 to MOST_WEIGHT, to so many significant digits. */
static char *write_weight(char *out, double weight, int significant)
{
    if (weight == 0) return LITERAL(out, "0.0");
    uint64_t bits;
    memcpy(&bits, &weight, sizeof bits);
    int tens = ((int)(bits >> 52) - 1023) * 1233 >> 12; /* 1233 / 4096 is the logarithm of 2, nearly */
    if (tens > -1) tens = -1;
    tens += weight * TENS[-tens - 1] >= 1;
    int decimals = significant - 1 - tens;
    if (decimals > MOST_TENS) decimals = MOST_TENS;
    return write_decimal(out, (uint64_t)llrint(weight * TENS[decimals]), decimals);
}

static char *write_escaped(char *out, const uint8_t *text, int32_t length)
{
    static const char HEX[] = "0123456789abcdef";
    for (int32_t at = 0; at < length; at++) {
        const uint8_t byte = text[at];
        if (byte >= 0x20 && byte != '"' && byte != '\\') {
            *out++ = (char)byte;
            continue;
        }
        *out++ = '\\';
        switch (byte) {
        case '"': case '\\': *out++ = (char)byte; break;
        case '\b': *out++ = 'b'; break;
        case '\f': *out++ = 'f'; break;
        case '\n': *out++ = 'n'; break;
        case '\r': *out++ = 'r'; break;
        case '\t': *out++ = 't'; break;
        default:
            out = LITERAL(out, "u00");
            *out++ = HEX[byte >> 4];
            *out++ = HEX[byte & 15];
        }
    }
    return out;
}

/* Whether one of eight bytes is below `least`, which is at most 128. */
#define ANY_BELOW(eight, least) (((eight) - EIGHT(least)) & ~(eight) & EIGHT(0x80))

static inline int any_to_escape(uint64_t eight)
{
    return (ANY_BELOW(eight, 0x20ull) | ANY_BELOW(eight ^ EIGHT('"'), 1ull) | ANY_BELOW(eight ^ EIGHT('\\'), 1ull)) != 0;
}

/* A string; `readable` bytes may be read from its beginning. */
static inline char *write_text(char *out, const uint8_t *text, int32_t length, int32_t readable)
{
    *out++ = '"';
    for (; length > 0 && readable >= 8; text += 8, length -= 8, readable -= 8) {
        const uint64_t eight = load_eight(text);
        if (any_to_escape(length < 8 ? eight | ~0ull << 8 * length : eight)) break;
        store_eight(out, eight);
        out += length < 8 ? length : 8;
    }
    if (length > 0) out = write_escaped(out, text, length);
    *out++ = '"';
    return out;
}

/* A JSON array of tokens; how many bytes were written, or -1 where a number is none that is written so.
 *
 * text: UTF-8; from, to int32[tokens]: each token's bytes in it. starts, ends int32[tokens]: as they are shown.
 * weights, contributions float32[tokens], the latter NULL where there are none; each is divided by the temperature.
 * out: room for 160 bytes a token and 6 for each byte of its text, and 2 more. */
int64_t heed_write_tokens(const uint8_t *text, int32_t tokens, const int32_t *from, const int32_t *to,
                          const int32_t *starts, const int32_t *ends, const float *weights, int32_t weight_digits,
                          const float *contributions, double temperature, int32_t contribution_decimals,
                          const int32_t *ids, int32_t unknown_id, char *out)
{
    char *const beginning = out;
    const int32_t text_end = tokens ? to[tokens - 1] : 0;
    *out++ = '[';
    for (int32_t token = 0; token < tokens; token++) {
        if (!(weights[token] >= 0 && weights[token] <= MOST_WEIGHT)) return -1;
        if (token) *out++ = ',';
        out = LITERAL(out, "{\"text\":");
        out = write_text(out, text + from[token], to[token] - from[token], text_end - from[token]);
        out = LITERAL(out, ",\"start\":");
        out = write_integer(out, starts[token]);
        out = LITERAL(out, ",\"end\":");
        out = write_integer(out, ends[token]);
        out = LITERAL(out, ",\"weight\":");
        out = write_weight(out, weights[token], weight_digits);
        out = LITERAL(out, ",\"contribution\":");
        if (contributions) {
            const double scaled = contributions[token] / temperature * TENS[contribution_decimals];
            if (!(fabs(scaled) < MOST_DIGITS)) return -1;
            const int64_t rounded = llrint(scaled);
            *out = '-';
            out += rounded < 0;
            out = write_decimal(out, (uint64_t)llabs(rounded), contribution_decimals);
        } else {
            out = LITERAL(out, "null");
        }
        out = LITERAL(out, ",\"known\":");
        out = ids[token] == unknown_id ? LITERAL(out, "false}") : LITERAL(out, "true}");
    }
    *out++ = ']';
    return out - beginning;
}
