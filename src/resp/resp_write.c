#include "resp/resp_write.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/num.h"

/* Type byte, number, CRLF: the head of nearly everything. */
static void write_head(struct reply *r, char type, int64_t n)
{
    char *at = (char *)buf_room(r->out, NUM_TEXT_MAX + 3);
    size_t len = 1;

    at[0] = type;
    if (LIKELY(n >= 0 && n < 10)) {
        at[len++] = (char)('0' + n);
    } else {
        len += num_format_i64(n, at + 1);
    }
    at[len++] = '\r';
    at[len++] = '\n';
    r->out->len += len;
}

static void write_crlf(struct reply *r)
{
    buf_append(r->out, "\r\n", 2);
}

void reply_status(struct reply *r, const char *text)
{
    buf_append_byte(r->out, '+');
    buf_append_str(r->out, text);
    write_crlf(r);
}

static bool is_line_end(char c)
{
    return c == '\r' || c == '\n';
}

/* What a client sent may be quoted in the text: line ends behind it are left
 * out, as Redis does, and those within it are blanks. */
void reply_error(struct reply *r, const char *text)
{
    size_t len = strlen(text);
    size_t i;

    while (len > 0 && is_line_end(text[len - 1])) {
        len--;
    }
    buf_append_byte(r->out, '-');
    for (i = 0; i < len; i++) {
        buf_append_byte(r->out, is_line_end(text[i]) ? ' ' : (uint8_t)text[i]);
    }
    write_crlf(r);
}

void reply_error_fmt(struct reply *r, const char *fmt, ...)
{
    struct buf text = BUF_INIT;
    va_list ap;
    int n;

    va_start(ap, fmt);
    n = vsnprintf((char *)buf_room(&text, 512), 512, fmt, ap);
    va_end(ap);
    if (n >= 512) {
        va_start(ap, fmt);
        vsnprintf((char *)buf_room(&text, (size_t)n + 1), (size_t)n + 1, fmt,
                  ap);
        va_end(ap);
    }
    reply_error(r, (char *)text.data);
    buf_deinit(&text);
}

void reply_int(struct reply *r, int64_t value)
{
    write_head(r, ':', value);
}

void reply_bulk(struct reply *r, struct bytes text)
{
    uint8_t *at;

    write_head(r, '$', (int64_t)text.len);
    at = buf_room(r->out, text.len + 2);
    if (text.len) {
        memcpy(at, text.data, text.len);
    }
    at[text.len] = '\r';
    at[text.len + 1] = '\n';
    r->out->len += text.len + 2;
}

void reply_bulk_str(struct reply *r, const char *text)
{
    reply_bulk(r, bytes_str(text));
}

void reply_verbatim(struct reply *r, struct bytes text)
{
    if (r->proto < 3) {
        reply_bulk(r, text);
        return;
    }
    write_head(r, '=', (int64_t)text.len + 4);
    buf_append(r->out, "txt:", 4);
    buf_append_bytes(r->out, text);
    write_crlf(r);
}

void reply_null(struct reply *r)
{
    buf_append_str(r->out, r->proto < 3 ? "$-1\r\n" : "_\r\n");
}

void reply_null_array(struct reply *r)
{
    buf_append_str(r->out, r->proto < 3 ? "*-1\r\n" : "_\r\n");
}

void reply_bool(struct reply *r, bool value)
{
    if (r->proto < 3) {
        buf_append(r->out, value ? ":1\r\n" : ":0\r\n", 4);
    } else {
        buf_append(r->out, value ? "#t\r\n" : "#f\r\n", 4);
    }
}

void reply_double(struct reply *r, double value)
{
    char text[NUM_TEXT_MAX];
    size_t len = num_format_double(value, text);

    if (r->proto < 3) {
        reply_bulk(r, bytes_of(text, len));
        return;
    }
    buf_append_byte(r->out, ',');
    buf_append(r->out, text, len);
    write_crlf(r);
}

void reply_array(struct reply *r, size_t n)
{
    write_head(r, '*', (int64_t)n);
}

void reply_map(struct reply *r, size_t n_pairs)
{
    if (r->proto < 3) {
        write_head(r, '*', (int64_t)n_pairs * 2);
    } else {
        write_head(r, '%', (int64_t)n_pairs);
    }
}

void reply_set(struct reply *r, size_t n)
{
    write_head(r, r->proto < 3 ? '*' : '~', (int64_t)n);
}

void reply_bulk_int(struct reply *r, int64_t value)
{
    char text[NUM_TEXT_MAX];

    reply_bulk(r, bytes_of(text, num_format_i64(value, text)));
}
