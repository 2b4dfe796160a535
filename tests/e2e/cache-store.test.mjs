// Replies on disk and what befalls their file: flipped bytes, a file that is cut,
// removed or of no use, a daemon that is killed, a bound, purges. Whatever is
// found is what was recorded, and all else is asked for anew.
// E2E_CACHE_ROUNDS is for longer runs.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { describe, test } from 'node:test';

import { ask } from './lib/openai.mjs';
import { prng } from './lib/prng.mjs';
import { GATE_ONLY, startRig } from './lib/rig.mjs';
import { until } from './lib/until.mjs';

const ROUNDS = Number(process.env.E2E_CACHE_ROUNDS ?? 12);
const SEED = Number(process.env.E2E_SEED ?? 20260101);

/** A daemon that keeps replies, its provider, and how they are asked. */
class Store {
  constructor(rig) {
    this.rig = rig;
    this.dir = path.join(rig.gate.config.state_dir, 'cache');
    this.file = path.join(this.dir, 'data.mdb');
    this.known = new Map();
  }

  async send(body, key = this.rig.key) {
    const before = this.rig.up.hits;
    const r = await fetch(`${this.rig.origin}/v1/chat/completions`, {
      method: 'POST',
      headers: { authorization: `Bearer ${key}`,
        'content-type': 'application/json' },
      body: JSON.stringify(body),
    });
    const text = await r.text();
    assert.equal(r.status, 200, text);
    return { text, calls: this.rig.up.hits - before,
      cache: r.headers.get('x-tollgate-cache') };
  }

  /** Asks question n: what is found must be what was recorded. */
  async right(n) {
    const r = await this.send(ask(`say ${n}`, { stream: n % 3 === 0 }));
    if (r.cache === 'hit') {
      // of a reply that nobody lived to see, only that it is one
      assert.equal(r.text, this.known.get(n) ?? r.text, `question ${n}`);
      assert.match(r.text, /chatcmpl/);
      assert.equal(r.calls, 0);
    } else {
      assert.equal(r.calls, 1);
    }
    this.known.set(n, r.text);
    return r.cache;
  }

  /** Asks n questions; how many were hits. */
  async all(n) {
    let hits = 0;
    for (let i = 0; i < n; i++) hits += await this.right(i) === 'hit';
    return hits;
  }

  stats() {
    return this.rig.gate.must(['cache', 'stats']);
  }

  async written() {
    return until('replies on disk', async () => {
      const s = await this.stats();
      return s.queued_bytes === 0 ? s : undefined;
    });
  }

  /** Where the heads of entries are in the file. */
  heads() {
    const all = fs.readFileSync(this.file);
    const out = [];
    for (let at = all.indexOf('TGRC'); at >= 0;
      at = all.indexOf('TGRC', at + 4))
      out.push(at);
    return out;
  }

  flip(at, bit = 3) {
    const fd = fs.openSync(this.file, 'r+');
    const byte = Buffer.alloc(1);
    fs.readSync(fd, byte, 0, 1, at);
    byte[0] ^= 1 << bit;
    fs.writeSync(fd, byte, 0, 1, at);
    fs.closeSync(fd);
  }

  async again() {
    await this.rig.gate.stop();
    await this.rig.gate.start();
  }
}

async function withStore(options, f) {
  const rig = await startRig({ config: { cache: { responses: {
    enabled: true, size: '16MiB', keep: 'always', ...options } } } });
  try {
    await f(new Store(rig));
  } finally {
    await rig.close();
  }
}

describe('stored replies and their file', GATE_ONLY, () => {
  test('a flipped byte of a stored reply is a miss and a deletion', () =>
    withStore({}, async (s) => {
      const next = prng(SEED);
      for (let round = 0; round < ROUNDS; round++) {
        await s.rig.gate.must(['cache', 'purge']);
        assert.equal(await s.right(1), 'miss');
        assert.equal(await s.right(1), 'hit');
        await s.written();
        const stopped = round % 2 === 0;
        if (stopped) await s.rig.gate.stop();
        const heads = s.heads();
        assert.equal(heads.length, 1);
        s.flip(heads[0] + Math.floor(next() * 400), Math.floor(next() * 8));
        if (stopped) await s.rig.gate.start();
        const before = (await s.stats()).corrupt;
        assert.equal(await s.right(1), 'miss', `round ${round}`);
        const after = await s.written();
        assert.equal(after.corrupt, before + 1);
        assert.equal(after.entries, 1);
        assert.equal(await s.right(1), 'hit');
      }
    }));

  test('whatever is flipped while nobody has it open, nothing is wrong', () =>
    withStore({}, async (s) => {
      const next = prng(SEED + 1);
      await s.all(40);
      for (let round = 0; round < ROUNDS; round++) {
        await s.rig.gate.stop();
        const { size } = fs.statSync(s.file);
        for (let i = 0; i <= round; i++)
          s.flip(Math.floor(next() * size), Math.floor(next() * 8));
        await s.rig.gate.start();
        await s.all(40);
        assert.ok(await s.all(40) >= 39);
      }
    }));

  test('verify finds what is damaged', () => withStore({}, async (s) => {
    await s.all(20);
    await s.again(); // no old copies are written from now on
    assert.deepEqual(
      (({ ok, entries, damaged }) => ({ ok, entries, damaged }))(
        await s.rig.gate.must(['cache', 'verify'])),
      { ok: true, entries: 20, damaged: 0 });
    await s.rig.gate.must(['cache', 'purge']);
    await s.right(1);
    await s.written();
    s.flip(s.heads()[0] + 130);
    const r = await s.rig.gate.ctl(['cache', 'verify']);
    assert.equal(r.code, 1);
    assert.equal(r.json.damaged, 1);
    assert.equal(await s.right(1), 'miss');
  }));

  for (const [name, f] of [
    ['cut', (file) => fs.truncateSync(file, 8192)],
    ['removed', (file) => fs.rmSync(file)]])
    test(`a file that is ${name} while it is open is begun anew`, () =>
      withStore({}, async (s) => {
        await s.all(10);
        await s.written();
        f(s.file);
        await s.all(10);
        await until('the file anew', async () => await s.all(10) === 10);
        await s.again();
        assert.equal(await s.all(10), 10);
        assert.match(s.rig.gate.log, /begins anew/);
      }));

  test('rubbish is put aside', () => withStore({}, async (s) => {
    await s.all(5);
    await s.rig.gate.stop();
    fs.writeFileSync(s.file, 'no such thing'.repeat(2000));
    await s.rig.gate.start();
    assert.equal(await s.all(5), 0);
    assert.equal(await s.all(5), 5);
    assert.ok(fs.existsSync(`${s.file}.damaged`));
    await s.rig.gate.must(['cache', 'purge']);
    assert.ok(!fs.existsSync(`${s.file}.damaged`));
  }));

  test('killed again and again under load', () =>
    withStore({ size: '2MiB' }, async (s) => {
      const next = prng(SEED + 2);
      for (let round = 0; round < ROUNDS; round++) {
        const asked = Array.from({ length: 60 }, (_, i) =>
          s.right(round * 10 + i % 30).catch(() => undefined));
        await Promise.all(asked.slice(0, 1 + Math.floor(next() * 50)));
        await s.rig.gate.kill9();
        await Promise.all(asked);
        await s.rig.gate.start();
      }
      for (let n = 0; n < ROUNDS * 10; n++) await s.right(n);
      const r = await s.rig.gate.must(['cache', 'verify']);
      assert.equal(r.damaged, 0);
    }));

  test('the file is never larger than its bound', () =>
    withStore({ size: '1MiB' }, async (s) => {
      for (let n = 0; n < 120; n++) {
        await s.send(ask(`say ${n} ${'and on '.repeat(n)}`, {
          n: 1 + n % 7 }));
        assert.ok(fs.statSync(s.file).size <= 1 << 20);
      }
      const big = 'word '.repeat(4000);
      for (let n = 0; n < 60; n++) {
        await s.send(ask(`echo ${n} ${big}`));
        assert.ok(fs.statSync(s.file).size <= 1 << 20);
      }
      const st = await s.written();
      assert.ok(st.file_bytes <= st.max_bytes);
      assert.equal(st.dropped_error, 0);
    }));
});

describe('purging stored replies', GATE_ONLY, () => {
  test('of a key, of a model, of all', () => withStore({}, async (s) => {
    const other = await s.rig.gate.createKey('other');
    const q = (model) => ask('say one', { model });
    const cache = async (model, key) => (await s.send(q(model), key)).cache;
    const fill = async () => {
      for (const model of ['one', 'two'])
        for (const key of [s.rig.key, other.key])
          assert.notEqual(await cache(model, key), 'bypass');
    };
    await fill();
    assert.equal((await s.rig.gate.must(
      ['cache', 'purge', '--key', other.id])).entries, 2);
    assert.equal(await cache('one', s.rig.key), 'hit');
    assert.equal(await cache('one', other.key), 'miss');
    assert.equal((await s.rig.gate.must(
      ['cache', 'purge', '--model', 'one'])).entries, 2);
    assert.equal(await cache('two', s.rig.key), 'hit');
    assert.equal(await cache('one', s.rig.key), 'miss');
    assert.equal((await s.rig.gate.must(
      ['cache', 'purge', '--key', 'other', '--model', 'two'])).entries, 0);
    await fill();
    assert.equal((await s.rig.gate.must(['cache', 'purge'])).entries, 4);
    assert.equal((await s.stats()).entries, 0);
    for (const model of ['one', 'two'])
      assert.equal(await cache(model, other.key), 'miss');
  }));

  test('what is wrong does not mean all', () => withStore({}, async (s) => {
    await s.right(1);
    for (const args of [['--key', 'nobody'], ['--model', ''], ['--key', '']])
      assert.notEqual((await s.rig.gate.ctl(['cache', 'purge', ...args])).code,
        0, args.join(' '));
    assert.equal(await s.right(1), 'hit');
  }));

  test('a reply that was asked for before is not kept', () =>
    withStore({}, async (s) => {
      const slow = s.send(ask('slow: say one', {
        metadata: { delay_ms: 400 } }));
      await until('the call', () => s.rig.up.hits > 0);
      await s.rig.gate.must(['cache', 'purge']);
      await slow;
      const st = await s.written();
      assert.ok(st.entries <= 1);
    }));

  test('on the files, while no daemon runs', () => withStore({}, async (s) => {
    const file = s.rig.gate.configFile;
    await s.all(6);
    await s.rig.gate.stop();
    const ctl = async (...args) => {
      const r = await s.rig.gate.ctl(['-c', file, 'cache', ...args]);
      assert.equal(r.code, 0, r.stderr);
      assert.match(r.stderr, /offline/);
      return r.json;
    };
    assert.equal((await ctl('stats')).entries, 6);
    assert.equal((await ctl('verify')).entries, 6);
    assert.equal((await ctl('purge', '--model', 'none')).entries, 0);
    await s.rig.gate.start();
    assert.equal(await s.all(6), 6);
    await s.rig.gate.stop();
    assert.equal((await ctl('purge')).entries, 6);
    assert.equal((await ctl('stats')).entries, 0);
    await s.rig.gate.start();
    assert.equal(await s.all(6), 0);
  }));
});
