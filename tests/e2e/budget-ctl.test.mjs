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
  const want = `tollgate_${name}${labels ? `{${labels}}` : ''} `;
  assert.match(text, new RegExp(`^# TYPE tollgate_${name} `, 'm'));
  const line = text.split('\n').find((l) => l.startsWith(want));
  return line ? Number(line.slice(want.length)) : 0;
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

  test('--soft says it of the budget before it, or of all that follow',
    async () => {
      const softs = async (...args) =>
        (await createKey(...args)).budgets.map((b) => b.soft);
      const [a, b] = [['--budget', '$1/day'], ['--budget', '$2/day']];
      assert.deepEqual(await softs(...a, '--soft', ...b), [true, false]);
      assert.deepEqual(await softs(...a, ...b, '--soft'), [false, true]);
      assert.deepEqual(await softs('--soft', ...a, ...b), [true, true]);
      assert.deepEqual(await softs(...a, '--soft', '--soft', '--rpm', '1',
        ...b, '--soft'), [true, true]);
      assert.deepEqual(await softs(...a, ...b), [false, false]);
      const team = await json('team', 'create', `soft ${++serial}`, ...a, ...b,
        '--soft');
      assert.deepEqual(team.budgets.map((x) => x.soft), [false, true]);
      const key = await createKey(...a);
      for (const bad of [['--soft'], ['--budget', 'none', '--soft'],
        ['--budget', 'soft', '--soft']])
        assert.equal((await rig.gate.ctl(
          ['key', 'update', key.id, ...bad])).code, 1, bad.join(' '));
      assert.deepEqual((await budgetsOf(key)).map((x) => x.soft), [false]);
    });

  test('a hard one beside a soft one holds, and the soft one warns',
    async () => {
      const key = await createKey('--budget', '100-output-tokens/total',
        '--budget', '40-output-tokens/total', '--soft');
      const all = [];
      took(2, 30);
      for (let i = 0; i < 5; i++)
        all.push(await chat(key, { max_tokens: 30 }));
      assert.deepEqual(all.map((r) => r.status), [200, 200, 200, 429, 429]);
      assert.deepEqual(all.map((r) =>
        r.headers.get('x-tollgate-budget-warning')?.match(/spent="(\d+)"/)[1]),
      [undefined, undefined, '60', '90', '90']);
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

  test('what is spent stays with its owner, whatever is changed', async () => {
    const team = `kept ${++serial}`;
    const budget = ['--budget', '1k-tokens/total'];
    await json('team', 'create', team, ...budget);
    let key = await createKey('--team', team, ...budget);
    took(90, 10);
    await chat(key);
    const spent = async () => [(await budgetsOf(key))[0].spent,
      (await teamBudgets(team))[0].spent];
    assert.deepEqual(await spent(), [100, 100]);
    key = await json('key', 'rotate', key.id);
    rig.gate.secrets.push(key.key);
    await json('key', 'update', key.id, '--name', `renamed ${++serial}`);
    await chat(key);
    assert.deepEqual(await spent(), [200, 200]);
    await json('key', 'update', key.id, '--budget', 'none');
    await chat(key);
    await json('key', 'update', key.id, ...budget);
    assert.deepEqual(await spent(), [300, 300]);
    // out of the team; a team of the same name has what the first one spent
    await json('key', 'update', key.id, '--team', '');
    await chat(key);
    assert.deepEqual(await spent(), [400, 300]);
    await json('team', 'delete', team);
    await json('team', 'create', team, ...budget);
    assert.deepEqual(await spent(), [400, 300]);
    await rig.gate.reload();
    assert.deepEqual(await spent(), [400, 300]);
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
    const names = new Set([...text.matchAll(/^# TYPE (\S+)/gm)].map((m) =>
      m[1]));
    for (const n of ['refusals_total', 'warnings_total', 'waits_total',
      'cuts_total', 'unbounded_total', 'unpriced_total', 'holds', 'held',
      'waiting', 'leases_total', 'lease_failures_total'])
      assert.ok(names.has(`tollgate_budget_${n}`), n);
    const labels = new Set(lines.flatMap((l) =>
      [...l.matchAll(/(\w+)="([^"]*)"/g)].map((m) => `${m[1]}=${m[2]}`)));
    const known = ['owner=key', 'owner=team', 'unit=input_tokens',
      'unit=output_tokens', 'unit=tokens', 'unit=usd', 'window=day',
      'window=hour', 'window=minute', 'window=month', 'window=total',
      'window=week'];
    assert.deepEqual([...labels].filter((l) => !known.includes(l)), []);
    assert.ok(labels.has('unit=usd'));
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
        /budget=\$0\.000001\/total spent=0\.00028 ?/);
      assert.equal(linesOf(`team=${team}`).length, 1);
      assert.match(linesOf(`team=${team}`)[0],
        /budget=150-tokens\/month spent=200 resets=\d{4}-\d\d-01T00:00:00/);
      const r = await chat(key);
      assert.match(warning(r), new RegExp(
        '^key;budget="\\$0.000001/total";spent="0.00112", ' +
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

    test('as many as a header has room for, each whole', async () => {
      const specs = Array.from({ length: 64 }, (_, i) =>
        ['--budget', `${i + 1}-tokens/month`]).flat();
      const key = await createKey('--soft', ...specs);
      took(900, 100);
      assert.equal(warning(await chat(key)), null);
      const r = await chat(key);
      assert.equal(r.status, 200);
      const items = warning(r).split(', ');
      assert.ok(items.length > 5 && items.length < 64, `${items.length}`);
      assert.ok(warning(r).length <= 2048);
      items.forEach((x, i) => assert.match(x, new RegExp(`^key;budget="` +
        `${i + 1}-tokens/month";spent="1000";resets="\\d{4}-\\d\\d-01T[^"]*"$`)));
      await until('all lines', () => linesOf(key.id).length >= 64);
      await chat(key);
      assert.equal(linesOf(key.id).length, 64);
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

describe('budgets while requests are under way', GATE_ONLY, () => {
  let script;

  before(async () => {
    rig = await startRig({ config: { workers: 4,
      budgets: { wait: '5m', stream_hold: 32, min_output: 64 } } });
  });
  beforeEach(() => rig.up.clear());
  after(() => rig?.close());

  /** Requests stop at the provider, until script.open(). */
  const stopped = () => (script = rig.up.script(
    { gateAfter: 'head', times: 1000 }));
  const inFlight = (n) => until(`${n} at the provider`, () =>
    rig.up.inFlight === n);
  const statusOf = async (what) => (await json('status')).budgets[what];
  const waiting = (n) => until(`${n} wait`, async () =>
    (await statusOf('waiting')) === n);
  const set = (key, ...specs) => json('key', 'update', key.id,
    ...specs.flatMap((x) => ['--budget', x]));
  const capSent = (i) => {
    const o = JSON.parse(rig.up.requests[i].body);
    return o.max_completion_tokens ?? o.max_tokens;
  };

  test('what they hold is told, and comes back', async () => {
    const team = `busy ${++serial}`;
    await json('team', 'create', team, '--budget', '50k-output-tokens/day');
    const key = await createKey('--team', team,
      '--budget', '10k-tokens/total');
    stopped();
    const all = [chat(key, { max_tokens: 200 }),
      chat(key, { max_tokens: 300 })];
    await inFlight(2);
    const [b] = await budgetsOf(key);
    assert.equal(b.spent, 0);
    assert.ok(b.held > 500 && b.held < 2000, `${b.held} held`);
    assert.equal(b.left, 10000 - b.held);
    assert.deepEqual((await teamBudgets(team)).map((x) => [x.held, x.left]),
      [[500, 49500]]);
    assert.equal(await statusOf('holds'), 2);
    assert.equal(await metric('budget_held', 'unit="tokens"'), b.held);
    assert.equal(await metric('budget_held', 'unit="output_tokens"'), 500);
    assert.match(await plain('key', 'show', key.id), new RegExp(
      `^10,000 tokens/total +0 +0% +${b.held.toLocaleString('en')} `, 'm'));
    script.open();
    for (const r of await Promise.all(all)) assert.equal(r.status, 200);
    const [now] = await budgetsOf(key);
    assert.equal(now.held, 0);
    const [sum] = await rig.gate.usageOf(2, '--key', key.id);
    assert.equal(now.spent, sum.input_tokens + sum.output_tokens);
    assert.equal(await statusOf('holds'), 0);
    assert.equal(await metric('budget_held', 'unit="tokens"'), 0);
  });

  test('refusals are counted by whose budget it was', async () => {
    const team = `spent ${++serial}`;
    await json('team', 'create', team, '--budget', '1-input-tokens/week');
    const of = { key: await createKey('--budget', '0-output-tokens/hour'),
      team: await createKey('--team', team) };
    const labels = { key: 'owner="key",unit="output_tokens",window="hour"',
      team: 'owner="team",unit="input_tokens",window="week"' };
    for (const [owner, key] of Object.entries(of)) {
      const r = await chat(key);
      assert.equal(r.status, 429, r.text_);
      const { error } = JSON.parse(r.text_);
      assert.deepEqual([error.type, error.code],
        ['insufficient_quota', 'insufficient_quota']);
      assert.equal(r.headers.get('x-should-retry'), 'false');
      assert.equal(r.headers.get('retry-after'), null);
      assert.equal(await metric('budget_refusals_total', labels[owner]), 1);
      await rig.gate.accessRow('the refusal', (a) =>
        a.id === r.headers.get('x-request-id') && a.reason === 'quota');
    }
    assert.equal(rig.up.hits, 0);
  });

  test('a raised budget lets those pass that wait for it', async () => {
    const key = await createKey('--budget', '1k-output-tokens/total');
    stopped();
    const one = chat(key, { max_tokens: 900 });
    await inFlight(1);
    const two = chat(key, { max_tokens: 900 });
    await waiting(1);
    assert.equal(rig.up.hits, 1);
    await set(key, '1500-output-tokens/total'); // still not enough
    await set(key, '2k-output-tokens/total');
    await inFlight(2);
    script.open();
    for (const r of await Promise.all([one, two]))
      assert.equal(r.status, 200);
    assert.deepEqual([capSent(0), capSent(1)], [900, 900]);
  });

  test('a team\'s, too; and no budget any more', async () => {
    const team = `raise ${++serial}`;
    await json('team', 'create', team, '--budget', '1k-output-tokens/total');
    const key = await createKey('--team', team);
    stopped();
    const asked = [chat(key, { max_tokens: 900 })];
    await inFlight(1);
    asked.push(chat(key, { max_tokens: 900 }));
    await waiting(1);
    await json('team', 'update', team, '--budget', '2k-output-tokens/total');
    await inFlight(2);
    asked.push(chat(key, { max_tokens: 900 }));
    await waiting(1);
    await json('team', 'update', team, '--budget', 'none');
    await inFlight(3);
    script.open();
    for (const r of await Promise.all(asked)) assert.equal(r.status, 200);
    const [b] = (await json('team', 'update', team,
      '--budget', '2k-output-tokens/total')).budgets;
    const [sum] = await rig.gate.usageOf(3, '--team', team);
    assert.deepEqual([b.spent, b.held], [sum.output_tokens, 0]);
  });

  test('a lowered one bounds those that wait', async () => {
    const key = await createKey('--budget', '1k-output-tokens/total');
    took(1, 400, { gateAfter: 'head' });
    script = rig.up.scripts[0];
    const one = chat(key, { max_tokens: 900 });
    await inFlight(1);
    const two = chat(key, { max_tokens: 500 });
    await waiting(1);
    await set(key, '600-output-tokens/total');
    await waiting(1);
    assert.equal((await budgetsOf(key))[0].left, 0, 'held is more than that');
    script.open();
    assert.equal((await one).status, 200);
    assert.equal((await two).status, 200);
    assert.deepEqual([capSent(0), capSent(1)], [900, 200]);
  });

  test('a budget for nothing refuses those that wait', async () => {
    const key = await createKey('--budget', '1k-output-tokens/total');
    stopped();
    const one = chat(key, { max_tokens: 900 });
    await inFlight(1);
    const two = chat(key, { max_tokens: 900 });
    await waiting(1);
    await set(key, '0-output-tokens/total');
    const r = await two;
    assert.equal(r.status, 429);
    assert.match(JSON.parse(r.text_).error.message, /0-output-tokens\/total/);
    script.open();
    assert.equal((await one).status, 200);
    assert.equal(rig.up.hits, 1);
  });

  test('a lowered one cuts a stream that goes on', async () => {
    const key = await createKey('--budget', '100k-output-tokens/total');
    script = rig.up.script({ gateAfter: 40 });
    const r = await rig.fetch('/v1/chat/completions', {
      json: ask('count to 2000', { stream: true }),
      headers: { authorization: `Bearer ${key.key}` } });
    assert.equal(r.status, 200);
    const text = r.text();
    await script.reached;
    await set(key, '300-output-tokens/total');
    script.open();
    const events = (await text).split('\n').filter((l) =>
      l.startsWith('data: ')).map((l) => l.slice(6));
    assert.notEqual(events.at(-1), '[DONE]');
    const { error } = JSON.parse(events.at(-1));
    assert.equal(error.code, 'budget_cut');
    const [b] = await until('it is settled', async () => {
      const all = await budgetsOf(key);
      return all[0].held === 0 && all;
    });
    assert.ok(b.spent <= 300, `${b.spent} spent`);
    assert.ok(b.spent > 200, `${b.spent} spent`);
    assert.equal(await metric('budget_cuts_total'), 1);
  });

  test('a soft one that a crowd passes is told once in the log', async () => {
    const team = `crowd ${++serial}`;
    await json('team', 'create', team, '--budget', '500-tokens/month',
      '--soft');
    const key = await createKey('--team', team);
    took(9, 1);
    const all = await Promise.all(Array.from({ length: 120 }, () =>
      chat(key)));
    assert.ok(all.every((r) => r.status === 200));
    const lines = () => rig.gate.log.split('\n').filter((l) =>
      l.includes(`a soft budget is passed: team=${team} `));
    await until('the line', () => lines().length > 0);
    const r = await chat(key);
    assert.match(r.headers.get('x-tollgate-budget-warning'),
      /^team;budget="500-tokens\/month";spent="1200";/);
    assert.equal(lines().length, 1);
  });

  test('a new unit is for requests that come after it', async () => {
    const key = await createKey('--budget', '1k-output-tokens/total');
    stopped();
    const one = chat(key, { max_tokens: 900 });
    await inFlight(1);
    const two = chat(key, { max_tokens: 900 });
    await waiting(1);
    await set(key, '2k-output-tokens/total', '1-input-tokens/total');
    const r = await chat(key);
    assert.equal(r.status, 429);
    assert.match(JSON.parse(r.text_).error.message, /1-input-tokens\/total/);
    script.open();
    assert.deepEqual([(await one).status, (await two).status], [200, 200]);
    const shown = await budgetsOf(key);
    assert.ok(shown[1].spent > 1, 'what they took is counted there, too');
  });

  test('budgets changed all the time under load: sums are right', async () => {
    const key = await createKey('--budget', '1M-tokens/total');
    let over = false;
    let most = 0;
    const change = (async () => {
      for (let i = 0; !over; i++) {
        const shown = await set(key, `${[3, 40, 900][i % 3]}k-tokens/total`,
          `${[9, 2][i % 2]}M-output-tokens/month`);
        most = Math.max(most, shown.budgets[0].held);
      }
    })();
    let passed = 0;
    const lane = async () => {
      for (let i = 0; i < 25; i++) {
        const r = await chat(key, { max_tokens: 300 });
        assert.equal(r.status, 200, r.text_);
        passed++;
      }
    };
    await Promise.all(Array.from({ length: 12 }, lane));
    over = true;
    await change;
    assert.ok(passed > 100, `${passed} passed`);
    const [sum] = await rig.gate.usageOf(passed, '--key', key.id);
    const shown = await budgetsOf(key);
    assert.deepEqual(shown.map((b) => [b.spent, b.held]),
      [[sum.input_tokens + sum.output_tokens, 0], [sum.output_tokens, 0]]);
    assert.ok(most > 0, 'something was held meanwhile');
    assert.equal(await statusOf('holds'), 0);
    const r = await rig.gate.ctl(['ledger', 'verify'], { json: false });
    assert.equal(r.code, 0, r.stderr);
  });
});
