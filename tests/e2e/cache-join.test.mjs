// Requests that ask the same at the same time share one call upstream: all get
// the same answer, whoever of them leaves, reads slowly or comes late.

import assert from 'node:assert/strict';
import { after, afterEach, before, beforeEach, describe, test } from 'node:test';

import { ask } from './lib/openai.mjs';
import { Plan, jsonEvent } from './lib/provider/http.mjs';
import { RawClient, requestBytes } from './lib/raw.mjs';
import { GATE_ONLY, startRig, upstreamEntry } from './lib/rig.mjs';
import { until, within } from './lib/until.mjs';

const MANY = 200;
const FOLLOWERS = 5;

let rig;
let asked = 0;
const clients = [];
const scripts = [];

before(async () => {
  rig = await startRig({ config: (up) => ({
    workers: 4,
    upstreams: [upstreamEntry(up, { models: ['demo'] }),
      upstreamEntry(up, { name: 'claude', dialect: 'anthropic',
        models: ['claude-*'] }),
      upstreamEntry(up, { name: 'again', models: ['again'],
        retries: { attempts: 2, backoff: '1ms', backoff_max: '1ms' } })],
    cache: { responses: { enabled: true, size: '64MiB', max_entry: '16MiB' } },
  }) });
});
beforeEach(() => rig.clear());
afterEach(async () => {
  // what a failed test left must not be in the way of the next one
  leave(clients.splice(0));
  for (const script of scripts.splice(0)) script.open();
  await underWay(0);
});
after(() => rig?.close());

/** The body of a request that is nobody else's. */
const fresh = (more = {}) =>
  ask(`count to ${40 + asked++ % 9}`, { seed: asked, ...more });

const bytesOf = (body, { key = rig.key, headers = [],
  path = 'chat/completions' } = {}) =>
  requestBytes('POST', `/v1/${path}`,
    [['Authorization', `Bearer ${key}`], ...headers], JSON.stringify(body));

/** A client of its own that has sent this. */
async function send(body, options) {
  const c = await RawClient.connect(rig.address);
  clients.push(c);
  await c.send(bytesOf(body, options));
  return c;
}

/** What the provider does with the next request; see Upstream.script(). */
function provider(init) {
  const script = rig.up.script(init);
  scripts.push(script);
  return script;
}

const sendMany = (n, body, options) =>
  Promise.all(Array.from({ length: n }, () => send(body, options)));

const leave = (some) => some.forEach((c) => c.destroy());

/** The whole answers of these clients, which then leave. */
async function answers(of) {
  const all = await Promise.all(of.map((c) =>
    c.readReply({ method: 'POST' })));
  leave(of);
  return all;
}

/** The value of a metric without labels. */
async function metric(name) {
  const text = await (await rig.fetch('/metrics')).text();
  return Number(new RegExp(`^tollgate_${name} (.*)$`, 'm').exec(text)[1]);
}

/** So many requests are under way, beside the one that asks. */
const underWay = (n) => until(`${n} are under way`, async () =>
  await metric('in_flight') === n + 1);

const howOf = (r) => r.header('x-tollgate-cache');
const counts = (replies) => replies.reduce((all, r) => ({
  ...all, [howOf(r)]: (all[howOf(r)] ?? 0) + 1 }), {});

/** All are whole, 200 and the same. */
function allSame(replies) {
  for (const r of replies) {
    assert.equal(r?.status, 200, r?.text);
    assert.equal(r.complete, true);
    assert.equal(r.text, replies[0].text);
    assert.equal(r.header('content-type'), replies[0].header('content-type'));
  }
}

describe('one call for many', GATE_ONLY, () => {
  for (const stream of [false, true])
    test(`${MANY} at once: ${stream ? 'stream' : 'whole'}`, async () => {
      const body = fresh({ stream });
      const script = provider({ gateAfter: 'head' });
      const many = await sendMany(MANY, body);
      await underWay(MANY);
      script.open();
      const replies = await answers(many);
      allSame(replies);
      assert.equal(rig.up.hits, 1);
      assert.deepEqual(counts(replies), { miss: 1, joined: MANY - 1 });
      assert.equal(new Set(replies.map((r) => r.header('x-request-id'))).size,
        MANY);
      assert.equal(/data: \[DONE\]\n\n$/.test(replies[0].text), stream);
      const [again] = await answers([await send(body)]);
      assert.equal(howOf(again), 'hit');
      assert.equal(again.text, replies[0].text);
      assert.equal(rig.up.hits, 1);
    });

  for (const [path, body] of [
    ['completions', { prompt: 'count to 30', seed: 3 }],
    ['embeddings', { input: 'some text' }],
    ['responses', { input: 'count to 30', temperature: 0 }],
    ['messages', { model: 'claude-e2e', max_tokens: 99, temperature: 0,
      messages: ask('count to 30').messages }]])
    for (const stream of path === 'embeddings' ? [undefined] : [false, true])
      test(`of every kind: ${path}${stream ? ', stream' : ''}`, async () => {
        const json = { model: 'demo', ...body, stream, top_p: stream ? 1 : 0.9 };
        const script = provider({ gateAfter: 'head' });
        const some = await sendMany(12, json, { path });
        await underWay(12);
        script.open();
        const replies = await answers(some);
        allSame(replies);
        assert.equal(rig.up.hits, 1);
        assert.deepEqual(counts(replies), { miss: 1, joined: 11 });
        const [again] = await answers([await send(json, { path })]);
        assert.equal(howOf(again), 'hit');
        assert.equal(again.text, replies[0].text);
      });

  test('who comes late gets what was sent so far, then the rest', async () => {
    const body = fresh({ stream: true });
    const script = provider({ gateAfter: 20 });
    const first = await send(body);
    await within(script.reached, 'the gate');
    const late = await sendMany(8, body);
    for (const c of [first, ...late])
      await within(c.reader.readUntil(Buffer.from('" 15"')), 'the first part');
    script.open();
    const ends = await Promise.all([first, ...late].map((c) =>
      within(c.reader.readUntil(Buffer.from('0\r\n\r\n')), 'the rest')));
    const textsOf = (b) => [...b.toString().matchAll(/"content":"([^"]*)"/g)]
      .map((m) => m[1]).join('');
    for (const e of ends) {
      assert.match(e.toString(), /data: \[DONE\]\n\n/);
      assert.equal(textsOf(e), textsOf(ends[0]));
    }
    assert.match(textsOf(ends[0]), / 40/);
    assert.equal(rig.up.hits, 1);
    leave([first, ...late]);
  });

  test('keys do not join each other', async () => {
    const other = await rig.gate.createKey('other');
    const body = fresh();
    const script = provider({ gateAfter: 'head', times: 2 });
    const mine = await sendMany(4, body);
    const theirs = await sendMany(4, body, { key: other.key });
    await underWay(8);
    script.open();
    const a = await answers(mine);
    const b = await answers(theirs);
    allSame(a);
    allSame(b);
    assert.equal(rig.up.hits, 2);
    for (const set of [a, b])
      assert.deepEqual(counts(set), { miss: 1, joined: 3 });
    assert.notEqual(a[0].json.id, b[0].json.id);
  });

  test('who wants different answers gets them', async () => {
    const body = ask('count to 7', { temperature: 1 });
    const script = provider({ gateAfter: 'head', times: 6 });
    const many = await sendMany(6, body);
    await until('six are asked', () => rig.up.hits === 6);
    script.open();
    const replies = await answers(many);
    assert.equal(new Set(replies.map((r) => r.json.id)).size, 6);
    assert.deepEqual(counts(replies), { bypass: 6 });
  });

  test('who does not want to share does not', async () => {
    const body = fresh();
    const script = provider({ gateAfter: 'head', times: 3 });
    const first = await send(body);
    await until('it is asked', () => rig.up.hits === 1);
    const others = [
      await send(body, { headers: [['Cache-Control', 'no-store']] }),
      await send(body, { headers: [['Cache-Control', 'no-cache']] })];
    await until('they are asked, too', () => rig.up.hits === 3);
    script.open();
    const replies = await answers([first, ...others]);
    assert.equal(new Set(replies.map((r) => r.json.id)).size, 3);
  });
});

/** Stops before the event that ends a stream. */
function stopBeforeEnd(plan, rec) {
  const inner = plan.events;
  const gate = { gate: this.gate, reached: () => this.setReached(rec) };
  plan.events = (async function* () {
    for await (const e of inner) {
      if (e.done) yield gate;
      yield e;
    }
  })();
}

/** Sends the body in two halves. */
const halves = (plan) => {
  if (plan.events !== undefined) return;
  const at = plan.body.length >> 1;
  plan.blockBytes = plan.body.length;
  plan.blocks = [plan.body.subarray(0, at), plan.body.subarray(at)];
  delete plan.body;
};

/** The points at which who leads may be left: of a whole answer and of a
 * stream, where the provider stands then. */
const POINTS = [
  [false, 'head'], [false, 0], [false, 1],
  [true, 'head'], [true, 0], [true, 1], [true, 2], [true, 10], [true, 30],
  [true, 'end']];

describe('who leads leaves', GATE_ONLY, () => {
  for (const [way, go] of [['FIN', (c) => c.destroy()],
    ['RST', (c) => c.reset()]])
    for (const [stream, gateAfter] of POINTS)
      test(`by ${way}, ${stream ? 'stream' : 'whole'} at ${gateAfter}`,
        async () => {
          const body = fresh({ stream });
          const script = provider(gateAfter === 'end'
            ? { edit: stopBeforeEnd } : { gateAfter, edit: halves });
          const leader = await send(body);
          const rec = await within(script.reached, 'the gate');
          const followers = await sendMany(FOLLOWERS, body);
          await underWay(FOLLOWERS + 1);
          const connections = await metric('connections');
          go(leader);
          await until('it is gone', async () =>
            await metric('connections') < connections);
          const late = await send(body);
          await underWay(FOLLOWERS + 2);
          assert.equal(rec.aborted, false);
          script.open();
          const replies = await answers([...followers, late]);
          allSame(replies);
          assert.equal(rig.up.hits, 1);
          const [again] = await answers([await send(body)]);
          assert.equal(howOf(again), 'hit');
          assert.equal(again.text, replies[0].text);
          assert.equal(rig.up.hits, 1);
          await underWay(0);
        });

  test('and everybody else: the call is cancelled', async () => {
    const body = fresh({ stream: true });
    const script = provider({ gateAfter: 5 });
    const many = await sendMany(6, body);
    const rec = await within(script.reached, 'the gate');
    await underWay(6);
    leave(many);
    await until('the provider is told', () => rec.aborted);
    script.open();
    await underWay(0);
    const [next] = await answers([await send(body)]);
    assert.equal(howOf(next), 'miss');
    assert.equal(next.complete, true);
  });

  test('before those who follow, who leave, too', async () => {
    const body = fresh({ stream: true });
    const script = provider({ gateAfter: 5 });
    const leader = await send(body);
    const rec = await within(script.reached, 'the gate');
    const followers = await sendMany(3, body);
    await underWay(4);
    leader.destroy();
    for (const c of followers) {
      assert.equal(rec.aborted, false);
      c.reset();
    }
    await until('the provider is told', () => rec.aborted);
    script.open();
    await underWay(0);
  });
});

/** A stream of n events of 8 KiB each. */
const bigStream = (n, id) => () => Plan.events((async function* () {
  const chunk = (delta, finish = null) => jsonEvent({ id,
    object: 'chat.completion.chunk', created: 1, model: 'demo',
    choices: [{ index: 0, delta, finish_reason: finish }] });
  yield chunk({ role: 'assistant', content: '' });
  for (let i = 0; i < n; i++)
    yield chunk({ content: `${i}:${'x'.repeat(8000)} ` });
  yield chunk({}, 'stop');
  yield { data: '[DONE]', done: true };
})());

describe('who reads slowly', GATE_ONLY, () => {
  /** One leads and reads, one follows and does not, until the first has all. */
  async function oneStops(events, others = 0) {
    const body = fresh({ stream: true });
    const script = provider({ gateAfter: 'head',
      plan: bigStream(events, `big-${asked}`) });
    const leader = await send(body);
    await within(script.reached, 'the gate');
    const stopped = await send(body);
    const brisk = await sendMany(others, body);
    await underWay(2 + others);
    stopped.pause();
    script.open();
    const whole = await answers([leader, ...brisk]);
    allSame(whole);
    assert.equal(rig.up.hits, 1);
    assert.match(whole[0].text, /data: \[DONE\]\n\n$/);
    return { stopped, text: whole[0].text };
  }

  test('gets all of it when it reads again', async () => {
    const { stopped, text } = await oneStops(1500, 3);
    assert.ok(text.length > 12e6);
    await underWay(1); // it is still being sent
    stopped.resume();
    const [reply] = await answers([stopped]);
    assert.equal(reply.complete, true);
    assert.equal(reply.text, text);
  });

  for (const late of [false, true])
    test(`does not hold up those who follow it${late ? ', late' : ''}`,
      async () => {
        const body = fresh({ stream: true });
        const script = provider({ gateAfter: 'head',
          plan: bigStream(1500, `slow-${asked}`) });
        const leader = await send(body);
        const rec = await within(script.reached, 'the gate');
        const others = late ? [] : await sendMany(3, body);
        await underWay(1 + others.length);
        leader.pause();
        script.open();
        if (late) {
          await until('the provider is held back', () => rec.blocked);
          others.push(...await sendMany(3, body));
        }
        const replies = await answers(others);
        allSame(replies);
        leader.resume();
        const [own] = await answers([leader]);
        assert.equal(own.complete, true);
        assert.equal(own.text, replies[0].text);
        assert.equal(rig.up.hits, 1);
      });

  test('is told when the rest is no longer there', async () => {
    const { stopped, text } = await oneStops(4000);
    assert.ok(text.length > 32e6);
    stopped.resume();
    const [reply] = await answers([stopped]);
    const at = reply.text.lastIndexOf('data: {"error"');
    assert.ok(at > 0, 'there is an error event');
    assert.equal(text.startsWith(reply.text.slice(0, at).replace(
      /event: error\n$/, '')), true);
    assert.doesNotMatch(reply.text, /\[DONE\]/);
    const error = JSON.parse(reply.text.slice(at + 6).trim()).error;
    assert.equal(error.code, 'upstream_incomplete');
  });

  test('and what is too large is not kept', async () => {
    const body = fresh({ stream: true });
    for (let i = 1; i <= 2; i++) {
      provider({ plan: bigStream(2500, `huge-${i}`) });
      const [r] = await answers([await send(body)]);
      assert.equal(r.complete, true);
      assert.equal(howOf(r), 'miss');
      assert.equal(rig.up.hits, i);
    }
  });
});

describe('what is too large to be shared', GATE_ONLY, () => {
  test('is asked for by each, once', async () => {
    const body = fresh();
    const content = 'y'.repeat(20 << 20);
    const script = provider({ gateAfter: 'head', times: 4, plan: () => {
      const bytes = Buffer.from(JSON.stringify({ id: 'c', model: 'demo',
        choices: [{ index: 0, message: { role: 'assistant', content },
          finish_reason: 'stop' }] }));
      return new Plan({ blockBytes: bytes.length,
        headers: [['Content-Type', 'application/json']],
        blocks: Array.from({ length: 21 }, (_, i) =>
          bytes.subarray(i << 20, (i + 1) << 20)) });
    } });
    const many = await sendMany(4, body);
    await within(script.reached, 'the gate');
    await underWay(4);
    assert.equal(rig.up.hits, 1);
    script.open();
    const replies = await answers(many);
    allSame(replies);
    assert.equal(rig.up.hits, 4);
    assert.deepEqual(counts(replies), { miss: 4 });
    assert.equal(replies[0].json.choices[0].message.content, content);
  });
});

describe('what fails', GATE_ONLY, () => {
  /** n at once when the provider does this. */
  async function together(n, script, more = {}) {
    const body = fresh(more);
    const first = provider({ gateAfter: 'head', ...script });
    const many = await sendMany(n, body);
    await underWay(n);
    first.open();
    return { body, replies: await answers(many) };
  }

  for (const stream of [false, true]) {
    const how = stream ? 'stream' : 'whole';
    test(`before its first byte is tried once more, for all: ${how}`,
      async () => {
        const { replies } = await together(20,
          { fault: 'status', code: 500 }, { stream });
        assert.equal(rig.up.hits, 2);
        const good = replies.filter((r) => r.status === 200);
        allSame(good);
        assert.ok(good.length >= 19, `${good.length} of 20`);
      });

    test(`a connection that breaks is tried once more: ${how}`, async () => {
      const { replies } = await together(20,
        { fault: 'reset', at: 0 }, { stream });
      assert.equal(rig.up.hits, 2);
      const good = replies.filter((r) => r.status === 200);
      allSame(good);
      assert.ok(good.length >= 19, `${good.length} of 20`);
    });
  }

  test('and is tried again by who leads fails for nobody', async () => {
    const { replies } = await together(20,
      { fault: 'status', code: 500 }, { model: 'again' });
    assert.equal(rig.up.hits, 2);
    allSame(replies);
    assert.deepEqual(counts(replies), { miss: 1, joined: 19 });
    for (const r of replies)
      assert.equal(r.header('x-tollgate-attempts'),
        howOf(r) === 'miss' ? '2' : '0');
  });

  test('twice fails for all', async () => {
    provider({ fault: 'status', code: 500, times: 50,
      match: () => rig.up.hits > 1 });
    const { body, replies } = await together(20,
      { fault: 'status', code: 500 });
    assert.equal(rig.up.hits, 2);
    for (const r of replies) assert.ok(r.status >= 500, r.text);
    rig.up.clear();
    const [next] = await answers([await send(body)]);
    assert.equal(next.status, 200);
  });

  test('by the fault of the request is shared, and not kept', async () => {
    const { body, replies } = await together(20,
      { fault: 'status', code: 400, type: 'invalid_request_error' });
    assert.equal(rig.up.hits, 1);
    for (const r of replies) {
      assert.equal(r.status, 400);
      assert.equal(r.text, replies[0].text);
    }
    const [next] = await answers([await send(body)]);
    assert.equal(next.status, 200);
    assert.equal(howOf(next), 'miss');
  });

  test('within a stream breaks off for all, and is not kept', async () => {
    const body = fresh({ stream: true });
    const script = provider({ fault: 'cut_events', after: 16, gateAfter: 8 });
    const many = await sendMany(12, body);
    const parts = await Promise.all(many.map((c) => within(
      c.reader.readUntil(Buffer.from('" 3"')), 'the first part')));
    script.open();
    const rests = await Promise.all(many.map((c) => within(
      c.reader.readUntil(Buffer.from('0\r\n\r\n')), 'the end')));
    leave(many);
    assert.equal(rig.up.hits, 1);
    for (const [i, rest] of rests.entries()) {
      const text = `${parts[i]}${rest}`;
      assert.match(text, /^HTTP\/1.1 200 /);
      assert.match(text, /" 9"/);
      assert.match(text, /data: \{"error"/);
      assert.doesNotMatch(text, /\[DONE\]/);
    }
    const [next] = await answers([await send(body)]);
    assert.equal(next.complete, true);
    assert.equal(howOf(next), 'miss');
    assert.match(next.text, /\[DONE\]\n\n$/);
  });

  test('within a whole answer is tried once more', async () => {
    const { replies } = await together(12, { fault: 'short_length' });
    assert.equal(rig.up.hits, 2);
    const good = replies.filter((r) => r.status === 200);
    allSame(good);
    assert.ok(good.length >= 11, `${good.length} of 12`);
  });
});

describe('with coalesce: false', GATE_ONLY, () => {
  test('everybody has a call of its own', async () => {
    rig.gate.writeConfig({ ...rig.gate.config,
      cache: { ...rig.gate.config.cache, coalesce: false } });
    const r = await rig.gate.reload();
    assert.equal(r.code, 0, r.stderr);
    const body = fresh();
    const script = provider({ gateAfter: 'head', times: 6 });
    const many = await sendMany(6, body);
    await until('six are asked', () => rig.up.hits === 6);
    script.open();
    const replies = await answers(many);
    assert.equal(new Set(replies.map((x) => x.json.id)).size, 6);
    assert.deepEqual(counts(replies), { miss: 6 });
    const [again] = await answers([await send(body)]);
    assert.equal(howOf(again), 'hit');
  });
});
