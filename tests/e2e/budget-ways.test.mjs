// Ways round a hard budget: a provider that takes all that a request lets it
// take, and keeps its own books, is asked in every way that could make it take
// more than was held.  Its books are never above the budget.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, before, beforeEach, describe, test } from 'node:test';

import { toFile } from 'openai';
import { WebSocket } from 'ws';

import { GREEDY_PRICE, greedy } from './lib/greedy.mjs';
import { OpenAI, ask } from './lib/openai.mjs';
import { GATE_ONLY, startRig, upstreamEntry } from './lib/rig.mjs';
import { until } from './lib/until.mjs';
import { toYaml } from './lib/yaml.mjs';

const TODAY = new Date().toISOString().slice(0, 10);
const CHAT = '/v1/chat/completions';
const [TOKENS, NUSD] = [12000, 120e6];

const PRICES = [
  { model: ['demo', 'gpt-5-x', 'text-embedding-*'], ...GREEDY_PRICE },
  { model: 'claude-*', ...GREEDY_PRICE, cache_write: 2.5, cache_write_1h: 4 },
  { model: 'picture', request: 0.04 },
  { model: 'omni-moderation*', request: 0 },
];

let [rig, dir, serial] = [null, null, 0];

const hi = [{ role: 'user', content: 'hi' }];
const createKey = (...args) => rig.gate.createKey(`w${++serial}`, ...args);

/** A request of a key: its reply, whose body is read. */
async function send(key, url, body, headers = {}) {
  const r = await rig.fetch(url, {
    method: 'POST',
    body: typeof body === 'string' ? body : JSON.stringify(body),
    headers: { authorization: `Bearer ${key.key}`,
      'content-type': 'application/json', ...headers } });
  r.said = await r.text();
  return r;
}

const budgetsOf = (key) => until('nothing is held', async () => {
  const { budgets } = await rig.gate.must(['key', 'show', key.id]);
  return budgets.every((b) => Number(b.held) === 0) && budgets;
});

const nusdOf = (text) => Math.round(Number(text) * 1e9);

/** Asks the same again and again, four at once, until it is refused. */
async function spend(key, url, body, headers) {
  const all = [];
  for (let round = 0; round < 200; round++) {
    const four = await Promise.all([1, 2, 3, 4].map(() =>
      send(key, url, body, headers)));
    all.push(...four);
    if (four.every((r) => r.status !== 200)) break;
  }
  return all;
}

/** The provider's books are within the budgets, and spends not below them. */
async function assertHeld(key, books, what) {
  assert.ok(books.tokens <= TOKENS || !key.tokens,
    `${what}: took ${books.tokens} tokens of ${TOKENS}`);
  assert.ok(books.nusd <= NUSD || key.tokens,
    `${what}: took ${books.nusd} nusd of ${NUSD}`);
  for (const b of await budgetsOf(key)) {
    const [spent, truth] = b.unit === 'usd'
      ? [nusdOf(b.spent), books.nusd] : [b.spent, books.tokens];
    assert.ok(spent >= truth, `${what}: ${spent} of ${truth} ${b.unit}`);
  }
}

/** A key with a budget of tokens, and one with a budget of money. */
const bothKeys = async () => {
  const tokens = await createKey('--budget', `${TOKENS}-tokens/day`);
  tokens.tokens = true;
  return [tokens, await createKey('--budget', '$0.12/day')];
};

/** Each key takes all it can by asking so: never more than its budget. */
async function assertBounded(what, url, body, headers) {
  for (const key of await bothKeys()) {
    rig.up.clear();
    const books = greedy(rig.up);
    const all = await spend(key, url, body, headers);
    const good = all.filter((r) => r.status === 200);
    assert.ok(good.length > 0, `${what}: ${all[0].status} ${all[0].said}`);
    assert.equal(good.length, books.requests, what);
    assert.equal(all.at(-1).status, 429, `${what}: ${all.at(-1).said}`);
    assert.match(all.at(-1).said, /insufficient_quota|billing_error/);
    assert.equal(all.at(-1).headers.get('x-should-retry'), 'false');
    await assertHeld(key, books, what);
  }
}

/** Both keys are refused for <param>, and the provider hears nothing. */
async function assertRefused(what, url, body, param, headers) {
  for (const key of await bothKeys()) {
    rig.up.clear();
    const r = await send(key, url, body, headers);
    assert.equal(r.status, 400, `${what}: ${r.status} ${r.said}`);
    const { error } = JSON.parse(r.said);
    assert.equal(error.type, 'invalid_request_error', what);
    if (param !== undefined && 'param' in error)
      assert.equal(error.param, param, `${what}: ${r.said}`);
    assert.equal(rig.up.hits, 0, what);
    for (const b of await budgetsOf(key))
      assert.equal(Number(b.spent), 0, what);
  }
}

/** Runs f with some more in the section `budgets` of the configuration. */
async function withBudgets(more, f) {
  const { config } = rig.gate;
  rig.gate.writeConfig({ ...config,
    budgets: { ...config.budgets, ...more } });
  assert.equal((await rig.gate.reload()).code, 0);
  try {
    await f();
  } finally {
    rig.gate.writeConfig(config);
    assert.equal((await rig.gate.reload()).code, 0);
  }
}

/** The JSON text of a chat with some more, as it stands. */
const raw = (more) =>
  `{"model":"demo","messages":[{"role":"user","content":"hi"}],${more}}`;

describe('ways round a hard budget', GATE_ONLY, () => {
  before(async () => {
    dir = fs.mkdtempSync(path.join(os.tmpdir(), 'tg-ways-'));
    const prices = path.join(dir, 'prices.yaml');
    fs.writeFileSync(prices, toYaml({ updated: TODAY, prices: PRICES }));
    rig = await startRig({
      // each request is a call of its own, also those for one answer
      config: (up) => ({ prices, cache: { coalesce: false },
        budgets: { default_output: 2000, wait: '100ms' }, upstreams: [
          upstreamEntry(up, { models: ['demo*', 'gpt-5-x', 'picture',
            'omni-moderation*', 'text-embedding-*', 'unpriced'] }),
          upstreamEntry(up, { name: 'anthropic', dialect: 'anthropic',
            models: ['claude-*'] })] }) });
  });
  beforeEach(() => rig.up.clear());
  after(async () => {
    await rig?.close();
    fs.rmSync(dir, { recursive: true, force: true });
  });

  describe('numbers', () => {
    const bounded = ['"n":1', '"n":4', '"n":4.0,"max_tokens":100', '"n":2e0',
      '"\\u006e":8', '"n":null', '"best_of":5', '"n":2,"best_of":6',
      '"max_tokens":900', '"max_completion_tokens":900', '"max_tokens":1e3',
      '"max_tokens":1.0e3', '"max_tokens":null',
      '"max_tokens":9007199254740992',
      '"max_tokens":2147483648,"n":3', '"max_\\u0074okens":700,"n":2',
      '"max_tokens":5,"max_completion_tokens":900',
      '"max_tokens":900,"max_completion_tokens":400'];
    for (const more of bounded)
      test(`${more} is within the budget`, () =>
        assertBounded(more, CHAT, raw(more)));

    for (const name of ['max_tokens', 'max_completion_tokens', 'n', 'best_of'])
      test(`${name} that is no number of its kind`, async () => {
        for (const v of ['-1', '0', '-0', '1.5', '0.5', '"5"', 'true', '[5]',
          '{}', '1e300', '9007199254740993', '9223372036854775808',
          '-9223372036854775809', '1e-3', '99999999999999999999999999'])
          await assertRefused(`${name}: ${v}`, CHAT, raw(`"${name}":${v}`),
            name);
      });

    test('caps go out in digits, however they came', async () => {
      const [key] = await bothKeys();

      greedy(rig.up);
      for (const [said, sent] of [['1.0e2', 100], ['1e2', 100], ['70.0', 70],
        ['7E1', 70], ['70', 70]]) {
        rig.up.clear();
        const r = await send(key, CHAT, raw(`"max_tokens":${said}`));
        assert.equal(r.status, 200, `${said}: ${r.said}`);
        assert.match(rig.up.requests[0].body.toString(),
          new RegExp(`"max_tokens":${sent}[,}]`), said);
      }
    });

    test('members that stand twice, or in other letters', async () => {
      for (const more of ['"max_tokens":5,"max_tokens":50000',
        '"max_tokens":50000,"max_tokens":5', '"n":1,"\\u006e":50',
        '"n":1,"N":50', '"max_tokens":5,"Max_Tokens":50000',
        '"max_tokens":5,"max_to\\u212aens":50000',
        '"stream":true,"stream_options":{"include_usage":true,' +
        '"include_usage":false}'])
        await assertRefused(more, CHAT, raw(more));
    });

    test('older completions: every prompt has its own answers', async () => {
      const body = { model: 'demo', max_tokens: 150 };
      await assertBounded('list', '/v1/completions',
        { ...body, prompt: ['a', 'b', 'c', 'd', 'e'] });
      await assertBounded('lists of ids', '/v1/completions',
        { ...body, prompt: [[1, 2], [3], [4]], n: 2 });
      await assertBounded('ids', '/v1/completions',
        { ...body, prompt: [1, 2, 3, 4] });
      await assertBounded('no cap', '/v1/completions',
        { model: 'demo', prompt: ['a', 'b', 'c', 'd'], best_of: 8 });
    });

    test('input: bytes that are tokens each', async () => {
      await assertBounded('letters', CHAT,
        ask('\u{1d160}\u00bc\u0958'.repeat(300), { max_tokens: 10 }));
      await assertBounded('escapes', CHAT,
        raw(`"max_tokens":9,"user":"u","stop":["${'\\u0001'.repeat(400)}"]`));
      await assertBounded('many messages', CHAT, { model: 'demo',
        max_tokens: 5, messages: Array(200).fill(hi[0]) });
      await assertBounded('embeddings', '/v1/embeddings', {
        model: 'text-embedding-3-small', input: Array(200).fill('a') });
    });
  });

  describe('what has no bound', () => {
    const members = { web_search_options: {x: 1}, models: ['demo', 'dear'],
      route: 'fallback', provider: { order: ['x'] },
      plugins: [{ id: 'web' }], transforms: ['middle-out'],
      use_beam_search: true, n_predict: 90000, max_new_tokens: 90000,
      max_length: 90000, boost: true, extra_body: { n: 50 },
      options: { num_predict: -1 }, search_parameters: { mode: 'on' },
      enable_search: true, data_sources: [{}], fallbacks: ['dear'],
      modalities: ['text', 'image'], api_base: 'http://x', mock: 1,
      background: true, previous_response_id: 'resp_1', num_choices: 9,
      chat_template: '{{ 1 }}', mm_processor_kwargs: {}, deferred: true };
    for (const [name, value] of Object.entries(members))
      test(`chat: ${name}`, () =>
        assertRefused(name, CHAT, { ...ask('hi'), [name]: value }, name));

    test('chat: tools of the provider', async () => {
      for (const tool of [{ type: 'web_search' }, { google_search: {} },
        { type: 'mcp', server_url: 'x' }, { type: 'code_interpreter' },
        { type: 'openrouter:web_search' }, 'web_search'])
        await assertRefused(JSON.stringify(tool), CHAT,
          { ...ask('hi'), tools: [tool] }, 'tools[0]');
      await assertRefused('twice', CHAT,
        raw('"tools":[{"type":"function","type":"web_search"}]'), 'tools[0]');
    });

    test('a dearer tier is refused where money counts', async () => {
      const [tokens, money] = await bothKeys();
      const books = greedy(rig.up);
      for (const tier of ['priority', 'fast', 'scale']) {
        const r = await send(money, CHAT, ask('hi', { service_tier: tier }));
        assert.equal(r.status, 400);
        assert.equal(JSON.parse(r.said).error.param, 'service_tier');
      }
      assert.equal(books.requests, 0);
      for (const key of [tokens, money])
        assert.equal((await send(key, CHAT, ask('hi', {
          service_tier: 'flex', max_tokens: 5 }))).status, 200);
    });

    test('pictures, sounds and files', async () => {
      const parts = [
        { type: 'image_url', image_url: { url: 'data:image/png;base64,AAAA' } },
        { type: 'image_url', image_url: 'https://x/y.png' },
        { image_url: { url: 'https://x/y.png' } },
        { type: 'input_audio', input_audio: { data: 'AA', format: 'wav' } },
        { type: 'file', file: { file_data: 'AA' } },
        { type: 'file', file: { file_id: 'file-1' } },
        { type: 'video_url', video_url: { url: 'x' } },
        { type: 'hologram', hologram: 1 },
      ];
      for (const part of parts)
        await assertRefused(JSON.stringify(part), CHAT, { model: 'demo',
          messages: [{ role: 'user', content: [part] }] }, 'messages[0]');
      for (const more of ['"type":"text","type":"image_url"',
        '"type":"text","image_\\u0075rl":"x"', '"IMAGE_URL":"x"',
        '"type":"im\\u0061ge_url"'])
        await assertRefused(more, CHAT, '{"model":"demo","messages":[{"role":' +
          `"user","content":[{"text":"a",${more}}]}]}`, 'messages[0]');
    });

    const responses = { previous_response_id: 'resp_1', conversation: 'conv_1',
      background: true, prompt: { id: 'pmpt_1' }, n: 4, max_tokens: 9,
      context_management: [{ type: 'compaction' }], image: {} };
    for (const [name, value] of Object.entries(responses))
      test(`responses: ${name}`, () => assertRefused(name, '/v1/responses',
        { model: 'demo', input: 'hi', [name]: value }, name));

    test('responses: items from elsewhere, tools of the provider', async () => {
      for (const item of [{ type: 'item_reference', id: 'msg_1' },
        { id: 'msg_1' }, { id: 'msg_1', role: 'user' },
        { type: 'reasoning', id: 'rs_1', summary: [] },
        { type: 'image_generation_call', id: 'ig_1', result: null },
        { type: 'mcp_call', id: 'mcp_1' },
        { role: 'user', content: [{ type: 'input_file', file_id: 'f' }] },
        { role: 'user', content: [{ type: 'input_image', image_url: 'x' }] },
        { type: 'function_call_output', call_id: 'c',
          output: [{ type: 'input_image', image_url: 'x' }] }])
        await assertRefused(JSON.stringify(item), '/v1/responses',
          { model: 'demo', input: [item] }, 'input[0]');
      for (const type of ['web_search', 'web_search_preview', 'file_search',
        'code_interpreter', 'image_generation', 'mcp', 'shell', 'tool_search'])
        await assertRefused(type, '/v1/responses',
          { model: 'demo', input: 'hi', tools: [{ type }] }, 'tools[0]');
    });

    test('responses are bounded', () => assertBounded('responses',
      '/v1/responses', { model: 'demo', input: 'hi' }));

    const version = { 'anthropic-version': '2023-06-01' };
    const message = { model: 'claude-x', max_tokens: 100, messages: hi };
    test('messages: what has no bound', async () => {
      const url = '/v1/messages';
      for (const more of [{ mcp_servers: [{ url: 'x' }] }, { container: 'c' },
        { tools: [{ type: 'web_search_20250305', name: 'web_search' }] },
        { tools: [{ type: 'code_execution_20250825' }] }, { n: 5 },
        { context_management: { edits: [{ type: 'compact_20260112' }] } },
        { boost: 1 }, { fallbacks: ['claude-y'] },
        { messages: [{ role: 'user', content: [{ type: 'image',
          source: { type: 'url', url: 'x' } }] }] },
        { messages: [{ role: 'user', content: [{ type: 'document',
          source: { type: 'file', file_id: 'f' } }] }] },
        { max_tokens: -1 }, { max_tokens: 1.5 }, { max_tokens: '5' }])
        await assertRefused(JSON.stringify(more), url, { ...message, ...more },
          undefined, version);
      const [, money] = await bothKeys();
      for (const more of [{ speed: 'fast' }, { inference_geo: 'us' }]) {
        const r = await send(money, url, { ...message, ...more }, version);
        assert.equal(r.status, 400, r.said);
      }
      assert.equal(rig.up.hits, 0);
    });

    test('messages are bounded', async () => {
      await assertBounded('messages', '/v1/messages', message, version);
      await assertBounded('no cap', '/v1/messages',
        { model: 'claude-x', messages: hi }, version);
      await assertBounded('cache', '/v1/messages', { ...message, system: [
        { type: 'text', text: 'long', cache_control: { type: 'ephemeral' } }] },
      version);
      await assertBounded('cache for an hour', '/v1/messages', { ...message,
        cache_control: { type: 'ephemeral', ttl: '1h' } }, version);
    });
  });

  describe('operations', () => {
    const paths = ['/v1/batches', '/v1//batches/', '/v1/BATCHES',
      '/v1/%62atches', '/openai/v1/batches', '/v1/fine_tuning/jobs',
      '/v1/threads', '/v1/responses/compact', '/v1/images/generations',
      '/v1/audio/speech', '/v1/videos', '/v1/vector_stores', '/v1/unheard/of',
      '/v1/messages/batches', '/v1/conversations', '/v1/evals', '/v1/uploads',
      '/v1/containers', '/v1/chat/completions/x', '/v1/agents'];
    for (const p of paths)
      test(`POST ${p} is refused`, () => assertRefused(p, p,
        { model: 'demo', input: 'hi', prompt: 'hi', messages: hi, n: 10 }));

    test('other methods than those that read', async () => {
      const key = (await bothKeys())[1];
      for (const [method, more] of [['PUT'], ['PATCH'],
        ['GET', { 'x-http-method-override': 'POST' }]]) {
        const r = await rig.fetch(CHAT, { method, headers: {
          authorization: `Bearer ${key.key}`, ...more } });
        assert.equal(r.status, 400, `${method}: ${await r.text()}`);
      }
      assert.equal(rig.up.hits, 0);
      await assertRefused('online', CHAT,
        { ...ask('hi'), model: 'demo:online' }, 'model');
    });

    test('forms are refused', async () => {
      for (const key of await bothKeys())
        for (const p of ['/v1/audio/transcriptions', '/v1/images/edits',
          '/v1/images/variations', '/v1/audio/translations']) {
          const form = new FormData();
          form.append('model', 'demo');
          form.append('file', await toFile(Buffer.from('RIFF'), 'a.wav'));
          const r = await rig.fetch(p, { method: 'POST', body: form,
            headers: { authorization: `Bearer ${key.key}` } });
          assert.equal(r.status, 400, await r.text());
          assert.equal(rig.up.hits, 0);
        }
    });

    test('a chat that is no JSON, or no object', async () => {
      await assertRefused('list', CHAT, '[]');
      await assertRefused('text', CHAT, 'model=demo');
      const key = (await bothKeys())[0];
      const r = await send(key, CHAT, 'model=demo',
        { 'content-type': 'text/plain' });
      assert.equal(r.status, 400);
      assert.equal(rig.up.hits, 0);
    });

    test('WebSockets are refused', async () => {
      for (const key of await bothKeys()) {
        const ws = new WebSocket(
          `${rig.origin.replace('http', 'ws')}/v1/realtime?model=demo`,
          { headers: { authorization: `Bearer ${key.key}` } });
        const status = await new Promise((resolve, reject) => {
          ws.on('unexpected-response', (_, r) => resolve(r.statusCode));
          ws.on('open', () => reject(new Error('it opened')));
          ws.on('error', reject);
        });
        assert.equal(status, 400);
        assert.equal(rig.up.hits, 0);
      }
    });

    test('reading, counting and files are free', async () => {
      for (const key of await bothKeys()) {
        const client = clientOf(key);
        await client.models.list();
        await client.files.list();
        await client.files.create({ purpose: 'assistants',
          file: await toFile(Buffer.from('a'), 'a.txt') });
        await client.batches.list();
        const r = await send(key, '/v1/messages/count_tokens',
          { model: 'claude-x', messages: hi },
          { 'anthropic-version': '2023-06-01' });
        assert.equal(r.status, 200, r.said);
        await client.moderations.create({ model: 'omni-moderation-latest',
          input: 'a' });
        for (const b of await budgetsOf(key))
          assert.equal(Number(b.spent), 0);
        const x = await send(key, '/v1/moderations',
          { model: 'unpriced', input: 'a' });
        assert.equal(x.status, 400, x.said);
      }
    });

    test('a price for a whole request opens pictures, for money', async () => {
      const [tokens, money] = await bothKeys();
      const url = '/v1/images/generations';
      const one = { model: 'picture', prompt: 'a cat' };
      assert.equal((await send(tokens, url, one)).status, 400);
      for (const n of [2, '1', 1.5, 0])
        assert.equal((await send(money, url, { ...one, n })).status, 400);
      assert.equal(rig.up.hits, 0);
      const all = [];
      for (let i = 0; i < 5; i++) all.push(await send(money, url, one));
      assert.deepEqual(all.map((r) => r.status),
        [200, 200, 200, 429, 429]);
      assert.equal(rig.up.hits, 3); // $0.04 each, $0.12 in all
    });

    test('a model without a price, for money', async () => {
      const [tokens, money] = await bothKeys();
      const books = greedy(rig.up);
      const body = { ...ask('hi', { max_tokens: 5 }), model: 'unpriced' };
      const r = await send(money, CHAT, body);
      assert.ok([400, 429].includes(r.status), r.said);
      assert.equal(books.requests, 0);
      assert.equal((await send(tokens, CHAT, body)).status, 200);
    });
  });

  test('pictures that count, and members that are let through', async () => {
    const part = { type: 'image_url', image_url: {
      url: `data:image/png;base64,${'A'.repeat(40000)}` } };
    const body = { model: 'demo', max_tokens: 50, house_rule: 1,
      messages: [{ role: 'user', content: [part, part] }] };
    await assertRefused('before', CHAT, body);
    await withBudgets({ media_tokens: 3000,
      allow_fields: ['house_*', 'tools.web_search'] }, async () => {
      await assertBounded('pictures', CHAT, body);
      await assertRefused('others', CHAT, { ...body, boost: true }, 'boost');
      await assertRefused('stored', CHAT, { ...body, messages: [{ role: 'user',
        content: [{ type: 'file', file: { file_id: 'f' } }] }] },
      'messages[0]');
      const key = (await bothKeys())[0];
      rig.up.clear();
      assert.equal((await send(key, CHAT, ask('hi', { max_tokens: 5,
        tools: [{ type: 'web_search' }] }))).status, 200);
    });
  });

  describe('what the provider says', () => {
    test('no usage: what was held is charged', async () => {
      for (const key of await bothKeys()) {
        rig.up.clear();
        const books = greedy(rig.up, { usage: false });
        await spend(key, CHAT, ask('hi', { max_tokens: 500 }));
        assert.ok(books.requests > 0);
        await assertHeld(key, books, 'no usage');
      }
    });

    test('streams without usage, of several answers', async () => {
      for (const key of await bothKeys())
        for (const more of [{}, { n: 3 }, { max_tokens: 700, n: 2 },
          { stream_options: { include_usage: false } }]) {
          rig.up.clear();
          const fresh = (await bothKeys())[key.tokens ? 0 : 1];
          const books = greedy(rig.up, { usage: false });
          await spend(fresh, CHAT, ask('hi', { stream: true, ...more }));
          assert.ok(books.requests > 0);
          await assertHeld(fresh, books, JSON.stringify(more));
        }
    });

    test('many tokens an event, of one byte each', () =>
      withBudgets({ stream_hold: 500 }, async () => {
        for (const usage of [true, false])
          for (const key of await bothKeys()) {
            rig.up.clear();
            greedy(rig.up, { usage, dense: true });
            const all = await spend(key, CHAT,
              ask('hi', { stream: true, max_tokens: 9000 }));
            // what is written after a cut goes nowhere: count what came
            const output = all.flatMap((r) => [...r.said.matchAll(/"(7+)"/g)])
              .reduce((sum, m) => sum + m[1].length, 0);
            assert.ok(output > 0);
            await assertHeld(key, { tokens: output,
              nusd: output * GREEDY_PRICE.output * 1000 }, `usage: ${usage}`);
          }
      }));

    test('thoughts that no stream shows', async () => {
      for (const [model, more] of [['gpt-5-x', {}],
        ['demo', { reasoning_effort: 'high' }]])
        for (const key of await bothKeys()) {
          rig.up.clear();
          const books = greedy(rig.up, { silent: true });
          await spend(key, CHAT, { ...ask('hi', { stream: true,
            max_tokens: 9000, ...more }), model });
          assert.ok(books.requests > 0);
          await assertHeld(key, books, model);
        }
    });

    test('more than was held is charged in full, and is the last', async () => {
      for (const key of await bothKeys()) {
        rig.up.clear();
        const books = greedy(rig.up, { over: 100 });
        const first = await send(key, CHAT, ask('hi', { max_tokens: 400 }));
        assert.equal(first.status, 200);
        const again = await send(key, CHAT, ask('hi', { max_tokens: 400 }));
        assert.equal(again.status, 429, again.said);
        assert.equal(books.requests, 1);
        const [b] = await budgetsOf(key);
        assert.ok((b.unit === 'usd' ? nusdOf(b.spent) : b.spent) >=
          (key.tokens ? books.tokens : books.nusd));
      }
    });
  });
});

function clientOf(key) {
  return new OpenAI({ baseURL: rig.baseUrl, apiKey: key.key, maxRetries: 0,
    timeout: 60000, logLevel: 'off' });
}
