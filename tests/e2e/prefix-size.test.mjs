// How much disk the stored prefixes take: never more than they may, whatever
// was configured before, and however many models and daemons there are.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { describe, test } from 'node:test';

import { DEMO, FULL, PAGE, PrefixRig, cachedOf, folder, ids, pagesOf, right,
  withStore } from './lib/prefix.mjs';
import { until } from './lib/until.mjs';

const MIB = 1 << 20;

/** Bytes of all files below <dir>, of those that hold pages by default. */
function bytesIn(dir, name = 'data.mdb') {
  let sum = 0;
  for (const f of fs.readdirSync(dir, { recursive: true }))
    if (path.basename(f) === name) sum += fs.statSync(path.join(dir, f)).size;
  return sum;
}

/** Stores some 11 MiB for each <n> = 16: 25 pages of 28 KiB a prompt. */
async function fill(s, from, n) {
  for (let i = 0; i < n; i++) await s.complete(ids(from + i, 410));
  await until('all is stored', async () =>
    (await s.metric('prefix_queued_bytes')) === 0);
}

describe('prefix store: its size', () => {
  test('is never passed, at no moment', () =>
    withStore({ store: { size: '16MiB' } }, async (s) => {
      let most = 0;
      for (let i = 0; i < 60; i++) {
        await s.complete(ids(1000 + i, 410));
        most = Math.max(most, bytesIn(s.root));
      }
      await s.settled();
      most = Math.max(most, bytesIn(s.root));
      assert.ok(most <= 16 * MIB, `${most} bytes`);
      assert.ok(most > 8 * MIB, `${most} bytes: it is used`);
      assert.ok(await s.metric('prefix_evicted_pages_total',
        ',read="false"') > 0);
      assert.equal(await s.metric('prefix_store_max_bytes'), 16 * MIB);
    }));

  test('may shrink and grow from one start to the next', () =>
    withStore({ store: { size: '64MiB' } }, async (s) => {
      await fill(s, 1100, 60);
      assert.ok(bytesIn(s.root) > 20 * MIB);
      await s.restart({ store: { size: '16MiB' } });
      assert.ok(bytesIn(s.root) <= 16 * MIB, `${bytesIn(s.root)} bytes`);
      for (let i = 0; i < 60; i += 7) await right(s, ids(1100 + i, 410));
      await fill(s, 1200, 30);
      assert.ok(bytesIn(s.root) <= 16 * MIB, `${bytesIn(s.root)} bytes`);
      await s.restart({ store: { size: '64MiB' } });
      assert.equal(await right(s, ids(1229, 410)), pagesOf(410));
      await fill(s, 1300, 40);
      await s.restart();
      assert.equal(await right(s, ids(1300, 410)), pagesOf(410));
      assert.deepEqual(s.warnings(), []);
    }));

  test('bounds all namespaces together: the oldest unused one goes', () =>
    withStore({ store: { size: '32MiB', epoch: 1 } }, async (s) => {
      await fill(s, 1400, 30);
      for (let epoch = 2; epoch <= 5; epoch++) {
        await s.restart({ store: { epoch } });
        await fill(s, 1400 + 100 * epoch, 30);
        assert.ok(bytesIn(s.root) <= 32 * MIB,
          `epoch ${epoch}: ${bytesIn(s.root)} bytes`);
        assert.equal(await s.complete(ids(1429 + 100 * epoch, 410))
          .then(cachedOf), pagesOf(410));
      }
      await s.restart();
      assert.equal(await right(s, ids(1929, 410)), pagesOf(410));
      await s.restart({ store: { epoch: 1 } });
      assert.equal(await right(s, ids(1400, 410)), 0, 'long gone');
    }));

  test('is shared by models in equal parts', () => {
    const copies = folder('copies');
    const models = ['demo', 'second'].map((name, i) => {
      const file = path.join(copies, `${name}.gguf`);
      const bytes = fs.readFileSync(DEMO);
      bytes[bytes.length - 2] ^= i;
      fs.writeFileSync(file, bytes);
      return { name, path: file, slots: 2 };
    });
    return withStore({ store: { size: '32MiB' } }, async (s) => {
      await s.stop();
      fs.rmSync(s.root, { recursive: true });
      s.gate.writeConfig({ ...s.gate.config,
        engine: { ...s.gate.config.engine, models } });
      await s.gate.start();
      await s.ready();
      for (let i = 0; i < 40; i++)
        for (const model of ['demo', 'second'])
          await s.complete(ids(2000 + i, 410), { model });
      await s.settled();
      assert.equal(s.spaces().length, 2);
      for (const dir of s.spaces())
        assert.ok(bytesIn(dir) <= 16 * MIB && bytesIn(dir) > 8 * MIB,
          `${dir}: ${bytesIn(dir)} bytes`);
    });
  });

  for (const [how, first, second] of [['a smaller', '64MiB', '16MiB'],
    ['a larger', '16MiB', '64MiB']])
    test(`of ${how} size of a second daemon: both serve and share`, async () => {
      const dir = path.join(folder('sizes'), 'prefix');
      const one = await PrefixRig.start({ store: { dir, scope: 'shared',
        size: first } });
      try {
        await fill(one, 2100, 50);
        await right(one);
        await one.settled();
        const two = await PrefixRig.start({ broken: true, store: { dir,
          scope: 'shared', size: second } });
        try {
          await right(two);
          for (let i = 0; i < 30; i++) {
            await right(two, ids(2200 + i, 410));
            await right(one, ids(2300 + i, 410));
          }
          await right(one, ids(2229, 410));
          await right(two, ids(2329, 410));
          assert.ok(bytesIn(dir) <= 64 * MIB, `${bytesIn(dir)} bytes`);
          const said = [...one.warnings(), ...two.warnings()];
          assert.ok(said.length <= 2, said.join('\n'));
        } finally {
          await two.close();
        }
      } finally {
        await one.close();
      }
    });
});

describe('prefix store: purge', () => {
  test('while prefixes are read and written: answers stay right', () =>
    withStore({}, async (s) => {
      const prompts = Array.from({ length: 10 }, (_, i) => ids(2400 + i, 300));
      for (let round = 0; round < 4; round++) {
        for (const p of prompts) await right(s, p);
        await s.settled();
        await s.restart();
        let going = true;
        const purges = (async () => {
          while (going) await s.gate.must(['prefix', 'purge']);
        })();
        await Promise.all(prompts.map((p) => right(s, p)));
        going = false;
        await purges;
      }
      await right(s);
      await s.settled(FULL / PAGE);
      await s.restart();
      assert.equal(await right(s), FULL);
    }));

  test('of one daemon is seen by the other', async () => {
    const dir = path.join(folder('purge'), 'prefix');
    await withStore({ store: { dir, scope: 'shared' } }, (one) =>
      withStore({ store: { dir, scope: 'shared' } }, async (two) => {
        await right(one);
        await one.settled(FULL / PAGE);
        await one.gate.must(['prefix', 'purge']);
        await until('it is empty', async () =>
          (await two.metric('prefix_store_pages')) === 0);
        assert.equal(await right(two), 0);
      }));
  });
});
