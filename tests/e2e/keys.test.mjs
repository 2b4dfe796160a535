// Keys: made, used, changed, refused.  Changes hold for the next request.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, beforeEach, describe, test } from 'node:test';

import { ask, collect, openaiFor } from './lib/openai.mjs';
import { rawRequest, requestBytes } from './lib/raw.mjs';
import { GATE_ONLY, startRig, upstreamEntry } from './lib/rig.mjs';
import { until } from './lib/until.mjs';

let rig;
const body = JSON.stringify(ask('say ok'));

/** Status of a chat request with this secret. */
const statusWith = async (secret, model = 'demo') => {
  const r = await fetch(`${rig.baseUrl}/chat/completions`, {
    method: 'POST', headers: { authorization: `Bearer ${secret}` },
    body: JSON.stringify({ ...ask('say ok'), model }) });
  await r.arrayBuffer();
  return r.status;
};

const make = (name, ...args) => rig.gate.createKey(name, ...args);
const ctl = (...args) => rig.gate.must(args);

describe('keys', GATE_ONLY, () => {
  before(async () => {
    rig = await startRig({ config: (up) => ({
      upstreams: [upstreamEntry(up, { models: ['demo', 'gpt-5-mini'] })] }) });
  });
  beforeEach(() => rig.up.clear());
  after(() => rig?.close());

  test('create: shape, secret once, enough randomness', async () => {
    await ctl('team', 'create', 'red');
    const k = await make('shape', '--team', 'red', '--models', 'demo,gpt-*',
      '--rpm', '60', '--tpm', '1000', '--parallel', '4', '--expires', '30d',
      '--metadata', 'a=b', '--metadata', 'c=d');
    assert.match(k.key, /^sk-tg-[A-Za-z0-9_-]{32,}$/);
    assert.match(k.id, /^key_[A-Za-z0-9]+$/);
    assert.equal(k.name, 'shape');
    assert.equal(k.team, 'red');
    assert.deepEqual(k.models, ['demo', 'gpt-*']);
    assert.equal(k.blocked, false);
    assert.deepEqual(k.metadata, { a: 'b', c: 'd' });
    assert.deepEqual(k.limits, { rpm: 60, tpm: 1000, parallel: 4 });
    assert.deepEqual(k.budgets, []);
    assert.match(k.created, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$/);
    const days = (new Date(k.expires) - new Date(k.created)) / 86400e3;
    assert.ok(Math.abs(days - 30) < 0.01, k.expires);
    const shown = await ctl('key', 'show', k.id);
    const { key, ...rest } = k;
    const { rate, ...seen } = shown;
    assert.deepEqual(seen, rest);
    assert.deepEqual(rate, { running: 0, requests_left: 60, tokens_left: 1000 });
    const { data } = await ctl('key', 'list');
    assert.deepEqual(data.find((x) => x.id === k.id), rest);
    assert.ok(!JSON.stringify(data).includes(key.slice(12)));
  });

  test('a key is named by id, by name, and by itself', async () => {
    const k = await make('three-names');
    for (const id of [k.id, 'three-names', k.key])
      assert.equal((await ctl('key', 'show', id)).id, k.id);
  });

  test('accepted as Bearer, x-api-key and api-key', async () => {
    for (const h of [['Authorization', `Bearer ${rig.key}`],
      ['authorization', `bearer ${rig.key}`], ['x-api-key', rig.key],
      ['API-Key', rig.key]]) {
      const r = await rawRequest(rig.address,
        requestBytes('POST', '/v1/chat/completions', [h], body));
      assert.equal(r.status, 200, h[0]);
    }
  });

  test('401 is the same bytes for every cause', async () => {
    const blocked = await make('blocked-401');
    await ctl('key', 'block', blocked.id);
    const deleted = await make('deleted-401');
    await ctl('key', 'delete', deleted.id);
    const expired = await make('expired-401', '--expires', '1s');
    await until('expiry', async () => (await statusWith(expired.key)) === 401);
    const causes = {
      missing: [], empty: [['Authorization', '']],
      'no scheme': [['Authorization', rig.key]],
      basic: [['Authorization', 'Basic eDp5']],
      unknown: [['Authorization', `Bearer sk-tg-${'A'.repeat(40)}`]],
      'one letter off': [['Authorization',
        `Bearer ${rig.key.slice(0, -1)}${rig.key.endsWith('A') ? 'B' : 'A'}`]],
      longer: [['Authorization', `Bearer ${rig.key}A`]],
      blocked: [['Authorization', `Bearer ${blocked.key}`]],
      deleted: [['x-api-key', deleted.key]],
      expired: [['Authorization', `Bearer ${expired.key}`]],
    };
    let first;
    for (const [cause, headers] of Object.entries(causes)) {
      const r = await rawRequest(rig.address,
        requestBytes('POST', '/v1/chat/completions', headers, body));
      assert.equal(r.status, 401, cause);
      const id = r.header('x-request-id');
      const seen = Buffer.concat([r.rawHead, r.body]).toString()
        .replaceAll(id, 'ID').replace(/^date: .*$/im, 'date: D');
      first ??= seen;
      assert.equal(seen, first, cause);
      assert.equal(r.json.error.code, 'invalid_api_key');
    }
    assert.equal(
      rig.up.requests.filter((r) => r.header('x-cause')).length, 0);
  });

  test('block and unblock hold for the next request', async () => {
    const k = await make('blocker');
    assert.equal(await statusWith(k.key), 200);
    assert.equal((await ctl('key', 'block', k.id)).blocked, true);
    assert.equal(await statusWith(k.key), 401);
    assert.equal((await ctl('key', 'unblock', k.id)).blocked, false);
    assert.equal(await statusWith(k.key), 200);
  });

  test('block holds on a connection that is already open', async () => {
    const k = await make('kept');
    const client = openaiFor({ baseUrl: rig.baseUrl, key: k.key });
    await client.chat.completions.create(ask('x'));
    await ctl('key', 'block', k.id);
    await assert.rejects(client.chat.completions.create(ask('x')),
      { status: 401 });
  });

  test('a blocked key\'s stream in flight is not cut', async () => {
    const k = await make('streamer');
    const script = rig.up.script({ gateAfter: 3 });
    const s = await openaiFor({ baseUrl: rig.baseUrl, key: k.key })
      .chat.completions.create(ask('count to 9', { stream: true }));
    await script.reached;
    await ctl('key', 'block', k.id);
    script.open();
    assert.equal((await collect(s)).length, 11);
  });

  test('rotate with grace: both secrets; without: the new one', async () => {
    const k = await make('rotor');
    const r = await ctl('key', 'rotate', k.id, '--grace', '1h');
    rig.gate.secrets.push(r.key);
    assert.equal(r.id, k.id);
    assert.notEqual(r.key, k.key);
    assert.equal(await statusWith(r.key), 200);
    assert.equal(await statusWith(k.key), 200, 'old one within grace');
    const again = await ctl('key', 'rotate', k.id, '--grace', '0s');
    rig.gate.secrets.push(again.key);
    assert.equal(await statusWith(again.key), 200);
    assert.equal(await statusWith(r.key), 401, 'no grace');
  });

  test('the grace of a rotated secret ends', async () => {
    const k = await make('rotor-2');
    const r = await ctl('key', 'rotate', k.id, '--grace', '1s');
    rig.gate.secrets.push(r.key);
    await until('grace over', async () => (await statusWith(k.key)) === 401);
    assert.equal(await statusWith(r.key), 200);
  });

  test('delete: gone at once, rows stay', async () => {
    const k = await make('doomed');
    assert.equal(await statusWith(k.key), 200);
    await ctl('key', 'delete', k.id);
    assert.equal(await statusWith(k.key), 401);
    const r = await rig.gate.ctl(['key', 'show', k.id]);
    assert.equal(r.code, 1);
    const usage = await ctl('usage', '--by', 'key');
    assert.ok(JSON.stringify(usage).includes(k.id), 'history is kept');
  });

  test('model allow-list: not allowed is answered like unknown', async () => {
    const k = await make('picky', '--models', 'gpt-5*');
    const reply = async (secret, model) => {
      const r = await fetch(`${rig.baseUrl}/chat/completions`, {
        method: 'POST', headers: { authorization: `Bearer ${secret}` },
        body: JSON.stringify({ ...ask('x'), model }) });
      const id = r.headers.get('x-request-id');
      return [r.status,
        (await r.text()).replaceAll(model, 'M').replaceAll(id, 'ID')];
    };
    assert.equal((await reply(k.key, 'gpt-5-mini'))[0], 200);
    const denied = await reply(k.key, 'demo');
    assert.equal(denied[0], 404);
    assert.match(denied[1], /model_not_found/);
    assert.deepEqual(await reply(rig.key, 'nope'), denied);
  });

  test('model allow-list: /v1/models shows what the key may use', async () => {
    const k = await make('lister', '--models', 'gpt-5*');
    const client = openaiFor({ baseUrl: rig.baseUrl, key: k.key });
    assert.deepEqual((await collect(client.models.list())).map((m) => m.id),
      ['gpt-5-mini']);
    await assert.rejects(client.models.retrieve('demo'),
      { status: 404, code: 'model_not_found' });
    assert.deepEqual(
      (await collect(openaiFor(rig).models.list())).map((m) => m.id).sort(),
      ['demo', 'gpt-5-mini']);
  });

  test('models and expiry can be changed while running', async () => {
    const k = await make('changing', '--models', 'demo');
    assert.equal(await statusWith(k.key, 'gpt-5-mini'), 404);
    await ctl('key', 'update', k.id, '--models', 'demo,gpt-5-mini');
    assert.equal(await statusWith(k.key, 'gpt-5-mini'), 200);
    await ctl('key', 'update', k.id, '--expires', '1s');
    await until('expiry', async () => (await statusWith(k.key)) === 401);
    await ctl('key', 'update', k.id, '--expires', '1h');
    assert.equal(await statusWith(k.key), 200);
  });

  test('many keys: each is known at once', async () => {
    const keys = await Promise.all(
      Array.from({ length: 30 }, (_, i) => make(`many-${i}`)));
    assert.equal(new Set(keys.map((k) => k.key)).size, 30);
    const all = await Promise.all(keys.map((k) => statusWith(k.key)));
    assert.deepEqual(all, Array(30).fill(200));
    const { data } = await ctl('key', 'list');
    for (const k of keys) assert.ok(data.some((x) => x.id === k.id));
  });

  test('secrets are nowhere on disk; state is private', async () => {
    const files = fs.readdirSync(rig.gate.stateDir, {
      recursive: true, withFileTypes: true });
    for (const f of files) {
      const at = path.join(f.parentPath, f.name);
      const mode = fs.statSync(at).mode & 0o777;
      if (f.isDirectory()) assert.equal(mode, 0o700, at);
      if (!f.isFile()) continue;
      assert.equal(mode, 0o600, at);
      const bytes = fs.readFileSync(at);
      for (const s of rig.gate.secrets)
        assert.equal(bytes.indexOf(s), -1, `a secret is in ${at}`);
    }
    assert.equal(fs.statSync(rig.gate.socketFile).mode & 0o777, 0o600);
  });

  test('keys survive a restart', async () => {
    const k = await make('durable', '--models', 'demo');
    await ctl('key', 'rotate', rig.keyObject.id, '--grace', '1h')
      .then((r) => rig.gate.secrets.push(r.key));
    await rig.gate.stop();
    await rig.gate.start();
    assert.equal(await statusWith(k.key), 200);
    assert.equal(await statusWith(k.key, 'gpt-5-mini'), 404);
    assert.equal(await statusWith(rig.key), 200, 'old secret, in grace');
  });
});

describe('keys: many wrong ones from one address', GATE_ONLY, () => {
  test('guessing is slowed down; a good key goes on working', async () => {
    const own = await startRig({ config: {
      auth: { failures: { limit: 20, window: '1h' } } } });
    try {
      const guess = () => rawRequest(own.address, requestBytes('GET',
        '/v1/models', [['Authorization', 'Bearer sk-tg-guess']]));
      const seen = await until('throttling', async () => {
        const r = await guess();
        return r.status !== 401 ? r : undefined;
      }, 60000);
      assert.equal(seen.status, 429);
      assert.ok(Number(seen.header('retry-after')) > 0);
      const good = await own.fetch('/v1/models');
      assert.equal(good.status, 200);
    } finally {
      await own.close();
    }
  });
});

describe('keys: auth not required', GATE_ONLY, () => {
  test('everyone is the key "anonymous"', async () => {
    const open = await startRig({ config: { auth: { required: false } } });
    try {
      const r = await fetch(`${open.baseUrl}/chat/completions`, {
        method: 'POST', body });
      assert.equal(r.status, 200);
      const id = r.headers.get('x-request-id');
      const row = await open.gate.accessRow('anonymous', (x) => x.id === id);
      assert.match(row.key, /anonymous$/);
      const any = await fetch(`${open.baseUrl}/chat/completions`, {
        method: 'POST', body, headers: { authorization: 'Bearer whatever' } });
      assert.equal(any.status, 200, 'any non-empty key will do');
      assert.ok(!open.up.last.rawHead.toString().includes('whatever'));
    } finally {
      await open.close();
    }
  });
});
