// What requests cost: every kind of token of every dialect, streamed or not,
// in the reply, the rows, the reports and the metrics; and what is said where
// a price is missing, stale or wrong.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, before, beforeEach, describe, test } from 'node:test';

import Anthropic from '@anthropic-ai/sdk';
import { toFile } from 'openai';
import { WebSocket } from 'ws';

import { startEngine } from './lib/engine.mjs';
import { ask, collect, openaiFor } from './lib/openai.mjs';
import { Plan } from './lib/provider/http.mjs';
import { RawClient, requestBytes } from './lib/raw.mjs';
import { GATE_ONLY, startRig, upstreamEntry } from './lib/rig.mjs';
import { program, runProgram } from './lib/tollgate.mjs';
import { until } from './lib/until.mjs';
import { toYaml } from './lib/yaml.mjs';

const TODAY = new Date().toISOString().slice(0, 10);

/** USD per million tokens; entries of the price file. */
const PRICES = [
  { model: 'demo', input: 1.25, cached_input: 0.125, output: 10,
    audio_in: 40, audio_out: 80 },
  { model: 'thinker', input: 1, output: 4, reasoning: 3 },
  { model: 'claude-*', input: 3, cached_input: 0.3, cache_write: 3.75,
    cache_write_1h: 6, output: 15 },
  { model: 'bare', input: 4, output: 20 },
  { model: 'vector', input: 0.02 },
  { model: 'whisper', audio_minute: 0.006 },
  { model: 'picture', request: 0.04 },
  { model: 'tiny-price', input: 0.000001, output: 0.000001 },
  { target: 'other', model: 'demo', input: 2, output: 3 },
];

let rig;
let file;

const writePrices = (entries, updated = TODAY) =>
  fs.writeFileSync(file, toYaml({ updated, prices: entries }));

/** The row of a reply, once it is there. */
const rowOf = (response) => until('the row', async () => {
  const r = await rig.gate.ctl(
    ['request', 'show', response.headers.get('x-request-id')]);
  return r.code === 0 && r.json;
});

/** Nano-dollars as the product prints dollars. */
const usd = (nusd) => {
  const text = String(nusd).padStart(10, '0');
  return `${text.slice(0, -9)}.${text.slice(-9)}`;
};

/** The nano-dollars of "0.000000001". */
const nusdOf = (text) => {
  assert.match(text, /^\d+\.\d{9}$/);
  return Number(text.replace('.', ''));
};

/** Puts usage where a reply of any dialect tells it; f gets what was there. */
function telling(f) {
  const put = (o) => {
    if (o.usage) o.usage = f(o.usage, o);
    for (const k of ['response', 'message'])
      if (o[k]?.usage) o[k].usage = f(o[k].usage, o);
    return o;
  };
  return (plan) => {
    if (plan.body) {
      plan.body = Buffer.from(JSON.stringify(put(JSON.parse(plan.body))));
      return plan;
    }
    const inner = plan.events;
    plan.events = (async function* () {
      for await (const e of inner)
        yield e.data?.startsWith('{')
          ? { ...e, data: JSON.stringify(put(JSON.parse(e.data))) } : e;
    })();
    return plan;
  };
}

const chatUsage = (prompt, completion, input = {}, output = {}) => () => ({
  prompt_tokens: prompt, completion_tokens: completion,
  total_tokens: prompt + completion,
  prompt_tokens_details: input, completion_tokens_details: output });

const responsesUsage = (input, output, cached, reasoning) => () => ({
  input_tokens: input, input_tokens_details: { cached_tokens: cached },
  output_tokens: output,
  output_tokens_details: { reasoning_tokens: reasoning },
  total_tokens: input + output });

/** Anthropic: all of it at the start, but for the output. */
const messagesUsage = (start, output) => (was, o) =>
  o.type === 'message_delta' ? { output_tokens: output }
    : { ...start, output_tokens: o.type === 'message' ? output : 1 };

const chat = (model, stream) => (c) => c.openai.chat.completions.create(
  ask('count to 5', { model, stream,
    ...(stream ? { stream_options: { include_usage: true } } : {}) }));
const respond = (model, stream) => (c) => c.openai.responses.create(
  { model, input: 'count to 5', stream });
const message = (model, stream) => (c) => c.anthropic.messages.create(
  { model, max_tokens: 50, stream,
    messages: [{ role: 'user', content: 'count to 5' }] });

/** name, call by whether it streams, what is told, nano-dollars. */
const DIALECTS = [
  ['chat', (s) => chat('demo', s), chatUsage(1000, 100),
    1000 * 1250 + 100 * 10000],
  ['chat, cached', (s) => chat('demo', s),
    chatUsage(1000, 100, { cached_tokens: 600 }),
    400 * 1250 + 600 * 125 + 100 * 10000],
  ['chat, audio', (s) => chat('demo', s),
    chatUsage(1000, 100, { cached_tokens: 100, audio_tokens: 300 },
      { audio_tokens: 40 }),
    600 * 1250 + 100 * 125 + 300 * 40000 + 60 * 10000 + 40 * 80000],
  ['chat, reasoning as output', (s) => chat('demo', s),
    chatUsage(10, 100, {}, { reasoning_tokens: 70 }),
    10 * 1250 + 100 * 10000],
  ['chat, reasoning', (s) => chat('thinker', s),
    chatUsage(10, 100, {}, { reasoning_tokens: 70 }),
    10 * 1000 + 30 * 4000 + 70 * 3000],
  ['chat, reasoning beside the completion', (s) => chat('thinker', s),
    () => ({ prompt_tokens: 10, completion_tokens: 30, total_tokens: 110,
      completion_tokens_details: { reasoning_tokens: 70 } }),
    10 * 1000 + 30 * 4000 + 70 * 3000],
  ['completions', (s) => (c) => c.openai.completions.create(
    { model: 'demo', prompt: 'count to 5', stream: s,
      ...(s ? { stream_options: { include_usage: true } } : {}) }),
  chatUsage(1000, 100), 1000 * 1250 + 100 * 10000],
  ['responses', (s) => respond('thinker', s),
    responsesUsage(5000, 200, 0, 150), 5000 * 1000 + 50 * 4000 + 150 * 3000],
  ['responses, cached', (s) => respond('demo', s),
    responsesUsage(5000, 200, 4000, 0),
    1000 * 1250 + 4000 * 125 + 200 * 10000],
  ['messages', (s) => message('claude-a', s),
    messagesUsage({ input_tokens: 100 }, 50), 100 * 3000 + 50 * 15000],
  ['messages, read from a cache', (s) => message('claude-a', s),
    messagesUsage({ input_tokens: 100, cache_read_input_tokens: 9000,
      cache_creation_input_tokens: 0 }, 50),
    100 * 3000 + 9000 * 300 + 50 * 15000],
  ['messages, written for 5 minutes', (s) => message('claude-a', s),
    messagesUsage({ input_tokens: 100, cache_creation_input_tokens: 2000 },
      50), 100 * 3000 + 2000 * 3750 + 50 * 15000],
  ['messages, written for both', (s) => message('claude-a', s),
    messagesUsage({ input_tokens: 100, cache_read_input_tokens: 10,
      cache_creation_input_tokens: 3000, cache_creation: {
        ephemeral_5m_input_tokens: 1000, ephemeral_1h_input_tokens: 2000 } },
    50), 100 * 3000 + 10 * 300 + 1000 * 3750 + 2000 * 6000 + 50 * 15000],
  ['embeddings', (s) => !s && ((c) => c.openai.embeddings.create(
    { model: 'vector', input: 'a b c' })),
  () => ({ prompt_tokens: 12345, total_tokens: 12345 }), 12345 * 20],
  ['rounded up once', (s) => chat('tiny-price', s), chatUsage(500, 501), 2],
  ['nothing used', (s) => chat('demo', s), chatUsage(0, 0), 0],
];

describe('prices', GATE_ONLY, () => {
  const clients = {};

  before(async () => {
    file = path.join(fs.mkdtempSync(path.join(os.tmpdir(), 'tg-prices-')),
      'prices.yaml');
    writePrices(PRICES);
    rig = await startRig({ config: (up) => ({
      prices: file,
      upstreams: [upstreamEntry(up, { models: ['*'] }),
        { ...upstreamEntry(up), name: 'other', models: ['only-other'] },
        { ...upstreamEntry(up), name: 'claude', dialect: 'anthropic',
          models: ['claude-*'] }],
      routes: [
        { model: 'claude-*', targets: [{ upstream: 'claude' }] },
        { model: 'cheap', targets: [{ upstream: 'other', model: 'demo' }] },
        { model: 'dear', targets: [{ upstream: 'up', model: 'demo' }] },
        { model: '*', targets: [{ upstream: 'up' }] }] }) });
    clients.openai = openaiFor(rig);
    clients.anthropic = new Anthropic(
      { baseURL: rig.origin, apiKey: rig.key, maxRetries: 0 });
  });
  beforeEach(() => rig.up.clear());
  after(async () => {
    await rig?.close();
    fs.rmSync(path.dirname(file), { recursive: true, force: true });
  });

  for (const [name, of, told, nusd] of DIALECTS)
    for (const stream of [false, true]) {
      const call = of(stream);
      if (!call) continue;
      test(`${name}${stream ? ', streamed' : ''}`, async () => {
        rig.up.script({ edit: telling(told) });
        const { data, response } = await call(clients).withResponse();
        if (stream) await collect(data);
        const row = await rowOf(response);
        assert.equal(row.cost_usd, usd(nusd));
        assert.equal(row.usage_source, 'upstream');
        assert.equal(row.unpriced, false);
        assert.equal(row.stale_price, false);
        assert.equal(response.headers.get('x-tollgate-cost-usd'),
          stream ? null : usd(nusd));
        const line = await rig.gate.accessRow('of it', (x) => x.id === row.id);
        assert.equal(line.cost_nusd, nusd);
      });
    }

  test('sound that is billed by its time, to the part of a minute',
    async () => {
      rig.up.script({ plan: () => Plan.json({ text: 'x',
        usage: { type: 'duration', seconds: 7.25 } }) });
      const { response } = await clients.openai.audio.transcriptions.create(
        { model: 'whisper', file: await toFile(Buffer.from('abc'), 'a.wav') })
        .withResponse();
      assert.equal(response.headers.get('x-tollgate-cost-usd'), '0.000725000');
      const row = await rowOf(response);
      assert.equal(row.audio_ms, 7250);
      assert.equal(row.cost_usd, '0.000725000');
      assert.equal(row.unpriced, false);
    });

  test('each request, where it is priced as such', async () => {
    rig.up.script({ plan: () => Plan.json({ created: 1, data: [] }) });
    const { response } = await clients.openai.images.generate(
      { model: 'picture', prompt: 'a b' }).withResponse();
    const row = await rowOf(response);
    assert.equal(row.cost_usd, '0.040000000');
    assert.equal(row.unpriced, false);
  });

  test('the target that serves, by the name it is asked by', async () => {
    for (const [model, nusd] of [
      ['cheap', 100 * 2000 + 10 * 3000], ['dear', 100 * 1250 + 10 * 10000]]) {
      rig.up.script({ edit: telling(chatUsage(100, 10)) });
      const { response } = await clients.openai.chat.completions.create(
        ask('hey', { model })).withResponse();
      assert.equal(response.headers.get('x-tollgate-cost-usd'), usd(nusd));
      const row = await rowOf(response);
      assert.equal(row.cost_usd, usd(nusd));
      assert.equal(row.target_model, 'demo');
      assert.equal(row.target, model === 'cheap' ? 'other' : 'up');
    }
  });

  test('what is refused or counts tokens is free', async () => {
    rig.up.script({ plan: () => Plan.json(
      { error: { message: 'no', type: 'server_error' } }, 429) });
    const refused = await rig.fetch('/v1/chat/completions',
      { json: ask('hey') });
    assert.equal(refused.status, 429);
    await refused.text();
    assert.equal(refused.headers.get('x-tollgate-cost-usd'), null);
    assert.equal((await rowOf(refused)).cost_usd, '0.000000000');
    const { response } = await clients.anthropic.messages.countTokens(
      { model: 'claude-a', messages: [{ role: 'user', content: 'a b' }] })
      .withResponse();
    const row = await rowOf(response);
    assert.equal(row.cost_usd, '0.000000000');
    assert.equal(row.unpriced, false);
  });

  test('a stream that is left is estimated, and costs what its row says',
    async () => {
      const script = rig.up.script({ gateAfter: 6 });
      const c = await RawClient.connect(rig.address);
      await c.send(requestBytes('POST', '/v1/chat/completions',
        [['Authorization', `Bearer ${rig.key}`],
          ['Content-Type', 'application/json']],
        JSON.stringify(ask('count to 40', { stream: true }))));
      await script.reached;
      await c.reader.readUntil(Buffer.from('" 3"'));
      c.destroy();
      const line = await rig.gate.accessRow('of the one that left',
        (x) => x.status === 499);
      const { json: row } = await rig.gate.ctl(['request', 'show', line.id]);
      assert.equal(row.estimated, true);
      assert.ok(row.output_tokens >= 4, `output ${row.output_tokens}`);
      assert.equal(row.cost_usd,
        usd(row.input_tokens * 1250 + row.output_tokens * 10000));
      assert.equal(line.cost_nusd, nusdOf(row.cost_usd));
    });

  test('a reply without usage is estimated, and has no cost before its end',
    async () => {
      rig.up.script({ fault: 'no_usage' });
      const { response } = await clients.openai.chat.completions.create(
        ask('count to 5')).withResponse();
      assert.equal(response.headers.get('x-tollgate-cost-usd'), null);
      const row = await rowOf(response);
      assert.equal(row.estimated, true);
      assert.ok(row.input_tokens > 0 && row.output_tokens > 0);
      assert.equal(row.cost_usd,
        usd(row.input_tokens * 1250 + row.output_tokens * 10000));
    });

  test('no price: told once, counted, and never a cost', async () => {
    const said = () => rig.gate.log.split('\n').filter((l) =>
      l.includes('no price for this model') && l.includes('model=unheard-of'));
    for (let i = 0; i < 3; i++) {
      const { response } = await clients.openai.chat.completions.create(
        ask('hey', { model: 'unheard-of' })).withResponse();
      assert.equal(response.headers.get('x-tollgate-cost-usd'), null);
      const row = await rowOf(response);
      assert.equal(row.cost_usd, '0.000000000');
      assert.equal(row.unpriced, true);
    }
    await until('the warning', () => said().length > 0);
    assert.equal(said().length, 1);
    assert.match(said()[0], /"level":"warn"/);
    const text = await (await fetch(`${rig.origin}/metrics`)).text();
    assert.match(text,
      /^tollgate_unpriced_requests_total\{model="\*",target="up"\} 3$/m);
    const { data } = await rig.gate.must(['usage', '--by', 'model']);
    assert.equal(data.find((x) => x.model === 'unheard-of').unpriced, 3);
    const table = await rig.gate.ctl(['usage', '--by', 'model'],
      { json: false });
    assert.match(table.stdout, /COST USD +ESTIMATED +UNPRICED +STALE/);
  });

  test('a kind without a price is charged no less, and marked', async () => {
    const asked = messagesUsage({ input_tokens: 100,
      cache_creation_input_tokens: 300, cache_creation: {
        ephemeral_5m_input_tokens: 100, ephemeral_1h_input_tokens: 200 } }, 10);
    writePrices([{ model: 'claude-a', input: 4, output: 20 }, ...PRICES]);
    assert.equal((await rig.gate.reload()).code, 0);
    rig.up.script({ edit: telling(asked) });
    const { response } = await message('claude-a', false)(clients)
      .withResponse();
    const row = await rowOf(response);
    assert.equal(row.cost_usd, usd(100 * 4000 + 100 * 5000 + 200 * 8000 +
      10 * 20000));
    assert.equal(row.unpriced, true);
    writePrices(PRICES);
    assert.equal((await rig.gate.reload()).code, 0);
  });

  test('reports: the same money by key, team, model, day and target',
    async () => {
      await rig.gate.must(['team', 'create', 'blue']);
      const key = await rig.gate.createKey('of-blue', '--team', 'blue');
      const since = new Date().toISOString();
      const openai = openaiFor({ baseUrl: rig.baseUrl, key: key.key });
      const asked = { demo: [100, 10, 225000], thinker: [7, 3, 19000] };
      for (const [model, [input, output]] of Object.entries(asked))
        for (let i = 0; i < 2; i++) {
          rig.up.script({ edit: telling(chatUsage(input, output)) });
          await openai.chat.completions.create(ask('hey', { model }));
        }
      await rig.gate.usageOf(4, '--key', key.id, '--since', since);
      const by = async (what) => (await rig.gate.must(['usage', '--key',
        key.id, '--since', since, '--by', what])).data;
      for (const [what, name] of [['key', key.id], ['team', 'blue'],
        ['day', TODAY]]) {
        const rows = await by(what);
        assert.equal(rows.length, 1, what);
        assert.equal(rows[0][what], name);
        assert.equal(rows[0].cost_usd, usd(2 * (225000 + 19000)));
        assert.equal(rows[0].unpriced, 0);
      }
      for (const [what, name] of [['model', (m) => m],
        ['target', (m) => `up/${m}`]])
        for (const [model, [, , nusd]] of Object.entries(asked))
          assert.equal((await by(what)).find((r) => r[what] === name(model))
            .cost_usd, usd(2 * nusd));
      const rows = (await rig.gate.must(['ledger', 'export', '--since',
        since])).data.filter((r) => r.key === key.id);
      assert.equal(rows.reduce((s, r) => s + nusdOf(r.cost_usd), 0),
        2 * (225000 + 19000));
      assert.equal((await rig.gate.ctl(['ledger', 'verify'])).code, 0);
    });

  test('metrics: all costs, by model and target', async () => {
    const read = async () => {
      const text = await (await fetch(`${rig.origin}/metrics`)).text();
      return nusdOf(/^tollgate_cost_usd_total\{model="dear",target="up"\} (\S+)$/m
        .exec(text)?.[1] ?? '0.000000000');
    };
    const was = await read();
    rig.up.script({ edit: telling(chatUsage(333, 33)) });
    await clients.openai.chat.completions.create(ask('hey', { model: 'dear' }));
    assert.equal(await until('the cost', async () => (await read()) - was),
      333 * 1250 + 33 * 10000);
  });

  test('new prices hold from a reload on; bad ones change nothing',
    async () => {
      const cost = async () => {
        rig.up.script({ edit: telling(chatUsage(1000, 0)) });
        const { response } = await clients.openai.chat.completions.create(
          ask('hey')).withResponse();
        return response.headers.get('x-tollgate-cost-usd');
      };
      assert.equal(await cost(), '0.001250000');
      writePrices([{ model: 'demo', input: 7, output: 1 }]);
      assert.equal((await rig.gate.reload()).code, 0);
      assert.equal(await cost(), '0.007000000');
      fs.writeFileSync(file,
        'updated: 2026-13-01\nprices:\n- {model: demo, input: -1}\n');
      const r = await rig.gate.ctl(['reload'], { json: false });
      assert.equal(r.code, 1);
      assert.ok(r.stderr.includes(`${file}:1:10: updated: "2026-13-01"`),
        r.stderr);
      assert.ok(r.stderr.includes(`${file}:3:24: prices[].input: "-1" is ` +
        'negative'), r.stderr);
      assert.equal(await cost(), '0.007000000');
      const t = await runProgram(program('tollgate'),
        ['-t', '-c', rig.gate.configFile],
        { env: { ...process.env, E2E_UPSTREAM_KEY: 'x' } });
      assert.equal(t.code, 78);
      assert.match(t.stderr, /prices\.yaml:3:24: /);
      assert.match(t.stderr, /2 mistakes in the config/);
      writePrices(PRICES);
      assert.equal((await rig.gate.reload()).code, 0);
      assert.equal(await cost(), '0.001250000');
    });

  test('stale prices are charged, and said wherever they count', async () => {
    writePrices([{ model: 'demo', input: 1, output: 1 },
      { model: 'thinker', input: 1, output: 1, updated: TODAY }],
    '2020-02-29');
    const r = await rig.gate.must(['reload']);
    assert.match(r.report, /prices\.yaml:1:10: warning: updated: the prices /);
    for (const [model, stale] of [['demo', true], ['thinker', false]]) {
      rig.up.script({ edit: telling(chatUsage(1000, 0)) });
      const { response } = await clients.openai.chat.completions.create(
        ask('hey', { model })).withResponse();
      assert.equal(response.headers.get('x-tollgate-cost-usd'), '0.001000000');
      const row = await rowOf(response);
      assert.equal(row.stale_price, stale);
      assert.equal(row.unpriced, false);
    }
    await until('the warning', () => rig.gate.log.split('\n').some((l) =>
      l.includes('the price of this model is stale') &&
      l.includes('model=demo')));
    const text = await (await fetch(`${rig.origin}/metrics`)).text();
    assert.match(text,
      /^tollgate_stale_price_requests_total\{model="\*",target="up"\} 1$/m);
    assert.match(text,
      /^tollgate_prices_updated_timestamp_seconds 1582934400$/m);
    const { prices } = await rig.gate.must(['status']);
    assert.deepEqual(prices,
      { file, updated: '2020-02-29', entries: 2, stale: true });
    writePrices(PRICES);
    assert.equal((await rig.gate.reload()).code, 0);
  });

  test('models without a price are told before they are asked for',
    async () => {
      const want = (model, upstream) => `no price for the model "${model}" ` +
        `of the upstream "${upstream}", its cost will count as 0; add it to ` +
        file;
      const config = rig.gate.config;
      rig.gate.writeConfig({ ...config, routes: [...config.routes,
        { model: 'newest', targets: [{ upstream: 'up', model: 'newest-1' },
          { upstream: 'up', model: 'thinker' }] }] });
      const r = await rig.gate.must(['reload']);
      assert.ok(r.report.includes(want('newest-1', 'up')), r.report);
      assert.ok(!r.report.includes('thinker'), r.report);
      const t = await runProgram(program('tollgate'),
        ['-t', '-c', rig.gate.configFile],
        { env: { ...process.env, E2E_UPSTREAM_KEY: 'x' } });
      assert.equal(t.code, 0);
      assert.ok(t.stderr.includes(`warning: ${want('newest-1', 'up')}`),
        t.stderr);
      rig.gate.writeConfig(config);
      assert.equal((await rig.gate.must(['reload'])).report, '');
    });

  test('config explain tells the price that holds', async () => {
    const explain = async (model) => (await rig.gate.must(
      ['config', 'explain', 'e2e', model])).prices;
    assert.deepEqual(await explain('cheap'), [{ target: 'other/demo',
      unpriced: false, stale: false, free: false, updated: TODAY,
      input: '2', output: '3' }].map((p) => ({ ...p,
      line: 1 + fs.readFileSync(file, 'utf8').split('\n')
        .findIndex((l) => l.includes('"other"')) })));
    const [tiny] = await explain('tiny-price');
    assert.equal(tiny.input, '0.000001');
    const [none] = await explain('unheard-of');
    assert.deepEqual(none, { target: 'up/unheard-of', unpriced: true,
      stale: false, free: false });
  });

  test('what is passed on has no usage, and so no price but by request',
    async () => {
      const post = () => rig.fetch('/v1/threads', { json: { a: 1 } });
      const told = async (r) => {
        await r.text();
        return rowOf(r);
      };
      /* a tunnel shows nothing of what is said in it */
      const tunnel = async () => {
        const ws = new WebSocket(
          `${rig.origin.replace('http', 'ws')}/v1/realtime?model=demo`,
          { headers: { authorization: `Bearer ${rig.key}` } });
        await new Promise((resolve, reject) => {
          ws.once('open', resolve);
          ws.once('error', reject);
        });
        ws.close();
        const line = await rig.gate.accessRow('of the tunnel',
          (x) => x.path === '/v1/realtime');
        return rig.gate.must(['request', 'show', line.id]);
      };
      let row = await told(await post());
      assert.equal(row.unpriced, true);
      assert.equal(row.cost_usd, '0.000000000');
      row = await told(await rig.fetch('/v1/threads/abc'));
      assert.equal(row.unpriced, false);
      row = await tunnel();
      assert.equal(row.unpriced, true);
      writePrices([...PRICES, { target: 'up', input: 1, output: 1 }]);
      assert.equal((await rig.gate.reload()).code, 0);
      row = await told(await post());
      assert.equal(row.unpriced, true);
      writePrices([...PRICES, { target: 'up', request: 0.002 }]);
      assert.equal((await rig.gate.reload()).code, 0);
      row = await told(await post());
      assert.equal(row.unpriced, false);
      assert.equal(row.cost_usd, '0.002000000');
      row = await told(await rig.fetch('/v1/threads/abc'));
      assert.equal(row.cost_usd, '0.000000000');
      writePrices(PRICES);
      assert.equal((await rig.gate.reload()).code, 0);
    });

  test('a file that is named must be there', async () => {
    fs.renameSync(file, `${file}.away`);
    const r = await rig.gate.ctl(['reload'], { json: false });
    fs.renameSync(`${file}.away`, file);
    assert.equal(r.code, 1);
    assert.match(r.stderr, /prices: .*prices\.yaml cannot be read/);
  });
});

describe('prices of engine models', GATE_ONLY, () => {
  let engine;
  let dir;

  const ask5 = (more) => engine.fetch('/v1/chat/completions',
    { json: ask('hello', { max_tokens: 5, ...more }) });
  const show = (r) => until('the row', async () => {
    const shown = await engine.gate.ctl(
      ['request', 'show', r.headers.get('x-request-id')]);
    return shown.code === 0 && shown.json;
  });

  before(async () => {
    dir = fs.mkdtempSync(path.join(os.tmpdir(), 'tg-prices-'));
    fs.writeFileSync(path.join(dir, 'p.yaml'), toYaml({ updated: TODAY,
      prices: [{ model: '*', input: 1000, output: 1000 }] }));
    engine = await startEngine(
      { config: { prices: path.join(dir, 'p.yaml') } });
  });
  after(async () => {
    await engine?.close();
    fs.rmSync(dir, { recursive: true, force: true });
  });

  test('free, unless they are meant', async () => {
    const r = await ask5();
    assert.equal(r.status, 200);
    await r.text();
    assert.equal(r.headers.get('x-tollgate-cost-usd'), '0.000000000');
    const row = await show(r);
    assert.equal(row.cost_usd, '0.000000000');
    assert.equal(row.unpriced, false);
    assert.equal(engine.gate.log.includes('no price for'), false);
  });

  test('an entry with their name prices what the engine counted', async () => {
    fs.writeFileSync(path.join(dir, 'p.yaml'), toYaml({ updated: TODAY,
      prices: [{ target: 'demo', input: 0.5, cached_input: 0.05,
        output: 2 }] }));
    assert.equal((await engine.gate.reload()).code, 0);
    for (const stream of [false, true]) {
      const r = await ask5({ stream });
      await r.text();
      const row = await show(r);
      assert.equal(row.usage_source, 'engine');
      assert.ok(row.output_tokens > 0);
      const want = usd((row.input_tokens - row.cached_tokens) * 500 +
        row.cached_tokens * 50 + row.output_tokens * 2000);
      assert.equal(row.cost_usd, want);
      assert.equal(r.headers.get('x-tollgate-cost-usd'),
        stream ? null : want);
    }
  });

  test('one that is left is charged for what it had made', async () => {
    const c = await RawClient.connect(engine.address);
    await c.send(requestBytes('POST', '/v1/chat/completions',
      [['Authorization', `Bearer ${engine.key}`],
        ['Content-Type', 'application/json']],
      /* More than fits between the two: it cannot be over by then. */
      JSON.stringify(ask('hello', { stream: true, max_tokens: 1200, n: 8,
        ignore_eos: true }))));
    await c.reader.readUntil(Buffer.from('"content"'));
    c.destroy();
    const line = await engine.gate.accessRow('of the one that left',
      (x) => x.status === 499);
    const { json: row } = await engine.gate.ctl(['request', 'show', line.id]);
    assert.equal(row.usage_source, 'engine');
    assert.equal(row.estimated, false);
    assert.equal(row.cost_usd,
      usd((row.input_tokens - row.cached_tokens) * 500 +
        row.cached_tokens * 50 + row.output_tokens * 2000));
  });
});
