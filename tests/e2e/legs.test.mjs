// Attempts that may have been served though nobody saw their reply: each is
// charged by itself, under a hard budget all that it held, so that no
// provider's books are ever above what is spent, nor that above the budget.

import assert from 'node:assert/strict';
import { after, afterEach, describe, test } from 'node:test';

import { noneHeld, rowsOf, standOf, startPriced } from './lib/budget.mjs';
import { GREEDY_PRICE, greedy } from './lib/greedy.mjs';
import { ask } from './lib/openai.mjs';
import { applyFault } from './lib/provider/faults.mjs';
import { ALONE, GATE_ONLY, upstreamEntry } from './lib/rig.mjs';
import { until, within } from './lib/until.mjs';

const CHAT = '/v1/chat/completions';
const CAP = 40;
const PRICES = [
  { model: ['demo', 'second'], ...GREEDY_PRICE },
  { model: 'dear', input: 3 * GREEDY_PRICE.input,
    output: 3 * GREEDY_PRICE.output }];
const RETRIES = { attempts: 3, backoff: '1ms', backoff_max: '1ms' };

/** Nano-dollars of tokens at the price of `demo`. */
const nusdOf = (input, output) =>
  1000 * (input * GREEDY_PRICE.input + output * GREEDY_PRICE.output);
const nusdOfText = (text) => Math.round(Number(text) * 1e9);

let [rig, serial] = [null, 0];

const start = (entry = {}, config = () => ({})) =>
  startPriced(PRICES, { config: (up) => ({
    upstreams: [upstreamEntry(up, { ...ALONE, ...entry,
      retries: { ...RETRIES, retry_ambiguous: true, ...entry.retries } })],
    ...config(up) }) });

const keyWith = (...budgets) => rig.gate.createKey(`l${++serial}`,
  ...budgets.flatMap((b) => ['--budget', b]));

/** A chat of a key: {status, code, id}; its body is read to the end. */
async function chat(key, more = {}, options = {}) {
  const r = await rig.fetch(CHAT, {
    json: { ...ask('say one two three'), max_tokens: CAP, ...more },
    headers: { authorization: `Bearer ${key.key}` }, ...options });
  const text = await r.text();
  return { status: r.status, id: r.headers.get('x-request-id'), text,
    code: /"code":"(\w+)"/.exec(text)?.[1] };
}

const shown = (id) => rig.gate.must(['request', 'show', id]);
const usageOf = async (key) =>
  (await rig.gate.must(['usage', '--key', key.id])).data[0];

/** The sums agree, and the ledger proves itself. */
async function assertProved(key) {
  const [usage, stand] =
    [await usageOf(key), await noneHeld(rig, 'key', key.id)];
  for (const b of stand)
    assert.equal(b.spent, b.unit === 'usd' ? nusdOfText(usage.cost_usd)
      : usage.input_tokens + usage.output_tokens);
  assert.equal((await rig.gate.must(['ledger', 'verify'])).ok, true);
  return { usage, stand };
}

const FAULTS = [
  ['reset before a byte', { fault: 'reset', at: 0 }],
  ['cut in its head', { fault: 'truncate', at: 9 }],
  ['no JSON', { edit: (plan) => {
    plan.body = Buffer.from('{"half":');
    return plan;
  } }, 'plain'],
  ['cut in its body', { fault: 'truncate', body: 5 }, 'plain'],
  ['a stream of nothing', { fault: 'cut_events', after: 0 }, 'stream'],
];

describe('legs', GATE_ONLY, () => {
  afterEach(() => rig?.close());

  for (const stream of [false, true])
    for (const [what, script, only] of FAULTS) {
      if (only && only !== (stream ? 'stream' : 'plain')) continue;
      test(`${what}, ${stream ? 'stream' : 'plain'}`, async () => {
        rig = await start();
        const key = await keyWith('100k-tokens/day', '$1/day');
        rig.up.script(script);
        const r = await chat(key, { stream });
        assert.equal(r.status, 200, r.text);
        assert.equal(rig.up.hits, 2);
        const { usage } = await assertProved(key);
        const row = await shown(r.id);
        assert.equal(row.attempts, 2);
        assert.equal(row.estimated, false);
        assert.equal(row.legs.length, 1);
        const [leg] = row.legs;
        assert.equal(leg.parent, r.id);
        assert.equal(leg.status, 502);
        assert.ok(leg.estimated && leg.in_doubt);
        assert.equal(leg.output_tokens, CAP);
        assert.ok(leg.input_tokens > row.input_tokens);
        assert.equal(nusdOfText(leg.cost_usd),
          nusdOf(leg.input_tokens, leg.output_tokens));
        assert.equal(usage.requests, 1);
        assert.equal(usage.legs, 1);
        assert.equal(usage.errors, 0);
      });
    }

  // all of its JSON is there, and tells its usage
  const TOLD = { fault: 'short_length' };

  test('a reply that is lost, but tells its usage, costs just that',
    async () => {
      rig = await start();
      const key = await keyWith('100k-tokens/day');
      rig.up.script({ ...TOLD });
      const r = await chat(key);
      assert.equal(r.status, 200);
      const { usage } = await assertProved(key);
      const { legs: [leg] } = await shown(r.id);
      assert.equal(leg.usage_source, 'upstream');
      assert.ok(!leg.estimated && !leg.in_doubt);
      const truth = rig.up.cost;
      assert.equal(usage.input_tokens, truth.input);
      assert.equal(usage.output_tokens, truth.output);
      rig.up.clear();
      rig.up.script({ ...TOLD, times: 2 });
      const bad = await chat(key);
      assert.equal(bad.status, 502);
      assert.equal(bad.code, 'upstream_bad_response');
      const { usage: both } = await assertProved(key);
      assert.equal((await shown(bad.id)).usage_source, 'upstream');
      assert.equal(both.output_tokens, truth.output + rig.up.cost.output);
      assert.equal(both.input_tokens, truth.input + rig.up.cost.input);
      assert.equal(both.estimated, 0);
    });

  test('a key without budgets is charged the input of each', async () => {
    rig = await start();
    const key = await keyWith();
    rig.up.script({ fault: 'reset', at: 0 });
    const r = await chat(key);
    assert.equal(r.status, 200);
    const { legs: [leg] } = await until('its row', () => shown(r.id));
    assert.ok(leg.input_tokens > 0 && leg.in_doubt && leg.estimated);
    assert.equal(leg.output_tokens, 0);
    assert.equal((await usageOf(key)).legs, 1);
  });

  test('what was refused in full or never sent is no leg', async () => {
    rig = await start();
    const key = await keyWith('100k-tokens/day');
    rig.up.script({ fault: 'status', code: 500 });
    const r = await chat(key);
    assert.equal(r.status, 200);
    assert.equal(rig.up.hits, 2);
    const { usage, stand: [b] } = await assertProved(key);
    const row = await shown(r.id);
    assert.equal(row.attempts, 2);
    assert.deepEqual(row.legs, []);
    assert.equal(usage.legs, 0);
    assert.equal(b.spent, row.input_tokens + row.output_tokens);
    await rig.up.refuse();
    const down = await chat(key);
    assert.equal(down.status, 503);
    const refused = await shown(down.id);
    assert.equal(Number(refused.cost_usd), 0);
    assert.deepEqual(refused.legs, []);
    assert.equal((await noneHeld(rig, 'key', key.id))[0].spent, b.spent);
  });

  test('a budget that affords one attempt tells how that one ended',
    async () => {
      rig = await start();
      const key = await keyWith('500-tokens/day');
      rig.up.script({ fault: 'reset', at: 0, times: 9 });
      const r = await chat(key);
      assert.equal(r.status, 502);
      assert.equal(r.code, 'upstream_reset');
      assert.equal(rig.up.hits, 1);
      const { stand: [b] } = await assertProved(key);
      const row = await shown(r.id);
      const sum = [row, ...row.legs].reduce((s, x) =>
        s + x.input_tokens + x.output_tokens, 0);
      assert.equal(b.spent, sum);
      assert.ok(b.spent > CAP && b.spent <= 500);
    });

  test('another target is held and charged by its own price', async () => {
    rig = await start({ models: ['demo'] }, (up) => ({
      upstreams: [
        upstreamEntry(up, { ...ALONE, models: ['demo'] }),
        upstreamEntry(up, { ...ALONE, name: 'other', models: ['dear'] })],
      routes: [{ model: '*', targets: [
        { upstream: 'up', model: 'demo', weight: 1 },
        { upstream: 'other', model: 'dear', weight: 0 }] }] }));
    const key = await keyWith('$1/day');
    rig.up.script({ fault: 'status', code: 503, gateAfter: 'head',
      match: (rec) => rec.json?.model === 'demo' });
    const late = rig.up.script({ gateAfter: 'head',
      match: (rec) => rec.json?.model === 'dear' });
    const [first] = rig.up.scripts;
    const reply = chat(key);
    const rec = await within(first.reached, 'the first is asked');
    const [cheap] = await standOf(rig, 'key', key.id);
    assert.equal(rec.json.model, 'demo');
    first.open();
    await within(late.reached, 'the other is asked');
    const [dear] = await standOf(rig, 'key', key.id);
    assert.equal(dear.held, 3 * cheap.held);
    late.open();
    const r = await reply;
    assert.equal(r.status, 200, r.text);
    const { usage } = await assertProved(key);
    const row = await shown(r.id);
    assert.equal(row.target, 'other');
    assert.deepEqual(row.legs, []);
    assert.equal(nusdOfText(usage.cost_usd),
      3 * nusdOf(row.input_tokens, row.output_tokens));
  });

  test('kill -9 charges every attempt that was under way', async () => {
    rig = await start();
    const key = await keyWith('100k-tokens/day');
    rig.up.script({ fault: 'reset', at: 0 });
    const second = rig.up.script({ gateAfter: 'head' });
    const reply = chat(key).catch((e) => e);
    await within(second.reached, 'the second is asked');
    const [open] = await standOf(rig, 'key', key.id);
    assert.ok(open.held > 2 * CAP);
    await rig.gate.kill9();
    await reply;
    await rig.gate.start();
    const [b] = await noneHeld(rig, 'key', key.id);
    assert.equal(b.spent, open.held);
    const rows = await rowsOf(rig, 2);
    const legs = rows.filter((x) => x.parent);
    assert.equal(rows.length, 2);
    assert.equal(legs.length, 1);
    assert.equal(legs[0].parent, rows.find((x) => !x.parent).id);
    assert.equal((await usageOf(key)).requests, 1);
    assert.equal((await rig.gate.must(['ledger', 'verify'])).ok, true);
  });
});

describe('a provider that works and resets', GATE_ONLY, () => {
  const [TOKENS, NUSD] = [12000, 120e6];

  afterEach(() => rig?.close());
  after(() => assert.ok(serial > 0));

  /** Of what it has worked for, every other reply is lost. */
  function lossy(up, stream) {
    const books = greedy(up);
    const [script] = up.scripts;
    let n = 0;
    script.edit = (plan) => n++ % 2 === 1 ? plan
      : applyFault(plan, stream ? { fault: 'cut_events', after: 0 }
        : { fault: 'reset', at: 0 });
    return books;
  }

  /** Asks four at once until nothing is answered any more. */
  async function assertBounded(money, stream, books) {
    const key = await keyWith(money ? '$0.12/day' : `${TOKENS}-tokens/day`);
    const all = [];
    for (let round = 0; round < 100; round++) {
      const four = await Promise.all([1, 2, 3, 4].map(() =>
        chat(key, { stream, max_tokens: 300 })));
      all.push(...four);
      if (four.every((r) => r.status === 429)) break;
    }
    assert.equal(all.at(-1).status, 429, all.at(-1).text);
    assert.ok(all.some((r) => r.status === 200));
    const { usage, stand: [b] } = await assertProved(key);
    const truth = money ? books.nusd : books.tokens;
    assert.ok(usage.legs > 0);
    assert.ok(truth <= b.spent, `${truth} of ${b.spent}`);
    assert.ok(b.spent <= (money ? NUSD : TOKENS), `${b.spent}`);
  }

  for (const stream of [false, true])
    for (const money of [false, true]) {
      const what = `${money ? 'money' : 'tokens'} allow, ` +
        `${stream ? 'stream' : 'plain'}`;
      test(`never takes more than ${what}`, async () => {
        rig = await start();
        await assertBounded(money, stream, lossy(rig.up, stream));
      });
      test(`nor do two that are asked at once: ${what}`, async () => {
        rig = await start({}, (up) => ({
          upstreams: [upstreamEntry(up), upstreamEntry(up, { name: 'two' })],
          routes: [{ model: '*', hedge_after: '1ms', targets: [
            { upstream: 'up' }, { upstream: 'two' }] }] }));
        await assertBounded(money, stream, greedy(rig.up, { slowMs: 30 }));
      });
    }
});
