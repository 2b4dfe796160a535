// Prefixes on a disk that is full, read-only or gone: answers are those of a
// daemon that keeps nothing, and the log says why, without a flood.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { describe, test } from 'node:test';

import { FULL, PAGE, folder, ids, pagesOf, right, withStore,
} from './lib/prefix.mjs';
import { runProgram } from './lib/tollgate.mjs';
import { until } from './lib/until.mjs';

/** Runs a command that only root may; false when it cannot be done. */
async function sudo(...args) {
  if (process.getuid() !== 0) return false;
  return (await runProgram(args[0], args.slice(1))).code === 0;
}

describe('prefix store: a place that cannot be written', () => {
  test('a file is in the way: the daemon serves, and says so once', () => {
    const dir = path.join(folder('way'), 'prefix');
    fs.writeFileSync(dir, '');
    return withStore({ store: { dir }, broken: true }, async (s) => {
      await right(s);
      await right(s);
      assert.equal(await s.metric('prefix_store_up'), 0);
      const said = s.warnings().filter((l) => !/secret/.test(l));
      assert.equal(said.length, 1, said.join('\n'));
      assert.ok(said[0].includes(dir), said[0]);
      const r = await s.gate.ctl(['prefix', 'stats']);
      assert.equal(r.code, 0, r.stderr);
      assert.match(r.stdout, /Not a directory|not a directory/);
    });
  });

  test('the folder above is missing', () => {
    const dir = path.join(folder('way'), 'no', 'such', 'prefix');
    return withStore({ store: { dir }, broken: true }, async (s) => {
      await right(s);
      assert.ok(await right(s) > 0, 'in memory');
    });
  });

  test('a disk that can only be read: what is there is found, or it is off',
    async (t) => {
      const dir = folder('ro');
      if (!await sudo('mount', '-t', 'tmpfs', '-o', 'size=64m', 'none', dir)) {
        t.skip('needs to mount');
        return;
      }
      try {
        await withStore({ store: { dir } }, async (s) => {
          await right(s);
          await s.stop();
          assert.ok(await sudo('mount', '-o', 'remount,ro', dir));
          s.opts.broken = true;
          await s.startAgain();
          await right(s);
          await right(s, ids(77, 200));
          const said = s.warnings();
          assert.ok(said.length >= 1 && said.length <= 2, said.join('\n'));
          await s.stop();
          assert.ok(await sudo('mount', '-o', 'remount,rw', dir));
          s.opts.broken = false;
          await s.startAgain();
          assert.equal(await right(s), FULL, 'all is there as before');
        });
      } finally {
        await sudo('umount', dir);
      }
    });

  test('a disk that becomes read-only, and then not', async (t) => {
    const dir = folder('ro');
    if (!await sudo('mount', '-t', 'tmpfs', '-o', 'size=64m', 'none', dir)) {
      t.skip('needs to mount');
      return;
    }
    try {
      await withStore({ store: { dir } }, async (s) => {
        await right(s);
        await s.settled(FULL / PAGE);
        await sudo('mount', '-o', 'remount,ro', dir);
        for (let i = 0; i < 5; i++) await right(s, ids(200 + i, 200));
        assert.ok(s.warnings().length <= 2, s.warnings().join('\n'));
        await sudo('mount', '-o', 'remount,rw', dir);
        for (let i = 0; i < 5; i++) await right(s, ids(300 + i, 200));
        await s.restart();
        assert.equal(await right(s), FULL);
        assert.equal(await right(s, ids(304, 200)), pagesOf(200));
      });
    } finally {
      await sudo('umount', dir);
    }
  });

  test('a full disk: right answers, one line, and on when there is room',
    async (t) => {
      const dir = folder('full');
      if (!await sudo('mount', '-t', 'tmpfs', '-o', 'size=4m', 'none', dir)) {
        t.skip('needs to mount');
        return;
      }
      try {
        await withStore({ store: { dir } }, async (s) => {
          for (let i = 0; i < 16; i++) await right(s, ids(400 + i, 400));
          await until('all was tried', async () =>
            (await s.metric('prefix_queued_bytes')) === 0);
          assert.ok(await s.metric('prefix_write_errors_total') > 0);
          assert.equal(s.warnings().length, 1, s.warnings().join('\n'));
          assert.match(s.warnings()[0], /No space left/);
          for (let i = 0; i < 16; i++) await right(s, ids(400 + i, 400));
          await sudo('mount', '-o', 'remount,size=64m', dir);
          await right(s);
          await s.settled();
          await s.restart();
          assert.equal(await right(s), FULL, 'stored when there was room');
          for (let i = 0; i < 16; i++) await right(s, ids(400 + i, 400));
        });
      } finally {
        await sudo('umount', dir);
      }
    });

  test('a folder that is removed while it is used', () =>
    withStore({}, async (s) => {
      await right(s);
      await s.settled(FULL / PAGE);
      fs.rmSync(s.root, { recursive: true });
      for (let i = 0; i < 4; i++) {
        await right(s);
        await right(s, ids(500 + i, 200));
      }
      await s.restart();
      await right(s);
      await s.restart();
      assert.equal(await right(s), FULL, 'it is made anew');
    }));

  test('a store that is full: the oldest make room, answers are right', () =>
    withStore({ store: { size: '16MiB' } }, async (s) => {
      /* 25 pages of 28 KiB each time: past the bound after some 20. */
      for (let i = 0; i < 40; i++) await right(s, ids(600 + i, 410));
      await s.settled();
      const bytes = fs.statSync(s.dataFile()).size;
      assert.ok(bytes <= 16 << 20, `${bytes} bytes`);
      await s.restart();
      assert.equal(await right(s, ids(639, 410)), pagesOf(410), 'the newest');
      assert.equal(await right(s, ids(600, 410)), 0, 'the oldest');
      assert.ok(fs.statSync(s.dataFile()).size <= 16 << 20);
    }));
});
