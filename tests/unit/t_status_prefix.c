/* t_status_prefix.c - What is told of the store of prefixes: every number of
 * its counters is somewhere in the metrics and in tollctl's answer, under names
 * that Prometheus takes. */
#include "daemon/status_prefix.h"
#include "engine/engine.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* A view whose numbers are all different, and told by their place. */
static struct engine_view filled(void)
{
    return (struct engine_view){
        .name = STR("m"),
        .prefix_on = true,
        .prefix_ns = "0123456789abcdef",
        .stats = {.prompt_tokens = 1000,
                  .cached_tokens = 700,
                  .store_tokens = 300},
        .prefix = {.pages = 11,
                   .max_pages = 12,
                   .bytes = 12345678901234567,
                   .max_bytes = 14,
                   .lookups = 40,
                   .hits = 10,
                   .asked_tokens = 800,
                   .found_tokens = 600,
                   .restored_tokens = 480,
                   .recomputed_tokens = 120,
                   .restores = 8,
                   .recomputes = 2,
                   .restored_bytes = 4000000,
                   .restored_us = 2000001,
                   .saved_us = 1500000,
                   .failed = 3,
                   .stored_pages = 51,
                   .stored_bytes = 52,
                   .evicted = 60,
                   .unused = 45,
                   .dropped_queue = 71,
                   .dropped_budget = 72,
                   .dropped_admission = 73,
                   .write_errors = 81,
                   .queued_bytes = 91,
                   .warm_bytes_s = 5e9,
                   .cold_bytes_s = 1.5e9},
    };
}

static void metrics_of(const struct engine_view *v, unsigned n, struct buf *out)
{
    buf_init(out, 1 << 20);
    assert_int_equal(status_prefix_metrics(v, n, out), ERR_OK);
    assert_int_equal(buf_put(out, "", 1), ERR_OK);
}

static const char *const lines[] = {
    "tollgate_prefix_tokens_total{model=\"m\",source=\"device\"} 400",
    "tollgate_prefix_tokens_total{model=\"m\",source=\"store\"} 300",
    "tollgate_prefix_tokens_total{model=\"m\",source=\"computed\"} 300",
    "tollgate_prefix_store_up{model=\"m\"} 1",
    "tollgate_prefix_store_bytes{model=\"m\"} 12345678901234567",
    "tollgate_prefix_store_max_bytes{model=\"m\"} 14",
    "tollgate_prefix_store_pages{model=\"m\"} 11",
    "tollgate_prefix_store_max_pages{model=\"m\"} 12",
    "tollgate_prefix_queued_bytes{model=\"m\"} 91",
    "tollgate_prefix_lookups_total{model=\"m\",result=\"hit\"} 10",
    "tollgate_prefix_lookups_total{model=\"m\",result=\"miss\"} 30",
    "tollgate_prefix_asked_tokens_total{model=\"m\"} 800",
    "tollgate_prefix_found_tokens_total{model=\"m\"} 600",
    "tollgate_prefix_decisions_total{model=\"m\",decision=\"restore\"} 8",
    "tollgate_prefix_decisions_total{model=\"m\",decision=\"recompute\"} 2",
    "tollgate_prefix_decided_tokens_total{model=\"m\",decision=\"restore\"} "
    "480",
    "tollgate_prefix_decided_tokens_total{model=\"m\",decision=\"recompute\"} "
    "120",
    "# TYPE tollgate_prefix_restore_seconds summary",
    "tollgate_prefix_restore_seconds_sum{model=\"m\"} 2.000001",
    "tollgate_prefix_restore_seconds_count{model=\"m\"} 8",
    "tollgate_prefix_restored_bytes_total{model=\"m\"} 4000000",
    "tollgate_prefix_restore_bytes_per_second{model=\"m\",file_cache=\"warm\"} "
    "5000000000",
    "tollgate_prefix_restore_bytes_per_second{model=\"m\",file_cache=\"cold\"} "
    "1500000000",
    "tollgate_prefix_saved_seconds_total{model=\"m\"} 1.500000",
    "tollgate_prefix_failed_pages_total{model=\"m\"} 3",
    "tollgate_prefix_stored_pages_total{model=\"m\"} 51",
    "tollgate_prefix_stored_bytes_total{model=\"m\"} 52",
    "tollgate_prefix_evicted_pages_total{model=\"m\",read=\"true\"} 15",
    "tollgate_prefix_evicted_pages_total{model=\"m\",read=\"false\"} 45",
    "tollgate_prefix_dropped_pages_total{model=\"m\",reason=\"queue\"} 71",
    "tollgate_prefix_dropped_pages_total{model=\"m\",reason=\"budget\"} 72",
    "tollgate_prefix_dropped_pages_total{model=\"m\",reason=\"admission\"} 73",
    "tollgate_prefix_write_errors_total{model=\"m\"} 81",
};

static void each_number_is_a_metric(void **state)
{
    struct engine_view v = filled();
    struct buf out;
    char want[160];

    (void)state; /* cmocka's signature */
    metrics_of(&v, 1, &out);
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        snprintf(want, sizeof(want), "%s\n", lines[i]);
        if (!strstr(out.p, want))
            fail_msg("missing: %s in:\n%s", want, out.p);
    }
    buf_fini(&out);
}

/* The family of a sample's name: what TYPE says of it. */
static bool is_of_family(const char *sample, const char *family)
{
    const size_t n = strlen(family);

    return strncmp(sample, family, n) == 0 &&
           (sample[n] == '{' || strncmp(sample + n, "_sum{", 5) == 0 ||
            strncmp(sample + n, "_count{", 7) == 0);
}

static void check_type(const char *line, char family[128], const char *text)
{
    char type[32];
    char again[160];

    assert_int_equal(sscanf(line, "# TYPE %127s %31s", family, type), 2);
    snprintf(again, sizeof(again), "# TYPE %s ", family);
    assert_ptr_equal(strstr(text, again), line);
    assert_null(strstr(line + 1, again));
    if (strcmp(type, "counter") == 0)
        assert_string_equal(family + strlen(family) - 6, "_total");
    else
        assert_null(strstr(family, "_total"));
}

static void families_stand_together_and_are_named_once(void **state)
{
    struct engine_view v[2] = {filled(), {.name = STR("n/2")}};
    char family[128] = "";
    unsigned samples = 0;
    struct buf out;

    (void)state; /* cmocka's signature */
    metrics_of(v, 2, &out);
    for (const char *l = out.p; *l; l = strchr(l, '\n') + 1) {
        if (strncmp(l, "# HELP ", 7) == 0)
            continue;
        if (l[0] == '#') {
            check_type(l, family, out.p);
            continue;
        }
        if (!is_of_family(l, family))
            fail_msg("not of %s: %.60s", family, l);
        samples++;
    }
    assert_int_equal(samples, 2 * 32);
    assert_non_null(
        strstr(out.p, "tollgate_prefix_store_up{model=\"n/2\"} 0\n"));
    buf_fini(&out);
}

/* The text of a file of the sources. */
static void read_file(const char *path, struct buf *out)
{
    char part[4096];
    size_t n;
    FILE *f = fopen(path, "r");

    buf_init(out, 1 << 20);
    assert_non_null(f);
    while ((n = fread(part, 1, sizeof(part), f)) > 0)
        assert_int_equal(buf_put(out, part, n), ERR_OK);
    assert_int_equal(buf_put(out, "", 1), ERR_OK);
    fclose(f);
}

static void each_family_is_in_the_document(void **state)
{
    struct engine_view v = filled();
    struct buf out, doc;
    char name[128];
    char want[160];

    (void)state; /* cmocka's signature */
    read_file(TG_SRCDIR "/doc/http-api.md", &doc);
    metrics_of(&v, 1, &out);
    for (const char *l = strstr(out.p, "# TYPE "); l;
         l = strstr(l, "# TYPE ")) {
        assert_int_equal(sscanf(l, "# TYPE %127s", name), 1);
        snprintf(want, sizeof(want), "`%s`", name);
        if (!strstr(doc.p, want))
            fail_msg("%s is not in doc/http-api.md", name);
        l += strlen("# TYPE ");
    }
    buf_fini(&out);
    buf_fini(&doc);
}

static void is_number(json_t *o, const char *name, double want)
{
    if (!json_is_number(json_object_get(o, name)))
        fail_msg("%s is missing", name);
    assert_true(json_number_value(json_object_get(o, name)) == want);
}

static void tollctl_is_told_ratios_and_rates(void **state)
{
    struct engine_view v = filled();
    json_t *o = status_prefix_json(&v);

    (void)state; /* cmocka's signature */
    assert_true(json_is_true(json_object_get(o, "on")));
    assert_true(json_is_null(json_object_get(o, "reason")));
    assert_string_equal(json_string_value(json_object_get(o, "namespace")),
                        "0123456789abcdef");
    is_number(o, "hit_ratio", 0.25);
    is_number(o, "token_hit_ratio", 0.75);
    is_number(o, "restore_bytes_per_second", 4000000 / 2.000001);
    is_number(o, "saved_seconds", 1.5);
    is_number(o, "restores", 8);
    is_number(o, "recomputes", 2);
    is_number(o, "evicted_pages", 60);
    is_number(o, "evicted_unread_pages", 45);
    is_number(o, "dropped_admission_pages", 73);
    is_number(o, "write_errors", 81);
    json_decref(o);
}

static void what_was_not_counted_yet_is_null(void **state)
{
    struct engine_view v = {.name = STR("m"), .prefix_why = "it is off"};
    json_t *o = status_prefix_json(&v);

    (void)state; /* cmocka's signature */
    assert_true(json_is_false(json_object_get(o, "on")));
    assert_string_equal(json_string_value(json_object_get(o, "reason")),
                        "it is off");
    assert_true(json_is_null(json_object_get(o, "namespace")));
    assert_true(json_is_null(json_object_get(o, "hit_ratio")));
    assert_true(json_is_null(json_object_get(o, "token_hit_ratio")));
    assert_true(json_is_null(json_object_get(o, "restore_bytes_per_second")));
    assert_true(json_is_null(json_object_get(o, "warm_bytes_per_second")));
    json_decref(o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_number_is_a_metric),
        cmocka_unit_test(families_stand_together_and_are_named_once),
        cmocka_unit_test(each_family_is_in_the_document),
        cmocka_unit_test(tollctl_is_told_ratios_and_rates),
        cmocka_unit_test(what_was_not_counted_yet_is_null),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
