// The client goes away: the provider is told at once, and what it had already
// done is accounted.

import assert from 'node:assert/strict';
import path from 'node:path';
import { after, before, beforeEach, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';

import { ask } from './lib/openai.mjs';
import { RawClient, requestBytes } from './lib/raw.mjs';
import { DIRECT, GATE_ONLY, startRig } from './lib/rig.mjs';
import { memoryFactor, program, runProgram } from './lib/tollgate.mjs';
import { until, within } from './lib/until.mjs';

let rig;
before(async () => {
  rig = await startRig();
});
beforeEach(() => rig.up.clear());
after(() => rig?.close());

const chat = (more = {}) => requestBytes('POST', '/v1/chat/completions',
  [['Authorization', `Bearer ${rig.key}`],
    ['Content-Type', 'application/json']],
  JSON.stringify(ask('count to 1000', more)));

const ways = {
  'FIN': (c) => c.destroy(),
  'RST': (c) => c.reset(),
  'half-close': (c) => c.end(),
};

/** Milliseconds from the client's leaving to the provider's noticing. */
async function abortTime(t, rec, leave) {
  const left = performance.now();
  leave();
  await within(rec.whenAborted(), 'the provider to be told');
  const ms = rec.abortedMs - left;
  t.diagnostic(`provider told after ${ms.toFixed(1)} ms`);
  return ms;
}

for (const [way, leave] of Object.entries(ways))
  describe(`client gone by ${way}`, { skip: DIRECT && way === 'half-close' &&
    'a provider may ignore it' }, () => {
    test('while the provider has not answered', async (t) => {
      const script = rig.up.script({ gateAfter: 'head' });
      const c = await RawClient.connect(rig.address);
      await c.send(chat());
      const rec = await script.reached;
      await abortTime(t, rec, () => leave(c));
      c.destroy();
      if (DIRECT) return;
      const row = await rig.gate.accessRow('before the first byte',
        (x) => x.status === 499);
      assert.equal(row.path, '/v1/chat/completions');
      assert.ok(row.input_tokens >= 0);
    });

    test('in the middle of a stream that is silent', async (t) => {
      const script = rig.up.script({ gateAfter: 5 });
      const c = await RawClient.connect(rig.address);
      await c.send(chat({ stream: true }));
      const rec = await script.reached;
      await c.reader.readUntil(Buffer.from('" 3"'));
      await abortTime(t, rec, () => leave(c));
      c.destroy();
    });

    test('in the middle of a stream that flows', async (t) => {
      rig.up.gapMs = 1;
      const c = await RawClient.connect(rig.address);
      await c.send(chat({ stream: true }));
      await c.reader.readUntil(Buffer.from('" 9"'));
      const ms = await abortTime(t, rig.up.last, () => leave(c));
      rig.up.gapMs = 0;
      assert.ok(ms >= 0);
      assert.ok(rig.up.last.cost.output < 1000);
      c.destroy();
    });

    test('between the head and the body of a plain reply', async (t) => {
      const script = rig.up.script({ gateAfter: 0 });
      const c = await RawClient.connect(rig.address);
      await c.send(chat());
      const rec = await script.reached;
      await abortTime(t, rec, () => leave(c));
      c.destroy();
      if (DIRECT) return;
      const row = await rig.gate.accessRow('within the reply',
        (x) => x.status === 499 && x.us_overhead > 0 && x.bytes_out === 0);
      assert.equal(row.reason, 'client_gone');
    });

    test('while its provider is held back', async (t) => {
      const c = await RawClient.connect(rig.address);
      await c.send(requestBytes('GET',
        `/v1/files/file-pattern-${64 << 20}/content`,
        [['Authorization', `Bearer ${rig.key}`]]));
      const rec = await rig.up.waitFor((r) => r.path.includes('pattern'));
      c.pause();
      await until('the provider is held back', () => rec.blocked);
      await abortTime(t, rec, () => leave(c));
      c.destroy();
    });

    test('while a request body is being passed on', async (t) => {
      const c = await RawClient.connect(rig.address);
      await c.send(requestBytes('POST', '/v1/files', [
        ['Authorization', `Bearer ${rig.key}`],
        ['Content-Type', 'application/octet-stream'],
        ['Content-Length', '1000000']], Buffer.alloc(200000)));
      const rec = await rig.up.waitFor((r) => r.path === '/v1/files');
      await until('the body arrives', () => rec.bodyBytes > 100000);
      await abortTime(t, rec, () => leave(c));
      assert.equal(rec.bodyDone, false);
      c.destroy();
    });
  });

describe('client gone: accounts', GATE_ONLY, () => {
  test('what was received is in the row, status 499', async () => {
    const key = await rig.gate.createKey('leaver');
    const script = rig.up.script({ gateAfter: 12 });
    const c = await RawClient.connect(rig.address);
    await c.send(requestBytes('POST', '/v1/chat/completions',
      [['Authorization', `Bearer ${key.key}`]],
      JSON.stringify(ask('count to 1000', { stream: true }))));
    const rec = await script.reached;
    await c.reader.readUntil(Buffer.from('" 11"'));
    c.destroy();
    await rec.whenAborted();
    const row = await rig.gate.accessRow('the leaver',
      (x) => x.key === key.id);
    assert.equal(row.status, 499);
    assert.equal(row.stream, true);
    assert.equal(row.usage_source, 'estimated');
    assert.ok(row.output_tokens > 0, 'output that came is charged');
    assert.ok(row.input_tokens > 0, 'input is charged');
    const data = await rig.gate.usageOf(1, '--key', key.id);
    assert.equal(data[0].requests, 1);
    assert.equal(data[0].output_tokens, row.output_tokens);
  });

  test('leaving at any event: exactly one row each, never none', async () => {
    const key = await rig.gate.createKey('leaver-2');
    const n = 12;
    for (let k = 0; k < n; k++) {
      const script = rig.up.script({ gateAfter: k });
      const c = await RawClient.connect(rig.address);
      await c.send(requestBytes('POST', '/v1/chat/completions',
        [['Authorization', `Bearer ${key.key}`]],
        JSON.stringify(ask('count to 8', { stream: true }))));
      const rec = await script.reached;
      c.destroy();
      await within(rec.whenAborted(), `abort after event ${k}`);
    }
    const rows = await until('all rows', () => {
      const mine = rig.gate.accessRows().filter((x) => x.key === key.id);
      return mine.length >= n ? mine : undefined;
    });
    assert.equal(rows.length, n);
    assert.ok(rows.every((x) => x.status === 499), JSON.stringify(rows));
    const usage = await rig.gate.usageOf(n, '--key', key.id);
    assert.equal(usage[0].requests, n);
  });

  test('gone before the request is complete: nothing goes upstream',
    async () => {
      const whole = chat();
      for (const cut of [1, 20, whole.indexOf('\r\n\r\n') + 4,
        whole.length - 1]) {
        const c = await RawClient.connect(rig.address);
        await c.send(whole.subarray(0, cut));
        c.destroy();
        await c.closed;
      }
      const ok = await rig.fetch('/v1/chat/completions', { json: ask('hi') });
      assert.equal(ok.status, 200);
      assert.equal(rig.up.hits, 1);
    });

  test('nothing is in flight when all is over', async () => {
    await until('idle', async () => {
      const text = await (await fetch(`${rig.origin}/metrics`)).text();
      const m = /^tollgate_in_flight(?:\{[^}]*\})? (\d+)/gm;
      const values = [...text.matchAll(m)].map((x) => Number(x[1]));
      // the scrape itself is under way
      return values.length > 0 && values.every((v) => v <= 1);
    });
    assert.equal(rig.up.inFlight, 0);
  });
});

describe('slow readers', GATE_ONLY, () => {
  const N = process.env.E2E_SLOW_READERS ?? '2000';

  test(`${N} at once, each on a stream at full speed: memory is bounded`,
    { skip: memoryFactor() > 1 && 'memory is not what it is without checks' },
    async (t) => {
      const r = await runProgram('python3', [
        fileURLToPath(new URL('../bench/slow.py', import.meta.url)),
        path.dirname(program('tollgate')), N, '10']);
      t.diagnostic(r.stdout);
      assert.equal(r.code, 0, r.stderr);
    });

  test('a reader that stops pauses its provider, and loses nothing',
    async () => {
      const total = 64 << 20;
      const c = await RawClient.connect(rig.address);
      await c.send(requestBytes('GET', `/v1/files/file-pattern-${total}/content`,
        [['Authorization', `Bearer ${rig.key}`]]));
      const rec = await rig.up.waitFor((r) => r.path.includes('pattern'));
      c.pause();
      const rss = rig.gate.rssBytes();
      await until('the provider is held back', () => rec.blocked);
      const seen = rec.bytesOut;
      assert.ok(seen < total / 2, `${seen} bytes taken from the provider`);
      assert.ok(rig.gate.rssBytes() - rss < memoryFactor() * (16 << 20));
      const other = await rig.fetch('/v1/chat/completions',
        { json: ask('others go on') });
      assert.equal(other.status, 200);
      c.resume();
      const r = await c.readReply();
      assert.ok(r.complete);
      assert.equal(r.body.length, total);
      c.destroy();
    });
});
