// Whatever a provider does to a stream, a client behind tollgate sees what it
// would have seen without it, or a clear error where that would have been
// silent loss.  Each row runs the same client twice: straight to the provider
// and through the gate.

import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, test } from 'node:test';

import { createOpenAI } from '@ai-sdk/openai';
import { ChatOpenAI } from '@langchain/openai';
import { streamText } from 'ai';

import { ask, collect, openaiFor } from './lib/openai.mjs';
import { rawRequest, requestBytes } from './lib/raw.mjs';
import { DIRECT, GATE_ONLY, startRig } from './lib/rig.mjs';
import { UPSTREAM_KEY, memoryFactor } from './lib/tollgate.mjs';

globalThis.AI_SDK_LOG_WARNINGS = false;

let rig;
let direct;
before(async () => {
  rig = await startRig();
  direct = { baseUrl: rig.up.baseUrl, key: UPSTREAM_KEY };
});
beforeEach(() => rig.clear());
after(() => rig?.close());

const QUESTION = 'count to 9';

/** What a client made of a stream: text, and whether it raised. */
const clients = {
  'openai iteration': async (to) => {
    const out = { text: '', chunks: 0 };
    try {
      const s = await openaiFor(to).chat.completions.create(
        ask(QUESTION, { stream: true }));
      for await (const c of s) {
        out.chunks++;
        out.text += c.choices?.[0]?.delta?.content ?? '';
      }
    } catch {
      out.error = true;
    }
    return out;
  },
  'openai .stream()': async (to) => {
    const out = { text: '' };
    try {
      const s = openaiFor(to).chat.completions.stream(ask(QUESTION));
      s.on('content', (d) => (out.text += d));
      await s.finalChatCompletion();
    } catch {
      out.error = true;
    }
    return out;
  },
  'ai': async (to) => {
    const out = { text: '' };
    const model = createOpenAI({ baseURL: to.baseUrl, apiKey: to.key })
      .chat('demo');
    const r = streamText({
      model, prompt: QUESTION, maxRetries: 0, onError: () => {} });
    try {
      for await (const p of r.fullStream) {
        if (p.type === 'text-delta') out.text += p.text;
        if (p.type === 'error') out.error = true;
      }
    } catch {
      out.error = true;
    }
    return out;
  },
  'langchain': async (to) => {
    const out = { text: '' };
    try {
      const model = new ChatOpenAI({ model: 'demo', apiKey: to.key,
        maxRetries: 0,
        configuration: { baseURL: to.baseUrl, logLevel: 'off' } });
      for await (const c of await model.stream(QUESTION)) out.text += c.text;
    } catch {
      out.error = true;
    }
    return out;
  },
};

// compat table: variants of server-sent events.  loss: a client alone would
// take a part for the whole.  cap: above the size tollgate is willing to hold.
// better: tollgate may heal what some clients fall over.
const VARIANTS = [
  ['a correct stream', {}],
  ['": ping" comment', { fault: 'comment' }],
  ['": ping" with one newline', { fault: 'comment_bare' }],
  ['":" alone', { fault: 'colon' }],
  ['OPENROUTER comments', { fault: 'openrouter' }],
  ['event: ping without data', { fault: 'ping_no_data' }],
  ['event: ping with JSON', { fault: 'ping_json' }],
  ['empty data:', { fault: 'empty_data' }],
  ['data without a colon', { fault: 'no_colon' }],
  ['retry: block', { fault: 'retry_block' }],
  ['id: block', { fault: 'id_block' }],
  ['UTF-8 byte-order mark', { fault: 'bom' }],
  ['CRLF line ends', { fault: 'crlf' }],
  ['CR line ends', { fault: 'cr' }],
  ['no space after the colon', { fault: 'no_space' }],
  ['last chunk without a blank line', { fault: 'last_no_blank' }],
  ['no finish_reason', { fault: 'no_finish' }],
  ['no [DONE]', { fault: 'no_done' }],
  ['neither finish_reason nor [DONE]', { fault: 'no_finish_no_done',
    loss: true }],
  ['no role in any delta', { fault: 'no_role' }],
  ['usage on every chunk', { fault: 'usage_everywhere' }],
  ['usage chunk with choices:null', { fault: 'usage_choices_null' }],
  ['no usage', { fault: 'no_usage' }],
  ['usage of nonsense', { fault: 'wrong_usage' }],
  ['error object in the stream', { fault: 'error_event' }],
  ['event: error with an error object', { fault: 'error_event_named' }],
  ['flat event: error', { fault: 'error_event_flat' }],
  ['only an error object', { fault: 'error_only' }],
  ['malformed JSON in an event', { fault: 'malformed' }],
  ['bytes after [DONE]', { fault: 'after_done', better: true }],
  ['garbage after [DONE]', { fault: 'after_done', bytes: 'zz\0\xff',
    better: true }],
  ['a 3 MiB comment line', { fault: 'oversize', cap: true }],
  ['a 3 MiB data line', { fault: 'oversize_data', cap: true }],
  ['a 700 KiB data line', { fault: 'oversize_data', bytes: 700000 }],
  ['a reasoning_content delta', { fault: 'reasoning' }],
  ['every byte its own packet', { fault: 'split', n: 1 }],
  ['clean truncation', { fault: 'cut_events', how: 'clean', loss: true }],
  ['truncation without the last chunk', { fault: 'cut_events', how: 'fin' }],
  ['connection reset mid-stream', { fault: 'cut_events', how: 'reset' }],
  ['close-delimited stream, whole', { fault: 'close_delimited' }],
  ['close-delimited stream, truncated', { fault: 'close_truncated',
    loss: true }],
  ['reset within a chunk head', { fault: 'reset', body: 100 }],
  ['status 429 instead of a stream', { fault: 'rate_limit' }],
  ['status 500 with HTML', { fault: 'html_error', code: 500 }],
  ['early hints before the head', { fault: 'early_hints', n: 3 }],
];

for (const [clientName, run] of Object.entries(clients))
  describe(`hostile streams: ${clientName}`, () => {
    for (const [name, { loss, cap, better, ...script }] of VARIANTS)
      test(name, async () => {
        const wire = () =>
          Object.keys(script).length && rig.up.script({ ...script });
        wire();
        const alone = await run(direct);
        wire();
        const behind = await run(rig);
        rig.up.scripts.length = 0;
        const shown = JSON.stringify({ alone, behind }).slice(0, 1000);
        if (DIRECT) return void assert.deepEqual(behind, alone);
        if (loss) assert.ok(behind.error, `silent loss: ${shown}`);
        else if (better && alone.error && !behind.error)
          assert.equal(behind.text, '1 2 3 4 5 6 7 8 9');
        else if (alone.error) assert.ok(behind.error, shown);
        else if (cap && behind.error) return;
        else assert.deepEqual(behind, alone, shown);
        if (loss || (alone.error && !better))
          assert.ok('1 2 3 4 5 6 7 8 9'.startsWith(behind.text), shown);
      });
  });

describe('hostile streams, on the wire', GATE_ONLY, () => {
  const stream = (usage = true) => rawRequest(rig.address, requestBytes('POST',
    '/v1/chat/completions', [['Authorization', `Bearer ${rig.key}`]],
    JSON.stringify(ask(QUESTION, { stream: true,
      ...(usage ? { stream_options: { include_usage: true } } : {}) }))));

  const ERROR_EVENT = /data: \{"error":\{"message":"[^"]+"[^\n]*\}\}\n\n$/;

  const untouched = ['comment', 'comment_bare', 'colon', 'openrouter',
    'ping_no_data', 'ping_json', 'empty_data', 'retry_block', 'bom', 'crlf',
    'no_space', 'no_finish', 'malformed', 'usage_everywhere', 'reasoning',
    'no_role', 'wrong_usage'];
  for (const fault of untouched)
    test(`forwarded byte for byte: ${fault}`, async () => {
      rig.up.script({ fault });
      const r = await stream();
      assert.ok(r.complete);
      assert.equal(r.text, rig.up.last.payload.toString());
    });

  const broken = [
    ['reset', { fault: 'cut_events', how: 'reset' }],
    ['truncated', { fault: 'cut_events', how: 'fin' }],
    ['clean end without terminator', { fault: 'cut_events', how: 'clean' }],
    ['close-delimited, cut', { fault: 'close_truncated' }],
  ];
  for (const [name, script] of broken)
    test(`broken off (${name}): what came, an error event, no [DONE]`,
      async () => {
        rig.up.script({ ...script, after: 4 });
        const r = await stream();
        const sent = rig.up.last.payload.toString();
        assert.ok(r.text.startsWith(sent), r.text);
        assert.match(r.text.slice(sent.length), ERROR_EVENT);
        assert.doesNotMatch(r.text, /\[DONE\]/);
        const error = JSON.parse(
          r.text.slice(sent.length).replace(/^data: /, '')).error;
        assert.equal(error.type, 'upstream_error');
        assert.ok(error.code);
        const row = await rig.gate.accessRow(name,
          (x) => x.id === r.header('x-request-id'));
        assert.ok(row.output_tokens > 0 && row.input_tokens > 0);
        assert.equal(row.usage_source, 'estimated');
      });

  test('torn within a line: the error event stands on its own', async () => {
    const sizes = [];
    rig.up.script({ fault: 'reset', body: 20 });
    const r = await stream(); // before the first event is whole: no stream yet
    assert.equal(r.status, 502, r.text);
    assert.equal(r.json.error.code, 'upstream_bad_response');
    for (let body = 350; body < 900; body += 50) {
      rig.up.script({ fault: 'reset', body });
      const r = await stream();
      assert.match(r.text, /(^|\n)data: \{"error":/, `cut at ${body}`);
      assert.match(r.text, ERROR_EVENT);
      sizes.push(r.text.length);
    }
    assert.ok(sizes.at(-1) > sizes[0]);
  });

  test('nothing follows [DONE]', async () => {
    rig.up.script({ fault: 'after_done' });
    const r = await stream();
    assert.match(r.text, /data: \[DONE\]\n\n$/);
    assert.doesNotMatch(r.text, /late/);
  });

  test('headers beyond all measure: 502', async () => {
    rig.up.script({ fault: 'huge_headers' });
    const r = await stream();
    assert.equal(r.status, 502);
    assert.equal(r.json.error.type, 'upstream_error');
  });

  test('endless interim replies: an error, and memory stays', async () => {
    const slow = await startRig({ entry: { timeouts: {
      first_byte: '2s', idle: '2s', total: '3s' } } });
    try {
      const before = slow.gate.rssBytes();
      slow.up.script({ fault: 'endless_1xx' });
      const r = await slow.fetch('/v1/chat/completions',
        { json: ask('x') });
      assert.ok([502, 504].includes(r.status), String(r.status));
      assert.ok(
        slow.gate.rssBytes() - before < memoryFactor() * (32 << 20));
      await slow.up.last.whenAborted();
    } finally {
      await slow.close();
    }
  });

  for (const fault of ['two_lengths', 'length_and_chunked', 'obs_fold'])
    test(`ambiguous framing from the provider is not passed on: ${fault}`,
      async () => {
        rig.up.script({ fault });
        const r = await stream(false);
        assert.equal(r.all('content-length').length +
          r.all('transfer-encoding').length, 1);
        assert.ok(r.complete);
        assert.ok(!r.rawHead.toString('latin1').includes('\r\n two'));
        const again = await stream();
        assert.match(again.text, /\[DONE\]/, 'no bytes are left over');
      });

  test('a redirect is passed on, never followed', async () => {
    rig.up.script({ fault: 'redirect', to: `${rig.up.origin}/v1/agents` });
    const before = rig.up.hits;
    const r = await stream();
    assert.equal(r.status, 302);
    assert.equal(rig.up.hits, before + 1);
  });

  test('wrong usage is clamped in the account', async () => {
    rig.up.script({ fault: 'wrong_usage' });
    const r = await stream();
    const row = await rig.gate.accessRow('clamped',
      (x) => x.id === r.header('x-request-id'));
    assert.ok(row.input_tokens >= 0);
    assert.ok(row.output_tokens >= 0 && Number.isSafeInteger(row.output_tokens));
  });

  test('missing usage is estimated, explicit zero stays zero', async () => {
    rig.up.script({ fault: 'no_usage' });
    const a = await stream();
    const missing = await rig.gate.accessRow('estimated',
      (x) => x.id === a.header('x-request-id'));
    assert.equal(missing.usage_source, 'estimated');
    assert.ok(missing.output_tokens > 0);
    rig.up.script({ fault: 'zero_usage' });
    const b = await stream();
    const zero = await rig.gate.accessRow('zero',
      (x) => x.id === b.header('x-request-id'));
    assert.equal(zero.output_tokens, 0);
    assert.equal(zero.usage_source, 'upstream');
  });
});

describe('hostile Responses and Messages streams', GATE_ONLY, () => {
  test('Responses without response.completed: an error, both on the wire ' +
    'and in the client', async () => {
    rig.up.script({ fault: 'cut_events', after: 6, how: 'clean' });
    await assert.rejects(openaiFor(rig).responses.create({
      model: 'demo', input: QUESTION, stream: true }).then(collect));
  });

  test('a stream to which the provider answers with plain JSON', async () => {
    rig.up.script({ edit: (plan, rec) => {
      const o = JSON.stringify({ id: 'x', object: 'chat.completion',
        model: 'demo', choices: [], usage: { prompt_tokens: 1,
          completion_tokens: 1, total_tokens: 2 }, n: rec.number });
      return Object.assign(plan, { events: undefined, framing: 'length',
        body: Buffer.from(o), headers: [
          ['Content-Type', 'application/json']] });
    } });
    const r = await rig.fetch('/v1/chat/completions', {
      json: ask(QUESTION, { stream: true }) });
    assert.equal(r.status, 200);
    assert.equal(r.headers.get('content-type'), 'application/json');
    assert.equal((await r.json()).object, 'chat.completion');
  });
});
