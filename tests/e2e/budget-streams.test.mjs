// Many agents that ask for far more than they use, and streams that are longer
// than what they hold: nobody is refused who would have fitted, and a stream
// goes on until its budget's last token, and not one further.

import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, test } from 'node:test';

import Anthropic from '@anthropic-ai/sdk';
import { OpenAI } from 'openai';

import { clientOf, crowd, noneHeld, rowsOf, standOf, startPriced }
  from './lib/budget.mjs';
import { ask } from './lib/openai.mjs';
import { Plan } from './lib/provider/http.mjs';
import { GATE_ONLY, upstreamEntry } from './lib/rig.mjs';
import { until } from './lib/until.mjs';

const PRICES = [{ model: '*', input: 2, output: 10 }];

let rig;
let serial = 0;
const createKey = (...args) => rig.gate.createKey(`s${++serial}`, ...args);

const start = (budgets, workers = 2) => startPriced(PRICES, {
  config: (up) => ({ workers, budgets,
    log: { level: 'warn', format: 'json' },
    upstreams: [upstreamEntry(up, { models: ['demo'] }),
      { ...upstreamEntry(up), name: 'claude', dialect: 'anthropic',
        models: ['claude-*'] }] }) });

/** What came of a stream: tokens of each answer, how it ended. */
async function readChat(stream) {
  const got = { tokens: 0, finish: null, usage: null, error: null };
  try {
    for await (const c of await stream) {
      if (c.choices[0]?.delta.content) got.tokens += 1;
      got.finish = c.choices[0]?.finish_reason ?? got.finish;
      got.usage = c.usage ?? got.usage;
    }
  } catch (e) {
    got.error = e;
  }
  return got;
}

const countTo = (n, more = {}) => ask(`count to ${n}`,
  { stream: true, max_tokens: 64000, ...more });

function assertCut(e) {
  assert.ok(e instanceof OpenAI.APIError, String(e));
  assert.equal(e.code, 'budget_cut');
  assert.equal(e.type, 'insufficient_quota');
  assert.match(e.message,
    /^The budget of this key('s team)? ends here: \S+\. /);
}

for (const workers of [1, 4])
  describe(`agents, ${workers} workers`, GATE_ONLY, () => {
    before(async () => {
      rig = await start({}, workers);
    });
    beforeEach(() => rig.up.clear());
    after(() => rig?.close());

    for (const [what, stream, spec] of [
      ['streamed', true, '300k-tokens/day'],
      ['plain', false, '300k-tokens/day'],
      ['streamed, money', true, '$1/day'],
      ['plain, money', false, '$1/day']])
      test(`100 that ask for 64000 tokens each, ${what}: none is refused`,
        async () => {
          const key = await createKey('--budget', spec);
          const { served, errors } = await crowd(rig, [key], 100, async (c) => {
            const r = await c.chat.completions.create(
              ask('count to 50', { max_tokens: 64000, stream }));
            if (!stream) return r.usage.completion_tokens;
            return (await readChat(r)).tokens;
          });
          assert.deepEqual(errors.map(String), []);
          assert.ok(served.every((n) => n === 50));
          const [b] = await noneHeld(rig, 'key', key.id);
          const { input, output } = rig.up.trueCost();
          assert.equal(b.spent, spec.startsWith('$')
            ? input * 2000 + output * 10000 : input + output);
        });
  });

describe('agents whose provider is slow', GATE_ONLY, () => {
  before(async () => {
    rig = await start({ wait: '10m' }, 4);
  });
  after(() => rig?.close());

  const waiting = async () => Number(/^tollgate_budget_waiting (\d+)$/m.exec(
    await (await rig.fetch('/metrics')).text())[1]);

  test('they wait for what others hold, and all are served', async () => {
    const key = await createKey('--budget', '300k-tokens/day');
    const script = rig.up.script({ gateAfter: 'head', times: 100 });
    const asked = crowd(rig, [key], 100, async (c) =>
      (await c.chat.completions.create(
        ask('count to 50', { max_tokens: 64000 }))).usage.completion_tokens);
    // four hold 64000 and what their bodies may be
    await until('96 wait', async () => await waiting() === 96);
    assert.equal(rig.up.inFlight, 4);
    script.open();
    const { served, errors } = await asked;
    assert.deepEqual(errors.map(String), []);
    assert.deepEqual(new Set(served), new Set([50]));
    assert.ok(rig.up.requests.every((r) => r.caps.max_tokens === 64000),
      'nor is anybody cut short');
    assert.equal((await noneHeld(rig, 'key', key.id))[0].spent,
      rig.up.trueCost().input + rig.up.trueCost().output);
  });

  test('who leaves while it waits leaves no trace', async () => {
    rig.up.clear();
    const key = await createKey('--budget', '100-output-tokens/day');
    const script = rig.up.script({ gateAfter: 'head' });
    const first = clientOf(rig, key).chat.completions.create(
      ask('say ok', { max_tokens: 100 }));
    await script.reached;
    const gone = new AbortController();
    const second = clientOf(rig, key).chat.completions.create(
      ask('say ok', { max_tokens: 100 }), { signal: gone.signal });
    await until('the second waits', async () => await waiting() === 1);
    gone.abort();
    await assert.rejects(second, OpenAI.APIUserAbortError);
    await until('it waits no more', async () => await waiting() === 0);
    script.open();
    await first;
    const [b] = await noneHeld(rig, 'key', key.id);
    assert.deepEqual([b.spent, rig.up.hits], [1, 1]);
  });
});

describe('agents that have waited long enough', GATE_ONLY, () => {
  before(async () => {
    rig = await start({ wait: '1s' }, 4);
  });
  after(() => rig?.close());

  test('share what is free: none is refused', async () => {
    const key = await createKey('--budget', '320k-tokens/day');
    const script = rig.up.script({ gateAfter: 'head', times: 100 });
    const asked = crowd(rig, [key], 100, async (c) =>
      (await c.chat.completions.create(
        ask('count to 50', { max_tokens: 64000 }))).usage.completion_tokens);
    // four hold all but a little, and are not done
    await until('others go on beside them', () => rig.up.inFlight > 4);
    const caps = rig.up.requests.map((r) => r.caps.max_tokens);
    assert.equal(caps.filter((c) => c === 64000).length, 4);
    assert.ok(caps.every((c) => c >= 64), `${caps}`);
    const [b] = await standOf(rig, 'key', key.id);
    assert.ok(b.spent + b.held <= b.amount);
    script.open();
    const { served, errors } = await asked;
    assert.deepEqual(errors.map(String), []);
    assert.deepEqual(new Set(served), new Set([50]));
  });
});

describe('streams that are longer than what they hold', GATE_ONLY, () => {
  before(async () => {
    rig = await start({ stream_hold: 100, wait: '200ms', drain: '0s' });
  });
  beforeEach(() => {
    rig.up.clear();
    rig.up.ignoresCaps = true;
  });
  after(() => rig?.close());

  const streamOf = (key, n, more) =>
    readChat(clientOf(rig, key).chat.completions.create(countTo(n, more)));

  for (const [spec, tokens] of [['1000-output-tokens/total', 1000],
    ['100-output-tokens/day', 100], ['99-output-tokens/day', 99],
    ['101-output-tokens/day', 101], ['2345-output-tokens/month', 2345]])
    test(`cut at the last token of ${spec}`, async () => {
      const key = await createKey('--budget', spec);
      const got = await streamOf(key, 20000);
      assert.equal(got.tokens, tokens);
      assertCut(got.error);
      assert.deepEqual(rig.up.last.caps, { max_tokens: tokens });
      const [b] = await noneHeld(rig, 'key', key.id);
      assert.deepEqual([b.spent, b.held], [tokens, 0]);
      const [row] = (await rowsOf(rig)).filter((r) => r.key === key.id);
      assert.deepEqual([row.reason, row.estimated], ['budget_cut', true]);
      assert.deepEqual(
        [(await streamOf(key, 5)).error.status, rig.up.hits], [429, 1]);
    });

  test('cut at the last token that money affords, and of a team', async () => {
    const team = `t${++serial}`;
    await rig.gate.must(['team', 'create', team, '--budget', '$0.02/total']);
    const key = await createKey('--team', team, '--budget', '1M-tokens/day');
    const got = await streamOf(key, 20000);
    assertCut(got.error);
    assert.match(got.error.message, /^The budget of this key's team ends here/);
    const [b] = await noneHeld(rig, 'team', team);
    // one more token would not have fitted
    assert.ok(b.amount - b.spent < 10000, `${b.spent}`);
    const [row] = (await rowsOf(rig)).filter((r) => r.key === key.id);
    assert.equal(got.tokens, row.output_tokens);
    assert.equal(row.input_tokens * 2000 + row.output_tokens * 10000, b.spent);
  });

  test('in the words of other clients', async () => {
    const of = () => createKey('--budget', '300-output-tokens/total');
    const a = new Anthropic({ baseURL: rig.origin, apiKey: (await of()).key,
      maxRetries: 0 });
    let n = 0;
    await assert.rejects(async () => {
      for await (const e of await a.messages.create({ model: 'claude-x',
        max_tokens: 20000, stream: true,
        messages: [{ role: 'user', content: 'count to 9000' }] }))
        n += e.type === 'content_block_delta';
    }, (e) => e instanceof Anthropic.APIError && /ends here/.test(e.message));
    assert.equal(n, 300);
    n = 0;
    await assert.rejects(async () => {
      for await (const e of await clientOf(rig, await of()).responses.create(
        { model: 'demo', input: 'count to 9000', stream: true }))
        n += e.type === 'response.output_text.delta';
    }, (e) => e instanceof OpenAI.APIError && /ends here/.test(e.message));
    assert.equal(n, 300);
  });

  test('ten against each other share it to the last token', async () => {
    const key = await createKey('--budget', '2500-output-tokens/total');
    const all = await Promise.all(Array.from({ length: 10 }, () =>
      streamOf(key, 9000)));
    for (const got of all) assertCut(got.error);
    assert.equal(all.reduce((s, x) => s + x.tokens, 0), 2500);
    const [b] = await noneHeld(rig, 'key', key.id);
    assert.equal(b.spent, 2500);
  });

  test('a budget that is raised while it streams lets it go on', async () => {
    const key = await createKey('--budget', '400-output-tokens/total');
    const script = rig.up.script({ gateAfter: 300 });
    const asked = streamOf(key, 900);
    await script.reached;
    await rig.gate.must(['key', 'update', key.id, '--budget',
      '5k-output-tokens/total']);
    script.open();
    const got = await asked;
    // it was told to stop at what there was when it began
    assert.ok(got.tokens >= 400, `${got.tokens}`);
    assert.equal((await noneHeld(rig, 'key', key.id))[0].spent, got.tokens);
  });

  test('what is cut is told once, and the connection goes on', async () => {
    const key = await createKey('--budget', '150-output-tokens/total');
    const r = await rig.fetch('/v1/chat/completions', { json: countTo(900),
      headers: { authorization: `Bearer ${key.key}` } });
    const text = await r.text();
    assert.equal(r.status, 200);
    assert.equal(text.split('"error"').length, 2);
    assert.doesNotMatch(text, /\[DONE\]/);
    assert.match(text,
      /\n\ndata: \{"error":\{[^\n]*"code":"budget_cut"[^\n]*\n\n$/);
  });
});

/** Chat events with <text> each, which the provider counts as <tok> tokens. */
async function* bundles(text, n, tok) {
  const chunk = (more) => ({ data: JSON.stringify({ id: 'c', created: 1,
    object: 'chat.completion.chunk', model: 'demo', ...more }) });
  for (let i = 0; i < n; i++)
    yield chunk({ choices: [{ index: 0, delta: { content: text } }] });
  yield chunk({ choices: [{ index: 0, delta: {}, finish_reason: 'stop' }] });
  yield chunk({ choices: [], usage: { prompt_tokens: 20,
    completion_tokens: n * tok, total_tokens: n * tok + 20 } });
  yield { data: '[DONE]', done: true };
}

describe('events that bundle tokens', GATE_ONLY, () => {
  before(async () => {
    rig = await start({});
  });
  beforeEach(() => rig.up.clear());
  after(() => rig?.close());

  for (const [what, text] of [
    ['words', 'so it goes and on and on until the end. '],
    ['letters and digits', 'abcd12345.']])
    test(`100 streams whose budget has room: none is cut, ${what}`,
      async () => {
        const key = await createKey('--budget', '300k-tokens/day');
        rig.up.script({ times: 100,
          plan: () => Plan.events(bundles(text, 200, 10)) });
        const { served, errors } = await crowd(rig, [key], 100, (c) =>
          readChat(c.chat.completions.create(countTo(1, {
            stream_options: { include_usage: true } }))));
        assert.deepEqual(errors, []);
        for (const got of served)
          assert.deepEqual([got.error, got.usage?.completion_tokens],
            [null, 2000]);
        assert.equal((await noneHeld(rig, 'key', key.id))[0].spent, 202000);
      });
});

describe('streams whose budget suffices', GATE_ONLY, () => {
  before(async () => {
    rig = await start({ stream_hold: 1000 });
  });
  beforeEach(() => rig.up.clear());
  after(() => rig?.close());

  test('50000 tokens: each one, and its usage', async () => {
    const key = await createKey('--budget', '51k-output-tokens/day',
      '--budget', '$5/month');
    const got = await readChat(clientOf(rig, key).chat.completions.create(
      countTo(50000, { stream_options: { include_usage: true } })));
    assert.equal(got.error, null);
    assert.deepEqual([got.tokens, got.finish, got.usage.completion_tokens],
      [50000, 'stop', 50000]);
    assert.equal((await noneHeld(rig, 'key', key.id))[0].spent, 50000);
    const [row] = (await rowsOf(rig)).filter((r) => r.key === key.id);
    assert.equal(row.estimated, false);
  });

  test('what it holds grows as it goes', async () => {
    const key = await createKey('--budget', '1M-output-tokens/day');
    const script = rig.up.script({ gateAfter: 1200 });
    const asked = readChat(clientOf(rig, key).chat.completions.create(
      countTo(3000)));
    await script.reached;
    const { held } = (await standOf(rig, 'key', key.id))[0];
    assert.ok(held >= 1000 && held < 64000, `${held}`);
    script.open();
    assert.equal((await asked).tokens, 3000);
    assert.deepEqual((await noneHeld(rig, 'key', key.id))[0].spent, 3000);
  });
});
