// Hard budgets under a crowd: of a thousand clients at once exactly as many
// are served as the budget affords, on one worker and on four, for keys, for
// teams and for both; and who is refused is told why, in words that the
// official clients obey.

import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, test } from 'node:test';

import { OpenAI } from 'openai';

import { crowd, dollars, noneHeld, rowsOf, standOf, startPriced }
  from './lib/budget.mjs';
import { ask } from './lib/openai.mjs';
import { GATE_ONLY } from './lib/rig.mjs';
import { until } from './lib/until.mjs';

const AFFORDS = 37;
const CLIENTS = 1000;
const CAP = 64;

const PRICES = [
  { model: 'by-token', input: 0, output: 10 },
  { model: 'by-request', input: 0, output: 0, request: 0.01 },
  { model: '*', input: 2, output: 10 },
];

/** What a request of each kind takes of the budget, to the last token. */
const KINDS = [
  { name: 'output tokens', model: 'demo', each: () => CAP,
    spec: (n) => `${n}-output-tokens/total` },
  { name: 'output tokens, streamed', model: 'demo', each: () => CAP,
    spec: (n) => `${n}-output-tokens/month`, stream: true },
  { name: 'all tokens', model: 'demo', each: (bound) => bound,
    spec: (n) => `${n}-tokens/day`, told: true },
  { name: 'money by the token', model: 'by-token', each: () => CAP * 10000,
    spec: (n) => `${dollars(n)}/total` },
  { name: 'money by the request', model: 'by-request', each: () => 1e7,
    spec: (n) => `${dollars(n)}/week` },
];

/** Who has the budget, and whose keys ask. */
const OWNERS = {
  'a key': async (rig, spec) => ({
    noun: 'key', keys: [await rig.key_('--budget', spec(AFFORDS))] }),
  'a team of three keys': async (rig, spec) => {
    const team = await rig.team_('--budget', spec(AFFORDS));
    const keys = [];
    for (let i = 0; i < 3; i++) keys.push(await rig.key_('--team', team));
    return { noun: 'team', name: team, keys };
  },
  'both': async (rig, spec) => {
    const team = await rig.team_('--budget', spec(AFFORDS));
    const keys = [];
    for (let i = 0; i < 3; i++)
      keys.push(await rig.key_('--team', team, '--budget', spec(20)));
    return { noun: 'team', name: team, keys, ofKey: 20 };
  },
};

/** What a request says; its answer is as long as its cap. */
const body = (kind) => ask('count to 64',
  { model: kind.model, max_tokens: CAP, stream: kind.stream });

/** One call of an official client, read to its end. */
async function call(client, kind) {
  const reply = await client.chat.completions.create(body(kind));
  if (!kind.stream) return reply.usage.completion_tokens;
  let n = 0;
  for await (const c of reply) if (c.choices[0]?.delta.content) n += 1;
  return n;
}

const REFUSAL = new RegExp('^429 The budget of this key(\'s team)? does not ' +
  'cover this request: (\\$?[0-9.,]+\\S*)/(\\w+) has (\\S+)( \\w+)* left, ' +
  'and the request may take (\\S+)( \\w+)* or more\\. ' +
  '(It is for all time\\.|It begins anew at \\S+, in \\S+\\.)$');

/** What a refused client must see. */
function assertRefusal(e, { team, window } = {}) {
  assert.ok(e instanceof OpenAI.RateLimitError, String(e));
  assert.deepEqual([e.status, e.code, e.type, e.param],
    [429, 'insufficient_quota', 'insufficient_quota', null]);
  assert.equal(e.headers.get('x-should-retry'), 'false');
  assert.equal(e.headers.get('retry-after'), null);
  const m = REFUSAL.exec(e.message);
  assert.ok(m, e.message);
  if (team !== undefined) assert.equal(m[1] !== undefined, team, e.message);
  if (window) assert.equal(m[3], window);
}

function helpers(rig) {
  let serial = 0;
  rig.key_ = (...args) => rig.gate.createKey(`k${++serial}`, ...args);
  rig.team_ = async (...args) => {
    const name = `team-${++serial}`;
    await rig.gate.must(['team', 'create', name, ...args]);
    return name;
  };
  return rig;
}

for (const workers of [1, 4])
  describe(`a crowd, ${workers} workers`, GATE_ONLY, () => {
    let rig;
    let bound; // of all tokens of a request

    before(async () => {
      rig = helpers(await startPriced(PRICES, { config: { workers } }));
      const key = await rig.key_('--budget', '1M-tokens/total');
      const script = rig.up.script({ gateAfter: 'head' });
      const asked = crowd(rig, [key], 1, (c) =>
        call(c, { model: 'demo' }));
      await script.reached;
      bound = (await standOf(rig, 'key', key.id))[0].held;
      script.open();
      await asked;
      assert.ok(bound > CAP + 4, `${bound}`);
    });
    beforeEach(() => rig.up.clear());
    after(() => rig?.close());

    for (const [owner, make] of Object.entries(OWNERS))
      for (const kind of KINDS)
        test(`${owner}, ${kind.name}: ${AFFORDS} of ${CLIENTS}`, async () => {
          const each = kind.each(bound);
          const { noun, name, keys, ofKey } = await make(rig,
            (n) => kind.spec((n + 1) * each - 1));
          const before = (await rowsOf(rig)).length;
          // the provider takes all that it was allowed
          if (kind.told) rig.up.script({ times: CLIENTS, edit: (plan, rec) => {
            const o = JSON.parse(plan.body);
            rec.cost.input = o.usage.prompt_tokens = bound - CAP;
            plan.body = Buffer.from(JSON.stringify(o));
          } });
          const { served, errors, sent } = await crowd(rig, keys, CLIENTS,
            (c) => call(c, kind));
          assert.equal(served.length, AFFORDS);
          assert.ok(served.every((n) => n === CAP));
          for (const e of errors)
            assertRefusal(e, ofKey ? {} : { team: noun === 'team' });
          assert.equal(sent, CLIENTS, 'nobody asks again');
          assert.equal(rig.up.hits, AFFORDS, 'what reached the provider');
          assert.ok(rig.up.requests.every((r) => r.caps.max_tokens === CAP));
          assert.equal(rig.up.trueCost().output, AFFORDS * CAP);
          // to the last token: in the budgets, and in the rows
          const [b] = await noneHeld(rig, noun, name ?? keys[0].id);
          assert.equal(b.spent, AFFORDS * each);
          for (const k of ofKey ? keys : []) {
            const [own] = await noneHeld(rig, 'key', k.id);
            assert.ok(own.spent <= ofKey * each, `${own.spent}`);
          }
          const rows = (await rowsOf(rig)).slice(before);
          assert.equal(rows.length, AFFORDS, 'no row of a refusal');
          assert.ok(rows.every((r) => !r.estimated && !r.in_doubt));
        });

    test(`${AFFORDS} at once, and room again when they are done`, async () => {
      const key = await rig.key_('--budget',
        `${AFFORDS * bound + bound - 1}-tokens/total`);
      const script = rig.up.script({ gateAfter: 'head', times: CLIENTS });
      const asked = crowd(rig, [key], CLIENTS, (c) =>
        call(c, { model: 'demo' }));
      await until('as many are served as fit', () =>
        rig.up.inFlight === AFFORDS);
      const [b] = await standOf(rig, 'key', key.id);
      assert.deepEqual([b.spent, b.held], [0, AFFORDS * bound]);
      script.open();
      // they took a fraction of what they held: the others fit now, too
      const { served, errors } = await asked;
      const [own] = await noneHeld(rig, 'key', key.id);
      const { requests, input, output } = rig.up.trueCost();
      assert.equal(requests, served.length);
      assert.ok(served.length > AFFORDS);
      assert.equal(own.spent, input + output);
      assert.ok(own.spent <= own.amount);
      // nobody was refused who would have fitted
      if (errors.length) assert.ok(own.amount - own.spent < bound);
    });
  });
