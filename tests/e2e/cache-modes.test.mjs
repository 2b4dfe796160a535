// A reply that was stored as a stream answers the same request without
// `stream`, and the reverse: the official clients make the same of both.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { createAnthropic } from '@ai-sdk/anthropic';
import { createOpenAI } from '@ai-sdk/openai';
import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import Anthropic from '@anthropic-ai/sdk';
import { ChatOpenAI } from '@langchain/openai';
import { generateText, jsonSchema, streamText, tool } from 'ai';
import OpenAI from 'openai';

import { collect } from './lib/openai.mjs';
import { startRig, upstreamEntry } from './lib/rig.mjs';

globalThis.AI_SDK_LOG_WARNINGS = false;

const CACHE = { cache: {
  responses: { enabled: true, size: '64MiB', keep: 'always' } } };

let rig;
before(async () => {
  rig = await startRig({
    config: (up) => ({
      ...CACHE,
      upstreams: [
        upstreamEntry(up, { models: ['demo'] }),
        { ...upstreamEntry(up), name: 'claude', dialect: 'anthropic',
          models: ['claude-*'] },
      ],
    }),
  });
});
after(() => rig?.close());

/** How the last replies came: x-tollgate-cache of each. */
const came = [];
let fresh = false;

/** The fetch of every client here: notes how a reply came, and asks the
 * provider itself while `fresh` is set. */
async function spy(url, init = {}) {
  const headers = new Headers(init.headers);
  if (fresh) headers.set('cache-control', 'no-store');
  const r = await fetch(url, { ...init, headers });
  came.push(r.headers.get('x-tollgate-cache'));
  return r;
}

async function freshly(ask) {
  fresh = true;
  try {
    return await ask();
  } finally {
    fresh = false;
  }
}

const openai = () => new OpenAI({ baseURL: rig.baseUrl, apiKey: rig.key,
  maxRetries: 0, fetch: spy, logLevel: 'off' });
const claude = () => new Anthropic({ baseURL: rig.origin, apiKey: rig.key,
  maxRetries: 0, fetch: spy });

/** An answer without what differs between two of them: ids and the like, and
 * how it says that there is no text beside its calls. */
function plainly(value) {
  const skip = new Set(['id', '_request_id', 'call_id', 'item_id', 'created',
    'created_at', 'annotations', 'timestamp', 'sequence_number', 'headers',
    'body', 'rawFinishReason', 'tool_call_id', 'toolCallId', 'response_metadata',
    'messageId', 'responseId']);
  return JSON.parse(JSON.stringify(value, (k, v) =>
    skip.has(k) ? undefined : k === 'content' && v === '' ? null : v));
}

let counter = 0;

/** A number that makes a question another one. */
const another = () => (counter += 1);

/** Asks in both forms, each first for a question of its own: the other form
 * of it must be a hit, and say what the provider itself says. */
function bothWays(name, { plain, stream, same = plainly }) {
  test(`${name}: stored as a stream, asked without`, async () => {
    const n = another();
    const want = same(await freshly(() => plain(n)));
    await stream(n);
    assert.equal(came.at(-1), 'miss');
    const got = same(await plain(n));
    assert.equal(came.at(-1), 'hit');
    assert.deepEqual(got, want);
  });

  test(`${name}: stored whole, asked as a stream`, async () => {
    const n = another();
    const want = same(await freshly(() => stream(n)));
    await plain(n);
    assert.equal(came.at(-1), 'miss');
    const got = same(await stream(n));
    assert.equal(came.at(-1), 'hit');
    assert.deepEqual(got, want);
  });
}

const FUNCTION = {
  name: 'get_weather', description: 'Weather',
  parameters: {
    type: 'object',
    properties: { city: { type: 'string' }, days: { type: 'number' } },
    required: ['city', 'days'], additionalProperties: false,
  },
};
const TOOL = { type: 'function', function: FUNCTION };
const CLOCK = { type: 'function', function: {
  name: 'get_time', parameters: { type: 'object', properties: {} } } };

const LONG = 'say ' + Array.from({ length: 700 }, (_, i) =>
  ['w\u00f6rd', '\u20ac', '\u{1F600}', '"q"', 'back\\slash', 'line\u2028'][
    i % 6]).join(' ');

// ---- chat ------------------------------------------------------------------

describe('chat', () => {
  const form = (more, content = 'say hello there') => ({
    plain: (n) => openai().chat.completions.create(
      { model: 'demo', messages: [{ role: 'user', content }], seed: n,
        ...more }),
    stream: (n) => openai().chat.completions.stream(
      { model: 'demo', messages: [{ role: 'user', content }], seed: n,
        stream_options: { include_usage: true }, ...more })
      .finalChatCompletion(),
  });
  bothWays('text', form({}));
  bothWays('long text', form({}, LONG));
  bothWays('choices', form({ n: 3 }, 'count to 9'));
  bothWays('logprobs', form({ logprobs: true, top_logprobs: 2 }));
  bothWays('one tool', form({ tools: [TOOL], tool_choice: 'required' }));
  bothWays('tools', form({ tools: [TOOL, CLOCK] }, 'get_weather get_time'));
  bothWays('cut', form({ max_tokens: 3 }, 'count to 9'));
  bothWays('structured', form({ response_format: { type: 'json_schema',
    json_schema: { name: 'w', strict: true, schema: FUNCTION.parameters } } }));

  test('usage is told to who asks, and to nobody else', async () => {
    const ask = (seed, more) => openai().chat.completions.create(
      { model: 'demo', messages: [{ role: 'user', content: 'count to 5' }],
        seed, ...more });
    const n = another();
    await collect(await ask(n, { stream: true }));
    assert.equal(came.at(-1), 'miss');
    const plain = await ask(n);
    assert.equal(came.at(-1), 'hit');
    assert.equal(plain.usage.prompt_tokens, 4);
    assert.equal(plain.usage.completion_tokens, 5);
    assert.equal(plain.usage.total_tokens, 9);
    const told = await collect(await ask(n, { stream: true,
      stream_options: { include_usage: true } }));
    assert.equal(told.at(-1).choices.length, 0);
    assert.equal(told.at(-1).usage.completion_tokens, 5);
    assert.ok(told.slice(0, -1).every((c) => c.usage === null));
    const m = another();
    await ask(m);
    const chunks = await collect(await ask(m, { stream: true }));
    assert.equal(came.at(-1), 'hit');
    assert.ok(chunks.every((c) => c.usage === undefined || c.usage === null));
    assert.ok(chunks.every((c) => c.choices.length === 1));
  });
});

describe('completions', () => {
  const form = (more) => {
    const ask = (n, m) => openai().completions.create(
      { model: 'demo', prompt: 'count to 12', seed: n, ...more, ...m });
    return {
      plain: ask,
      stream: async (n) => {
        const chunks = await collect(await ask(n, { stream: true,
          stream_options: { include_usage: true } }));
        const texts = [];
        const finish = [];
        for (const c of chunks.flatMap((x) => x.choices)) {
          texts[c.index] = (texts[c.index] ?? '') + c.text;
          finish[c.index] ??= c.finish_reason;
        }
        return { texts, finish, usage: chunks.at(-1).usage };
      },
    };
  };
  bothWays('text', form({}));
  bothWays('choices', form({ n: 2, max_tokens: 40 }));
});

// ---- responses -------------------------------------------------------------

describe('responses', () => {
  const form = (more, input = 'say hello there') => ({
    plain: (n) => openai().responses.create(
      { model: 'demo', input, temperature: 0, top_p: 1 / n, ...more }),
    stream: async (n) => {
      const s = openai().responses.stream(
        { model: 'demo', input, temperature: 0, top_p: 1 / n, ...more });
      const types = new Set();
      let text = '';
      for await (const e of s) {
        types.add(e.type);
        if (/\.delta$/.test(e.type)) text += e.delta;
      }
      return { types: [...types], text, final: await s.finalResponse() };
    },
  });
  bothWays('text', form({}));
  bothWays('long text', form({}, LONG));
  bothWays('a tool', form({ tools: [{ type: 'function', strict: true,
    ...FUNCTION }] }, 'get_weather'));
  bothWays('cut', form({ max_output_tokens: 3 }, 'count to 9'));
});

// ---- messages --------------------------------------------------------------

describe('messages', () => {
  const form = (more, content = 'say hello there') => ({
    plain: (n) => claude().messages.create(
      { model: 'claude-e2e', max_tokens: 1000, temperature: 0, top_p: 1 / n,
        messages: [{ role: 'user', content }], ...more }),
    stream: async (n) => {
      const s = claude().messages.stream(
        { model: 'claude-e2e', max_tokens: 1000, temperature: 0, top_p: 1 / n,
          messages: [{ role: 'user', content }], ...more });
      return s.finalMessage();
    },
  });
  const tools = [
    { name: 'get_weather', input_schema: FUNCTION.parameters },
    { name: 'get_time', input_schema: { type: 'object', properties: {} } },
  ];
  bothWays('text', form({}));
  bothWays('long text', form({}, LONG));
  bothWays('thinking and text', form({
    thinking: { type: 'enabled', budget_tokens: 1024 } }));
  bothWays('tools', form({ tools }, 'get_weather get_time'));
  bothWays('cut', form({ max_tokens: 3 }, 'count to 9'));
});

// ---- other clients ---------------------------------------------------------

const gist = async (r) => ({
  text: await r.text, finish: await r.finishReason,
  reasoning: await r.reasoningText, usage: plainly(await r.usage),
  calls: (await r.toolCalls).map((c) => [c.toolName, c.input]),
});

const MODELS = [
  ['@ai-sdk/openai responses', () =>
    createOpenAI({ baseURL: rig.baseUrl, apiKey: rig.key, fetch: spy })('demo')],
  ['@ai-sdk/openai chat', () =>
    createOpenAI({ baseURL: rig.baseUrl, apiKey: rig.key, fetch: spy })
      .chat('demo')],
  ['@ai-sdk/openai-compatible', () =>
    createOpenAICompatible({ name: 'tg', baseURL: rig.baseUrl,
      apiKey: rig.key, includeUsage: true, fetch: spy })('demo')],
  ['@ai-sdk/anthropic', () =>
    createAnthropic({ baseURL: rig.baseUrl, apiKey: rig.key, fetch: spy })(
      'claude-e2e')],
];

for (const [name, model] of MODELS)
  describe(`ai with ${name}`, () => {
    const form = (prompt, more) => {
      const options = (n) => ({ model: model(), prompt: `${prompt} ${n}`,
        temperature: 0, maxRetries: 0, maxOutputTokens: 5000, ...more });
      return {
        plain: async (n) => gist(await generateText(options(n))),
        stream: async (n) => gist(streamText(options(n))),
      };
    };
    bothWays('text', form('say hello there'));
    // of Claude's tools it says otherwise in streams: another question
    if (!name.includes('anthropic'))
      bothWays('a tool', form('use get_weather', { tools: { get_weather: tool({
        description: 'Weather', inputSchema: jsonSchema(FUNCTION.parameters),
      }) } }));
  });

for (const useResponsesApi of [false, true])
  describe(`langchain, ${useResponsesApi ? 'responses' : 'chat'}`, () => {
    const model = () => new ChatOpenAI({ model: 'demo', apiKey: rig.key,
      maxRetries: 0, useResponsesApi, temperature: 0,
      configuration: { baseURL: rig.baseUrl, fetch: spy } });
    const gistOf = (m) => ({ text: m.text, calls: plainly(m.tool_calls),
      output: m.usage_metadata?.output_tokens });
    bothWays('text', {
      plain: async (n) => gistOf(await model().invoke(`say hello ${n}`)),
      stream: async (n) => gistOf((await collect(
        await model().stream(`say hello ${n}`))).reduce((a, b) =>
        a.concat(b))),
    });
  });

// ---- by config -------------------------------------------------------------

test('exact_mode: what was stored as a stream answers streams only', async () => {
  const strict = await startRig({ config: { cache: {
    responses: CACHE.cache.responses, exact_mode: true } } });
  try {
    const ask = async (stream) => {
      const r = await strict.fetch('/v1/chat/completions', { json: {
        model: 'demo', messages: [{ role: 'user', content: 'hi' }], stream } });
      await r.arrayBuffer();
      return r.headers.get('x-tollgate-cache');
    };
    assert.deepEqual(
      [await ask(true), await ask(false), await ask(true), await ask(false)],
      ['miss', 'miss', 'hit', 'hit']);
    assert.equal(strict.up.hits, 2);
  } finally {
    await strict.close();
  }
});
