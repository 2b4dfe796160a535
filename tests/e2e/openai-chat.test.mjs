// The official openai client: chat completions in every form.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { zodResponseFormat } from 'openai/helpers/zod';
import { z } from 'zod';

import { OpenAI, ask, collect, openaiFor, textOf } from './lib/openai.mjs';
import { applyFault } from './lib/provider/faults.mjs';
import { PIXEL_PNG, sha256 } from './lib/provider/text.mjs';
import { DIRECT, GATE_ONLY, startRig } from './lib/rig.mjs';

const WEATHER = {
  type: 'function',
  function: {
    name: 'get_weather',
    description: 'Weather of a city',
    strict: true,
    parameters: {
      type: 'object',
      properties: {
        city: { type: 'string', enum: ['Oslo'] },
        days: { type: 'integer', minimum: 3 },
      },
      required: ['city', 'days'],
      additionalProperties: false,
    },
  },
};
const CLOCK = {
  type: 'function',
  function: {
    name: 'get_time', parameters: { type: 'object', properties: {} },
  },
};

let rig;
let client;
before(async () => {
  rig = await startRig();
  client = openaiFor(rig);
});
after(() => rig?.close());

describe('openai chat, plain', () => {
  test('a plain completion arrives whole, with usage', async () => {
    const r = await client.chat.completions.create(ask('hello there'));
    assert.equal(r.object, 'chat.completion');
    assert.equal(r.model, 'demo');
    assert.equal(r.choices.length, 1);
    assert.equal(r.choices[0].message.content, 'You said: hello there');
    assert.equal(r.choices[0].finish_reason, 'stop');
    assert.equal(r.usage.prompt_tokens, 3);
    assert.equal(r.usage.completion_tokens, 4);
    assert.ok(r._request_id, 'the client saw a request id');
  });

  test('the request arrives as the client wrote it', async () => {
    const seed = 9007199254740991;
    await client.chat.completions.create(
      ask('x', { seed, temperature: 0.1, logit_bias: { 50256: -100 } }));
    const { json } = rig.up.last;
    assert.equal(json.seed, seed);
    assert.equal(json.temperature, 0.1);
    assert.deepEqual(json.logit_bias, { 50256: -100 });
  });

  test('unknown request fields and reply fields cross', async () => {
    rig.up.script({
      edit: (plan) => {
        const o = JSON.parse(plan.body);
        plan.body = Buffer.from(JSON.stringify({ ...o, novel: { a: [1] } }));
      },
    });
    const r = await client.chat.completions.create(
      ask('x', { top_k: 40, chat_template_kwargs: { think: false } }));
    assert.deepEqual(r.novel, { a: [1] });
    assert.equal(rig.up.last.json.top_k, 40);
    assert.deepEqual(rig.up.last.json.chat_template_kwargs, { think: false });
  });

  test('several choices (n)', async () => {
    const r = await client.chat.completions.create(ask('hi', { n: 3 }));
    assert.deepEqual(r.choices.map((c) => c.index), [0, 1, 2]);
    assert.equal(r.choices[2].message.content, 'You said: hi (3)');
    assert.equal(r.usage.completion_tokens, 3 + 4 + 4);
  });

  test('logprobs', async () => {
    const r = await client.chat.completions.create(
      ask('hi', { logprobs: true, top_logprobs: 2 }));
    const { content } = r.choices[0].logprobs;
    assert.deepEqual(content.map((t) => t.token), ['You', ' said:', ' hi']);
    assert.equal(content[0].top_logprobs.length, 2);
  });

  test('max tokens ends with length; stop strings end early', async () => {
    const a = await client.chat.completions.create(
      ask('count to 50', { max_completion_tokens: 4 }));
    assert.equal(a.choices[0].message.content, '1 2 3 4');
    assert.equal(a.choices[0].finish_reason, 'length');
    const b = await client.chat.completions.create(
      ask('count to 50', { stop: [' 7', 'zzz'] }));
    assert.equal(b.choices[0].message.content, '1 2 3 4 5 6');
  });

  test('vision parts: data URL bytes arrive unchanged', async () => {
    const url = `data:image/png;base64,${PIXEL_PNG.toString('base64')}`;
    const r = await client.chat.completions.create({
      model: 'demo',
      messages: [{
        role: 'user',
        content: [
          { type: 'text', text: 'what is this' },
          { type: 'image_url', image_url: { url, detail: 'low' } },
          { type: 'image_url', image_url: { url: 'https://e.x/a.png' } },
        ],
      }],
    });
    assert.equal(r.choices[0].message.content,
      `I see image_url image/png ${PIXEL_PNG.length} bytes ` +
      `${sha256(PIXEL_PNG)} and image_url https://e.x/a.png.`);
  });

  test('audio and file parts arrive unchanged', async () => {
    const data = Buffer.from('RIFF not really').toString('base64');
    const r = await client.chat.completions.create({
      model: 'demo',
      messages: [{ role: 'user', content: [
        { type: 'input_audio', input_audio: { data, format: 'wav' } },
        { type: 'file', file: {
          filename: 'a.pdf', file_data: `data:application/pdf;base64,${data}` } },
      ] }],
    });
    assert.match(r.choices[0].message.content,
      /^I see audio 15 bytes .* and file application\/pdf 15 bytes /);
  });

  test('big JSON: an 8 MiB image in one request', async () => {
    const image = Buffer.alloc(6 * 1024 * 1024, 0xa5);
    const url = `data:image/png;base64,${image.toString('base64')}`;
    const r = await client.chat.completions.create({
      model: 'demo',
      messages: [{ role: 'user', content: [
        { type: 'image_url', image_url: { url } }] }],
    });
    assert.match(r.choices[0].message.content, new RegExp(sha256(image)));
  });

  test('text of every script and odd code points survives', async () => {
    const odd = 'say caf\u00e9 \u{1f600} \u2028\u2029\u0085 \u0000 "\\/\b';
    const r = await client.chat.completions.create(ask(odd));
    assert.equal(r.choices[0].message.content, odd.slice(4).trim());
  });

  test('a lone surrogate in a prompt is not refused', async () => {
    const r = await client.chat.completions.create(ask('say a \ud800 b'));
    assert.equal(r.choices[0].finish_reason, 'stop');
    assert.match(rig.up.last.body.toString(), /\\ud800|\ufffd/);
  });

  test('gzip: a reply is readable whatever encoding the client offers',
    async () => {
      rig.up.script({ edit: compressIfAsked });
      const r = await client.chat.completions.create(ask('hello'));
      assert.equal(r.choices[0].message.content, 'You said: hello');
    });
});

function compressIfAsked(plan, rec) {
  const asked = /gzip/.test(rec.header('accept-encoding') ?? '');
  return asked ? applyFault(plan, { fault: 'gzip' }) : plan;
}

describe('openai chat, tools and structure', () => {
  test('a tool call, and its answer', async () => {
    const messages = [{ role: 'user', content: 'use get_weather please' }];
    const a = await client.chat.completions.create({
      model: 'demo', messages, tools: [WEATHER, CLOCK] });
    const m = a.choices[0].message;
    assert.equal(a.choices[0].finish_reason, 'tool_calls');
    assert.equal(m.content, null);
    assert.equal(m.tool_calls.length, 1);
    assert.equal(m.tool_calls[0].function.name, 'get_weather');
    assert.deepEqual(JSON.parse(m.tool_calls[0].function.arguments),
      { city: 'Oslo', days: 3 });
    const b = await client.chat.completions.create({
      model: 'demo', tools: [WEATHER],
      messages: [...messages, m, {
        role: 'tool', tool_call_id: m.tool_calls[0].id, content: 'sunny' }],
    });
    assert.equal(b.choices[0].message.content, 'The tool said: sunny');
  });

  test('tool_choice none and a forced function', async () => {
    const none = await client.chat.completions.create(
      ask('get_weather', { tools: [WEATHER], tool_choice: 'none' }));
    assert.equal(none.choices[0].message.tool_calls, undefined);
    const forced = await client.chat.completions.create(ask('hello', {
      tools: [WEATHER, CLOCK],
      tool_choice: { type: 'function', function: { name: 'get_time' } } }));
    assert.equal(
      forced.choices[0].message.tool_calls[0].function.name, 'get_time');
  });

  test('streamed tool calls keep index, id and argument pieces', async () => {
    const s = await client.chat.completions.create(
      ask('all tools', { tools: [WEATHER, CLOCK], stream: true }));
    const calls = new Map();
    let finish;
    for await (const c of s)
      for (const choice of c.choices) {
        finish = choice.finish_reason ?? finish;
        for (const t of choice.delta.tool_calls ?? []) {
          const seen = calls.get(t.index) ?? { args: '' };
          calls.set(t.index, {
            id: t.id ?? seen.id, name: t.function.name ?? seen.name,
            args: seen.args + (t.function.arguments ?? '') });
        }
      }
    assert.equal(finish, 'tool_calls');
    assert.deepEqual([...calls.keys()], [0, 1]);
    assert.equal(calls.get(0).name, 'get_weather');
    assert.deepEqual(JSON.parse(calls.get(0).args), { city: 'Oslo', days: 3 });
    assert.notEqual(calls.get(0).id, calls.get(1).id);
  });

  test('runTools: the loop of the client ends with the answer', async () => {
    const runner = client.chat.completions.runTools({
      model: 'demo',
      messages: [{ role: 'user', content: 'use get_weather now' }],
      tools: [{ type: 'function', function: {
        ...WEATHER.function,
        function: (args) => `sunny in ${args.city}`, parse: JSON.parse } }],
    });
    assert.equal(await runner.finalContent(),
      'The tool said: sunny in Oslo');
  });

  test('structured output: parse() with a zod schema', async () => {
    const Person = z.object({
      name: z.string(), age: z.number(), tags: z.array(z.string()) });
    const r = await client.chat.completions.parse(
      ask('who', { response_format: zodResponseFormat(Person, 'person') }));
    assert.deepEqual(r.choices[0].message.parsed,
      { name: 'sample', age: 1.5, tags: ['sample'] });
  });

  test('json_object', async () => {
    const r = await client.chat.completions.create(
      ask('why', { response_format: { type: 'json_object' } }));
    assert.deepEqual(JSON.parse(r.choices[0].message.content),
      { answer: 'why' });
  });
});

describe('openai chat, streaming', () => {
  test('a stream: role first, pieces, finish, one request', async () => {
    const before = rig.up.hits;
    const s = await client.chat.completions.create(
      ask('count to 20', { stream: true }));
    const chunks = await collect(s);
    assert.equal(textOf(chunks), Array.from({ length: 20 },
      (_, i) => i + 1).join(' '));
    assert.equal(chunks[0].choices[0].delta.role, 'assistant');
    assert.equal(chunks.at(-1).choices[0].finish_reason, 'stop');
    assert.equal(chunks.length, 22);
    assert.equal(rig.up.hits, before + 1);
  });

  test('include_usage asked: the usage chunk comes last', async () => {
    const chunks = await collect(await client.chat.completions.create(
      ask('hi', { stream: true, stream_options: { include_usage: true } })));
    assert.deepEqual(chunks.at(-1).choices, []);
    assert.equal(chunks.at(-1).usage.completion_tokens, 3);
    assert.ok(chunks.slice(0, -1).every((c) => c.usage === null));
  });

  test('include_usage not asked: no usage chunk, no usage member', async () => {
    const chunks = await collect(await client.chat.completions.create(
      ask('hi', { stream: true })));
    assert.ok(chunks.every((c) => c.choices.length === 1));
    if (!DIRECT)
      assert.equal(rig.up.last.json.stream_options?.include_usage, true,
        'tollgate asks upstream so that it can account');
  });

  test('include_usage false stays false for the client', async () => {
    const chunks = await collect(await client.chat.completions.create(
      ask('hi', { stream: true, stream_options: { include_usage: false } })));
    assert.ok(chunks.every((c) => c.choices.length === 1));
  });

  test('other stream options survive', async () => {
    await collect(await client.chat.completions.create(
      ask('hi', { stream: true,
        stream_options: { include_obfuscation: false } })));
    assert.equal(
      rig.up.last.json.stream_options.include_obfuscation, false);
  });

  test('.stream() helper: events and the final completion', async () => {
    const s = client.chat.completions.stream(ask('count to 5'));
    const deltas = [];
    s.on('content', (d) => deltas.push(d));
    const final = await s.finalChatCompletion();
    assert.equal(final.choices[0].message.content, '1 2 3 4 5');
    assert.equal(deltas.join(''), '1 2 3 4 5');
    assert.equal(rig.up.last.header('x-stainless-helper-method'), 'stream');
  });

  test('n and logprobs in a stream', async () => {
    const chunks = await collect(await client.chat.completions.create(
      ask('hi', { stream: true, n: 2, logprobs: true })));
    assert.equal(textOf(chunks, 0), 'You said: hi');
    assert.equal(textOf(chunks, 1), 'You said: hi (2)');
    const lp = chunks.flatMap((c) => c.choices)
      .filter((c) => c.index === 0 && c.logprobs);
    assert.equal(lp.length, 3);
  });

  test('tokens arrive as they are made, not at the end', async () => {
    const script = rig.up.script({ gateAfter: 3 });
    const s = await client.chat.completions.create(
      ask('count to 9', { stream: true }));
    const it = s[Symbol.asyncIterator]();
    const first = [await it.next(), await it.next(), await it.next()];
    assert.equal(first[2].value.choices[0].delta.content, ' 2');
    script.open();
    let n = 3;
    while (!(await it.next()).done) n++;
    assert.equal(n, 11);
  });

  test('leaving a stream stops the provider', async () => {
    const script = rig.up.script({ gateAfter: 4 });
    const s = await client.chat.completions.create(
      ask('count to 1000', { stream: true }));
    for await (const c of s) if (c.choices[0].delta.content === ' 2') break;
    const rec = await script.request;
    await rec.whenAborted();
    assert.ok(rec.aborted);
    assert.ok(rec.cost.output < 10);
  });

  test('the caller\'s abort signal stops the provider', async () => {
    const script = rig.up.script({ gateAfter: 'head' });
    const stop = new AbortController();
    const asked = client.chat.completions.create(ask('x'),
      { signal: stop.signal });
    const rec = await script.reached;
    stop.abort();
    await assert.rejects(asked, OpenAI.APIUserAbortError);
    await rec.whenAborted();
  });

  test('stored completions: list, retrieve, messages, update, delete',
    async () => {
      const r = await client.chat.completions.create(
        ask('keep me', { store: true, metadata: { k: 'v' } }));
      const got = await client.chat.completions.retrieve(r.id);
      assert.equal(got.id, r.id);
      const ids = (await collect(client.chat.completions.list()))
        .map((c) => c.id);
      assert.ok(ids.includes(r.id));
      const messages = await collect(
        client.chat.completions.messages.list(r.id));
      assert.equal(messages[0].content, 'keep me');
      const upd = await client.chat.completions.update(r.id,
        { metadata: { z: '1' } });
      assert.deepEqual(upd.metadata, { z: '1' });
      const del = await client.chat.completions.delete(r.id);
      assert.equal(del.deleted, true);
    });
});

describe('openai chat, accounting', GATE_ONLY, () => {
  test('each form leaves one access row with its tokens', async () => {
    const r = await client.chat.completions.create(ask('one two three'));
    const row = await rig.gate.accessRow('plain', (x) =>
      x.id === r._request_id);
    assert.equal(row.status, 200);
    assert.equal(row.model, 'demo');
    assert.equal(row.target, 'up');
    assert.equal(row.stream, false);
    assert.equal(row.input_tokens, r.usage.prompt_tokens);
    assert.equal(row.output_tokens, r.usage.completion_tokens);
    assert.equal(row.usage_source, 'upstream');
    const { data: s, response } = await client.chat.completions.create(
      ask('count to 12', { stream: true })).withResponse();
    await collect(s);
    const id = response.headers.get('x-request-id');
    const streamed = await rig.gate.accessRow('stream', (x) => x.id === id);
    assert.equal(streamed.stream, true);
    assert.equal(streamed.output_tokens, 12);
    assert.equal(streamed.usage_source, 'upstream');
    assert.equal(streamed.finish, 'stop');
  });

  test('keep-alive: many requests, few connections', async () => {
    const before = rig.up.connections;
    for (let i = 0; i < 40; i++)
      await client.chat.completions.create(ask(`r${i}`));
    assert.ok(rig.up.connections - before <= 4,
      `${rig.up.connections - before} upstream connections for 40 requests`);
  });

  test('what the provider was asked for equals what was accounted',
    async () => {
      const before = { ...rig.up.cost };
      const key = await rig.gate.createKey('sums');
      const mine = openaiFor({ baseUrl: rig.baseUrl, key: key.key });
      for (let i = 1; i <= 10; i++)
        await mine.chat.completions.create(ask(`count to ${i}`));
      for (let i = 1; i <= 10; i++)
        await collect(await mine.chat.completions.create(
          ask(`count to ${i}`, { stream: true })));
      const [total] = await rig.gate.usageOf(20, '--key', key.id);
      assert.equal(total.requests, 20);
      assert.equal(total.input_tokens, rig.up.cost.input - before.input);
      assert.equal(total.output_tokens, rig.up.cost.output - before.output);
    });
});
