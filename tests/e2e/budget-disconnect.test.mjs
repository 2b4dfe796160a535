// Clients that leave in the middle of a reply, after every byte of it: each is
// charged exactly what the provider says that it cost, or the row says that it
// is estimated and is never below the truth.

import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, test } from 'node:test';

import { noneHeld, rowsOf, startPriced } from './lib/budget.mjs';
import { RawClient, requestBytes } from './lib/raw.mjs';
import { GATE_ONLY, upstreamEntry } from './lib/rig.mjs';
import { within } from './lib/until.mjs';

const LANES = 40;
const CAP = 40;
const SAID = 'say one two three';

const messages = [{ role: 'user', content: SAID }];

/** Path and body of a request in each dialect. */
const DIALECTS = {
  'a plain reply': { path: '/v1/chat/completions', plain: true,
    body: { messages, max_tokens: CAP } },
  chat: { path: '/v1/chat/completions',
    body: { messages, stream: true, max_tokens: CAP } },
  responses: { path: '/v1/responses',
    body: { input: SAID, stream: true, max_output_tokens: CAP } },
  messages: { path: '/v1/messages', model: 'claude-x',
    body: { messages, stream: true, max_tokens: CAP } },
};

/** What becomes of the provider when its client has left. */
const MODES = {
  // it ends soon, and its usage is read all the same
  'a prompt provider': { conf: { drain: '20s' }, budget: true, opens: true,
    exact: true },
  // it says nothing any more: the time for that ends
  'a slow provider': { conf: { drain: '5ms' }, budget: true },
  'drain: 0': { conf: { drain: '0s' }, budget: true,
    dialects: ['chat', 'messages'] },
  'without a hard budget': { conf: {}, dialects: ['chat', 'messages'] },
};

/** Runs f(0) .. f(n - 1), some at a time. */
async function lanes(n, f) {
  let next = 0;
  await Promise.all(Array.from({ length: LANES }, async () => {
    while (next < n) await f(next++);
  }));
}

function bytesFor(rig, key, dialect, tag) {
  const { path, body, model = 'demo' } = DIALECTS[dialect];
  return requestBytes('POST', path, [
    ['Authorization', `Bearer ${key.key}`],
    ['Content-Type', 'application/json'],
    ['anthropic-version', '2023-06-01']],
  JSON.stringify({ model: `${model}-${tag}`, ...body }));
}

/** The whole reply, and how many of its bytes there are after each event. */
async function record(rig, key, dialect) {
  const c = await RawClient.connect(rig.address);
  await c.send(bytesFor(rig, key, dialect, 'rec'));
  const reply = await c.readReply();
  c.destroy();
  assert.equal(reply.status, 200);
  assert.equal(reply.complete, true);
  const head = reply.rawHead.length;
  if (DIALECTS[dialect].plain)
    return { bytes: head + reply.body.length, after: [] };
  const raw = Buffer.concat(reply.rawParts);
  let at = head;
  const after = reply.text.split(/(?<=\n\n)/).map((e) => {
    const from = raw.indexOf(Buffer.from(e), at - head);
    assert.ok(from >= 0, e);
    return (at = head + from + Buffer.byteLength(e));
  });
  return { bytes: head + raw.length, after };
}

describe('a client leaves after every byte', GATE_ONLY, () => {
  for (const [mode, how] of Object.entries(MODES))
    describe(mode, () => {
      let rig;
      before(async () => {
        rig = await startPriced([{ model: '*', input: 2, output: 10 }], {
          config: (up) => ({ budgets: how.conf,
            log: { level: 'warn', format: 'json' },
            upstreams: [upstreamEntry(up), { ...upstreamEntry(up),
              name: 'claude', dialect: 'anthropic', models: ['claude-*'] }],
            routes: [
              { model: 'claude-*', targets: [{ upstream: 'claude' }] },
              { model: '*', targets: [{ upstream: 'up' }] }] }) });
      });
      beforeEach(() => rig.up.clear());
      after(() => rig?.close());
      for (const dialect of how.dialects ?? Object.keys(DIALECTS))
        test(dialect, (t) => everyByte(t, rig, dialect, how));
    });
});

/** How a client leaves. */
const WAYS = [(c) => c.reset(), (c) => c.destroy(), (c) => c.end()];

/** One client that leaves after k bytes; its provider waits behind the event
 * in which that byte is. */
async function leaveAt(rig, key, dialect, k, gateAfter, how) {
  const model = `${DIALECTS[dialect].model ?? 'demo'}-b${k}-`;
  const script = rig.up.script({ gateAfter,
    match: (r) => r.json?.model === model });
  const c = await RawClient.connect(rig.address);
  await c.send(bytesFor(rig, key, dialect, `b${k}-`));
  if (k > 0) await within(c.reader.readExactly(k), `byte ${k}`);
  else await script.reached;
  WAYS[k % WAYS.length](c);
  if (how.opens) script.open();
  const rec = await script.request;
  await within(rec.whenOver(), `the end of ${k}`);
  c.destroy();
  return rec;
}

async function everyByte(t, rig, dialect, how) {
  const key = await rig.gate.createKey(`${dialect}`, ...(how.budget
    ? ['--budget', '100M-tokens/total', '--budget', '$1000/total'] : []));
  const whole = await record(rig, key, dialect);
  const had = (await rowsOf(rig, 1)).length;
  const n = whole.bytes;
  const recs = [];
  await lanes(n, async (k) => {
    const at = whole.after.findIndex((end) => end >= k);
    const gate = k === 0 ? 'head' : at < 0 ? undefined : at + 1;
    recs[k] = await leaveAt(rig, key, dialect, k, gate, how);
  });
  if (how.budget) await noneHeld(rig, 'key', key.id);
  const rows = new Map((await rowsOf(rig, had + n)).slice(had)
    .map((r) => [/-b(\d+)-$/.exec(r.model)?.[1], r]));
  assert.equal(rows.size, n, 'a row for each');
  const seen = { exact: 0, estimated: 0, below: 0 };
  for (let k = 0; k < n; k++) {
    const r = rows.get(String(k));
    const truth = recs[k].truth();
    const told = `byte ${k}: ${JSON.stringify(r)} ${JSON.stringify(truth)}`;
    if (!r.estimated) {
      seen.exact += 1;
      assert.deepEqual([r.input_tokens, r.output_tokens],
        [truth.input, truth.output], told);
      assert.equal(Number(r.cost_usd) * 1e9,
        truth.input * 2000 + truth.output * 10000, told);
      continue;
    }
    seen.estimated += 1;
    if (!how.budget) {
      seen.below += r.input_tokens < truth.input ||
        r.output_tokens < truth.output;
      continue;
    }
    // not even below what a provider had done that did not hear of it
    const most = recs[k].truth(true);
    assert.ok(r.input_tokens >= most.input, told);
    assert.ok(r.output_tokens >= most.output, told);
    assert.ok(Number(r.cost_usd) * 1e9 >=
      most.input * 2000 + most.output * 10000, told);
  }
  t.diagnostic(`${n} bytes: ${seen.exact} exact, ` +
    `${seen.estimated} estimated, ${seen.below} of them below the truth`);
  if (how.exact) assert.equal(seen.exact, n);
  if (!how.budget) return;
  const all = rowsSum(await rowsOf(rig), key.id);
  const [tokens, money] = await noneHeld(rig, 'key', key.id);
  assert.deepEqual([tokens.spent, money.spent], [all.tokens, all.nusd]);
}

/** What the rows of a key sum up to. */
function rowsSum(rows, id) {
  const own = rows.filter((r) => r.key === id);
  return {
    tokens: own.reduce((s, r) => s + r.input_tokens + r.output_tokens, 0),
    nusd: own.reduce((s, r) => s + Math.round(Number(r.cost_usd) * 1e9), 0),
  };
}
