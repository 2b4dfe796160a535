// When nobody can be asked: who is passed over, who is asked all the same, and
// what the client reads.

import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, test } from 'node:test';

import { ask } from './lib/openai.mjs';
import { GATE_ONLY, startRig, upstreamEntry } from './lib/rig.mjs';
import { UPSTREAM_KEY } from './lib/tollgate.mjs';
import { startUpstream } from './lib/upstream.mjs';

const SHUTS = { failures: 2, window: '60s', open: '30s' };
const ONCE = { attempts: 1 };

/** A provider's 429 that says when to come again. */
const LIMITED = { fault: 'rate_limit', after: '20', after_ms: '20000' };

/** A provider's 429 for an account that is used up. */
const SPENT = { fault: 'status', code: 429, type: 'insufficient_quota',
  error_code: 'insufficient_quota' };

describe('nobody to ask', GATE_ONLY, () => {
  let rig;
  let two;
  before(async () => {
    two = await startUpstream({ keys: [UPSTREAM_KEY] });
    rig = await startRig({ config: (up) => ({
      upstreams: [up, two].map((u, i) => upstreamEntry(u, {
        name: ['up', 'two'][i], breaker: SHUTS, retries: ONCE })),
      routes: [
        { model: 'one', targets: [{ upstream: 'up', model: 'demo' }] },
        { model: 'both', targets: [{ upstream: 'up', model: 'demo' },
          { upstream: 'two', model: 'demo' }] },
      ] }) });
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

  const chat = async (model, more = {}) => {
    const r = await rig.fetch('/v1/chat/completions',
      { json: { ...ask('say ok'), model, ...more } });
    const text = await r.text();
    return { status: r.status, headers: r.headers,
      error: r.status === 200 ? null : JSON.parse(text).error,
      target: r.headers.get('x-tollgate-target') };
  };

  /** The reply of ours when nobody could be asked: nothing went upstream. */
  const refused = async (model, more) => {
    const was = rig.up.hits + two.hits;
    const r = await chat(model, more);
    assert.equal(rig.up.hits + two.hits, was, 'nobody was asked');
    assert.ok(r.headers.get('x-request-id'));
    return r;
  };

  /** Whole seconds of retry-after, which retry-after-ms must agree with. */
  const wait = (r) => {
    const ms = Number(r.headers.get('retry-after-ms'));
    const s = Number(r.headers.get('retry-after'));
    assert.ok(ms > 0 && s === Math.ceil(ms / 1000), `${s} s, ${ms} ms`);
    return s;
  };

  test('a broken one: 503 until its time, for streams too', async () => {
    rig.up.script({ fault: 'status', code: 500, times: 2 });
    for (let i = 0; i < 2; i++) assert.equal((await chat('one')).status, 500);
    for (const stream of [false, true]) {
      const r = await refused('one', { stream });
      assert.equal(r.status, 503);
      assert.equal(r.error.type, 'upstream_error');
      assert.equal(r.error.code, 'upstream_unavailable');
      assert.match(r.error.message, /'up' has failed too often/);
      assert.equal(r.headers.get('x-should-retry'), 'true');
      assert.ok(wait(r) >= 20 && wait(r) <= 30, `${wait(r)}`);
    }
    await rig.gate.must(['target', 'resume', 'up']);
    assert.equal((await chat('one')).status, 200);
  });

  test('a broken one beside a good one gets nothing', async () => {
    rig.up.script({ fault: 'status', code: 500, times: 2 });
    for (let i = 0; i < 2; i++) await chat('one');
    rig.up.clear();
    for (let i = 0; i < 20; i++) {
      const r = await chat('both');
      assert.equal(r.status, 200);
      assert.equal(r.target, 'two');
    }
    assert.equal(rig.up.hits, 0);
  });

  test('one that says when to come again: 429 until then', async () => {
    rig.up.script(LIMITED);
    const first = await chat('one');
    assert.equal(first.status, 429);
    const r = await refused('one');
    assert.equal(r.status, 429);
    assert.equal(r.error.code, 'rate_limit_exceeded');
    assert.match(r.error.message, /limits how much the gateway may ask/);
    assert.equal(r.headers.get('x-should-retry'), 'true');
    assert.ok(wait(r) >= 15 && wait(r) <= 20, `${wait(r)}`);
  });

  test('the same beside a good one: nobody notices', async () => {
    rig.up.script(LIMITED);
    await chat('one');
    for (let i = 0; i < 10; i++) assert.equal((await chat('both')).target, 'two');
    assert.equal(rig.up.hits, 1);
  });

  test('of several that wait, the first back says when', async () => {
    rig.up.script({ ...LIMITED, after: '500', after_ms: '500000' });
    two.script(LIMITED);
    for (let i = 0; i < 6 && rig.up.hits * two.hits === 0; i++)
      await chat('both');
    const r = await refused('both');
    assert.equal(r.status, 429);
    assert.match(r.error.message, /2 upstreams/);
    assert.ok(wait(r) >= 15 && wait(r) <= 20, `${wait(r)}`);
  });

  test('an account that is used up: 429, do not retry', async () => {
    rig.up.script(SPENT);
    const first = await chat('one');
    assert.equal(first.status, 429);
    const r = await refused('one');
    assert.equal(r.status, 429);
    assert.equal(r.error.code, 'insufficient_quota');
    assert.equal(r.headers.get('x-should-retry'), 'false');
    assert.equal((await chat('both')).target, 'two');
  });

  test('one broken, one limited: 503', async () => {
    rig.up.script({ fault: 'status', code: 500, times: 2 });
    for (let i = 0; i < 2; i++) await chat('one');
    two.script(LIMITED);
    await chat('both');
    const r = await refused('both');
    assert.equal(r.status, 503);
    assert.equal(r.error.code, 'upstream_unavailable');
    assert.ok(wait(r) >= 15 && wait(r) <= 20, `${wait(r)}`);
  });

  test('a key that is refused is tried again when there is no other',
    async () => {
      rig.up.script({ fault: 'status', code: 401 });
      assert.equal((await chat('one')).status, 502);
      for (let i = 0; i < 5; i++)
        assert.equal((await chat('both')).target, 'two');
      assert.equal((await chat('one')).status, 200);
    });

  test('a limit of unsaid length is not waited for when there is no other',
    async () => {
      rig.up.script({ fault: 'status', code: 429, type: 'requests',
        edit: (plan) => {
          plan.headers = plan.headers.filter(([n]) => !/ratelimit/.test(n));
        } });
      assert.equal((await chat('one')).status, 429);
      const again = await chat('one');
      assert.equal(again.status, 200, JSON.stringify(again.error));
    });

  test('what clients ask amiss shuts nobody', async () => {
    rig.up.script({ fault: 'status', code: 400, times: 30 });
    for (let i = 0; i < 30; i++) assert.equal((await chat('one')).status, 400);
    assert.equal((await chat('one')).status, 200);
  });

  test('the row of a refusal tells whose fault it was', async () => {
    rig.up.script(LIMITED);
    await chat('one');
    const r = await refused('one');
    const id = r.headers.get('x-request-id');
    const line = await rig.gate.accessRow('of the refusal', (a) => a.id === id);
    assert.equal(line.status, 429);
    assert.equal(line.attempts, 0);
    assert.equal(line.reason, 'up_limit');
  });
});
