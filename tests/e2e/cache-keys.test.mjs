// Which requests are the same: what is stored for one answers the other, and
// what differs in anything that matters is asked for by itself.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { BODIES, changed, isSilent, reworded, without }
  from './lib/bodies.mjs';
import { ask } from './lib/openai.mjs';
import { GATE_ONLY, startRig, upstreamEntry } from './lib/rig.mjs';

const KEEP = { responses: { enabled: true, size: '64MiB', keep: 'always' } };
const CHAT = '/v1/chat/completions';

/** A provider of both dialects. */
const both = (up) => [
  upstreamEntry(up, { models: ['demo*', 'Demo'] }),
  upstreamEntry(up, { name: 'claude', dialect: 'anthropic',
    models: ['claude*'] }),
];

/** What became of a request: {calls, status, text, headers}. */
async function send(rig, path, body, { headers = {}, key } = {}) {
  const before = rig.up.hits;
  const r = await fetch(rig.origin + path, {
    method: 'POST',
    headers: { authorization: `Bearer ${key ?? rig.key}`,
      'content-type': 'application/json', ...headers },
    body: typeof body === 'string' ? body : JSON.stringify(body),
  });
  const text = await r.text();
  return { calls: rig.up.hits - before, status: r.status, text,
    headers: r.headers, cache: r.headers.get('x-tollgate-cache') };
}

async function isHit(rig, path, body, options, like) {
  const r = await send(rig, path, body, options);
  assert.equal(r.calls, 0, 'the provider was asked');
  assert.equal(r.cache, 'hit');
  assert.match(r.headers.get('age'), /^\d+$/);
  if (like) assert.equal(r.text, like.text);
  return r;
}

async function isMiss(rig, path, body, options) {
  const r = await send(rig, path, body, options);
  assert.equal(r.calls, 1, 'the provider was not asked');
  assert.notEqual(r.cache, 'hit');
  assert.equal(r.headers.get('age'), null);
  return r;
}

describe('what makes two requests the same', GATE_ONLY, () => {
  let rig;
  let n = 0;
  /** A chat that was never asked before. */
  const fresh = (more) => ask(`say ${n++}`, more);
  before(async () => {
    rig = await startRig({ config: (up) => ({
      upstreams: both(up), cache: KEEP }) });
  });
  after(() => rig?.close());

  for (const [path, body] of Object.entries(BODIES)) {
    test(`each field of ${path}`, async () => {
      const first = await isMiss(rig, path, body);
      assert.equal(first.status, 200, first.text);
      let differ = 0;
      for (const [where, other] of [...changed(body), ...without(body)]) {
        const r = await send(rig, path, other);
        assert.equal(r.calls, isSilent(where) ? 0 : 1, where);
        if (r.calls === 0) assert.equal(r.text, first.text, where);
        differ += r.calls;
      }
      assert.ok(differ >= 4, `${differ} fields differ`);
      await isHit(rig, path, body, {}, first);
    });

    test(`other words for ${path}`, async () => {
      const unlike = { ...body, x_test: 'words' };
      const first = await isMiss(rig, path, unlike);
      await isHit(rig, path, reworded(unlike), {}, first);
      await isHit(rig, path, JSON.stringify(unlike, null, 3), {}, first);
    });
  }

  test('numbers count by their value, all of their digits', async () => {
    const body = (seed) => JSON.stringify(ask('numbers'))
      .replace(/}$/, `,"seed":${seed}}`);
    await isMiss(rig, CHAT, body('9007199254740993'));
    await isMiss(rig, CHAT, body('9007199254740992'));
    await isHit(rig, CHAT, body('9007199254740993.0'));
    await isHit(rig, CHAT, body('9.007199254740993e15'));
    await isMiss(rig, CHAT, body('1'));
    await isHit(rig, CHAT, body('10e-1'));
    await isMiss(rig, CHAT, body('"1"'));
    await isMiss(rig, CHAT, body('null'));
  });

  test('a name twice is never kept', async () => {
    const twice = JSON.stringify(ask('twice'))
      .replace(/}$/, ',"extra":{"a":1,"a":1}}');
    for (let i = 0; i < 2; i++) await isMiss(rig, CHAT, twice);
  });

  test('a reference to an item is its id', async () => {
    const body = (id) => ({ model: 'demo', input: [
      { type: 'item_reference', id },
      { type: 'message', role: 'user', content: 'hello' }] });
    await isMiss(rig, '/v1/responses', body('msg_1'));
    await isMiss(rig, '/v1/responses', body('msg_2'));
    await isHit(rig, '/v1/responses', body('msg_1'));
  });

  test('billing lines of agents say nothing', async () => {
    const body = (line, system = 'be kind') => ({
      ...BODIES['/v1/messages'], x_test: 'billing',
      system: [...(line ? [{ type: 'text', text: line }] : []),
        { type: 'text', text: system }] });
    const line = (cch) =>
      `x-anthropic-billing-header: cc_version=2.1; cch=${cch};`;
    const first = await isMiss(rig, '/v1/messages', body(line('a1')));
    await isHit(rig, '/v1/messages', body(line('b2')), {}, first);
    await isHit(rig, '/v1/messages', body(), {}, first);
    await isMiss(rig, '/v1/messages', body(line('a1'), 'be rude'));
    await isMiss(rig, '/v1/messages', body(`${line('a')}\nBe rude.`));
  });

  test('versions and betas count, what clients tell of themselves does not',
    async () => {
      const body = fresh();
      await isMiss(rig, CHAT, body);
      const counts = [
        { 'anthropic-version': '2023-06-01' },
        { 'anthropic-version': '2026-10-21' },
        { 'anthropic-beta': 'a' }, { 'anthropic-beta': 'a,b' },
        { 'OpenAI-Beta': 'x=v2' }, { 'openai-organization': 'o' },
        { 'openai-project': 'o' },
      ];
      for (const headers of counts) {
        await isMiss(rig, CHAT, body, { headers });
        await isHit(rig, CHAT, body, { headers });
      }
      const silent = [
        { 'x-stainless-retry-count': '1', 'x-stainless-lang': 'js' },
        { 'idempotency-key': 'abc' }, { 'accept-encoding': 'gzip, br' },
        { accept: 'text/event-stream' }, { 'user-agent': 'other/1' },
        { 'x-request-id': 'r1', traceparent: '00-1-2-3' },
        { cookie: 'a=b' }, { 'content-type': 'text/plain' },
        { 'anthropic-dangerous-direct-browser-access': 'true' },
      ];
      for (const headers of silent)
        await isHit(rig, CHAT, body, { headers });
    });

  test('operations and queries are apart', async () => {
    const body = { ...fresh(), prompt: 'p', input: 'i', max_tokens: 9 };
    await isMiss(rig, CHAT, body);
    await isHit(rig, '/chat/completions', body);
    for (const path of ['/v1/completions', '/v1/embeddings', '/v1/responses',
      `${CHAT}?api-version=1`, `${CHAT}?api-version=2`,
      '/openai/deployments/demo/chat/completions?api-version=1',
      '/v1/messages', '/v1/messages?beta=true', '/v1/messages/count_tokens']) {
      const asked = path.includes('messages')
        ? { ...body, model: 'claude' } : body;
      await isMiss(rig, path, asked);
      await isHit(rig, path, asked);
    }
  });

  test('models are apart', async () => {
    const body = fresh();
    await isMiss(rig, CHAT, body);
    await isMiss(rig, CHAT, { ...body, model: 'demo2' });
    await isMiss(rig, CHAT, { ...body, model: 'Demo' });
  });

  test('keys are apart, whatever a request says of itself', async () => {
    const two = await rig.gate.createKey('two');
    const body = fresh();
    const first = await isMiss(rig, CHAT, body);
    const other = await isMiss(rig, CHAT, body, { key: two.key });
    assert.notEqual(first.text, other.text);
    await isHit(rig, CHAT, body, {}, first);
    await isHit(rig, CHAT, body, { key: two.key }, other);
    const asOne = { 'x-tollgate-key': rig.keyObject.id,
      'x-tollgate-scope': 'shared', 'x-key-id': rig.keyObject.id };
    await isHit(rig, CHAT, body, { key: two.key, headers: asOne }, other);
    await isHit(rig, CHAT, { ...body, user: rig.keyObject.id },
      { key: two.key }, other);
    const third = await rig.gate.createKey('three');
    await isMiss(rig, CHAT, { ...body, user: rig.keyObject.id },
      { key: third.key, headers: asOne });
  });

  test('some are never kept', async () => {
    const never = [
      ['/v1/responses', { model: 'demo', input: 'a', background: true }],
      ['/v1/responses', { model: 'demo', input: 'a', conversation: 'conv_1' }],
      ['/v1/responses/compact', { model: 'demo', input: 'a' }],
      ['/v1/images/generations', { model: 'demo', prompt: 'a' }],
      ['/v1/audio/speech', { model: 'demo', input: 'a', voice: 'alloy' }],
      ['/v1/batches', { input_file_id: 'f', endpoint: '/v1/embeddings' }],
    ];
    for (const [path, body] of never)
      for (let i = 0; i < 2; i++) await isMiss(rig, path, body);
    const body = fresh();
    for (let i = 0; i < 2; i++)
      await isMiss(rig, CHAT, body, { headers: { range: 'bytes=0-9' } });
  });
});

describe('who shares what is stored', GATE_ONLY, () => {
  for (const scope of ['team', 'shared'])
    test(scope, async () => {
      const rig = await startRig({ config: {
        cache: { responses: { ...KEEP.responses, scope } } } });
      try {
        await rig.gate.must(['team', 'create', 'red']);
        await rig.gate.must(['team', 'create', 'blue']);
        const key = async (name, ...more) =>
          (await rig.gate.createKey(name, ...more)).key;
        const a = await key('a', '--team', 'red');
        const b = await key('b', '--team', 'red');
        const c = await key('c', '--team', 'blue');
        const d = await key('red');
        const e = await key('e');
        const shared = scope === 'shared' ? isHit : isMiss;
        const body = ask('share');
        const first = await isMiss(rig, CHAT, body, { key: a });
        await isHit(rig, CHAT, body, { key: b }, first);
        await shared(rig, CHAT, body, { key: c });
        await shared(rig, CHAT, body, { key: d });
        await shared(rig, CHAT, body, { key: e });
        await isHit(rig, CHAT, body, { key: e });
      } finally {
        await rig.close();
      }
    });
});

describe('which replies are kept', GATE_ONLY, () => {
  test('by default those that asked for one answer', async () => {
    const rig = await startRig({ config: (up) => ({
      upstreams: both(up),
      cache: { responses: { enabled: true, size: '64MiB' } },
      routes: [
        { model: 'always', cache: 'always', targets: [{ upstream: 'up' }] },
        { model: 'never', cache: 'never', targets: [{ upstream: 'up' }] },
        { model: 'claude', targets: [{ upstream: 'claude' }] },
        { model: '*', targets: [{ upstream: 'up' }] },
      ] }) });
    const twice = async (path, body, second) => {
      await isMiss(rig, path, body);
      await second(rig, path, body);
    };
    try {
      await twice(CHAT, ask('a'), isMiss);
      await twice(CHAT, ask('b', { temperature: 0.1 }), isMiss);
      await twice(CHAT, ask('c', { temperature: null, seed: null }), isMiss);
      await twice(CHAT, ask('d', { temperature: 0 }), isHit);
      await twice(CHAT, ask('e', { temperature: 1, seed: 5 }), isHit);
      await twice('/v1/embeddings', { model: 'demo', input: 'a' }, isHit);
      await twice('/v1/messages', { ...BODIES['/v1/messages'],
        temperature: 0 }, isHit);
      await twice('/v1/responses', { ...BODIES['/v1/responses'],
        temperature: 0 }, isHit);
      await twice(CHAT, ask('f', { model: 'always' }), isHit);
      await twice(CHAT, ask('g', { model: 'never', seed: 1 }), isMiss);
      await twice('/v1/embeddings', { model: 'never', input: 'a' }, isMiss);
    } finally {
      await rig.close();
    }
  });
});

describe('which replies are kept under a route', GATE_ONLY, () => {
  test('its own, not those of a fallback', async () => {
    const rig = await startRig({ config: (up) => ({
      upstreams: [upstreamEntry(up), upstreamEntry(up, { name: 'spare' })],
      routes: [
        { model: 'smart', fallbacks: ['plain'],
          targets: [{ upstream: 'up', model: 'large' }] },
        { model: 'plain', targets: [{ upstream: 'spare', model: 'small' }] },
        { model: 'one', fallbacks: ['two'], targets: [{ upstream: 'up' }] },
        { model: 'two', targets: [{ upstream: 'up' }] },
      ],
      cache: KEEP }) });
    try {
      const body = ask('fall back', { model: 'smart' });
      rig.up.script({ fault: 'status', code: 503 });
      const first = await send(rig, CHAT, body);
      assert.equal(first.status, 200);
      assert.equal(rig.up.last.json.model, 'small');
      const own = await isMiss(rig, CHAT, body);
      assert.equal(rig.up.last.json.model, 'large');
      await isHit(rig, CHAT, body, {}, own);
      rig.up.script({ fault: 'status', code: 503 });
      await send(rig, CHAT, { ...body, model: 'one' });
      assert.equal(rig.up.last.json.model, 'two');
      await isMiss(rig, CHAT, { ...body, model: 'one' });
      await isHit(rig, CHAT, { ...body, model: 'one' });
    } finally {
      await rig.close();
    }
  });
});

describe('what a request asks of stored replies', GATE_ONLY, () => {
  let rig;
  let n = 0;
  before(async () => {
    rig = await startRig({ config: { cache: KEEP } });
  });
  after(() => rig?.close());
  const saying = (text) => ({ headers: { 'cache-control': text } });
  const fresh = () => ask(`demand ${n++}`);

  test('no-store: neither given nor kept', async () => {
    const body = fresh();
    await isMiss(rig, CHAT, body, saying('no-store'));
    await isMiss(rig, CHAT, body, saying('No-Store, foo="a"'));
    const kept = await isMiss(rig, CHAT, body);
    await isHit(rig, CHAT, body, {}, kept);
  });

  test('no-cache: asked anew, and kept instead', async () => {
    const body = fresh();
    const one = await isMiss(rig, CHAT, body);
    const two = await isMiss(rig, CHAT, body, saying('no-cache'));
    assert.notEqual(one.text, two.text);
    await isHit(rig, CHAT, body, {}, two);
    const three = await isMiss(rig, CHAT, body, { headers: {
      pragma: 'no-cache' } });
    await isHit(rig, CHAT, body, {}, three);
  });

  test('max-age: not older than that', async () => {
    const body = fresh();
    await isMiss(rig, CHAT, body);
    await isHit(rig, CHAT, body, saying('max-age=3600'));
    await isHit(rig, CHAT, body, saying('max-age="3600"'));
    await isMiss(rig, CHAT, body, saying('max-age=0'));
    await isMiss(rig, CHAT, body, saying('max-age=soon'));
    await isMiss(rig, CHAT, body, saying('max-age=3600, max-age=0'));
    await isHit(rig, CHAT, body, saying('private, x-foo="max-age=0, no-cache"'));
  });

  test('only-if-cached: a stored reply or none', async () => {
    const body = fresh();
    const r = await send(rig, CHAT, body, saying('only-if-cached'));
    assert.equal(r.status, 504);
    assert.equal(r.calls, 0);
    assert.equal(JSON.parse(r.text).error.code, 'not_cached');
    const kept = await isMiss(rig, CHAT, body);
    await isHit(rig, CHAT, body, saying('only-if-cached'), kept);
  });
});

describe('a configuration that changes', GATE_ONLY, () => {
  test('what is left out, and where it goes', async () => {
    const config = (up, ignore, model) => ({
      upstreams: [upstreamEntry(up)],
      routes: [{ model: 'demo', targets: [{ upstream: 'up', model }] }],
      cache: { ...KEEP, ...(ignore ? { ignore } : {}) } });
    const rig = await startRig({ config: (up) => config(up, null, 'real') });
    const become = async (...args) => {
      rig.gate.writeConfig({ ...config(rig.up, ...args),
        listen: rig.gate.config.listen });
      assert.equal((await rig.gate.reload()).code, 0);
    };
    try {
      const body = ask('config', { user: 'a' });
      await isMiss(rig, CHAT, body);
      await isHit(rig, CHAT, { ...body, user: 'b' });
      await become(['metadata'], 'real');
      await isMiss(rig, CHAT, body);
      await isMiss(rig, CHAT, { ...body, user: 'b' });
      await isHit(rig, CHAT, body);
      await become(['user', 'top_p'], 'real');
      await isHit(rig, CHAT, { ...body, user: 'c', top_p: 0.5 });
      await become(['user'], 'elsewhere');
      await isMiss(rig, CHAT, body);
      assert.equal(rig.up.last.json.model, 'elsewhere');
      await become(['user'], 'real');
      await isHit(rig, CHAT, body);
    } finally {
      await rig.close();
    }
  });
});
