// Prefixes that are kept on disk are found by whom they were kept for alone,
// whatever anybody is called and whatever a client says.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { Cold, answerOf, cachedOf, withStore, words } from './lib/prefix.mjs';

let cold;
before(async () => { cold = await Cold.start(); });
after(() => cold?.close());

const LONG = words(1, 180);

describe('prefix store: who shares', () => {
  /* What a request of a key finds after a restart. */
  const found = async (s, key, more = {}) => {
    const r = await s.chat(LONG, more, key);
    assert.deepEqual(answerOf(r), answerOf(await cold.ask('chat', LONG)));
    return cachedOf(r);
  };

  test('scope key: the same key, no other', () =>
    withStore({ store: { scope: 'key' } }, async (s) => {
      const [a, b] = [await s.key('a'), await s.key('b')];
      assert.equal(await found(s, a), 0);
      assert.equal(await found(s, b), 0, 'in memory');
      await s.restart();
      const c = await s.key('c');
      assert.equal(await found(s, c), 0, 'a new key');
      assert.ok(await found(s, a) > 0);
      assert.ok(await found(s, b) > 0);
      await s.restart();
      const d = await s.key('d');
      assert.equal(await found(s, d), 0);
    }));

  test('scope key: nobody but who stored it', () =>
    withStore({ store: { scope: 'key' } }, async (s) => {
      const [a, b] = [await s.key('a'), await s.key('b')];
      await found(s, a);
      await s.restart();
      assert.equal(await found(s, b), 0);
      await s.restart();
      assert.ok(await found(s, a) > 0);
    }));

  test('scope team: the team, no other, and no key without one', () =>
    withStore({ store: { scope: 'team' } }, async (s) => {
      for (const team of ['red', 'blue'])
        await s.gate.must(['team', 'create', team]);
      const red1 = await s.key('red1', '--team', 'red');
      const red2 = await s.key('red2', '--team', 'red');
      const blue = await s.key('blue', '--team', 'blue');
      const [none1, none2] = [await s.key('none1'), await s.key('none2')];
      await found(s, red1);
      await found(s, none1);
      await s.restart();
      assert.equal(await found(s, blue), 0);
      assert.equal(await found(s, none2), 0);
      assert.ok(await found(s, red2) > 0);
      assert.ok(await found(s, none1) > 0);
    }));

  test('scope team: a team called like a key reaches nothing of it', () =>
    withStore({ store: { scope: 'team' } }, async (s) => {
      const made = await s.gate.createKey('victim');
      await found(s, made.key);
      const refused = await s.gate.ctl(['team', 'create', made.id]);
      assert.equal(refused.code, 1, 'no team may have the name of a key');
      await s.restart();
      const teams = [made.id.slice(4), 'victim', 'key', 'shared', 'team'];
      for (const team of teams) {
        await s.gate.must(['team', 'create', team]);
        const mimic = await s.key(`of ${team}`, '--team', team);
        assert.equal(await found(s, mimic), 0, team);
      }
      assert.ok(await found(s, made.key) > 0);
    }));

  test('scope shared: all', () =>
    withStore({ store: { scope: 'shared' } }, async (s) => {
      await found(s, await s.key('a'));
      await s.restart();
      assert.ok(await found(s, await s.key('b')) > 0);
    }));

  test('another scope setting finds nothing of the one before', () =>
    withStore({ store: { scope: 'key' } }, async (s) => {
      const a = await s.key('a');
      await found(s, a);
      await s.restart({ store: { scope: 'shared' } });
      assert.equal(await found(s, a), 0);
    }));

  for (const scope of ['key', 'shared']) {
    test(`scope ${scope}: what a client says narrows, alone and together`, () =>
      withStore({ store: { scope } }, async (s) => {
        const says = [{}, { cache_salt: 'x' }, { prompt_cache_key: 'x' },
          { cache_salt: 'x', prompt_cache_key: 'x' },
          { cache_salt: 'ab', prompt_cache_key: 'c' }];
        const never = [{ cache_salt: 'a', prompt_cache_key: 'bc' },
          { cache_salt: 'abc' }, { prompt_cache_key: 'abc' },
          { cache_salt: 'y' }, { prompt_cache_key: 'y' },
          { cache_salt: 'x', prompt_cache_key: 'y' },
          { cache_salt: 'y', prompt_cache_key: 'x' }];
        const a = await s.key('a');
        for (const more of says)
          assert.equal(await found(s, a, more), 0, JSON.stringify(more));
        await s.restart();
        for (const more of says)
          assert.ok(await found(s, a, more) > 0, JSON.stringify(more));
        for (const more of never)
          assert.equal(await found(s, a, more), 0, JSON.stringify(more));
        assert.ok(await found(s, a, { prompt_cache_key: '' }) > 0,
          'an empty one is as if it were absent');
      }));
  }

  test('nothing that a client says reaches another key', () =>
    withStore({ store: { scope: 'key' } }, async (s) => {
      const victim = await s.gate.createKey('victim');
      const thief = await s.key('thief');
      await found(s, victim.key);
      await found(s, victim.key, { cache_salt: 'secret' });
      await found(s, victim.key, { prompt_cache_key: 'secret' });
      await s.restart();
      for (const text of ['secret', victim.id, 'victim', `key ${victim.id}`,
        'shared', '\u0000', victim.id.slice(4)])
        for (const more of [{ cache_salt: text }, { prompt_cache_key: text },
          { cache_salt: text, prompt_cache_key: text }])
          assert.equal(await found(s, thief, more), 0, JSON.stringify(more));
      assert.equal(await found(s, thief, { user: victim.id,
        safety_identifier: victim.id, metadata: { key: victim.id } }), 0);
      assert.ok(await found(s, victim.key, { cache_salt: 'secret' }) > 0);
    }));

  test('a key made anew under an old name finds nothing of the old one', () =>
    withStore({}, async (s) => {
      const old = await s.gate.createKey('name');
      await found(s, old.key);
      await s.gate.must(['key', 'delete', old.id]);
      await s.restart();
      const again = await s.gate.createKey('name');
      assert.equal(await found(s, again.key), 0);
    }));
});
