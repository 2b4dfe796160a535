// The built-in engine through the official client: completions, embeddings,
// tokens, and what a trained model says.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import { after, before, describe, test } from 'node:test';

import { CONTEXT, HAVE_STORIES, STORIES, startEngine } from './lib/engine.mjs';
import { collect, openaiFor } from './lib/openai.mjs';
import { RawClient, requestBytes } from './lib/raw.mjs';

let rig;
let client;
before(async () => {
  rig = await startEngine();
  client = openaiFor(rig);
});
after(() => rig?.close());

const complete = (more) => client.completions.create({
  model: 'demo', prompt: 'the cat', max_tokens: 8, seed: 1, ...more,
});

describe('engine completions', () => {
  test('text, usage and finish come whole', async () => {
    const r = await complete();
    assert.equal(r.object, 'text_completion');
    assert.match(r.id, /^cmpl-/);
    assert.equal(r.model, 'demo');
    assert.match(r.system_fingerprint, /^fp_[0-9a-f]{12}$/);
    assert.equal(r.choices.length, 1);
    assert.equal(r.choices[0].finish_reason, 'length');
    assert.equal(r.choices[0].logprobs, null);
    assert.equal(r.usage.completion_tokens, 8);
    assert.equal(r.usage.total_tokens, r.usage.prompt_tokens + 8);
  });

  test('the same seed gives the same text, another one another', async () => {
    const [a, b, c] = await Promise.all([
      complete({ max_tokens: 30, seed: 5 }),
      complete({ max_tokens: 30, seed: 5 }),
      complete({ max_tokens: 30, seed: 6 })]);
    assert.equal(a.choices[0].text, b.choices[0].text);
    assert.notEqual(a.choices[0].text, c.choices[0].text);
  });

  test('a stream says the same as the whole', async () => {
    const whole = await complete({ max_tokens: 40 });
    const chunks = await collect(await complete({ max_tokens: 40, stream: true }));
    assert.equal(chunks.map((c) => c.choices[0].text).join(''),
      whole.choices[0].text);
    assert.ok(chunks.every((c) => c.id === chunks[0].id));
    assert.equal(chunks.at(-1).choices[0].finish_reason, 'length');
    assert.ok(chunks.slice(0, -1).every((c) => c.choices[0].finish_reason === null));
  });

  test('several prompts, texts or ids, each with n choices', async () => {
    const { tokens } = await (await rig.fetch('/tokenize', {
      json: { model: 'demo', prompt: 'the dog' } })).json();
    for (const prompt of [['the cat', 'the dog'], [[1, 270], tokens]]) {
      const r = await complete({ prompt, n: 2, temperature: 0 });
      assert.deepEqual(r.choices.map((c) => c.index), [0, 1, 2, 3]);
      assert.equal(r.choices[0].text, r.choices[1].text);
      assert.equal(r.choices[2].text, r.choices[3].text);
      assert.equal(r.usage.completion_tokens, 32);
    }
    const ids = await complete({ prompt: tokens, temperature: 0 });
    const text = await complete({ prompt: 'the dog', temperature: 0 });
    assert.equal(ids.choices[0].text, text.choices[0].text);
    assert.equal(ids.usage.prompt_tokens, text.usage.prompt_tokens);
  });

  test('many prompts in one request come back in their order', async () => {
    const words = Array.from({ length: 40 }, (_, i) => `the cat ${i}`);
    const all = await complete({ prompt: words, temperature: 0, max_tokens: 4 });
    assert.deepEqual(all.choices.map((c) => c.index), words.map((_, i) => i));
    const one = await complete({ prompt: words[33], temperature: 0, max_tokens: 4 });
    assert.equal(all.choices[33].text, one.choices[0].text);
  });

  test('echo and logprobs of prompt and text', async () => {
    const r = await complete({ echo: true, logprobs: 2, max_tokens: 4 });
    const { text, logprobs: l } = r.choices[0];
    assert.ok(text.startsWith('the cat'));
    const n = r.usage.prompt_tokens + 4;
    for (const list of [l.tokens, l.token_logprobs, l.top_logprobs, l.text_offset])
      assert.equal(list.length, n);
    assert.equal(l.token_logprobs[0], null);
    assert.equal(l.top_logprobs[0], null);
    assert.ok(l.token_logprobs.slice(1).every((v) => v <= 0));
    assert.ok(Object.keys(l.top_logprobs[n - 1]).length >= 2);
    assert.ok(l.text_offset.every((v, i) => i === 0 || v >= l.text_offset[i - 1]));
    assert.ok(l.text_offset[n - 1] < text.length);
    const plain = await complete({ logprobs: 0, max_tokens: 4 });
    assert.equal(plain.choices[0].text, text.slice('the cat'.length));
  });

  test('echo alone reads the prompt and generates nothing', async () => {
    const r = await complete({ echo: true, logprobs: 1, max_tokens: 0 });
    assert.equal(r.choices[0].text, 'the cat');
    assert.equal(r.choices[0].finish_reason, 'length');
    assert.equal(r.usage.completion_tokens, 0);
    assert.equal(r.choices[0].logprobs.tokens.length, r.usage.prompt_tokens);
  });

  test('a long prompt is echoed with all its logprobs, streamed or not', async () => {
    const more = { prompt: 'the dog ran 1234 '.repeat(100), echo: true, logprobs: 20,
      max_tokens: 2 };
    const whole = (await complete(more));
    const { tokens, token_logprobs } = whole.choices[0].logprobs;
    assert.ok(whole.usage.prompt_tokens > 400);
    assert.equal(tokens.length, whole.usage.prompt_tokens + 2);
    const chunks = await collect(await complete({ ...more, stream: true }));
    const all = chunks.flatMap((c) => c.choices[0]?.logprobs ?? []);
    assert.ok(all.length > 3, 'in parts');
    assert.deepEqual(all.flatMap((l) => l.tokens), tokens);
    assert.deepEqual(all.flatMap((l) => l.token_logprobs), token_logprobs);
    assert.equal(chunks.map((c) => c.choices[0].text).join(''),
      whole.choices[0].text);
    assert.ok(whole.choices[0].text.startsWith(more.prompt));
  });

  test('best_of keeps the likeliest', async () => {
    const all = await complete({ n: 4, best_of: 4, logprobs: 0, temperature: 2 });
    const best = await complete({ n: 1, best_of: 4, logprobs: 0, temperature: 2 });
    const mean = (c) => c.logprobs.token_logprobs.reduce((s, v) => s + v, 0) /
      c.logprobs.token_logprobs.length;
    const top = all.choices.toSorted((a, b) => mean(b) - mean(a))[0];
    assert.equal(best.choices.length, 1);
    assert.equal(best.choices[0].text, top.text);
    assert.equal(best.usage.completion_tokens, 32);
  });

  test('stop strings end the text and are not shown', async () => {
    const whole = await complete({ max_tokens: 60 });
    const stop = whole.choices[0].text.slice(11, 14);
    for (const stream of [false, true]) {
      const r = await complete({ max_tokens: 60, stop: ['\u0000', stop], stream });
      const chunks = stream ? await collect(r) : [r];
      const text = chunks.map((c) => c.choices[0].text).join('');
      assert.equal(text, whole.choices[0].text.split(stop)[0]);
      assert.equal(chunks.at(-1).choices[0].finish_reason, 'stop');
    }
  });

  test('logit_bias bans and forces tokens', async () => {
    const { tokens } = await (await rig.fetch('/tokenize', {
      json: { model: 'demo', content: 'a sun' } })).json();
    const r = await complete({ logit_bias: { [tokens[1]]: 100 } });
    assert.equal(r.choices[0].text, ' sun'.repeat(8));
  });

  test('the usage chunk of a stream is exact, and only when asked', async () => {
    const chunks = await collect(await complete({
      stream: true, stream_options: { include_usage: true } }));
    assert.deepEqual(chunks.at(-1).choices, []);
    assert.equal(chunks.at(-1).usage.completion_tokens, 8);
    assert.ok(chunks.slice(0, -1).every((c) => c.usage === null));
    const plain = await collect(await complete({ stream: true }));
    assert.ok(plain.every((c) => !('usage' in c)));
  });

  test('what cannot be done is refused by name', async () => {
    for (const [more, param] of [
      [{ suffix: 'x' }, 'suffix'], [{ temperature: 3 }, 'temperature'],
      [{ prompt: [] }, 'prompt'], [{ prompt: 7 }, 'prompt'],
      [{ prompt: [1, 99999] }, 'prompt[1]'], [{ prompt: ['a', 5] }, 'prompt[1]'],
      [{ prompt: [[1], [1, 99999]] }, 'prompt[1][1]'],
      [{ prompt: [[1], []] }, 'prompt[1]'],
      [{ logprobs: 99 }, 'logprobs'], [{ min_tokens: 2 }, 'min_tokens']])
      await assert.rejects(complete(more), (e) => {
        assert.equal(e.status, 400);
        assert.equal(e.param, param);
        return true;
      });
    const mixed = await complete({ prompt: ['a', [1]] });
    assert.equal(mixed.choices.length, 2, 'lists may mix texts and ids');
  });

  test('a prompt too long is told so with the numbers', async () => {
    for (const [more, words] of [
      [{ prompt: 'a'.repeat(3 * CONTEXT), max_tokens: 5 }, /\(\d{4} in the prompt, 5 in/],
      [{ max_tokens: 10000 }, /you requested 1000\d tokens/]])
      await assert.rejects(complete(more), (e) => {
        assert.equal(e.status, 400);
        assert.equal(e.code, 'context_length_exceeded');
        assert.equal(e.param, 'prompt');
        assert.match(e.message, new RegExp(`context length is ${CONTEXT} tokens`));
        assert.match(e.message, words);
        return true;
      });
  });
});

describe('engine embeddings', () => {
  const embed = (input, more) => client.embeddings.create({
    model: 'demo', input, ...more });
  const norm = (v) => Math.sqrt(v.reduce((s, x) => s + x * x, 0));

  test('floats and base64 are the same unit vector', async () => {
    const a = await embed('the cat'); // the client asks for base64
    const b = await embed('the cat', { encoding_format: 'float' });
    assert.equal(a.object, 'list');
    assert.equal(a.data[0].embedding.length, 32);
    assert.ok(Math.abs(norm(b.data[0].embedding) - 1) < 1e-4);
    a.data[0].embedding.forEach((v, i) =>
      assert.ok(Math.abs(v - b.data[0].embedding[i]) < 1e-6));
    assert.equal(a.usage.total_tokens, a.usage.prompt_tokens);
    assert.ok(a.usage.prompt_tokens > 1);
  });

  test('lists keep their order, ids are texts', async () => {
    const words = Array.from({ length: 30 }, (_, i) => `the dog ${i}`);
    const all = await embed(words);
    assert.deepEqual(all.data.map((d) => d.index), words.map((_, i) => i));
    const one = await embed(words[17]);
    assert.deepEqual(all.data[17].embedding, one.data[0].embedding);
    const { tokens } = await (await rig.fetch('/tokenize', {
      json: { model: 'demo', prompt: words[17] } })).json();
    const ids = await embed(tokens);
    assert.deepEqual(ids.data[0].embedding, one.data[0].embedding);
    const both = await embed([tokens, tokens]);
    assert.deepEqual(both.data[1].embedding, one.data[0].embedding);
  });

  test('dimensions are the model\'s, and inputs must fit', async () => {
    assert.equal((await embed('x', { dimensions: 32 })).data.length, 1);
    for (const [input, more, param] of [
      ['x', { dimensions: 16 }, 'dimensions'], [[], {}, 'input'],
      ['', {}, 'input'], [['x', ''], {}, 'input[1]'],
      ['x', { encoding_format: 'hex' }, 'encoding_format'],
      ['a'.repeat(3 * CONTEXT), {}, 'input']])
      await assert.rejects(embed(input, more), (e) => {
        assert.equal(e.status, 400);
        assert.equal(e.param, param);
        return true;
      });
  });
});

describe('engine tokens', () => {
  const post = async (path, json) =>
    (await rig.fetch(path, { json })).json();

  test('there and back, in either dialect', async () => {
    const text = 'the cat caf\u00e9 \u{1f600} {"a":1}';
    const a = await post('/tokenize', { content: text });
    const b = await post('/v1/tokenize', { model: 'demo', prompt: text,
      add_special_tokens: true, return_token_strs: true });
    assert.deepEqual(b.tokens.slice(1), a.tokens);
    assert.equal(b.tokens[0], 1);
    assert.equal(b.count, b.tokens.length);
    assert.equal(b.max_model_len, CONTEXT);
    assert.equal(b.token_strs.length, b.count);
    const back = await post('/detokenize', { tokens: a.tokens });
    assert.equal(back.content, text);
    assert.equal(back.prompt, text);
    const pieces = await post('/tokenize', { content: text, with_pieces: true });
    assert.ok(pieces.tokens.some((t) => Array.isArray(t.piece)),
      'a byte of a character is told as bytes');
  });

  test('control tokens come only where they are meant', async () => {
    const plain = await post('/tokenize', { content: '<|im_start|>' });
    assert.ok(plain.tokens.length > 1);
    const meant = await post('/tokenize', {
      content: '<|im_start|>', parse_special: true });
    assert.equal(meant.tokens.length, 1);
    const both = await post('/tokenize', {
      content: '<|im_start|>', parse_special: true, add_special: true });
    assert.deepEqual(both.tokens, [1, ...meant.tokens]);
    const chat = await post('/tokenize', { messages: [
      { role: 'user', content: '<|im_end|>' }] });
    const eos = chat.tokens.filter((t) => t === meant.tokens[0] + 1);
    assert.equal(eos.length, 1, 'the template ends the message, the user cannot');
  });

  test('a list of models tells the context', async () => {
    const { data } = await post('/v1/models').catch(() => ({})) ?? {};
    const list = data ?? (await (await rig.fetch('/v1/models')).json()).data;
    const m = list.find((x) => x.id === 'demo');
    assert.equal(m.max_model_len, CONTEXT);
    assert.equal(m.context_length, CONTEXT);
    assert.equal(m.owned_by, 'tollgate');
    assert.ok(m.created > 1e9);
  });

  test('replies of many bytes come whole, to slow readers, too', async () => {
    const text = 'a '.repeat(1 << 17);
    const all = await post('/tokenize', { content: text, with_pieces: true });
    assert.equal(all.tokens.map((t) => t.piece).join('').trimStart(), text);
    assert.equal(all.count, all.tokens.length);
    const c = await RawClient.connect(rig.address);
    c.pause();
    await c.send(requestBytes('POST', '/tokenize', [
      ['authorization', `Bearer ${rig.key}`],
      ['content-type', 'application/json'],
    ], JSON.stringify({ content: text, with_pieces: true })));
    assert.ok((await complete()).usage.completion_tokens > 0);
    c.resume();
    const slow = await c.readReply({ method: 'POST' });
    assert.deepEqual(JSON.parse(slow.text), all);
    c.destroy();
    await rig.idle();
  });
});

describe('engine with a trained model', HAVE_STORIES, () => {
  let stories;
  before(async () => {
    if (HAVE_STORIES.skip) return;
    stories = await startEngine({ file: STORIES });
  });
  after(() => stories?.close());

  test('greedy text is the one that llama.cpp generates', async () => {
    const rows = fs.readFileSync(STORIES.replace('.gguf', '.greedy.jsonl'), 'utf8')
      .trim().split('\n').map((l) => JSON.parse(l))
      .filter((r) => r.kind === 'completion');
    assert.ok(rows.length > 0);
    for (const row of rows) {
      const r = await openaiFor(stories).completions.create({
        model: 'demo', prompt: row.prompt, temperature: 0,
        max_tokens: row.tokens.length });
      assert.equal(r.choices[0].text, row.text);
      assert.equal(r.usage.prompt_tokens, row.prompt_tokens.length);
    }
  });
});
