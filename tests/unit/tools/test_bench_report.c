/* What is printed of a run, and what is read from INFO. */
#include "unit/cm.h"

#include <math.h>

#include "base/mem.h"
#include "tools/bench/bench_report.h"

static struct bench_server_facts before = {1000, 5000, 1.0, NAN, 0};
static struct bench_server_facts after = {51000, 95000, 1.5, 40000, 100};
static struct bench_outcome *outcome;
static struct bench_report report;

static int make_report(void **state)
{
    (void)state;
    outcome = mem_calloc(1, sizeof(*outcome));
    outcome->requests = 100;
    outcome->rows = 100;
    outcome->seconds = 0.5;
    outcome->client_cpu_s = 0.001;
    outcome->client_busy = 0.25;
    bench_hist_record(&outcome->hist[BENCH_READS], 2000, 100);
    report = (struct bench_report){.mode = "load",
                                   .server = "Redis 8.0.6",
                                   .address = "127.0.0.1:1",
                                   .dataset = "tiny",
                                   .command = "SET \"a\" \\\n{vec}",
                                   .base_n = 100,
                                   .dim = 4,
                                   .k = 10,
                                   .batch = 1,
                                   .connections = 8,
                                   .pipeline = 64,
                                   .threads = 1,
                                   .writes = true,
                                   .outcome = outcome,
                                   .before = &before,
                                   .after = &after,
                                   .settle_s = NAN,
                                   .recall = NAN};
    return 0;
}

static int free_report(void **state)
{
    (void)state;
    mem_free(outcome);
    return 0;
}

static void info_fields_are_found_by_their_whole_name(void **state)
{
    struct bytes info =
        bytes_str("# Memory\r\nused_memory:123\r\nused_memory_rss:456\r\n"
                  "x:1.5\r\nword:abc\r\nempty:\r\nlast:9");

    (void)state;
    assert_true(bench_server_info_field(info, "used_memory") == 123);
    assert_true(bench_server_info_field(info, "used_memory_rss") == 456);
    assert_true(bench_server_info_field(info, "x") == 1.5);
    assert_true(bench_server_info_field(info, "last") == 9);
    assert_true(isnan(bench_server_info_field(info, "memory")));
    assert_true(isnan(bench_server_info_field(info, "word")));
    assert_true(isnan(bench_server_info_field(info, "empty")));
    assert_true(isnan(bench_server_info_field(BYTES_NONE, "x")));
}

static void memory_is_told_per_new_element(void **state)
{
    struct bench_server_facts saved = before;

    (void)state;
    assert_true(bench_report_bytes_per_row(&report) == 500);
    assert_true(bench_report_key_bytes_per_row(&report) == 400);
    before.card = 50; /* fifty were there before */
    assert_true(bench_report_bytes_per_row(&report) == 1000);
    before.card = 100; /* none is new: by rows sent */
    assert_true(bench_report_bytes_per_row(&report) == 500);
    before.used_memory = 60000;
    assert_true(isnan(bench_report_bytes_per_row(&report)));
    before = saved;
    report.writes = false;
    assert_true(isnan(bench_report_bytes_per_row(&report)));
    report.writes = true;
}

static void server_time_is_per_request(void **state)
{
    (void)state;
    assert_true(bench_report_server_us(&report) == 5000);
}

static void json_is_one_line_with_escapes_and_nulls(void **state)
{
    struct buf b = BUF_INIT;

    (void)state;
    bench_report_json(&b, &report);
    buf_append_byte(&b, 0);
    assert_ptr_equal(strchr((char *)b.data, '\n'), b.data + b.len - 2);
    assert_non_null(strstr((char *)b.data,
                           "\"command\": \"SET \\\"a\\\" \\\\\\u000a{vec}\""));
    assert_non_null(strstr((char *)b.data, "\"requests_per_second\": 200, "));
    assert_non_null(strstr((char *)b.data, "\"recall\": null, "));
    assert_non_null(strstr((char *)b.data, "\"p99\": 2, "));
    assert_non_null(strstr((char *)b.data, "\"bytes_per_row\": 500, "));
    assert_null(strstr((char *)b.data, ", }"));
    assert_null(strstr((char *)b.data, "write_latency"));
    buf_deinit(&b);
}

/* The columns of a line stand below their headings. */
static void lines_are_as_wide_as_their_heading(void **state)
{
    char *text = NULL;
    size_t len;
    FILE *f = open_memstream(&text, &len);
    const char *second;

    (void)state;
    report.recall = 0.98765;
    report.ef = 200;
    bench_report_columns(f);
    bench_report_line(f, &report);
    fclose(f);
    second = strchr(text, '\n') + 1;
    assert_int_equal(second - text, strlen(second));
    assert_non_null(strstr(second, " 0.9877 "));
    assert_non_null(strstr(second, " 200 "));
    free(text);
    report.recall = NAN;
    report.ef = 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(info_fields_are_found_by_their_whole_name),
        cmocka_unit_test(memory_is_told_per_new_element),
        cmocka_unit_test(server_time_is_per_request),
        cmocka_unit_test(json_is_one_line_with_escapes_and_nulls),
        cmocka_unit_test(lines_are_as_wide_as_their_heading),
    };

    return cmocka_run_group_tests(tests, make_report, free_report);
}
