// Requests that are one too many for an upstream wait for a place there, each
// key in turn, and not for ever.

import assert from 'node:assert/strict';
import { afterEach, describe, test } from 'node:test';

import { ask } from './lib/openai.mjs';
import { ALONE, GATE_ONLY, startRig, upstreamEntry } from './lib/rig.mjs';
import { UPSTREAM_KEY } from './lib/tollgate.mjs';
import { startUpstream } from './lib/upstream.mjs';
import { until } from './lib/until.mjs';

/** A reply: {status, code, headers}. */
async function chat(rig, { key = rig.key, signal, ...more } = {}) {
  const r = await fetch(`${rig.baseUrl}/chat/completions`, { method: 'POST',
    signal, headers: { authorization: `Bearer ${key}`,
      'content-type': 'application/json' },
    body: JSON.stringify({ ...ask('say ok'), ...more }) });
  const json = await r.json();
  return { status: r.status, code: json.error?.code, headers: r.headers };
}

const listed = async (rig, name = 'up') =>
  (await rig.gate.must(['target', 'list'])).data.find((t) => t.name === name);

const queued = (rig, n, name) => until(`${n} wait`, async () =>
  (await listed(rig, name)).queued === n);

describe('queue', GATE_ONLY, () => {
  let rig;
  const more = [];
  const start = async (entry = {}, config = () => ({})) => {
    rig = await startRig({ config: (up) => ({ upstreams: [upstreamEntry(up, {
      ...ALONE, max_in_flight: 1, ...entry })], ...config(up) }) });
  };
  afterEach(async () => {
    await rig?.close();
    for (const m of more.splice(0)) await m.close();
  });

  test('the one too many has its turn', async () => {
    await start();
    const script = rig.up.script({ gateAfter: 'head' });
    const first = chat(rig);
    await script.reached;
    const second = chat(rig);
    await queued(rig, 1);
    assert.equal(rig.up.hits, 1);
    script.open();
    assert.equal((await first).status, 200);
    assert.equal((await second).status, 200);
    const t = await listed(rig);
    assert.equal(t.in_flight, 0);
    assert.equal(t.queued, 0);
  });

  test('each key has its turn, however many of one wait', async () => {
    await start();
    const other = await rig.gate.createKey('other');
    const script = rig.up.script({ gateAfter: 'head' });
    const first = chat(rig);
    await script.reached;
    const all = [first];
    for (const [i, key] of [rig.key, rig.key, rig.key, other.key].entries()) {
      all.push(chat(rig, { key, user: `number ${i}` }));
      await queued(rig, i + 1);
    }
    script.open();
    assert.ok((await Promise.all(all)).every((r) => r.status === 200));
    assert.deepEqual(rig.up.requests.slice(-4).map((r) => r.json.user),
      ['number 0', 'number 3', 'number 1', 'number 2']);
  });

  test('who waits too long is told', async () => {
    await start({ queue: { wait: '200ms' } });
    const script = rig.up.script({ gateAfter: 'head' });
    const first = chat(rig);
    await script.reached;
    const late = await chat(rig);
    assert.equal(late.status, 503);
    assert.equal(late.code, 'overloaded');
    assert.ok(Number(late.headers.get('retry-after')) >= 1);
    script.open();
    assert.equal((await first).status, 200);
    assert.equal(rig.up.hits, 1);
  });

  test('no more wait than may; the others are told at once', async () => {
    await start({ queue: { size: 1, wait: '1h' } });
    const script = rig.up.script({ gateAfter: 'head' });
    const first = chat(rig);
    await script.reached;
    const second = chat(rig);
    await queued(rig, 1);
    const third = await chat(rig);
    assert.equal(third.status, 503);
    assert.equal(third.code, 'overloaded');
    assert.ok(Number(third.headers.get('retry-after')) >= 1);
    script.open();
    assert.equal((await first).status, 200);
    assert.equal((await second).status, 200);
    assert.equal(rig.up.hits, 2);
  });

  test('a client that leaves the queue is never asked for', async () => {
    await start();
    const script = rig.up.script({ gateAfter: 'head' });
    const first = chat(rig);
    await script.reached;
    const leaves = new AbortController();
    const second = chat(rig, { signal: leaves.signal });
    await queued(rig, 1);
    leaves.abort();
    await assert.rejects(second);
    await queued(rig, 0);
    script.open();
    assert.equal((await first).status, 200);
    assert.equal((await chat(rig)).status, 200);
    assert.equal(rig.up.hits, 2);
    const gone = await rig.gate.accessRow('who left',
      (row) => row.status === 499);
    assert.equal(gone.attempts, 0);
    assert.equal((await listed(rig)).in_flight, 0);
  });

  test('nobody waits while another target has room', async () => {
    const two = await startUpstream({ keys: [UPSTREAM_KEY] });
    more.push(two);
    await start({}, (up) => ({
      upstreams: [upstreamEntry(up, { ...ALONE, max_in_flight: 1 }),
        upstreamEntry(two, { ...ALONE, name: 'two', max_in_flight: 1 })],
      routes: [{ model: '*', targets: [{ upstream: 'up' },
        { upstream: 'two' }] }] }));
    const scripts = [rig.up, two].map((u) => u.script({ gateAfter: 'head' }));
    const pair = [chat(rig), chat(rig)];
    await Promise.all(scripts.map((s) => s.reached));
    const third = chat(rig);
    await until('one waits', async () => (await listed(rig)).queued +
      (await listed(rig, 'two')).queued === 1);
    scripts.forEach((s) => s.open());
    for (const p of [...pair, third]) assert.equal((await p).status, 200);
  });

  test('a target that is drained lets those who wait go elsewhere',
    async () => {
      await start();
      const script = rig.up.script({ gateAfter: 'head' });
      const first = chat(rig);
      await script.reached;
      const second = chat(rig);
      await queued(rig, 1);
      await rig.gate.must(['target', 'drain', 'up']);
      const r = await second;
      assert.equal(r.status, 503);
      script.open();
      assert.equal((await first).status, 200);
      assert.equal(rig.up.hits, 1);
    });

  test('no place is lost, whoever leaves while it waits', async () => {
    await start({ max_in_flight: 4, queue: { wait: '60s' } });
    const other = await rig.gate.createKey('other');
    const one = async (i) => {
      const leaves = new AbortController();
      const asked = chat(rig, { key: i % 3 ? rig.key : other.key,
        signal: leaves.signal, stream: false });
      if (i % 4 === 0) setImmediate(() => leaves.abort());
      try {
        return (await asked).status;
      } catch {
        return 'left';
      }
    };
    for (let round = 0; round < 4; round++) {
      const all = await Promise.all(Array.from({ length: 60 },
        (_, i) => one(i)));
      assert.ok(all.every((s) => s === 200 || s === 'left'),
        JSON.stringify(all));
      assert.ok(all.filter((s) => s === 200).length >= 45);
    }
    const t = await until('all are gone', async () => {
      const now = await listed(rig);
      return now.in_flight + now.queued === 0 && now;
    });
    assert.equal(t.queued, 0);
    assert.equal(await (await chat(rig)).status, 200);
  });

  test('a shutdown answers those who wait', async () => {
    await start({ queue: { wait: '1h' } });
    const script = rig.up.script({ gateAfter: 'head' });
    const first = chat(rig);
    await script.reached;
    const rest = [chat(rig), chat(rig), chat(rig)];
    await queued(rig, 3);
    const stopped = rig.gate.stop();
    script.open();
    const all = await Promise.all([first, ...rest]);
    assert.ok(all.every((r) => [200, 503].includes(r.status)),
      JSON.stringify(all.map((r) => r.status)));
    await stopped;
  });
});
