// The built-in engine on directories in the layout of Hugging Face: each says
// what the same weights say as a GGUF file.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';

import { CONTEXT, startEngine } from './lib/engine.mjs';
import { writeModel } from './lib/gguf.mjs';
import { writeHf } from './lib/hf.mjs';
import { ask, collect, openaiFor } from './lib/openai.mjs';

const KINDS = [['F32', 1], ['F16', 3], ['BF16', 2], ['BF16', 1]];
const nameOf = (dtype, shards) => `${dtype}-${shards}`.toLowerCase();

const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'tg-hf-'));
let rig;
let client;
before(async () => {
  const models = [];
  for (const dtype of ['F32', 'F16', 'BF16'])
    models.push({ name: nameOf(dtype, 'gguf'), slots: 2,
      path: writeModel(path.join(dir, `${dtype}.gguf`), { dtype }) });
  for (const [dtype, shards] of KINDS)
    models.push({ name: nameOf(dtype, shards), slots: 2,
      path: writeHf(path.join(dir, nameOf(dtype, shards)), { dtype, shards }) });
  rig = await startEngine({ engine: { models } });
  client = openaiFor(rig);
});
after(async () => {
  await rig?.close();
  fs.rmSync(dir, { recursive: true, force: true });
});

const PROMPTS = ['the cat ran', 'A red dog, and {"a": [1, 2]}\n', 'caf\u00e9 \u{1f600}',
  ' two  spaces ', '<|im_end|> is text'];
const TOOLS = [{ type: 'function', function: { name: 'run', parameters: {
  type: 'object', properties: { on: { type: 'boolean' } }, required: ['on'],
  additionalProperties: false } } }];

/* Rows of heads lie in another order, and so do the sums over them. */
function assertNear(a, b) {
  assert.equal(a.length, b.length);
  a.forEach((x, i) => assert.ok(Math.abs(x - b[i]) < 1e-3, `${x}, ${b[i]}`));
}

for (const [dtype, shards] of KINDS) {
  const own = nameOf(dtype, shards);
  const both = [own, nameOf(dtype, 'gguf')];

  describe(`engine of a directory: ${dtype} in ${shards} files`, () => {
    const same = async (what) => {
      const [a, b] = await Promise.all(both.map(what));
      assert.deepEqual(a, b);
      return a;
    };

    test('it has the same tokens', async () => {
      for (const content of PROMPTS) {
        const tokens = await same(async (model) => (await (await rig.fetch(
          '/tokenize', { json: { model, prompt: content } })).json()).tokens);
        assert.ok(tokens.length > 2);
        assert.equal(tokens[0], 1, 'begins with <s>');
        const back = await same(async (model) => (await (await rig.fetch(
          '/detokenize', { json: { model, tokens } })).json()).content);
        assert.ok(back.includes(content.trim()), back);
      }
    });

    test('its chat says the same, greedily', async () => {
      for (const content of PROMPTS) {
        const chat = (model) => client.chat.completions.create({
          ...ask(content), model, max_tokens: 48, logprobs: true,
          top_logprobs: 3, temperature: 0 });
        const [a, b] = await Promise.all(both.map(chat));
        assert.deepEqual(a.choices[0].message, b.choices[0].message);
        assert.equal(a.choices[0].finish_reason, b.choices[0].finish_reason);
        assert.equal(a.usage.total_tokens, b.usage.total_tokens);
        assert.ok(a.usage.completion_tokens > 0);
        assertNear(a.choices[0].logprobs.content.map((c) => c.logprob),
          b.choices[0].logprobs.content.map((c) => c.logprob));
      }
    });

    test('its stream is its whole', async () => {
      const how = { ...ask('the dog'), model: own, temperature: 0,
        max_tokens: 40, ignore_eos: true };
      const whole = await client.chat.completions.create(how);
      const parts = await collect(await client.chat.completions.create({
        ...how, stream: true }));
      assert.equal(parts.map((c) => c.choices[0]?.delta.content ?? '').join(''),
        whole.choices[0].message.content);
      assert.ok(whole.choices[0].message.content.length > 10);
    });

    test('it calls tools', async () => {
      const call = await same(async (model) => {
        const x = await client.chat.completions.create({ ...ask('on'), model,
          seed: 1, temperature: 1, max_tokens: 400, tools: TOOLS,
          tool_choice: 'required', parallel_tool_calls: false });
        assert.equal(x.choices[0].finish_reason, 'tool_calls');
        return x.choices[0].message.tool_calls.map((c) => c.function);
      });
      assert.equal(call[0].name, 'run');
      assert.equal(typeof JSON.parse(call[0].arguments).on, 'boolean');
    });

    test('it embeds the same', async () => {
      const [a, b] = await Promise.all(both.map(async (model) =>
        (await client.embeddings.create({ model, input: PROMPTS,
          encoding_format: 'float' })).data));
      assert.equal(a.length, PROMPTS.length);
      assert.ok(a[0].embedding.some((x) => Math.abs(x) > 0.1));
      a.forEach((v, i) => assertNear(v.embedding, b[i].embedding));
    });
  });
}

describe('engine directories as they are published', () => {
  test('models tell their context and a fingerprint of their own', async () => {
    const { data } = await (await rig.fetch('/v1/models')).json();
    for (const [dtype, shards] of KINDS)
      assert.equal(data.find((m) => m.id === nameOf(dtype, shards))
        .context_length, CONTEXT);
    const prints = await Promise.all(KINDS.map(async ([dtype, shards]) =>
      (await client.completions.create({ model: nameOf(dtype, shards),
        prompt: 'x', max_tokens: 1 })).system_fingerprint));
    assert.ok(prints.every((p) => /^fp_[0-9a-f]{12}$/.test(p)), String(prints));
    assert.equal(new Set(prints.slice(0, 3)).size, 3);
  });

  test('every id of the eos list ends a text', async () => {
    const model = 'ends';
    const from = path.join(dir, 'ends');
    const { tokens } = await (await rig.fetch('/tokenize', {
      json: { model: 'f32-1', prompt: 'the' } })).json();
    const first = await client.chat.completions.create({ ...ask('the cat ran'),
      model: 'f32-1', temperature: 0, max_tokens: 1, ignore_eos: true,
      logprobs: true });
    const said = first.choices[0].logprobs.content[0].token;
    const ids = (await (await rig.fetch('/tokenize', { json: { model: 'f32-1',
      content: said } })).json()).tokens;
    assert.ok(tokens.length > 1 && ids.length >= 1);
    writeHf(from, { generation: { eos_token_id: [2, ...ids] } });
    const r = await startEngine({ engine: { models: [
      { name: model, path: from, slots: 1 }] } });
    try {
      const x = await openaiFor(r).chat.completions.create({
        ...ask('the cat ran'), model, temperature: 0, max_tokens: 20 });
      assert.equal(x.choices[0].finish_reason, 'stop');
      assert.equal(x.choices[0].message.content, '');
    } finally {
      await r.close();
    }
  });

  test('scaled rotations of every kind are served', async () => {
    const models = [
      { rope_type: 'llama3', factor: 8.0, low_freq_factor: 1.0,
        high_freq_factor: 4.0, original_max_position_embeddings: 256 },
      { type: 'linear', factor: 2.0 },
      { rope_type: 'yarn', factor: 2.0, original_max_position_embeddings: 768 },
    ].map((rope_scaling, i) => ({ name: `rope-${i}`, slots: 1, path: writeHf(
      path.join(dir, `rope-${i}`), { config: { rope_scaling } }) }));
    const r = await startEngine({ engine: { models } });
    const texts = new Set();
    try {
      for (const { name } of models) {
        const x = await openaiFor(r).chat.completions.create({
          ...ask('the cat ran to a red dog and the sun'), model: name,
          temperature: 0, max_tokens: 40, ignore_eos: true, logprobs: true });
        texts.add(JSON.stringify(x.choices[0].logprobs.content
          .map((c) => c.logprob)));
      }
    } finally {
      await r.close();
    }
    assert.equal(texts.size, models.length, 'each computes its own');
  });
});
