/* tmpl_uni.c - See tmpl_uni.h. */
#include "token/tmpl_uni.h"

#include <utf8proc.h>

#include "base/utf8.h"

size_t tmpl_uni_next(struct str s, uint32_t *cp_out)
{
    size_t n;

    if (s.len > 0 && (unsigned char)s.p[0] < 0x80) {
        *cp_out = (unsigned char)s.p[0];
        return 1;
    }
    n = utf8_next(s, cp_out);
    if (n > 0)
        return n;
    *cp_out = UINT32_MAX;
    return 1;
}

size_t tmpl_uni_last(struct str s, uint32_t *cp_out)
{
    for (size_t n = 1; n <= 4 && n <= s.len; n++) {
        struct str tail = str_skip(s, s.len - n);

        if (((unsigned char)tail.p[0] & 0xC0) == 0x80)
            continue;
        if (tmpl_uni_next(tail, cp_out) == n)
            return n;
        break;
    }
    *cp_out = UINT32_MAX;
    return 1;
}

bool tmpl_uni_space(uint32_t cp)
{
    if (cp < 0x80)
        return cp == ' ' || (cp >= 9 && cp <= 13) || (cp >= 0x1C && cp <= 0x1F);
    return cp == 0x85 || cp == 0xA0 || cp == 0x1680 ||
           (cp >= 0x2000 && cp <= 0x200A) || cp == 0x2028 || cp == 0x2029 ||
           cp == 0x202F || cp == 0x205F || cp == 0x3000;
}

size_t tmpl_uni_spaces(struct str s)
{
    size_t at = 0;
    uint32_t cp;

    while (at < s.len) {
        size_t n = tmpl_uni_next(str_skip(s, at), &cp);

        if (!tmpl_uni_space(cp))
            break;
        at += n;
    }
    return at;
}

size_t tmpl_uni_spaces_end(struct str s)
{
    size_t len = s.len;
    uint32_t cp;

    while (len > 0) {
        size_t n = tmpl_uni_last((struct str){s.p, len}, &cp);

        if (!tmpl_uni_space(cp))
            break;
        len -= n;
    }
    return s.len - len;
}

uint32_t tmpl_uni_upper(uint32_t cp)
{
    if (cp < 0x80)
        return cp >= 'a' && cp <= 'z' ? cp - 32 : cp;
    if (cp > 0x10FFFF)
        return cp;
    return (uint32_t)utf8proc_toupper((utf8proc_int32_t)cp);
}

uint32_t tmpl_uni_lower(uint32_t cp)
{
    if (cp < 0x80)
        return cp >= 'A' && cp <= 'Z' ? cp + 32 : cp;
    if (cp > 0x10FFFF)
        return cp;
    return (uint32_t)utf8proc_tolower((utf8proc_int32_t)cp);
}

static utf8proc_category_t category(uint32_t cp)
{
    if (cp > 0x10FFFF)
        return UTF8PROC_CATEGORY_CN;
    return utf8proc_category((utf8proc_int32_t)cp);
}

bool tmpl_uni_is_upper(uint32_t cp)
{
    utf8proc_category_t c = category(cp);

    return c == UTF8PROC_CATEGORY_LU || c == UTF8PROC_CATEGORY_LT;
}

bool tmpl_uni_is_lower(uint32_t cp)
{
    return category(cp) == UTF8PROC_CATEGORY_LL;
}

bool tmpl_uni_is_alpha(uint32_t cp)
{
    utf8proc_category_t c = category(cp);

    return c >= UTF8PROC_CATEGORY_LU && c <= UTF8PROC_CATEGORY_LO;
}

bool tmpl_uni_is_digit(uint32_t cp)
{
    return category(cp) == UTF8PROC_CATEGORY_ND;
}
