// Usage as each dialect tells it, whole and streamed, ends up in the row; where
// none is told the row says that it is an estimate.

import assert from 'node:assert/strict';
import { gzipSync } from 'node:zlib';
import { after, before, beforeEach, describe, test } from 'node:test';

import { Plan } from './lib/provider/http.mjs';
import { GATE_ONLY, startRig, upstreamEntry } from './lib/rig.mjs';

let rig;
before(async () => {
  rig = await startRig({ config: (up) => ({ upstreams: [
    upstreamEntry(up, { models: ['m'] }),
    upstreamEntry(up, { name: 'claude', dialect: 'anthropic',
      models: ['claude'] }),
  ] }) });
});
beforeEach(() => rig.up.clear());
after(() => rig?.close());

const M = { model: 'm' };
const CHAT = ['/v1/chat/completions', { ...M, messages: [] }];
const CLAUDE = ['/v1/messages', { model: 'claude', max_tokens: 9,
  messages: [] }];
const openaiUsage = (i, o, cached = 0) => ({ prompt_tokens: i,
  completion_tokens: o, total_tokens: i + o,
  prompt_tokens_details: { cached_tokens: cached } });

const form = () => {
  const f = new FormData();
  f.append('model', 'm');
  f.append('file', new Blob(['abc']), 'a.wav');
  return f;
};

/** The row of a request whose reply is this. */
async function rowFor([path, body], plan) {
  rig.up.script({ plan: () => plan });
  const r = await rig.fetch(path, body instanceof FormData
    ? { method: 'POST', body } : { json: body });
  assert.equal(r.status, 200, await r.clone().text());
  assert.equal(Buffer.from(await r.arrayBuffer()).length,
    rig.up.last.payload.length);
  return rig.gate.accessRow(path,
    (x) => x.id === r.headers.get('x-request-id'));
}

const numbers = (row) => [row.input_tokens, row.cached_tokens,
  row.output_tokens, row.usage_source];

// request, reply, [input (all of it), cached, output, source]
const WHOLE = {
  'chat': [CHAT, { choices: [], usage: openaiUsage(10, 4, 6) },
    [10, 6, 4, 'upstream']],
  'chat, cache hit as DeepSeek tells it': [CHAT, { choices: [], usage: {
    prompt_tokens: 10, completion_tokens: 4, total_tokens: 14,
    prompt_cache_hit_tokens: 8, prompt_cache_miss_tokens: 2 } },
  [10, 8, 4, 'upstream']],
  'responses': [['/v1/responses', { ...M, input: 'x' }],
    { object: 'response', status: 'completed', usage: { input_tokens: 9,
      input_tokens_details: { cached_tokens: 3 }, output_tokens: 5,
      output_tokens_details: { reasoning_tokens: 2 }, total_tokens: 14 } },
    [9, 3, 5, 'upstream']],
  'messages, cache beside the input': [CLAUDE, { type: 'message',
    stop_reason: 'end_turn', usage: { input_tokens: 5, output_tokens: 6,
      cache_read_input_tokens: 100, cache_creation_input_tokens: 20 } },
  [125, 100, 6, 'upstream']],
  'count_tokens counts, and costs nothing': [
    ['/v1/messages/count_tokens', CLAUDE[1]], { input_tokens: 55 },
    [0, 0, 0, 'none']],
  'embeddings': [['/v1/embeddings', { ...M, input: 'x' }],
    { data: [], usage: { prompt_tokens: 8, total_tokens: 8 } },
    [8, 0, 0, 'upstream']],
  'rerank, by total': [['/v1/rerank', { ...M, query: 'q', documents: [] }],
    { results: [], usage: { total_tokens: 17 } }, [17, 0, 0, 'upstream']],
  'rerank, by meta': [['/v1/rerank', { ...M, query: 'q', documents: [] }],
    { results: [], meta: { tokens: { input_tokens: 21, output_tokens: 0 } } },
    [21, 0, 0, 'upstream']],
  'transcription': [['/v1/audio/transcriptions', form()],
    { text: 'x', usage: { type: 'tokens', input_tokens: 14, output_tokens: 2,
      total_tokens: 16, input_token_details: { audio_tokens: 14 } } },
    [14, 0, 2, 'upstream']],
  'images': [['/v1/images/generations', { ...M, prompt: 'x' }],
    { data: [], usage: { input_tokens: 50, output_tokens: 272,
      total_tokens: 322, input_tokens_details: { text_tokens: 50 } } },
    [50, 0, 272, 'upstream']],
  'an unknown route that tells its usage': [['/v1/brand/new', { ...M }],
    { usage: openaiUsage(3, 2) }, [3, 0, 2, 'upstream']],
  'explicit zeros': [CHAT, { choices: [], usage: openaiUsage(0, 0) },
    [0, 0, 0, 'upstream']],
};

const sse = (...events) => Plan.bytes(events.map(([name, data]) =>
  `${name ? `event: ${name}\n` : ''}data: ${typeof data === 'string' ? data
    : JSON.stringify(data)}\n\n`).join(''), 'text/event-stream');
const typed = (...events) => sse(...events.map((d) => [d.type, d]));

const STREAMS = {
  'messages: start and delta merge': [[CLAUDE[0], { ...CLAUDE[1],
    stream: true }], () => typed(
    { type: 'message_start', message: { type: 'message', usage: {
      input_tokens: 7, cache_read_input_tokens: 90,
      cache_creation_input_tokens: 10, output_tokens: 1 } } },
    { type: 'content_block_delta', index: 0,
      delta: { type: 'text_delta', text: 'hi' } },
    { type: 'message_delta', delta: { stop_reason: 'max_tokens' },
      usage: { output_tokens: 33 } },
    { type: 'message_stop' }), [107, 90, 33, 'upstream'], 'max_tokens'],
  'responses: response.completed': [['/v1/responses', { ...M, input: 'x',
    stream: true }], () => typed(
    { type: 'response.created', response: { status: 'in_progress',
      usage: null } },
    { type: 'response.output_text.delta', delta: 'x' },
    { type: 'response.completed', response: { status: 'completed', usage: {
      input_tokens: 40, output_tokens: 2, total_tokens: 42 } } }),
  [40, 0, 2, 'upstream'], 'completed'],
  'transcript.text.done': [['/v1/audio/transcriptions', form()],
    () => typed({ type: 'transcript.text.delta', delta: 'x' },
      { type: 'transcript.text.done', text: 'x', usage: { type: 'tokens',
        input_tokens: 11, output_tokens: 3, total_tokens: 14 } }),
    [11, 0, 3, 'upstream'], ''],
  'image_generation.completed': [['/v1/images/generations', { ...M,
    prompt: 'x', stream: true }], () => typed(
    { type: 'image_generation.partial_image', b64_json: 'AAAA' },
    { type: 'image_generation.completed', b64_json: 'AAAA', usage: {
      input_tokens: 5, output_tokens: 99, total_tokens: 104 } }),
  [5, 0, 99, 'upstream'], ''],
  'chat: usage with the last choice': [[CHAT[0], { ...CHAT[1], stream: true,
    stream_options: { include_usage: true } }], () => sse(
    ['', { choices: [{ index: 0, delta: { content: 'x' },
      finish_reason: 'length' }], usage: openaiUsage(12, 1, 4) }],
    ['', '[DONE]']), [12, 4, 1, 'upstream'], 'length'],
};

describe('usage in every dialect', GATE_ONLY, () => {
  for (const [name, [request, reply, want]] of Object.entries(WHOLE))
    test(name, async () => {
      assert.deepEqual(numbers(await rowFor(request, Plan.json(reply))), want);
    });

  for (const [name, [request, plan, want, finish]] of Object.entries(STREAMS))
    test(`streamed ${name}`, async () => {
      const row = await rowFor(request, plan());
      assert.deepEqual(numbers(row), want);
      assert.equal(row.finish, finish);
    });
});

describe('usage that nobody told', GATE_ONLY, () => {
  test('a stream that is but an error has cost nothing', async () => {
    const row = await rowFor([CHAT[0], { ...CHAT[1], stream: true }],
      sse(['', { error: { message: 'overloaded', type: 'server_error' } }]));
    assert.deepEqual(numbers(row), [0, 0, 0, 'none']);
    assert.equal(row.reason, 'up_error_event');
  });

  test('an error after content: what came is estimated', async () => {
    const row = await rowFor([CHAT[0], { ...CHAT[1], stream: true }], sse(
      ['', { choices: [{ index: 0, delta: { content: 'so far' } }] }],
      ['', { error: { message: 'overloaded', type: 'server_error' } }]));
    assert.equal(row.usage_source, 'estimated');
    assert.ok(row.output_tokens > 0);
  });

  // As Python's json writes: a space after each colon and comma.
  const spaced = (value) => JSON.stringify(value, null, 1)
    .replace(/\n */g, ' ');
  const half = 'x'.repeat(900);
  const delta = (d) => ['', { choices: [{ index: 0, delta: d,
    finish_reason: null }] }];
  const streamed = ([path, body]) => [path, { ...body, stream: true }];
  const SPACED = {
    'chat': [CHAT, [delta({ content: half }), delta({ content: half }),
      ['', '[DONE]']]],
    'chat, reasoning and tools': [CHAT, [delta({ reasoning_content: half }),
      delta({ tool_calls: [{ index: 0, function: { arguments: half } }] }),
      ['', '[DONE]']]],
    'chat, then an error': [CHAT, [delta({ content: half }),
      delta({ content: half }), ['', { error: { message: 'no' } }]]],
    'messages': [CLAUDE, [...[1, 2].map(() => ['content_block_delta',
      { type: 'content_block_delta', index: 0,
        delta: { type: 'text_delta', text: half } }]),
    ['message_stop', { type: 'message_stop' }]]],
    'responses': [['/v1/responses', { ...M, input: 'x' }],
      [...[1, 2].map(() => ['response.output_text.delta',
        { type: 'response.output_text.delta', delta: half }]),
      ['response.output_text.done',
        { type: 'response.output_text.done', text: half + half }],
      ['response.completed', { type: 'response.completed',
        response: { status: 'completed' } }]]],
  };
  for (const [name, [request, events]] of Object.entries(SPACED))
    for (const write of [JSON.stringify, spaced])
      test(`${write === spaced ? 'spaced' : 'compact'} JSON: ${name}`,
        async () => {
          const row = await rowFor(streamed(request), sse(...events.map(
            ([n, d]) => [n, typeof d === 'string' ? d : write(d)])));
          assert.equal(row.usage_source, 'estimated');
          assert.equal(row.output_tokens, 450);
        });

  test('chat: input and output are estimated from their bytes', async () => {
    const row = await rowFor(CHAT, Plan.json({ choices: [{ index: 0,
      message: { role: 'assistant', content: 'x'.repeat(400) } }] }));
    assert.equal(row.usage_source, 'estimated');
    assert.ok(row.input_tokens > 0);
    assert.ok(row.output_tokens >= 100, String(row.output_tokens));
  });

  test('vectors and pictures are no output tokens', async () => {
    const b64 = 'A'.repeat(400000);
    for (const [request, reply] of [
      [['/v1/embeddings', { ...M, input: 'x' }],
        { data: [{ embedding: b64 }] }],
      [['/v1/images/generations', { ...M, prompt: 'x' }],
        { data: [{ b64_json: b64 }] }]]) {
      const row = await rowFor(request, Plan.json(reply));
      assert.equal(row.usage_source, 'estimated');
      assert.equal(row.output_tokens, 0);
    }
  });

  test('moderations and files leave no tokens', async () => {
    for (const request of [['/v1/moderations', { ...M, input: 'x' }],
      ['/v1/batches', { endpoint: 'x' }]]) {
      const row = await rowFor(request, Plan.json({ results: [] }));
      assert.deepEqual(numbers(row), [0, 0, 0, 'none']);
    }
  });

  test('"identity" is no coding: read, streamed and not', async () => {
    const coded = (plan) => {
      plan.headers.push(['Content-Encoding', 'identity']);
      return plan;
    };
    const want = [10, 0, 4, 'upstream'];
    assert.deepEqual(numbers(await rowFor(CHAT, coded(Plan.json(
      { choices: [], usage: openaiUsage(10, 4) })))), want);
    assert.deepEqual(numbers(await rowFor([CHAT[0], { ...CHAT[1],
      stream: true, stream_options: { include_usage: true } }], coded(sse(
      ['', { choices: [], usage: openaiUsage(10, 4) }], ['', '[DONE]'])))),
    want);
  });

  test('a compressed reply nobody asked for', async () => {
    const body = gzipSync(JSON.stringify({ choices: [],
      usage: openaiUsage(1, 1) }));
    rig.up.script({ plan: () => Plan.bytes(body, 'application/json', 200,
      [['Content-Encoding', 'gzip']]) });
    const r = await rig.fetch(CHAT[0], { json: CHAT[1] });
    assert.deepEqual((await r.json()).usage, openaiUsage(1, 1));
    const row = await rig.gate.accessRow('gzip',
      (x) => x.id === r.headers.get('x-request-id'));
    assert.equal(row.usage_source, 'estimated');
  });
});
