/* template_cases.h - Chat templates, their contexts and what becomes of them.
 * In the rows of trust, tainted runs stand between < and >. */
#ifndef TG_TESTS_TEMPLATE_CASES_H
#define TG_TESTS_TEMPLATE_CASES_H

struct row {
    const char *source, *context, *want;
};

static const struct row plain_rows[] = {
    /* white space */
    {"a\n", NULL, "a"},
    {"a\n\n", NULL, "a\n"},
    {"{% if 1 %}\na\n{% endif %}\nb", NULL, "a\nb"},
    {"  {% if 1 %}a{% endif %}", NULL, "a"},
    {"x  {% if 1 %}a{% endif %}", NULL, "x  a"},
    {"  {%+ if 1 %}a{% endif %}", NULL, "  a"},
    {"a {{- 1 -}} b", NULL, "a1b"},
    {"a\n  {#- c -#}  \nb", NULL, "ab"},
    {"{% if 1 +%}\na{% endif %}", NULL, "\na"},
    {"{{ 1 }}\n{{ 2 }}", NULL, "1\n2"},
    {"{% raw %}{{ x }}{% endraw %}\ny", NULL, "{{ x }}y"},
    {"a\r\nb\rc", NULL, "a\nb\nc"},
    /* numbers */
    {"{{ 7 // 2 }} {{ -7 // 2 }} {{ -7 % 3 }} {{ 7 % -3 }} {{ 2 ** 10 }}", NULL,
     "3 -4 2 -2 1024"},
    {"{{ 7 / 2 }} {{ 1e16 }} {{ 1e15 }} {{ 0.1 + 0.2 }} {{ 1.5e-7 }}", NULL,
     "3.5 1e+16 1000000000000000.0 0.30000000000000004 1.5e-07"},
    {"{{ 1_000 }} {{ 0x1f }} {{ 0b11 }} {{ 0o17 }}", NULL, "1000 31 3 15"},
    {"{{ 2.5 | round }} {{ 42 | round }} {{ 2.345 | round(2) }} "
     "{{ 2.1 | round(0, 'ceil') }}",
     NULL, "2.0 42 2.35 3.0"},
    {"{{ '12' | int + 1 }} {{ 'x' | int(5) }} {{ '3.9' | int }} "
     "{{ 'ff' | int(0, 16) }} {{ '2.5' | float }}",
     NULL, "13 5 3 255 2.5"},
    /* strings */
    {"{{ 'a' 'b' }}{{ \"\\x41\\u00e9\\n\\q\" }}", NULL, "abA\xC3\xA9\n\\q"},
    {"{{ 'hello'[1:3] }} {{ 'hello'[::-1] }} {{ 'h\xC3\xA9llo'[1] }} "
     "{{ 'hello'[-2:] }}",
     NULL, "el olleh \xC3\xA9 lo"},
    {"{{ 'a,b,,c'.split(',') }} {{ ' a  b '.split() }} "
     "{{ 'a-b-c'.rsplit('-', 1) }}",
     NULL, "[\"a\", \"b\", \"\", \"c\"] [\"a\", \"b\"] [\"a-b\", \"c\"]"},
    {"{{ 'abc'.startswith(('x', 'ab')) }} {{ 'a b'.title() }} "
     "{{ 'aXb'.partition('X') }} {{ 'xxaxx'.strip('x') }}",
     NULL, "true A B [\"a\", \"X\", \"b\"] a"},
    {"{{ '%s is %d, %.2f%%' % ('x', 3, 1.5) }} {{ '{} {1} {n}'.format(1, 2, "
     "n=3) }}",
     NULL, "x is 3, 1.50% 1 2 3"},
    {"{{ 'a\\nb\\n\\nc' | indent(2) }}|{{ 'x' | indent(2, true) }}", NULL,
     "a\n  b\n\n  c|  x"},
    {"{{ ['a', 1, true] | join('-') }} {{ 'abc' | join('.') }}", NULL,
     "a-1-true a.b.c"},
    {"{{ 'foo bar' | capitalize }} {{ 'foo-bar (baz)' | title }} "
     "{{ '<a>' | e }}",
     NULL, "Foo bar Foo-Bar (Baz) &lt;a&gt;"},
    {"{{ 'a b c d' | truncate(5, true, '..', 0) }} {{ 'one two' | wordcount }}",
     NULL, "a b.. 2"},
    {"[{{ 'a'.ljust(3) }}|{{ 'a'.rjust(3, '.') }}|{{ 'ab'.center(5) }}|"
     "{{ '-7'.zfill(4) }}|{{ 'abc' | center(6) }}|{{ 'abcd'.center(2) }}]",
     NULL, "[a  |..a|  ab |-007| abc  |abcd]"},
    /* logic */
    {"{{ 1 < 2 < 3 }} {{ 1 < 3 < 2 }} {{ not 1 == 2 }} {{ 1 in [1] }} "
     "{{ 'a' not in 'abc' }}",
     NULL, "true false true true false"},
    {"{{ 0 or 'x' }} {{ 1 and '' or 'y' }} {{ 'z' if false }}|", NULL, "x y |"},
    {"{{ 1 is odd }} {{ 4 is divisibleby 2 }} {{ 'x' is in ['x'] }} "
     "{{ x is defined }} {{ none is none }} {{ [1] is sequence }} "
     "{{ {} is mapping }} {{ 3 is not string }}",
     NULL, "true true true false true true true true"},
    {"{{ 'Ab' is lower }} {{ 'ab' is lower }} {{ '1' is lower }} "
     "{{ 2 is sameas 2 }} {{ 1.0 is integer }} {{ true is number }}",
     NULL, "false true false true false true"},
    /* undefined */
    {"[{{ x }}{{ x ~ 'a' }}{% for i in x %}{% endfor %}{{ x | length }}"
     "{{ x | default('d') }}]",
     NULL, "[a0d]"},
    {"{{ m.a.b is defined }} {{ m.x is defined }} {{ m['a']['c'] }}",
     "{\"m\":{\"a\":{\"b\":1}}}", "true false "},
    /* lists and mappings */
    {"{{ [3, 1, 2] | sort }} {{ [3, 1, 2] | sort(reverse=true) | first }} "
     "{{ [1, 2, 3][::-1] }} {{ [1, 2] + [3] }} {{ [1, 2] * 2 }}",
     NULL, "[1, 2, 3] 3 [3, 2, 1] [1, 2, 3] [1, 2, 1, 2]"},
    {"{{ {'b': 1, 'a': 2} | dictsort }} {{ {'a': 1}.items() | list }} "
     "{{ {'a': 1}.get('b', 5) }} {{ {'a': {'b': 2}}['a'].b }}",
     NULL, "[[\"a\", 2], [\"b\", 1]] [[\"a\", 1]] 5 2"},
    {"{{ l | map(attribute='n') | list }} {{ l | selectattr('n', 'gt', 1) | "
     "map(attribute='s') | join(',') }} {{ l | rejectattr('n', 'eq', 2) | "
     "list | length }} {{ l | sum(attribute='n') }} "
     "{{ l | map(attribute='q', default=0) | list }}",
     "{\"l\":[{\"n\":1,\"s\":\"a\"},{\"n\":2,\"s\":\"b\"},"
     "{\"n\":3,\"s\":\"c\"}]}",
     "[1, 2, 3] b,c 2 6 [0, 0, 0]"},
    {"{{ [1, 'a', 2] | select('string') | list }} {{ [1, 2, 3] | reject('odd') "
     "| list }} {{ ['a', 'B'] | map('upper') | list }} "
     "{{ [1, 2, 1] | unique | list }} {{ [2, 5, 1] | max }}",
     NULL, "[\"a\"] [2] [\"A\", \"B\"] [1, 2] 5"},
    {"{% for k, g in l | groupby('n') %}{{ k }}:{{ g | length }} {% endfor %}"
     "{{ [1, 2, 3] | batch(2, 0) | list }}",
     "{\"l\":[{\"n\":1},{\"n\":2},{\"n\":1}]}", "1:2 2:1 [[1, 2], [3, 0]]"},
    {"{% for i in range(20) %}{% set _ = 0 %}{% endfor %}"
     "{{ {'a1':1,'a2':2,'a3':3,'a4':4,'a5':5,'a6':6,'a7':7,'a8':8,'a9':9,"
     "'a10':10, 'a9':11}['a9'] }}",
     NULL, "11"},
    {"{{ none | selectattr('x') | list }}{{ none | map('upper') | list }}",
     NULL, "[][]"},
    /* JSON */
    {"{{ x | tojson }}",
     "{\"x\":{\"b\":[1,1.0,null,true],\"a\":\"\xC3\xA9<'\\u0001\"}}",
     "{\"b\": [1, 1.0, null, true], \"a\": \"\xC3\xA9<'\\u0001\"}"},
    {"{{ x | tojson(indent=2) }}", "{\"x\":{\"a\":[1,{}],\"b\":[]}}",
     "{\n  \"a\": [\n    1,\n    {}\n  ],\n  \"b\": []\n}"},
    {"{{ {'b': 'e\xCC\x81', 'a': 1} | tojson(ensure_ascii=true, "
     "sort_keys=true, separators=(',', ':')) }}",
     NULL, "{\"a\":1,\"b\":\"e\\u0301\"}"},
    /* statements */
    {"{% for i in [1, 2, 3] if i != 2 %}{{ loop.index }}/{{ loop.length }}"
     "{{ '' if loop.last else ',' }}{% endfor %}",
     NULL, "1/2,2/2"},
    {"{% for i in [1, 2, 3, 4] %}{% if i == 2 %}{% continue %}{% endif %}"
     "{% if i == 4 %}{% break %}{% endif %}{{ i }}{% else %}none{% endfor %}",
     NULL, "13"},
    {"{% for i in [] %}{% else %}none{% endfor %}", NULL, "none"},
    {"{% for i in [1, 1, 2] %}{{ loop.cycle('a', 'b') }}"
     "{{ loop.changed(i) }}{{ loop.previtem }}{{ loop.nextitem }} {% endfor %}",
     NULL, "atrue1 bfalse12 atrue1 "},
    {"{% for n in t recursive %}{{ n.v }}{{ loop.depth }}{% if n.c %}("
     "{{ loop(n.c) }}){% endif %}{% endfor %}",
     "{\"t\":[{\"v\":\"a\",\"c\":[{\"v\":\"b\"},{\"v\":\"c\"}]},"
     "{\"v\":\"d\"}]}",
     "a1(b2c2)d1"},
    {"{% set x = 1 %}{% for i in [1] %}{% set x = 2 %}{% endfor %}{{ x }}"
     "{% if 1 %}{% set x = 3 %}{% endif %}{{ x }}",
     NULL, "13"},
    {"{% set x | upper %}a{{ 1 }}{% endset %}{{ x }}{% filter upper | trim %}"
     " b {% endfilter %}",
     NULL, "A1B"},
    {"{% set (a, b), c = (1, 2), 3 %}{{ a }}{{ b }}{{ c }}", NULL, "123"},
    {"{% macro m(a, b=a, c='z') %}{{ a }}{{ b }}{{ c }}{% endmacro %}"
     "{{ m(1) }} {{ m(1, c=3) }} {{ m(*[1, 2], **{'c': 4}) }}",
     NULL, "11z 113 124"},
    {"{% macro l(x) %}[{{ caller(x) }}]{% endmacro %}{% call(y) l(5) %}"
     "<{{ y }}>{% endcall %}",
     NULL, "[<5>]"},
    {"{% macro m() %}{{ varargs | length }}{{ kwargs.k }}{% endmacro %}"
     "{{ m(1, 2, k=3) }}",
     NULL, "23"},
    {"{% with a = 1, b = 2 %}{{ a + b }}{% endwith %}{{ a }}", NULL, "3"},
    {"{% generation %}x{% set y = 1 %}{% endgeneration %}{{ y }}", NULL, "x"},
    {"{% set n = namespace(a=1) %}{% for i in [1, 2] %}{% set n.a = n.a + i %}"
     "{% endfor %}{{ n.a }}{{ n['a'] }}",
     NULL, "44"},
    {"{% set c = cycler('a', 'b') %}{{ c.next() }}{{ c.next() }}{{ c.current }}"
     "{% set j = joiner(', ') %}{% for i in [1, 2] %}{{ j() }}{{ i }}"
     "{% endfor %}",
     NULL, "aba1, 2"},
    {"{{ strftime_now('%d %B %Y, %-d %b %y %H:%M %A %j') }}", NULL,
     "10 July 2025, 10 Jul 25 00:00 Thursday 191"},
    {"{{ range(3) | list }}{{ range(5, 0, -2) | list }}", NULL,
     "[0, 1, 2][5, 3, 1]"},
    {"{{ m.items is defined }} {{ m['items'] }} {{ m.keys() | list }}",
     "{\"m\":{\"items\":7}}", "true 7 [\"items\"]"},
};

static const struct row trust_rows[] = {
    {"a{{ x }}b", "{\"x\":\"u\"}", "a<u>b"},
    {"{{ '[' + x + ']' }}{{ '[' ~ x ~ ']' }}", "{\"x\":\"u\"}", "[<u>][<u>]"},
    {"{{ bos_token }}{{ eos_token }}{{ pad_token }}",
     "{\"bos_token\":\"B\",\"eos_token\":\"E\",\"pad_token\":\"P\"}", "BE<P>"},
    {"{{ ('<' + x + '>') | trim | upper }}", "{\"x\":\" u \"}", "<< U >>"},
    {"{{ (' ' + x) | trim }}", "{\"x\":\" u \"}", "<u>"},
    {"{{ x | replace('u', 'T') }}{{ 'aub' | replace('u', x) }}",
     "{\"x\":\"xuy\"}", "<x>T<y>a<xuy>b"},
    {"{{ [x, 'T'] | join('-') }}{{ x.split('u') | join('+') }}",
     "{\"x\":\"xuy\"}", "<xuy>-T<x>+<y>"},
    {"{{ {'k': x, 'n': n} | tojson }}", "{\"x\":\"u\\n\",\"n\":5}",
     "{\"k\": \"<u\\n>\", \"n\": <5>}"},
    {"{{ d | tojson }}", "{\"d\":{\"k\":\"v\"}}", "{\"<k>\": \"<v>\"}"},
    {"{{ ('ab' + x)[1:4] }}{{ ('ab' + x)[::-1] }}", "{\"x\":\"uv\"}",
     "b<uvvu>ba"},
    {"{% macro m(a) %}[{{ a }}]{% endmacro %}{{ m(x) }}{{ m('T') }}",
     "{\"x\":\"u\"}", "[<u>][T]"},
    {"{% set y %}({{ x }}){% endset %}{{ y }}{% set n = namespace(s=y) %}"
     "{% set n.s = n.s + '!' %}{{ n.s }}",
     "{\"x\":\"u\"}", "(<u>)(<u>)!"},
    {"{{ n + 1 }}{{ n | string }}{{ b }}{{ 1 + 1 }}", "{\"n\":4,\"b\":true}",
     "<54true>2"},
    {"{{ '<|' + m.role + '|>' }}", "{\"m\":{\"role\":\"user\"}}", "<|user|>"},
    {"{{ '[' + m.role + ']' }}{{ m.x }}",
     "{\"m\":{\"role\":\"end\",\"x\":\"user\"}}", "[<end>]<user>"},
    {"{{ '%s-%d' % (x, n) }}{{ '{}!'.format(x) }}", "{\"x\":\"u\",\"n\":1}",
     "<u>-<1u>!"},
    {"{{ x | indent(2, true) }}", "{\"x\":\"u\\nv\"}", "  <u>\n  <v>"},
    {"{{ {'user': 'T'}[x] }}{{ x * 2 }}{{ x | list | first }}",
     "{\"x\":\"user\"}", "T<useruseru>"},
    {"{% for c in x %}{{ c }}.{% endfor %}{{ x.format('T') }}",
     "{\"x\":\"{}\"}", "<{>.<}>.T"},
    {"{{ x | e }}{{ x | title }}{{ x | center(4) }}", "{\"x\":\"<a\"}",
     "<&lt;a<A> <<a> "},
};

static const struct row fault_rows[] = {
    {"a\n{% foo %}", NULL, "refused syntax 2:4 unknown tag 'foo'"},
    {"{% include 'x' %}", NULL, "refused syntax 1:4 unknown tag 'include'"},
    {"{{ x | nope }}", NULL, "refused syntax 1:8 no filter named 'nope'"},
    {"{{ x is nope }}", NULL, "refused syntax 1:6 no test named 'nope'"},
    {"{{ x ", NULL, "refused syntax 1:1 the tag is not closed"},
    {"\xC3\xA9 {{ 'x }}", NULL, "refused syntax 1:6 unterminated string"},
    {"{{ (1 }}", NULL, "refused syntax 1:7 unexpected closing bracket"},
    {"{{ a b }}", NULL,
     "refused syntax 1:6 unexpected 'b', wanted the end of the tag"},
    {"{{ a ! b }}", NULL, "refused syntax 1:6 unexpected character"},
    {"{% if x %}\nab", NULL,
     "refused syntax 2:3 unexpected end of the template, wanted 'endif'"},
    {"{% endif %}", NULL, "refused syntax 1:4 unknown tag 'endif'"},
    {"{% break %}", NULL, "refused syntax 1:4 'break' outside of a loop"},
    {"{% for %}{% endfor %}", NULL,
     "refused syntax 1:8 unexpected '%}', wanted a name"},
    {"{% if %}{% endif %}", NULL,
     "refused syntax 1:7 unexpected '%}', wanted an expression"},
    {"{% set 42 = x %}", NULL,
     "refused syntax 1:8 unexpected '42', wanted a name"},
    {"{# x", NULL, "refused syntax 1:1 missing end of comment tag"},
    {"{% raw %}x", NULL, "refused syntax 1:1 missing end of raw directive"},
    {"{{ x.y }}", NULL, "syntax 1:5 'x' is undefined"},
    {"{{ m.x.y }}", "{\"m\":{}}", "syntax 1:7 'x' is undefined"},
    {"\n  {{ f() }}", NULL, "syntax 2:7 'f' is undefined"},
    {"{{ 1 + none }}", NULL,
     "syntax 1:8 unsupported operands: an integer and none"},
    {"{{ 'a' + x }}", NULL, "syntax 1:10 'x' is undefined"},
    {"{{ [].append(1) }}", NULL, "syntax 1:13 'append' is undefined"},
    {"{{ 1 // 0 }}", NULL, "syntax 1:9 division by zero"},
    {"{% for x in 5 %}{% endfor %}", NULL,
     "syntax 1:13 an integer cannot be walked through"},
    {"{% set a, b = [1] %}", NULL, "syntax 1:8 1 values for 2 names"},
    {"{% set m.x = 1 %}", "{\"m\":{}}",
     "syntax 1:9 cannot assign an attribute of a mapping"},
    {"{{ raise_exception('no ' + x) }}", "{\"x\":\"way\"}",
     "syntax 1:19 no way"},
    {"{{ 9223372036854775807 + 1 }}", NULL, "syntax 1:26 number out of range"},
    {"{{ {}[[]] is defined }}{{ {[]: 1} }}", NULL,
     "syntax 1:28 a list cannot be a key"},
};

#endif
