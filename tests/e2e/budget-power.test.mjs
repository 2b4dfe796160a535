// The machine goes down with budgets open: what was leased is spent, so that
// no budget is passed; and what of that was not taken is given back on an
// operator's word.  A death of the process alone costs what was under way.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';

import { ask } from './lib/openai.mjs';
import { DIRECT, startRig } from './lib/rig.mjs';
import { memoryFactor, runProgram } from './lib/tollgate.mjs';
import { until } from './lib/until.mjs';

const NEEDS = { skip: DIRECT ? 'needs tollgate'
  : memoryFactor() > 1 && 'a checked program cannot be preloaded' };

describe('the machine goes down', NEEDS, () => {
  let dir;
  let rig;
  let boots = 0;

  /** Another boot from the next start on. */
  const boot = () => fs.writeFileSync(`${dir}/boot`,
    `00000000-0000-0000-0000-${String(++boots).padStart(12, '0')}\n`);

  before(async () => {
    dir = fs.mkdtempSync(path.join(os.tmpdir(), 'tg-boot-'));
    const made = await runProgram('cc', ['-shared', '-fPIC', '-D_GNU_SOURCE',
      '-o', `${dir}/bootid.so`,
      fileURLToPath(new URL('lib/bootid.c', import.meta.url)), '-ldl']);
    assert.equal(made.code, 0, made.stderr);
    boot();
    rig = await startRig({ env: {
      LD_PRELOAD: `${dir}/bootid.so`, BOOTID: `${dir}/boot` } });
  });
  after(async () => {
    await rig?.close();
    fs.rmSync(dir, { recursive: true });
  });

  const budgetOf = async (key) =>
    (await rig.gate.must(['key', 'show', key.id])).budgets[0];
  const lost = async (...args) =>
    (await rig.gate.must(['ledger', 'reconcile', ...args])).data;
  const logged = (what) =>
    until(`the log has ${what}`, () => what.test(rig.gate.log));
  const proved = async () => {
    const r = await rig.gate.ctl(['ledger', 'verify']);
    assert.equal(r.code, 0, r.stderr);
  };

  /** Chats of a key; the tokens that the provider says they took. */
  async function chats(key, n) {
    let tokens = 0;
    for (let i = 0; i < n; i++) {
      const r = await rig.fetch('/v1/chat/completions', {
        json: ask('count to 3', { max_tokens: 50 }),
        headers: { authorization: `Bearer ${key.key}` } });
      assert.equal(r.status, 200);
      tokens += (await r.json()).usage.total_tokens;
    }
    return tokens;
  }

  test('the process alone: nothing is lost', async () => {
    const key = await rig.gate.createKey('p', '--budget', '100k-tokens/total');
    const took = await chats(key, 5);
    await rig.gate.kill9();
    await rig.gate.start();
    assert.equal((await budgetOf(key)).spent, took);
    assert.deepEqual(await lost('--key', key.id), []);
    const r = await rig.gate.ctl(['ledger', 'reconcile', '--take-back', 'all',
      '--key', key.id, '--reason', 'to see']);
    assert.equal(r.code, 1);
    assert.match(r.stderr, /nothing is lost there/);
    await proved();
  });

  test('the machine: what was leased is spent, even without journals',
    async () => {
      const team = 'crew';
      await rig.gate.must(['team', 'create', team,
        '--budget', '50k-output-tokens/month']);
      const key = await rig.gate.createKey('m', '--team', team,
        '--budget', '100k-tokens/total');
      const took = await chats(key, 5);
      await rig.gate.kill9();
      boot();
      // what a power cut may leave of files that were not synced
      const journals = path.join(rig.gate.stateDir, 'journal');
      for (const f of fs.readdirSync(journals))
        fs.rmSync(path.join(journals, f));
      await rig.gate.start();
      await logged(/the machine went down with the ledger open/);
      const { spent, amount, held } = await budgetOf(key);
      assert.ok(spent >= took && spent <= amount, `${spent} of ${took}`);
      assert.equal(held, 0);
      await proved();
      const mine = await lost('--key', key.id);
      assert.equal(mine.length, 1);
      assert.deepEqual(
        { kind: mine[0].kind, owner: mine[0].owner, name: mine[0].name,
          window: mine[0].window, unit: mine[0].unit, spent: mine[0].spent,
          resets: mine[0].resets },
        { kind: 'key', owner: key.id, name: 'm', window: 'total',
          unit: 'tokens', spent, resets: null });
      assert.ok(mine[0].lost > 0 && mine[0].lost <= spent);
      const [crew] = await lost('--team', team);
      assert.equal(crew.window, 'month');
      assert.equal(crew.unit, 'output_tokens');
      assert.ok(Date.parse(crew.resets) > Date.now());
      assert.ok((await lost()).length >= 2);
      const table = await rig.gate.ctl(['ledger', 'reconcile'],
        { json: false });
      assert.match(table.stdout, /KIND +OWNER +NAME +WINDOW +UNIT +LOST/);
      await takeBack(key, mine[0].lost, spent);
    });

  /** All ways to take back what a key lost. */
  async function takeBack(key, n, spent) {
    const back = (...args) => rig.gate.ctl(
      ['ledger', 'reconcile', '--key', key.id, '--take-back', ...args]);
    const refused = async (why, ...args) => {
      const r = await back(...args);
      assert.equal(r.code, 1);
      assert.match(r.stderr, why);
      assert.equal((await budgetOf(key)).spent, spent);
    };
    await refused(/say with a reason/, 'all');
    await refused(/no more was lost/, `${n + 1}-tokens/total`,
      '--reason', 'a guess');
    await refused(/no more was lost/, '1-tokens/day', '--reason', 'a guess');
    await refused(/take back all, or an amount/, 'plenty', '--reason', 'x');
    let r = await back('1-tokens/total', '--reason', 'the provider says so');
    assert.equal(r.code, 0, r.stderr);
    assert.equal(r.json.data[0].lost, n - 1);
    assert.equal((await budgetOf(key)).spent, spent - 1);
    await logged(/lost spend taken back: .*amount=1 .*the provider says so/);
    r = await back('all', '--reason', 'all of it');
    assert.deepEqual(r.json.data, []);
    assert.equal((await budgetOf(key)).spent, spent - n);
    await proved();
    await rig.gate.stop();
    await rig.gate.start();
    assert.equal((await budgetOf(key)).spent, spent - n);
    assert.deepEqual(await lost('--key', key.id), []);
  }

  test('a machine that is shut down in order loses nothing', async () => {
    const key = await rig.gate.createKey('o', '--budget', '100k-tokens/day');
    const took = await chats(key, 3);
    await rig.gate.stop();
    boot();
    await rig.gate.start();
    assert.equal((await budgetOf(key)).spent, took);
    assert.deepEqual(await lost('--key', key.id), []);
  });
});
