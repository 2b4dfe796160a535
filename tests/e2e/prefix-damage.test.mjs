// Prefixes on disk whose files are damaged: answers are those of a daemon that
// keeps nothing, the daemon starts, and what is lost is stored anew.
// E2E_PREFIX_ROUNDS is for longer runs.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { describe, test } from 'node:test';

import { prng } from './lib/prng.mjs';
import { FULL, PAGE, flip, ids, right, values, withStore,
} from './lib/prefix.mjs';
import { until } from './lib/until.mjs';

const ROUNDS = Number(process.env.E2E_PREFIX_ROUNDS ?? 8);
const SEED = Number(process.env.E2E_SEED ?? 20260101);

describe('prefix store: damage', () => {
  test('any byte of a stored value: a miss from there, and it is replaced', () =>
    withStore({}, async (s) => {
      const next = prng(SEED);
      await right(s);
      await s.settled(FULL / PAGE);
      for (let round = 0; round < ROUNDS; round++) {
        await s.stop();
        const all = values(s.dataFile()).filter((v) => v.index < FULL / PAGE);
        assert.ok(all.length >= FULL / PAGE, `${all.length} values`);
        const v = all[Math.floor(next() * all.length)];
        const at = Math.floor(next() * (round % 2 ? v.bytes : 4080));
        flip(s.dataFile(), v.at + at, Math.floor(next() * 8));
        await s.startAgain();
        const what = `byte ${at} of page ${v.index}`;
        assert.equal(await right(s), v.index * PAGE, what);
        assert.equal(await s.metric('prefix_failed_pages_total'), 1, what);
        await until('the log tells', () => s.warnings().length > 0);
        assert.equal(s.warnings().length, 1, `${what}: ${s.warnings()}`);
        assert.match(s.warnings()[0], /damaged/);
        await s.settled(FULL / PAGE);
        await s.restart();
        assert.equal(await right(s), FULL, `${what}: stored anew`);
      }
    }));

  test('while the daemon runs', () => withStore({}, async (s) => {
    await right(s);
    await s.restart();
    const v = values(s.dataFile()).find((x) => x.index === 7);
    flip(s.dataFile(), v.at + 5000);
    assert.equal(await right(s), 7 * PAGE);
    await until('the log tells', () => s.warnings().length > 0);
    assert.equal(s.warnings().length, 1);
  }));

  for (const [name, share] of [['all', 0], ['half', 0.5]])
    test(`${name} of the file is cut off while the daemon runs`, () =>
      withStore({}, async (s) => {
        await right(s);
        await s.restart();
        const file = s.dataFile();
        fs.truncateSync(file, fs.statSync(file).size * share);
        for (let i = 0; i < 3; i++) {
          await right(s);
          await right(s, ids(50 + i, 200));
        }
        const said = [...s.warnings(), ...s.logged('note')
          .filter((l) => l.includes('prefix store'))];
        assert.equal(said.length, 1, said.join('\n'));
        assert.match(said[0], /cut/);
        await s.settled();
        await s.restart();
        assert.equal(await right(s, ids(52, 200)), 192, 'it is used again');
      }));

  test('all values at once', () => withStore({}, async (s) => {
    await right(s);
    await s.stop();
    for (const v of values(s.dataFile())) flip(s.dataFile(), v.at + 4100);
    await s.startAgain();
    assert.equal(await right(s), 0);
    await s.settled(FULL / PAGE);
    await s.restart();
    assert.equal(await right(s), FULL);
  }));

  test('bits anywhere, again and again, mostly in heads of pages',
    { timeout: 60000 + ROUNDS * 10000 }, () => withStore({}, async (s) => {
      const next = prng(SEED + 2);
      s.opts.broken = true;
      for (let round = 0; round < ROUNDS; round++) {
        for (let i = 0; i < 5; i++) await right(s, ids(40 + i, 330));
        await s.stop();
        const file = s.dataFile();
        const size = fs.statSync(file).size;
        for (let n = Math.ceil(2 ** (next() * 9)); n > 0; n--) {
          const at = Math.floor(next() * size);
          const head = Math.floor(at / 4096) * 4096 + Math.floor(next() * 32);
          flip(file, next() < 0.3 ? at : head, Math.floor(next() * 8));
        }
        await s.startAgain();
        for (let i = 0; i < 8; i++) await right(s, ids(40 + i, 330));
        assert.ok(s.warnings().length < 12, s.warnings().join('\n'));
        await s.restart();
      }
    }));

});

/* Most of their time is waiting for a daemon to end. */
describe('prefix store: damage while nobody has it open', { concurrency: 4 }, () => {
  /* Each begins with a store that holds TEXT. */
  const damages = {
    'bytes all over the file': (file, next) => {
      const size = fs.statSync(file).size;
      for (let i = 0; i < 200; i++)
        flip(file, Math.floor(next() * size), Math.floor(next() * 8));
    },
    'the first pages': (file, next) => {
      for (let i = 0; i < 64; i++) flip(file, Math.floor(next() * 8192));
    },
    'one bit of each page\'s head': (file) => {
      const size = fs.statSync(file).size;
      for (let at = 10; at < size; at += 4096) flip(file, at, 2);
    },
    'an empty file': (file) => fs.truncateSync(file, 0),
    'a byte': (file) => fs.truncateSync(file, 1),
    'one page': (file) => fs.truncateSync(file, 4096),
    'two pages': (file) => fs.truncateSync(file, 8192),
    'half of it': (file) => fs.truncateSync(file, fs.statSync(file).size / 2),
    'the last page cut off': (file) =>
      fs.truncateSync(file, fs.statSync(file).size - 4096),
    'the last byte cut off': (file) =>
      fs.truncateSync(file, fs.statSync(file).size - 1),
    'zeros': (file) =>
      fs.writeFileSync(file, Buffer.alloc(fs.statSync(file).size)),
    'words': (file) => fs.writeFileSync(file, 'nothing of the kind '.repeat(999)),
    'no file': (file) => fs.rmSync(file),
    'a folder of its name': (file) => {
      fs.rmSync(file);
      fs.mkdirSync(file);
    },
    'no lock file': (file) => fs.rmSync(path.join(path.dirname(file), 'lock.mdb')),
    'a lock file of words': (file) => fs.writeFileSync(
      path.join(path.dirname(file), 'lock.mdb'), 'words '.repeat(2000)),
    'no ns.json': (file) => fs.rmSync(path.join(path.dirname(file), 'ns.json')),
    'ns.json of words': (file) => fs.writeFileSync(
      path.join(path.dirname(file), 'ns.json'), 'words'),
    'no users file': (file) => fs.rmSync(path.join(path.dirname(file), 'users')),
    'a users file of words': (file) => fs.writeFileSync(
      path.join(path.dirname(file), 'users'), 'words '.repeat(10)),
    'no digests': (file) => fs.rmSync(path.join(file, '../../digests'),
      { force: true }),
    'digests of words': (file) => fs.writeFileSync(
      path.join(file, '../../digests'), 'words', { mode: 0o600 }),
  };
  for (const [name, damage] of Object.entries(damages)) {
    test(`${name}: right answers, and it is used again`, () =>
      withStore({}, async (s) => {
        await right(s);
        await s.stop();
        damage(s.dataFile(), prng(SEED));
        s.opts.broken = true;
        const from = performance.now();
        await s.startAgain();
        const took = performance.now() - from;
        await right(s);
        const said = [...s.warnings(), ...s.logged('note')
          .filter((l) => l.includes('prefix store'))];
        assert.ok(said.length <= 3, `no flood: ${said.join('\n')}`);
        await until('stored or known to be off', async () =>
          (await s.metric('prefix_queued_bytes')) === 0);
        await s.restart();
        let reused = await right(s);
        const anew = s.gate.log.includes('begins anew');
        if (reused !== FULL && anew) { /* with a part of it on its way */
          await s.settled();
          await s.restart();
          reused = await right(s);
        }
        if (await s.metric('prefix_store_up')) assert.equal(reused, FULL);
        else assert.ok(s.warnings().length >= 1, 'it says why it is off');
        assert.ok(took < 10000, `started in ${took} ms`);
      }));
  }
});
