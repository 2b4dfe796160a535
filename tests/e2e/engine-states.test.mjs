// What a model is called and what state it is in: names as others publish
// them, loading, failing, waiting for a restart, and how each is told.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';

import { DEVICE, startEngine, tinyModel } from './lib/engine.mjs';
import { ask, openaiFor } from './lib/openai.mjs';
import { RawClient, requestBytes } from './lib/raw.mjs';
import { startRig } from './lib/rig.mjs';
import { memoryFactor, program, runProgram, startTollgate } from './lib/tollgate.mjs';
import { until, within } from './lib/until.mjs';

const HF = 'HuggingFaceTB/SmolLM2-135M-Instruct';
const TAG = 'llama3:8b';
const LONG = { max_tokens: 1200, ignore_eos: true };

/** Models of this name, all from the one small file. */
const models = (...names) => ({ engine: { models: names.map((name) =>
  ({ name, path: tinyModel() })) } });

const idsOf = async (rig) =>
  (await (await rig.fetch('/v1/models')).json()).data.map((m) => m.id);

let preload;

/** The library that stops a load, built once. */
async function holdload() {
  if (preload) return preload;
  const dir = path.dirname(tinyModel());
  const made = await runProgram('cc', ['-shared', '-fPIC', '-D_GNU_SOURCE',
    '-o', `${dir}/holdload.so`, fileURLToPath(
      new URL('lib/holdload.c', import.meta.url)), '-ldl']);
  assert.equal(made.code, 0, made.stderr);
  return (preload = `${dir}/holdload.so`);
}

const PRELOAD = {
  skip: memoryFactor() > 1 && 'a checked program cannot be preloaded',
};

/** A daemon whose one model is half loaded; resume() lets it go on. */
async function startHeld() {
  const dir = fs.mkdtempSync(path.join(path.dirname(tinyModel()), 'h-'));
  const file = path.join(dir, 'model.gguf');
  const flag = path.join(dir, 'hold');
  fs.copyFileSync(tinyModel(), file);
  assert.equal((await runProgram('mkfifo', [flag])).code, 0);
  const resume = () => {
    if (!fs.existsSync(flag)) return;
    const fd = fs.openSync(flag, 'r+');
    fs.rmSync(flag);
    fs.closeSync(fd);
  };
  const gate = await startTollgate({
    engine: { models: [{ name: 'demo', path: file }] } },
  { env: { LD_PRELOAD: await holdload(), HOLDLOAD: flag } });
  const key = await gate.createKey('e2e');
  return { gate, key: key.key, baseUrl: gate.baseUrl, file,
    resume,
    ready: () => fetch(`${gate.origin}/readyz`),
    fetch: (p) => fetch(gate.origin + p, {
      headers: { authorization: `Bearer ${key.key}` } }),
    close: async () => {
      resume();
      await gate.stop();
      gate.remove();
    } };
}

const failure = (promise) => promise.then(
  () => assert.fail('it was answered'), (e) => e);

describe('names of models', () => {
  let rig, client;
  before(async () => {
    rig = await startEngine({ config: models(HF, TAG) });
    client = openaiFor(rig);
  });
  after(() => rig?.close());

  test('slashes and colons are a name like any other', async () => {
    assert.deepEqual(await idsOf(rig), [HF, TAG]);
    for (const model of [HF, TAG]) {
      const { data, response } = await client.chat.completions.create({
        ...ask('the cat'), model, max_tokens: 3 }).withResponse();
      assert.equal(data.model, model);
      assert.equal(response.headers.get('x-tollgate-target'), model);
      assert.equal((await client.models.retrieve(model)).id, model);
      const t = await rig.fetch('/tokenize', { json: { model, content: 'the' } });
      assert.equal(t.status, 200);
    }
  });

  test('/v1/models/{id} takes them plain and percent-encoded', async () => {
    for (const id of [HF, encodeURIComponent(HF), HF.replace('/', '%2f'), TAG,
      'llama3%3A8b']) {
      const r = await rig.fetch(`/v1/models/${id}`);
      assert.equal(r.status, 200, id);
      assert.equal((await r.json()).id, decodeURIComponent(id));
    }
    assert.equal((await rig.fetch('/v1/models/HuggingFaceTB')).status, 404);
  });

  test('tollctl and metrics know them by it', async () => {
    await client.chat.completions.create({ ...ask('x'), model: HF, max_tokens: 2 });
    assert.ok(await rig.metric('engine_ready', `model="${HF}"`) === 1);
    await rig.gate.must(['target', 'drain', HF]);
    const e = await failure(client.chat.completions.create({ ...ask('x'),
      model: HF }));
    assert.equal(e.status, 503);
    assert.match(e.message, new RegExp(`'${HF}' was drained`));
    await rig.gate.must(['target', 'resume', HF]);
    const used = await rig.gate.usageOf(1, '--by', 'target');
    assert.ok(used.some((u) => u.target.startsWith(HF)));
    const key = await rig.gate.createKey('one', '--models', 'HuggingFaceTB/*');
    const own = openaiFor(rig, { apiKey: key.key });
    assert.equal((await own.models.list()).data[0].id, HF);
    const yaml = (await rig.gate.must(['config', 'show'])).yaml;
    const copy = path.join(rig.gate.dir, 'copy.yaml');
    fs.writeFileSync(copy, yaml);
    const r = await runProgram(program('tollgate'), ['-c', copy, '-t']);
    assert.equal(r.code, 0, r.stderr);
  });
});

describe('a reload', () => {
  test('leaves the engine as it is, and the list says what is served',
    async () => {
      const rig = await startEngine({ config: models('one', 'two') });
      try {
        rig.gate.writeConfig({ ...rig.gate.config, ...models('two', 'three'),
          cors: { origins: ['https://a.example'] } });
        const r = await rig.gate.reload();
        assert.equal(r.code, 0, r.stderr);
        assert.match(r.json.report, /engine changes need a restart/);
        await until('the log says so', () =>
          /engine changes need a restart/.test(rig.gate.log));
        assert.deepEqual(await idsOf(rig), ['one', 'two']);
        assert.equal((await rig.fetch('/v1/models/three')).status, 404);
        const client = openaiFor(rig);
        assert.ok((await client.chat.completions.create({ ...ask('x'),
          model: 'one', max_tokens: 2 })).id);
        assert.equal((await failure(client.chat.completions.create({
          ...ask('x'), model: 'three' }))).status, 404);
        const again = await rig.gate.reload();
        assert.match(again.json.report, /engine changes need a restart/,
          'it says so until the restart');
        await rig.gate.stop();
        await rig.gate.start();
        await until('loaded', async () =>
          (await fetch(`${rig.gate.origin}/readyz`)).status === 200);
        assert.deepEqual(await idsOf(rig), ['two', 'three']);
      } finally {
        await rig.close();
      }
    });

  test('a route to a model that waits for the restart says so', async () => {
    const rig = await startEngine({ config: models('one') });
    try {
      rig.gate.writeConfig({ ...rig.gate.config, ...models('one', 'two'),
        routes: [{ model: 'a', targets: [{ engine: 'one' }, { engine: 'two' }] },
          { model: 'b', targets: [{ engine: 'two' }] }] });
      assert.equal((await rig.gate.reload()).code, 0);
      assert.deepEqual(await idsOf(rig), ['a']);
      const client = openaiFor(rig);
      for (let i = 0; i < 6; i++)
        assert.ok((await client.chat.completions.create({ ...ask('x'),
          model: 'a', max_tokens: 2 })).id);
      const e = await failure(client.chat.completions.create({ ...ask('x'),
        model: 'b' }));
      assert.equal(e.status, 503);
      assert.equal(e.code, 'model_unavailable');
      assert.match(e.message, /waits for a restart/);
    } finally {
      await rig.close();
    }
  });

  test('refuses what a start would refuse', async () => {
    const rig = await startEngine();
    const torn = path.join(rig.gate.dir, 'torn.gguf');
    fs.writeFileSync(torn, fs.readFileSync(tinyModel()).subarray(0, 9000));
    try {
      const good = rig.gate.config;
      rig.gate.writeConfig({ ...good, engine: { models: [
        { name: 'demo', path: torn }] } });
      const r = await rig.gate.reload();
      assert.equal(r.code, 1);
      assert.match(r.stderr, /tollgate\.yaml:\d+:\d+: .*torn\.gguf/);
      rig.gate.writeConfig({ ...good, engine: { models: [] }, upstreams: [
        { name: 'demo', base_url: 'https://127.0.0.1:1/v1', models: ['x'] }] });
      const taken = await rig.gate.reload();
      assert.equal(taken.code, 1);
      assert.match(taken.stderr, /"demo" is an engine model that runs until a/);
      assert.deepEqual(await idsOf(rig), ['demo']);
    } finally {
      await rig.close();
    }
  });
});

describe('a model on its way', PRELOAD, () => {
  test('while it loads everything says so, and then it serves', async () => {
    const held = await startHeld();
    try {
      const ready = await held.ready();
      assert.equal(ready.status, 503);
      assert.deepEqual(await ready.json(), { status: 'models are loading' });
      const client = openaiFor(held);
      const e = await failure(client.chat.completions.create({ ...ask('x'),
        model: 'demo' }));
      assert.equal(e.status, 503);
      assert.equal(e.code, 'overloaded');
      assert.match(e.message, /still loading \(\d+ %\)/);
      assert.ok(Number(e.headers.get('retry-after')) >= 1);
      assert.equal(e.headers.get('x-should-retry'), 'true');
      assert.deepEqual(await idsOf(held), ['demo']);
      const { engine: [m] } = await held.gate.must(['status']);
      assert.equal(m.state, 'loading');
      assert.ok(m.percent < 100);
      assert.match((await held.gate.ctl(['status'], { json: false })).stdout,
        /^demo +loading +\d+ /m);
      held.resume();
      await until('loaded', async () => (await held.ready()).status === 200);
      assert.ok((await client.chat.completions.create({ ...ask('x'),
        model: 'demo', max_tokens: 2 })).id);
    } finally {
      await held.close();
    }
  });

  test('a file that is written to meanwhile fails, and it is told why',
    async () => {
      const held = await startHeld();
      try {
        fs.appendFileSync(held.file, 'more');
        held.resume();
        await until('it failed', async () => /cannot be loaded/.test(
          await (await held.ready()).text()));
        const e = await failure(openaiFor(held).chat.completions.create({
          ...ask('x'), model: 'demo' }));
        assert.equal(e.status, 503);
        assert.equal(e.code, 'model_unavailable');
        assert.match(e.message, /could not be loaded/);
        assert.equal(e.headers.get('x-should-retry'), 'false');
        assert.equal(e.headers.get('retry-after'), null, 'time mends nothing');
        assert.deepEqual(await idsOf(held), []);
        const { engine: [m] } = await held.gate.must(['status']);
        assert.equal(m.state, 'failed');
        assert.match(m.reason, /written to while it was read/);
        const { data: [t] } = await held.gate.must(['target', 'list']);
        assert.equal(t.state, 'failed');
        assert.match(t.last_error, /written to while it was read/);
      } finally {
        await held.close();
      }
    });

  test('without a demo model the built-in default starts with a warning',
    async () => {
      const dir = fs.mkdtempSync(path.join(path.dirname(tinyModel()), 'd-'));
      const r = await runProgram(program('tollgate'), ['-t'], { env: {
        PATH: process.env.PATH, XDG_STATE_HOME: dir, TOLLGATE_CONFIG: '',
        LD_PRELOAD: await holdload(), HIDE: 'demo.gguf' } });
      if (fs.existsSync('/etc/tollgate/tollgate.yaml')) return;
      assert.equal(r.code, 0, r.stderr);
      assert.match(r.stderr, /warning: there is no .*demo\.gguf: no model is/);
      assert.match(r.stderr, /TOLLGATE_DEMO_MODEL/);
    });
});

describe('the engine at a glance', () => {
  test('status and top tell of each model', async () => {
    const rig = await startEngine({ model: { slots: 3, context: 256 } });
    try {
      const { engine } = await rig.gate.must(['status']);
      assert.equal(engine.length, 1);
      const [m] = engine;
      assert.equal(m.name, 'demo');
      assert.equal(m.state, 'ready');
      assert.equal(m.percent, 100);
      assert.equal(m.context_length, 256);
      assert.equal(m.slots, 3);
      const [device, page] = DEVICE ? ['cuda:0', 64] : ['cpu', 16];
      assert.ok(m.device.startsWith(`${device} `), m.device);
      assert.ok(m.kv_blocks >= 3 * 256 / page);
      assert.equal(m.kv_blocks_used, 0);
      assert.equal(m.running + m.queue, 0);
      assert.equal(m.reason, null);
      const stream = await openaiFor(rig).chat.completions.create({
        ...ask('x'), max_tokens: 200, ignore_eos: true, stream: true });
      for await (const c of stream) {
        const [now] = (await rig.gate.must(['status'])).engine;
        assert.ok(c && now.kv_blocks_used >= 0);
        break;
      }
      const text = (await rig.gate.ctl(['status'], { json: false })).stdout;
      assert.match(text, /^MODEL +STATE .* KV USED +KV BLOCKS +TOKENS\/S/m);
      assert.match(text, new RegExp(`^demo +ready +100 +${device} `, 'm'));
      const top = await rig.gate.ctl(['top'], { json: false });
      assert.match(top.stdout, new RegExp(`^demo +ready .*${device} `, 'm'));
    } finally {
      await rig.close();
    }
  });
});

describe('a context', () => {
  test('of the least size answers', async () => {
    const rig = await startEngine({ model: { context: 16 } });
    try {
      const r = await openaiFor(rig).completions.create({ model: 'demo',
        prompt: 'the cat', max_tokens: 4 });
      assert.ok(r.usage.completion_tokens > 0);
      const e = await failure(openaiFor(rig).completions.create({ model: 'demo',
        prompt: 'the cat '.repeat(20), max_tokens: 4 }));
      assert.equal(e.code, 'context_length_exceeded');
    } finally {
      await rig.close();
    }
  });
});

describe('a second signal', () => {
  const readCut = async (address, key, body, begun, kill) => {
    const c = await RawClient.connect(address);
    await c.send(requestBytes('POST', '/v1/chat/completions', [
      ['authorization', `Bearer ${key}`], ['content-type', 'application/json']],
    JSON.stringify(body)));
    const reply = c.readReply({ method: 'POST' });
    await begun();
    await kill();
    return (await reply).body.toString();
  };
  const twice = (gate) => async () => {
    gate.child.kill('SIGTERM');
    await until('it drains', async () => /draining/.test(gate.log));
    gate.child.kill('SIGTERM');
  };

  test('ends an engine stream with an error event', async () => {
    const rig = await startEngine();
    const text = await readCut(rig.address, rig.key,
      { ...ask('x'), ...LONG, n: 16, stream: true, logprobs: true,
        top_logprobs: 20 },
      () => until('it runs', async () =>
        (await rig.metric('engine_batch', 'model="demo"')) > 0),
      twice(rig.gate));
    assert.match(text, /\ndata: \{"error":\{[^\n]*shutting down[^\n]*\}\}\n\n$/);
    assert.doesNotMatch(text, /\[DONE\]/);
    assert.equal((await within(rig.gate.exited, 'the end')).code, 0);
    rig.gate.assertHealthy();
    rig.gate.remove();
  });

  test('and a proxied one', async () => {
    const rig = await startRig();
    const script = rig.up.script({ gateAfter: 3 });
    const text = await readCut(rig.address, rig.key,
      ask('count to 9', { stream: true }), () => script.reached,
      twice(rig.gate));
    assert.match(text, /\ndata: \{"error":\{[^\n]*shutting down[^\n]*\}\}\n\n$/);
    assert.equal((await within(rig.gate.exited, 'the end')).code, 0);
    await rig.close();
  });
});
