// Where a request goes when the targets of its route fail or cannot be asked.

import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, test } from 'node:test';

import { ask } from './lib/openai.mjs';
import { GATE_ONLY, startRig, upstreamEntry } from './lib/rig.mjs';
import { UPSTREAM_KEY } from './lib/tollgate.mjs';
import { startUpstream } from './lib/upstream.mjs';
import { until } from './lib/until.mjs';

const NAMES = ['up', 'two', 'three'];
const ONCE = { attempts: 1, backoff: '1ms', backoff_max: '1ms' };
const NEVER = { failures: 0 };

const FAILS = { fault: 'status', code: 503, times: 100 };
const TOO_LONG = { fault: 'status', code: 400, error_code:
  'context_length_exceeded', type: 'invalid_request_error', times: 100 };
const FILTERED = { fault: 'status', code: 400, error_code: 'content_filter',
  type: 'invalid_request_error', times: 100 };

describe('fallbacks', GATE_ONLY, () => {
  let rig;
  let ups;
  before(async () => {
    const two = await startUpstream({ keys: [UPSTREAM_KEY] });
    const three = await startUpstream({ keys: [UPSTREAM_KEY] });
    const at = (upstream, model) => ({ targets: [{ upstream, model }] });
    const chain = { ...at('up', 'first'), fallbacks: ['second', 'third'] };
    rig = await startRig({ config: (up) => ({
      upstreams: [up, two, three].map((u, i) => upstreamEntry(u, {
        name: NAMES[i], retries: ONCE, breaker: NEVER })),
      routes: [
        { model: 'main', ...chain },
        { model: 'long', ...chain, fallback_on: ['context_length'] },
        { model: 'filter', ...chain, fallback_on: ['content_filter', 'error'] },
        { model: 'off', ...chain, fallback_on: [] },
        { model: 'second', ...at('two', undefined), fallbacks: ['main'] },
        { model: 'third', ...at('three', 'last') },
        { model: 'any-*', ...at('up', undefined), fallbacks: ['*'] },
        { model: '*', ...at('two', undefined) },
      ] }) });
    ups = [rig.up, two, three];
  });
  beforeEach(async () => {
    for (const name of NAMES) await rig.gate.must(['target', 'resume', name]);
    ups.forEach((u) => u.clear());
  });
  after(async () => {
    await rig?.close();
    for (const u of ups?.slice(1) ?? []) await u.close();
  });

  const chat = async (model, more = {}) => {
    const r = await rig.fetch('/v1/chat/completions',
      { json: { ...ask('say ok'), model, ...more } });
    const text = await r.text();
    return { status: r.status, target: r.headers.get('x-tollgate-target'),
      attempts: Number(r.headers.get('x-tollgate-attempts')), text,
      id: r.headers.get('x-request-id'),
      json: text.startsWith('{') ? JSON.parse(text) : null };
  };
  const hits = () => ups.map((u) => u.hits);

  test('the next route answers, as the model that was asked for', async () => {
    for (const stream of [false, true]) {
      ups.forEach((u) => u.clear());
      ups[0].script(FAILS);
      const r = await chat('main', { stream });
      assert.equal(r.status, 200, r.text);
      assert.equal(r.target, 'two');
      assert.equal(r.attempts, 2);
      assert.equal(ups[1].last.json.model, 'second', 'its route\'s name');
      if (stream) assert.ok(!r.text.includes('"second"'), r.text);
      if (stream) assert.match(r.text, /"model":"main"/);
      else assert.equal(r.json.model, 'main');
      const row = await rig.gate.accessRow('of it', (a) => a.id === r.id);
      assert.equal(row.model, 'main');
      assert.equal(row.target, 'two');
      assert.equal(row.attempts, 2);
    }
  });

  test('and the one after that', async () => {
    ups[0].script(FAILS);
    ups[1].script(FAILS);
    const r = await chat('main');
    assert.equal(r.status, 200);
    assert.equal(r.target, 'three');
    assert.equal(ups[2].last.json.model, 'last');
    assert.deepEqual(hits(), [1, 1, 1]);
  });

  test('when all fail the last says how; nobody is asked in a circle',
    async () => {
      ups.forEach((u) => u.script(FAILS));
      const r = await chat('main');
      assert.equal(r.status, 503);
      assert.deepEqual(hits(), [1, 1, 1]);
      ups.forEach((u) => u.clear());
      ups.forEach((u) => u.script(FAILS));
      assert.equal((await chat('second')).status, 503);
      assert.deepEqual(hits(), [1, 1, 0], 'fallbacks of fallbacks do not count');
    });

  test('one that cannot be asked is passed over', async () => {
    await rig.gate.must(['target', 'drain', 'up']);
    await rig.gate.must(['target', 'drain', 'two']);
    const r = await chat('main');
    assert.equal(r.status, 200);
    assert.equal(r.target, 'three');
    assert.equal(r.attempts, 1);
    await rig.gate.must(['target', 'resume', 'up']);
    await rig.gate.must(['target', 'resume', 'two']);
  });

  test('nobody listens: the same', async () => {
    await ups[0].refuse();
    try {
      const r = await chat('main');
      assert.equal(r.status, 200);
      assert.equal(r.target, 'two');
    } finally {
      await ups[0].listen();
    }
    await until('it is back', async () =>
      (await chat('main')).target === 'up');
  });

  test('what the caller did wrong is the same everywhere', async () => {
    for (const fault of [TOO_LONG, FILTERED,
      { fault: 'status', code: 422, times: 100 }]) {
      ups.forEach((u) => u.clear());
      ups[0].script(fault);
      assert.equal((await chat('main')).status, fault.code);
      assert.deepEqual(hits(), [1, 0, 0]);
    }
  });

  test('fallback_on: context_length, and nothing else', async () => {
    ups[0].script(TOO_LONG);
    const r = await chat('long');
    assert.equal(r.status, 200, r.text);
    assert.equal(r.target, 'two');
    for (const fault of [FAILS, FILTERED]) {
      ups.forEach((u) => u.clear());
      ups[0].script(fault);
      assert.equal((await chat('long')).status, fault.code);
      assert.deepEqual(hits(), [1, 0, 0]);
    }
  });

  test('fallback_on: content_filter and errors', async () => {
    for (const fault of [FAILS, FILTERED]) {
      ups.forEach((u) => u.clear());
      ups[0].script(fault);
      assert.equal((await chat('filter')).target, 'two');
    }
    ups.forEach((u) => u.clear());
    ups[0].script(TOO_LONG);
    assert.equal((await chat('filter')).status, 400);
    assert.deepEqual(hits(), [1, 0, 0]);
  });

  test('fallback_on: nothing', async () => {
    for (const fault of [FAILS, FILTERED, TOO_LONG]) {
      ups.forEach((u) => u.clear());
      ups[0].script(fault);
      assert.equal((await chat('off')).status, fault.code);
      assert.deepEqual(hits(), [1, 0, 0]);
    }
  });

  test('a fallback that is a glob is sent the client\'s name', async () => {
    ups[0].script(FAILS);
    const r = await chat('any-model');
    assert.equal(r.status, 200, r.text);
    assert.equal(ups[1].last.json.model, 'any-model');
  });

  test('a key needs leave for the route it names alone', async () => {
    const key = await rig.gate.must(
      ['key', 'create', '--name', 'main only', '--models', 'main']);
    ups[0].script(FAILS);
    const headers = { authorization: `Bearer ${key.key}` };
    const r = await rig.fetch('/v1/chat/completions',
      { json: { ...ask('say ok'), model: 'main' }, headers });
    assert.equal(r.status, 200, await r.text());
    const no = await rig.fetch('/v1/chat/completions',
      { json: { ...ask('say ok'), model: 'second' }, headers });
    assert.equal(no.status, 404);
    await no.text();
  });
});
