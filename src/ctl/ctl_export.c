/* ctl_export.c - Asks for rows until there are no more. The daemon gives a
 * thousand at a time and where to go on, so neither side holds them all. */
#include "ctl/ctl_export.h"

/* Print the rows of one page as lines of the array that is open. */
static void put_page(const json_t *rows, bool is_first)
{
    for (size_t i = 0; i < json_array_size(rows); i++) {
        fputs(is_first && i == 0 ? "\n" : ",\n", stdout);
        json_dumpf(json_array_get(rows, i), stdout, JSON_COMPACT);
    }
}

enum ctl_exit ctl_export(struct ctl_conn *c, json_t *args, ctl_show_fn *show)
{
    json_t *all = json_array(), *data;
    enum ctl_exit status;
    bool is_first = true, more = true;

    while (more) {
        data = ctl_ask(c, "ledger export", json_copy(args), &status);
        if (!data)
            break;
        if (show)
            json_array_extend(all, json_object_get(data, "data"));
        if (!show && is_first)
            fputs("{\"data\": [", stdout);
        if (!show)
            put_page(json_object_get(data, "data"), is_first);
        is_first = false;
        more = json_is_string(json_object_get(data, "next"));
        if (more)
            json_object_set(args, "after", json_object_get(data, "next"));
        json_decref(data);
    }
    if (status == CTL_DONE && show) {
        data = json_pack("{s:O}", "data", all);
        show(data);
        json_decref(data);
    } else if (status == CTL_DONE) {
        fputs("\n]}\n", stdout);
    }
    json_decref(all);
    json_decref(args);
    return status;
}
