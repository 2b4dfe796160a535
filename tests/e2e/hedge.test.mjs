// A second upstream is asked beside one that is slow to answer: who answers
// first is heard, the other is cancelled, and the ledger has both.

import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, test } from 'node:test';

import { ask } from './lib/openai.mjs';
import { GATE_ONLY, startRig, upstreamEntry } from './lib/rig.mjs';
import { UPSTREAM_KEY } from './lib/tollgate.mjs';
import { startUpstream } from './lib/upstream.mjs';
import { until, within } from './lib/until.mjs';

const NEVER = { failures: 0 };
const ONCE = { attempts: 1, backoff: '1ms', backoff_max: '1ms' };

/** The sum of a counter of the metrics whose labels match. */
async function metric(rig, name, labels = '') {
  const text = await (await rig.fetch('/metrics')).text();
  return text.split('\n')
    .filter((l) => l.startsWith(name) && l.includes(labels))
    .reduce((sum, l) => sum + Number(l.split(' ').at(-1)), 0);
}

describe('hedging', GATE_ONLY, () => {
  let rig;
  let two;
  before(async () => {
    two = await startUpstream({ keys: [UPSTREAM_KEY] });
    rig = await startRig({ config: (up) => {
      const at = (weight) => [{ upstream: 'up', model: 'demo' },
        { upstream: 'two', model: 'demo', weight }];
      return {
        passthrough: 'up',
        upstreams: [up, two, two].map((u, i) => upstreamEntry(u, {
          name: ['up', 'two', 'wide'][i], retries: ONCE, breaker: NEVER,
          max_in_flight: i === 1 ? 4 : 0, queue: { size: 0 } })),
        routes: [
          { model: 'hedged', targets: at(0), hedge_after: '100ms' },
          { model: 'later', targets: at(0), hedge_after: '1h' },
          { model: 'plain', targets: at(0) },
          { model: 'wide', hedge_after: '100ms', targets: [
            { upstream: 'up', model: 'demo' },
            { upstream: 'wide', model: 'demo', weight: 0 }] },
          { model: 'alone', targets: at(0).slice(0, 1), hedge_after: '50ms' },
        ] };
    } });
  });
  beforeEach(async () => {
    for (const name of ['up', 'two'])
      await rig.gate.must(['target', 'resume', name]);
    rig.up.clear();
    two.clear();
  });
  after(async () => {
    await rig?.close();
    await two?.close();
  });

  const send = (path, json, init = {}) => rig.fetch(path, { json, ...init });
  const read = async (r) => {
    const text = await r.text();
    return { status: r.status, text, id: r.headers.get('x-request-id'),
      target: r.headers.get('x-tollgate-target'),
      attempts: Number(r.headers.get('x-tollgate-attempts')) };
  };
  const chat = async (model, more = {}, init = {}) => read(await send(
    '/v1/chat/completions', { ...ask('say ok'), model, ...more }, init));
  const hits = () => [rig.up.hits, two.hits];
  const calm = () => until('nothing is under way', async () =>
    await metric(rig, 'tollgate_in_flight') <= 1 &&
    rig.up.inFlight === 0 && two.inFlight === 0);

  /** The one beside it is under way, too. */
  const both = () => until('both are asked', () =>
    rig.up.hits === 1 && two.hits === 1);

  for (const stream of [false, true]) {
    const how = stream ? 'stream' : 'whole';
    test(`the second answers first: ${how}`, async () => {
      const won = await metric(rig, 'tollgate_hedges_total', 'won');
      rig.up.script({ gateAfter: 'head' });
      const r = await chat('hedged', { stream });
      assert.equal(r.status, 200, r.text);
      assert.equal(r.target, 'two');
      assert.equal(r.attempts, 2);
      assert.match(r.text, /ok/);
      assert.deepEqual(hits(), [1, 1]);
      await until('the slow one is cancelled', () => rig.up.last.aborted);
      assert.equal(await metric(rig, 'tollgate_hedges_total', 'won'), won + 1);
      await calm();
    });

    test(`the first answers first: ${how}`, async () => {
      const lost = await metric(rig, 'tollgate_hedges_total', 'lost');
      const one = rig.up.script({ gateAfter: 'head' });
      const other = two.script({ gateAfter: 'head' });
      const reply = chat('hedged', { stream });
      await both();
      one.open();
      const r = await reply;
      assert.equal(r.status, 200, r.text);
      assert.equal(r.target, 'up');
      assert.equal(r.attempts, 2);
      await until('the second is cancelled', () => two.last.aborted);
      other.open();
      assert.equal(await metric(rig, 'tollgate_hedges_total', 'lost'),
        lost + 1);
      await calm();
    });
  }

  test('a head alone is no first byte of a stream', async () => {
    rig.up.script({ gateAfter: 0 });
    const r = await chat('hedged', { stream: true });
    assert.equal(r.status, 200, r.text);
    assert.equal(r.target, 'two');
    await until('the slow one is cancelled', () => rig.up.last.aborted);
  });

  test('who answers in time is alone', async () => {
    for (let i = 0; i < 20; i++) {
      assert.equal((await chat('hedged', { stream: i % 2 === 0 })).target,
        'up');
      assert.equal((await chat('later')).target, 'up');
    }
    assert.deepEqual(hits(), [40, 0]);
  });

  test('both are in the ledger', async () => {
    const key = await rig.gate.must(['key', 'create', '--name', 'legs',
      '--budget', '1M-tokens/day']);
    rig.up.script({ gateAfter: 'head' });
    const r = await chat('hedged', { max_tokens: 50 },
      { headers: { authorization: `Bearer ${key.key}` } });
    assert.equal(r.status, 200, r.text);
    const used = await until('it is settled', async () => {
      const u = await rig.gate.must(['key', 'show', key.id]);
      return u.budgets[0].held === 0 && u.budgets[0].spent > 0 && u;
    });
    const of = await until('both are there', async () => {
      const usage = await rig.gate.must(
        ['usage', '--key', key.id, '--by', 'target']);
      const find = (t) => usage.data.find((row) => row.target === `${t}/demo`);
      return find('up') && find('two') && find;
    });
    assert.equal(of('two').requests, 1);
    assert.equal(of('up').requests, 0, 'a leg is no request');
    assert.ok(of('up').output_tokens >= 50, 'nobody knows: all that was held');
    const truth = [rig.up, two].map((u) => u.trueCost())
      .reduce((n, c) => n + c.input + c.output, 0);
    assert.ok(used.budgets[0].spent >= truth);
    await rig.gate.must(['ledger', 'verify']);
  });

  test('a crowd beyond its budget, with faults: it holds', async () => {
    const hedges = await metric(rig, 'tollgate_hedges_total');
    const limit = 9000;
    const key = await rig.gate.must(['key', 'create', '--name', 'crowd',
      '--budget', `${limit}-tokens/day`]);
    const headers = { authorization: `Bearer ${key.key}` };
    rig.up.script({ gateAfter: 'head' });
    const first = await chat('hedged', { max_tokens: 40 }, { headers });
    assert.equal(first.target, 'two', 'what the crowd has no room for');
    let k = 0;
    const odd = [{ fault: 'split', n: 250, gap: 70 }, { fault: 'reset' },
      { fault: 'status', code: 500 }, { fault: 'split', n: 100, gap: 40 }];
    for (const u of [rig.up, two])
      for (const fault of odd)
        u.script({ ...fault, times: 10, match: () => k++ % 3 > 0 });
    const replies = await Promise.all(Array.from({ length: 60 }, (_, i) =>
      chat('wide', { max_tokens: 40, stream: i % 2 === 0 }, { headers })));
    assert.ok(replies.some((r) => r.status === 200));
    await calm();
    const shown = await until('all is settled', async () => {
      const u = await rig.gate.must(['key', 'show', key.id]);
      return u.budgets[0].held === 0 && u;
    });
    const truth = [rig.up, two].map((u) => u.trueCost())
      .reduce((n, c) => n + c.input + c.output, 0);
    const { spent } = shown.budgets[0];
    assert.ok(truth <= spent && spent <= limit, `${truth}, ${spent}`);
    assert.ok(truth > 0);
    assert.ok(await metric(rig, 'tollgate_hedges_total') > hedges);
    await rig.gate.must(['ledger', 'verify']);
    const usage = await until('all rows are there', async () => {
      const u = await rig.gate.must(
        ['usage', '--key', key.id, '--by', 'target']);
      return u.behind === false && u.data;
    });
    const sum = usage.reduce((n, r) => n + r.input_tokens + r.output_tokens, 0);
    assert.equal(sum, spent, 'the rows are what was spent');
  });

  test('no budget for two: the first is waited for', async () => {
    const key = await rig.gate.must(['key', 'create', '--name', 'tight',
      '--budget', '600-tokens/day']);
    const one = rig.up.script({ gateAfter: 'head' });
    const reply = chat('hedged', { max_tokens: 150 },
      { headers: { authorization: `Bearer ${key.key}` } });
    await within(Promise.race([one.reached, reply.then((r) => {
      throw new Error(r.text);
    })]), 'the first is asked');
    const busy = rig.up.script({ gateAfter: 'head' });
    const second = chat('hedged');
    await until('one of them is hedged', () => two.hits === 1);
    assert.equal((await second).target, 'two');
    one.open();
    busy.open();
    const r = await reply;
    assert.equal(r.status, 200, r.text);
    assert.equal(r.target, 'up');
    assert.equal(r.attempts, 1);
    assert.equal(two.hits, 1, 'but for the other\'s');
    await calm();
    const shown = await rig.gate.must(['key', 'show', key.id]);
    assert.equal(shown.budgets[0].held, 0);
  });

  test('the second fails: the first answers all the same', async () => {
    for (const fault of [{ fault: 'status', code: 500 }, { fault: 'reset' }]) {
      rig.up.clear();
      two.clear();
      const one = rig.up.script({ gateAfter: 'head' });
      two.script(fault);
      const reply = chat('hedged');
      await both();
      await until('the second is over', () => two.inFlight === 0);
      one.open();
      const r = await reply;
      assert.equal(r.status, 200, r.text);
      assert.equal(r.target, 'up');
      assert.deepEqual(hits(), [1, 1]);
    }
  });

  test('the first fails: the second answers all the same', async () => {
    for (const fault of [{ fault: 'status', code: 500 }, { fault: 'reset' }]) {
      rig.up.clear();
      two.clear();
      const one = rig.up.script({ ...fault, gateAfter: 'head' });
      const other = two.script({ gateAfter: 'head' });
      const reply = chat('hedged');
      await both();
      one.open();
      await until('the first is over', () => rig.up.inFlight === 0);
      other.open();
      const r = await reply;
      assert.equal(r.status, 200, r.text);
      assert.equal(r.target, 'two');
      assert.deepEqual(hits(), [1, 1]);
    }
  });

  test('both fail: the last end is told', async () => {
    const one = rig.up.script({ fault: 'status', code: 503, gateAfter: 'head' });
    const other = two.script({ fault: 'status', code: 500, gateAfter: 'head' });
    const reply = chat('hedged');
    await both();
    one.open();
    await until('the first is over', () => rig.up.inFlight === 0);
    other.open();
    const r = await reply;
    assert.equal(r.status, 500, r.text);
    assert.deepEqual(hits(), [1, 1]);
    await calm();
  });

  test('what the caller did wrong need not be waited for', async () => {
    const one = rig.up.script({ gateAfter: 'head' });
    two.script({ fault: 'status', code: 422 });
    const r = await chat('hedged');
    assert.equal(r.status, 422, r.text);
    await until('the first is cancelled', () => rig.up.last.aborted);
    one.open();
  });

  test('the client leaves: both are cancelled', async () => {
    rig.up.script({ gateAfter: 'head' });
    two.script({ gateAfter: 'head' });
    const abort = new AbortController();
    const reply = chat('hedged', {}, { signal: abort.signal });
    await both();
    abort.abort();
    await assert.rejects(reply);
    await until('both are cancelled', () =>
      rig.up.last.aborted && two.last.aborted);
    await calm();
  });

  test('never where an answer leaves something behind', async () => {
    const slow = [
      ['/v1/responses', { model: 'hedged', input: 'say ok' }],
      ['/v1/chat/completions',
        { ...ask('say ok'), model: 'hedged', store: true }],
      ['/v1/chat/completions', { ...ask('say ok'), model: 'alone' }],
      ['/v1/chat/completions', { ...ask('say ok'), model: 'plain' }],
    ];
    const scripts = slow.map(() => rig.up.script({ gateAfter: 'head' }));
    const replies = slow.map(async ([path, json]) =>
      read(await send(path, json)));
    await until('all are asked', () => rig.up.hits === slow.length);
    // one that is hedged shows that the time has come
    rig.up.script({ gateAfter: 'head' });
    const quick = { model: 'hedged', input: 'say ok', store: false };
    assert.equal((await read(await send('/v1/responses', quick))).target,
      'two');
    scripts.forEach((s) => s.open());
    for (const r of await Promise.all(replies)) {
      assert.equal(r.status, 200, r.text);
      assert.equal(r.target, 'up');
      assert.equal(r.attempts, 1);
    }
    assert.equal(two.hits, 1);
  });

  test('never at one that is drained, or full', async () => {
    await rig.gate.must(['target', 'drain', 'two']);
    const one = rig.up.script({ gateAfter: 'head', times: 5 });
    const replies = [chat('hedged')];
    await one.reached;
    const later = await metric(rig, 'tollgate_hedges_total');
    await rig.gate.must(['target', 'resume', 'two']);
    const held = two.script({ gateAfter: 'head', times: 4 });
    for (let i = 0; i < 4; i++) replies.push(chat('hedged'));
    await until('all places are taken', () => two.hits === 4);
    one.open();
    held.open();
    for (const r of await within(Promise.all(replies), 'the replies'))
      assert.equal(r.status, 200, r.text);
    assert.ok(two.hits <= 4);
    assert.ok(await metric(rig, 'tollgate_hedges_total') - later <= 4);
  });

  test('no more than the budget of retries', async () => {
    const n = 160;
    const one = rig.up.script({ gateAfter: 'head', times: n });
    const replies = Array.from({ length: n }, () => chat('wide'));
    await until('all are asked', () => rig.up.hits === n);
    await until('no more are granted', async () =>
      await metric(rig, 'tollgate_retries_refused_total') > 0);
    one.open();
    for (const r of await Promise.all(replies)) assert.equal(r.status, 200);
    assert.ok(two.hits <= 100 + n / 10, `${two.hits} beside ${n}`);
    await calm();
  });
});
