// Requests a minute, tokens a minute and requests at once: exact for keys and
// teams on one worker and on four, told to clients in words they obey, and
// given back however a request ends.

import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, test } from 'node:test';

import Anthropic from '@anthropic-ai/sdk';
import { WebSocket } from 'ws';

import { startEngine } from './lib/engine.mjs';
import { OpenAI, ask, collect } from './lib/openai.mjs';
import { RawClient, requestBytes } from './lib/raw.mjs';
import { prng } from './lib/prng.mjs';
import { GATE_ONLY, startRig } from './lib/rig.mjs';
import { until } from './lib/until.mjs';

/** A client of a key, with as many retries as asked for. */
const clientOf = (rig, key, options = {}) =>
  new OpenAI({
    baseURL: rig.baseUrl, apiKey: key.key, maxRetries: 0, timeout: 60000,
    logLevel: 'off', ...options,
  });

const chatBytes = (key, content, more = {}) => requestBytes('POST',
  '/v1/chat/completions',
  [['Authorization', `Bearer ${key.key}`],
    ['Content-Type', 'application/json']],
  JSON.stringify(ask(content, more)));

/** A reply with its head, whatever its status. */
const post = (rig, key, body = ask('say hi'), headers = {}) =>
  rig.fetch('/v1/chat/completions', {
    json: body, headers: { authorization: `Bearer ${key.key}`, ...headers } });

/** "1m0.25s" in milliseconds. */
const spanMs = (text) => {
  const m = /^(?:(\d+)h)?(?:(\d+)m(?!s))?(?:([\d.]+)s)?(?:(\d+)ms)?$/.exec(text);
  assert.ok(m && text !== '', `no span: ${text}`);
  const [h, min, s, ms] = m.slice(1).map((x) => Number(x ?? 0));
  return ((h * 60 + min) * 60 + s) * 1000 + ms;
};

const runningOf = async (rig, key) =>
  (await rig.gate.must(['key', 'show', key.id])).rate.running;

const idle = (rig, key) =>
  until('no request of the key runs', async () =>
    (await runningOf(rig, key)) === 0);

let serial = 0;
const createKey = (rig, ...args) =>
  rig.gate.createKey(`k${++serial}`, ...args);

/** Asks n times at once; how many of them passed, and the others' replies. */
async function crowd(n, one) {
  const began = performance.now();
  const all = await Promise.all(Array.from({ length: n }, (_, i) => one(i)));
  for (const r of all) await r.text();
  const refused = all.filter((r) => r.status === 429);
  const passed = all.filter((r) => r.status === 200);
  assert.equal(refused.length + passed.length, n);
  return { passed: passed.length, refused, ms: performance.now() - began };
}

/** What a bucket of rpm gave in the time the crowd took: a full one, and what
 * flowed in meanwhile. */
function assertExact({ passed, ms }, rpm) {
  assert.ok(passed >= rpm, `${passed} of ${rpm} passed`);
  assert.ok(passed <= rpm + Math.floor(ms * rpm / 60000),
    `${passed} of ${rpm} passed in ${ms} ms`);
}

for (const workers of [1, 4])
  describe(`limits, ${workers} workers`, GATE_ONLY, () => {
    let rig;
    before(async () => {
      rig = await startRig({ config: { workers } });
    });
    beforeEach(() => rig.clear());
    after(() => rig?.close());

    test('1000 clients at once against 37 requests a minute', async () => {
      const key = await createKey(rig, '--rpm', '37');
      const r = await crowd(1000, () => post(rig, key));
      assertExact(r, 37);
      assert.equal(rig.up.hits, r.passed);
      assert.equal(await runningOf(rig, key), 0);
    });

    test('a team of keys against 23 requests a minute', async () => {
      await rig.gate.must(['team', 'create', 'crew', '--rpm', '23']);
      const keys = [];
      for (let i = 0; i < 3; i++)
        keys.push(await createKey(rig, '--team', 'crew', '--rpm', '20'));
      const r = await crowd(150, (i) => post(rig, keys[i % 3]));
      assertExact(r, 23);
      assert.equal(rig.up.hits, r.passed);
      // what the team refused was not taken from the keys
      const shown = await Promise.all(keys.map((k) =>
        rig.gate.must(['key', 'show', k.id])));
      const left = shown.reduce((s, k) => s + k.rate.requests_left, 0);
      assert.ok(left >= 60 - r.passed, `${left} left, ${r.passed} passed`);
    });

    test('5 at once, exactly, while 60 ask', async () => {
      const key = await createKey(rig, '--parallel', '5');
      const script = rig.up.script({ gateAfter: 'head', times: 1000 });
      const asked = Array.from({ length: 60 }, () => post(rig, key));
      await until('55 are refused', () =>
        rig.gate.accessRows().filter((x) => x.key === key.id &&
          x.reason === 'rate_parallel').length === 55);
      await until('five are served', () => rig.up.inFlight === 5);
      assert.equal(await runningOf(rig, key), 5);
      script.open();
      const all = await Promise.all(asked);
      assert.equal(all.filter((r) => r.status === 200).length, 5);
      for (const r of all) await r.text();
      assert.equal(await runningOf(rig, key), 0);
      assert.equal(rig.up.maxInFlight, 5);
    });

    test('one after another, each finds its place free', async () => {
      const key = await createKey(rig, '--parallel', '1');
      const client = clientOf(rig, key);
      for (let i = 0; i < 60; i++) {
        if (i % 2 === 0)
          await client.chat.completions.create(ask(`say ${i}`));
        else
          await collect(await client.chat.completions.create(
            ask('count to 5', { stream: true })));
      }
      assert.equal(await runningOf(rig, key), 0);
    });

    test('a limit changed under load holds at once', async () => {
      const key = await createKey(rig, '--parallel', '3');
      const script = rig.up.script({ gateAfter: 'head', times: 1000 });
      const asked = [0, 1, 2].map(() => post(rig, key));
      await until('three are served', () => rig.up.inFlight === 3);
      assert.equal((await post(rig, key)).status, 429);
      await rig.gate.must(['key', 'update', key.id, '--parallel', '4']);
      asked.push(post(rig, key));
      await until('four are served', () => rig.up.inFlight === 4);
      await rig.gate.must(['key', 'update', key.id, '--parallel', '2']);
      assert.equal((await post(rig, key)).status, 429);
      await rig.gate.reload();
      const fresh = await rig.gate.must(['key', 'rotate', key.id]);
      assert.equal((await post(rig, fresh)).status, 429);
      await rig.gate.must(['key', 'update', key.id, '--parallel', '0']);
      asked.push(post(rig, fresh));
      await until('five are served', () => rig.up.inFlight === 5);
      script.open();
      for (const r of await Promise.all(asked)) {
        assert.equal(r.status, 200);
        await r.text();
      }
      assert.equal(await runningOf(rig, key), 0);
    });

    test('a tunnel is a request for as long as it lasts', async () => {
      const key = await createKey(rig, '--parallel', '1', '--rpm', '100');
      const open = () => new WebSocket(
        `${rig.origin.replace('http', 'ws')}/v1/realtime?model=demo`,
        { headers: { authorization: `Bearer ${key.key}` } });
      for (const end of ['close', 'terminate']) {
        const one = open();
        await new Promise((r) => one.once('open', r));
        assert.equal(await runningOf(rig, key), 1);
        const two = open();
        two.on('error', () => {});
        const [, refused] = await new Promise((r) =>
          two.once('unexpected-response', (...a) => r(a)));
        assert.equal(refused.statusCode, 429);
        two.terminate();
        one[end]();
        await idle(rig, key);
      }
    });

    test('pipelined requests are counted one by one', async () => {
      const key = await createKey(rig, '--parallel', '1', '--rpm', '4');
      const c = await RawClient.connect(rig.address);
      const one = chatBytes(key, 'say hi');
      await c.send(Buffer.concat([one, one, one, one, one, one]));
      const statuses = [];
      for (let i = 0; i < 6; i++)
        statuses.push((await c.readReply({ method: 'POST' })).status);
      assert.deepEqual(statuses, [200, 200, 200, 200, 429, 429]);
      c.destroy();
      await idle(rig, key);
    });

    test('clients that leave at any moment leave nothing behind', async () => {
      const next = prng(5);
      const key = await createKey(rig, '--parallel', '1000');
      rig.up.gapMs = 1;
      await Promise.all(Array.from({ length: 120 }, async (_, i) => {
        const c = await RawClient.connect(rig.address);
        const bytes = chatBytes(key, 'count to 30', { stream: i % 3 !== 0 });
        const two = Buffer.concat([bytes, bytes]);
        const sent = i % 4 === 0 ? Math.floor(next() * two.length) : two.length;
        await c.send(two.subarray(0, sent));
        let seen = 0;
        const want = Math.floor(next() * 6000);
        c.raw.on('data', (d) => (seen += d.length));
        for (let turn = 0; seen < want && turn < 40; turn++)
          await new Promise((r) => setImmediate(r));
        if (i % 3 === 0) c.reset();
        else if (i % 3 === 1) c.destroy();
        else c.end();
        if (i % 3 === 2) await c.closed;
      }));
      rig.up.gapMs = 0;
      await idle(rig, key);
      const r = await crowd(20, () => post(rig, key));
      assert.equal(r.passed, 20);
      assert.equal(await runningOf(rig, key), 0);
    });

    test('every way to fail gives the place back', async () => {
      const key = await createKey(rig, '--parallel', '1');
      const bodies = ['{', '{}', '[]', '{"model":"none-such"}',
        JSON.stringify(ask('x', { n: 0 })), JSON.stringify(ask('x'))];
      for (const fault of ['reset', 'status', 'truncate', 'rate_limit'])
        for (const body of bodies) {
          rig.up.script({ fault, at: 0 });
          const r = await rig.fetch('/v1/chat/completions', {
            method: 'POST', body, headers: {
              authorization: `Bearer ${key.key}`,
              'content-type': 'application/json' } });
          await r.text().catch(() => {});
          const row = await rig.gate.accessRow('its end', (x) =>
            x.id === r.headers.get('x-request-id'));
          assert.notEqual(row.reason, 'rate_parallel', `${fault} ${body}`);
        }
      await idle(rig, key);
    });
  });

describe('what a limited client is told', GATE_ONLY, () => {
  let rig;
  before(async () => {
    rig = await startRig();
  });
  beforeEach(() => rig.clear());
  after(() => rig?.close());

  test('what is left, on every reply', async () => {
    const key = await createKey(rig, '--rpm', '10', '--tpm', '60');
    const first = await post(rig, key, ask('say hi', { max_tokens: 30 }));
    const h = first.headers;
    assert.equal(h.get('x-ratelimit-limit-requests'), '10');
    assert.equal(h.get('x-ratelimit-remaining-requests'), '9');
    const reset = spanMs(h.get('x-ratelimit-reset-requests'));
    assert.ok(reset > 0 && reset <= 6000, String(reset));
    assert.equal(h.get('x-ratelimit-limit-tokens'), '60');
    const left = Number(h.get('x-ratelimit-remaining-tokens'));
    assert.ok(left <= 30, String(left)); // one flows back in a second
    assert.ok(spanMs(h.get('x-ratelimit-reset-tokens')) > 900);
    const { usage } = await first.json();
    // charged what it used when it was over
    const shown = await rig.gate.must(['key', 'show', key.id]);
    assert.ok(shown.rate.tokens_left >= 60 - usage.total_tokens);
    const models = await rig.fetch('/v1/models', {
      headers: { authorization: `Bearer ${key.key}` } });
    await models.text();
    assert.match(models.headers.get('x-ratelimit-remaining-requests'), /^9|10$/);
    const stream = await post(rig, key, ask('say hi', { stream: true }));
    assert.match(stream.headers.get('content-type'), /event-stream/);
    assert.equal(stream.headers.get('x-ratelimit-limit-requests'), '10');
    assert.match(stream.headers.get('x-ratelimit-remaining-requests'), /^[89]$/);
    await stream.text();
    const bad = await post(rig, key, { model: 'demo', stream: 'x' });
    assert.equal(bad.status, 400);
    await bad.text();
    assert.equal(bad.headers.get('x-ratelimit-limit-requests'), '10');
  });

  test('an upstream\'s limits are for keys without any', async () => {
    const plain = await createKey(rig);
    const own = await createKey(rig, '--tpm', '5000');
    const places = await createKey(rig, '--parallel', '9');
    await rig.gate.must(['team', 'create', 't1', '--rpm', '50']);
    const teamed = await createKey(rig, '--team', 't1');
    const limitOf = async (key) => {
      const r = await post(rig, key);
      await r.text();
      return r.headers.get('x-ratelimit-limit-requests');
    };
    assert.equal(await limitOf(plain), '1000'); // the provider's
    assert.equal(await limitOf(own), null);
    assert.equal(await limitOf(places), null);
    assert.equal(await limitOf(teamed), '50');
  });

  test('429: OpenAI\'s words, and a wait that is enough', async () => {
    const key = await createKey(rig, '--rpm', '240');
    await crowd(240, () => post(rig, key));
    let r = await post(rig, key);
    while (r.status === 200) r = await post(rig, key); // what flowed in
    assert.equal(r.status, 429);
    const { error } = await r.json();
    assert.equal(error.type, 'requests');
    assert.equal(error.code, 'rate_limit_exceeded');
    assert.match(error.message, /this key reached: 240 requests a minute/);
    const ms = Number(r.headers.get('retry-after-ms'));
    assert.ok(Number.isInteger(ms) && ms >= 1 && ms <= 250, String(ms));
    assert.equal(r.headers.get('retry-after'), '1');
    assert.equal(r.headers.get('x-should-retry'), 'true');
    assert.equal(r.headers.get('x-ratelimit-remaining-requests'), '0');
    const row = await rig.gate.accessRow('the refusal', (x) =>
      x.key === key.id && x.status === 429);
    assert.equal(row.reason, 'rate_requests');
    assert.equal(row.attempts, 0);
  });

  test('official clients come back and succeed', async () => {
    const key = await createKey(rig, '--rpm', '120');
    await crowd(120, () => post(rig, key));
    const client = clientOf(rig, key, { maxRetries: 2 });
    for (let i = 0; i < 3; i++) {
      const c = await client.chat.completions.create(ask('say back'));
      assert.equal(c.choices[0].message.content, 'back');
    }
    const refused = rig.gate.accessRows().filter((x) =>
      x.key === key.id && x.status === 429);
    assert.ok(refused.length >= 1);
  });

  test('requests at once: a place to wait for', async () => {
    const key = await createKey(rig, '--parallel', '1');
    const script = rig.up.script({ gateAfter: 'head' });
    const one = post(rig, key);
    await until('it is served', () => rig.up.inFlight === 1);
    const r = await post(rig, key);
    assert.equal(r.status, 429);
    assert.equal((await r.json()).error.type, 'requests');
    assert.equal(r.headers.get('retry-after'), '1');
    assert.equal(r.headers.get('retry-after-ms'), '1000');
    const client = clientOf(rig, key, { maxRetries: 5 });
    const two = client.chat.completions.create(ask('say later'));
    await rig.gate.accessRow('the refusal of the client', () =>
      rig.gate.accessRows().filter((x) => x.key === key.id &&
        x.reason === 'rate_parallel').length >= 2);
    script.open();
    await (await one).text();
    assert.equal((await two).choices[0].message.content, 'later');
  });

  test('more tokens than a minute has: no use in waiting', async () => {
    const key = await createKey(rig, '--tpm', '500');
    const client = clientOf(rig, key, { maxRetries: 5 });
    await assert.rejects(
      client.chat.completions.create(ask('say hi', { max_tokens: 600 })),
      (e) => {
        assert.equal(e.status, 429);
        assert.equal(e.type, 'tokens');
        assert.equal(e.code, 'rate_limit_exceeded');
        assert.equal(e.headers.get('x-should-retry'), 'false');
        assert.equal(e.headers.get('retry-after'), null);
        assert.match(e.message, /can never be sent/);
        return true;
      });
    assert.equal(rig.up.hits, 0);
    await rig.gate.accessRow('the refusal', (x) => x.key === key.id &&
      x.reason === 'rate_size');
    assert.equal(rig.gate.accessRows().filter((x) =>
      x.key === key.id).length, 1);
    const c = await client.chat.completions.create(
      ask('say hi', { max_tokens: 400 }));
    assert.equal(c.choices[0].message.content, 'hi');
    // the refused one took neither tokens nor a request
    const shown = await rig.gate.must(['key', 'show', key.id]);
    assert.ok(shown.rate.tokens_left > 450, shown.rate.tokens_left);
  });

  test('what was used beyond the charge is owed', async () => {
    const key = await createKey(rig, '--tpm', '600');
    const r = await post(rig, key, ask('count to 1200'));
    assert.equal(r.status, 200);
    const { usage } = await r.json();
    assert.ok(usage.total_tokens >= 1200);
    const next = await post(rig, key);
    assert.equal(next.status, 429);
    assert.equal((await next.json()).error.type, 'tokens');
    const owed = Number(next.headers.get('retry-after-ms'));
    // 10 tokens a second: the debt, and what this one asks for
    const most = (usage.total_tokens - 600 + 30) * 100;
    assert.ok(owed <= most && owed > most - 20000, `${owed} of ${most}`);
    assert.equal(next.headers.get('retry-after'),
      String(Math.ceil(owed / 1000)));
    assert.equal(next.headers.get('x-ratelimit-remaining-tokens'), '0');
    await rig.gate.must(['key', 'update', key.id, '--tpm', '0']);
    assert.equal((await post(rig, key)).status, 200);
  });

  test('tokens of a crowd: what is charged fits, whoever comes', async () => {
    const key = await createKey(rig, '--tpm', '900');
    const script = rig.up.script({ gateAfter: 'head', times: 1000 });
    const asked = Array.from({ length: 30 }, () =>
      post(rig, key, ask('say hi', { max_tokens: 200 })));
    await until('the others are refused', () =>
      rig.gate.accessRows().filter((x) => x.key === key.id &&
        x.reason === 'rate_tokens').length === 26);
    // of 200 and a few each
    await until('four are served', () => rig.up.inFlight === 4);
    script.open();
    for (const r of await Promise.all(asked)) await r.text();
    // each used a few: most of a minute is there again
    const { rate } = await rig.gate.must(['key', 'show', key.id]);
    assert.ok(rate.tokens_left > 800, JSON.stringify(rate));
  });

  test('a picture in the body is not taken for text', async () => {
    const key = await createKey(rig, '--tpm', '2000');
    const url = `data:image/png;base64,${'iVBORw0KGgo'.repeat(20000)}`;
    const r = await post(rig, key, { model: 'demo', messages: [{
      role: 'user', content: [{ type: 'text', text: 'say hi' },
        { type: 'image_url', image_url: { url } }] }] });
    await r.text();
    assert.equal(r.status, 200);
  });

  test('refused before the body is sent', async () => {
    const key = await createKey(rig, '--rpm', '1');
    await (await post(rig, key)).text();
    const c = await RawClient.connect(rig.address);
    await c.send(requestBytes('POST', '/v1/chat/completions', [
      ['Authorization', `Bearer ${key.key}`],
      ['Content-Type', 'application/json'], ['Expect', '100-continue'],
      ['Content-Length', '50000000']]));
    const reply = await c.readReply({ method: 'POST' });
    assert.equal(reply.status, 429);
    assert.deepEqual(reply.interim, []);
    c.destroy();
  });

  test('refusals leave a log line and a count, no row', async () => {
    const key = await createKey(rig, '--rpm', '1');
    await (await post(rig, key)).text();
    for (let i = 0; i < 3; i++) await (await post(rig, key)).text();
    const [sum] = await rig.gate.usageOf(1, '--key', key.id);
    assert.equal(sum.requests, 1);
    const metrics = await (await rig.fetch('/metrics')).text();
    const count = (kind) => Number(new RegExp(
      `^tollgate_rate_refusals_total\\{kind="${kind}"\\} (\\d+)$`, 'm')
      .exec(metrics)[1]);
    assert.ok(count('requests') >= 3);
    assert.ok(count('tokens') >= 1);
    assert.ok(count('parallel') >= 1);
  });

  test('tollctl says what runs and what is left', async () => {
    const make = (name, ...args) => rig.gate.ctl(
      ['key', 'create', '--name', name, ...args], { json: false });
    const r = await make('saver', '--rpm', '5', '--budget', '1M-tokens/day');
    assert.doesNotMatch(r.stderr, /limits|enforce/);
    const plain = await createKey(rig, '--rpm', '5', '--parallel', '2');
    const shown = await rig.gate.ctl(['key', 'show', plain.id],
      { json: false });
    assert.equal(shown.stderr, '');
    assert.match(shown.stdout, /requests_left/);
    await rig.gate.must(['team', 'create', 't2', '--tpm', '70']);
    await rig.gate.must(['key', 'update', plain.id, '--team', 't2']);
    const why = await rig.gate.must(['config', 'explain', plain.id, 'demo']);
    assert.deepEqual([why.limits, why.team_limits],
      [{ rpm: 5, tpm: 0, parallel: 2 }, { rpm: 0, tpm: 70, parallel: 0 }]);
    const team = await rig.gate.must(['team', 'show', 't2']);
    assert.deepEqual(team.rate,
      { running: 0, requests_left: null, tokens_left: 70 });
  });
});

describe('limits in Anthropic\'s shape', GATE_ONLY, () => {
  let rig;
  before(async () => {
    rig = await startRig({
      upstream: { models: ['claude-e2e'] },
      entry: { dialect: 'anthropic', models: ['claude-e2e'] },
    });
  });
  after(() => rig?.close());

  test('its client reads the error, comes back and succeeds', async () => {
    const key = await createKey(rig, '--rpm', '60');
    const asked = { model: 'claude-e2e', max_tokens: 100,
      messages: [{ role: 'user', content: 'say hi' }] };
    const client = new Anthropic({
      baseURL: rig.origin, apiKey: key.key, maxRetries: 0 });
    let refusal;
    while (!refusal)
      await client.messages.create(asked).catch((e) => (refusal = e));
    assert.equal(refusal.status, 429);
    assert.equal(refusal.error.type, 'error');
    assert.equal(refusal.error.error.type, 'rate_limit_error');
    assert.ok(Number(refusal.headers.get('retry-after-ms')) <= 1000);
    assert.equal(refusal.headers.get('x-ratelimit-limit-requests'), '60');
    const patient = new Anthropic({
      baseURL: rig.origin, apiKey: key.key, maxRetries: 2 });
    const m = await patient.messages.create(asked);
    assert.equal(m.content[0].text, 'hi');
  });
});

describe('limits of what the engine serves', GATE_ONLY, () => {
  let rig;
  before(async () => {
    rig = await startEngine({ model: { slots: 4 } });
  });
  after(() => rig?.close());

  const long = (key, more = {}) => rig.fetch('/v1/chat/completions', {
    headers: { authorization: `Bearer ${key.key}` },
    json: { ...ask('the cat ran'), max_tokens: 1200, ignore_eos: true,
      ...more } });

  test('places come back when clients leave and when answers end', async () => {
    const key = await createKey(rig, '--parallel', '3');
    for (let round = 0; round < 3; round++) {
      const stop = new AbortController();
      const all = await Promise.all(Array.from({ length: 8 }, () =>
        rig.fetch('/v1/chat/completions', {
          signal: stop.signal,
          headers: { authorization: `Bearer ${key.key}` },
          json: { ...ask('the dog'), max_tokens: 1200, ignore_eos: true,
            stream: true } })));
      // a place may be free again before the last one asks
      const passed = all.filter((r) => r.status === 200).length;
      assert.ok(passed >= 3, `${passed}`);
      assert.equal(all.filter((r) => r.status === 429).length, 8 - passed);
      stop.abort();
      await idle(rig, key);
    }
  });

  test('tokens are charged as they were counted', async () => {
    const key = await createKey(rig, '--tpm', '330');
    const r = await long(key, { max_tokens: 250 });
    // the cap and some for the prompt; five or six flow back in a second
    const left = Number(r.headers.get('x-ratelimit-remaining-tokens'));
    assert.ok(left <= 150, `${left}`);
    const { usage } = await r.json();
    assert.equal(usage.completion_tokens, 250);
    const { rate } = await rig.gate.must(['key', 'show', key.id]);
    assert.ok(rate.tokens_left >= 330 - usage.total_tokens &&
      rate.tokens_left < 330 - 150, JSON.stringify(rate));
  });
});
