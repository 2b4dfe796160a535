// What operators and clients see of budgets: how they stand, in tollctl's
// tables and JSON, in metrics and in the log; soft ones, which only warn; and
// budgets that are changed while requests are under way.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, before, beforeEach, describe, test } from 'node:test';

import { ask } from './lib/openai.mjs';
import { GATE_ONLY, startRig } from './lib/rig.mjs';
import { until } from './lib/until.mjs';
import { toYaml } from './lib/yaml.mjs';

const TODAY = new Date().toISOString().slice(0, 10);

let rig;
let dir;
let serial = 0;

const json = (...args) => rig.gate.must(args);
const plain = async (...args) => {
  const r = await rig.gate.ctl(args, { json: false });
  assert.equal(r.code, 0, r.stderr);
  return r.stdout;
};
const createKey = (...args) => rig.gate.createKey(`b${++serial}`, ...args);
const budgetsOf = async (key) => (await json('key', 'show', key.id)).budgets;
const teamBudgets = async (name) =>
  (await json('team', 'show', name)).budgets;

/** The provider says that it took so many tokens. */
const took = (prompt, completion, more = {}) => rig.up.script({
  times: 1000, ...more,
  edit: (plan) => {
    if (!plan.body) return plan;
    const o = JSON.parse(plan.body);
    o.usage = { prompt_tokens: prompt, completion_tokens: completion,
      total_tokens: prompt + completion };
    plan.body = Buffer.from(JSON.stringify(o));
    return plan;
  } });

/** A chat of a key: its reply, whose body is read. */
async function chat(key, more = {}) {
  const r = await rig.fetch('/v1/chat/completions', {
    json: ask('say ok', { max_tokens: 50, ...more }),
    headers: { authorization: `Bearer ${key.key}` } });
  r.text_ = await r.text();
  return r;
}

const metric = async (name, labels) => {
  const text = await (await rig.fetch('/metrics')).text();
  const want = `tollgate_${name}{${labels}} `;
  const line = text.split('\n').find((l) => l.startsWith(want));
  assert.ok(line, want);
  return Number(line.slice(want.length));
};

/** When the calendar window ends in which we are. */
function endOf(window) {
  const d = new Date();
  const [y, m, day] = [d.getUTCFullYear(), d.getUTCMonth(), d.getUTCDate()];
  const week = day + 7 - (d.getUTCDay() + 6) % 7;
  return { month: Date.UTC(y, m + 1), day: Date.UTC(y, m, day + 1),
    week: Date.UTC(y, m, week), hour: Date.UTC(y, m, day, d.getUTCHours() + 1),
    minute: Math.floor(d.getTime() / 60000 + 1) * 60000 }[window];
}

describe('budgets as they are told', GATE_ONLY, () => {
  before(async () => {
    dir = fs.mkdtempSync(path.join(os.tmpdir(), 'tg-budgets-'));
    const file = path.join(dir, 'prices.yaml');
    fs.writeFileSync(file, toYaml({ updated: TODAY,
      prices: [{ model: 'demo', input: 2, output: 10 }] }));
    rig = await startRig({ config: { prices: file } });
  });
  beforeEach(() => rig.up.clear());
  after(async () => {
    await rig?.close();
    fs.rmSync(dir, { recursive: true, force: true });
  });

  test('JSON: every member, tokens as integers, money as strings',
    async () => {
      const windows = ['minute', 'hour', 'day', 'week', 'month'];
      const before = windows.map(endOf);
      const key = await createKey('--budget', '$25/month',
        '--budget', '500k-tokens/day', '--budget', '2M-input-tokens/week',
        '--budget', '1M-output-tokens/total', '--budget', '$0.5/hour',
        '--budget', '9k-tokens/minute');
      const shown = await budgetsOf(key);
      const after = windows.map(endOf);
      assert.deepEqual(shown.map((b) => [b.amount, b.unit, b.window]), [
        ['25.00', 'usd', 'month'], [500000, 'tokens', 'day'],
        [2000000, 'input_tokens', 'week'], [1000000, 'output_tokens', 'total'],
        ['0.50', 'usd', 'hour'], [9000, 'tokens', 'minute']]);
      for (const b of shown) {
        const zero = b.unit === 'usd' ? '0.00' : 0;
        assert.deepEqual([b.soft, b.spent, b.held, b.left],
          [false, zero, zero, b.amount]);
        if (b.window === 'total') {
          assert.equal(b.resets, null);
          continue;
        }
        assert.match(b.resets, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.000Z$/);
        const i = windows.indexOf(b.window);
        assert.ok([before[i], after[i]].includes(Date.parse(b.resets)),
          `${b.window} ${b.resets}`);
      }
      // the same in what makes, changes and lists it
      const of = (k) => k.budgets.map((b) => [b.amount, b.spent, b.left]);
      const list = (await json('key', 'list')).data;
      assert.deepEqual(of(list.find((k) => k.id === key.id)), of({
        budgets: shown }));
      assert.deepEqual(of(key), of({ budgets: shown }));
      assert.deepEqual(of(await json('key', 'update', key.id, '--rpm', '0')),
        of({ budgets: shown }));
    });

  test('what requests took, by key and by team', async () => {
    const team = `team ${++serial}`;
    await json('team', 'create', team, '--budget', '$9/total',
      '--budget', '10k-output-tokens/month');
    const a = await createKey('--team', team, '--budget', '50k-tokens/total');
    const b = await createKey('--team', team,
      '--budget', '50k-input-tokens/month');
    took(1000, 40);
    for (const k of [a, a, b])
      assert.equal((await chat(k)).status, 200);
    const stand = ({ spent, held, left }) => [spent, held, left];
    assert.deepEqual((await budgetsOf(a)).map(stand), [[2080, 0, 47920]]);
    assert.deepEqual((await budgetsOf(b)).map(stand), [[1000, 0, 49000]]);
    // 3 x (1000 x $2 + 40 x $10) / million
    assert.deepEqual((await teamBudgets(team)).map(stand),
      [['0.0072', '0.00', '8.9928'], [120, 0, 9880]]);
    const [sum] = await rig.gate.usageOf(3, '--team', team);
    assert.equal(Number(sum.cost_usd), 0.0072);
  });

  test('it is the same after a restart, and after kill -9', async () => {
    const key = await createKey('--budget', '50k-tokens/total');
    took(700, 30);
    await chat(key);
    const before = await budgetsOf(key);
    assert.equal(before[0].spent, 730);
    await rig.gate.stop();
    await rig.gate.start();
    assert.deepEqual(await budgetsOf(key), before);
    await chat(key);
    await rig.gate.kill9();
    await rig.gate.start();
    assert.equal((await budgetsOf(key))[0].spent, 1460);
  });

  test('a new budget counts from the beginning of its window', async () => {
    const key = await createKey();
    took(300, 20);
    await chat(key);
    assert.deepEqual(await budgetsOf(key), []);
    const shown = await json('key', 'update', key.id,
      '--budget', '1k-tokens/total', '--budget', '1k-output-tokens/month',
      '--budget', '$1/month');
    assert.deepEqual(shown.budgets.map((b) => [b.spent, b.left]),
      [[320, 680], [20, 980], ['0.0008', '0.9992']]);
  });

  test('tables', async () => {
    const team = `tables ${++serial}`;
    await json('team', 'create', team, '--budget', '$9/total');
    const key = await createKey('--team', team, '--budget', '$25/month',
      '--budget', '20k-tokens/total');
    took(10000, 40);
    await chat(key);
    const lines = (await plain('key', 'show', key.id)).split('\n');
    const at = lines.findIndex((l) =>
      /^BUDGET +SPENT +USED +HELD +LEFT +RESETS$/.test(l));
    assert.ok(at > 0, lines.join('\n'));
    assert.match(lines[at + 1],
      /^\$25\.00\/month +\$0\.0204 +0% +\$0\.00 +\$24\.9796 +\d{4}-\d\d-01 00:00:00Z$/);
    assert.match(lines[at + 2],
      /^20,000 tokens\/total +10,040 +50% +0 +9,960 +-$/);
    assert.match(await plain('key', 'list'),
      /\$25\.00\/month 0%, 20,000 tokens\/total 50%/);
    assert.match(await plain('team', 'show', team),
      /^\$9\.00\/total +\$0\.0204 +0% +\$0\.00 +\$8\.9796 +-$/m);
    assert.match(await plain('team', 'list'), /\$9\.00\/total 0%/);
    const none = await createKey();
    assert.doesNotMatch(await plain('key', 'show', none.id), /BUDGET/);
    const why = await json('config', 'explain', key.id, 'demo');
    assert.deepEqual(
      [why.budgets.map((b) => b.spent), why.team_budgets.map((b) => b.spent)],
      [['0.0204', 10040], ['0.0204']]);
  });

  test('nothing says that budgets are not enforced', async () => {
    const r = await rig.gate.ctl(['key', 'create', '--name', `b${++serial}`,
      '--budget', '$1/day'], { json: false });
    assert.equal(r.code, 0);
    rig.gate.secrets.push(/sk-tg-[\w-]+/.exec(r.stdout)[0]);
    assert.doesNotMatch(r.stderr, /enforce|budget/);
  });

  test('status sums them up', async () => {
    const before = (await json('status')).budgets;
    const key = await createKey('--budget', '100-tokens/total');
    await json('key', 'update', key.id, '--budget', '10-tokens/total',
      '--soft');
    await createKey('--budget', '0-tokens/total', '--budget', '$1/day');
    took(50, 5);
    await chat(key);
    const now = (await json('status')).budgets;
    assert.deepEqual(
      ['hard', 'soft', 'used_up', 'passed'].map((m) => now[m] - before[m]),
      [2, 1, 1, 1]);
    assert.match(await plain('status'), /^budgets +hard=\d+ soft=\d+/m);
  });

  test('usage as a table ends with what all lines sum up to', async () => {
    const team = `sums ${++serial}`;
    const keys = [await createKey('--team', team),
      await createKey('--team', team)];
    took(1234, 56);
    for (const k of [...keys, keys[0]]) await chat(k);
    await rig.gate.usageOf(3, '--team', team);
    const table = await plain('usage', '--team', team, '--by', 'key');
    // 3 x (1234 x $2 + 56 x $10) / million
    assert.match(table, /^TOTAL +- +3 +0 +3,702 +0 +168 +0\.009084000 /m);
    assert.equal(table.trim().split('\n').length, 4);
    assert.doesNotMatch(await plain('usage', '--team', team), /TOTAL/);
  });

  test('the receipt of a request', async () => {
    const key = await createKey('--budget', '$9/day');
    took(1000, 50);
    const r = await chat(key);
    const id = r.headers.get('x-request-id');
    const row = await until('the row', async () => {
      const shown = await rig.gate.ctl(['request', 'show', id]);
      return shown.code === 0 && shown.json;
    });
    assert.equal(row.id, id);
    assert.equal(row.key, key.id);
    assert.deepEqual([row.input_tokens, row.output_tokens, row.cost_usd],
      [1000, 50, '0.002500000']);
    assert.equal(r.headers.get('x-tollgate-cost-usd'), row.cost_usd);
    assert.deepEqual([row.estimated, row.in_doubt, row.unpriced],
      [false, false, false]);
    // the moment that decides in which window it counts
    assert.ok(Math.abs(Date.parse(row.budget_time) - Date.parse(row.time)) <
      60000, row.budget_time);
    assert.match(await plain('request', 'show', id), /^cost_usd +0\.0025/m);
    const none = await rig.gate.ctl(['request', 'show', 'x'.repeat(26)]);
    assert.equal(none.code, 1);
    assert.match(none.stderr, /^tollctl: no row of that id/);
  });

  test('metrics without names of keys or teams', async () => {
    const text = await (await rig.fetch('/metrics')).text();
    const lines = text.split('\n').filter((l) =>
      l.startsWith('tollgate_budget_'));
    const names = new Set(lines.map((l) => /^[a-z_]+/.exec(l)[0]));
    for (const n of ['refusals_total', 'warnings_total', 'waits_total',
      'cuts_total', 'unbounded_total', 'unpriced_total', 'holds', 'held',
      'waiting', 'leases_total', 'lease_failures_total'])
      assert.ok(names.has(`tollgate_budget_${n}`), n);
    const labels = new Set(lines.flatMap((l) =>
      [...l.matchAll(/(\w+)="([^"]*)"/g)].map((m) => `${m[1]}=${m[2]}`)));
    assert.deepEqual([...labels].sort(), ['owner=key', 'owner=team',
      'unit=input_tokens', 'unit=output_tokens', 'unit=tokens', 'unit=usd',
      'window=day', 'window=hour', 'window=minute', 'window=month',
      'window=total', 'window=week']);
    for (const l of lines) assert.match(l, / \d+(\.\d+)?$/);
  });

  describe('soft budgets', () => {
    const warning = (r) => r.headers.get('x-tollgate-budget-warning');
    const linesOf = (what) => rig.gate.log.split('\n').filter((l) =>
      l.includes('a soft budget is passed') && l.includes(what));

    test('warn in every reply from when they are passed, and refuse nothing',
      async () => {
        const key = await createKey('--budget', '100-tokens/total', '--soft');
        const at = 'owner="key",unit="tokens",window="total"';
        const counted = await metric('budget_warnings_total', at);
        took(90, 10);
        assert.equal(warning(await chat(key)), null);
        assert.equal(warning(await chat(key)), null, 'all of it is not past it');
        assert.equal((await budgetsOf(key))[0].left, 0);
        const told = await chat(key);
        assert.equal(told.status, 200);
        assert.equal(warning(told), 'key;budget="100-tokens/total";spent="200"');
        // errors and answers of the gateway's own carry it, too
        const auth = { authorization: `Bearer ${key.key}` };
        for (const [p, body, status] of [['/v1/models', undefined, 200],
          ['/v1/chat/completions', 'no JSON', 400]]) {
          const r = await rig.fetch(p, { headers: auth, body });
          await r.arrayBuffer();
          assert.equal(r.status, status);
          assert.match(warning(r), /^key;.*spent="300"$/);
        }
        assert.equal(await metric('budget_warnings_total', at), counted + 3);
      });

    test('one line of the log for each budget and window', async () => {
      const team = `soft ${++serial}`;
      await json('team', 'create', team, '--budget', '150-tokens/month',
        '--soft');
      const key = await createKey('--team', team, '--soft',
        '--budget', '100-output-tokens/day', '--budget', '$0.000001/total');
      took(90, 10);
      for (let i = 0; i < 4; i++) await chat(key);
      await until('the lines', () => linesOf(key.id).length +
        linesOf(`team=${team}`).length >= 2);
      assert.equal(linesOf(key.id).length, 1);
      assert.match(linesOf(key.id)[0],
        /budget=\$0\.000001\/total spent=0\.000280000/);
      assert.equal(linesOf(`team=${team}`).length, 1);
      assert.match(linesOf(`team=${team}`)[0],
        /budget=150-tokens\/month spent=200 resets=\d{4}-\d\d-01T00:00:00/);
      const r = await chat(key);
      assert.match(warning(r), new RegExp(
        '^key;budget="\\$0.000001/total";spent="0.001120000", ' +
        'team;budget="150-tokens/month";spent="400";' +
        'resets="\\d{4}-\\d\\d-01T00:00:00.000Z"$'));
      assert.equal(await metric('budget_warnings_total',
        'owner="key",unit="output_tokens",window="day"'), 0);
    });

    test('raised above what is spent they are silent, lowered they warn',
      async () => {
        const key = await createKey('--budget', '10-tokens/total', '--soft');
        took(90, 10);
        await chat(key);
        assert.notEqual(warning(await chat(key)), null);
        await json('key', 'update', key.id, '--budget', '1k-tokens/total',
          '--soft');
        assert.equal(warning(await chat(key)), null);
        await json('key', 'update', key.id, '--budget', '20-tokens/total',
          '--soft');
        assert.match(warning(await chat(key)),
          /budget="20-tokens\/total";spent="300"/);
        await json('key', 'update', key.id, '--budget', 'none');
        assert.equal(warning(await chat(key)), null);
      });

    test('a stream warns in its head', async () => {
      const key = await createKey('--budget', '1-tokens/total', '--soft');
      await chat(key);
      const r = await chat(key, { stream: true });
      assert.equal(r.status, 200);
      assert.match(r.text_, /data: \[DONE\]/);
      assert.match(warning(r), /^key;budget="1-tokens\/total"/);
    });
  });
});
