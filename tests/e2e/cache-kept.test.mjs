// What is kept of replies: only whole ones that answer, for as long as they
// hold, of requests that may be kept.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, before, beforeEach, describe, test } from 'node:test';

import { ask } from './lib/openai.mjs';
import { GATE_ONLY, startRig } from './lib/rig.mjs';
import { until } from './lib/until.mjs';

const FAKETIME = ['/usr/lib/x86_64-linux-gnu', '/usr/lib64', '/usr/lib',
  '/usr/lib/aarch64-linux-gnu'].map((d) => `${d}/faketime/libfaketimeMT.so.1`)
  .find((f) => fs.existsSync(f));
const CHECKED = (process.env.TOLLGATE_WRAPPER ?? '') !== '' &&
  'the clock cannot be set below a wrapper';

let seed = 0;
/** A question nobody has asked before, with a certain answer. */
const question = (more = {}) => ask('count to 5', { seed: ++seed, ...more });

const caller = (rig) => async (json, headers = {}, way = 'chat/completions') => {
  const before = rig.up.hits;
  const r = await rig.fetch(`/v1/${way}`, { json, headers });
  const text = await r.text().catch((e) => `broken: ${e.message}`);
  return { status: r.status, text, cache: r.headers.get('x-tollgate-cache'),
    age: r.headers.get('age'), type: r.headers.get('content-type'),
    id: r.headers.get('x-request-id'), calls: rig.up.hits - before };
};

describe('what is kept', GATE_ONLY, () => {
  let rig;
  let call;
  before(async () => {
    rig = await startRig({ config: {
      cache: { responses: { enabled: true, size: '16MiB', max_entry: '64KiB' } },
      routes: [
        { model: 'never', cache: 'never', targets: [{ upstream: 'up' }] },
        { model: 'always', cache: 'always', targets: [{ upstream: 'up' }] },
        { model: '*', targets: [{ upstream: 'up' }] },
      ] } });
    call = caller(rig);
  });
  beforeEach(() => rig.clear());
  after(() => rig?.close());

  for (const stream of [false, true])
    test(`a whole reply${stream ? ', streamed' : ''}, byte for byte`,
      async () => {
        const q = question({ stream });
        const first = await call(q);
        assert.equal(first.status, 200, first.text);
        assert.equal(first.cache, 'miss');
        assert.equal(first.age, null);
        const again = await call(q);
        assert.equal(again.cache, 'hit');
        assert.equal(again.calls, 0);
        assert.equal(again.text, first.text);
        assert.equal(again.type, first.type);
        assert.match(again.age, /^[0-9]+$/);
        assert.notEqual(again.id, first.id);
      });

  test('embeddings, and what has temperature 0 or a seed', async () => {
    const kept = async (json, way) => {
      assert.equal((await call(json, {}, way)).status, 200);
      return (await call(json, {}, way)).cache;
    };
    assert.equal(await kept({ model: 'demo', input: 'a' }, 'embeddings'), 'hit');
    assert.equal(await kept(ask('count to 2', { temperature: 0 })), 'hit');
    assert.equal(await kept(ask('count to 2', { temperature: 0.0 })), 'hit');
    assert.equal(await kept(ask('count to 2', { seed: 7 })), 'hit');
    assert.equal(await kept(ask('count to 2', { seed: null })), 'bypass');
    assert.equal(await kept(ask('count to 2')), 'bypass');
    assert.equal(await kept(ask('count to 2', { temperature: 1 })), 'bypass');
    assert.equal(await kept(ask('count to 2', { temperature: 0.1 })), 'bypass');
  });

  test('a route keeps all, or nothing', async () => {
    const all = { ...ask('count to 2'), model: 'always' };
    await call(all);
    assert.equal((await call(all)).cache, 'hit');
    const none = { ...question(), model: 'never' };
    await call(none);
    assert.equal((await call(none)).cache, 'bypass');
  });

  const BROKEN = {
    'an error status': [{ fault: 'status', code: 500 }],
    'a refusal for a rate': [{ fault: 'rate_limit' }],
    'an error in a 200': [{ fault: 'error_in_200' }],
    'a body cut short': [{ fault: 'truncate', body: 20 }],
    'a body that is no JSON': [{ fault: 'html_error', code: 200 }],
    'a body in a coding': [{ fault: 'gzip' }],
    'a reset': [{ fault: 'reset', body: 20 }],
    'a stream without its end': [{ fault: 'no_finish_no_done' }, true],
    'a stream cut after events': [{ fault: 'cut_events', n: 3 }, true],
    'an error event': [{ fault: 'error_event' }, true],
    'a malformed event': [{ fault: 'malformed' }, true],
    'a stream that is too long': [
      { fault: 'oversize_data', bytes: 100_000 }, true],
  };
  for (const [what, [fault, stream = false]] of Object.entries(BROKEN))
    test(`never: ${what}`, async () => {
      const q = question({ stream });
      rig.up.script(fault);
      const bad = await call(q);
      const good = await call(q);
      assert.equal(good.calls, 1, `${bad.status} ${bad.text.slice(0, 300)}`);
      assert.equal(good.status, 200, good.text);
      assert.equal(good.cache, 'miss');
      assert.equal((await call(q)).cache, 'hit');
    });

  test('never: what a client asks not to keep', async () => {
    const q = question();
    const no = { 'cache-control': 'no-store' };
    assert.equal((await call(q, no)).cache, 'bypass');
    assert.equal((await call(q)).cache, 'miss');
    assert.equal((await call(q, no)).cache, 'bypass', 'nor is it read');
  });

  test('a client may ask anew, and what comes is kept', async () => {
    const q = question();
    await call(q);
    const anew = await call(q, { 'cache-control': 'no-cache' });
    assert.equal(anew.calls, 1);
    assert.equal(anew.cache, 'miss');
    const old = await call(q, { 'cache-control': 'max-age=0' });
    assert.equal(old.calls, 1);
    assert.equal((await call(q)).cache, 'hit');
  });

  test('a client may want what is kept or nothing', async () => {
    const q = question();
    const only = { 'cache-control': 'only-if-cached' };
    const none = await call(q, only);
    assert.equal(none.status, 504);
    assert.equal(JSON.parse(none.text).error.code, 'not_cached');
    assert.equal(none.calls, 0);
    await call(q);
    const some = await call(q, only);
    assert.equal(some.status, 200);
    assert.equal(some.cache, 'hit');
    assert.equal((await call(ask('count to 2'), only)).status, 504);
  });

  test('over a restart, and a death', async () => {
    const q = question({ stream: true });
    const first = await call(q);
    await rig.gate.stop();
    await rig.gate.start();
    const later = await call(q);
    assert.equal(later.cache, 'hit');
    assert.equal(later.text, first.text);
    await rig.gate.kill9();
    await rig.gate.start();
    const last = await call(q);
    assert.equal(last.cache, 'hit');
    assert.equal(last.text, first.text);
  });
});

describe('how long it holds', { skip: GATE_ONLY.skip || CHECKED ||
  (!FAKETIME && 'needs libfaketime') }, () => {
  let rig;
  let call;
  let dir;
  let now = 0;
  /** Lets <s> seconds pass on the daemon's wall clock. */
  const pass = (s) => {
    now += s;
    fs.writeFileSync(`${dir}/new`, `+${now}`);
    fs.renameSync(`${dir}/new`, `${dir}/now`);
  };
  before(async () => {
    dir = fs.mkdtempSync(path.join(os.tmpdir(), 'tg-time-'));
    pass(0);
    rig = await startRig({
      config: (up) => ({ cache: { responses: { enabled: true, size: '16MiB',
        ttl: '100s', stale_if_error: '50s', stale_while_revalidate: '10s' } },
      routes: [{ model: 'short', cache_ttl: '10s',
        targets: [{ upstream: 'up' }] },
      { model: '*', targets: [{ upstream: 'up' }] }] }),
      env: { LD_PRELOAD: FAKETIME, FAKETIME_TIMESTAMP_FILE: `${dir}/now`,
        FAKETIME_NO_CACHE: '1', DONT_FAKE_MONOTONIC: '1',
        FAKETIME_DONT_FAKE_MONOTONIC: '1' } });
    call = caller(rig);
  });
  beforeEach(() => rig.clear());
  after(async () => {
    await rig?.close();
    fs.rmSync(dir, { recursive: true, force: true });
  });

  test('its age is told, and its time ends', async () => {
    const q = question();
    await call(q);
    pass(60);
    const old = await call(q);
    assert.equal(old.cache, 'hit');
    assert.ok(Number(old.age) >= 60 && Number(old.age) < 90, old.age);
    pass(200);
    assert.equal((await call(q)).cache, 'miss');
  });

  test('a route has its own time', async () => {
    const q = { ...question(), model: 'short' };
    await call(q);
    pass(5);
    assert.equal((await call(q)).cache, 'hit');
    pass(70);
    assert.equal((await call(q)).cache, 'miss');
  });

  test('a client says how old, how fresh, how stale', async () => {
    const q = question();
    await call(q);
    pass(60);
    const asks = (v) => call(q, { 'cache-control': `${v}, only-if-cached` });
    assert.equal((await asks('max-age=30')).status, 504);
    assert.equal((await asks('max-age=90')).status, 200);
    assert.equal((await asks('min-fresh=20')).status, 200);
    assert.equal((await asks('min-fresh=60')).status, 504);
    pass(55);
    assert.equal((await asks('max-stale=5')).status, 504);
    assert.equal((await asks('max-stale=40')).status, 200);
    assert.equal((await asks('max-stale')).status, 200);
  });

  for (const stream of [false, true])
    test(`stale while it is made anew${stream ? ', streamed' : ''}`,
      async () => {
        const q = question({ stream });
        const first = await call(q);
        pass(102);
        const stale = await call(q);
        assert.equal(stale.cache, 'hit');
        assert.equal(stale.text, first.text);
        assert.ok(Number(stale.age) >= 100, stale.age);
        await until('it was asked for anew', async () => rig.up.hits === 2);
        const fresh = await until('it is kept anew', async () => {
          const r = await call(q);
          return Number(r.age) < 50 ? r : undefined;
        });
        assert.equal(fresh.cache, 'hit');
        assert.equal(rig.up.hits, 2, 'once');
      });

  test('a crowd that gets the old one makes one request of it', async () => {
    const q = question();
    await call(q);
    const limited = await rig.gate.createKey('limited', '--rpm', '100');
    const crowd = (n) => Promise.all(Array.from({ length: n }, () =>
      rig.fetch('/v1/chat/completions', { json: q,
        headers: { authorization: `Bearer ${limited.key}` } })));
    assert.equal((await crowd(1))[0].status, 200);
    pass(102);
    const hits = rig.up.hits;
    for (const r of await crowd(60)) {
      assert.equal(r.status, 200, 'what it makes besides is no request of its');
      await r.text();
    }
    await until('it was made anew', async () => rig.up.hits > hits);
    assert.equal(rig.up.hits, hits + 1);
  });

  for (const [what, fault, stream = false] of [
    ['its status', { fault: 'status', code: 503, times: 2 }],
    ['a reset', { fault: 'reset', times: 2 }],
    ['a stream that begins with an error', { fault: 'error_only', times: 2 },
      true]])
    test(`stale when the upstream fails by ${what}`, async () => {
      const q = question({ stream });
      const first = await call(q);
      assert.equal(first.status, 200);
      pass(120);
      rig.up.script(fault);
      const r = await call(q);
      assert.equal(r.status, 200, r.text);
      assert.equal(r.text, first.text);
      assert.equal(r.cache, 'hit');
      assert.equal(r.calls, 1);
      pass(100);
      const none = await call(q);
      assert.notEqual(none.text, first.text);
      assert.notEqual(none.cache, 'hit');
      assert.equal(none.calls, 1);
    });

  test('an error that the request is to blame for is no reason', async () => {
    const q = question();
    await call(q);
    pass(120);
    rig.up.script({ fault: 'status', code: 400 });
    assert.equal((await call(q)).status, 400);
  });
});
