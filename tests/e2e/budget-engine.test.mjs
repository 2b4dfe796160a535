// Hard budgets before the built-in engine, which counts to the token: what is
// asked is known exactly, and a text stops at exactly the last token that its
// budget affords, however many share it and however they end.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { after, before, describe, test } from 'node:test';

import { CONTEXT, startEngine } from './lib/engine.mjs';
import { OpenAI, ask, openaiFor, textOf } from './lib/openai.mjs';
import { prng } from './lib/prng.mjs';
import { RawClient, requestBytes } from './lib/raw.mjs';
import { memoryFactor, runProgram } from './lib/tollgate.mjs';
import { until } from './lib/until.mjs';
import { toYaml } from './lib/yaml.mjs';

const PROMPT = 'the cat ran';
let serial = 0;
const LONG = { max_tokens: 1200, ignore_eos: true, seed: 3 };
const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'tg-budget-engine-'));
after(() => fs.rmSync(dir, { recursive: true, force: true }));

/** A daemon with a small model, budgets that wait only shortly. */
function start({ budgets = {}, model = {}, config = {}, env } = {}) {
  const prices = path.join(dir, 'prices.yaml');
  fs.writeFileSync(prices, toYaml({
    updated: new Date().toISOString().slice(0, 10),
    prices: [{ model: 'demo', target: 'demo', input: 1, output: 10 }] }));
  return startEngine({
    model: { slots: 4, ...model },
    config: { prices, budgets: { min_output: 1, wait: '400ms', ...budgets },
      ...config },
    env,
  });
}

/** What <rig> tells of a key or team. */
class Account {
  constructor(rig, object, kind = 'key') {
    Object.assign(this, { rig, kind, id: object.id ?? object.name,
      key: object.key });
    this.client = object.key && openaiFor({ baseUrl: rig.baseUrl,
      key: object.key });
  }

  /** A new key with these budgets, or in a team. */
  static async of(rig, budget, ...args) {
    return new Account(rig, await rig.gate.createKey(`b${++serial}`,
      ...budget ? ['--budget', budget] : [], ...args));
  }

  async budgets() {
    const { data } = await this.rig.gate.must([this.kind, 'list']);
    return data.find((x) => (x.id ?? x.name) === this.id).budgets;
  }

  /** The first budget, once nothing is held any more. */
  settled() {
    return until('nothing is held', async () => {
      const [b] = await this.budgets();
      return Number(b.held) === 0 ? b : undefined;
    });
  }

  chat(more = {}, options) {
    return this.client.chat.completions.create({ ...ask(PROMPT), ...LONG,
      ...more }, options);
  }

  /** A stream to its end or error: { chunks, text, error, usage }. */
  async stream(more = {}, options) {
    const out = { chunks: [], error: undefined };
    try {
      const s = await this.chat({ stream: true,
        stream_options: { include_usage: true }, ...more }, options);
      for await (const c of s) out.chunks.push(c);
    } catch (e) {
      out.error = e;
    }
    out.text = textOf(out.chunks);
    out.usage = out.chunks.find((c) => c.usage)?.usage;
    return out;
  }
}

const rowsOf = (rig, account) => rig.gate.accessRows()
  .filter((x) => x.key === account.id);
const sum = (rows, member) => rows.reduce((s, x) => s + x[member], 0);
const generated = (rig) =>
  rig.metric('engine_generated_tokens_total', 'model="demo"');

/** A stream of <n> choices whose client does not read, once it rests. */
async function stopped(rig, account, n) {
  const c = await RawClient.connect(rig.address);
  c.pause();
  await c.send(requestBytes('POST', '/v1/chat/completions', [
    ['authorization', `Bearer ${account.key}`],
    ['content-type', 'application/json'],
  ], JSON.stringify({ ...ask(PROMPT), ...LONG, stream: true, n, logprobs: true,
    top_logprobs: 20 })));
  let was = -1;
  let looks = 0;
  await until('it rests', async () => {
    const now = await generated(rig);
    const rests = now > 0 && now === was &&
      await rig.metric('engine_batch', 'model="demo"') === 0;
    was = now;
    looks = rests ? looks + 1 : 0;
    return looks === 20;
  });
  return c;
}

async function refused(promise) {
  const e = await promise.then(() => assert.fail('it was served'), (x) => x);
  assert.ok(e instanceof OpenAI.RateLimitError, String(e));
  assert.equal(e.status, 429);
  assert.equal(e.code, 'insufficient_quota');
  assert.equal(e.headers.get('x-should-retry'), 'false');
  return e;
}

const isCut = (e) => {
  assert.ok(e instanceof OpenAI.APIError, String(e));
  assert.equal(e.code, 'budget_cut');
  assert.match(e.message, /budget/);
};

describe('budgets of the engine', () => {
  let rig;
  let free;
  let input;
  before(async () => {
    rig = await start();
    free = new Account(rig, rig.keyObject);
    input = (await free.chat({ max_tokens: 1 })).usage.prompt_tokens;
  });
  after(() => rig?.close());

  /** What an account without budgets gets for so many tokens. */
  const text = async (n, more = {}) =>
    (await free.chat({ max_tokens: n, ...more })).choices[0].message.content;

  for (const n of [1, 50, 256, 257, 300, 700])
    test(`a reply ends at exactly token ${n}, and the next is refused`,
      async () => {
        const a = await Account.of(rig, `${n}-output-tokens/total`);
        const was = await generated(rig);
        const r = await a.chat();
        assert.equal(r.usage.completion_tokens, n);
        assert.equal(r.choices[0].finish_reason, 'length');
        assert.equal(await generated(rig) - was, n);
        const b = await a.settled();
        assert.deepEqual([b.spent, b.left], [n, 0]);
        assert.equal(r.choices[0].message.content, await text(n));
        const e = await refused(a.chat());
        assert.match(e.message, /\b0 output tokens (are )?left/);
        const rows = await until('rows', () =>
          rowsOf(rig, a).length === 2 && rowsOf(rig, a));
        assert.equal(sum(rows, 'output_tokens'), n);
        assert.ok(rows.every((x) => !x.estimated));
      });

  for (const n of [1, 50, 300, 600])
    test(`a stream is cut behind token ${n}, and says so`, async () => {
      const a = await Account.of(rig, `${n}-output-tokens/total`);
      const r = await a.stream({ logprobs: true, top_logprobs: 2 });
      isCut(r.error);
      assert.equal(r.usage.completion_tokens, n);
      assert.equal(r.text, await text(n));
      assert.ok(r.chunks.every((c) => !c.choices[0]?.finish_reason));
      const b = await a.settled();
      assert.deepEqual([b.spent, b.left], [n, 0]);
      // the numbers of each token are those it has without a budget
      const whole = await free.chat({ max_tokens: n, logprobs: true,
        top_logprobs: 2 });
      assert.deepEqual(
        r.chunks.flatMap((c) => c.choices[0]?.logprobs?.content ?? []),
        whole.choices[0].logprobs.content);
      const row = await until('a row', () => rowsOf(rig, a)[0]);
      assert.equal(row.output_tokens, n);
      assert.equal(row.outcome ?? 'E', 'E');
    });

  test('the raw bytes of a cut: an error event, no [DONE], no finish',
    async () => {
      const a = await Account.of(rig, '20-output-tokens/total');
      const r = await fetch(`${rig.origin}/v1/completions`, {
        method: 'POST', headers: { authorization: `Bearer ${a.key}`,
          'content-type': 'application/json' },
        body: JSON.stringify({ model: 'demo', prompt: PROMPT, ...LONG,
          stream: true }) });
      assert.equal(r.status, 200);
      const body = await r.text();
      assert.ok(!body.includes('[DONE]'));
      assert.ok(!body.includes('"finish_reason":"'));
      const last = JSON.parse(body.trim().split('\n').at(-1).slice(6));
      assert.equal(last.error.code, 'budget_cut');
      assert.equal((await a.settled()).spent, 20);
    });

  test('what fits to the token is no cut', async () => {
    const a = await Account.of(rig, '500-output-tokens/total');
    const r = await a.stream({ max_tokens: 500 });
    assert.equal(r.error, undefined);
    assert.equal(r.chunks.at(-2).choices[0].finish_reason, 'length');
    assert.equal((await a.settled()).left, 0);
  });

  test('input counts as it is, of all tokens and of input tokens', async () => {
    const a = await Account.of(rig, `${2 * input + 30}-tokens/total`);
    const first = await a.chat({ max_tokens: 10 });
    assert.equal(first.usage.total_tokens, input + 10);
    const r = await a.chat();
    assert.equal(r.usage.completion_tokens, 20);
    assert.equal((await a.settled()).left, 0);
    await refused(a.chat({ max_tokens: 1 }));
    const b = await Account.of(rig, `${input}-input-tokens/total`);
    await b.chat({ max_tokens: 400 });
    await refused(b.chat({ max_tokens: 1 }));
    const c = await Account.of(rig, `${input - 1}-input-tokens/total`);
    await refused(c.chat({ max_tokens: 1 }));
    assert.equal((await c.settled()).spent, 0);
  });

  test('money buys exactly so many tokens', async () => {
    // 1 USD a million of input, 10 of output
    const nusd = (input * 1000 + 300 * 10000).toString().padStart(10, '0');
    const usd = `${nusd.slice(0, -9)}.${nusd.slice(-9)}`;
    const a = await Account.of(rig, `$${usd}/total`);
    const salt = { cache_salt: 'money' }; // none of it is cached
    const r = await a.chat(salt);
    assert.equal(r.usage.completion_tokens, 300);
    assert.equal(Number((await a.settled()).left), 0);
    await refused(a.chat(salt));
  });

  test('choices share a budget to the token', async () => {
    const a = await Account.of(rig, '100-output-tokens/total');
    const r = await a.chat({ n: 3 });
    assert.equal(r.usage.completion_tokens, 100);
    const whole = await free.chat({ n: 3, max_tokens: 100 });
    r.choices.forEach((c, i) => {
      assert.equal(c.finish_reason, 'length');
      assert.ok(c.message.content.length > 0);
      assert.ok(whole.choices[i].message.content.startsWith(
        c.message.content.replace(/\uFFFD+$/, '')));
    });
    assert.equal((await a.settled()).left, 0);
    // in a stream some may end by themselves, the others are cut
    const b = await Account.of(rig, '1000-output-tokens/total');
    const s = await b.stream({ n: 3 });
    isCut(s.error);
    assert.equal(s.usage.completion_tokens, 1000);
    assert.equal((await b.settled()).left, 0);
  });

  test('so do prompts, and those of which nothing is left are not read',
    async () => {
      const a = await Account.of(rig, '40-output-tokens/total');
      const prompt = Array.from({ length: 12 }, (_, i) => `${PROMPT} ${i}`);
      const r = await a.client.completions.create({ model: 'demo', prompt,
        ...LONG, n: 2 });
      assert.equal(r.choices.length, 24);
      assert.equal(r.usage.completion_tokens, 40);
      assert.ok(r.choices.every((c) => c.finish_reason === 'length'));
      assert.equal((await a.settled()).left, 0);
    });

  test('vectors take input alone; counting tokens takes nothing', async () => {
    const a = await Account.of(rig, '40-tokens/total');
    const all = ['/tokenize', '/v1/tokenize'];
    const tokens = async () => {
      for (const at of all) {
        const r = await fetch(rig.origin + at, { method: 'POST',
          headers: { authorization: `Bearer ${a.key}`,
            'content-type': 'application/json' },
          body: JSON.stringify({ model: 'demo', prompt: PROMPT }) });
        if (r.status === 404) continue;
        assert.equal(r.status, 200);
        await r.body.cancel();
        return;
      }
      assert.fail('no tokenizer');
    };
    const embed = (x) => a.client.embeddings.create({ model: 'demo',
      input: x, encoding_format: 'float' });
    await tokens();
    const r = await embed([PROMPT, PROMPT]);
    const n = r.usage.prompt_tokens;
    assert.ok(n > 0 && n < 40);
    assert.equal((await a.settled()).spent, n);
    await refused(embed(Array(20).fill(PROMPT)));
    assert.equal((await a.settled()).spent, n);
    await tokens();
  });

  test('of two budgets the smaller ends it, and both are charged', async () => {
    await rig.gate.must(['team', 'create', 'small', '--budget',
      '60-output-tokens/total']);
    const a = await Account.of(rig, '500-output-tokens/total', '--team',
      'small');
    const r = await a.chat();
    assert.equal(r.usage.completion_tokens, 60);
    assert.equal((await a.settled()).spent, 60);
    const { data } = await rig.gate.must(['team', 'list']);
    assert.equal(data.find((t) => t.name === 'small').budgets[0].spent, 60);
    await refused(a.chat());
  });

  test('a reader that stops gets all up to the cut when it goes on',
    async () => {
      const a = await Account.of(rig, '2500-output-tokens/total');
      const c = await stopped(rig, a, 4);
      c.resume();
      const reply = await c.readReply({ method: 'POST' });
      c.destroy();
      const events = reply.text.trim().split('\n\n')
        .map((l) => JSON.parse(l.slice(6)));
      assert.equal(events.at(-1).error.code, 'budget_cut');
      assert.equal(events.flatMap((e) =>
        e.choices?.[0]?.logprobs?.content ?? []).length, 2500);
      const b = await a.settled();
      assert.deepEqual([b.spent, b.left], [2500, 0]);
    });

  test('without budgets nothing is held, and nothing ends early', async () => {
    const r = await free.stream();
    assert.equal(r.error, undefined);
    assert.equal(r.usage.completion_tokens, LONG.max_tokens);
  });
});

describe('an output that is not worth it', () => {
  test('is refused before anything is made', async () => {
    const rig = await start({ budgets: { min_output: 64 } });
    try {
      const a = await Account.of(rig, '50-output-tokens/total');
      const was = await generated(rig);
      const e = await refused(a.chat());
      assert.match(e.message, /\b50 output tokens (are )?left/);
      assert.equal(await generated(rig), was);
      // a cap of one's own that is smaller stands
      const r = await a.chat({ max_tokens: 10 });
      assert.equal(r.usage.completion_tokens, 10);
      assert.equal((await a.settled()).spent, 10);
    } finally {
      await rig.close();
    }
  });
});

describe('a text that lacks room', () => {
  let rig;
  before(async () => {
    rig = await start({ budgets: { wait: '20s' } });
  });
  after(() => rig?.close());

  test('rests until another gives back, and is the same text', async () => {
    await rig.gate.must(['team', 'create', 'two', '--budget',
      '100k-output-tokens/total']);
    const team = async () =>
      (await rig.gate.must(['team', 'list'])).data[0].budgets[0];
    const one = await Account.of(rig, undefined, '--team', 'two');
    const two = await Account.of(rig, undefined, '--team', 'two');
    // holds more than it takes: it makes nothing while nobody reads
    const c = await stopped(rig, one, 8);
    const { held } = await team();
    await rig.gate.must(['team', 'update', 'two', '--budget',
      `${held + 300}-output-tokens/total`]);
    const whole = await new Account(rig, rig.keyObject)
      .chat({ max_tokens: 700 });
    const was = await generated(rig);
    const later = two.stream({ max_tokens: 700 });
    await until('it has all there is', async () =>
      await generated(rig) === was + 300);
    // others are served meanwhile
    await new Account(rig, rig.keyObject).chat({ max_tokens: 5 });
    assert.equal(await generated(rig), was + 305);
    c.destroy();
    const r = await later;
    assert.equal(r.error, undefined);
    assert.equal(r.usage.completion_tokens, 700);
    assert.equal(r.text, whole.choices[0].message.content);
    await until('all is given back', async () => (await team()).held === 0);
  });

  test('is ended with the daemon, and charged what it has', async () => {
    const short = await start({ budgets: { wait: '20s' },
      config: { drain_timeout: '200ms' } });
    try {
      const a = await Account.of(short, '100k-output-tokens/total');
      const c = await stopped(short, a, 8);
      const [{ held }] = await a.budgets();
      await short.gate.must(['key', 'update', a.id, '--budget',
        `${held + 300}-output-tokens/total`]);
      const was = await generated(short);
      const later = a.stream({ max_tokens: 700 });
      await until('it has all there is', async () =>
        await generated(short) === was + 300);
      await short.gate.stop();
      const r = await later;
      assert.ok(r.error, 'it was told');
      c.destroy();
      await short.gate.start();
      await until('it is ready', async () =>
        (await fetch(`${short.gate.origin}/readyz`)).status === 200);
      const [b] = await a.budgets();
      assert.deepEqual([b.spent, b.held], [was + 300, 0]);
    } finally {
      await short.close();
    }
  });

  test('is cut when nothing comes in time', async () => {
    const quick = await start({ budgets: { wait: '300ms' } });
    try {
      const a = await Account.of(quick, '100k-output-tokens/total');
      const c = await stopped(quick, a, 8);
      const [{ held }] = await a.budgets();
      await quick.gate.must(['key', 'update', a.id, '--budget',
        `${held + 300}-output-tokens/total`]);
      const r = await a.stream({ max_tokens: 700 });
      isCut(r.error);
      assert.equal(r.usage.completion_tokens, 300);
      c.destroy();
      await a.settled();
    } finally {
      await quick.close();
    }
  });
});

test('a text ends where no more can be held, since the disk fails',
  { skip: memoryFactor() > 1 && 'a checked program cannot be preloaded' },
  async () => {
    const made = await runProgram('cc', ['-shared', '-fPIC', '-D_GNU_SOURCE',
      '-o', `${dir}/failhead.so`, fileURLToPath(
        new URL('lib/failhead.c', import.meta.url)), '-ldl']);
    assert.equal(made.code, 0, made.stderr);
    const rig = await start({
      env: { LD_PRELOAD: `${dir}/failhead.so`, FAILHEAD: `${dir}/now` } });
    try {
      const a = await Account.of(rig, '100k-output-tokens/total');
      const c = await stopped(rig, a, 8);
      const [{ held }] = await a.budgets();
      fs.writeFileSync(`${dir}/now`, '');
      c.resume();
      const reply = await c.readReply({ method: 'POST' });
      const events = reply.text.trim().split('\n\n')
        .map((l) => JSON.parse(l.slice(6)));
      assert.equal(events.at(-1).error.code, 'ledger_unavailable');
      const tokens = events.flatMap((e) =>
        e.choices?.[0]?.logprobs?.content ?? []).length;
      assert.ok(tokens >= held && tokens < 8 * LONG.max_tokens, `${tokens}`);
      c.destroy();
    } finally {
      fs.rmSync(`${dir}/now`, { force: true });
      await rig.gate.kill9();
      rig.gate.remove();
    }
  });

for (const workers of [1, 4])
  describe(`many at one budget of the engine, ${workers} workers`, () => {
    let rig;
    before(async () => {
      rig = await start({ config: { workers },
        model: { slots: 8 } });
    });
    after(() => rig?.close());

    test('20 streams make exactly what it affords', async () => {
      await rig.gate.must(['team', 'create', 'streams', '--budget',
        '3000-output-tokens/total']);
      const keys = [];
      for (let i = 0; i < 4; i++)
        keys.push(await Account.of(rig, undefined, '--team', 'streams'));
      const was = await generated(rig);
      const all = await Promise.all(Array.from({ length: 20 }, (_, i) =>
        keys[i % 4].stream({ seed: i })));
      const made = await generated(rig) - was;
      const { data } = await rig.gate.must(['team', 'list']);
      const [b] = data.find((t) => t.name === 'streams').budgets;
      assert.equal(made, 3000);
      assert.equal(b.spent, 3000);
      assert.equal(b.held, 0);
      let told = 0;
      for (const r of all) {
        if (!r.usage) assert.equal(r.error.code, 'insufficient_quota');
        else if (r.error) isCut(r.error);
        else assert.equal(r.usage.completion_tokens, LONG.max_tokens);
        told += r.usage?.completion_tokens ?? 0;
      }
      assert.equal(told, 3000);
      await until('all rows', () => sum(keys.flatMap((k) =>
        rowsOf(rig, k)), 'output_tokens') === 3000);
    });

    test('100 that ask for all are not refused while what they take fits',
      async () => {
        const free = new Account(rig, rig.keyObject);
        const want = (i) => ({ seed: i, max_tokens: undefined,
          ignore_eos: false, stop: ['e', 'a', 'o'] });
        const alone = await Promise.all(Array.from({ length: 100 }, (_, i) =>
          free.chat(want(i))));
        const need = alone.reduce((s, r) => s + r.usage.completion_tokens, 0);
        const most = Math.max(...alone.map((r) => r.usage.completion_tokens));
        assert.ok(most < CONTEXT / 2);
        const rig2 = await start({ budgets: { wait: '20s' },
          config: { workers }, model: { slots: 8 } });
        try {
          const a = await Account.of(rig2, `${need}-output-tokens/total`);
          const got = await Promise.all(Array.from({ length: 100 }, (_, i) =>
            a.chat(want(i))));
          got.forEach((r, i) => assert.equal(r.choices[0].message.content,
            alone[i].choices[0].message.content));
          const b = await a.settled();
          assert.deepEqual([b.spent, b.left], [need, 0]);
        } finally {
          await rig2.close();
        }
      });

    test('who leaves is charged what was made, and gives the rest back',
      async () => {
        const a = await Account.of(rig, '100k-output-tokens/total');
        const next = prng(workers);
        const was = await generated(rig);
        const one = async (i) => {
          const leaves = AbortSignal.timeout(1 + Math.floor(next() * 150));
          const how = { seed: i, n: 1 + i % 3 };
          if (i % 2) await a.stream(how, { signal: leaves });
          else await a.chat(how, { signal: leaves }).catch(() => {});
        };
        for (let round = 0; round < 3; round++)
          await Promise.all(Array.from({ length: 24 }, (_, i) => one(i)));
        await rig.idle();
        const b = await a.settled();
        const made = await generated(rig) - was;
        assert.ok(made > 100, `${made} tokens`);
        assert.equal(b.spent, made);
        await until('all rows', () =>
          sum(rowsOf(rig, a), 'output_tokens') === made);
        assert.ok(rowsOf(rig, a).every((x) => !x.estimated));
      });

    test('a kill charges no less than was made, and no more than there is',
      async () => {
        const r = await start({ config: { workers }, model: { slots: 8 } });
        try {
          const a = await Account.of(r, '6000-output-tokens/total');
          const all = Array.from({ length: 12 }, (_, i) =>
            a.stream({ seed: i }));
          const made = await until('they run', async () => {
            const n = await generated(r);
            return n > 1500 ? n : undefined;
          });
          await r.gate.kill9();
          const told = (await Promise.all(all)).map((x) =>
            x.chunks.filter((c) => c.choices[0]?.delta.content).length);
          await r.gate.start();
          await until('it is ready', async () =>
            (await fetch(`${r.gate.origin}/readyz`)).status === 200);
          const [b] = await a.budgets();
          assert.ok(b.spent >= made && b.spent <= 6000,
            `${b.spent} spent, ${made} made`);
          assert.ok(b.spent >= told.reduce((x, y) => x + y, 0));
          assert.equal(b.held, 0);
        } finally {
          await r.close();
        }
      });
  });
