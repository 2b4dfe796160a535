// The built-in engine as a part of the gateway: clients that leave, many at
// once, slow readers, routes, drain, reload, numbers, and models that cannot
// be served.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';

import { CONTEXT, startEngine, tinyModel } from './lib/engine.mjs';
import { ask, collect, openaiFor } from './lib/openai.mjs';
import { prng } from './lib/prng.mjs';
import { RawClient, requestBytes } from './lib/raw.mjs';
import { UPSTREAM_KEY, program, runProgram, startTollgate } from './lib/tollgate.mjs';
import { until } from './lib/until.mjs';
import { startUpstream } from './lib/upstream.mjs';
import { toYaml } from './lib/yaml.mjs';
import { upstreamEntry } from './lib/rig.mjs';

let rig;
let client;
before(async () => {
  rig = await startEngine({ model: { slots: 4 } });
  client = openaiFor(rig);
});
after(() => rig?.close());

/* Long, and never over before its time. */
const LONG = { max_tokens: 1200, ignore_eos: true };
const chat = (more = {}) => client.chat.completions.create({
  ...ask('the cat ran'), seed: 3, ...more });

describe('engine clients that leave', () => {
  test('a stream that is given up frees its slot', async () => {
    const before = await rig.metric('engine_cancelled_total', 'model="demo"');
    const stream = await chat({ ...LONG, n: 8, stream: true });
    for await (const c of stream) if (c.choices[0]?.delta.content) break;
    await rig.idle();
    assert.ok(await rig.metric('engine_cancelled_total', 'model="demo"') > before);
    const row = await rig.gate.accessRow('gone', (x) => x.status === 499);
    assert.equal(row.usage_source, 'engine');
    assert.ok(row.output_tokens > 0 &&
      row.output_tokens < 8 * LONG.max_tokens);
    assert.ok(row.input_tokens > 0);
  });

  test('they are charged what was generated, to the token', async () => {
    const next = prng(5);
    const made = () =>
      rig.metric('engine_generated_tokens_total', 'model="demo"');
    const rows = () => rig.gate.accessRows().filter((x) => x.usage_source === 'engine');
    const [had, charged] = [await made(), rows().length];
    const one = async (i) => {
      const leaves = AbortSignal.timeout(1 + Math.floor(next() * 120));
      const body = { ...ask('the cat ran'), ...LONG, stream: i % 2 === 0,
        n: 1 + i % 3, model: 'demo' };
      await fetch(`${rig.origin}/v1/chat/completions`, {
        method: 'POST', signal: leaves, body: JSON.stringify(body),
        headers: { authorization: `Bearer ${rig.key}`,
          'content-type': 'application/json' },
      }).then((r) => r.text()).then(() => assert.fail('too fast'), () => {});
    };
    for (let round = 0; round < 4; round++)
      await Promise.all(Array.from({ length: 16 }, (_, i) => one(i)));
    await rig.idle();
    const n = await made() - had;
    assert.ok(n > 100, `${n} tokens were generated`);
    const sum = await until('the rows', () => {
      const s = rows().slice(charged).reduce((a, x) => a + x.output_tokens, 0);
      return s >= n ? s : undefined;
    });
    assert.equal(sum, n);
    assert.ok(rows().every((x) => !x.estimated));
  });

  test('a whole reply that nobody waits for ends, too', async () => {
    const c = await RawClient.connect(rig.address);
    await c.send(requestBytes('POST', '/v1/chat/completions', [
      ['authorization', `Bearer ${rig.key}`], ['content-type', 'application/json'],
    ], JSON.stringify({ ...ask('the dog'), ...LONG, n: 4 })));
    await until('it runs', async () =>
      (await rig.metric('engine_batch', 'model="demo"')) > 0);
    c.reset();
    await rig.idle();
  });

  test('many at once with random leaving: each gets its own text', async () => {
    const next = prng(11);
    const texts = new Map();
    for (let seed = 0; seed < 8; seed++)
      texts.set(seed, (await chat({ seed, max_tokens: 40, ignore_eos: true }))
        .choices[0].message.content);
    const one = async (seed, leaves) => {
      const stream = await chat({ seed, max_tokens: 40, ignore_eos: true,
        stream: true });
      let text = '';
      for await (const c of stream) {
        text += c.choices[0]?.delta.content ?? '';
        if (text.length > leaves) break;
      }
      if (text.length <= leaves) assert.equal(text, texts.get(seed));
      else assert.ok(texts.get(seed).startsWith(text.trimEnd()) ||
        texts.get(seed).startsWith(text));
    };
    for (let round = 0; round < 4; round++)
      await Promise.all(Array.from({ length: 24 }, () =>
        one(Math.floor(next() * 8), next() < 0.4 ? next() * 60 : Infinity)));
    await rig.idle();
    assert.equal(await rig.metric('in_flight'), 1, 'the scrape alone');
  });

  test('a reader that stops holds its own stream only', async () => {
    const c = await RawClient.connect(rig.address);
    c.pause();
    await c.send(requestBytes('POST', '/v1/chat/completions', [
      ['authorization', `Bearer ${rig.key}`], ['content-type', 'application/json'],
    ], JSON.stringify({ ...ask('the dog'), ...LONG, stream: true, n: 4,
      logprobs: true, top_logprobs: 20 })));
    const r = await chat({ max_tokens: 10 });
    assert.ok(r.usage.completion_tokens > 0);
    c.resume();
    const reply = await c.readReply({ method: 'POST' });
    assert.match(reply.text, /data: \[DONE\]\n\n$/);
    c.destroy();
    await rig.idle();
  });
});

const SOAK_S = Number(process.env.E2E_SOAK_S ?? 0);

describe('engine for a long time', {
  skip: SOAK_S === 0 && 'E2E_SOAK_S says for how many seconds',
}, () => {
  const words = ['the cat', 'the dog ran', 'a red sun', 'to in on'];
  const cases = Array.from({ length: 16 }, (_, i) => ({
    ...ask(words[i % 4].repeat(1 + i)), seed: i, temperature: i % 3,
    max_tokens: 10 + 5 * i, ignore_eos: true }));

  test('64 at once with random leaving: no leak, no wrong stream', {
    timeout: (SOAK_S + 120) * 1000 }, async () => {
    const texts = [];
    for (const c of cases)
      texts.push((await client.chat.completions.create(c))
        .choices[0].message.content);
    const end = Date.now() + SOAK_S * 1000;
    const next = prng(64);
    let done = 0, left = 0;
    const one = async () => {
      const i = Math.floor(next() * cases.length);
      const leaves = next() < 0.5 ? next() * texts[i].length : Infinity;
      const s = await client.chat.completions.create({ ...cases[i], stream: true });
      let text = '';
      for await (const c of s) {
        text += c.choices[0]?.delta.content ?? '';
        if (text.length > leaves) break;
      }
      assert.equal(text, texts[i].slice(0, text.length));
      if (text.length > leaves) return left++;
      assert.equal(text, texts[i]);
      return done++;
    };
    const lane = async () => {
      while (Date.now() < end) await one();
    };
    const resident = () => rig.metric('resident_bytes');
    await Promise.all(Array.from({ length: 64 }, one));
    const before = await resident();
    await Promise.all(Array.from({ length: 64 }, lane));
    await rig.idle();
    const after = await resident();
    const grown = after - before;
    const cancelled = await rig.metric('engine_cancelled_total', 'model="demo"');
    console.log(`soak: ${SOAK_S} s, ${done} whole, ${left} given up, ` +
      `${cancelled} cancelled, resident ${before} bytes after 64, ` +
      `${after} at the end`);
    assert.ok(done > 0 && left > 0);
    assert.ok(grown < 64 << 20, `${grown} bytes more`);
    assert.equal(await rig.metric('in_flight'), 1, 'the scrape alone');
  });
});

describe('engine in the gateway', () => {
  test('rows, metrics and tollctl tell what was done', async () => {
    const r = await chat({ max_tokens: 6, ignore_eos: true });
    const row = await until('the row', async () => {
      const x = await rig.gate.ctl(['request', 'show', r._request_id]);
      return x.code === 0 ? x.json : undefined;
    });
    assert.equal(row.usage_source, 'engine');
    assert.equal(row.output_tokens, 6);
    assert.equal(row.target, 'demo');
    for (const source of ['device', 'computed'])
      assert.ok(await rig.metric('prefix_tokens_total',
        `model="demo",source="${source}"`) >= 0);
    assert.ok(await rig.metric('tokens_total',
      'model="demo",target="demo",kind="output"') > 0);
    assert.ok(await rig.metric('time_to_first_token_seconds_count',
      'model="demo",target="demo"') > 0);
    const { data: targets } = await rig.gate.must(['target', 'list']);
    const t = targets.find((x) => x.name === 'demo');
    assert.equal(t.kind, 'engine');
    assert.equal(t.state, 'up');
    assert.equal(t.engine.context_length, CONTEXT);
    assert.equal(t.engine.slots, 4);
    const { data: models } = await rig.gate.must(['model', 'list']);
    assert.equal(models.find((m) => m.id === 'demo').context_length, CONTEXT);
    const top = await rig.gate.ctl(['top'], { json: false });
    assert.match(top.stdout, /engine .*running/);
  });

  test('a drained model takes nothing new', async () => {
    await rig.gate.must(['target', 'drain', 'demo']);
    await assert.rejects(chat({ max_tokens: 3 }), (e) =>
      e.status === 503 && e.code === 'overloaded' &&
      Number(e.headers.get('retry-after')) > 0 && /'demo' was drained/.test(e.message));
    await rig.gate.must(['target', 'resume', 'demo']);
    assert.ok((await chat({ max_tokens: 3 })).id);
  });

  test('a key without the model cannot use it', async () => {
    const key = await rig.gate.createKey('else', '--models', 'gpt-*');
    await assert.rejects(openaiFor(rig, { apiKey: key.key })
      .chat.completions.create(ask('x')), (e) => e.status === 404);
    const r = await rig.fetch('/tokenize', { json: { content: 'x' },
      headers: { authorization: `Bearer ${key.key}` } });
    assert.equal(r.status, 400);
  });

  test('a reload says that models wait for a restart', async () => {
    rig.gate.writeConfig({ ...rig.gate.config, engine: { models: [
      ...rig.gate.config.engine.models,
      { name: 'second', path: tinyModel() }] } });
    const r = await rig.gate.reload();
    assert.match(r.json.report, /engine\.models.* holds only after a restart/);
    assert.match(r.json.report, /engine changes need a restart/);
    assert.ok((await chat({ max_tokens: 3 })).id);
    await assert.rejects(client.chat.completions.create({ ...ask('x'),
      model: 'second' }), (e) => e.status === 404);
  });
});

describe('engine behind routes', () => {
  test('targets share by weight, and replies keep the route\'s name', async () => {
    const up = await startUpstream({ keys: [UPSTREAM_KEY] });
    const mixed = await startEngine({ config: {
      upstreams: [upstreamEntry(up)],
      routes: [
        { model: 'fast', targets: [{ engine: 'demo', weight: 1 },
          { upstream: 'up', model: 'big', weight: 1 }] },
        { model: 'own', targets: [{ engine: 'demo' }] }] } });
    try {
      const c = openaiFor(mixed);
      const own = await c.chat.completions.create({ ...ask('x'), model: 'own',
        max_tokens: 3 });
      assert.equal(own.model, 'own');
      const seen = new Set();
      for (let i = 0; i < 40 && seen.size < 2; i++) {
        const { data, response } = await c.chat.completions.create({
          ...ask('x'), model: 'fast', max_tokens: 3 }).withResponse();
        assert.equal(data.model, 'fast');
        seen.add(response.headers.get('x-tollgate-target'));
      }
      assert.deepEqual([...seen].sort(), ['demo', 'up']);
      const list = (await (await mixed.fetch('/v1/models')).json()).data;
      assert.equal(list.find((m) => m.id === 'own').context_length, CONTEXT);
      await mixed.gate.must(['target', 'drain', 'demo']);
      for (let i = 0; i < 6; i++) {
        const { response } = await c.chat.completions.create({
          ...ask('x'), model: 'fast', max_tokens: 3 }).withResponse();
        assert.equal(response.headers.get('x-tollgate-target'), 'up');
      }
    } finally {
      await mixed.close();
      await up.close();
    }
  });
});

describe('engine under load', () => {
  test('a full queue is told at once, and pings fill a long wait', async () => {
    const small = await startEngine({
      model: { slots: 1 }, config: { keepalive: { interval: '100ms' } } });
    try {
      const c = openaiFor(small);
      const first = await c.chat.completions.create({
        ...ask('x'), ...LONG, stream: true });
      const raw = await RawClient.connect(small.address);
      await raw.send(requestBytes('POST', '/v1/chat/completions', [
        ['authorization', `Bearer ${small.key}`],
        ['content-type', 'application/json']],
      JSON.stringify({ ...ask('y'), max_tokens: 2, stream: true })));
      const [reply] = await Promise.all([raw.readReply({ method: 'POST' }),
        collect(first)]);
      assert.equal(reply.status, 200);
      assert.match(reply.text, /\[DONE\]/);
      raw.destroy();
      await small.idle();
    } finally {
      await small.close();
    }
  });

  test('what waits is bounded: 429 with a time to come back', async () => {
    const small = await startEngine({ model: { slots: 1 } });
    try {
      const c = openaiFor(small);
      const stop = new AbortController();
      const all = Array.from({ length: 300 }, () =>
        c.chat.completions.create({ ...ask('x'), ...LONG },
          { signal: stop.signal }).catch((e) => e));
      const told = await Promise.race(all.map((p) => p.then((e) =>
        e.status === 429 ? e : new Promise(() => {}))));
      assert.equal(told.code, 'rate_limit_exceeded');
      assert.ok(Number(told.headers.get('retry-after')) >= 1);
      stop.abort();
      await Promise.all(all);
      await small.idle();
    } finally {
      await small.close();
    }
  });

  test('an end in the middle is an error event, and a row', async () => {
    const short = await startEngine({ config: { drain_timeout: '200ms' } });
    const c = openaiFor(short);
    const stream = await c.chat.completions.create({ ...ask('x'), ...LONG,
      stream: true, n: 16, logprobs: true, top_logprobs: 20 });
    let failed;
    const reading = (async () => {
      for await (const x of stream) assert.ok(x);
    })().catch((e) => (failed = e));
    await until('it runs', async () =>
      (await short.metric('engine_batch', 'model="demo"')) > 0);
    const stopped = short.gate.stop();
    await reading;
    await stopped;
    if (failed) assert.match(String(failed), /shut|drain|closed|terminated|error/i);
    const row = short.gate.accessRows().at(-1);
    assert.equal(row.usage_source, 'engine');
    short.gate.remove();
  });
});

describe('engine models that cannot be served', () => {
  const check = async (config) => {
    const dir = fs.mkdtempSync(path.join(path.dirname(tinyModel()), 'c-'));
    const file = path.join(dir, 'tollgate.yaml');
    fs.writeFileSync(file, toYaml({ state_dir: path.join(dir, 'state'),
      listen: [{ address: '127.0.0.1:0' }], ...config }));
    return { ...await runProgram(program('tollgate'), ['-c', file, '-t']), file };
  };
  const models = (m) => ({ engine: { models: [{ name: 'demo', ...m }] } });

  test('are mistakes of the config, with their place', async () => {
    const torn = path.join(path.dirname(tinyModel()), 'torn.gguf');
    fs.writeFileSync(torn, fs.readFileSync(tinyModel()).subarray(0, 5000));
    const odd = tinyModel({ template: '{% frobnicate %}' });
    for (const [m, says] of [
      [{ path: '/nowhere/x.gguf' }, /nowhere/],
      [{ path: torn }, /torn\.gguf/],
      [{ path: odd }, /template.*line 1/],
      [{ path: tinyModel(), device: 'cuda:63' }, /(CUDA|NVIDIA|GPU).*write/],
      [{ path: tinyModel(), device: 'cuda:64' }, /cuda:64.*write auto, cpu/],
      [{ path: tinyModel(), kv_dtype: 'q8' }, /q8.*write f16/],
      [{ path: tinyModel(), device: 'cpu', weights: 'fp8' },
        /fp8 is not supported on the cpu.*write weights: auto/],
      [{ path: tinyModel(), weights: 'q4' }, /weights.*fp8/],
      [{ path: tinyModel(), context: 100000 }, /context: 100000 is more/]]) {
      const r = await check(models(m));
      assert.equal(r.code, 78, r.stderr);
      assert.match(r.stderr, says);
      assert.match(r.stderr, new RegExp(`^${r.file}:\\d+:\\d+: `, 'm'));
    }
    assert.equal((await check(models({ path: tinyModel() }))).code, 0);
  });

  test('every kv_dtype and a bounded context serve', async () => {
    for (const kv_dtype of ['f32', 'f16', 'bf16']) {
      const r = await startEngine({ model: { kv_dtype, context: 256, slots: 2 } });
      try {
        const x = await openaiFor(r).chat.completions.create({
          ...ask('the'), max_tokens: 3 });
        assert.ok(x.id);
        const list = (await (await r.fetch('/v1/models')).json()).data;
        assert.equal(list[0].context_length, 256);
      } finally {
        await r.close();
      }
    }
  });

  test('the built-in default serves the demo model', async () => {
    const gate = await startTollgate({});
    const dir = gate.dir;
    await gate.stop();
    const r = await runProgram(program('tollgate'), ['-t'], {
      env: { PATH: process.env.PATH, HOME: dir, XDG_STATE_HOME: dir,
        TOLLGATE_CONFIG: '', TOLLGATE_DEMO_MODEL: '/nowhere.gguf' } });
    gate.remove();
    if (fs.existsSync('/etc/tollgate/tollgate.yaml')) return;
    assert.equal(r.code, 78);
    assert.match(r.stderr, /demo model cannot be served/);
  });
});
