// What a request holds of hard budgets, and what is sent for it: caps that are
// written, lowered or left alone; holds that are back at once however their
// request ends; many budgets at once, soft ones, and windows that are renewed.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, before, beforeEach, describe, test } from 'node:test';

import Anthropic from '@anthropic-ai/sdk';
import { AzureOpenAI, OpenAI } from 'openai';

import { clientOf, noneHeld, rowsOf, standOf, startPriced }
  from './lib/budget.mjs';
import { ask, collect } from './lib/openai.mjs';
import { RawClient, requestBytes } from './lib/raw.mjs';
import { GATE_ONLY, upstreamEntry } from './lib/rig.mjs';
import { until, within } from './lib/until.mjs';

const PRICES = [{ model: '*', input: 2, output: 10 }];

let rig;
let serial = 0;
const createKey = (...args) => rig.gate.createKey(`h${++serial}`, ...args);

const post = (key, path, json, headers = {}) => rig.fetch(path, {
  ...(typeof json === 'string' ? { body: json } : { json }),
  headers: { authorization: `Bearer ${key.key}`,
    'content-type': 'application/json', ...headers } });

const chat = (key, more = {}) =>
  post(key, '/v1/chat/completions', ask('say ok', more));

/** The status of a reply that is read to its end. */
async function statusOf(promise) {
  const r = await promise;
  await r.text();
  return r.status;
}

const anthropicOf = (key) => new Anthropic(
  { baseURL: rig.origin, apiKey: key.key, maxRetries: 0 });
const azureOf = (key) => new AzureOpenAI({ baseURL: `${rig.origin}/openai`,
  apiKey: key.key, maxRetries: 0, apiVersion: '2024-10-21' });

/** name, the member that its cap is written to, call, answers, and the cap
 * where a test names none. */
const FAMILIES = [
  ['chat', 'max_tokens', (k, cap) => clientOf(rig, k).chat.completions.create(
    ask('say ok', { max_tokens: cap }))],
  ['chat, three answers', 'max_tokens', (k, cap) =>
    clientOf(rig, k).chat.completions.create(
      ask('say ok', { n: 3, max_tokens: cap })), 3],
  ['chat, streamed', 'max_tokens', async (k, cap) =>
    collect(await clientOf(rig, k).chat.completions.create(
      ask('say ok', { stream: true, max_tokens: cap })))],
  ['chat of a newer family', 'max_completion_tokens', (k, cap) =>
    clientOf(rig, k).chat.completions.create(ask('say ok',
      { model: 'gpt-5-mini', max_completion_tokens: cap }))],
  ['azure', 'max_completion_tokens', (k, cap) =>
    azureOf(k).chat.completions.create(ask('say ok',
      { model: 'az-gpt', max_completion_tokens: cap }))],
  ['completions', 'max_tokens', (k, cap) =>
    clientOf(rig, k).completions.create(
      { model: 'demo', prompt: 'say ok', max_tokens: cap }), 1, 16],
  ['responses', 'max_output_tokens', (k, cap) =>
    clientOf(rig, k).responses.create(
      { model: 'demo', input: 'say ok', max_output_tokens: cap })],
  ['messages', 'max_tokens', (k, cap) => anthropicOf(k).messages.create(
    { model: 'claude-x', max_tokens: cap ?? 8000,
      messages: [{ role: 'user', content: 'say ok' }] }), 1, 8000],
];

/** The bytes that were put into <sent> to make <got>, nothing else changed. */
function inserted(sent, got) {
  let a = 0;
  while (a < sent.length && sent[a] === got[a]) a += 1;
  let b = 0;
  while (b < sent.length - a &&
    sent[sent.length - 1 - b] === got[got.length - 1 - b]) b += 1;
  assert.equal(a + b, sent.length, `changed: ${sent} to ${got}`);
  return got.slice(a, got.length - b);
}

describe('holds', GATE_ONLY, () => {
  before(async () => {
    rig = await startPriced(PRICES, { config: (up) => ({
      budgets: { wait: '0s', drain: '0s' },
      upstreams: [upstreamEntry(up, { models: ['demo', 'gpt-*'],
        timeouts: { first_byte: '300ms' } }),
        { name: 'az', base_url: up.origin, dialect: 'azure',
          api_key: 'env:E2E_UPSTREAM_KEY', models: ['az-*'] },
        { ...upstreamEntry(up), name: 'claude', dialect: 'anthropic',
          models: ['claude-*'] }] }) });
  });
  beforeEach(() => rig.clear());
  after(() => rig?.close());

  for (const [name, member, call, n = 1, must] of FAMILIES)
    describe(`caps: ${name}`, () => {
      const caps = () => rig.up.last.caps;

      test('none: the default is written', async () => {
        const key = await createKey('--budget', '1M-output-tokens/total');
        await call(key);
        assert.deepEqual(caps(), { [member]: must ?? 4096 });
      });

      test('lowered to what is left', async () => {
        const key = await createKey('--budget', '1000-output-tokens/total');
        await call(key, 5000);
        assert.deepEqual(caps(), { [member]: Math.floor(1000 / n) });
        const [b] = await noneHeld(rig, 'key', key.id);
        await call(key, 5000);
        assert.deepEqual(caps(),
          { [member]: Math.floor((1000 - b.spent) / n) });
      });

      test('what fits stays as it is', async () => {
        const key = await createKey('--budget', '1000-output-tokens/total');
        await call(key, 30);
        assert.deepEqual(caps(), { [member]: 30 });
      });

      test('never below what is worth it, nor below a smaller own one',
        async () => {
          const key = await createKey('--budget',
            `${n * 64 - 1}-output-tokens/total`);
          await assert.rejects(call(key, 64), { status: 429 });
          if ((must ?? 4096) >= 64)
            await assert.rejects(call(key), { status: 429 });
          assert.equal(rig.up.hits, 0);
          await call(key, 20);
          assert.deepEqual(caps(), { [member]: 20 });
        });
    });

  describe('bodies', () => {
    const odd = '{ "messages" :[{"role":"user",\n"content":"say \\u00e9"}],' +
      '\t"model":"demo" , "temperature":1e0, "top_p":1.00 }';

    test('nothing but the cap is put there', async () => {
      const key = await createKey('--budget', '$5/total');
      assert.equal(await statusOf(post(key, '/v1/chat/completions', odd)), 200);
      assert.match(inserted(odd, rig.up.last.body.toString()),
        /^,? *"max_tokens": *4096 *,?$/);
    });

    test('nothing but its number is changed', async () => {
      const key = await createKey('--budget', '500-output-tokens/total');
      const with_ = (cap) => odd.replace('"model"',
        `"max_tokens" : ${cap} ,"model"`);
      for (const [cap, sent] of [['9000', '500'], ['99999999',
        '500'], ['500', '500'], ['77', '77']]) {
        const left = (await standOf(rig, 'key', key.id))[0];
        assert.equal(await statusOf(
          post(key, '/v1/chat/completions', with_(cap))), 200);
        const most = Math.min(Number(sent), left.amount - left.spent);
        assert.equal(rig.up.last.body.toString(), with_(most));
      }
    });

    test('without a hard budget not a byte is changed', async () => {
      for (const args of [[], ['--budget', '10-tokens/total', '--soft']]) {
        const key = await createKey(...args);
        await statusOf(post(key, '/v1/chat/completions', odd));
        assert.equal(rig.up.last.body.toString(), odd);
      }
    });
  });

  describe('refusals', () => {
    test('in the words of each client', async () => {
      const key = await createKey('--budget', '10-output-tokens/month');
      const e = await clientOf(rig, key).chat.completions.create(ask('hi'))
        .catch((x) => x);
      assert.ok(e instanceof OpenAI.RateLimitError);
      assert.equal(e.code, 'insufficient_quota');
      assert.match(e.message, /10-output-tokens\/month has 10 output tokens left/);
      assert.match(e.message, /begins anew at \d{4}-\d\d-01T00:00:00.000Z/);
      const a = await anthropicOf(key).messages.create({ model: 'claude-x',
        max_tokens: 100, messages: [{ role: 'user', content: 'hi' }] })
        .catch((x) => x);
      assert.ok(a instanceof Anthropic.RateLimitError);
      assert.equal(a.error.error.type, 'billing_error');
      assert.match(a.error.error.message, /has 10 output tokens left/);
      assert.equal(rig.up.hits, 0);
      const had = await rowsOf(rig);
      assert.ok(had.every((r) => r.key !== key.id));
    });

    test('of several budgets the one that is short is told', async () => {
      const team = `t${++serial}`;
      await rig.gate.must(['team', 'create', team, '--budget',
        '$0.002/day', '--budget', '1M-tokens/total']);
      const key = await createKey('--team', team, '--budget', '$1/month',
        '--budget', '1M-tokens/minute');
      const r = await chat(key, { max_tokens: 1000 });
      assert.equal(r.status, 200);
      await r.text();
      // so many fit $0.002 beside the bound of the input
      const cap = rig.up.last.caps.max_tokens;
      assert.ok(cap < 200 && cap >= 64, `${cap}`);
      await rig.gate.must(['team', 'update', team, '--budget',
        '$0.0005/day', '--budget', '1M-tokens/total']);
      const no = await chat(key, { max_tokens: 1000 });
      assert.equal(no.status, 429);
      const { message } = (await no.json()).error;
      assert.match(message, /^The budget of this key's team /);
      assert.match(message, / \$0\.0005\/day has \$0\.000484 left, /);
      const all = [...await standOf(rig, 'key', key.id),
        ...await standOf(rig, 'team', team)];
      // input 3, output 1
      assert.deepEqual(all.map((b) => [b.unit, b.spent, b.held]),
        [['usd', 16000, 0], ['tokens', 4, 0], ['usd', 16000, 0],
          ['tokens', 4, 0]]);
    });

    test('soft ones beside hard ones do not refuse', async () => {
      const team = `t${++serial}`;
      await rig.gate.must(['team', 'create', team, '--soft', '--budget',
        '1-tokens/total']);
      const key = await createKey('--team', team, '--budget',
        '10k-tokens/total');
      for (let i = 0; i < 5; i++)
        assert.equal(await statusOf(chat(key, { max_tokens: 50 })), 200);
      assert.equal((await standOf(rig, 'team', team))[0].spent, 20);
    });
  });

  describe('are back at once', () => {
    /** A budget for one request at a time, of so many, that take all. */
    const single = (times) => createKey('--budget',
      `${100 * times + 99}-output-tokens/total`);
    const hundred = { max_tokens: 100 };

    test('one after another, a hundred times', async () => {
      const key = await createKey('--budget', '300-output-tokens/total');
      for (let i = 0; i < 100; i++) {
        const r = await chat(key, { max_tokens: 200, stream: i % 2 === 1 });
        assert.equal(r.status, 200);
        await r.text();
      }
      const [b] = await standOf(rig, 'key', key.id);
      assert.deepEqual([b.spent, b.held], [100, 0]);
    });

    for (const [how, fault, status, charged] of [
      ['a whole error', { fault: 'status', code: 500 }, 500, 0],
      ['a limit of the provider', { fault: 'rate_limit' }, 429, 0],
      ['a refusal', { fault: 'status', code: 400 }, 400, 0],
      ['no usage told', { fault: 'no_usage' }, 200, 100],
      ['a reset before the head', { fault: 'reset', at: 0 }, 502, 100],
      ['a reset within the body', { fault: 'reset', body: 5 }, 502, 100],
      ['a body that is too short', { fault: 'truncate', body: 9 }, 502, 100],
      ['silence', { fault: 'hang_headers' }, 504, 100]])
      test(`${how}: ${charged ? 'charged in full' : 'free'}`, async () => {
        const key = await single(charged ? 2 : 1);
        rig.up.script(fault);
        assert.equal(await statusOf(chat(key, hundred)), status);
        const [b] = await standOf(rig, 'key', key.id);
        assert.deepEqual([b.held, b.spent], [0, charged]);
        await rig.clear();
        assert.equal(await statusOf(chat(key, hundred)), 200);
        assert.equal((await standOf(rig, 'key', key.id))[0].spent, charged + 1);
        const rows = (await rowsOf(rig)).filter((r) => r.key === key.id);
        assert.deepEqual(rows.map((r) => r.estimated || r.in_doubt),
          [charged > 0, false]);
      });

    test('a connection that is refused: free', async () => {
      const key = await single(1);
      await rig.up.refuse();
      try {
        assert.equal(await statusOf(chat(key, hundred)), 503);
      } finally {
        await rig.up.listen();
      }
      const [b] = await standOf(rig, 'key', key.id);
      assert.deepEqual([b.held, b.spent], [0, 0]);
      assert.equal(await statusOf(chat(key, hundred)), 200);
    });

    test('its client leaves before the provider answers', async () => {
      const key = await single(2);
      const script = rig.up.script({ gateAfter: 'head' });
      const c = await RawClient.connect(rig.address);
      await c.send(requestBytes('POST', '/v1/chat/completions',
        [['Authorization', `Bearer ${key.key}`],
          ['Content-Type', 'application/json']],
        JSON.stringify(ask('say ok', hundred))));
      const rec = await script.reached;
      assert.equal((await standOf(rig, 'key', key.id))[0].held, 100);
      c.destroy();
      await within(rec.whenAborted(), 'the provider to be told');
      const [b] = await noneHeld(rig, 'key', key.id);
      assert.equal(b.spent, 100);
      assert.equal(await statusOf(chat(key, hundred)), 200);
    });
  });
});

const FAKETIME = ['/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1',
  '/usr/lib/faketime/libfaketimeMT.so.1',
  '/usr/lib64/faketime/libfaketimeMT.so.1'].find((f) => fs.existsSync(f));

describe('windows', { skip: GATE_ONLY.skip ||
  (!FAKETIME && 'needs libfaketime') }, () => {
  test('a budget is whole again with the next minute, hour, day, month',
    async () => {
      const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'tg-clock-'));
      const file = path.join(dir, 'now');
      const set = (at) => {
        fs.writeFileSync(`${file}.new`, at.replace(/[TZ]/g, ' ').trim());
        fs.renameSync(`${file}.new`, file);
      };
      set('2027-01-30T23:58:20Z');
      const own = await startPriced(PRICES, { env: { TZ: 'UTC',
        LD_PRELOAD: FAKETIME, FAKETIME_TIMESTAMP_FILE: file,
        FAKETIME_NO_CACHE: '1', DONT_FAKE_MONOTONIC: '1' } });
      try {
        rig = own;
        const keys = {};
        for (const w of ['minute', 'hour', 'day', 'week', 'month', 'total'])
          keys[w] = await createKey('--budget', `100-output-tokens/${w}`);
        const open = async () => {
          const found = [];
          for (const [w, key] of Object.entries(keys)) {
            const s = await statusOf(post(key, '/v1/chat/completions',
              ask('count to 90', { max_tokens: 90 })));
            if (s === 200) found.push(w);
            else assert.equal(s, 429);
          }
          return found;
        };
        const at = async (time) => {
          set(time);
          return open();
        };
        assert.equal((await open()).length, 6);
        assert.deepEqual(await open(), []);
        assert.deepEqual(await at('2027-01-30T23:59:10Z'), ['minute']);
        assert.deepEqual(await at('2027-01-31T00:00:05Z'),
          ['minute', 'hour', 'day']);
        assert.deepEqual(await at('2027-02-01T00:00:05Z'),
          ['minute', 'hour', 'day', 'week', 'month']);
        // a clock that goes back renews nothing, nor forgets what is spent
        assert.deepEqual(await at('2027-01-30T23:58:30Z'), []);
        assert.deepEqual(await at('2027-02-01T00:00:30Z'), []);
        assert.deepEqual(await at('2027-02-01T00:01:30Z'), ['minute']);
      } finally {
        await own.close();
        fs.rmSync(dir, { recursive: true, force: true });
      }
    });
});
