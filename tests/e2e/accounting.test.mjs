// Usage rows, access log, metrics: complete, right, and without a secret.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, beforeEach, describe, test } from 'node:test';

import { toFile } from 'openai';

import { ask, collect, openaiFor } from './lib/openai.mjs';
import { Plan } from './lib/provider/http.mjs';
import { GATE_ONLY, startRig, upstreamEntry } from './lib/rig.mjs';
import { runProgram, program } from './lib/tollgate.mjs';
import { until } from './lib/until.mjs';

const CANARY = 'canary-prompt-words-1f2e3d';
const SAID = 'canary-completion-9a8b7c';

let rig;
let client;

const rowOf = (response) => rig.gate.accessRow('the request',
  (x) => x.id === response.headers.get('x-request-id'));

const FIELDS = ['time', 'id', 'key', 'team', 'method', 'path', 'model',
  'target', 'status', 'stream', 'attempts', 'cache', 'input_tokens',
  'cached_tokens', 'output_tokens', 'usage_source', 'cost_nusd', 'finish',
  'reason', 'ms_total', 'ms_first_byte', 'us_overhead', 'bytes_in',
  'bytes_out'];

/** Prometheus text to a list of {name, labels, value}; throws on bad lines. */
function parseMetrics(text) {
  const label = '[a-zA-Z_]\\w*="(?:[^"\\\\\\n]|\\\\.)*"';
  const line = new RegExp(
    `^([a-zA-Z_:][\\w:]*)(?:\\{((?:${label},?)*)\\})? (\\S+)$`);
  const out = [];
  for (const l of text.split('\n')) {
    if (l === '' || l.startsWith('#')) {
      if (l.startsWith('#')) assert.match(l, /^# (HELP|TYPE) \w+ ./);
      continue;
    }
    const m = line.exec(l);
    assert.ok(m, `no metric line: ${l}`);
    const value = m[3] === '+Inf' ? Infinity : Number(m[3]);
    assert.ok(!Number.isNaN(value), l);
    out.push({ name: m[1], labels: Object.fromEntries(
      [...(m[2] ?? '').matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)]
        .map((x) => [x[1], x[2]])), value });
  }
  return out;
}

const metrics = async () =>
  parseMetrics(await (await fetch(`${rig.origin}/metrics`)).text());

const sum = (all, name, want = {}) => all
  .filter((m) => m.name === name && Object.entries(want)
    .every(([k, v]) => m.labels[k] === v))
  .reduce((s, m) => s + m.value, 0);

describe('accounting', GATE_ONLY, () => {
  before(async () => {
    rig = await startRig({ config: (up) => ({
      upstreams: [upstreamEntry(up, { models: ['demo', 'gpt-5-mini'] }),
        { ...upstreamEntry(up), name: 'claude', dialect: 'anthropic',
          models: ['claude-*'] }] }) });
    client = openaiFor(rig);
  });
  beforeEach(() => rig.up.clear());
  after(() => rig?.close());

  test('access log: exactly the promised fields, typed', async () => {
    for (const stream of [false, true]) {
      const { data, response } = await client.chat.completions.create(
        ask('one two', { stream })).withResponse();
      if (stream) await collect(data);
      const row = await rowOf(response);
      assert.deepEqual(Object.keys(row).sort(), [...FIELDS].sort());
      assert.match(row.time, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z$/);
      assert.equal(row.key, rig.keyObject.id);
      assert.equal(row.method, 'POST');
      assert.equal(row.path, '/v1/chat/completions');
      assert.equal(row.model, 'demo');
      assert.equal(row.target, 'up');
      assert.equal(row.status, 200);
      assert.equal(row.stream, stream);
      assert.equal(row.attempts, 1);
      assert.equal(row.input_tokens, 3);
      assert.equal(row.cached_tokens, 0);
      assert.equal(row.output_tokens, 4);
      assert.equal(row.usage_source, 'upstream');
      assert.equal(row.finish, 'stop');
      for (const f of ['ms_total', 'ms_first_byte', 'us_overhead', 'bytes_in',
        'bytes_out', 'cost_nusd'])
        assert.ok(Number.isInteger(row[f]) && row[f] >= 0, `${f}=${row[f]}`);
      assert.ok(row.bytes_in > 0 && row.bytes_out > 0);
      assert.ok(row.ms_total >= row.ms_first_byte);
    }
  });

  test('access log: a stream asked for is told when none came', async () => {
    for (const stream of [false, true]) {
      rig.up.script({ plan: () => Plan.bytes('<p>', 'text/html', 500) });
      const r = await rig.fetch('/v1/chat/completions',
        { json: ask('one', { stream }) });
      assert.equal(r.status, 502);
      await r.text();
      assert.equal((await rowOf(r)).stream, stream);
    }
  });

  test('bytes_out of a plain reply is the body\'s length', async () => {
    const r = await rig.fetch('/v1/chat/completions', { json: ask('hey') });
    const text = await r.text();
    const row = await rowOf(r);
    assert.equal(row.bytes_out, Buffer.byteLength(text));
    assert.equal(row.bytes_in, JSON.stringify(ask('hey')).length);
  });

  test('every dialect\'s usage is read, plain and streamed', async () => {
    const file = await toFile(Buffer.from('abc'), 'a.wav');
    const calls = {
      completions: () => client.completions.create(
        { model: 'demo', prompt: 'count to 7' }),
      'completions stream': () => client.completions.create(
        { model: 'demo', prompt: 'count to 8', stream: true }),
      embeddings: () => client.embeddings.create(
        { model: 'demo', input: 'a b c' }),
      responses: () => client.responses.create(
        { model: 'demo', input: 'count to 9' }),
      'responses stream': () => client.responses.create(
        { model: 'demo', input: 'count to 11', stream: true }),
      images: () => client.images.generate({ model: 'demo', prompt: 'a b' }),
      'images stream': () => client.images.generate(
        { model: 'demo', prompt: 'a b c', stream: true }),
      'transcription stream': () => client.audio.transcriptions.create(
        { model: 'demo', file, stream: true }),
    };
    for (const [name, call] of Object.entries(calls)) {
      const { data, response } = await call().withResponse();
      if (data?.[Symbol.asyncIterator]) await collect(data);
      const row = await rowOf(response);
      const { cost } = rig.up.last;
      assert.equal(row.input_tokens, cost.input, `${name}: input`);
      assert.equal(row.output_tokens, cost.output, `${name}: output`);
      assert.equal(row.usage_source, 'upstream', name);
      assert.equal(row.stream, name.endsWith('stream'), name);
    }
  });

  test('cached tokens are told apart', async () => {
    rig.up.cachedTokens = 2;
    const { response } = await client.chat.completions.create(
      ask('one two three')).withResponse();
    rig.up.cachedTokens = 0;
    const row = await rowOf(response);
    assert.equal(row.cached_tokens, 2);
    assert.equal(row.input_tokens, 4, 'cached ones are part of the input');
  });

  test('Anthropic usage', async () => {
    for (const stream of [false, true]) {
      const r = await rig.fetch('/v1/messages', {
        headers: { 'anthropic-version': '2023-06-01' },
        json: { ...ask('count to 6'), model: 'claude-e2e', max_tokens: 50,
          stream } });
      await r.text();
      const row = await rowOf(r);
      assert.equal(row.input_tokens, 4);
      assert.equal(row.output_tokens, 6);
      assert.equal(row.target, 'claude');
      assert.equal(row.finish, 'end_turn');
    }
  });

  test('refusals have rows too: 401, 404, 400', async () => {
    const bad = [
      [await fetch(`${rig.baseUrl}/models`), 401],
      [await rig.fetch('/v1/chat/completions',
        { json: { ...ask('x'), model: 'none' } }), 404],
      [await rig.fetch('/v1/chat/completions', { body: '{' }), 400],
    ];
    for (const [r, status] of bad) {
      assert.equal(r.status, status);
      const row = await rowOf(r);
      assert.equal(row.status, status);
      assert.ok(row.reason, 'a reason is given');
      assert.equal(row.output_tokens, 0);
    }
  });

  test('usage: totals equal what the provider really did', async () => {
    await rig.gate.must(['team', 'create', 'blue']);
    const key = await rig.gate.createKey('totals', '--team', 'blue');
    const mine = openaiFor({ baseUrl: rig.baseUrl, key: key.key });
    rig.up.clear();
    const jobs = Array.from({ length: 120 }, (_, i) => async () => {
      const stream = i % 2 === 0;
      const r = await mine.chat.completions.create(
        { ...ask(`count to ${1 + (i % 9)}`, { stream }),
          model: i % 3 === 0 ? 'gpt-5-mini' : 'demo' });
      if (stream) await collect(r);
    });
    const lanes = Array.from({ length: 12 }, (_, k) => (async () => {
      for (let i = k; i < jobs.length; i += 12) await jobs[i]();
    })());
    await Promise.all(lanes);
    const [total] = await rig.gate.usageOf(120, '--key', key.id);
    assert.equal(total.requests, 120);
    assert.equal(total.input_tokens, rig.up.cost.input);
    assert.equal(total.output_tokens, rig.up.cost.output);
    const byModel = await rig.gate.usageOf(
      120, '--key', key.id, '--by', 'model');
    assert.deepEqual(byModel.map((x) => [x.model, x.requests]).sort(),
      [['demo', 80], ['gpt-5-mini', 40]]);
    const team = await rig.gate.usageOf(120, '--team', 'blue');
    assert.equal(team[0].requests, 120);
    for (const by of ['key', 'team', 'day', 'target']) {
      const data = await rig.gate.usageOf(120, '--by', by);
      assert.ok(data.every((x) => typeof x[by] === 'string'), by);
      for (const x of data)
        for (const f of ['requests', 'input_tokens', 'cached_tokens',
          'output_tokens'])
          assert.ok(Number.isInteger(x[f]), `${by}: ${f}`);
    }
    const today = new Date().toISOString().slice(0, 10);
    const days = await rig.gate.usageOf(120, '--by', 'day');
    assert.ok(days.some((d) => d.day <= today));
    const none = await rig.gate.must(
      ['usage', '--until', '2020-01-01T00:00:00Z']);
    assert.equal(none.data.reduce((s, x) => s + x.requests, 0), 0);
    assert.ok((await rig.gate.usageOf(120, '--since', '7d')).length > 0);
  });

  test('metrics: well-formed, and they move with requests', async () => {
    const before = await metrics();
    const ok = { target: 'up', model: 'demo', status: '200' };
    await client.chat.completions.create(ask('count to 5'));
    await collect(await client.chat.completions.create(
      ask('count to 5', { stream: true })));
    const after2 = await until('the counters', async () => {
      const m = await metrics();
      return sum(m, 'tollgate_requests_total', ok) -
        sum(before, 'tollgate_requests_total', ok) === 2 ? m : undefined;
    });
    const delta = (name, want) => sum(after2, name, want) -
      sum(before, name, want);
    assert.equal(delta('tollgate_tokens_total', { kind: 'output' }), 10);
    assert.equal(delta('tollgate_tokens_total', { kind: 'input' }), 8);
    const mine = { target: 'up', model: 'demo' };
    assert.equal(delta('tollgate_request_seconds_count', mine), 2);
    assert.ok(
      delta('tollgate_time_to_first_token_seconds_count', mine) >= 1);
    assert.equal(delta('tollgate_overhead_seconds_count', mine), 2);
    assert.ok(delta('tollgate_overhead_seconds_sum', mine) > 0,
      'our own time is measured');
    assert.ok(sum(after2, 'tollgate_loop_lag_seconds') >= 0);
  });

  test('metrics: histograms only grow along their buckets', async () => {
    const all = await metrics();
    const groups = new Map();
    for (const m of all.filter((x) => x.name.endsWith('_bucket'))) {
      const { le, ...rest } = m.labels;
      const id = m.name + JSON.stringify(rest);
      groups.set(id, [...(groups.get(id) ?? []),
        [le === '+Inf' ? Infinity : Number(le), m.value]]);
    }
    assert.ok(groups.size > 0);
    for (const [id, buckets] of groups)
      for (let i = 1; i < buckets.length; i++) {
        assert.ok(buckets[i][0] > buckets[i - 1][0], id);
        assert.ok(buckets[i][1] >= buckets[i - 1][1], id);
      }
    for (const [id, buckets] of groups)
      assert.equal(buckets.at(-1)[0], Infinity, id);
  });

  test('metrics: labels come from the config, never from requests',
    async () => {
      const ask30 = async (word) => {
        for (let i = 0; i < 30; i++) {
          await (await rig.fetch('/v1/chat/completions',
            { json: { ...ask('x'), model: `${word}-${i}` } })).text();
          await (await rig.fetch(`/v1/agents/${word}-${i}`)).text();
        }
        return metrics();
      };
      const first = await ask30('made-up');
      const second = await ask30('invented');
      assert.doesNotMatch(JSON.stringify(second), /made-up|invented/);
      assert.equal(second.length, first.length, 'no new series');
    });

  test('metrics: each family is one group, told before its samples',
    async () => {
      const text = await (await fetch(`${rig.origin}/metrics`)).text();
      const types = new Map();
      const order = [];
      for (const l of text.split('\n').filter(Boolean)) {
        const type = /^# TYPE (\w+) (\w+)$/.exec(l);
        if (type) {
          assert.ok(!types.has(type[1]), `${type[1]} is told twice`);
          types.set(type[1], type[2]);
        }
        if (l.startsWith('#')) continue;
        const name = /^\w+/.exec(l)[0];
        const family = types.has(name) ? name
          : name.replace(/_(bucket|sum|count)$/, '');
        assert.ok(types.has(family), `${name} has no TYPE before it`);
        if (order.at(-1) !== family) order.push(family);
      }
      assert.equal(new Set(order).size, order.length,
        `families are torn apart: ${order.filter((f, i) =>
          order.indexOf(f) !== i)}`);
    });

  test('no prompt, completion, key or query in any log, file or metric',
    async () => {
      const question = ask(`say ${SAID} ${CANARY}`);
      await client.chat.completions.create(question);
      await collect(await client.chat.completions.create(
        { ...question, stream: true }));
      rig.up.script({ fault: 'status', code: 400,
        message: `you said ${CANARY}` });
      await client.chat.completions.create(question).catch(() => {});
      await rig.fetch(`/v1/agents?q=${CANARY}`, { json: { x: CANARY } });
      await rig.fetch('/v1/chat/completions', { body: `{"${CANARY}": ` });
      const r = await rig.fetch('/v1/agents', {
        json: {}, headers: { 'x-canary': CANARY } });
      await rowOf(r);
      const where = {
        log: rig.gate.log,
        access: fs.readFileSync(rig.gate.accessFile, 'utf8'),
        metrics: await (await fetch(`${rig.origin}/metrics`)).text(),
      };
      for (const f of fs.readdirSync(rig.gate.stateDir, {
        recursive: true, withFileTypes: true }).filter((x) => x.isFile()))
        where[f.name] = fs.readFileSync(
          path.join(f.parentPath, f.name), 'latin1');
      for (const [name, text] of Object.entries(where))
        for (const secret of [CANARY, SAID, rig.key])
          assert.ok(!text.includes(secret), `${secret} is in ${name}`);
    });

  test('tollctl usage as a table shows the same numbers', async () => {
    const r = await runProgram(program('tollctl'),
      ['--socket', rig.gate.socketFile, 'usage', '--by', 'model']);
    assert.equal(r.code, 0, r.stderr);
    assert.match(r.stdout, /demo/);
    assert.ok(r.stdout.split('\n').length >= 3);
  });

  test('usage survives a restart', async () => {
    const before = await rig.gate.must(['usage', '--by', 'key']);
    const requests = before.data.reduce((s, x) => s + x.requests, 0);
    await rig.gate.stop();
    await rig.gate.start();
    const again = await rig.gate.must(['usage', '--by', 'key']);
    assert.ok(again.data.reduce((s, x) => s + x.requests, 0) >= requests);
  });
});

describe('metrics on an address of their own', GATE_ONLY, () => {
  test('there, and not on the main listener', async () => {
    const own = await startRig({
      config: { metrics: { address: '127.0.0.1:0' } } });
    try {
      const main = await fetch(`${own.origin}/metrics`);
      assert.notEqual(main.status, 200);
      const { metrics: there } = await own.gate.must(['status']);
      assert.ok(!own.gate.addresses.includes(there));
      const r = await fetch(`http://${there}/metrics`);
      assert.equal(r.status, 200);
      parseMetrics(await r.text());
    } finally {
      await own.close();
    }
  });
});
