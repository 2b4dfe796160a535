// An upstream that fails, limits or refuses is left alone, one request looks
// whether it is back, and operators can see all that.

import assert from 'node:assert/strict';
import { afterEach, describe, test } from 'node:test';

import { ask } from './lib/openai.mjs';
import { ALONE, GATE_ONLY, startRig, upstreamEntry } from './lib/rig.mjs';
import { until } from './lib/until.mjs';

/** A reply: {status, code, headers}. */
async function chat(rig, more = {}) {
  const r = await rig.fetch('/v1/chat/completions',
    { json: { ...ask('say ok'), ...more } });
  const json = await r.json();
  return { status: r.status, code: json.error?.code, headers: r.headers };
}

async function listed(rig, name = 'up') {
  const r = await rig.gate.must(['target', 'list']);
  return r.data.find((t) => t.name === name);
}

/** The log comes a moment later. */
const logged = (rig, re) => until(`${re} is logged`, () =>
  re.test(rig.gate.log));

const metrics = async (rig) =>
  (await fetch(`${rig.gate.origin}/metrics`)).text();

async function metric(rig, name) {
  const m = (await metrics(rig)).match(new RegExp(`^tollgate_${name}\\{target="up"\\} (.*)$`,
    'm'));
  return Number(m?.[1]);
}

describe('breakers', GATE_ONLY, () => {
  let rig;
  const start = async (breaker = {}, entry = {}, options = {}) => {
    rig = await startRig({ ...options, config: (up) => ({ upstreams: [
      upstreamEntry(up, { ...ALONE, ...entry,
        breaker: { failures: 3, window: '30s', open: '4s', ...breaker } })] }) });
  };
  const fail = (times, code, more = {}) =>
    rig.up.script({ fault: 'status', code, times, ...more });
  afterEach(() => rig?.close());

  test('three failures open it; one request closes it', async () => {
    await start();
    fail(3, 500);
    for (let i = 0; i < 3; i++) assert.equal((await chat(rig)).status, 500);
    const shut = await chat(rig);
    assert.equal(shut.status, 503);
    assert.equal(shut.code, 'upstream_unavailable');
    assert.match(shut.headers.get('retry-after'), /^[1-4]$/);
    assert.equal(rig.up.hits, 3);
    const t = await listed(rig);
    assert.equal(t.state, 'broken');
    assert.equal(t.breaker, 'open');
    assert.equal(t.failures, 3);
    assert.match(t.last_error, /it answered 500/);
    assert.ok(t.retry_in_ms > 0 && t.retry_in_ms <= 4500);
    assert.equal(await metric(rig, 'breaker_state'), 1);
    assert.equal(await metric(rig, 'breaker_opened_total'), 1);
    await until('a request is let through', async () =>
      (await chat(rig)).status === 200);
    assert.equal(rig.up.hits, 4);
    assert.equal((await listed(rig)).breaker, 'closed');
    assert.equal(await metric(rig, 'breaker_state'), 0);
    assert.equal(await metric(rig, 'breaker_probes_total'), 1);
    await logged(rig, /breaker opened: upstream=up reason=failed/);
    await logged(rig, /target is probed: name=up/);
    await logged(rig, /breaker closed: upstream=up/);
  });

  test('hundreds of mistakes of callers do not', async () => {
    await start();
    for (let i = 0; i < 30; i++) {
      fail(10, 400);
      const all = await Promise.all(Array.from({ length: 10 },
        () => chat(rig)));
      assert.ok(all.every((r) => r.status === 400));
    }
    assert.equal((await chat(rig)).status, 200);
    assert.equal((await listed(rig)).window_failures, 0);
  });

  test('streams that break off in the middle count', async () => {
    await start({ failures: 5, open: '1h' });
    let broken = 0;
    for (let i = 0; i < 10; i++) {
      rig.up.script({ fault: 'cut_events', after: 3 });
      const r = await rig.fetch('/v1/chat/completions',
        { json: ask('tell me a lot', { stream: true }) });
      broken += r.status === 200 && /"error"/.test(await r.text());
    }
    assert.equal(broken, 10);
    assert.equal((await chat(rig)).status, 503);
    assert.equal(rig.up.hits, 10);
    assert.equal((await listed(rig)).window_failures, 0);
  });

  test('who was told when to come again comes again then', async () => {
    await start({}, { retries: { attempts: 2, backoff: '1ms' } });
    const soon = (more) => rig.up.script({ fault: 'rate_limit',
      after_ms: '7', ...more });
    for (let i = 0; i < 40; i++) {
      soon();
      assert.equal((await chat(rig)).status, 200, `request ${i}`);
    }
    /* Each of these is told a moment after the other. */
    const script = soon({ times: 20, gateAfter: 'head' });
    const crowd = Array.from({ length: 20 }, () => chat(rig));
    await until('all are there', () => rig.up.hits === 100);
    script.open();
    for (const r of await Promise.all(crowd)) assert.equal(r.status, 200);
    assert.equal(rig.up.hits, 120);
  });

  test('half open, one request goes there, however many come', async () => {
    await start({ open: '6s' });
    fail(3, 500);
    for (let i = 0; i < 3; i++) await chat(rig);
    await until('it is half open', async () =>
      (await listed(rig)).breaker === 'half_open');
    const script = rig.up.script({ gateAfter: 'head' });
    let refused = 0;
    const all = Array.from({ length: 20 }, async () => {
      const r = await chat(rig);
      refused += r.status === 503 && Number(r.headers.get('retry-after')) >= 1;
      return r.status;
    });
    await script.reached;
    await until('all others are refused', () => refused === 19);
    script.open();
    const got = await Promise.all(all);
    assert.equal(got.filter((status) => status === 200).length, 1, `${got}`);
    assert.equal(rig.up.hits, 4);
    assert.equal((await chat(rig)).status, 200);
  });

  test('an operator opens it again', async () => {
    await start({ open: '1h' });
    fail(3, 500);
    for (let i = 0; i < 3; i++) await chat(rig);
    assert.equal((await chat(rig)).status, 503);
    await rig.gate.must(['target', 'resume', 'up']);
    assert.equal((await chat(rig)).status, 200);
  });

  test('it stays open over a reload', async () => {
    await start({ open: '1h' });
    fail(3, 500);
    for (let i = 0; i < 3; i++) await chat(rig);
    await rig.gate.must(['reload']);
    assert.equal((await chat(rig)).status, 503);
    assert.equal((await listed(rig)).breaker, 'open');
  });

  test('when all keys are limited, it is nobody\'s turn before the time',
    async () => {
      const keys = ['sk-up-one-canary', 'sk-up-two-canary'];
      await start({}, { api_key: undefined,
        api_keys: ['env:UP_ONE', 'env:UP_TWO'] },
      { upstream: { keys }, env: { UP_ONE: keys[0], UP_TWO: keys[1] } });
      rig.gate.secrets.push(...keys);
      rig.up.script({ fault: 'rate_limit', after: '60', after_ms: '60000',
        times: 2 });
      for (let i = 0; i < 2; i++)
        assert.equal((await chat(rig)).status, 429);
      const r = await chat(rig);
      assert.equal(r.status, 429);
      assert.equal(r.code, 'rate_limit_exceeded');
      assert.ok(Number(r.headers.get('retry-after')) > 50);
      assert.equal(rig.up.hits, 2);
      const t = await listed(rig);
      assert.equal(t.state, 'limited');
      assert.equal(t.keys_ready, '0/2');
      assert.deepEqual(t.keys.map((k) => [k.source, k.state]),
        [['env:UP_ONE', 'limited'], ['env:UP_TWO', 'limited']]);
      assert.ok(t.retry_in_ms > 50_000 && t.retry_in_ms <= 61_000);
      assert.equal(await metric(rig, 'target_keys_out'), 2);
      await rig.gate.must(['target', 'resume', 'up']);
      assert.equal((await chat(rig)).status, 200);
    });

  test('an account that is used up is left for a quarter of an hour',
    async () => {
      await start();
      fail(1, 429, { error_code: 'insufficient_quota' });
      assert.equal((await chat(rig)).status, 429);
      const r = await chat(rig);
      assert.equal(r.status, 429);
      assert.equal(r.code, 'insufficient_quota');
      assert.equal(r.headers.get('x-should-retry'), 'false');
      assert.equal(rig.up.hits, 1);
      const t = await listed(rig);
      assert.equal(t.state, 'spent');
      assert.ok(t.retry_in_ms > 800_000 && t.retry_in_ms <= 901_000,
        JSON.stringify(t));
      await logged(rig, /upstream key rests: .*reason=spent/);
    });

  test('a key that is refused is tried on, then only now and then',
    async () => {
      await start({ open: '1h' });
      fail(3, 401);
      for (let i = 0; i < 3; i++) assert.equal((await chat(rig)).status, 502);
      assert.equal((await chat(rig)).status, 502);
      assert.equal(rig.up.hits, 3);
      const t = await listed(rig);
      assert.equal(t.breaker, 'closed');
      assert.equal(t.state, 'refused_key');
      assert.equal(t.failures, 3);
      assert.match(t.last_error, /it answered 401/);
      assert.equal(t.keys[0].breaker, 'open');
      assert.match(await metrics(rig),
        /^tollgate_breaker_key_state\{target="up",key="0"\} 1$/m);
      await logged(rig, /breaker opened: upstream=up key=0 reason=key/);
    });
});
