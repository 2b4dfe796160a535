// Prefixes that are kept on disk: found again after a restart and after a
// crash, with answers equal to the last bit.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { prng } from './lib/prng.mjs';
import { Cold, DEMO_CONTEXT, PAGE, answerOf, cachedOf, ids, pagesOf,
  withStore, words } from './lib/prefix.mjs';

let cold;
before(async () => { cold = await Cold.start(); });
after(() => cold?.close());

const LONG = words(1, 180);
const DRAWN = { temperature: 1.3, seed: 77, top_p: 0.95 };

/** Every kind of request that generates: name, kind, prompt, more. */
const REQUESTS = [
  ['greedy chat', 'chat', LONG, {}],
  ['chat with a seed', 'chat', LONG, DRAWN],
  ['chat with three choices', 'chat', LONG, { ...DRAWN, n: 3 }],
  ['greedy completion', 'complete', LONG, {}],
  ['completion with a seed', 'complete', LONG, DRAWN],
  ['completion with choices', 'complete', LONG, { ...DRAWN, n: 2, best_of: 4 }],
  ['completion of ids', 'complete', ids(5, 300), {}],
  ['a long answer', 'complete', ids(6, 100), { max_tokens: 200 }],
  ['a prompt that fills the context', 'complete', ids(7, DEMO_CONTEXT - 8), {}],
];

for (const [how, end] of [
  ['a restart', (s) => s.stop()],
  ['kill -9', async (s) => {
    await s.settled();
    await s.gate.kill9();
  }],
]) {
  describe(`prefix store after ${how}`, () => {
    test('every kind of request finds its prefix and says the same', () =>
      withStore({}, async (s) => {
        const first = [];
        for (const [i, [, kind, prompt, more]] of REQUESTS.entries())
          first.push(await s[kind](prompt, { ...more, cache_salt: `r${i}` }));
        first.forEach((r, i) => assert.equal(cachedOf(r), 0, REQUESTS[i][0]));
        await end(s);
        await s.startAgain();
        for (const [i, [name, kind, prompt, more]] of REQUESTS.entries()) {
          const r = await s[kind](prompt, { ...more, cache_salt: `r${i}` });
          assert.equal(cachedOf(r), pagesOf(r.usage.prompt_tokens), name);
          assert.deepEqual(answerOf(r), answerOf(first[i]), name);
          assert.deepEqual(answerOf(r),
            answerOf(await cold.ask(kind, prompt, more)), name);
        }
        const store = await s.metric('prefix_tokens_total', ',source="store"');
        assert.ok(store > 0, 'the metrics say where it came from');
        assert.deepEqual(s.warnings(), []);
      }));

    test('what memory finds, the disk finds', () => withStore({}, async (s) => {
      await s.chat(LONG);
      const again = await s.chat(LONG);
      await end(s);
      await s.startAgain();
      const r = await s.chat(LONG);
      assert.equal(cachedOf(r), cachedOf(again));
      assert.ok(cachedOf(r) >= 10 * PAGE && cachedOf(r) % PAGE === 0);
    }));
  });
}

describe('prefix store: how much of a prompt is found', () => {
  test('all full pages before the last token, at every length', () =>
    withStore({}, async (s) => {
      const lengths = [1, 2, 15, 16, 17, 31, 32, 33, 47, 48, 49, 63, 64, 65,
        127, 128, 129, 255, 256, 257];
      for (const [i, n] of lengths.entries())
        await s.complete(ids(100 + i, n), { max_tokens: 1 });
      await s.restart();
      for (const [i, n] of lengths.entries()) {
        const prompt = ids(100 + i, n);
        const r = await s.complete(prompt);
        assert.equal(cachedOf(r), pagesOf(n), `${n} tokens`);
        assert.deepEqual(answerOf(r),
          answerOf(await cold.ask('complete', prompt)), `${n} tokens`);
      }
    }));

  test('up to the page where texts part', () => withStore({}, async (s) => {
    const text = ids(9, 200);
    await s.complete(text);
    await s.restart();
    for (const at of [0, 1, 15, 16, 17, 40, 111, 112, 113, 199]) {
      const other = [...text.slice(0, at), ...ids(1000 + at, 200 - at)];
      const r = await s.complete(other, { cache_salt: undefined });
      assert.equal(cachedOf(r), Math.floor(at / PAGE) * PAGE, `part at ${at}`);
      assert.deepEqual(answerOf(r),
        answerOf(await cold.ask('complete', other)), `part at ${at}`);
    }
  }));

  test('random prompts that share, extend and cut each other', () =>
    withStore({}, async (s) => {
      const next = prng(4711);
      const pool = [ids(1, 400), ids(2, 400), ids(3, 400)];
      const draw = () => {
        const text = pool[Math.floor(next() * pool.length)];
        const n = 1 + Math.floor(next() * 380);
        return [...text.slice(0, n), ...(next() < 0.5 ? ids(n, 40) : [])];
      };
      let reused = 0;
      for (let round = 0; round < 4; round++) {
        const prompts = Array.from({ length: 12 }, draw);
        const got = await Promise.all(prompts.map((p) => s.complete(p)));
        for (const [i, p] of prompts.entries()) {
          assert.equal(cachedOf(got[i]) % PAGE, 0);
          assert.deepEqual(answerOf(got[i]),
            answerOf(await cold.ask('complete', p)), `round ${round}, ${i}`);
        }
        reused += await s.metric('prefix_tokens_total', ',source="store"');
        await s.restart();
      }
      assert.ok(reused > 1000, `${reused} tokens came from the disk`);
    }));

  test('a chat goes on where it ended, its answers included', () =>
    withStore({}, async (s) => {
      const turn = async (messages, salt) => {
        const r = await s.chat(messages, { max_tokens: 60, ignore_eos: false,
          cache_salt: salt });
        return [r, [...messages, r.choices[0].message]];
      };
      const talk = async (salt, between) => {
        const all = [];
        let messages = [{ role: 'system', content: words(20, 60) }];
        let r;
        for (const text of ['What is a budget?', 'And a key?', words(21, 40)]) {
          [r, messages] = await turn(
            [...messages, { role: 'user', content: text }], salt);
          all.push(r);
          await between();
        }
        return all;
      };
      const inMemory = await talk('memory', () => {});
      const onDisk = await talk('disk', () => s.restart());
      assert.deepEqual(onDisk.map(cachedOf), inMemory.map(cachedOf));
      assert.deepEqual(onDisk.map(answerOf), inMemory.map(answerOf));
      const [one, two] = onDisk;
      assert.ok(cachedOf(two) > one.usage.prompt_tokens,
        `${cachedOf(two)} of ${one.usage.prompt_tokens} and the answer`);
    }));

  test('many at once after a restart', () => withStore({}, async (s) => {
    const prompts = Array.from({ length: 12 }, (_, i) =>
      [...ids(50, 160), ...ids(60 + (i % 4), 30)]);
    const first = [];
    for (const p of prompts) first.push(await s.complete(p, DRAWN));
    await s.restart();
    const again = await Promise.all(prompts.map((p) => s.complete(p, DRAWN)));
    assert.deepEqual(again.map(answerOf), first.map(answerOf));
    again.forEach((r) => assert.equal(cachedOf(r), pagesOf(190)));
  }));

  test('clients that leave while their prefix is read harm nobody', () =>
    withStore({}, async (s) => {
      const next = prng(99);
      const prompts = Array.from({ length: 16 }, (_, i) => ids(70 + i, 330));
      const first = [];
      for (const p of prompts) first.push(await s.complete(p));
      for (let round = 0; round < 3; round++) {
        await s.restart();
        const got = await Promise.all(prompts.map(async (p, i) => {
          const leave = new AbortController();
          const r = s.client().completions.create({ model: 'demo', prompt: p,
            temperature: 0, max_tokens: 8, logprobs: 5, ignore_eos: true },
          { signal: leave.signal });
          if (next() < 0.5) {
            for (let n = Math.floor(next() * 200); n > 0; n--)
              await new Promise((go) => setImmediate(go));
            leave.abort();
            return assert.rejects(r).catch(() => {}); /* it was faster */
          }
          assert.deepEqual(answerOf(await r), answerOf(first[i]));
          return undefined;
        }));
        assert.equal(got.length, prompts.length);
        await s.rig.idle();
        for (const [i, p] of prompts.entries())
          assert.deepEqual(answerOf(await s.complete(p)), answerOf(first[i]));
      }
    }));

  test('embeddings are what they were', () => withStore({}, async (s) => {
    const embed = () => s.client().embeddings.create({ model: 'demo',
      input: [LONG, 'a key'], encoding_format: 'float' });
    const was = await embed();
    await s.complete(LONG);
    assert.deepEqual((await embed()).data, was.data);
    await s.restart();
    assert.deepEqual((await embed()).data, was.data);
    await s.complete(LONG);
    assert.deepEqual((await embed()).data, was.data);
  }));

  test('echo with log probabilities of the prompt is what it was', () =>
    withStore({}, async (s) => {
      const ask = (more) => s.complete(ids(8, 120), { echo: true, ...more });
      const was = await ask();
      await s.restart();
      assert.deepEqual(answerOf(await ask()), answerOf(was));
      await s.complete(ids(8, 120));
      assert.deepEqual(answerOf(await ask()), answerOf(was));
    }));
});

describe('prefix store: what is kept', () => {
  test('admission second: what was seen twice', () =>
    withStore({ store: { admission: 'second' } }, async (s) => {
      const [once, twice] = [ids(81, 300), ids(82, 300)];
      await s.complete(once);
      await s.complete(twice);
      await s.complete(twice);
      await s.settled();
      await s.restart();
      assert.equal(cachedOf(await s.complete(once)), 0);
      const r = await s.complete(twice);
      assert.equal(cachedOf(r), pagesOf(300));
      assert.deepEqual(answerOf(r), answerOf(await cold.ask('complete', twice)));
    }));

  test('admission auto keeps at once', () =>
    withStore({ store: { admission: 'auto' } }, async (s) => {
      await s.complete(ids(83, 300));
      await s.restart();
      assert.equal(cachedOf(await s.complete(ids(83, 300))), pagesOf(300));
    }));

  test('write_per_hour bounds what is written', () =>
    withStore({ store: { write_per_hour: '1MiB' } }, async (s) => {
      for (let i = 0; i < 8; i++) await s.complete(ids(84 + i, 400));
      await s.settled();
      const written = await s.metric('prefix_stored_bytes_total');
      assert.ok(written > 0 && written <= 1 << 20, `${written} bytes`);
      assert.ok(await s.metric('prefix_dropped_pages_total',
        ',reason="budget"') > 0);
      await s.restart();
      for (let i = 0; i < 8; i++) {
        const r = await s.complete(ids(84 + i, 400));
        assert.deepEqual(answerOf(r),
          answerOf(await cold.ask('complete', ids(84 + i, 400))));
      }
    }));
});
