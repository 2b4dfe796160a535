// The faults a provider can show, by name.  Each takes the plan of a correct
// reply and its parameters and returns the plan that misbehaves.  A request
// asks for one by its model name, "fault:NAME;key=value;...", or a test
// queues one with upstream.script({fault: NAME, ...}).

import { gzipSync } from 'node:zlib';

import { Plan, cutAt, headBytes, jsonEvent, splitEach } from './http.mjs';
import { openaiError } from './openai.mjs';

async function* mapEvents(events, f) {
  let i = 0;
  for await (const e of events) {
    const out = f(e, i++);
    if (out === undefined) continue;
    for (const x of [out].flat()) yield x;
  }
}

const onEvents = (f) => (plan, q) => {
  if (plan.events !== undefined)
    plan.events = mapEvents(plan.events, (e, i) => f(e, i, q));
  return plan;
};

const editJson = (e, f) => {
  if (e.data === undefined || e.data === '[DONE]') return e;
  return { ...e, data: JSON.stringify(f(JSON.parse(e.data))) };
};

const cut = (how) => (plan, q) => {
  plan.transforms.push((ops) =>
    cutAt(ops, {
      at: Number(q.at ?? q.body ?? 0),
      body: q.body !== undefined,
      how,
    }),
  );
  return plan;
};

/** Stops after k events of a stream, in the given way. */
const cutEvents = (plan, q) => {
  const k = Number(q.after ?? 3);
  const how = q.how ?? 'reset';
  if (plan.events === undefined) return plan;
  const inner = plan.events;
  plan.events = (async function* () {
    let i = 0;
    for await (const e of inner) {
      if (i++ === k) return;
      yield e;
    }
  })();
  // "clean" ends the framing properly: only the terminator is missing
  if (how !== 'clean')
    plan.transforms.push(async function* (ops) {
      for await (const op of ops) {
        if (op.bytes?.equals(Buffer.from('0\r\n\r\n'))) break;
        yield op;
      }
      yield { [how]: true };
    });
  return plan;
};

const insertAt = (at, make) => (plan, q) => {
  if (plan.events === undefined) return plan;
  const k = Number(q.after ?? at);
  plan.events = mapEvents(plan.events, (e, i) =>
    i === k ? [make(q), e] : e);
  return plan;
};

const errorBody = (q, message = 'boom') => ({
  message, type: q.type ?? 'server_error', param: null, code: q.code ?? null,
});

const rawReply = (bytes, tail = 'fin') => () => {
  const plan = new Plan({ framing: 'close', ownFraming: true });
  plan.rawHead = Buffer.from(bytes, 'latin1');
  plan.transforms.push(async function* (ops) {
    yield* ops;
    if (tail) yield { [tail]: true };
  });
  return plan;
};

const JSON_HEAD = 'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n';

const usageFault = (f) => onEvents((e) => editJson(e, f));

const bodyUsage = (f) => (plan, q) => {
  if (plan.events !== undefined) return usageFault((o) => f(o, q))(plan, q);
  if (plan.body !== undefined)
    plan.body = Buffer.from(JSON.stringify(f(JSON.parse(plan.body), q)));
  return plan;
};

export const FAULTS = {
  // --- the connection ----------------------------------------------------
  reset: cut('reset'),
  truncate: cut('fin'),
  hang: cut('hang'),
  hang_headers: (plan) => cut('hang')(plan, { at: 0 }),
  cut_events: cutEvents,
  split: (plan, q) => {
    plan.transforms.push((ops) => splitEach(ops, {
      n: Number(q.n ?? 1), gapMs: Number(q.gap ?? 0),
    }));
    return plan;
  },
  close_delimited: (plan) => {
    plan.framing = 'close';
    plan.keepAlive = false;
    return plan;
  },
  close_truncated: (plan, q) => {
    plan.framing = 'close';
    return cutEvents(plan, { after: q.after ?? 3, how: 'fin' });
  },
  // --- status ------------------------------------------------------------
  status: (plan, q) =>
    openaiError(Number(q.code ?? 500), q.message ?? 'the provider says no', {
      type: q.type ?? 'server_error',
      param: q.param ?? null,
      code: q.error_code ?? null,
      headers: q.should_retry ? [['x-should-retry', q.should_retry]] : [],
    }),
  rate_limit: (plan, q) =>
    openaiError(429, 'Rate limit reached', {
      type: 'requests',
      code: 'rate_limit_exceeded',
      headers: [
        ['Retry-After', q.after ?? '1'],
        ['Retry-After-Ms', q.after_ms ?? '10'],
        ['x-ratelimit-limit-requests', '100'],
        ['x-ratelimit-remaining-requests', '0'],
        ['x-ratelimit-reset-requests', '6m0s'],
      ],
    }),
  html_error: (plan, q) =>
    Plan.bytes(
      '<html><body><h1>502 Bad Gateway</h1></body></html>',
      'text/html', Number(q.code ?? 502),
    ),
  empty_error: (plan, q) =>
    new Plan({ status: Number(q.code ?? 500), body: Buffer.alloc(0) }),
  odd_status: (plan, q) =>
    openaiError(Number(q.code ?? 499), 'odd', { type: 'odd_error' }),
  no_content: () => new Plan({ status: 204 }),
  redirect: (plan, q) =>
    new Plan({
      status: 302, headers: [['Location', q.to ?? '/elsewhere']],
      body: Buffer.alloc(0),
    }),
  // --- framing -----------------------------------------------------------
  bad_chunk: rawReply(
    `${JSON_HEAD}Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n`),
  short_length: (plan) => {
    const body = plan.body ?? Buffer.from('{"half":');
    plan.ownFraming = true;
    plan.headers.push(['Content-Length', String(body.length + 100)]);
    plan.body = body;
    plan.keepAlive = false;
    plan.transforms.push(async function* (ops) {
      yield* ops;
      yield { fin: true };
    });
    return plan;
  },
  garbage: rawReply('\x01\x02garbage that is no HTTP\r\n\r\n'),
  http09: rawReply('{"choices":[]}'),
  huge_headers: (plan, q) => {
    const value = 'h'.repeat(8000);
    const n = Math.ceil(Number(q.bytes ?? 400000) / 8000);
    for (let i = 0; i < n; i++) plan.headers.push([`x-huge-${i}`, value]);
    return plan;
  },
  nul_header: rawReply(
    `${JSON_HEAD}x-bad: a\x00b\r\nContent-Length: 2\r\n\r\n{}`),
  early_hints: (plan, q) => {
    const n = Number(q.n ?? 3);
    plan.before = Array.from({ length: n }, () =>
      headBytes(q.code === '100' ? 100 : 103, [['Link', '</x>']], 'Early'));
    return plan;
  },
  endless_1xx: (plan) => {
    const one = headBytes(103, [['Link', '</x>']], 'Early Hints');
    plan.before = (function* () {
      for (;;) yield one;
    })();
    return plan;
  },
  two_lengths: rawReply(
    `${JSON_HEAD}Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}`),
  length_and_chunked: rawReply(
    `${JSON_HEAD}Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n` +
    '2\r\n{}\r\n0\r\n\r\n', null),
  obs_fold: rawReply(
    `${JSON_HEAD}x-folded: one\r\n two\r\nContent-Length: 2\r\n\r\n{}`, null),
  repeat_headers: (plan) => {
    plan.headers.push(
      ['Set-Cookie', 'a=1; Path=/'], ['Set-Cookie', 'b=2; Path=/'],
      ['X-Twice', 'one'], ['X-Twice', 'two'], ['x-MiXeD-Case', 'Kept As Is'],
    );
    return plan;
  },
  hop_headers: (plan) => {
    plan.headers.push(
      ['Connection', 'x-secret-hop, close'], ['X-Secret-Hop', 'never cross'],
      ['Keep-Alive', 'timeout=5'], ['Proxy-Authenticate', 'Basic'],
      ['Proxy-Connection', 'keep-alive'], ['Upgrade', 'h2c'],
      ['Trailer', 'x-trail'],
    );
    return plan;
  },
  cors_headers: (plan) => {
    plan.headers.push(
      ['Access-Control-Allow-Origin', '*'],
      ['access-control-expose-headers', 'X-Theirs'],
      ['Vary', 'Accept-Encoding'],
    );
    return plan;
  },
  gzip: (plan) => {
    if (plan.body === undefined) return plan;
    plan.body = gzipSync(plan.body);
    plan.headers.push(['Content-Encoding', 'gzip']);
    return plan;
  },
  // --- the event stream --------------------------------------------------
  crlf: (plan) => Object.assign(plan, { eol: '\r\n' }),
  cr: (plan) => Object.assign(plan, { eol: '\r' }),
  bom: (plan) => Object.assign(plan, { bom: true }),
  comment: insertAt(1, () => ({ raw: ': ping\n\n' })),
  comment_bare: insertAt(1, () => ({ raw: ': ping\n' })),
  colon: insertAt(1, () => ({ raw: ':\n\n' })),
  openrouter: insertAt(1, () => ({ raw: ': OPENROUTER PROCESSING\n\n' })),
  ping_no_data: insertAt(1, () => ({ raw: 'event: ping\n\n' })),
  ping_json: insertAt(1, () => ({
    raw: 'event: ping\ndata: {"type":"ping"}\n\n' })),
  empty_data: insertAt(1, () => ({ raw: 'data:\n\n' })),
  retry_block: insertAt(1, () => ({ raw: 'retry: 3000\n\n' })),
  id_block: insertAt(1, () => ({ raw: 'id: 7\n\n' })),
  malformed: insertAt(2, () => ({ raw: 'data: {"id": not json\n\n' })),
  no_colon: insertAt(1, () => ({ raw: 'data\n\n' })),
  oversize: insertAt(2, (q) => ({
    raw: `: ${'x'.repeat(Number(q.bytes ?? 3 * 1024 * 1024))}\n\n` })),
  oversize_data: (plan, q) => {
    const text = 'x'.repeat(Number(q.bytes ?? 3 * 1024 * 1024));
    return onEvents((e, i) => editJson(e, (o) => {
      if (i === 1 && o.choices?.[0]?.delta) o.choices[0].delta.content = text;
      return o;
    }))(plan, q);
  },
  no_space: onEvents((e) =>
    e.data === undefined ? e : { ...e, raw: `data:${e.data}\n\n` }),
  last_no_blank: (plan) => {
    const inner = plan.events ?? [];
    plan.events = (async function* () {
      let held;
      for await (const e of inner) {
        if (e.done && e.data === '[DONE]') continue;
        if (held) yield held;
        held = e;
      }
      if (held) yield { ...held, bare: true };
    })();
    return plan;
  },
  no_done: onEvents((e) => (e.done ? undefined : e)),
  no_finish: onEvents((e) => (e.finish ? undefined : e)),
  no_finish_no_done: onEvents((e) => (e.finish || e.done ? undefined : e)),
  after_done: (plan, q) => {
    plan.events = mapEvents(plan.events ?? [], (e) =>
      e.done ? [e, { raw: q.bytes ?? 'data: {"late":true}\n\n' }] : e);
    return plan;
  },
  error_event: insertAt(3, (q) => jsonEvent({ error: errorBody(q) })),
  error_event_named: insertAt(3, (q) =>
    jsonEvent({ error: errorBody(q) }, 'error')),
  error_event_flat: insertAt(3, () =>
    jsonEvent({ type: 'error', message: 'boom', code: 'x', param: null },
      'error')),
  error_only: (plan, q) => {
    plan.events = [jsonEvent({ error: errorBody(q) })];
    return plan;
  },
  error_in_200: (plan, q) => Plan.json({ error: errorBody(q) }),
  no_role: onEvents((e) => editJson(e, (o) => {
    for (const c of o.choices ?? []) delete c.delta?.role;
    return o;
  })),
  no_index: onEvents((e) => editJson(e, (o) => {
    for (const c of o.choices ?? [])
      for (const t of c.delta?.tool_calls ?? []) delete t.index;
    return o;
  })),
  reasoning: insertAt(1, () => jsonEvent({
    id: 'chatcmpl-r', object: 'chat.completion.chunk', created: 1767225600,
    model: 'm', choices: [{ index: 0, finish_reason: null,
      delta: { reasoning_content: 'hmm' } }],
  })),
  // --- usage -------------------------------------------------------------
  no_usage: (plan, q) => {
    if (plan.events !== undefined)
      plan.events = mapEvents(plan.events, (e) => {
        if (e.usage && JSON.parse(e.data).choices?.length === 0)
          return undefined;
        return editJson(e, ({ usage, ...o }) => o);
      });
    else bodyUsage(({ usage, ...o }) => o)(plan, q);
    return plan;
  },
  usage_null: bodyUsage((o) => ({ ...o, usage: null })),
  usage_everywhere: usageFault((o) => ({
    ...o,
    usage: o.usage ?? {
      prompt_tokens: 1, completion_tokens: 1, total_tokens: 2 },
  })),
  usage_choices_null: usageFault((o) =>
    o.choices?.length === 0 ? { ...o, choices: null } : o),
  wrong_usage: bodyUsage((o, q) => (o.usage ? {
    ...o,
    usage: { ...o.usage,
      prompt_tokens: Number(q.prompt ?? -5),
      completion_tokens: Number(q.completion ?? 1e15) },
  } : o)),
  zero_usage: bodyUsage((o) => (o.usage ? {
    ...o,
    usage: { prompt_tokens: 0, completion_tokens: 0, total_tokens: 0 },
  } : o)),
};

/** "fault:NAME;k=v;k=v" to {fault, ...}; undefined for other models. */
export function faultOfModel(model) {
  const m = /(?:^|\/)fault:([a-z0-9_]+)(?:;(.*))?$/.exec(model ?? '');
  if (!m) return undefined;
  const q = { fault: m[1] };
  for (const pair of (m[2] ?? '').split(';').filter(Boolean)) {
    const i = pair.indexOf('=');
    q[pair.slice(0, i)] = pair.slice(i + 1);
  }
  return q;
}

/** Applies a fault; throws on a name that is none. */
export function applyFault(plan, q) {
  const f = FAULTS[q.fault];
  if (!f) throw new Error(`no such fault: ${q.fault}`);
  return f(plan, q);
}
