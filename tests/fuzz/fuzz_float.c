/* Numbers from and to text.
 *
 * The input is taken twice: as a text, which must be judged and read like
 * strtod() and strtoll() do under the rules of base/num.h, and its first eight
 * bytes as a double, which must be printed so that strtod() gets it back. */
#include <ctype.h>
#include <errno.h>
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/num.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool same_bits(double a, double b)
{
    return memcmp(&a, &b, sizeof(a)) == 0;
}

/* What num_parse_double() promises, said with strtod(); `text` is `len` bytes
 * and a NUL. */
static bool oracle_double(const char *text, size_t len, double *out)
{
    char *end;

    if (len == 0 || isspace((unsigned char)text[0])) {
        return false;
    }
    errno = 0;
    *out = strtod(text, &end);
    return end == text + len && !isnan(*out) &&
           (errno != ERANGE || (*out != 0 && fabs(*out) <= DBL_MAX));
}

static void check_print(double value)
{
    char text[NUM_TEXT_MAX + 1];
    size_t len = num_format_double(value, text);
    double back;

    ASSERT(len > 0 && len <= NUM_TEXT_MAX);
    text[len] = '\0';
    if (isnan(value)) {
        ASSERT(strcmp(text, "nan") == 0);
        return;
    }
    ASSERT(same_bits(strtod(text, NULL), value));
    if (isfinite(value) && value != 0 && fabs(value) < DBL_MIN) {
        return; /* a rounded denormal is not read */
    }
    ASSERT(num_parse_double(bytes_of(text, len), &back));
    ASSERT(same_bits(back, value));
}

static void check_double(const char *text, size_t len)
{
    double want = 0;
    double value;
    bool ok = num_parse_double(bytes_of(text, len), &value);

    ASSERT(ok == oracle_double(text, len, &want));
    if (ok) {
        ASSERT(same_bits(value, want));
        check_print(value);
    }
}

static void check_integer(const char *text, size_t len)
{
    char canonical[NUM_TEXT_MAX];
    char printed[NUM_TEXT_MAX];
    long long want = strtoll(text, NULL, 10);
    int64_t value;
    bool ok = num_parse_i64(bytes_of(text, len), &value);
    int n = snprintf(canonical, sizeof(canonical), "%lld", want);

    ASSERT(ok == ((size_t)n == len && memcmp(text, canonical, len) == 0));
    if (ok) {
        ASSERT(value == want);
        ASSERT(num_format_i64(value, printed) == len);
        ASSERT(memcmp(printed, text, len) == 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    /* Blocks of their own, so that reading past the end is seen. */
    char *text = mem_alloc(size + 1);
    double value;

    if (size > 0) {
        memcpy(text, data, size);
    }
    text[size] = '\0';
    check_double(text, size);
    check_integer(text, size);
    if (size >= sizeof(value)) {
        memcpy(&value, data, sizeof(value));
        check_print(value);
    }
    if (size > 0) {
        char *alone = mem_alloc(size);

        memcpy(alone, data, size);
        (void)!num_parse_double(bytes_of(alone, size), &value);
        mem_free(alone);
    }
    mem_free(text);
    return 0;
}
