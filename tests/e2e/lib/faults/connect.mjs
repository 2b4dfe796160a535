// Rows of the table of faults: upstreams that cannot be reached, that close
// before they answer, and that do not answer at all.

const DOWN = { status: 503, code: 'upstream_unavailable', billed: 'Z',
  legs: '', headers: { 'retry-after': /^\d+$/, 'x-should-retry': /^true$/ } };

const RESET = { status: 502, code: 'upstream_reset', billed: 'H',
  headers: { 'x-should-retry': /^true$/ } };

const TIMEOUT = { status: 504, code: 'upstream_timeout',
  headers: { 'x-should-retry': /^true$/ } };

const NO_TLS = { status: 502, code: 'upstream_tls_error', hits: [0, 0],
  billed: 'Z', legs: '', attempts: 1,
  headers: { 'x-should-retry': /^false$/ } };

const SERVED = { ok: true, status: 200, billed: 'E' };
const BY_B = { ...SERVED, from: 'b' };

/** What of it depends on who looks names up. */
const NOBODY = '503 `upstream_unavailable`, told when (504 ' +
  '`upstream_timeout` where names are looked up slowly), may retry / ' +
  'nobody / free';

const HANG = { fault: 'hang_headers' };
const CLOSE = { fault: 'reset', at: 0 };

/** Refuses connections for as long as a case lasts. */
const refusing = (...who) => ({
  before: (c) => Promise.all(who.map((w) => c[w].refuse())),
  undo: (c) => Promise.all(who.map((w) => c[w].listen())),
});

/** Does so to connections that were just accepted. */
const onConnection = (how) => ({
  before: (c) => void (c.a.onConnection = how),
  undo: (c) => void (c.a.onConnection = null),
});

/** Sends a good request first, so that a connection is kept. */
const warm = (then) => ({ before: async (c) => {
  await c.ask();
  c.a.clear();
  await then(c);
} });

/** The provider sees that nobody waits for it any more. */
const cancelled = async (c) => {
  for (const r of c.a.requests) await r.whenAborted();
};

export const REACH = [
  { id: 'refused', fault: 'connections are refused', shape: 'one',
    ...refusing('a'), want: { ...DOWN, hits: [0, 0], attempts: 3 } },
  { id: 'refused-next', shape: 'two', ...refusing('a'),
    fault: 'connections are refused; another target stands by',
    want: { ...BY_B, hits: [0, 1], attempts: 2, legs: '' } },
  { id: 'refused-all', fault: 'all targets refuse connections', shape: 'two',
    ...refusing('a', 'b'), want: { ...DOWN, hits: [0, 0] } },
  { id: 'refused-fallback', shape: 'fall', ...refusing('a'),
    fault: 'connections are refused; the route falls back to another',
    want: { ...BY_B, hits: [0, 1], legs: '' } },
  { id: 'unknown-host', fault: 'its name is not known', shape: 'lost',
    shown: NOBODY,
    want: { ...DOWN, status: [503, 504], headers: {}, hits: [0, 0],
      code: ['upstream_unavailable', 'upstream_timeout'] } },
  { id: 'unknown-host-next', shape: 'lost2',
    fault: 'its name is not known; another target stands by',
    want: { ...BY_B, hits: [0, 1], attempts: 2, legs: '' } },
];

export const SECURE = [
  { id: 'tls-name', fault: 'its certificate is for another name',
    shape: 'stranger', schemes: ['https'], want: NO_TLS,
    log: /reason=.*(name|subject)/ },
  { id: 'tls-expired', fault: 'its certificate has expired',
    shape: 'expired', schemes: ['https'], want: NO_TLS,
    log: /reason=.*expired/,
    also: async (c, seen) => {
      const { breaker } = await c.target();
      if (breaker !== 'open') throw new Error(`its breaker is ${breaker}`);
      const next = await c.ask();
      if (next.json.error.code !== 'upstream_unavailable')
        throw new Error(`then ${next.text} after ${seen.status}`);
    } },
  { id: 'tls-name-next', shape: 'stranger2', schemes: ['https'],
    fault: 'its certificate is for another name; another target stands by',
    want: { ...BY_B, hits: [0, 1], attempts: 2, legs: '' } },
  { id: 'tls-cut', shape: 'two', schemes: ['https'],
    fault: 'it closes within the handshake; another target stands by',
    ...onConnection('reset'),
    want: { ...BY_B, hits: [0, 1], attempts: 2, legs: '' } },
  { id: 'tls-silent', shape: 'slow', schemes: ['https'],
    fault: 'it does not answer the handshake', ...onConnection('hang'),
    want: { ...TIMEOUT, hits: [0, 0], billed: 'Z', legs: '' } },
  { id: 'tls-silent-next', shape: 'slow2', schemes: ['https'],
    fault: 'it does not answer the handshake; another target stands by',
    ...onConnection('hang'),
    want: { ...BY_B, hits: [0, 1], attempts: 2, legs: '' } },
];

export const CLOSED = [
  { id: 'reset', fault: 'it closes before it answers', shape: 'two', a: CLOSE,
    want: { ...RESET, hits: [1, 0], attempts: 1, legs: '' } },
  { id: 'reset-ambiguous', shape: 'amb2', a: CLOSE,
    fault: 'it closes before it answers, with retry_ambiguous',
    want: { ...BY_B, hits: [1, 1], attempts: 2, legs: 'H' } },
  { id: 'reset-ambiguous-same', shape: 'amb', a: { ...CLOSE, times: 1 },
    fault: 'the same, and there is no other target',
    want: { ...SERVED, hits: [2, 0], attempts: 2, legs: 'H' } },
  { id: 'reset-ambiguous-again', shape: 'amb', a: CLOSE,
    fault: 'the same, and it closes each time',
    want: { ...RESET, hits: [2, 0], attempts: 2, legs: 'H' } },
  { id: 'stale', fault: 'a kept connection was closed while it was idle',
    shape: 'one', ...warm((c) => c.a.dropConnections()),
    want: { ...SERVED, hits: [1, 0], legs: '' } },
  { id: 'stale-race', shape: 'one',
    fault: 'a kept connection is closed as the request arrives',
    ...warm((c) => void c.a.script(CLOSE)),
    want: { ...RESET, hits: [1, 0], attempts: 1, legs: '' } },
  { id: 'stale-race-ambiguous', shape: 'amb',
    fault: 'the same, with retry_ambiguous',
    ...warm((c) => void c.a.script(CLOSE)),
    want: { ...SERVED, hits: [2, 0], attempts: 2, legs: 'H' } },
];

export const SILENT = [
  { id: 'silent', fault: 'it does not answer', shape: 'slow2', a: HANG,
    want: { ...TIMEOUT, hits: [1, 0], billed: 'H', attempts: 1, legs: '' },
    also: cancelled },
  { id: 'silent-ambiguous', shape: 'slowamb2', a: HANG,
    fault: 'it does not answer, with retry_ambiguous',
    want: { ...BY_B, hits: [1, 1], attempts: 2, legs: 'H' },
    also: cancelled },
  { id: 'silent-total', shape: 'short', a: HANG,
    fault: 'it does not answer within the time for all of it',
    want: { ...TIMEOUT, hits: [1, 0], billed: 'H', attempts: 1, legs: '' },
    log: /total/, also: cancelled },
  { id: 'silent-midway', fault: 'it falls silent within its answer',
    shape: 'slow2', a: { fault: 'hang', body: 300 },
    want: { hits: [1, 0], attempts: 1, legs: '' },
    wantWhole: { ...TIMEOUT, billed: 'H' },
    wantStream: { status: 200, event: 'upstream_timeout', billed: 'C' },
    also: cancelled },
];
