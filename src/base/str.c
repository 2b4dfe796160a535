/* str.c - Glob matching over slices, without recursion. */
#include "base/str.h"

bool str_glob(struct str glob, struct str s)
{
    size_t g = 0, i = 0, star = SIZE_MAX, mark = 0;

    while (i < s.len) {
        if (g < glob.len && glob.p[g] == '*') {
            star = g++;
            mark = i;
        } else if (g < glob.len && (glob.p[g] == '?' || glob.p[g] == s.p[i])) {
            g++;
            i++;
        } else if (star != SIZE_MAX) {
            g = star + 1;
            i = ++mark;
        } else {
            return false;
        }
    }
    while (g < glob.len && glob.p[g] == '*')
        g++;
    return g == glob.len;
}
