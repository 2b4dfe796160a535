// Prefixes that are kept on disk are found only where they would have been
// computed the same: of the same weights, by the same arithmetic.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { describe, test } from 'node:test';

import { Cold, DEMO, answerOf, cachedOf, folder, pagesOf, withStore, words,
} from './lib/prefix.mjs';

const LONG = words(1, 180);

/** The demo model with other weights: the same names, shapes and sizes. */
function otherWeights(file) {
  const bytes = fs.readFileSync(DEMO);
  for (let at = bytes.length - 400000; at < bytes.length; at += 2)
    bytes[at] ^= 0x3f; /* low bits of halves */
  fs.writeFileSync(file, bytes);
  return file;
}

describe('prefix store: where it would have been computed otherwise', () => {
  /* Asks, restarts with <change>, and asks again: nothing may be found, and
   * the answer must be that of a daemon which keeps nothing. */
  const changed = (opts, change) => withStore(opts, async (s) => {
    const was = await s.chat(LONG);
    await s.stop();
    await change.before?.();
    await s.startAgain(change.opts ?? {});
    const ref = await Cold.start({ ...s.opts });
    try {
      const r = await s.chat(LONG);
      assert.equal(cachedOf(r), 0);
      assert.deepEqual(answerOf(r), answerOf(await ref.ask('chat', LONG)));
      const again = await s.chat(LONG);
      assert.ok(cachedOf(again) > 0, 'it is kept on its own');
      await s.stop();
      await change.undo?.();
      await s.startAgain(change.back ?? {});
      const back = await s.chat(LONG);
      assert.ok(cachedOf(back) > 0, 'what was there before is still there');
      assert.deepEqual(answerOf(back), answerOf(was));
    } finally {
      await ref.close();
    }
  });

  test('other weights in a file of the same name, size and time', () => {
    const file = path.join(folder('model'), 'demo.gguf');
    const when = new Date(Date.now() - 3600e3);
    fs.copyFileSync(DEMO, file);
    fs.utimesSync(file, when, when);
    const place = (make) => {
      make(`${file}.new`);
      fs.utimesSync(`${file}.new`, when, when);
      fs.renameSync(`${file}.new`, file);
    };
    return changed({ file }, {
      before: () => place(otherWeights),
      undo: () => place((f) => fs.copyFileSync(DEMO, f)),
    });
  });

  test('other weights written over the file, its time set back', () => {
    const file = path.join(folder('model'), 'demo.gguf');
    const when = new Date(Date.now() - 3600e3);
    const over = (from) => {
      fs.writeFileSync(file, fs.readFileSync(from));
      fs.utimesSync(file, when, when);
    };
    over(DEMO);
    return changed({ file }, {
      before: () => over(otherWeights(`${file}.other`)),
      undo: () => over(DEMO),
    });
  });

  test('the last bit of the last weight', () => {
    const file = path.join(folder('model'), 'demo.gguf');
    fs.copyFileSync(DEMO, file);
    const flip = () => {
      const bytes = fs.readFileSync(file);
      bytes[bytes.length - 2] ^= 1;
      fs.writeFileSync(file, bytes);
    };
    return changed({ file }, { before: flip, undo: flip });
  });

  for (const kv_dtype of ['f32', 'bf16'])
    test(`other elements: ${kv_dtype}`, () => changed({}, {
      opts: { model: { kv_dtype } }, back: { model: { kv_dtype: 'auto' } } }));

  test('another epoch', () => changed({}, {
    opts: { store: { epoch: 7 } }, back: { store: { epoch: 0 } } }));

  test('the same weights under another name and path are the same', () => {
    const file = path.join(folder('model'), 'copy.gguf');
    fs.copyFileSync(DEMO, file);
    return withStore({}, async (s) => {
      const was = await s.chat(LONG);
      await s.restart({ file });
      const r = await s.chat(LONG);
      assert.equal(cachedOf(r), pagesOf(r.usage.prompt_tokens));
      assert.deepEqual(answerOf(r), answerOf(was));
    });
  });

  test('context, slots and threads change nothing', () =>
    withStore({}, async (s) => {
      const was = await s.chat(LONG);
      await s.restart({ model: { context: 400, slots: 1 } });
      const r = await s.chat(LONG);
      assert.equal(cachedOf(r), pagesOf(r.usage.prompt_tokens));
      assert.deepEqual(answerOf(r), answerOf(was));
    }));

  test('two models keep theirs apart, and two names of one share', () => {
    const other = otherWeights(path.join(folder('model'), 'other.gguf'));
    const models = [['demo', DEMO], ['other', other], ['twin', DEMO]]
      .map(([name, file]) => ({ name, path: file, slots: 2 }));
    return withStore({}, async (s) => {
      const engine = { ...s.gate.config.engine, models };
      await s.stop();
      s.gate.writeConfig({ ...s.gate.config, engine });
      const begin = async () => {
        await s.gate.start();
        await s.ready();
      };
      await begin();
      const ask = (model) => s.chat(LONG, { model });
      const own = await ask('demo');
      const others = await ask('other');
      assert.equal(cachedOf(others), 0);
      assert.notDeepEqual(others.choices, own.choices);
      await s.stop();
      await begin();
      const twin = await ask('twin');
      assert.ok(cachedOf(twin) > 0);
      assert.deepEqual(twin.choices, own.choices);
      assert.deepEqual((await ask('other')).choices, others.choices);
      assert.equal(s.spaces().length, 2);
    });
  });

  test('no store: nothing is kept, and nothing is made', () =>
    withStore({ store: { size: 0 } }, async (s) => {
      await s.chat(LONG);
      assert.ok(cachedOf(await s.chat(LONG)) > 0, 'in memory');
      await s.restart();
      assert.equal(cachedOf(await s.chat(LONG)), 0);
      assert.equal(fs.existsSync(s.root), false);
    }));

  test('prefix_store: false of a model: nothing of it is kept', () =>
    withStore({ model: { prefix_store: false }, broken: true }, async (s) => {
      await s.chat(LONG);
      await s.restart();
      assert.equal(cachedOf(await s.chat(LONG)), 0);
      assert.deepEqual(s.spaces(), []);
    }));
});
