// Which upstream answers, with which key, and what clients may name.

import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, test } from 'node:test';

import { ask, collect, openaiFor } from './lib/openai.mjs';
import { rawRequest, requestBytes } from './lib/raw.mjs';
import { DIRECT, GATE_ONLY, startRig, upstreamEntry } from './lib/rig.mjs';
import { UPSTREAM_KEY } from './lib/tollgate.mjs';
import { startUpstream } from './lib/upstream.mjs';
import { until } from './lib/until.mjs';

/** A chat request for a model: {status, body, headers}. */
async function chat(rig, model, more = {}) {
  const r = await rig.fetch('/v1/chat/completions',
    { json: { ...ask('say ok'), model, ...more } });
  return { status: r.status, headers: r.headers, json: await r.json() };
}

describe('routing', GATE_ONLY, () => {
  let rig;
  let two;
  before(async () => {
    two = await startUpstream({ keys: [UPSTREAM_KEY] });
    rig = await startRig({ config: (up) => ({
      upstreams: [
        upstreamEntry(up, { models: ['a*', 'shared'] }),
        upstreamEntry(two, { name: 'two', models: ['b*'], max_in_flight: 1,
          queue: { size: 0 } }),
      ],
      routes: [
        { model: 'split', targets: [
          { upstream: 'up', model: 'a1', weight: 3 },
          { upstream: 'two', model: 'b1', weight: 1 }] },
        { model: 'x-*', targets: [{ upstream: 'up', model: 'a-star' }] },
        { model: 'x-exact', targets: [{ upstream: 'up', model: 'a-exact' }] },
        { model: 'glob-*', targets: [{ upstream: 'up' }] },
        { model: 'limited', targets: [{ upstream: 'two', model: 'b1' }] },
        { model: 'spare', targets: [
          { upstream: 'up', model: 'a1', weight: 1 },
          { upstream: 'two', model: 'b1', weight: 0 }] },
      ] }) });
  });
  beforeEach(() => {
    rig.up.clear();
    two.clear();
  });
  after(async () => {
    await rig?.close();
    await two?.close();
  });

  test('a name beats a glob, wherever it stands', async () => {
    await chat(rig, 'x-exact');
    assert.equal(rig.up.last.json.model, 'a-exact');
    await chat(rig, 'x-other');
    assert.equal(rig.up.last.json.model, 'a-star');
  });

  test('a target without a model gets the client\'s name', async () => {
    const r = await chat(rig, 'glob-7');
    assert.equal(rig.up.last.json.model, 'glob-7');
    assert.equal(r.json.model, 'glob-7');
    assert.equal(r.headers.get('x-tollgate-target'), 'up');
  });

  test('weights share the load', async () => {
    for (let i = 0; i < 200; i++) await chat(rig, 'split');
    assert.equal(rig.up.hits + two.hits, 200);
    assert.ok(two.hits > 20 && two.hits < 80, `${two.hits} of 200 at 1 : 3`);
  });

  test('who waits for each answer never finds its own place taken',
    async () => {
      for (let i = 0; i < 300; i++) {
        const r = await rig.fetch('/v1/chat/completions', { json: {
          ...ask('say ok'), model: 'limited', stream: i % 3 === 0 } });
        const text = await r.text();
        assert.equal(r.status, 200, `request ${i}: ${text}`);
      }
    });

  test('weight 0 gets nothing while another lives', async () => {
    for (let i = 0; i < 20; i++) await chat(rig, 'spare');
    assert.equal(two.hits, 0);
  });

  test('an unknown model: 404 in the client\'s words, nothing upstream',
    async () => {
      const r = await chat(rig, 'no-such');
      assert.equal(r.status, 404);
      assert.equal(r.json.error.code, 'model_not_found');
      assert.match(r.json.error.message, /no-such/);
      assert.equal(rig.up.hits + two.hits, 0);
    });

  test('max_in_flight: the one too many is 503 overloaded', async () => {
    const script = two.script({ gateAfter: 'head' });
    const first = chat(rig, 'limited');
    await script.reached;
    const second = await chat(rig, 'limited');
    assert.equal(second.status, 503);
    assert.equal(second.json.error.code, 'overloaded');
    assert.ok(second.headers.get('retry-after'));
    script.open();
    assert.equal((await first).status, 200);
    assert.equal((await chat(rig, 'limited')).status, 200);
  });

  test('target drain and resume', async () => {
    await rig.gate.must(['target', 'drain', 'two']);
    for (let i = 0; i < 10; i++)
      assert.equal((await chat(rig, 'split')).status, 200);
    assert.equal(two.hits, 0);
    const r = await chat(rig, 'limited');
    assert.equal(r.status, 503);
    assert.equal(r.json.error.code, 'upstream_unavailable');
    await rig.gate.must(['target', 'resume', 'two']);
    assert.equal((await chat(rig, 'limited')).status, 200);
  });

  test('models lists the routes\' names and nothing behind them',
    async () => {
      const ids = (await collect(openaiFor(rig).models.list()))
        .map((m) => m.id);
      for (const name of ['split', 'x-exact', 'limited', 'spare'])
        assert.ok(ids.includes(name), `${name} in ${ids}`);
      assert.ok(!ids.some((id) => id.includes('*')), `no globs: ${ids}`);
    });
});

describe('routing: discovery', GATE_ONLY, () => {
  test('without models, an upstream is asked for its list', async () => {
    const up = await startUpstream({
      keys: [UPSTREAM_KEY], models: ['found-1', 'org/found-2'] });
    const rig = await startRig({ config: { upstreams: [
      upstreamEntry(up, { models: undefined })] } });
    try {
      await until('the model is known', async () =>
        (await chat(rig, 'found-1')).status === 200);
      assert.ok(up.requests.some((r) => r.path === '/v1/models'));
      assert.equal((await chat(rig, 'org/found-2')).status, 200);
      assert.equal((await chat(rig, 'lost')).status, 404);
      const ids = (await collect(openaiFor(rig).models.list()))
        .map((m) => m.id).sort();
      assert.deepEqual(ids, ['found-1', 'org/found-2']);
      assert.equal((await openaiFor(rig).models.retrieve('org/found-2')).id,
        'org/found-2');
    } finally {
      await rig.close();
      await up.close();
    }
  });
});

describe('routing: keys of an upstream', GATE_ONLY, () => {
  test('several are rotated; one that is limited rests', async () => {
    const keys = ['sk-up-one-canary', 'sk-up-two-canary'];
    const up = await startUpstream({ keys });
    const rig = await startRig({
      env: { K1: keys[0], K2: keys[1] },
      config: { upstreams: [{ name: 'up', base_url: up.baseUrl,
        models: ['demo'], api_keys: ['env:K1', 'env:K2'] }] } });
    rig.gate.secrets.push(...keys);
    try {
      for (let i = 0; i < 20; i++)
        assert.equal((await chat(rig, 'demo')).status, 200);
      const used = (k) => up.requests.filter((r) =>
        r.header('authorization') === `Bearer ${k}`).length;
      assert.ok(used(keys[0]) >= 5 && used(keys[1]) >= 5,
        `${used(keys[0])} and ${used(keys[1])}`);
      up.clear();
      up.script({ fault: 'rate_limit', after: '60', after_ms: '60000',
        match: (r) => r.header('authorization') === `Bearer ${keys[0]}` });
      let good = 0;
      for (let i = 0; i < 12; i++)
        good += (await chat(rig, 'demo')).status === 200;
      assert.equal(used(keys[0]), 1, 'the limited key rests');
      assert.equal(used(keys[1]), good);
      assert.ok(good >= 11, `${good} of 12`);
    } finally {
      await rig.close();
      await up.close();
    }
  });
});

describe('routing: shapes of requests', () => {
  let rig;
  before(async () => {
    rig = await startRig();
  });
  beforeEach(() => rig.up.clear());
  after(() => rig?.close());

  const post = (path, body, headers = []) => rawRequest(rig.address,
    requestBytes('POST', path, [['Authorization', `Bearer ${rig.key}`],
      ...headers], JSON.stringify(body)));

  test('a stream is chosen by the body, never by Accept', async () => {
    const json = await post('/v1/chat/completions', ask('say ok'),
      [['Accept', 'text/event-stream']]);
    assert.match(json.header('content-type'), /^application\/json/);
    const sse = await post('/v1/chat/completions',
      ask('say ok', { stream: true }), [['Accept', 'application/json']]);
    assert.match(sse.header('content-type'), /^text\/event-stream/);
  });

  test('no Content-Type, and odd ones, are read as JSON', async () => {
    for (const type of [[], [['Content-Type', 'text/plain']],
      [['Content-Type', 'application/json; charset=utf-8']]]) {
      const r = await post('/v1/chat/completions', ask('say ok'), type);
      assert.equal(r.status, 200, r.text);
    }
  });

  test('/openai/v1 paths, as newer Azure clients use', async () => {
    const r = await post('/openai/v1/chat/completions', ask('say ok'));
    assert.equal(r.status, 200, r.text);
    assert.equal(r.json.choices[0].message.content, 'ok');
  });

  test('stream: false and stream: null are no streams', async () => {
    for (const stream of [false, null]) {
      const r = await post('/v1/chat/completions', ask('say ok', { stream }));
      assert.match(r.header('content-type'), /^application\/json/);
    }
  });

  test('errors of tollgate say application/json', GATE_ONLY, async () => {
    const r = await post('/v1/chat/completions', { model: 7 });
    assert.equal(r.status, 400);
    assert.match(r.header('content-type'), /^application\/json/);
  });

  test('many requests at once all come back, each its own', async () => {
    const client = openaiFor(rig);
    const all = await Promise.all(Array.from({ length: 150 }, async (_, i) => {
      const s = await client.chat.completions.create(
        ask(`say number ${i} here`, { stream: true }));
      const text = (await collect(s)).map((c) =>
        c.choices[0]?.delta.content ?? '').join('');
      return text === `number ${i} here`;
    }));
    assert.ok(all.every(Boolean));
    if (!DIRECT) assert.equal(rig.up.inFlight, 0);
  });
});
