// The engine on GPUs, which here are emulated: the driver and cuBLASLt of the
// tests, behind the daemon as it is. Short texts: an emulated GPU is slow.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { after, describe, test } from 'node:test';

import { HAVE_STORIES, STORIES, startEngine, tinyModel } from './lib/engine.mjs';
import { ask, openaiFor, textOf } from './lib/openai.mjs';
import { program, runProgram, startTollgate } from './lib/tollgate.mjs';
import { until } from './lib/until.mjs';
import { toYaml } from './lib/yaml.mjs';

const FAKE = path.join(path.dirname(program('tollgate')), 'tests/fakecuda.so');
const CAN = { skip: !fs.existsSync(FAKE) && `${FAKE} was not built` };
const ENV = { TOLLGATE_CUDA_DRIVER: FAKE, TOLLGATE_CUBLASLT: FAKE };
const rigs = [];
after(async () => { for (const r of rigs) await r.close(); });

/** A daemon whose model is on <device>. */
async function on(device, { model = {}, env = {}, ...more } = {}) {
  const rig = await startEngine({
    model: { device, context: 512, slots: 4, ...model },
    env: { ...ENV, ...env }, ...more });
  rigs.push(rig);
  return rig;
}

/** Both ways of one request. */
const both = async (a, b, body) => Promise.all([a, b].map(async (rig) => {
  const r = await openaiFor(rig).completions.create({ model: 'demo', ...body });
  return r.choices.map((c) => c.text);
}));

describe('engine on a GPU', CAN, () => {
  test('a story is the one that the CPU tells', HAVE_STORIES, async () => {
    const gpu = await on('cuda:0', { file: STORIES });
    const cpu = await on('cpu', { file: STORIES });
    const body = { prompt: 'Once upon a time', max_tokens: 24, temperature: 0 };
    const [a, b] = await both(gpu, cpu, body);
    assert.deepEqual(a, b);
    assert.ok(a[0].length > 40, a[0]);
  });

  test('chat, streams, choices, log probabilities, schemas, vectors',
    async () => {
      const rig = await on('cuda:0');
      const client = openaiFor(rig);
      const plain = await client.chat.completions.create({
        ...ask('the cat ran'), model: 'demo', temperature: 0, max_tokens: 8 });
      const chunks = [];
      for await (const c of await client.chat.completions.create({
        ...ask('the cat ran'), model: 'demo', temperature: 0, max_tokens: 8,
        stream: true })) chunks.push(c);
      assert.equal(textOf(chunks), plain.choices[0].message.content);
      const several = await client.chat.completions.create({
        ...ask('the cat ran'), model: 'demo', n: 3, seed: 5, temperature: 1.2,
        max_tokens: 6, logprobs: true, top_logprobs: 3 });
      assert.equal(several.choices.length, 3);
      for (const c of several.choices)
        for (const t of c.logprobs.content) {
          assert.equal(t.top_logprobs.length, 3);
          assert.ok(t.logprob <= 0 && t.top_logprobs[0].logprob >= t.logprob - 30);
        }
      const again = await client.chat.completions.create({
        ...ask('the cat ran'), model: 'demo', n: 3, seed: 5, temperature: 1.2,
        max_tokens: 6 });
      assert.deepEqual(again.choices.map((c) => c.message.content),
        several.choices.map((c) => c.message.content));
      const made = await client.chat.completions.create({
        ...ask('a number'), model: 'demo', temperature: 0, max_tokens: 40,
        response_format: { type: 'json_schema', json_schema: { name: 'x',
          strict: true, schema: { type: 'object', additionalProperties: false,
            required: ['ok'], properties: { ok: { type: 'boolean' } } } } } });
      assert.equal(typeof JSON.parse(made.choices[0].message.content).ok,
        'boolean');
      const e = await client.embeddings.create({ model: 'demo', input: 'a cat',
        encoding_format: 'float' });
      const size = e.data[0].embedding.reduce((s, x) => s + x * x, 0);
      assert.ok(Math.abs(size - 1) < 1e-4, `${size}`);
    });

  test('twelve at once are what each is alone', async () => {
    const rig = await on('cuda:0', { engine: { deterministic: true } });
    const client = openaiFor(rig);
    const one = (i) => client.completions.create({ model: 'demo',
      prompt: `the ${'cat '.repeat(i + 1)}`, max_tokens: 6, temperature: 0 })
      .then((r) => r.choices[0].text);
    const alone = [];
    for (let i = 0; i < 12; i++) alone.push(await one(i));
    const together = await Promise.all(Array.from({ length: 12 }, (_, i) => one(i)));
    assert.deepEqual(together, alone);
  });

  for (const kv_dtype of ['auto', 'fp8']) test('what is stored comes back ' +
    `after a restart, to the same text: ${kv_dtype}`, async () => {
      const rig = await on('cuda:0', { engine: { deterministic: true },
        model: { kv_dtype } });
      const prompt = 'the cat ran and '.repeat(100);
      const go = async () => {
        const r = await openaiFor(rig).completions.create({ model: 'demo',
          prompt, max_tokens: 6, temperature: 0 });
        return [r.choices[0].text, r.usage.prompt_tokens_details.cached_tokens];
      };
      const [text, none] = await go();
      assert.equal(none, 0);
      const [same, memory] = await go();
      assert.ok(memory >= 256 && memory % 64 === 0, `${memory}`);
      assert.equal(same, text);
      await until('it is stored', async () =>
        (await rig.metric('prefix_store_pages', 'model="demo"')) >= memory / 64);
      await rig.gate.stop();
      await rig.gate.start();
      await until('the model is loaded', async () =>
        (await fetch(`${rig.origin}/readyz`)).status === 200);
      const [again, cached] = await go();
      assert.equal(again, text);
      assert.equal(cached, memory);
    });

  test('numbers in 8 bits serve, and keep their prefixes apart', async () => {
    const rig = await on('cuda:0');
    const prompt = 'the cat ran and '.repeat(100);
    const go = async () => (await openaiFor(rig).completions.create({
      model: 'demo', prompt, max_tokens: 4, temperature: 0 }))
      .usage.prompt_tokens_details.cached_tokens;
    const again = async (more) => {
      const { config } = rig.gate;
      const [model] = config.engine.models;
      await rig.gate.stop();
      rig.gate.writeConfig({ ...config, engine: { ...config.engine,
        models: [{ ...model, ...more }] } });
      await rig.gate.start();
      await until('the model is loaded', async () =>
        (await fetch(`${rig.origin}/readyz`)).status === 200);
      return go();
    };
    assert.equal(await go(), 0);
    const memory = await go();
    assert.ok(memory >= 256, `${memory}`);
    await until('it is stored', async () =>
      (await rig.metric('prefix_store_pages', 'model="demo"')) >= memory / 64);
    for (const narrow of [{ weights: 'fp8' }, { kv_dtype: 'fp8' }]) {
      assert.equal(await again(narrow), 0);
      assert.equal(await go(), memory);
    }
    assert.equal(await again({ weights: 'auto', kv_dtype: 'auto' }), memory);
  });

  test('what one kind of GPU stored is not found by another', async () => {
    const rig = await on('cuda:0');
    const prompt = 'the cat ran and '.repeat(100);
    const go = async () => (await openaiFor(rig).completions.create({
      model: 'demo', prompt, max_tokens: 4, temperature: 0 }))
      .usage.prompt_tokens_details.cached_tokens;
    const again = async (cc) => {
      await rig.gate.stop();
      rig.gate.options.env.TG_FAKE_CC = cc;
      await rig.gate.start();
      await until('the model is loaded', async () =>
        (await fetch(`${rig.origin}/readyz`)).status === 200);
      return go();
    };
    assert.equal(await go(), 0);
    await until('it is stored', async () =>
      (await rig.metric('prefix_store_pages', 'model="demo"')) >= 4);
    assert.equal(await again('80'), 0);
    assert.ok(await again('90') >= 256);
  });

  test('GPUs of two kinds serve one model, and store nothing', async () => {
    const rig = await on('cuda:*',
      { env: { TG_FAKE_DEVICES: '2', TG_FAKE_CC_1: '80' } });
    const r = await openaiFor(rig).completions.create({ model: 'demo',
      prompt: 'a cat', max_tokens: 4, temperature: 0 });
    assert.equal(r.usage.completion_tokens, 4);
    await until('it says why', () =>
      /prefixes are not stored.*of different kinds, .*-sm90 and .*-sm80/
        .test(rig.gate.log));
  });

  test('two GPUs serve one model', async () => {
    const rig = await on('cuda:*', { env: { TG_FAKE_DEVICES: '2' } });
    const client = openaiFor(rig);
    const texts = await Promise.all(Array.from({ length: 8 }, (_, i) =>
      client.completions.create({ model: 'demo', prompt: `${i} cats`,
        max_tokens: 4, temperature: 0 })));
    assert.equal(texts.length, 8);
    const info = await rig.gate.ctl(['status']);
    assert.match(JSON.stringify(info), /and 1 more/);
  });
});

describe('GPUs that are not there or fail', CAN, () => {
  test('a device that is not there is a mistake of the configuration',
    async () => {
      const dir = fs.mkdtempSync('/tmp/tg-gpu-');
      const file = path.join(dir, 'c.yaml');
      for (const [device, env, what] of [
        ['cuda:7', ENV, /cuda:7|7/],
        ['cuda:0', { TOLLGATE_CUDA_DRIVER: '/nonexistent.so' }, /driver/i],
      ]) {
        fs.writeFileSync(file, toYaml({ state_dir: dir, engine: { models: [
          { name: 'demo', path: tinyModel(), device }] } }));
        const r = await runProgram(program('tollgate'), ['-t', '-c', file],
          { env: { ...process.env, ...env } });
        assert.notEqual(r.code, 0);
        assert.match(r.stdout + r.stderr, what);
        assert.match(r.stdout + r.stderr, /write|install|build/);
      }
      fs.rmSync(dir, { recursive: true });
    });

  test('auto computes on the CPU where there is no driver', async () => {
    const rig = await on('auto', {
      env: { TOLLGATE_CUDA_DRIVER: '/nonexistent.so' } });
    const info = await rig.gate.ctl(['status']);
    assert.match(JSON.stringify(info), /cpu /);
  });

  test('numbers in 8 bits are refused where auto finds no driver',
    async () => {
      for (const name of ['weights', 'kv_dtype']) {
        const gate = await startTollgate({ engine: { models: [
          { name: 'demo', path: tinyModel(), device: 'auto', [name]: 'fp8' }] },
        }, { env: { TOLLGATE_CUDA_DRIVER: '/nonexistent.so' } });
        try {
          await until('it says why', () =>
            gate.log.includes(`${name}: fp8 needs a GPU; write ${name}: auto`));
          assert.equal((await fetch(`${gate.origin}/readyz`)).status, 503);
        } finally {
          await gate.stop();
          gate.remove();
        }
      }
    });

  test('a GPU that fails ends what had begun with 503, and serves again',
    async () => {
      const rig = await on('cuda:0', { env: { TG_FAKE_FAIL: 'launch:600' } });
      const go = () => fetch(`${rig.origin}/v1/completions`, { method: 'POST',
        headers: { authorization: `Bearer ${rig.key}`,
          'content-type': 'application/json' },
        body: JSON.stringify({ model: 'demo', prompt: 'the cat', max_tokens: 8,
          temperature: 0 }) });
      const seen = [];
      await until('it fails and serves again', async () => {
        const r = await go();
        seen.push(r.status);
        await r.text();
        return seen.includes(503) && r.status === 200;
      });
      assert.ok(seen.every((s) => s === 200 || s === 503), seen.join());
    });
});
