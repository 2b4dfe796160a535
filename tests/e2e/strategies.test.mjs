// How a route picks among its targets, as its `strategy` says, and what a
// client is told when nobody can be picked.

import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, test } from 'node:test';

import { GATE_ONLY, startRig, upstreamEntry } from './lib/rig.mjs';
import { UPSTREAM_KEY } from './lib/tollgate.mjs';
import { startUpstream } from './lib/upstream.mjs';
import { until } from './lib/until.mjs';

const NAMES = ['up', 'two', 'three'];

/** `three` upstreams behind routes of every strategy. */
async function startThree(extra = {}) {
  const two = await startUpstream({ keys: [UPSTREAM_KEY] });
  const three = await startUpstream({ keys: [UPSTREAM_KEY] });
  const all = NAMES.map((upstream) => ({ upstream, model: 'demo' }));
  const weighted = (...w) => all.slice(0, w.length)
    .map((t, i) => ({ ...t, weight: w[i] }));
  const rig = await startRig({ config: (up) => ({
    upstreams: [up, two, three].map((u, i) =>
      upstreamEntry(u, { name: NAMES[i], ...extra })),
    routes: [
      { model: 'weighted', targets: weighted(6, 3, 1) },
      { model: 'least', targets: all, strategy: 'least_in_flight' },
      { model: 'least-2-1', targets: weighted(2, 1),
        strategy: 'least_in_flight' },
      { model: 'latency', targets: weighted(1, 1), strategy: 'latency' },
      { model: 'prefix', targets: all, strategy: 'prefix' },
      { model: 'prefix-two', targets: all.slice(0, 2), strategy: 'prefix' },
      { model: 'prefix-3-1', targets: weighted(3, 1), strategy: 'prefix' },
      { model: 'prefix-spare', targets: weighted(1, 0), strategy: 'prefix' },
    ] }) });
  return { rig, ups: [rig.up, two, three] };
}

/** The upstream that answered a POST, and the whole reply. */
async function post(rig, path, json, headers) {
  const r = await rig.fetch(path, { json, headers });
  const text = await r.text();
  return { status: r.status, target: r.headers.get('x-tollgate-target'),
    headers: r.headers, json: JSON.parse(text) };
}

/** Who answers a chat. */
async function chat(rig, model, messages, headers) {
  const r = await post(rig, '/v1/chat/completions',
    { model, messages, max_tokens: 4 }, headers);
  assert.equal(r.status, 200, JSON.stringify(r.json));
  return r.target;
}

const user = (content) => ({ role: 'user', content });
const system = (content) => ({ role: 'system', content });
const assistant = (content) => ({ role: 'assistant', content });
const said = (content) => [user(`say ${content}`)];

/** How many of the names are each. */
const count = (names) => NAMES.map((n) => names.filter((m) => m === n).length);

describe('strategies', GATE_ONLY, () => {
  let rig;
  let ups;
  before(async () => {
    ({ rig, ups } = await startThree());
  });
  beforeEach(() => ups.forEach((u) => u.clear()));
  after(async () => {
    await rig?.close();
    for (const u of ups?.slice(1) ?? []) await u.close();
  });

  /** Sends requests that stay under way; [targets in order, release]. */
  async function hold(model, n, prompt = () => said('x')) {
    const scripts = ups.map((u) => u.script({ gateAfter: 'head', times: n }));
    const hits = () => ups.map((u) => u.hits);
    const order = [];
    const replies = [];
    for (let i = 0; i < n; i++) {
      const was = hits();
      replies.push(chat(rig, model, prompt(i)));
      await until(`request ${i} is sent`, () =>
        hits().some((h, k) => h > was[k]));
      order.push(NAMES[hits().findIndex((h, k) => h > was[k])]);
    }
    return { order, release: async () => {
      scripts.forEach((s) => s.open());
      ups.forEach((u) => (u.scripts = []));
      assert.deepEqual(await Promise.all(replies), order);
    } };
  }

  test('weighted: by weight', async () => {
    const got = [];
    for (let i = 0; i < 300; i++)
      got.push(await chat(rig, 'weighted', said('x')));
    const [a, b, c] = count(got);
    assert.ok(a > 130 && a < 230, `${a} of 180`);
    assert.ok(b > 50 && b < 140, `${b} of 90`);
    assert.ok(c > 5 && c < 70, `${c} of 30`);
  });

  // before others hold replies back, which would count as slow
  test('latency: the quicker one gets nearly all, whichever it is',
    async () => {
      for (const [slow, gap] of [[0, 20], [1, 150]]) {
        ups.forEach((u) => u.clear());
        ups[slow].script({ times: 1000, fault: 'split', n: 250, gap });
        for (let i = 0; i < 60; i++) await chat(rig, 'latency', said('x'));
        const hits = ups.map((u) => u.hits);
        assert.ok(hits[slow] <= 10, `${slow} is slow: ${hits}`);
        assert.equal(hits[0] + hits[1], 60);
      }
    });

  test('least_in_flight: each gets its turn, by weight', async () => {
    const even = await hold('least', 12);
    assert.deepEqual(count(even.order), [4, 4, 4]);
    for (let i = 0; i < 12; i += 3)
      assert.equal(new Set(even.order.slice(i, i + 3)).size, 3);
    await even.release();

    ups.forEach((u) => u.clear());
    const uneven = await hold('least-2-1', 12);
    assert.deepEqual(count(uneven.order), [8, 4, 0]);
    await uneven.release();
  });

  test('least_in_flight: what is done is not counted', async () => {
    const busy = await hold('least', 2);
    const free = NAMES.find((n) => !busy.order.includes(n));
    const k = NAMES.indexOf(free);
    ups[k].scripts = [];
    for (let i = 0; i < 10; i++)
      assert.equal(await chat(rig, 'least', said('x')), free);
    await busy.release();
  });

  test('prefix: a conversation stays where it began', async () => {
    const homes = [];
    for (let i = 0; i < 30; i++) {
      const talk = i % 2 === 0 ? said(`word-${i}`)
        : [system(`You are clerk number ${i}. ${'Be brief. '.repeat(i)}`),
          ...said(`word-${i}`)];
      const home = await chat(rig, 'prefix', talk);
      homes.push(home);
      for (let turn = 0; turn < 5; turn++) {
        talk.push(assistant(`word-${i} `.repeat(10 * turn + 1)),
          user(`say more of ${turn}`));
        assert.equal(await chat(rig, 'prefix', talk), home,
          `conversation ${i}, turn ${turn}`);
      }
    }
    assert.ok(count(homes).every((n) => n >= 3), `${count(homes)}`);
  });

  test('prefix: what begins alike goes together, whoever asks', async () => {
    const other = await rig.gate.createKey('another');
    const long = system('The law of this land is as follows. '.repeat(20));
    const home = await chat(rig, 'prefix', [long, ...said('first')]);
    for (let i = 0; i < 12; i++)
      assert.equal(await chat(rig, 'prefix', [long, ...said(`word-${i}`)],
        { authorization: `Bearer ${i % 2 ? other.key : rig.key}` }), home);
  });

  test('prefix: every kind of prompt has its place', async () => {
    const asks = {
      '/v1/completions': (i) => ({ prompt: `say word-${i}` }),
      '/v1/embeddings': (i) => ({ input: [`word-${i}`, 'more'] }),
      '/v1/responses': (i) => ({ input: `say word-${i}` }),
    };
    for (const [path, ask] of Object.entries(asks)) {
      const homes = [];
      for (let i = 0; i < 18; i++) {
        const json = { model: 'prefix', ...ask(i) };
        const first = await post(rig, path, json);
        assert.equal(first.status, 200, JSON.stringify(first.json));
        homes.push(first.target);
        for (let k = 0; k < 3; k++)
          assert.equal((await post(rig, path, json)).target, first.target);
      }
      assert.ok(count(homes).every((n) => n > 0), `${path} ${count(homes)}`);
    }
  });

  test('prefix: responses go by their instructions and first input',
    async () => {
      const create = async (more) => (await post(rig, '/v1/responses',
        { model: 'prefix', ...more })).target;
      for (let i = 0; i < 9; i++) {
        const instructions = `Clerk number ${i}.`;
        const input = [{ role: 'user', content: `say word-${i}` }];
        const home = await create({ instructions, input });
        input.push({ role: 'assistant', content: 'word' },
          { role: 'user', content: 'say more' });
        assert.equal(await create({ instructions, input }), home);
      }
    });

  test('prefix: weights share the prompts', async () => {
    const got = [];
    for (let i = 0; i < 100; i++)
      got.push(await chat(rig, 'prefix-3-1', said(`word-${i}`)));
    const [a, b] = count(got);
    assert.ok(a >= 60 && a <= 90 && a + b === 100, `${a} : ${b}`);
    for (let i = 0; i < 10; i++)
      assert.equal(await chat(rig, 'prefix-spare', said(`word-${i}`)), 'up');
  });

  test('prefix: no more than its share goes to one', async () => {
    const home = await chat(rig, 'prefix-two', said('hot'));
    const rest = NAMES.slice(0, 2).find((n) => n !== home);
    ups.forEach((u) => u.clear());
    const many = await hold('prefix-two', 17, () => said('hot'));
    const [of, at] = [home, rest].map((n) =>
      many.order.filter((m) => m === n).length);
    assert.deepEqual(many.order.slice(0, 4), Array(4).fill(home));
    assert.equal(many.order[4], rest, 'a fifth is more than its share');
    assert.ok(of > at && of <= Math.ceil(17 * 1.25 / 2), `${of} : ${at}`);
    await many.release();
    assert.equal(await chat(rig, 'prefix-two', said('hot')), home);
  });

  test('prefix: only what was at a drained one moves, and comes back',
    async () => {
      const was = [];
      for (let i = 0; i < 30; i++)
        was.push(await chat(rig, 'prefix', said(`word-${i}`)));
      await rig.gate.must(['target', 'drain', 'two']);
      for (let i = 0; i < 30; i++) {
        const now = await chat(rig, 'prefix', said(`word-${i}`));
        assert.notEqual(now, 'two');
        if (was[i] !== 'two') assert.equal(now, was[i]);
      }
      await rig.gate.must(['target', 'resume', 'two']);
      for (let i = 0; i < 30; i++)
        assert.equal(await chat(rig, 'prefix', said(`word-${i}`)), was[i]);
    });

  test('whatever the strategy, nobody asks one that is drained', async () => {
    await rig.gate.must(['target', 'drain', 'up']);
    for (const model of ['weighted', 'least', 'latency', 'prefix'])
      for (let i = 0; i < 10; i++)
        assert.notEqual(await chat(rig, model, said(`word-${i}`)), 'up');
    await rig.gate.must(['target', 'resume', 'up']);
  });
});
