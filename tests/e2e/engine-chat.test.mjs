// The built-in engine through the official client: chat, streams, logprobs,
// seeds, formats, tools, errors.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { zodFunction, zodResponseFormat } from 'openai/helpers/zod';
import { z } from 'zod';

import { CONTEXT, startEngine } from './lib/engine.mjs';
import { OpenAI, ask, collect, openaiFor, textOf } from './lib/openai.mjs';

let rig;
let client;
before(async () => {
  rig = await startEngine();
  client = openaiFor(rig);
});
after(() => rig?.close());

const chat = (more = {}) => client.chat.completions.create({
  ...ask('the cat ran'), max_tokens: 12, seed: 3, ...more });

const refused = (promise, param, code = null) => assert.rejects(promise, (e) => {
  assert.equal(e.status, 400, e.message);
  assert.equal(e.param, param);
  assert.equal(e.code, code);
  assert.equal(e.type, 'invalid_request_error');
  return true;
});

describe('engine chat', () => {
  test('a reply has every field of the API', async () => {
    const { data: r, response } = await client.chat.completions.create({
      ...ask('the cat ran'), max_tokens: 12, seed: 3 }).withResponse();
    assert.equal(r.object, 'chat.completion');
    assert.match(r.id, /^chatcmpl-/);
    assert.ok(Math.abs(r.created - Date.now() / 1000) < 60);
    const c = r.choices[0];
    assert.deepEqual(Object.keys(c).sort(),
      ['finish_reason', 'index', 'logprobs', 'message']);
    assert.deepEqual(Object.keys(c.message), ['role', 'content', 'refusal']);
    assert.equal(c.message.role, 'assistant');
    assert.equal(c.message.refusal, null);
    assert.equal(c.logprobs, null);
    assert.equal(r.usage.completion_tokens_details.reasoning_tokens, 0);
    assert.equal(r.usage.total_tokens,
      r.usage.prompt_tokens + r.usage.completion_tokens);
    assert.match(response.headers.get('x-tollgate-timings'),
      /^queue;dur=[\d.]+, prefill;dur=[\d.]+;tokens=\d+;rate=[\d.]+, decode;dur=/);
    assert.equal(response.headers.get('x-tollgate-target'), 'demo');
    const row = await rig.gate.accessRow('chat', (x) => x.id === r._request_id);
    assert.equal(row.usage_source, 'engine');
    assert.equal(row.input_tokens + row.cached_tokens >= r.usage.prompt_tokens, true);
    assert.equal(row.output_tokens, r.usage.completion_tokens);
    assert.equal(row.target, 'demo');
  });

  test('a stream begins with the role and says the same', async () => {
    const whole = await chat();
    const chunks = await collect(await chat({
      stream: true, stream_options: { include_usage: true } }));
    assert.deepEqual(chunks[0].choices[0].delta,
      { role: 'assistant', content: '', refusal: null });
    assert.equal(textOf(chunks), whole.choices[0].message.content);
    const last = chunks.at(-2);
    assert.deepEqual(last.choices[0].delta, {});
    assert.equal(last.choices[0].finish_reason, whole.choices[0].finish_reason);
    assert.deepEqual(chunks.at(-1).choices, []);
    assert.equal(chunks.at(-1).usage.completion_tokens,
      whole.usage.completion_tokens);
    assert.ok(chunks.slice(0, -1).every((c) => c.usage === null));
  });

  test('the client\'s own stream helper is content', async () => {
    const s = client.chat.completions.stream({
      ...ask('the dog'), max_tokens: 8, seed: 3 });
    const final = await s.finalChatCompletion();
    assert.equal(final.choices[0].message.role, 'assistant');
    assert.ok(final.choices[0].finish_reason);
  });

  test('n choices differ, and stream side by side', async () => {
    const r = await chat({ n: 3, temperature: 2 });
    assert.equal(new Set(r.choices.map((c) => c.message.content)).size, 3);
    assert.equal(r.usage.completion_tokens <= 36, true);
    const chunks = await collect(await chat({ n: 3, temperature: 2, stream: true }));
    for (const i of [0, 1, 2])
      assert.equal(textOf(chunks, i), r.choices[i].message.content);
  });

  test('logprobs tell the chosen token and its rivals', async () => {
    const more = { logprobs: true, top_logprobs: 4, max_tokens: 6, temperature: 0 };
    const r = await chat(more);
    const { content, refusal } = r.choices[0].logprobs;
    assert.equal(refusal, null);
    assert.equal(content.length, r.usage.completion_tokens -
      (r.choices[0].finish_reason === 'stop' ? 1 : 0));
    for (const t of content) {
      assert.deepEqual(Buffer.from(t.bytes).toString(), t.token);
      assert.equal(t.top_logprobs.length, 4);
      assert.equal(t.top_logprobs[0].token, t.token, 'greedy takes the likeliest');
      assert.ok(t.logprob <= 0 && Math.abs(t.logprob - t.top_logprobs[0].logprob) < 1e-6);
    }
    assert.equal(content.map((t) => t.token).join('').trimStart(),
      r.choices[0].message.content.trimStart());
    const chunks = await collect(await chat({ ...more, stream: true }));
    const streamed = chunks.flatMap((c) => c.choices[0]?.logprobs?.content ?? []);
    assert.deepEqual(streamed, content);
  });

  test('the same seed is the same whatever else runs', async () => {
    const alone = await chat({ temperature: 1.5, max_tokens: 20 });
    const crowd = await Promise.all(Array.from({ length: 8 }, (_, i) =>
      chat({ temperature: 1.5, max_tokens: 20, seed: i === 5 ? 3 : i + 100 })));
    assert.equal(crowd[5].choices[0].message.content,
      alone.choices[0].message.content);
  });

  test('a prefix seen before is not computed again', async () => {
    const long = 'the dog ran in the sun and '.repeat(8);
    const ask2 = (salt) => client.chat.completions.create({
      ...ask(long), max_tokens: 4, seed: 1, temperature: 0, cache_salt: salt });
    const first = await ask2('a');
    const again = await ask2('a');
    const other = await ask2('b');
    assert.equal(first.usage.prompt_tokens_details.cached_tokens, 0);
    assert.ok(again.usage.prompt_tokens_details.cached_tokens >= 16);
    assert.equal(other.usage.prompt_tokens_details.cached_tokens, 0);
    assert.equal(again.choices[0].message.content,
      first.choices[0].message.content);
    const key2 = await rig.gate.createKey('other');
    const stranger = await openaiFor(rig, { apiKey: key2.key })
      .chat.completions.create({ ...ask(long), max_tokens: 4, cache_salt: 'a' });
    assert.equal(stranger.usage.prompt_tokens_details.cached_tokens, 0,
      'another key shares nothing');
  });

  test('stop strings are not shown, in streams neither', async () => {
    const whole = await chat({ max_tokens: 40 });
    const text = whole.choices[0].message.content;
    const stop = text.slice(9, 12);
    for (const stream of [false, true]) {
      const r = await chat({ max_tokens: 40, stop, stream });
      const got = stream ? textOf(await collect(r)) : r.choices[0].message.content;
      assert.equal(got, text.split(stop)[0]);
    }
  });

  test('an answer does not begin with the space of its first word', async () => {
    const { tokens } = await (await rig.fetch('/tokenize', {
      json: { model: 'demo', content: 'a sun' } })).json();
    const more = { logit_bias: { [tokens[1]]: 100 }, max_tokens: 3, logprobs: true };
    const r = await chat(more);
    assert.equal(r.choices[0].message.content, 'sun sun sun');
    assert.deepEqual(r.choices[0].logprobs.content.map((t) => t.token),
      [' sun', ' sun', ' sun']);
    const chunks = await collect(await chat({ ...more, stream: true }));
    assert.equal(textOf(chunks), 'sun sun sun');
    const stopped = await chat({ ...more, stop: 'sun s' });
    assert.equal(stopped.choices[0].message.content, '');
    const on = await chat({ ...more, add_generation_prompt: false });
    assert.equal(on.choices[0].message.content, ' sun sun sun');
    const text = await client.completions.create({ model: 'demo', prompt: 'the',
      logit_bias: { [tokens[1]]: 100 }, max_tokens: 3 });
    assert.equal(text.choices[0].text, ' sun sun sun');
  });

  test('messages of every role pass the template', async () => {
    const r = await client.chat.completions.create({
      model: 'demo', max_tokens: 4, tools: [CLOCK], tool_choice: 'none',
      messages: [
        { role: 'developer', content: 'be kind' },
        { role: 'user', content: [{ type: 'text', text: 'a' }, { type: 'text', text: 'b' }],
          name: 'x' },
        { role: 'assistant', content: null, tool_calls: [{ id: 'call_1', type: 'function',
          function: { name: 'get_time', arguments: '{"zone": "UTC"}' } }] },
        { role: 'tool', tool_call_id: 'call_1', content: '12:00' },
        { role: 'assistant', content: 'noon' },
        { role: 'user', content: 'and now?' }] });
    assert.ok(r.usage.prompt_tokens > 40);
  });

  test('a call without arguments is one with none of them', async () => {
    const tokens = async (args) => (await (await rig.fetch('/tokenize', { json: {
      model: 'demo', messages: [{ role: 'user', content: 'when?' },
        { role: 'assistant', tool_calls: [{ id: 'c', type: 'function',
          function: { name: 'now', arguments: args } }] }] } })).json()).tokens;
    const none = await tokens('{}');
    assert.ok(none.length > 20);
    for (const args of ['', ' \n', '{ }', {}])
      assert.deepEqual(await tokens(args), none);
    assert.notDeepEqual(await tokens('{"a":1}'), none);
  });

  test('what is wrong is refused by name', async () => {
    const say = (messages, more) => client.chat.completions.create({
      model: 'demo', messages, ...more });
    await refused(say([]), 'messages');
    await refused(say('hi'), 'messages');
    await refused(say([{ role: 'robot', content: 'x' }]), 'messages[0].role');
    await refused(say([{ role: 'user' }]), 'messages[0].content');
    await refused(say([{ role: 'user', content: 7 }]), 'messages[0].content');
    await refused(say([{ role: 'user', content: 'a' }, { role: 'user', content: [
      { type: 'image_url', image_url: { url: 'data:,' } }] }]),
    'messages[1].content[0].type');
    await refused(say([{ role: 'tool', content: 'x' }]), 'messages[0].tool_call_id');
    await refused(chat({ temperature: -1 }), 'temperature');
    await refused(chat({ top_logprobs: 2 }), 'top_logprobs');
    await refused(chat({ response_format: { type: 'yaml' } }), 'response_format.type');
    await refused(chat({ audio: { voice: 'x', format: 'wav' } }), 'audio');
    await refused(chat({ max_tokens: 5000 }), 'messages', 'context_length_exceeded');
    await refused(say([{ role: 'user', content: 'cat '.repeat(CONTEXT) }]), 'messages',
      'context_length_exceeded');
    await assert.rejects(client.chat.completions.create({ ...ask('x'), model: 'nope' }),
      (e) => e.status === 404 && e.code === 'model_not_found');
  });

  test('max_tokens unsaid is what the context leaves', async () => {
    const r = await client.chat.completions.create({
      ...ask('the cat'), seed: 1, logit_bias: { 260: -100, 2: -100 } });
    assert.equal(r.choices[0].finish_reason, 'length');
    assert.equal(r.usage.total_tokens, CONTEXT);
  });
});

const CLOCK = {
  type: 'function',
  function: { name: 'get_time', description: 'the time',
    parameters: { type: 'object', properties: {
      zone: { type: 'string', enum: ['UTC', 'CET'] } },
    required: ['zone'], additionalProperties: false } },
};
const COUNT = {
  type: 'function',
  function: { name: 'count', parameters: { type: 'object', properties: {
    n: { type: 'integer', enum: [1, 2, 3] } }, required: ['n'],
  additionalProperties: false } },
};

describe('engine formats', () => {
  test('a json_schema holds whatever the model says', async () => {
    const shape = z.object({
      city: z.enum(['Oslo', 'Rome']), sunny: z.boolean(),
      level: z.enum(['low', 'high']) });
    for (const seed of [1, 2, 3]) {
      const r = await client.chat.completions.parse({
        ...ask('the sun'), seed, temperature: 1.5, max_tokens: 120,
        response_format: zodResponseFormat(shape, 'weather') });
      assert.ok(shape.safeParse(r.choices[0].message.parsed).success);
      assert.equal(r.choices[0].finish_reason, 'stop');
    }
  });

  test('a stream of a json_schema parses, too', async () => {
    const shape = z.object({ ok: z.boolean() });
    const s = client.chat.completions.stream({
      ...ask('x'), seed: 4, max_tokens: 60,
      response_format: zodResponseFormat(shape, 'flag') });
    const r = await s.finalChatCompletion();
    assert.equal(typeof r.choices[0].message.parsed.ok, 'boolean');
  });

  test('a keyword that is not supported is refused with its place', async () => {
    await assert.rejects(chat({ response_format: { type: 'json_schema', json_schema: {
      name: 'x', schema: { type: 'object', properties: {
        a: { not: { type: 'string' } } } } } } }), (e) => {
      assert.equal(e.status, 400);
      assert.match(e.param, /^response_format\.json_schema\.schema\./);
      return true;
    });
  });
});

describe('engine tools', () => {
  const call = (more) => chat({ max_tokens: 120, tools: [CLOCK, COUNT], ...more });

  test('a named function is called with arguments of its schema', async () => {
    const r = await call({ parallel_tool_calls: false,
      tool_choice: { type: 'function', function: { name: 'count' } } });
    const { message, finish_reason } = r.choices[0];
    assert.equal(finish_reason, 'tool_calls');
    assert.equal(message.content, null);
    assert.equal(message.tool_calls.length >= 1, true);
    for (const t of message.tool_calls) {
      assert.match(t.id, /^call_\w{24}$/);
      assert.equal(t.type, 'function');
      assert.equal(t.function.name, 'count');
      assert.ok([1, 2, 3].includes(JSON.parse(t.function.arguments).n));
    }
  });

  test('required calls one of them; a stream gives deltas', async () => {
    const more = { tool_choice: 'required', parallel_tool_calls: false };
    const whole = await call(more);
    const [one] = whole.choices[0].message.tool_calls;
    const chunks = await collect(await call({ ...more, stream: true }));
    const deltas = chunks.flatMap((c) => c.choices[0]?.delta.tool_calls ?? []);
    assert.deepEqual(Object.keys(deltas[0]), ['index', 'id', 'type', 'function']);
    assert.equal(deltas[0].function.arguments, '');
    assert.equal(deltas[0].function.name, one.function.name);
    assert.ok(deltas.slice(1).every((d) => d.index === 0 && d.id === undefined));
    assert.equal(deltas.map((d) => d.function.arguments).join(''),
      one.function.arguments);
    assert.equal(chunks.findLast((c) => c.choices.length).choices[0].finish_reason,
      'tool_calls');
    assert.equal(textOf(chunks).trim(), '');
  });

  test('the beginning of a marker is never content of a call', async () => {
    for (let max_tokens = 1; max_tokens < 60; max_tokens += 7) {
      const r = await call({ tool_choice: 'required', max_tokens });
      assert.equal(r.choices[0].message.content ?? '', '', `max_tokens ${max_tokens}`);
    }
  });

  test('the client\'s helpers run a tool', async () => {
    const tool = zodFunction({ name: 'count', parameters: z.object({
      n: z.union([z.literal(1), z.literal(2)]) }) });
    const r = await client.chat.completions.parse({
      ...ask('count'), seed: 9, max_tokens: 120, tools: [tool],
      tool_choice: 'required', parallel_tool_calls: false });
    const [t] = r.choices[0].message.tool_calls;
    assert.ok([1, 2].includes(t.function.parsed_arguments.n));
  });

  test('none is text alone', async () => {
    const r = await call({ tool_choice: 'none', max_tokens: 10 });
    assert.equal(r.choices[0].message.tool_calls, undefined);
  });

  test('tools are refused by name', async () => {
    const odd = { type: 'function', function: { name: 'odd', strict: true,
      parameters: { type: 'object', properties: {
        a: { not: { type: 'string' } } } } } };
    await refused(call({ tools: [CLOCK, odd], tool_choice: 'required' }),
      'tools[1].function.parameters.properties.a.not');
    await refused(call({ tools: [CLOCK, odd], tool_choice: { type: 'allowed_tools',
      allowed_tools: { mode: 'required', tools: [
        { type: 'function', function: { name: 'odd' } }] } } }),
    'tools[1].function.parameters.properties.a.not');
    await refused(call({ tools: [{ type: 'custom', custom: { name: 'x' } }] }),
      'tools[0].type');
    await refused(call({ tool_choice: { type: 'function', function: { name: 'x' } } }),
      'tool_choice');
  });
});

describe('engine models without a template', () => {
  let plain;
  before(async () => {
    const { tinyModel } = await import('./lib/engine.mjs');
    plain = await startEngine({ file: tinyModel({ template: '' }) });
  });
  after(() => plain?.close());

  test('are spoken to in plain lines, tools too', async () => {
    const c = openaiFor(plain);
    const r = await c.chat.completions.create({ ...ask('the cat'), max_tokens: 5 });
    assert.ok(r.choices[0].message.content.length > 0);
    const t = await c.chat.completions.create({
      ...ask('the cat'), max_tokens: 150, seed: 2, tools: [COUNT],
      tool_choice: 'required', parallel_tool_calls: false });
    assert.equal(t.choices[0].message.tool_calls[0].function.name, 'count');
  });
});

describe('engine errors', () => {
  test('have the shape that every client knows', async () => {
    const e = await chat({ n: 0 }).catch((x) => x);
    assert.ok(e instanceof OpenAI.BadRequestError);
    assert.ok(e.requestID);
    const r = await rig.fetch('/v1/chat/completions', { body: '{"model":"demo",',
      method: 'POST', headers: { 'content-type': 'application/json' } });
    assert.equal(r.status, 400);
    assert.equal((await r.json()).error.type, 'invalid_request_error');
  });

  test('a route that the engine does not serve says so', async () => {
    for (const [path, json] of [
      ['/v1/responses', { input: 'x' }], ['/v1/moderations', { input: 'x' }],
      ['/v1/rerank', { query: 'x', documents: ['y'] }]]) {
      const r = await rig.fetch(path, { json: { model: 'demo', ...json } });
      const { error } = await r.json();
      assert.equal(r.status, 400);
      assert.equal(error.type, 'invalid_request_error');
      assert.equal(error.param, 'model');
      assert.ok(error.message.includes(`does not serve ${path}.`), error.message);
      assert.match(error.message, /\/v1\/chat\/completions/);
    }
    const r = await rig.fetch('/v1/messages', { json: { model: 'demo', max_tokens: 5,
      messages: [{ role: 'user', content: 'x' }] } });
    assert.equal(r.status, 400);
    const said = await r.json();
    assert.equal(said.type, 'error');
    assert.equal(said.error.type, 'invalid_request_error');
    assert.match(said.error.message, /does not serve \/v1\/messages\./);
  });
});
