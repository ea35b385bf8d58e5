/* The tokens of a prediction as JSON, byte for byte as orjson writes the dictionaries of service/predictions.py. */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define MAX_DECIMALS 52
#define MAX_SCALED 1e17 /* beyond it a double has fewer digits than would be written */
#define MAX_WEIGHT 1.5f

static const double TENS[MAX_DECIMALS + 1] = {
    1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17,
    1e18, 1e19, 1e20, 1e21, 1e22, 1e23, 1e24, 1e25, 1e26, 1e27, 1e28, 1e29, 1e30, 1e31, 1e32, 1e33, 1e34, 1e35,
    1e36, 1e37, 1e38, 1e39, 1e40, 1e41, 1e42, 1e43, 1e44, 1e45, 1e46, 1e47, 1e48, 1e49, 1e50, 1e51, 1e52,
};

static char *write_bytes(char *out, const char *bytes, int count) { return (char *)memcpy(out, bytes, count) + count; }

#define WRITE_LITERAL(out, text) write_bytes(out, text, sizeof(text) - 1)

static char *write_integer(char *out, uint64_t value)
{
    char digits[20];
    int first = sizeof digits;
    do digits[--first] = (char)('0' + value % 10);
    while (value /= 10);
    return write_bytes(out, digits + first, sizeof digits - first);
}

/* value / 10^decimals in as few digits as identify it; below 1e-5 with an exponent. */
static char *write_decimal(char *out, uint64_t value, int decimals)
{
    if (!value) return WRITE_LITERAL(out, "0.0");
    for (; value % 10 == 0 && decimals > 1; decimals--) value /= 10;
    char digits[20];
    const int count = (int)(write_integer(digits, value) - digits);
    if (decimals - count >= 5) {
        *out++ = digits[0];
        if (count > 1) {
            *out++ = '.';
            out = write_bytes(out, digits + 1, count - 1);
        }
        out = WRITE_LITERAL(out, "e-");
        return write_integer(out, decimals - count + 1);
    }
    if (count <= decimals) {
        out = WRITE_LITERAL(out, "0.");
        for (int zeros = decimals - count; zeros > 0; zeros--) *out++ = '0';
        return write_bytes(out, digits, count);
    }
    out = write_bytes(out, digits, count - decimals);
    *out++ = '.';
    return write_bytes(out, digits + count - decimals, decimals);
}

/* A weight from 0 to MAX_WEIGHT, rounded to `significant` digits. */
static char *write_weight(char *out, double weight, int significant)
{
    int decimals = significant - 1;
    while (decimals < MAX_DECIMALS && weight * TENS[decimals - significant + 1] < 1) decimals++;
    return write_decimal(out, (uint64_t)llrint(weight * TENS[decimals]), decimals);
}

static char *write_text(char *out, const uint8_t *text, int32_t length)
{
    static const char HEX[] = "0123456789abcdef", SHORT[] = "\"\"\\\\\bb\ff\nn\rr\tt"; /* pairs: a byte, its escape */
    *out++ = '"';
    for (int32_t at = 0; at < length; at++) {
        const uint8_t byte = text[at];
        if (byte >= 0x20 && byte != '"' && byte != '\\') {
            *out++ = (char)byte;
            continue;
        }
        *out++ = '\\';
        const char *pair = SHORT;
        while (*pair && *pair != byte) pair += 2;
        if (*pair) {
            *out++ = pair[1];
        } else {
            out = WRITE_LITERAL(out, "u00");
            *out++ = HEX[byte >> 4];
            *out++ = HEX[byte & 15];
        }
    }
    *out++ = '"';
    return out;
}

/* Write tokens as a JSON array; return the number of bytes, or -1 if a value cannot be encoded.
 *
 * text: UTF-8; from, to int32[tokens]: each token's bytes in it, in order. starts, ends int32[tokens]: the offsets that
 * are written. weights, contributions float32[tokens], the latter NULL if there are none; each is divided by the
 * temperature. out: room for 160 bytes a token, 6 for each byte of its text, and 2 more. */
int64_t heed_write_tokens(const uint8_t *text, int32_t tokens, const int32_t *from, const int32_t *to,
                          const int32_t *starts, const int32_t *ends, const float *weights, int32_t weight_digits,
                          const float *contributions, double temperature, int32_t contribution_decimals,
                          const int32_t *ids, int32_t unknown_id, char *out)
{
    char *const beginning = out;
    if (weight_digits < 1 || weight_digits > 9 || contribution_decimals < 1 || contribution_decimals > 17) return -1;
    *out++ = '[';
    for (int32_t token = 0; token < tokens; token++) {
        if (!(weights[token] >= 0 && weights[token] <= MAX_WEIGHT) || starts[token] < 0 || ends[token] < 0 ||
            from[token] < (token ? to[token - 1] : 0) || to[token] < from[token])
            return -1;
        if (token) *out++ = ',';
        out = WRITE_LITERAL(out, "{\"text\":");
        out = write_text(out, text + from[token], to[token] - from[token]);
        out = WRITE_LITERAL(out, ",\"start\":");
        out = write_integer(out, (uint64_t)starts[token]);
        out = WRITE_LITERAL(out, ",\"end\":");
        out = write_integer(out, (uint64_t)ends[token]);
        out = WRITE_LITERAL(out, ",\"weight\":");
        out = write_weight(out, weights[token], weight_digits);
        out = WRITE_LITERAL(out, ",\"contribution\":");
        if (contributions) {
            const double scaled = contributions[token] / temperature * TENS[contribution_decimals];
            if (!(fabs(scaled) < MAX_SCALED)) return -1;
            const int64_t rounded = llrint(scaled);
            if (rounded < 0) *out++ = '-';
            out = write_decimal(out, (uint64_t)llabs(rounded), contribution_decimals);
        } else {
            out = WRITE_LITERAL(out, "null");
        }
        out = WRITE_LITERAL(out, ",\"known\":");
        out = ids[token] == unknown_id ? WRITE_LITERAL(out, "false}") : WRITE_LITERAL(out, "true}");
    }
    *out++ = ']';
    return out - beginning;
}
