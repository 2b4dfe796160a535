// A stored reply is the bytes that were sent, however they came in: split at
// every byte, with any line ends, from every API; and one that was cut at any
// byte is never stored.

import assert from 'node:assert/strict';
import { after, afterEach, before, describe, test } from 'node:test';

import { cutAt } from './lib/provider/http.mjs';
import { ALONE, startRig, upstreamEntry } from './lib/rig.mjs';
import { memoryFactor } from './lib/tollgate.mjs';

let rig;
before(async () => {
  rig = await startRig({
    config: (up) => ({
      cache: { responses: { enabled: true, size: '64MiB', keep: 'always' } },
      log: { level: 'info', access: 'off' },
      upstreams: [
        upstreamEntry(up, { models: ['demo'], ...ALONE }),
        { ...upstreamEntry(up, ALONE), name: 'claude', dialect: 'anthropic',
          models: ['claude-*'] },
      ],
    }),
  });
});
afterEach(() => rig?.up.clear());
after(() => rig?.close());

const SAY = [{ role: 'user', content: 'say h\u00e9 \u{1F600}' }];
const SCHEMA = { type: 'object', properties: { a: { type: 'string' } } };

/** Requests of every API that may be stored. */
const ASKS = {
  'chat, streamed': ['/v1/chat/completions', {
    model: 'demo', messages: SAY, stream: true }],
  'chat with usage and tools, streamed': ['/v1/chat/completions', {
    model: 'demo', messages: [{ role: 'user', content: 'go' }], stream: true,
    stream_options: { include_usage: true }, tool_choice: 'required',
    tools: [{ type: 'function', function: { name: 'f', parameters: SCHEMA } }],
  }],
  'completions, streamed': ['/v1/completions', {
    model: 'demo', prompt: 'say h\u00e9', stream: true }],
  'responses, streamed': ['/v1/responses', {
    model: 'demo', input: 'say h\u00e9', stream: true }],
  'messages, streamed': ['/v1/messages', {
    model: 'claude-e2e', max_tokens: 99, messages: SAY, stream: true }],
  'messages with tools, streamed': ['/v1/messages', {
    model: 'claude-e2e', max_tokens: 99, stream: true,
    messages: [{ role: 'user', content: 'f' }],
    tools: [{ name: 'f', input_schema: SCHEMA }] }],
  chat: ['/v1/chat/completions', { model: 'demo', messages: SAY }],
  completions: ['/v1/completions', { model: 'demo', prompt: 'say h\u00e9' }],
  responses: ['/v1/responses', { model: 'demo', input: 'say h\u00e9' }],
  messages: ['/v1/messages', {
    model: 'claude-e2e', max_tokens: 99, messages: SAY }],
  embeddings: ['/v1/embeddings', { model: 'demo', input: 'h\u00e9' }],
  moderations: ['/v1/moderations', { model: 'demo', input: 'h\u00e9' }],
  'count_tokens': ['/v1/messages/count_tokens', {
    model: 'claude-e2e', messages: SAY }],
};

let counter = 0;

/** A request like <ask> that nobody has made yet. */
const anew = ([path, body]) => [path, { ...body, top_k: (counter += 1) }];

async function send([path, json], headers = {}) {
  const r = await rig.fetch(path, { json, headers: {
    'anthropic-version': '2023-06-01', ...headers } });
  const cache = r.headers.get('x-tollgate-cache');
  let body = null;
  try {
    body = Buffer.from(await r.arrayBuffer());
  } catch {
    // it was cut
  }
  return { status: r.status, type: r.headers.get('content-type'), body, cache,
    age: r.headers.get('age'), id: r.headers.get('x-request-id') };
}

/** All bytes of a reply in one write. */
async function* atOnce(ops) {
  const parts = [];
  for await (const op of ops) parts.push(op.bytes);
  yield { bytes: Buffer.concat(parts) };
}

/** How many bytes a split is from the next, and a cut; near the end there is
 * one at each. Programs that are checked as they run take too long for all. */
const SPLIT_STEP = memoryFactor() > 1 ? 7 : 1;
const CUT_STEP = Number(process.env.E2E_CUT_STEP ?? 3 * SPLIT_STEP);
const NEAR_END = 64;

/** Does <one> at every byte, or every <step>th; several at a time. */
async function atEveryByte(length, step, one) {
  let next = 1;
  const run = async () => {
    while (next < length) {
      const k = next;
      next += k + step < length - NEAR_END ? step : 1;
      await one(k);
    }
  };
  await Promise.all(Array.from({ length: 8 }, run));
}

/** Bytes of the provider's reply to <ask>, head and framing included. */
async function lengthOf(ask) {
  let length = 0;
  rig.up.script({ edit: (plan) => {
    plan.transforms.push(async function* (ops) {
      for await (const op of ops) {
        length += op.bytes?.length ?? 0;
        yield op;
      }
    });
  } });
  await send(anew(ask), { 'cache-control': 'no-store' });
  return length;
}

/** Has the provider send each reply as <how>(ops, k), where k is what the
 * request named: see `at`. */
const each = (how) => rig.up.script({ times: Infinity, edit: (plan, rec) => {
  const k = rec.json.min_p;
  plan.transforms.push(atOnce, (ops) => how(ops, k));
} });

/** A request like <ask> for the byte <k> of the reply, of a <series>. */
const at = ([path, body], series, k) =>
  [path, { ...body, top_k: series, min_p: k }];

describe('a hit is the bytes that were recorded', () => {
  for (const [name, ask] of Object.entries(ASKS))
    test(`${name}: split at every byte on its way`, async () => {
      const length = await lengthOf(ask);
      each(async function* (ops, k) {
        for await (const { bytes } of ops) {
          yield { bytes: bytes.subarray(0, k), flush: true };
          yield { bytes: bytes.subarray(k) };
        }
      });
      const before = rig.up.hits;
      const series = (counter += 1);
      let asked = 0;
      await atEveryByte(length, SPLIT_STEP, async (k) => {
        const what = at(ask, series, k);
        asked += 1;
        const first = await send(what);
        assert.equal(first.status, 200);
        assert.equal(first.cache, 'miss', `at ${k}`);
        const again = await send(what);
        assert.equal(again.cache, 'hit', `at ${k}`);
        assert.equal(again.status, 200);
        assert.equal(again.type, first.type);
        assert.match(again.age, /^\d+$/);
        assert.notEqual(again.id, first.id);
        assert.ok(again.body.equals(first.body), `at ${k}`);
      });
      assert.equal(rig.up.hits - before, asked);
    });

  const FORMS = {
    'lines end with CRLF': (plan) => (plan.eol = '\r\n'),
    'lines end with CR': (plan) => (plan.eol = '\r'),
    'a byte-order mark': (plan) => (plan.bom = true),
    'comments between': (plan) => {
      const inner = plan.events;
      plan.events = (async function* () {
        for await (const e of inner) {
          yield { comment: ' OPENROUTER PROCESSING' };
          yield e;
        }
      })();
    },
    'ids and times to retry': (plan) => {
      const inner = plan.events;
      plan.events = (async function* () {
        for await (const e of inner)
          yield { raw: `id: 7\nretry: 10\n${e.event ? `event: ${e.event}\n`
            : ''}data:${e.data}\n\n` };
      })();
    },
  };
  for (const [form, edit] of Object.entries(FORMS))
    test(`streams whose form is odd: ${form}`, async () => {
      rig.up.script({ times: Infinity, edit: (plan) => void edit(plan) });
      for (const ask of Object.values(ASKS).filter((a) => a[1].stream)) {
        const what = anew(ask);
        const first = await send(what);
        assert.equal(first.cache, 'miss');
        const again = await send(what);
        assert.equal(again.cache, 'hit');
        assert.ok(again.body.equals(first.body));
      }
    });
});

describe('a reply that was cut is not stored', () => {
  // what a stream ends with
  const END = /\[DONE\]\n\n$|response\.completed.*\n\n$|message_stop"}\n\n$/;

  for (const [name, ask] of Object.entries(ASKS))
    test(`${name}: at every byte`, async () => {
      const length = await lengthOf(ask);
      const series = (counter += 1);
      each((ops, k) => cutAt(ops, { at: k, how: k % 2 ? 'reset' : 'fin' }));
      let stored = 0;
      await atEveryByte(length, CUT_STEP, async (k) => {
        const what = at(ask, series, k);
        const first = await send(what);
        const again = await send(what);
        if (again.cache !== 'hit') return;
        stored += 1;
        // all of it had come: only the end of the framing was missing
        assert.ok(again.body.equals(first.body), `at ${k}`);
        assert.match(again.body.toString(), ask[1].stream ? END : /}$/);
      });
      // a blank line and some framing follow the last byte that counts
      assert.ok(stored < 12, `${stored} were stored`);
    });
});
