/* Matching with one point of return: on a mismatch, the last star swallows one
 * byte more. An earlier star never needs to be tried again, because the last
 * one can swallow whatever the earlier could. */
#include "base/glob.h"

static uint8_t fold(uint8_t c, bool ignore_case)
{
    return ignore_case && c >= 'A' && c <= 'Z' ? (uint8_t)(c + 32) : c;
}

/* Matches c against the class at pattern[*at], just past '['; leaves *at on the
 * closing bracket or at the end of the pattern when there is none. */
static bool match_class(struct bytes p, size_t *at, uint8_t c, bool ignore_case)
{
    bool invert = *at < p.len && p.data[*at] == '^';
    bool hit = false;

    if (invert) {
        (*at)++;
    }
    for (; *at < p.len && p.data[*at] != ']'; (*at)++) {
        uint8_t low = p.data[*at];
        uint8_t high;

        if (low == '\\' && *at + 1 < p.len) {
            low = p.data[++*at];
        }
        high = low;
        if (*at + 2 < p.len && p.data[*at + 1] == '-') {
            *at += 2;
            high = p.data[*at];
        }
        low = fold(low, ignore_case);
        high = fold(high, ignore_case);
        if (low > high) {
            uint8_t swap = low;

            low = high;
            high = swap;
        }
        hit |= c >= low && c <= high;
    }
    return hit != invert;
}

/* Matches one byte against the pattern element at *at and steps over it. */
static bool match_one(struct bytes p, size_t *at, uint8_t c, bool ignore_case)
{
    uint8_t want = p.data[*at];
    bool hit;

    c = fold(c, ignore_case);
    if (want == '?') {
        (*at)++;
        return true;
    }
    if (want == '[') {
        (*at)++;
        hit = match_class(p, at, c, ignore_case);
        if (*at < p.len) {
            (*at)++;
        }
        return hit;
    }
    if (want == '\\' && *at + 1 < p.len) {
        want = p.data[++*at];
    }
    (*at)++;
    return fold(want, ignore_case) == c;
}

bool glob_match(struct bytes pattern, struct bytes text, bool ignore_case)
{
    size_t p = 0, t = 0;
    size_t star = 0, mark = 0;
    bool starred = false;

    while (t < text.len) {
        size_t next = p;

        if (p < pattern.len && pattern.data[p] == '*') {
            starred = true;
            star = ++p;
            mark = t;
        } else if (p < pattern.len &&
                   match_one(pattern, &next, text.data[t], ignore_case)) {
            p = next;
            t++;
        } else if (starred) {
            p = star;
            t = ++mark;
        } else {
            return false;
        }
    }
    while (p < pattern.len && pattern.data[p] == '*') {
        p++;
    }
    return p == pattern.len;
}
