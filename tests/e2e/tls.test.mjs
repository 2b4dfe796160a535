// TLS at both ends, and unix sockets.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import https from 'node:https';
import path from 'node:path';
import { after, before, beforeEach, describe, test } from 'node:test';

import { OpenAIRealtimeWS } from 'openai/realtime/ws';

import { Authority } from './lib/certs.mjs';
import { ask, collect, openaiFor } from './lib/openai.mjs';
import { RawClient, rawRequest, requestBytes } from './lib/raw.mjs';
import { GATE_ONLY, startRig, upstreamEntry } from './lib/rig.mjs';
import { startUpstream } from './lib/upstream.mjs';
import { UPSTREAM_KEY } from './lib/tollgate.mjs';
import { until, within } from './lib/until.mjs';

let ca;
let a;
let b;
let rig;

describe('TLS to clients', GATE_ONLY, () => {
  before(async () => {
    ca = new Authority();
    a = ca.issue(['a.test', '127.0.0.1']);
    b = ca.issue(['b.test', '*.wild.test']);
    rig = await startRig({ config: { listen: [
      { address: '127.0.0.1:0', tls: [
        { cert: a.certFile, key: a.keyFile },
        { cert: b.certFile, key: b.keyFile }] },
      { address: '127.0.0.1:0' }] } });
  });
  beforeEach(() => rig.up.clear());
  after(async () => {
    await rig?.close();
    ca?.remove();
  });

  const port = (i) => Number(rig.gate.addresses[i].split(':').at(-1));
  const address = (servername, more = {}) => ({
    host: '127.0.0.1', port: port(0),
    tls: { ca: ca.pem, servername, ...more } });
  const auth = () => ['Authorization', `Bearer ${rig.key}`];
  const chat = (more) => requestBytes('POST', '/v1/chat/completions',
    [auth()], JSON.stringify(ask('count to 50', more)));

  const subjectOf = async (servername) => {
    const c = await RawClient.connect(address(servername,
      { checkServerIdentity: () => undefined }));
    const { subject } = c.socket.getPeerCertificate();
    c.destroy();
    return subject.CN;
  };

  test('requests and streams over TLS', async () => {
    const c = await RawClient.connect(address('a.test'));
    await c.send(chat());
    assert.equal((await c.readReply()).status, 200);
    await c.send(chat({ stream: true }));
    const r = await c.readReply();
    assert.match(r.text, /\[DONE\]\n\n$/);
    c.destroy();
  });

  test('SNI chooses the certificate; unknown names get the first',
    async () => {
      assert.equal(await subjectOf('a.test'), 'a.test');
      assert.equal(await subjectOf('b.test'), 'b.test');
      assert.equal(await subjectOf('x.wild.test'), 'b.test');
      assert.equal(await subjectOf('nobody.test'), 'a.test');
    });

  test('the openai client over https', async () => {
    const agent = new https.Agent({ ca: ca.pem });
    const text = await new Promise((resolve, reject) => {
      const req = https.request(`https://127.0.0.1:${port(0)}/v1/models`, {
        agent, headers: { authorization: `Bearer ${rig.key}` } }, (res) => {
        let s = '';
        res.on('data', (d) => (s += d));
        res.on('end', () => resolve(s));
      });
      req.on('error', reject);
      req.end();
    });
    assert.equal(JSON.parse(text).object, 'list');
    agent.destroy();
  });

  test('the openai realtime client (wss)', async () => {
    const client = openaiFor({
      baseUrl: `https://127.0.0.1:${port(0)}/v1`, key: rig.key });
    const rt = new OpenAIRealtimeWS(
      { model: 'demo', options: { ca: ca.pem } }, client);
    const created = new Promise((resolve, reject) => {
      rt.on('session.created', resolve);
      rt.on('error', reject);
    });
    const e = await within(created, 'session.created');
    assert.equal(e.session.model, 'demo');
    rt.close();
  });

  test('TLS 1.2 and 1.3, nothing older', async () => {
    for (const v of ['TLSv1.2', 'TLSv1.3']) {
      const c = await RawClient.connect(address('a.test',
        { minVersion: v, maxVersion: v }));
      assert.equal(c.socket.getProtocol(), v);
      c.destroy();
    }
    await assert.rejects(RawClient.connect(address('a.test', {
      minVersion: 'TLSv1', maxVersion: 'TLSv1.1',
      ciphers: 'DEFAULT@SECLEVEL=0' })));
  });

  test('renegotiation is refused', async () => {
    const child = spawn('openssl', ['s_client', '-tls1_2', '-connect',
      `127.0.0.1:${port(0)}`, '-servername', 'a.test', '-CAfile', ca.file]);
    let seen = '';
    for (const s of [child.stdout, child.stderr])
      s.on('data', (d) => (seen += d));
    const ended = new Promise((r) => child.on('close', r));
    await until('the handshake', () => seen.includes('Verify return code: 0'));
    child.stdin.write('R\n');
    await until('a refusal', () => /no renegotiation|alert/i.test(seen));
    child.stdin.on('error', () => {});
    child.kill();
    await ended;
  });

  test('plain HTTP on the TLS port is no HTTP', async () => {
    const c = await RawClient.connect({ host: '127.0.0.1', port: port(0) });
    await c.send('GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n');
    const all = (await c.readAll()).toString('latin1');
    assert.doesNotMatch(all, /^HTTP\/1\.1 200/);
  });

  test('TLS garbage does not disturb others', async () => {
    for (let i = 0; i < 20; i++) {
      const c = await RawClient.connect({ host: '127.0.0.1', port: port(0) });
      await c.send(Buffer.from([22, 3, 1, 255, 255, 1, i, i, i]));
      c.destroy();
    }
    assert.equal((await rawRequest(address('a.test'), chat())).status, 200);
  });

  test('a large reply to a slow reader over TLS is whole', async () => {
    const total = 24 << 20;
    const c = await RawClient.connect(address('a.test'));
    await c.send(requestBytes('GET',
      `/v1/files/file-pattern-${total}/content`, [auth()]));
    const rec = await rig.up.waitFor((r) => r.path.includes('pattern'));
    c.pause();
    await until('the provider is held back', () => rec.blocked);
    c.resume();
    const r = await c.readReply();
    assert.ok(r.complete);
    assert.equal(r.body.length, total);
    c.destroy();
  });

  test('client gone over TLS: the provider is told', async () => {
    const script = rig.up.script({ gateAfter: 'head' });
    const c = await RawClient.connect(address('a.test'));
    await c.send(chat());
    const rec = await script.reached;
    c.destroy();
    await within(rec.whenAborted(), 'the provider to be told');
  });

  test('reload swaps the certificate; open connections live on',
    async () => {
      const kept = await RawClient.connect(address('a.test'));
      const serial = async () => {
        const c = await RawClient.connect(address('a.test'));
        const s = c.socket.getPeerCertificate().serialNumber;
        c.destroy();
        return s;
      };
      const before = await serial();
      const next = ca.issue(['a.test', '127.0.0.1']);
      fs.copyFileSync(next.certFile, a.certFile);
      fs.copyFileSync(next.keyFile, a.keyFile);
      assert.equal(await serial(), before, 'not before the reload');
      assert.equal((await rig.gate.reload()).code, 0);
      assert.notEqual(await serial(), before);
      await kept.send(chat());
      assert.equal((await kept.readReply()).status, 200);
      kept.destroy();
    });

  test('a certificate that does not fit its key is refused by reload',
    async () => {
      const good = fs.readFileSync(a.keyFile);
      fs.copyFileSync(b.keyFile, a.keyFile);
      const r = await rig.gate.reload();
      assert.equal(r.code, 1);
      await until('the reason', () =>
        (r.stderr + rig.gate.log).includes(a.keyFile));
      fs.writeFileSync(a.keyFile, good);
      assert.equal((await rawRequest(address('a.test'), chat())).status, 200);
    });

  test('session resumption works and needs no early data', async () => {
    const c = await RawClient.connect(address('a.test'));
    const session = within(
      new Promise((r) => c.socket.once('session', r)), 'a session ticket');
    await c.send(chat());
    await c.readReply();
    const ticket = await session;
    c.destroy();
    const d = await RawClient.connect(address('a.test', { session: ticket }));
    assert.equal(d.socket.isSessionReused(), true);
    d.destroy();
  });
});

describe('TLS to providers', GATE_ONLY, () => {
  let own;
  let up;
  before(async () => {
    own = new Authority();
    const leaf = own.issue(['provider.test', '127.0.0.1']);
    up = await startUpstream({
      keys: [UPSTREAM_KEY], tls: { cert: leaf.cert, key: leaf.key } });
  });
  after(async () => {
    await up?.close();
    own?.remove();
  });

  // Reading the system's authorities takes valgrind ten seconds.
  const through = async (tlsPart, more = {}) => {
    const rig2 = await startRig({ config: { upstreams: [
      { ...upstreamEntry(up), timeouts: { connect: '60s' }, ...more,
        ...(tlsPart ? { tls: tlsPart } : {}) }] } });
    try {
      return await rawRequest(rig2.address, requestBytes('POST',
        '/v1/chat/completions', [['Authorization', `Bearer ${rig2.key}`]],
        JSON.stringify(ask('say ok'))));
    } finally {
      await rig2.close();
    }
  };

  test('with its authority configured: served', async () => {
    const r = await through({ ca: own.file });
    assert.equal(r.status, 200, r.text);
  });

  test('with an unknown authority: 502, nothing sent', async () => {
    up.clear();
    const r = await through(undefined);
    assert.equal(r.status, 502);
    assert.equal(r.json.error.code, 'upstream_tls_error');
    assert.equal(up.hits, 0, 'no request, so no key, was sent');
  });

  test('with a name that does not match: 502, nothing sent', async () => {
    up.clear();
    const r = await through({ ca: own.file, server_name: 'other.test' });
    assert.equal(r.status, 502);
    assert.equal(r.json.error.code, 'upstream_tls_error');
    assert.equal(up.hits, 0);
  });

  test('with the name that matches, by server_name', async () => {
    const r = await through({ ca: own.file, server_name: 'provider.test' });
    assert.equal(r.status, 200, r.text);
  });

  test('verify: false accepts any', async () => {
    const r = await through({ verify: false });
    assert.equal(r.status, 200, r.text);
  });

  test('the openai client through TLS upstream: a stream', async () => {
    const rig2 = await startRig({ config: { upstreams: [
      { ...upstreamEntry(up), tls: { ca: own.file } }] } });
    try {
      const chunks = await collect(await openaiFor(rig2).chat.completions
        .create(ask('count to 9', { stream: true })));
      assert.equal(chunks.length, 11);
    } finally {
      await rig2.close();
    }
  });

  /** A request to <up> whose client leaves when f has given {told}. */
  const leaving = async (f) => {
    const rig2 = await startRig({ config: { upstreams: [
      { ...upstreamEntry(up), tls: { ca: own.file } }] } });
    try {
      const c = await RawClient.connect(rig2.address);
      await c.send(requestBytes('POST', '/v1/chat/completions',
        [['Authorization', `Bearer ${rig2.key}`]],
        JSON.stringify(ask('count to 500', { stream: true }))));
      const { told } = await f(c);
      const left = performance.now();
      c.destroy();
      const at = await within(told, 'the provider to be told');
      const row = await rig2.gate.accessRow('left', (x) => x.status === 499);
      return { ms: at - left, row };
    } finally {
      await rig2.close();
    }
  };

  test('client gone within a stream: the provider is told', async (t) => {
    up.clear();
    const script = up.script({ gateAfter: 4 });
    const { ms, row } = await leaving(async (c) => {
      const rec = await script.reached;
      await c.reader.readUntil(Buffer.from('" 2"'));
      return { told: rec.whenAborted().then(() => rec.abortedMs) };
    });
    t.diagnostic(`provider told after ${ms.toFixed(1)} ms`);
    assert.ok(row.output_tokens > 0);
  });

  test('client gone within the handshake: the connection is let go, ' +
    'nothing is charged', async (t) => {
    up.clear();
    up.onConnection = 'hang';
    try {
      const { ms, row } = await leaving(async () => {
        await once(up, 'connect');
        const closed = once(up, 'disconnect');
        return { told: closed.then(() => performance.now()) };
      });
      t.diagnostic(`connection closed after ${ms.toFixed(1)} ms`);
      assert.deepEqual([row.input_tokens, row.output_tokens,
        row.usage_source], [0, 0, 'none']);
    } finally {
      up.onConnection = null;
    }
    assert.equal(up.hits, 0);
  });
});

describe('unix sockets and other addresses', GATE_ONLY, () => {
  test('a unix socket serves like a port', async () => {
    const dir = fs.mkdtempSync('/tmp/tg-sock-');
    const file = path.join(dir, 's');
    const rig2 = await startRig({ config: { listen: [
      { address: `unix:${file}` }, { address: '127.0.0.1:0' }] } });
    try {
      assert.ok(rig2.gate.addresses.includes(`unix:${file}`));
      const r = await rawRequest({ path: file }, requestBytes('POST',
        '/v1/chat/completions', [['Authorization', `Bearer ${rig2.key}`]],
        JSON.stringify(ask('say ok'))));
      assert.equal(r.status, 200);
    } finally {
      await rig2.close();
    }
    assert.ok(!fs.existsSync(file), 'the socket is removed at the end');
    fs.rmSync(dir, { recursive: true });
  });

  test('a stale unix socket of a killed daemon is replaced', async () => {
    const dir = fs.mkdtempSync('/tmp/tg-sock-');
    const file = path.join(dir, 's');
    const rig2 = await startRig({ config: { listen: [
      { address: `unix:${file}` }, { address: '127.0.0.1:0' }] } });
    await rig2.gate.kill9();
    assert.ok(fs.existsSync(file));
    await rig2.gate.start();
    const r = await rawRequest({ path: file },
      requestBytes('GET', '/healthz'));
    assert.equal(r.status, 200);
    await rig2.close();
    fs.rmSync(dir, { recursive: true });
  });

  test('IPv6', { skip: noIpv6() }, async () => {
    const rig2 = await startRig({ config: { listen: [
      { address: '[::1]:0' }, { address: '127.0.0.1:0' }] } });
    try {
      const six = rig2.gate.addresses.find((x) => x.startsWith('[::1]:'));
      const r = await rawRequest({ host: '::1',
        port: Number(six.split(':').at(-1)) }, requestBytes('GET', '/healthz'));
      assert.equal(r.status, 200);
    } finally {
      await rig2.close();
    }
  });
});

function noIpv6() {
  const all = fs.existsSync('/proc/net/if_inet6') &&
    fs.readFileSync('/proc/net/if_inet6', 'utf8');
  return !(all && /^0{31}1 /m.test(all)) && 'no IPv6 loopback here';
}
