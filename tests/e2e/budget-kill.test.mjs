// kill -9 at any instant, under load that runs into its budgets: after every
// restart the provider, who counts for himself, was never asked for more than
// a hard budget has; in the end the rows are what is spent, no id is there
// twice and no answered request lacks its row. One seed reproduces the moments
// of the kills.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import { dollars, rowsOf, standOf, startPriced } from './lib/budget.mjs';
import { ask } from './lib/openai.mjs';
import { prng } from './lib/prng.mjs';
import { GATE_ONLY } from './lib/rig.mjs';
import { DEADLINE_MS, until } from './lib/until.mjs';

const ROUNDS = Number(process.env.E2E_KILL_ROUNDS ?? 100);
/** Requests of a round that the provider never answers. */
const STUCK = 4;
const SEED = Number(process.env.E2E_SEED ?? 20260102);

/** USD per million tokens, so nano-dollars are a thousand times that. */
const PRICE = { input: 2, output: 10 };

const costOf = { tokens: (c) => c.input + c.output,
  'input-tokens': (c) => c.input, 'output-tokens': (c) => c.output,
  usd: (c) => c.input * PRICE.input * 1000 + c.output * PRICE.output * 1000 };

const specOf = (unit, amount, window) => unit === 'usd'
  ? `${dollars(amount)}/${window}` : `${amount}-${unit}/${window}`;

/** An owner of budgets: units, and how much of each a round adds. */
class Owner {
  constructor(rig, noun, name, units) {
    Object.assign(this, { rig, noun, name, units });
    this.amounts = units.map(() => 0);
    this.spent = units.map(() => 0);
    this.truth = { requests: 0, input: 0, output: 0 };
  }

  get args() {
    return this.units.flatMap(([unit, , window], i) =>
      ['--budget', specOf(unit, this.amounts[i], window)]);
  }

  /** Gives each budget a round's amount beyond what is spent. */
  async refill(next) {
    if (this.units.length === 0) return;
    this.amounts = this.units.map(([, round], i) =>
      this.spent[i] + Math.ceil(round * (0.2 + next())));
    await this.rig.gate.must([this.noun, 'update', this.name, ...this.args]);
  }

  /** What its requests truly cost, were the provider deaf to all that becomes
   * of them, is below what is spent, and that is below the budget. */
  async check(round, isMine, bounded) {
    const more = this.rig.up.trueCost({ stubborn: true, of: isMine });
    for (const k of Object.keys(more)) this.truth[k] += more[k];
    const all = await standOf(this.rig, this.noun, this.name);
    this.units.forEach(([unit], i) => {
      const b = all[i];
      const true_ = costOf[unit](this.truth);
      const told = `round ${round}, ${this.noun} ${this.name}, ${unit}: ` +
        `true ${true_}, spent ${b.spent}, held ${b.held}, of ${b.amount}`;
      assert.equal(b.amount, this.amounts[i], told);
      assert.equal(b.held, 0, told);
      if (bounded) assert.ok(true_ <= b.spent, told);
      assert.ok(b.spent <= b.amount, told);
      assert.ok(b.spent >= this.spent[i], told);
      this.spent[i] = b.spent;
    });
  }
}

/** Sends requests of all kinds until the daemon dies. */
async function lane(rig, key, tally, next) {
  for (;;) {
    const kind = next();
    const stream = kind < 0.55;
    const leaves = kind > 0.4 && kind < 0.7;
    const words = 1 + Math.floor(next() * 60);
    const gone = new AbortController();
    try {
      const r = await fetch(`${rig.baseUrl}/chat/completions`, {
        method: 'POST', signal: gone.signal,
        headers: { authorization: `Bearer ${key.key}`, 'x-owner': key.id },
        body: JSON.stringify(ask(`count to ${words}`, { stream,
          ...(next() < 0.5 ? { max_tokens: 40 } : {}) })) });
      if (leaves) {
        if (next() < 0.5) await r.body.getReader().read();
        gone.abort();
        tally.left += 1;
        continue;
      }
      const text = await r.text();
      if (r.status === 429) tally.refused += 1;
      else if (r.status === 502 && tally.lossy) tally.lost += 1;
      else if (r.status !== 200) throw new Error(text);
      else if (!stream || text.endsWith('data: [DONE]\n\n'))
        tally.acked.push(r.headers.get('x-request-id'));
      else if (/"code":"budget_cut"/.test(text)) tally.cut += 1;
      else return;
    } catch (e) {
      if (gone.signal.aborted) continue;
      if (!/fetch failed|terminated/.test(e.message)) tally.odd.push(e.message);
      return;
    }
  }
}

const pick = (next, list) => list[Math.floor(next() * list.length)];

const sumOf = (tally) =>
  tally.acked.length + tally.refused + tally.left + tally.cut + tally.lost;

async function owners(rig) {
  const keys = [];
  const make = (...args) => rig.gate.createKey(`k${keys.length}`, ...args);
  const team = 'crew';
  const crew = new Owner(rig, 'team', team,
    [['output-tokens', 1500, 'total'], ['usd', 3e7, 'total']]);
  await rig.gate.must(['team', 'create', team, ...crew.args]);
  const own = [[['tokens', 6000, 'total']],
    [['usd', 2e7, 'total'], ['output-tokens', 1500, 'total']],
    [['tokens', 8000, 'total']], []];
  const all = [crew];
  for (const [i, units] of own.entries()) {
    const o = new Owner(rig, 'key', '', units);
    keys.push(await make(...(i > 1 ? ['--team', team] : []), ...o.args));
    o.name = keys[i].id;
    all.push(o);
  }
  return { keys, all, crew: keys.slice(2).map((k) => k.id) };
}

/** Which requests of the provider are an owner's. */
const isOf = (o, crew) => (r) => o.noun === 'team'
  ? crew.includes(r.header('x-owner')) : r.header('x-owner') === o.name;

/** What rows, and requests the provider was asked for, come to. */
async function checkRows(rig, all, crew, tally) {
  const rows = await rowsOf(rig);
  const ids = new Set(rows.map((r) => r.id));
  assert.equal(ids.size, rows.length, 'no id twice');
  const lost = tally.acked.filter((id) => !ids.has(id));
  assert.deepEqual(lost, [], 'every answer has its row');
  for (const o of all) {
    const own = rows.filter((r) => o.noun === 'team'
      ? crew.includes(r.key) : r.key === o.name);
    const sum = own.reduce((s, r) => ({ input: s.input + r.input_tokens,
      output: s.output + r.output_tokens,
      nusd: s.nusd + Math.round(Number(r.cost_usd) * 1e9) }),
    { input: 0, output: 0, nusd: 0 });
    const stand = await standOf(rig, o.noun, o.name);
    o.units.forEach(([unit], i) =>
      assert.equal(unit === 'usd' ? sum.nusd : costOf[unit](sum),
        stand[i].spent, `rows of ${o.noun} ${o.name}, ${unit}`));
  }
  return rows;
}

/** Streams hold all of their cap, or a little at a time. */
const MODES = [
  { name: 'requests that hold their cap', hold: 4096, rounds: ROUNDS,
    bounded: true },
  { name: 'streams whose holds grow', hold: 16, rounds: Math.ceil(ROUNDS / 5) },
  { name: 'replies that are lost and asked for again', hold: 4096,
    rounds: Math.ceil(ROUNDS / 3), bounded: true, lossy: true },
];

/** Waits without a pause, so that any moment may be the last. */
async function enough(isSo, what) {
  const end = performance.now() + DEADLINE_MS;
  while (!isSo()) {
    if (performance.now() > end) throw new Error(what());
    await new Promise((r) => setImmediate(r));
  }
}

async function rounds(t, rig, { rounds: n, bounded, lossy = false }) {
  const next = prng(SEED);
  const tally = { acked: [], refused: 0, left: 0, cut: 0, lost: 0, odd: [],
    lossy };
  const { keys, all, crew } = await owners(rig);
  let busy = 0;
  for (let round = 0; round < n; round++) {
    await Promise.all(all.map((o) => o.refill(next)));
    // some streams flow, and a few requests are never answered
    rig.up.gapMs = next() < 0.5 ? 1 : 0;
    const stuck = rig.up.script({ gateAfter: pick(next, ['head', 0, 3, 9]),
      times: STUCK, match: () => next() < 0.05 });
    if (lossy)
      rig.up.script({ fault: 'reset', at: 0, times: 1e9,
        match: () => next() < 0.2 });
    const target = sumOf(tally) + 1 + Math.floor(next() * next() * 150);
    let alive = 16;
    const lanes = keys.flatMap((k) => [0, 1, 2, 3].map(() =>
      lane(rig, k, tally, next).finally(() => { alive -= 1; })));
    await enough(() => sumOf(tally) >= target || alive <= STUCK,
      () => `round ${round}: ${sumOf(tally)} of ${target}, ${alive} lanes, ` +
        `${rig.up.inFlight} at the provider: ${tally.odd}`);
    busy += rig.up.inFlight > 0;
    await rig.gate.kill9();
    await Promise.all(lanes);
    stuck.open();
    await until('the provider is done', () =>
      rig.up.inFlight === 0 && rig.up.open === 0);
    await rig.gate.start();
    await Promise.all(all.map((o) =>
      o.check(round, isOf(o, crew), bounded)));
    rig.up.clear();
  }
  assert.deepEqual(tally.odd, []);
  const rows = await checkRows(rig, all, crew, tally);
  const whole = await rig.gate.ctl(['ledger', 'verify']);
  assert.equal(whole.code, 0, whole.stderr);
  assert.equal(rows.some((r) => r.parent), lossy);
  const [cost, ...of] = all.map((o) => o.truth);
  for (const o of of.slice(0, 2))
    for (const k of Object.keys(cost)) cost[k] += o[k];
  const count = (f) => rows.filter(f).length;
  t.diagnostic(`${n} kills, ${busy} with requests at the provider; ` +
    `${tally.acked.length} answered, ${tally.refused} refused, ` +
    `${tally.left} left, ${tally.cut} cut, ${tally.lost} lost; ` +
    `${rows.length} rows, ${count((r) => r.parent)} legs, ` +
    `${count((r) => r.estimated)} estimated, ` +
    `${count((r) => r.in_doubt)} in doubt; true cost ` +
    `${cost.input} + ${cost.output} tokens`);
}

describe('kill -9 of a daemon that keeps budgets', GATE_ONLY, () => {
  for (const mode of MODES)
    test(`${mode.rounds} rounds of ${mode.name}`, async (t) => {
      const rig = await startPriced([{ model: '*', ...PRICE }], {
        entry: mode.lossy && { retries: { attempts: 3, backoff: '1ms',
          backoff_max: '1ms', retry_ambiguous: true } },
        config: { workers: 4, log: { level: 'warn', format: 'json' },
          budgets: { wait: '50ms', drain: '50ms', min_output: 8,
            default_output: 64, stream_hold: mode.hold } } });
      try {
        await rounds(t, rig, mode);
      } finally {
        await rig.close();
      }
    });
});
