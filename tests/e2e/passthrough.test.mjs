// What tollgate does not know it passes on: uploads and downloads of any
// size, streamed both ways, and WebSockets.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { after, before, beforeEach, describe, test } from 'node:test';

import { WebSocket } from 'ws';

import { Plan } from './lib/provider/http.mjs';
import { patternBlocks } from './lib/provider/text.mjs';
import { wsAccept, wsFrame } from './lib/provider/ws.mjs';
import { RawClient, rawRequest, requestBytes } from './lib/raw.mjs';
import { DIRECT, GATE_ONLY, startRig } from './lib/rig.mjs';
import { UPSTREAM_KEY, memoryFactor } from './lib/tollgate.mjs';
import { until, within } from './lib/until.mjs';

const MIB = 1 << 20;

let rig;
before(async () => {
  rig = await startRig({ config: { limits: { body: '256MiB' } } });
});
beforeEach(() => rig.up.clear());
after(() => rig?.close());

const auth = () => ['Authorization', `Bearer ${rig.key}`];

/** Fails when the daemon grew by more than this while f ran. */
async function withinMemory(bytes, f) {
  if (DIRECT) return f();
  const before = rig.gate.rssBytes();
  let worst = 0;
  const watch = setInterval(() => {
    worst = Math.max(worst, rig.gate.rssBytes() - before);
  }, 20);
  const result = await f().finally(() => clearInterval(watch));
  assert.ok(worst < bytes * memoryFactor(), `memory grew by ${(worst / MIB).toFixed(1)} MiB`);
  return result;
}

describe('large transfers', () => {
  const total = 100 * MIB;

  for (const framing of ['content-length', 'chunked'])
    test(`an upload of 100 MiB (${framing}) is streamed`, async () => {
      const hash = createHash('sha256');
      await withinMemory(24 * MIB, async () => {
        const c = await RawClient.connect(rig.address);
        await c.send(requestBytes('POST', '/v1/uploads/u/blob', [auth(),
          ['Content-Type', 'application/octet-stream'],
          framing === 'chunked' ? ['Transfer-Encoding', 'chunked']
            : ['Content-Length', String(total)]]));
        for (const b of patternBlocks(total, MIB)) {
          hash.update(b);
          if (framing === 'chunked')
            await c.send(`${b.length.toString(16)}\r\n`);
          await c.send(b);
          if (framing === 'chunked') await c.send('\r\n');
        }
        if (framing === 'chunked') await c.send('0\r\n\r\n');
        const r = await c.readReply();
        c.destroy();
        assert.equal(r.status, 404, 'the provider knows no upload "u"');
      });
      assert.equal(rig.up.last.bodyBytes, total);
      assert.equal(rig.up.last.sha256, hash.digest('hex'));
    });

  test('a download of 100 MiB is streamed', async () => {
    const want = createHash('sha256');
    for (const b of patternBlocks(total)) want.update(b);
    await withinMemory(24 * MIB, async () => {
      const r = await rig.fetch(`/v1/files/file-pattern-${total}/content`);
      assert.equal(r.headers.get('content-length'), String(total));
      const got = createHash('sha256');
      for await (const part of r.body) got.update(part);
      assert.equal(got.digest('hex'), want.digest('hex'));
    });
  });

  test('a stream does not hold on to its request', GATE_ONLY, async () => {
    const n = 20;
    const script = rig.up.script({ gateAfter: 2, times: n });
    const prompt = 'x'.repeat(MIB);
    const open = [];
    for (let i = 0; i < n; i++)
      open.push(await rig.fetch('/v1/chat/completions', { json: {
        model: 'demo', stream: true,
        messages: [{ role: 'system', content: prompt },
          { role: 'user', content: 'count to 5' }] } }));
    const text = await (await fetch(`${rig.origin}/metrics`)).text();
    assert.match(text, /^tollgate_buffered_bytes 0$/m);
    script.open();
    for (const r of open) {
      assert.match(await r.text(), /\[DONE\]\n\n$/);
      const row = await rig.gate.accessRow('held',
        (x) => x.id === r.headers.get('x-request-id'));
      assert.equal(row.model, 'demo');
      assert.ok(row.bytes_in > MIB);
    }
  });

  test('an upload starts to arrive before it is complete', async () => {
    const c = await RawClient.connect(rig.address);
    await c.send(requestBytes('POST', '/v1/agents', [auth(),
      ['Content-Length', '100000']], Buffer.alloc(60000)));
    const rec = await rig.up.waitFor((r) => r.path === '/v1/agents');
    await until('the first part', () => rec.bodyBytes >= 50000);
    assert.equal(rec.bodyDone, false);
    await c.send(Buffer.alloc(40000));
    assert.equal((await c.readReply()).json.bytes, 100000);
    c.destroy();
  });

  test('a provider that reads slowly holds the client back', GATE_ONLY,
    async () => {
      const script = rig.up.script({ holdBody: true });
      const size = 64 * MIB;
      let sent = 0;
      await withinMemory(24 * MIB, async () => {
        const c = await RawClient.connect(rig.address);
        await c.send(requestBytes('POST', '/v1/agents', [auth(),
          ['Content-Length', String(size)]]));
        const sending = (async () => {
          for (const b of patternBlocks(size, MIB)) {
            await c.send(b);
            sent += b.length;
          }
        })();
        await script.request;
        let last = -1;
        let still = 0;
        await until('the client is held back', () => {
          still = sent === last ? still + 1 : 0;
          last = sent;
          return still > 5 && sent > 0;
        });
        assert.ok(sent < size, 'not all was taken');
        script.open();
        await sending;
        assert.equal((await c.readReply()).json.bytes, size);
        c.destroy();
      });
    });

  test('an answer before the end of the upload reaches the client',
    async () => {
      rig.up.script({ when: 'head', fault: 'status', code: 413,
        message: 'too much for me' });
      const c = await RawClient.connect(rig.address);
      await c.send(requestBytes('POST', '/v1/agents', [auth(),
        ['Content-Length', '5000000']], Buffer.alloc(1000)));
      const r = await c.readReply();
      assert.equal(r.status, 413);
      assert.match(r.text, /too much for me/);
      c.destroy();
    });
});

describe('passthrough streams', () => {
  test('any event stream passes as it comes, and ends as it ends',
    async () => {
      const script = rig.up.script({
        plan: () => streamPlan(), gateAfter: 2 });
      const c = await RawClient.connect(rig.address);
      await c.send(requestBytes('POST', '/v1/threads/t/runs', [auth()],
        '{"stream":true}'));
      const first = await c.reader.readUntil(Buffer.from('two'));
      assert.match(first.toString(), /data: one\n\n/);
      script.open();
      await c.reader.readUntil(Buffer.from('0\r\n\r\n'));
      c.destroy();
    });

  test('a reply without a length, ended by close, arrives whole',
    async () => {
      rig.up.script({ fault: 'close_delimited' });
      const r = await rig.fetch('/v1/agents', { json: { x: 1 } });
      assert.equal((await r.json()).object, 'echo');
    });

  test('a reply cut short is an error to the client', async () => {
    rig.up.script({ fault: 'short_length' });
    await assert.rejects(async () => {
      const r = await rig.fetch('/v1/agents', { json: { x: 1 } });
      const text = await r.text();
      if (r.status >= 500) throw new Error(text);
    });
  });
});

const streamPlan = () =>
  Plan.events(['one', 'two', 'three'].map((data) => ({ data })));

describe('passthrough accounting', GATE_ONLY, () => {
  test('one row a request, with the path and the target', async () => {
    const r = await rig.fetch('/v1/agents/a%2Fb?secret=q', { json: {} });
    const row = await rig.gate.accessRow('passed',
      (x) => x.id === r.headers.get('x-request-id'));
    assert.equal(row.target, 'up');
    assert.ok(!JSON.stringify(row).includes('secret'), 'no query in logs');
    assert.ok(row.bytes_in > 0 && row.bytes_out > 0);
  });

  test('a reply that tells its usage is read, model or not', async () => {
    rig.up.script({ plan: () => Plan.json({ id: 'resp_1', object: 'response',
      model: 'm', status: 'completed', output: [],
      usage: { input_tokens: 31, output_tokens: 7, total_tokens: 38 } }) });
    const r = await rig.fetch('/v1/responses',
      { json: { prompt: { id: 'pmpt_1' } } });
    assert.equal(r.status, 200);
    assert.equal(await r.text(), rig.up.last.payload.toString());
    const row = await rig.gate.accessRow('stored prompt',
      (x) => x.id === r.headers.get('x-request-id'));
    assert.deepEqual([row.input_tokens, row.output_tokens, row.usage_source],
      [31, 7, 'upstream']);
  });

  test('without a passthrough upstream: 404 as JSON', async () => {
    const none = await startRig({ config: { passthrough: undefined } });
    try {
      const r = await none.fetch('/v1/agents', { json: {} });
      assert.equal(r.status, 404);
      assert.equal((await r.json()).error.code, 'unknown_url');
      assert.equal(none.up.hits, 0);
      const u = await none.fetch('/v1/files', { method: 'POST',
        body: Buffer.alloc(100000) });
      assert.equal(u.status, 404);
    } finally {
      await none.close();
    }
  });
});

describe('models of unknown operations', GATE_ONLY, () => {
  let routed;
  let limited;
  before(async () => {
    routed = await startRig({ config: (up) => ({
      limits: { body: '256KiB' },
      routes: [{ model: 'known', targets: [{ upstream: 'up', model: 'm2' }] },
        { model: 'other', targets: [{ upstream: 'up' }] }] }) });
    limited = (await routed.gate.createKey('l', '--models', 'known')).key;
  });
  beforeEach(() => routed.up.clear());
  after(() => routed?.close());

  const types = [null, 'text/plain', 'text/plain; charset=utf-8', 'TEXT/JSON',
    'application/x-www-form-urlencoded', 'application/json'];
  const form = (name, more = '') =>
    `--b\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n` +
    `\r\n${'{}'.repeat(2000)}\r\n--b\r\nContent-Disposition: form-data; ` +
    `name="model"\r\n\r\n${name}\r\n${more}--b--\r\n`;
  const FORM = 'multipart/form-data; boundary=b';

  const post = (path, type, body, key = routed.key) =>
    rawRequest(routed.address, requestBytes('POST', path,
      [['Authorization', `Bearer ${key}`],
        ...(type ? [['Content-Type', type]] : [])], body));

  test('JSON routes by its model whatever it is called', async () => {
    for (const type of types) {
      await post('/v1/agents', type, ' \r\n{"x": 1, "model": "known"}');
      assert.equal(routed.up.last.body.toString(),
        ' \r\n{"x": 1, "model": "m2"}', String(type));
      const r = await post('/v1/agents', type, '{"model":"none-such"}');
      assert.equal(r.status, 404, String(type));
      assert.equal(r.json.error.code, 'model_not_found');
    }
  });

  test('a form routes by its model part', async () => {
    for (const path of ['/v1/agents', '/v1/responses', '/v1/images/edits']) {
      await post(path, FORM, form('known'));
      assert.equal(routed.up.last.body.toString(), form('m2'), path);
    }
  });

  test('a key with a list of models reaches no other', async () => {
    for (const type of [...types, 'application/octet-stream', 'x/y'])
      for (const body of ['{"model":"other"}', '\n\t {"model":"other"}',
        '{"model":"known","model":"other"}', '\ufeff{"model":"other"}',
        '{"x":NaN,"model":"other"}', `${' '.repeat(99999)}{"model":"other"}`])
        for (const path of ['/v1/fine_tuning/jobs', '/v1/some/new/thing',
          '/v1/images/variations']) {
          const r = await post(path, type, body, limited);
          assert.ok(r.status === 404 || r.status === 400,
            `${path} ${type} ${body.slice(0, 40)}: ${r.status}`);
        }
    for (const path of ['/v1/some/new/thing', '/v1/responses'])
      for (const body of [form('other'), form('other').replace('--b--\r\n', '')])
        assert.ok((await post(path, FORM, body, limited)).status >= 400);
    assert.equal(routed.up.hits, 0);
    await post('/v1/some/new/thing', 'text/plain', '{"model":"known"}', limited);
    assert.equal(routed.up.last.json.model, 'm2');
  });

  test('what is no JSON object passes as it is', async () => {
    for (const type of [null, 'text/plain', 'application/x-ndjson'])
      for (const body of ['{"a":1}\n{"a":2}\n', '{', 'a=b&model=known', ' ',
        '["known"]', '{"a":1}', '\0{"model":"known"}',
        `x${'y'.repeat(200 * 1024)}`]) {
        await post('/v1/agents', type, body);
        assert.equal(routed.up.last.body.toString(), body);
      }
    await post('/v1/agents', FORM, 'no form at all');
    assert.equal(routed.up.last.body.toString(), 'no form at all');
  });

  test('JSON that comes in small pieces', async () => {
    const text = ` \n{"model":"known","text":"${'z'.repeat(1000)}"}`;
    const c = await RawClient.connect(routed.address);
    await c.send(requestBytes('POST', '/v1/agents', [
      ['Authorization', `Bearer ${routed.key}`],
      ['Transfer-Encoding', 'chunked']]));
    for (const byte of text)
      await c.send(`1\r\n${byte}\r\n`);
    await c.send('0\r\n\r\n');
    assert.equal((await c.readReply()).status, 200);
    c.destroy();
    assert.equal(routed.up.last.body.toString(), text.replace('known', 'm2'));
  });

  test('forms with files are not held', async () => {
    for (const path of ['/v1/uploads/u/parts', '/v1/files',
      '/v1/containers/c/files', '/openai/files']) {
      const c = await RawClient.connect(routed.address);
      await c.send(requestBytes('POST', path, [
        ['Authorization', `Bearer ${limited}`], ['Content-Type', FORM],
        ['Content-Length', '100000']], Buffer.alloc(60000)));
      const rec = await routed.up.waitFor((r) => path.endsWith(r.path.slice(3)));
      await until('the first part', () => rec.bodyBytes >= 50000);
      assert.equal(rec.bodyDone, false);
      c.destroy();
      routed.up.clear();
    }
  });
});

/** Opens a WebSocket through the rig. */
function open(path, { protocols = [], headers = {} } = {}) {
  const ws = new WebSocket(`${rig.origin.replace('http', 'ws')}${path}`,
    protocols, { headers: { Authorization: `Bearer ${rig.key}`, ...headers } });
  const inbox = [];
  ws.on('message', (data, binary) =>
    inbox.push(binary ? data : JSON.parse(data.toString())));
  return { ws, inbox, opened: new Promise((resolve, reject) => {
    ws.once('open', resolve);
    ws.once('error', reject);
    ws.once('unexpected-response', (_, r) => {
      r.resume();
      reject(Object.assign(new Error('refused'), { status: r.statusCode }));
    });
  }) };
}

describe('WebSocket', () => {
  test('realtime: session, echo, binary, ping, close', async () => {
    const { ws, inbox, opened } = open('/v1/realtime?model=demo');
    await within(opened, 'the handshake');
    await until('session.created', () => inbox.length >= 1);
    assert.equal(inbox[0].type, 'session.created');
    assert.equal(inbox[0].session.model, 'demo');
    ws.send(JSON.stringify({ type: 'x', text: '\u{1f600}'.repeat(1000) }));
    await until('the echo', () => inbox.length >= 2);
    assert.equal(inbox[1].echo.text.length, 2000);
    const data = Buffer.concat([...patternBlocks(200000)]);
    ws.send(data);
    await until('the bytes', () => inbox.length >= 3);
    assert.ok(inbox[2].equals(data));
    const pong = new Promise((r) => ws.once('pong', r));
    ws.ping('p');
    assert.equal((await within(pong, 'pong')).toString(), 'p');
    const closed = new Promise((r) => ws.once('close', r));
    ws.close(1000, 'done');
    assert.equal(await within(closed, 'close'), 1000);
    if (DIRECT) return;
    const up = rig.up.last;
    assert.equal(up.target, '/v1/realtime?model=demo');
    assert.equal(up.header('authorization'), `Bearer ${UPSTREAM_KEY}`);
    assert.ok(!up.rawHead.toString().includes(rig.key));
    const row = await rig.gate.accessRow('the tunnel',
      (x) => x.path === '/v1/realtime' && x.status === 101);
    assert.ok(row.bytes_in > 200000 && row.bytes_out > 200000);
  });

  test('responses over a WebSocket', async () => {
    const { ws, inbox, opened } = open('/v1/responses');
    await within(opened, 'the handshake');
    ws.send(JSON.stringify({ type: 'response.create', model: 'demo',
      input: 'count to 3' }));
    await until('completion', () =>
      inbox.at(-1)?.type === 'response.completed');
    assert.equal(inbox.at(-1).response.usage.output_tokens, 3);
    ws.terminate();
  });

  test('a key in the subprotocol, as browsers send it', async () => {
    const { ws, opened } = open('/v1/realtime?model=demo', {
      protocols: ['realtime', `openai-insecure-api-key.${rig.key}`],
      headers: { Authorization: DIRECT ? `Bearer ${rig.key}` : '' } });
    await within(opened, 'the handshake');
    assert.equal(ws.protocol, 'realtime');
    ws.terminate();
    if (!DIRECT)
      assert.ok(!rig.up.last.rawHead.toString().includes(rig.key));
  });

  test('a key with a list of models reaches no other', GATE_ONLY, async () => {
    const k = await rig.gate.createKey('realtime-only', '--models', 'rt-*');
    const headers = { Authorization: `Bearer ${k.key}` };
    const { opened, ws } = open('/v1/realtime?model=rt-1', { headers });
    await within(opened, 'the handshake');
    ws.terminate();
    rig.up.clear();
    for (const path of ['/v1/realtime?model=demo', '/v1/realtime',
      '/v1/realtime?model=rt-1&model=demo', '/v1/responses',
      '/v1/realtime?mo%64el=demo', '/openai/realtime?deployment=demo'])
      await assert.rejects(open(path, { headers }).opened, { status: 404 },
        path);
    for (const [method, path] of [['POST', '/v1/realtime/calls?model=demo'],
      ['POST', '/openai/deployments/demo/unknown'],
      ['DELETE', '/v1/models/demo'], ['DELETE', '/v1/models/org%2Fdemo']]) {
      const r = await rig.fetch(path, { method,
        headers: { authorization: `Bearer ${k.key}` } });
      assert.equal(r.status, 404, path);
      assert.equal((await r.json()).error.code, 'model_not_found');
    }
    assert.equal(rig.up.hits, 0);
  });

  test('a wrong key is 401, nothing goes upstream', GATE_ONLY, async () => {
    const { opened } = open('/v1/realtime', {
      headers: { Authorization: 'Bearer sk-tg-no' } });
    await assert.rejects(opened, { status: 401 });
    assert.equal(rig.up.hits, 0);
  });

  test('a provider that refuses: its own status', GATE_ONLY, async () => {
    rig.up.refuseWebSockets = true;
    rig.up.script({ fault: 'status', code: 426 });
    const { opened } = open('/v1/realtime');
    await assert.rejects(opened, { status: 426 })
      .finally(() => (rig.up.refuseWebSockets = false));
  });

  test('frames sent with the handshake are not lost', async () => {
    const c = await RawClient.connect(rig.address);
    const key = Buffer.from('0123456789abcdef').toString('base64');
    await c.send(Buffer.concat([
      requestBytes('GET', '/v1/realtime?model=demo', [auth(),
        ['Connection', 'keep-alive, Upgrade'], ['Upgrade', 'websocket'],
        ['Sec-WebSocket-Version', '13'], ['Sec-WebSocket-Key', key]]),
      wsFrame(2, 'early', Buffer.from([1, 2, 3, 4]))]));
    const r = await c.readReply();
    assert.equal(r.status, 101);
    assert.equal(r.header('sec-websocket-accept'), wsAccept(key));
    await c.reader.readUntil(Buffer.from('early'));
    c.destroy();
    await until('the provider sees the end', () => rig.up.last.finished ||
      rig.up.last.aborted);
  });

  test('the client goes: the provider is told', async () => {
    const { ws, opened } = open('/v1/realtime?model=demo');
    await opened;
    ws.terminate();
    await until('told', () => rig.up.last.finished || rig.up.last.aborted);
  });

  test('the provider goes: the client is told', async () => {
    const { ws, opened } = open('/v1/realtime?model=demo');
    await opened;
    const closed = new Promise((r) => ws.once('close', r));
    rig.up.dropConnections();
    await within(closed, 'close');
  });

  test('without a passthrough upstream: a clean 404', GATE_ONLY, async () => {
    const none = await startRig({ config: { passthrough: undefined } });
    try {
      const ws = new WebSocket(
        `${none.origin.replace('http', 'ws')}/v1/realtime`,
        { headers: { Authorization: `Bearer ${none.key}` } });
      const status = await new Promise((resolve, reject) => {
        ws.once('unexpected-response', (_, r) => resolve(r.statusCode));
        ws.once('open', () => reject(new Error('it opened')));
        ws.once('error', reject);
      });
      assert.equal(status, 404);
      ws.on('error', () => {});
      ws.terminate();
    } finally {
      await none.close();
    }
  });
});
