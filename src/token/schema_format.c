/* schema_format.c - Formats as patterns. Each takes a part of what its
 * standard allows that is common, and nothing else. */
#include "token/schema_regex.h"

#define DAY                                                                    \
    "[0-9]{4}-((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|"                     \
    "(0[469]|11)-(0[1-9]|[12][0-9]|30)|02-(0[1-9]|1[0-9]|2[0-8]))"
#define TIME                                                                   \
    "([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\\.[0-9]{1,9})?"                 \
    "(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])"
#define LABEL "[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
#define HOST  LABEL "(\\." LABEL "){0,7}"
#define BYTE  "(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
#define IPV4  BYTE "(\\." BYTE "){3}"
#define H16   "[0-9A-Fa-f]{1,4}"
#define HEX   "[0-9A-Fa-f]"
#define URIC  "([A-Za-z0-9._~:/@!$&'()*+,;=-]|%[0-9A-Fa-f]{2})"

static const struct {
    struct str format, pattern;
} formats[] = {
    {STR("date-time"), STR("^" DAY "T" TIME "$")},
    {STR("date"), STR("^" DAY "$")},
    {STR("time"), STR("^" TIME "$")},
    {STR("duration"),
     STR("^P([0-9]{1,4}W|[0-9]{1,4}Y([0-9]{1,2}M([0-9]{1,3}D)?)?|"
         "[0-9]{1,4}M([0-9]{1,3}D)?|[0-9]{1,4}D|"
         "([0-9]{1,4}Y([0-9]{1,2}M([0-9]{1,3}D)?)?|[0-9]{1,4}M([0-9]{1,3}D)?|"
         "[0-9]{1,4}D)?T([0-9]{1,4}H([0-9]{1,4}M([0-9]{1,4}S)?)?|"
         "[0-9]{1,4}M([0-9]{1,4}S)?|[0-9]{1,4}S))$")},
    {STR("email"),
     STR("^[A-Za-z0-9_+-]{1,32}(\\.[A-Za-z0-9_+-]{1,16}){0,2}@" LABEL
         "(\\." LABEL "){1,4}$")},
    {STR("hostname"), STR("^" HOST "$")},
    {STR("ipv4"), STR("^" IPV4 "$")},
    {STR("ipv6"),
     STR("^((" H16 ":){7}" H16 "|(" H16 ":){1,7}:|(" H16 ":){1,6}:" H16 "|"
         "(" H16 ":){1,5}(:" H16 "){1,2}|(" H16 ":){1,4}(:" H16 "){1,3}|"
         "(" H16 ":){1,3}(:" H16 "){1,4}|(" H16 ":){1,2}(:" H16 "){1,5}|" H16
         ":(:" H16 "){1,6}|:((:" H16 "){1,7}|:))$")},
    {STR("uuid"),
     STR("^" HEX "{8}-" HEX "{4}-" HEX "{4}-" HEX "{4}-" HEX "{12}$")},
    {STR("uri"), STR("^(https?|ftp)://" HOST "(:[1-9][0-9]{0,4})?(/" URIC
                     "*)?(\\?" URIC "*)?(#" URIC "*)?$")},
    {STR("password"), STR("")},
};

bool regex_format(struct str format, struct str *out)
{
    for (size_t i = 0; i < sizeof(formats) / sizeof(*formats); i++) {
        if (!str_eq(formats[i].format, format))
            continue;
        *out = formats[i].pattern;
        return true;
    }
    return false;
}
