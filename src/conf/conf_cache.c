/* conf_cache.c - Which members of bodies may be left out when requests are
 * compared: paths that can be read, and none that is the question itself. */
#include "conf/conf_bind.h"

#define STEPS_MAX 4 /* of a path; an array's elements are one more each */

/* Whether <s> is one step of a path: a name and, for an array, "[]" or, in the
 * last one, for texts that begin so, "[BEGIN]". */
static bool is_step(struct str s, bool is_last)
{
    const size_t open = str_find_char(s, '[');

    if (open == 0)
        return false;
    if (open < s.len &&
        (s.p[s.len - 1] != ']' ||
         str_find_char(str_skip(s, open + 1), '[') + open + 1 < s.len))
        return false;
    return open == s.len || (str_find_char(s, ']') == s.len - 1 &&
                             (is_last || open + 2 == s.len));
}

/* What a body asks for. */
static bool is_question(struct str s)
{
    static const char *const names[] = {
        "model",  "messages",  "prompt", "input",   "instructions", "tools",
        "stream", "documents", "query",  "input[]", "messages[]"};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (str_eq(s, str_from(names[i])))
            return true;
    return false;
}

void conf_check_cache(struct bind *b, const struct ynode *root,
                      const struct conf *c)
{
    const struct ynode *list = ynode_get(ynode_get(root, "cache"), "ignore");

    for (size_t i = 0; i < c->cache.n_ignore; i++) {
        const struct str path = c->cache.ignore[i];
        struct str rest = path;
        struct str step;
        bool good = path.len > 0;

        for (unsigned n = 0; good && str_split(&rest, '.', &step); n++)
            good = n < STEPS_MAX && is_step(step, rest.len == 0);
        if (path.len > 0 && !good)
            say_error(b->say, ynode_at(list, i),
                      "cache.ignore: \"%s\" is no path of members; write e.g. "
                      "metadata or \"input[].id\"",
                      conf_quote(path).c);
        else if (is_question(path))
            say_error(b->say, ynode_at(list, i),
                      "cache.ignore: \"%s\" is what is asked for: without it "
                      "replies to other questions would be served; remove it",
                      conf_quote(path).c);
    }
}
