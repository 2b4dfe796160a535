// Rows of the table of faults: what providers answer when they refuse, when
// they limit, when they are overloaded, and when they fail.

import assert from 'node:assert/strict';

import { openaiError } from '../provider/openai.mjs';
import { until } from '../until.mjs';

const SERVED = { ok: true, status: 200, billed: 'E', legs: '' };
const BY_B = { ...SERVED, from: 'b' };
const FREE = { billed: 'Z', legs: '' };

/** An error of the provider; without the rate limits it tells elsewhere. */
const says = (status, code, headers = [], more = {}) => ({
  plan: () => openaiError(status, more.message ?? 'the provider says no',
    { type: more.type ?? 'some_error', code, headers }),
  edit: (plan) => {
    for (const what of ['limit', 'remaining', 'reset'])
      if (!headers.some(([n]) => n === `x-ratelimit-${what}-requests`))
        plan.setHeader(`x-ratelimit-${what}-requests`, undefined);
  },
});

const limit = (...headers) => says(429, 'rate_limit_exceeded', headers,
  { type: 'requests' });
const AFTER = (s) => ['Retry-After', String(s)];
const LIMITED = { status: 429, code: 'rate_limit_exceeded', ...FREE };
const WAITS = (re) => ({ 'retry-after': re });

/** Asks once more: what the providers are asked of it. */
const hitsOfNext = async (c) => {
  const before = [c.a.hits, c.b.hits];
  const reply = await c.ask();
  return { reply, asked: [c.a.hits - before[0], c.b.hits - before[1]] };
};

/** The next request is refused for as long, and the provider not asked. */
const thenRefused = (most) => async (c) => {
  const { reply, asked } = await hitsOfNext(c);
  assert.deepEqual(asked, [0, 0]);
  assert.equal(reply.status, 429);
  assert.equal(reply.json.error.code, 'rate_limit_exceeded');
  const after = Number(reply.header('retry-after'));
  assert.ok(after >= 1 && after <= most, String(after));
};

/** The next request goes to the other target at once. */
const thenElsewhere = async (c) => {
  const { reply, asked } = await hitsOfNext(c);
  assert.deepEqual([reply.status, asked], [200, [0, 1]]);
};

const inSeconds = (s) => new Date(Date.now() + s * 1000).toUTCString();

export const LIMITS = [
  { id: 'limit-soon', fault: '429, to come again in 50 ms', shape: 'one',
    a: { ...limit(['retry-after-ms', '50']), times: 1 },
    want: { ...SERVED, hits: [2, 0], attempts: 2 } },
  { id: 'limit-unsaid', fault: '429 without a time', shape: 'one',
    a: { ...limit(), times: 1 },
    want: { ...SERVED, hits: [2, 0], attempts: 2 } },
  { id: 'limit-late', fault: '429, to come again in 7 s', shape: 'one',
    a: limit(AFTER(7)), want: { ...LIMITED, hits: [1, 0], attempts: 1,
      headers: WAITS(/^7$/) }, also: thenRefused(7) },
  { id: 'limit-date', fault: '429, to come again at a date', shape: 'one',
    a: { plan: (...all) => limit(AFTER(inSeconds(30))).plan(...all) },
    want: { ...LIMITED, hits: [1, 0], attempts: 1,
      headers: { 'retry-after': /./ } }, also: thenRefused(30) },
  { id: 'limit-reset', fault: '429, its limit is reset in 6 min',
    shape: 'two', a: limit(['x-ratelimit-remaining-requests', '0'],
      ['x-ratelimit-reset-requests', '6m0s']),
    want: { ...BY_B, hits: [1, 1], attempts: 2 }, also: thenElsewhere },
  { id: 'limit-next', shape: 'two', a: limit(AFTER(60)),
    fault: '429, to come again in 60 s; another target stands by',
    want: { ...BY_B, hits: [1, 1], attempts: 2 }, also: thenElsewhere },
  { id: 'limit-all', fault: '429 of all targets, in 30 s and in 7 s',
    shape: 'two', a: limit(AFTER(30)), b: limit(AFTER(7)),
    want: { ...LIMITED, hits: [1, 1], attempts: 2,
      headers: WAITS(/^(29|30)$/) } },
  { id: 'limit-key', fault: '429 of a key; there is another', shape: 'keys',
    a: { ...limit(AFTER(60)), times: 1 },
    want: { ...SERVED, hits: [2, 0], attempts: 2 },
    also: async (c) => {
      const keys = c.a.requests.map((r) => r.header('authorization'));
      assert.notEqual(keys[0], keys[1]);
      await c.ask();
      assert.equal(c.a.last.header('authorization'), keys[1]);
    } },
];

const SPENT = { status: 429, ...FREE,
  headers: { 'x-should-retry': /^false$/, 'retry-after': null } };

const capped = (code) => says(429, code, [], { type: code });

export const CAPS = ['insufficient_quota', 'enforced_spend_limit_reached']
  .flatMap((code) => [
    { id: `spent-${code.slice(0, 8)}`, shape: 'one', a: capped(code),
      fault: `429 ${code}: the account of the provider is used up`,
      want: { ...SPENT, code, hits: [1, 0], attempts: 1 } },
    { id: `spent-${code.slice(0, 8)}-next`, shape: 'two', a: capped(code),
      fault: `429 ${code}; another target stands by`,
      want: { ...BY_B, hits: [1, 1], attempts: 2 }, also: thenElsewhere },
  ]);

/** 500, 502 and 504: once more, in all. */
const failing = (status) => [
  { id: `fails-${status}`, fault: `${status} each time`, shape: 'one',
    a: says(status, 'their_code'),
    want: { status, code: 'their_code', hits: [2, 0], attempts: 2, ...FREE } },
  { id: `fails-${status}-once`, fault: `${status} once`, shape: 'one',
    a: { ...says(status, 'their_code'), times: 1 },
    want: { ...SERVED, hits: [2, 0], attempts: 2 } },
  { id: `fails-${status}-next`, shape: 'two', a: says(status, 'their_code'),
    fault: `${status}; another target stands by`,
    want: { ...BY_B, hits: [1, 1], attempts: 2 } },
];

export const FAILURES = [
  ...[500, 502, 504].flatMap(failing),
  { id: 'fails-html', fault: '502 with a page of HTML, each time',
    shape: 'one', a: { fault: 'html_error', code: 502 },
    want: { status: 502, code: 'upstream_bad_response', upstream: 502,
      hits: [2, 0], attempts: 2, headers: { 'x-should-retry': /^true$/ } } },
  { id: 'fails-told-not', shape: 'one',
    a: says(500, 'their_code', [['x-should-retry', 'false']]),
    fault: '500 with x-should-retry: false',
    want: { status: 500, hits: [1, 0], attempts: 1, ...FREE,
      headers: { 'x-should-retry': /^false$/ } } },
  { id: 'fails-fallback', shape: 'fall', a: says(500, 'their_code'),
    fault: '500 each time; the route falls back to another',
    want: { ok: true, status: 200, from: 'b' } },
];

const BUSY = { hits: [3, 0], attempts: 3, ...FREE,
  headers: { 'retry-after': /^\d+$/ } };

const busy = (status) => [
  { id: `busy-${status}`, fault: `${status} each time`, shape: 'one',
    a: says(status, 'their_code'), want: { ...BUSY, status: [503, status] } },
  { id: `busy-${status}-once`, fault: `${status} once`, shape: 'one',
    a: { ...says(status, 'their_code'), times: 1 },
    want: { ...SERVED, hits: [2, 0], attempts: 2 } },
  { id: `busy-${status}-next`, shape: 'two', a: says(status, 'their_code'),
    fault: `${status}; another target stands by`,
    want: { ...BY_B, hits: [2, 1], attempts: 3 } },
];

export const OVERLOADS = [
  ...[503, 529].flatMap(busy),
  { id: 'busy-soon', fault: '503 once, to come again in 300 ms',
    shape: 'one', a: { ...says(503, 'their_code',
      [['retry-after-ms', '300']]), times: 1 },
    want: { ...SERVED, hits: [2, 0], attempts: 2 } },
  { id: 'busy-late', fault: '503, to come again in 30 s', shape: 'one',
    a: says(503, 'their_code', [AFTER(30)]),
    want: { ...BUSY, status: 503, hits: [1, 0], attempts: 1,
      headers: WAITS(/^30$/) } },
  { id: 'busy-late-next', shape: 'two',
    a: says(503, 'their_code', [AFTER(30)]),
    fault: '503, to come again in 30 s; another target stands by',
    want: { ...BY_B, hits: [1, 1], attempts: 2 }, also: thenElsewhere },
];

/** The breaker does not mind: it is the caller who is wrong. */
const unmoved = async (c) => {
  const { breaker } = await c.target();
  assert.equal(breaker, 'closed');
};

const refused = (status) => ({
  id: `refused-${status}`, fault: `${status}`, shape: 'two',
  a: says(status, 'their_code'),
  want: { status, code: 'their_code', hits: [1, 0], attempts: 1, ...FREE },
  also: unmoved });

const NO_KEY = { status: 502, code: 'upstream_auth_failed', ...FREE,
  headers: { 'x-should-retry': /^false$/ } };

const alarm = (c, seen) => until('an alarm in the log', () =>
  seen.log().split('\n').some((l) => /"level":"(warn|error)"/.test(l) &&
    l.includes(c.name)), 5000);

const badKey = (status) => [
  { id: `key-${status}`, fault: `${status}: our key is refused`,
    shape: 'one', a: says(status, 'invalid_api_key'),
    want: { ...NO_KEY, upstream: status, hits: [1, 0], attempts: 1 },
    also: alarm },
  { id: `key-${status}-other`, shape: 'keys',
    a: { ...says(status, 'invalid_api_key'), times: 1 },
    fault: `${status}: our key is refused; there is another`,
    want: { ...SERVED, hits: [2, 0], attempts: 2 }, also: alarm },
  { id: `key-${status}-next`, shape: 'two', a: says(status, 'invalid_api_key'),
    fault: `${status}: our key is refused; another target stands by`,
    want: { ...BY_B, hits: [1, 1], attempts: 2 }, also: alarm },
];

const LONG = says(400, 'context_length_exceeded', [],
  { type: 'invalid_request_error', message: 'maximum context length' });
const FILTERED = says(400, 'content_filter', [],
  { type: 'invalid_request_error' });
const kept = { status: 400, hits: [1, 0], attempts: 1, ...FREE };

export const REFUSALS = [
  ...[400, 404, 409, 413, 422].map(refused),
  ...[401, 403].flatMap(badKey),
  { id: 'too-long', fault: '400: the prompt is too long for the model',
    shape: 'fall', a: LONG,
    want: { ...kept, code: 'context_length_exceeded' }, also: unmoved },
  { id: 'too-long-fallback', shape: 'fallany', a: LONG,
    fault: 'the same, with fallback_on: context_length',
    want: { ...BY_B, hits: [1, 1], attempts: 2 } },
  { id: 'filtered', fault: '400: the content is refused', shape: 'fall',
    a: FILTERED, want: { ...kept, code: 'content_filter' },
    also: unmoved },
  { id: 'filtered-fallback', shape: 'fallany', a: FILTERED,
    fault: 'the same, with fallback_on: content_filter',
    want: { ...BY_B, hits: [1, 1], attempts: 2 } },
];
