// HTTP/1.1 over real sockets: every vector of tests/lib/http1_vectors.json,
// and the habits of clients that break naive proxies.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import { after, before, beforeEach, describe, test } from 'node:test';

import { ask } from './lib/openai.mjs';
import { sha256 } from './lib/provider/text.mjs';
import { RawClient, rawRequest, requestBytes } from './lib/raw.mjs';
import { DIRECT, GATE_ONLY, startRig } from './lib/rig.mjs';
import { runProgram } from './lib/tollgate.mjs';
import { until, within } from './lib/until.mjs';

const FILE = new URL('../lib/http1_vectors.json', import.meta.url);
const vectors = fs.existsSync(FILE)
  ? JSON.parse(fs.readFileSync(FILE, 'utf8')) : [];

const NO_CURL = await runProgram('curl', ['--version'])
  .then(() => false, () => 'curl is not installed');

let rig;
before(async () => {
  rig = await startRig({ config: { cors: { origins: ['https://app.test'] } } });
});
beforeEach(() => rig.up.clear());
after(() => rig?.close());

const latin = (s) => Buffer.from(s, 'latin1');

/** Bytes of a vector: code points stand for bytes. */
const bytesOf = (raw) => Buffer.concat([raw].flat().map((part) =>
  typeof part === 'string' ? latin(part)
    : latin(part.repeat.repeat(part.times))));

/** The same messages, with a key, to a route that reaches the provider. */
function aimed(v, target) {
  const line = /(POST|DELETE|PUT) \/ (HTTP\/1\.\d\r\n)/g;
  const text = bytesOf(v.raw).toString('latin1');
  return line.test(text) ? latin(text.replace(line,
    `$1 ${target} $2Authorization: Bearer ${rig.key}\r\n`)) : undefined;
}

/**
 * Sends bytes and reads all replies: the connection must end, after a reply
 * of this status as the last one; gives the number of replies before it.
 */
async function refused(bytes, v, statuses, split) {
  const c = await RawClient.connect(rig.address);
  if (split) await c.sendSplit(bytes, split);
  else await c.send(bytes);
  const replies = [];
  for (let r = await c.readReply(); r; r = await c.readReply())
    replies.push(r);
  c.destroy();
  const last = replies.pop();
  if (!last) return 0;
  assert.ok(statuses.includes(last.status), `${v.name}: ${last.statusLine}`);
  assert.ok(last.json.error.message, 'the error is JSON');
  assert.ok(last.header('x-request-id'));
  assert.match(last.header('connection') ?? '', /close/i);
  return replies.length;
}

describe('HTTP/1.1 vectors: must be refused', {
  skip: (DIRECT && 'needs tollgate') || (vectors.length === 0 &&
    'tests/lib/http1_vectors.json is not there') }, () => {
  for (const v of vectors.filter((x) => x.expect === 'refuse'))
    test(`${v.rfc}: ${v.name}`, async () => {
      // "/" takes no POST: that may be said before the body is judged
      const bytes = bytesOf(v.raw);
      const statuses = v.where === 'body' ? [v.status, 405] : [v.status];
      await refused(bytes, v, statuses);
      if (bytes.length < 300) await refused(bytes, v, statuses, 1);
      const deep = aimed(v, '/v1/embeddings');
      const good = deep ? await refused(deep, v, [v.status]) : 0;
      assert.ok(rig.up.hits <= good, 'the bad one did not go upstream');
    });
});

describe('HTTP/1.1 vectors: must be accepted', {
  skip: (DIRECT && 'needs tollgate') || (vectors.length === 0 &&
    'tests/lib/http1_vectors.json is not there') }, () => {
  for (const v of vectors.filter((x) => x.expect === 'accept'))
    test(`${v.rfc}: ${v.name}`, async () => {
      const aim = aimed(v, '/v1/agents');
      const bytes = aim ?? bytesOf(v.raw);
      const methods = [...bytes.toString('latin1')
        .matchAll(/(?:^|[^\w])([A-Za-z!#$-]+) \S* ?HTTP\/1/g)]
        .map((m) => m[1].replace(/^.*(GET|HEAD|POST|DELETE)$/, '$1'));
      const c = await RawClient.connect(rig.address);
      await c.send(bytes);
      for (const [i, body] of v.bodies.entries()) {
        const method = methods[i] ?? 'GET';
        const r = await c.readReply({ method });
        assert.ok(r, `reply ${i + 1} of ${v.bodies.length}`);
        assert.notEqual(r.status, 400, `${r.statusLine} ${r.text}`);
        if (!aim || method === 'GET') continue;
        assert.equal(r.status, 200, r.text);
        assert.equal(r.json.bytes, body.length);
        assert.equal(r.json.sha256, sha256(latin(body)));
      }
      if (v.keep_alive) {
        await c.send('GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n');
        assert.equal((await c.readReply()).status, 200, 'kept alive');
      } else {
        assert.equal((await c.readAll()).length, 0);
      }
      c.destroy();
    });
});

const auth = () => ['Authorization', `Bearer ${rig.key}`];
const body = JSON.stringify(ask('say ok'));

/** Chunked framing with pieces of n bytes. */
const chunked = (data, n, extension = '') => {
  const parts = [];
  for (let i = 0; i < data.length; i += n) {
    const piece = data.subarray(i, i + n);
    parts.push(latin(`${piece.length.toString(16)}${extension}\r\n`), piece,
      latin('\r\n'));
  }
  return Buffer.concat([...parts, latin('0\r\n')]);
};

describe('client habits: request bodies', () => {
  for (const [name, n, ext, trailer] of [
    ['whole', 1e6, '', ''], ['1-byte chunks', 1, '', ''],
    ['extensions', 7, ';a=b;c="d;e"', ''],
    ['trailers', 50, '', 'X-T: 1\r\nX-U: 2\r\n']])
    test(`chunked request body: ${name}`, async () => {
      const bytes = Buffer.concat([
        requestBytes('POST', '/v1/chat/completions',
          [auth(), ['Transfer-Encoding', 'chunked']]),
        chunked(Buffer.from(body), n, ext), latin(`${trailer}\r\n`)]);
      const r = await rawRequest(rig.address, bytes);
      assert.equal(r.status, 200, r.text);
      assert.equal(r.json.choices[0].message.content, 'ok');
      if (!DIRECT) {
        assert.equal(rig.up.last.body.toString(), body);
        assert.equal(rig.up.last.header('x-t'), undefined);
        assert.equal(rig.up.last.header('content-length'),
          String(body.length), 'a body known whole has a length upstream');
      }
    });

  test('chunked request body from fetch with a ReadableStream', async () => {
    const pieces = ['{"model":"demo",', '"messages":[{"role":"user",',
      '"content":"say ok"}]}'];
    const r = await rig.fetch('/v1/chat/completions', {
      body: new ReadableStream({
        pull(ctl) {
          if (pieces.length) ctl.enqueue(Buffer.from(pieces.shift()));
          else ctl.close();
        } }),
      duplex: 'half' });
    assert.equal((await r.json()).choices[0].message.content, 'ok');
  });

  test('Expect: 100-continue is answered at once', async () => {
    const c = await RawClient.connect(rig.address);
    await c.send(requestBytes('POST', '/v1/chat/completions', [auth(),
      ['Expect', '100-continue'], ['Content-Length', String(body.length)]]));
    const interim = await within(
      c.reader.readUntil(latin('\r\n\r\n')), '100 Continue');
    assert.match(interim.toString(), /^HTTP\/1\.1 100 /);
    await c.send(body);
    assert.equal((await c.readReply()).status, 200);
    c.destroy();
    if (!DIRECT) assert.equal(rig.up.last.header('expect'), undefined);
  });

  test('Expect with a wrong key: 401 without 100', GATE_ONLY, async () => {
    const c = await RawClient.connect(rig.address);
    await c.send(requestBytes('POST', '/v1/chat/completions', [
      ['Authorization', 'Bearer sk-tg-no'], ['Expect', '100-continue'],
      ['Content-Length', '1000']]));
    const r = await c.readReply();
    assert.equal(r.status, 401);
    c.destroy();
  });

  test('curl: Expect with a body above 1 MiB, and an upload from stdin',
    { skip: NO_CURL }, async () => {
      const big = JSON.stringify(ask(`say ok ${'x'.repeat(2 << 20)}`));
      const common = ['-sS', '-H', `Authorization: Bearer ${rig.key}`,
        '-H', 'Content-Type: application/json'];
      const r = await runProgram('curl', [...common, '--data-binary', '@-',
        `${rig.baseUrl}/chat/completions`], { input: big });
      assert.equal(JSON.parse(r.stdout).object, 'chat.completion', r.stderr);
      const t = await runProgram('curl', [...common, '-T', '-', '-X', 'POST',
        `${rig.baseUrl}/chat/completions`], { input: body });
      assert.equal(JSON.parse(t.stdout).object, 'chat.completion', t.stderr);
    });

  test('curl --http2: the upgrade offer is ignored',
    { skip: NO_CURL }, async () => {
      const r = await runProgram('curl', ['-sS', '--http2', '-i', '-H',
        `Authorization: Bearer ${rig.key}`, `${rig.baseUrl}/models`]);
      assert.match(r.stdout, /^HTTP\/1\.1 200/);
    });

  test('h2 prior knowledge: closed or 400, nothing upstream', GATE_ONLY,
    async () => {
      const c = await RawClient.connect(rig.address);
      await c.send('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
      const all = (await c.readAll()).toString();
      assert.ok(all === '' || /^HTTP\/1\.1 (400|505)/.test(all), all);
      assert.equal(rig.up.hits, 0);
    });

  test('early 401 on an upload: drained, so that the client reads it',
    GATE_ONLY, async () => {
      const c = await RawClient.connect(rig.address);
      await c.send(requestBytes('POST', '/v1/files', [
        ['Authorization', 'Bearer sk-tg-no'],
        ['Content-Length', '300000']]));
      for (let i = 0; i < 300; i++) await c.send(Buffer.alloc(1000));
      assert.equal((await c.readReply()).status, 401);
      c.destroy();
      assert.equal(rig.up.hits, 0);
    });

  test('a body above the limit: 413 as JSON', GATE_ONLY, async () => {
    const r = await rawRequest(rig.address, requestBytes('POST',
      '/v1/chat/completions', [auth(), ['Content-Length', '99999999999']]));
    assert.equal(r.status, 413);
    assert.equal(r.json.error.code, 'request_too_large');
  });

  test('DELETE and POST without a body are not asked for a length',
    async () => {
      for (const [m, p] of [['DELETE', '/v1/files/none'],
        ['POST', '/v1/responses/resp_1/cancel']]) {
        const r = await rawRequest(rig.address, requestBytes(m, p, [auth()]));
        assert.equal(r.status, 404, 'the provider\'s own answer');
        assert.equal(rig.up.last.bodyBytes, 0);
      }
    });
});

describe('client habits: connections', () => {
  test('keep-alive: many requests on one connection', async () => {
    const c = await RawClient.connect(rig.address);
    for (let i = 0; i < 50; i++) {
      await c.send(requestBytes('POST', '/v1/chat/completions', [auth()], body));
      const r = await c.readReply();
      assert.equal(r.status, 200);
      assert.doesNotMatch(r.header('connection') ?? '', /close/i);
    }
    c.destroy();
  });

  test('pipelined requests are answered in order', async () => {
    const c = await RawClient.connect(rig.address);
    const one = (i) => requestBytes('POST', '/v1/chat/completions', [auth()],
      JSON.stringify(ask(`say ${i}`)));
    await c.send(Buffer.concat([one(1), one(2), one(3)]));
    for (let i = 1; i <= 3; i++)
      assert.equal((await c.readReply()).json.choices[0].message.content,
        String(i));
    c.destroy();
  });

  test('a request byte by byte', async () => {
    const c = await RawClient.connect(rig.address);
    await c.sendSplit(
      requestBytes('POST', '/v1/chat/completions', [auth()], body), 1);
    assert.equal((await c.readReply()).status, 200);
    c.destroy();
  });

  test('HEAD of a passed route: headers, no body, same connection',
    async () => {
      const c = await RawClient.connect(rig.address);
      await c.send(requestBytes('HEAD', '/v1/agents', [auth()]));
      const r = await c.readReply({ method: 'HEAD' });
      assert.equal(r.status, 200);
      await c.send(requestBytes('GET', '/v1/agents', [auth()]));
      assert.equal((await c.readReply()).json.method, 'GET');
      c.destroy();
    });

  test('204 and 304 have no body and no length', async () => {
    for (const status of [204, 304]) {
      rig.up.script({ fault: 'no_content',
        edit: (p) => Object.assign(p, { status, ownFraming: true }) });
      const c = await RawClient.connect(rig.address);
      await c.send(requestBytes('GET', '/v1/agents', [auth()]));
      const r = await c.readReply();
      assert.equal(r.status, status);
      assert.equal(r.header('transfer-encoding'), undefined);
      c.destroy();
    }
  });

  test('Connection: close is honoured', async () => {
    const c = await RawClient.connect(rig.address);
    await c.send(requestBytes('POST', '/v1/chat/completions',
      [auth(), ['Connection', 'close']], body));
    assert.equal((await c.readReply()).status, 200);
    assert.equal((await c.readAll()).length, 0);
  });
});

describe('client habits: probes and browsers', GATE_ONLY, () => {
  for (const [method, path] of [['GET', '/'], ['HEAD', '/'],
    ['GET', '/healthz'], ['GET', '/readyz'], ['GET', '/health'],
    ['GET', '/health/liveliness'], ['GET', '/health/readiness'],
    ['HEAD', '/healthz'], ['GET', '/metrics']])
    test(`${method} ${path} answers 200 without a key`, async () => {
      const r = await fetch(rig.origin + path, { method });
      assert.equal(r.status, 200);
      assert.equal(rig.up.hits, 0);
    });

  test('preflight: no key needed, what was asked is allowed', async () => {
    const asked = 'authorization,content-type,x-stainless-lang';
    const r = await fetch(`${rig.baseUrl}/chat/completions`, {
      method: 'OPTIONS', headers: { origin: 'https://app.test',
        'access-control-request-method': 'POST',
        'access-control-request-headers': asked } });
    assert.ok([200, 204].includes(r.status));
    assert.equal(r.headers.get('access-control-allow-origin'),
      'https://app.test');
    assert.match(r.headers.get('access-control-allow-methods'), /POST/);
    for (const h of asked.split(','))
      assert.match(r.headers.get('access-control-allow-headers')
        .toLowerCase(), new RegExp(h));
    assert.equal(rig.up.hits, 0);
  });

  test('CORS on the answer itself: origin and exposed headers', async () => {
    for (const json of [ask('x'), ask('x', { stream: true })]) {
      const r = await rig.fetch('/v1/chat/completions', {
        json, headers: { origin: 'https://app.test' } });
      await r.text();
      assert.equal(r.headers.get('access-control-allow-origin'),
        'https://app.test');
      assert.match(r.headers.get('access-control-expose-headers')
        .toLowerCase(), /x-request-id/);
    }
  });

  test('the provider\'s own CORS fields give way to ours', async () => {
    rig.up.script({ fault: 'cors_headers' });
    const r = await rawRequest(rig.address, requestBytes('POST',
      '/v1/chat/completions', [auth(), ['Origin', 'https://app.test']],
      JSON.stringify(ask('x'))));
    assert.equal(r.status, 200);
    const head = r.rawHead.toString().toLowerCase();
    assert.equal(head.match(/access-control-allow-origin/g).length, 1);
    assert.equal(r.header('access-control-allow-origin'), 'https://app.test');
    assert.ok(!head.includes('x-theirs'));
    assert.match(head, /vary: accept-encoding/);
  });

  test('OPTIONS that is no preflight: 204 and what is allowed', async () => {
    for (const target of ['*', '/v1/chat/completions', '/healthz']) {
      const r = await rawRequest(rig.address,
        requestBytes('OPTIONS', target));
      assert.equal(r.status, 204, target);
      assert.match(r.header('allow'), /\bGET\b.*\bPOST\b/);
    }
    assert.equal(rig.up.hits, 0);
  });

  test('another origin gets no permission', async () => {
    const r = await rig.fetch('/v1/chat/completions', {
      json: ask('x'), headers: { origin: 'https://evil.test' } });
    assert.equal(r.headers.get('access-control-allow-origin'), null);
  });

  test('errors carry CORS headers too', async () => {
    const r = await fetch(`${rig.baseUrl}/chat/completions`, {
      method: 'POST', body: '{}', headers: { origin: 'https://app.test' } });
    assert.equal(r.status, 401);
    assert.equal(r.headers.get('access-control-allow-origin'),
      'https://app.test');
  });
});

describe('deadlines of a client connection', GATE_ONLY, () => {
  let slow;
  before(async () => {
    slow = await startRig({ config: {
      limits: { header_timeout: '300ms', idle_timeout: '300ms' } } });
  });
  after(() => slow?.close());

  test('a head that never ends is closed, whatever trickles', async () => {
    const c = await RawClient.connect(slow.address);
    await c.send('GET /healthz HTTP/1.1\r\nHost: a\r\n');
    const drip = setInterval(() => {
      if (!c.raw.destroyed) c.socket.write('X: y\r\n');
    }, 20);
    const all = await c.readAll().finally(() => clearInterval(drip));
    assert.ok(all.length === 0 || /^HTTP\/1\.1 408/.test(all.toString()));
  });

  test('an idle connection is closed without a word', async () => {
    const c = await RawClient.connect(slow.address);
    await c.send('GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n');
    assert.equal((await c.readReply()).status, 200);
    assert.equal((await c.readAll()).length, 0);
  });

  test('a connection that says nothing at all is closed', async () => {
    const c = await RawClient.connect(slow.address);
    assert.equal((await c.readAll()).length, 0);
  });

  test('a reply that takes its time is not cut by them', async () => {
    const s = slow.up.script({ gateAfter: 'head' });
    const asked = slow.fetch('/v1/chat/completions', { json: ask('x') });
    await s.reached;
    const quiet = await RawClient.connect(slow.address);
    await quiet.readAll();
    s.open();
    assert.equal((await asked).status, 200);
  });
});

describe('too many connections', GATE_ONLY, () => {
  test('above the cap: 503 or close, the others go on', async () => {
    const small = await startRig({ config: { limits: { connections: 20 } } });
    try {
      const all = [];
      for (let i = 0; i < 40; i++)
        all.push(await RawClient.connect(small.address));
      const turned = await until('some are turned away', () => {
        const n = all.filter((c) => c.raw.destroyed || c.reader.ended ||
          c.reader.length > 0).length;
        return n >= 20 ? n : undefined;
      });
      assert.equal(turned, 20);
      for (const c of all) c.destroy();
      await until('room again', async () =>
        (await fetch(`${small.origin}/healthz`).catch(() => null))?.ok);
    } finally {
      await small.close();
    }
  });
});
