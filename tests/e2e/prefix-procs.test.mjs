// Prefixes on disk and several processes: two daemons over one store, daemons
// that are killed, and tollctl with and without a daemon. E2E_PREFIX_ROUNDS is
// for longer runs: twice as many kills.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { describe, test } from 'node:test';

import { prng } from './lib/prng.mjs';
import { FULL, PAGE, PrefixRig, flip, folder, ids, pagesOf, right, values,
  withStore } from './lib/prefix.mjs';
import { until } from './lib/until.mjs';

const ROUNDS = Number(process.env.E2E_PREFIX_ROUNDS ?? 8);
const SEED = Number(process.env.E2E_SEED ?? 20260101);

describe('prefix store: two daemons over one', () => {
  const pair = async (f) => {
    const dir = path.join(folder('two'), 'prefix');
    const opts = { store: { dir, scope: 'shared' } };
    const one = await PrefixRig.start(opts);
    try {
      const two = await PrefixRig.start(opts);
      try {
        await f(one, two);
      } finally {
        await two.close();
      }
    } finally {
      await one.close();
    }
  };

  test('what one stores the other finds, at once and both ways', () =>
    pair(async (one, two) => {
      await right(one);
      await one.settled(FULL / PAGE);
      assert.equal(await right(two), FULL);
      const other = ids(32, 250);
      await right(two, other);
      await two.settled(FULL / PAGE + Math.floor(250 / PAGE));
      assert.equal(await right(one, other), pagesOf(250));
      assert.deepEqual([...one.warnings(), ...two.warnings()], []);
    }));

  test('both store and find at once', () => pair(async (one, two) => {
    const prompts = Array.from({ length: 24 }, (_, i) =>
      [...ids(700 + (i % 3), 200), ...ids(710 + i, 60)]);
    for (let round = 0; round < 2; round++)
      await Promise.all(prompts.flatMap((p) => [right(one, p), right(two, p)]));
    await one.settled();
    await two.settled();
    await one.restart();
    for (const p of prompts) assert.equal(await right(one, p), pagesOf(260));
  }));

  test('one is killed, the other goes on, and the first comes back', () =>
    pair(async (one, two) => {
      const next = prng(SEED);
      for (let round = 0; round < ROUNDS; round++) {
        const prompts = Array.from({ length: 6 }, (_, i) =>
          ids(800 + round * 10 + i, 100 + Math.floor(next() * 300)));
        const doomed = Promise.allSettled(prompts.map((p) => one.complete(p)));
        await Promise.all(prompts.slice(0, 2).map((p) => right(two, p)));
        await one.gate.kill9();
        await doomed;
        await Promise.all(prompts.map((p) => right(two, p)));
        await one.startAgain();
        await Promise.all(prompts.map((p) => right(one, p)));
      }
      const spaces = one.spaces();
      assert.equal(spaces.length, 1);
    }));

  test('callers of two daemons that know each other by their ids only', () => {
    const dir = path.join(folder('two'), 'prefix');
    return withStore({ store: { dir } }, (one) =>
      withStore({ store: { dir } }, async (two) => {
        /* Each daemon has keys of its own: no key of one is one of two. */
        await right(one);
        await one.settled(FULL / PAGE);
        assert.equal(await right(two), 0);
        const key = fs.readFileSync(path.join(dir, 'engine.key'));
        assert.equal(key.length, 32);
        assert.equal(fs.statSync(path.join(dir, 'engine.key')).mode & 0o777,
          0o600);
      }));
  });

  test('two that start at the same moment have one secret', async () => {
    for (let round = 0; round < 4; round++) {
      const dir = path.join(folder('two'), 'prefix');
      const opts = { store: { dir, scope: 'shared' } };
      const all = await Promise.all([PrefixRig.start(opts),
        PrefixRig.start(opts), PrefixRig.start(opts)]);
      try {
        await right(all[0]);
        await all[0].settled(FULL / PAGE);
        assert.equal(await right(all[1]), FULL);
        assert.equal(await right(all[2]), FULL);
      } finally {
        for (const s of all) await s.close();
      }
    }
  });
});

describe('prefix store: kill -9', () => {
  test(`${2 * ROUNDS} times during writes and reads: never a wrong answer`,
    { timeout: 60000 + 2 * ROUNDS * 10000 }, () =>
    withStore({ store: { size: '16MiB' } }, async (s) => {
      const next = prng(SEED + 1);
      const starts = ids(900, 240);
      const draw = () => [...starts.slice(0, PAGE * Math.floor(next() * 15)),
        ...ids(1 + Math.floor(next() * 60), 30 + Math.floor(next() * 200))];
      let reused = 0;
      let slowest = 0;
      for (let round = 0; round < 2 * ROUNDS; round++) {
        const prompts = Array.from({ length: 10 }, draw);
        for (const p of prompts.slice(0, 3)) reused += await right(s, p);
        let done = 0;
        const all = Promise.allSettled(prompts.map((p) =>
          s.complete(p).finally(() => done++)));
        const target = Math.floor(next() * 8);
        let turns = Math.floor(next() * 2000);
        while (done < target || turns-- > 0)
          await new Promise((r) => setImmediate(r));
        await s.gate.kill9();
        await all;
        assert.ok(fs.statSync(s.dataFile()).size <= 16 << 20);
        const from = performance.now();
        await s.startAgain();
        slowest = Math.max(slowest, performance.now() - from);
        for (const p of prompts) reused += await right(s, p);
        assert.deepEqual(s.warnings(), [], 'nothing was damaged');
      }
      assert.ok(reused > 0, 'something was found');
      console.log(`kill -9: ${2 * ROUNDS} times, ${reused} tokens reused, ` +
        `slowest start ${slowest.toFixed(0)} ms (tollctl included)`);
    }));
});

describe('prefix store: tollctl', () => {
  test('stats tell what is there; purge forgets it, with and without a daemon',
    () => withStore({}, async (s) => {
      await right(s);
      await s.settled(FULL / PAGE);
      const { data } = await s.gate.must(['prefix', 'stats']);
      const row = data.find((x) => x.model === 'demo');
      assert.ok(row.pages >= FULL / PAGE, JSON.stringify(row));
      assert.ok(row.bytes > 0 && row.on);
      assert.equal((await s.gate.ctl(['prefix', 'verify'])).code, 0);
      await s.gate.must(['prefix', 'purge']);
      await until('it is empty', async () =>
        (await s.metric('prefix_store_pages')) === 0);
      assert.equal(await right(s), 0, 'memory forgot it, too');
      await s.settled(FULL / PAGE);
      await s.restart();
      assert.equal(await right(s), FULL);
      await s.stop();
      const off = await s.gate.ctl(['-c', s.gate.configFile, 'prefix', 'purge']);
      assert.equal(off.code, 0, off.stderr);
      await s.startAgain();
      assert.equal(await right(s), 0);
    }));

  test('verify finds what is damaged, with and without a daemon', () =>
    withStore({}, async (s) => {
      await right(s);
      await s.stop();
      const verify = () => s.gate.ctl(['-c', s.gate.configFile, 'prefix', 'verify']);
      const whole = await verify();
      assert.equal(whole.code, 0, whole.stderr + whole.stdout);
      const v = values(s.dataFile()).find((x) => x.index === 3);
      flip(s.dataFile(), v.at + 6000);
      const bad = await verify();
      assert.notEqual(bad.code, 0, bad.stdout);
      await s.startAgain();
      const online = await s.gate.ctl(['prefix', 'verify']);
      assert.notEqual(online.code, 0, online.stdout);
    }));
});
