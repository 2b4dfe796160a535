// A client that leaves, at every point of what becomes of a request: whoever
// works for it upstream is told, nothing more is sent for it, it gets one row
// at most, and in the end nothing is in flight or held. Plain and over TLS on
// both sides. How long the provider's being told takes is told as a
// diagnostic, and written as lines of JSON into the file E2E_GONE_OUT, if that
// is set; it decides nothing here.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import { once } from 'node:events';
import { after, before, beforeEach, describe, test } from 'node:test';

import { noneHeld, startPriced } from './lib/budget.mjs';
import { Authority } from './lib/certs.mjs';
import { ask } from './lib/openai.mjs';
import { RawClient, requestBytes } from './lib/raw.mjs';
import { GATE_ONLY, upstreamEntry } from './lib/rig.mjs';
import { until, within } from './lib/until.mjs';

const FILE_BYTES = 64 << 20;
const UPLOAD_BYTES = 1000000;

/** What a point's test has: a rig, a key, and a client with it. */
class Scene {
  constructor(rig, key, client) {
    Object.assign(this, { rig, up: rig.up, key, client,
      logged: rig.gate.log.length });
  }

  bytes(method, path, body, headers = []) {
    return requestBytes(method, path,
      [['Authorization', `Bearer ${this.key.key}`], ...headers], body);
  }

  chat(more = {}) {
    return this.bytes('POST', '/v1/chat/completions',
      JSON.stringify(ask('count to 1000', more)));
  }

  /** What the daemon logged since this began. */
  log() {
    return this.rig.gate.log.slice(this.logged);
  }

  /** Sends, and waits until the provider stands where it was told to. */
  async sendUntil(script, bytes) {
    await this.client.send(bytes);
    return within(script.reached, 'the provider to get there');
  }

  read(text) {
    return within(this.client.reader.readUntil(Buffer.from(text)),
      `the client to read ${text}`);
  }
}

/** Sends a request that is cut off after so many of its bytes. */
const cutAt = (where) => async (s) => {
  const all = s.chat();
  await s.client.send(all.subarray(0, where(all)));
  // another one shows that the first bytes of this were there to be read
  const r = await s.rig.fetch('/v1/models');
  assert.equal(r.status, 200);
  return { hits: 0 };
};

const headLength = (all) => all.indexOf('\r\n\r\n') + 4;

/** Waits at a gate of the provider. */
const atGate = (gateAfter, more, text) => async (s) => {
  const script = s.up.script({ gateAfter });
  const rec = await s.sendUntil(script, s.chat(more));
  if (text) await s.read(text);
  return { rec };
};

/** The points. Each brings its client there, and tells who is to be told: a
 * request at the provider or, where it has none, a connection; "hits" is what
 * the provider was asked, "row" whether there is a row. */
const POINTS = {
  'within the head of the request': cutAt(() => 30),
  'before the body of the request': cutAt(headLength),
  'within the body of the request': cutAt((all) => all.length - 1),

  'while the body is passed on': async (s) => {
    await s.client.send(s.bytes('POST', '/v1/files',
      Buffer.alloc(UPLOAD_BYTES / 5),
      [['Content-Length', String(UPLOAD_BYTES)]]));
    const rec = await s.up.waitFor((r) => r.path === '/v1/files');
    await until('the body arrives', () => rec.bodyBytes >= UPLOAD_BYTES / 10);
    return { rec };
  },

  'before the provider has said anything on its connection': async (s) => {
    // over TLS the gateway waits for the handshake here, else for the reply
    s.up.dropConnections();
    await until('no connection is left', () => s.up.open === 0);
    s.up.onConnection = 'hang';
    const connected = once(s.up, 'connect');
    await s.client.send(s.chat());
    const [id] = await within(connected, 'a connection');
    return { id, hits: 0 };
  },

  'while the reply is awaited': atGate('head', {}),
  'while a stream is awaited': atGate('head', { stream: true }),
  'after the head of a stream, before its first event':
    atGate(0, { stream: true }),
  'within a stream that is silent': atGate(5, { stream: true }, '" 3"'),

  'within a stream that flows': async (s) => {
    s.up.gapMs = 1;
    await s.client.send(s.chat({ stream: true }));
    await s.read('" 9"');
    return { rec: s.up.last };
  },

  'after the last event of a stream, before its end': async (s) => {
    const script = s.up.script({ gateAfter: 1e9 });
    const rec = await s.sendUntil(script, s.chat({ stream: true }));
    await s.read('data: [DONE]\n\n');
    return { rec, mayBeWhole: true };
  },

  'between the head and the body of a reply': atGate(0, {}),

  'within the body of a reply': async (s) => {
    s.up.script({ fault: 'hang', body: 20 });
    await s.client.send(s.chat());
    const rec = await s.up.waitFor((r) => r.path.endsWith('completions'));
    await until('half of the reply is sent', () => rec.cut === 'hang');
    return { rec };
  },

  'while the provider is held back': async (s) => {
    await s.client.send(
      s.bytes('GET', `/v1/files/file-pattern-${FILE_BYTES}/content`));
    const rec = await s.up.waitFor((r) => r.path.includes('pattern'));
    s.client.pause();
    await until('the provider is held back', () => rec.blocked);
    return { rec };
  },

  'in the pause before another attempt': async (s) => {
    const script = s.up.script({ fault: 'rate_limit', after_ms: '1900' });
    await s.client.send(s.chat({ model: 'again' }));
    const rec = await within(script.request, 'the first attempt');
    await until('the pause', () => s.log().includes('attempt again: '));
    return { ended: rec };
  },

  'within a second attempt': async (s) => {
    s.up.script({ fault: 'status', code: 500 });
    const script = s.up.script({ gateAfter: 'head' });
    const rec = await s.sendUntil(script, s.chat({ model: 'again' }));
    return { rec, hits: 2 };
  },

  'while it waits for a place at its target': async (s) => {
    const script = s.up.script({ gateAfter: 'head' });
    const other = await RawClient.connect(s.rig.address);
    await other.send(requestBytes('POST', '/v1/chat/completions',
      [['Authorization', `Bearer ${s.rig.key}`]],
      JSON.stringify(ask('hi', { model: 'narrow' }))));
    await within(script.reached, 'the one that has the place');
    await s.client.send(s.chat({ model: 'narrow' }));
    await until('it waits', async () =>
      (await gaugesOf(s.rig, 'tollgate_queue_waiting')).includes(1));
    return { rest: async () => {
      await until('nobody waits', async () =>
        (await gaugesOf(s.rig, 'tollgate_queue_waiting'))
          .every((v) => v === 0));
      script.open();
      assert.equal((await other.readReply()).status, 200);
      other.destroy();
    } };
  },

  'while two targets are asked at once': async (s) => {
    s.up.script({ gateAfter: 'head', times: 2 });
    await s.client.send(s.chat({ model: 'hedged', stream: true }));
    await until('both are asked', () => s.up.inFlight === 2);
    const [rec, second] = s.up.requests;
    return { rec, second, hits: 2 };
  },

  'within a stream of the Responses': async (s) => {
    const script = s.up.script({ gateAfter: 6 });
    const rec = await s.sendUntil(script, s.bytes('POST', '/v1/responses',
      JSON.stringify({ model: 'demo', input: 'count to 1000',
        stream: true })));
    await s.read('response.output_text.delta');
    return { rec };
  },
};

const WAYS = { FIN: (c) => c.destroy(), RST: (c) => c.reset() };

/** Resolves when that connection of the provider has ended. */
const connectionEnds = (up, id) => new Promise((resolve) => {
  const done = (which) => {
    if (which !== id) return;
    up.off('disconnect', done);
    resolve();
  };
  up.on('disconnect', done);
});

/** Milliseconds from the client's leaving to the provider's being told; null
 * where it never knew of the request, or was no more wanted before. */
async function leave(s, { rec, second, id, rest }, go) {
  const told = rec
    ? Promise.all([rec.whenAborted(), second?.whenAborted()])
    : id !== undefined ? connectionEnds(s.up, id) : undefined;
  const left = performance.now();
  go();
  if (told) await within(told, 'the provider to be told');
  s.client.destroy();
  await rest?.();
  if (!told) return null;
  const at = rec ? Math.max(rec.abortedMs, second?.abortedMs ?? 0)
    : performance.now();
  return at < left ? null : at - left;
}

/** The values of a gauge, one of each label. */
async function gaugesOf(rig, name) {
  const text = await (await rig.fetch('/metrics')).text();
  const each = new RegExp(`^${name}(?:\\{[^}]*\\})? (\\S+)$`, 'gm');
  const values = [...text.matchAll(each)].map((m) => Number(m[1]));
  assert.notEqual(values.length, 0, name);
  return values;
}

/** All gauges of what is under way, but for the scrape itself. */
async function gauges(rig) {
  const [one, ...more] = await gaugesOf(rig, 'tollgate_in_flight');
  return [one - 1, ...more,
    ...await gaugesOf(rig, 'tollgate_target_in_flight'),
    ...await gaugesOf(rig, 'tollgate_budget_holds')];
}

async function checkAfter(s, { mayBeWhole, hits = 1 }) {
  await until('nothing is in flight or held', async () =>
    (await gauges(s.rig)).every((v) => v === 0));
  await noneHeld(s.rig, 'key', s.key.id);
  const asked = s.up.requests.filter((r) => r.path !== '/v1/models');
  assert.equal(asked.length, hits);
  assert.equal(s.up.inFlight, 0);
  const mine = () => s.rig.gate.accessRows().filter((x) => x.key === s.key.id);
  if (hits > 0) await until('its row', () => mine().length > 0);
  const rows = mine();
  assert.ok(rows.length <= 1, JSON.stringify(rows));
  for (const row of rows)
    assert.ok(row.status === 499 || (mayBeWhole && row.status === 200),
      JSON.stringify(row));
}

function note(t, line) {
  if (line.ms === null) return;
  t.diagnostic(`provider told after ${line.ms.toFixed(1)} ms`);
  if (process.env.E2E_GONE_OUT)
    fs.appendFileSync(process.env.E2E_GONE_OUT, `${JSON.stringify(line)}\n`);
}

const PRICES = [{ model: '*', input: 1, output: 2 }];

/** A rig whose client and provider speak TLS, or neither. */
async function startScenes(secure) {
  if (!secure) return { rig: await startPriced(PRICES, CONFIG()), tls: false };
  const ca = new Authority();
  const leaf = ca.issue(['127.0.0.1', 'localhost']);
  const rig = await startPriced(PRICES, CONFIG(ca, leaf));
  return { rig, ca, tls: { ca: ca.pem, servername: 'localhost' } };
}

/** All are the same provider. */
const TARGETS = {
  up: {},
  again: { retries: { attempts: 3, backoff: '10ms' } },
  narrow: { max_in_flight: 1 },
  left: {},
  right: {},
};

const to = (...names) => names.map((upstream) => ({ upstream, model: 'demo' }));

const ROUTES = [
  { model: 'again', targets: to('again') },
  { model: 'narrow', targets: to('narrow') },
  { model: 'hedged', targets: to('left', 'right'), hedge_after: '20ms' },
  { model: '*', targets: to('up') },
];

/** Nobody reads on for a client that left, so that the provider is told. */
const CONFIG = (ca, leaf) => ({
  upstream: leaf ? { tls: { cert: leaf.cert, key: leaf.key } } : {},
  config: (up) => ({
    budgets: { drain: '0s' },
    upstreams: Object.entries(TARGETS).map(([name, more]) => upstreamEntry(
      up, { name, ...more, ...(ca ? { tls: { ca: ca.file } } : {}) })),
    routes: ROUTES,
    listen: [{ address: '127.0.0.1:0' }, ...(leaf ? [{
      address: '127.0.0.1:0',
      tls: { cert: leaf.certFile, key: leaf.keyFile } }] : [])],
  }),
});

const BUDGET = ['--budget', '100M-tokens/total', '--budget', '$1000/total'];

for (const secure of [false, true])
  describe(`client gone, ${secure ? 'TLS' : 'plain HTTP'}`, GATE_ONLY, () => {
    let scenes;
    before(async () => {
      scenes = await startScenes(secure);
    });
    beforeEach(async () => {
      await scenes.rig.clear();
      scenes.rig.up.gapMs = 0;
      scenes.rig.up.onConnection = null;
    });
    after(async () => {
      await scenes?.rig.close();
      scenes?.ca?.remove();
    });

    /** Where clients go: the last listener speaks TLS, if one does. */
    const address = () => ({ host: '127.0.0.1', tls: scenes.tls,
      port: Number(scenes.rig.gate.addresses.at(-1).split(':').at(-1)) });

    for (const [point, reach] of Object.entries(POINTS))
      for (const [way, go] of Object.entries(WAYS))
        test(`${point}, by ${way}`, async (t) => {
          const key = await scenes.rig.gate.createKey(`${point}, ${way}`,
            ...BUDGET);
          const client = await RawClient.connect(address());
          const s = new Scene(scenes.rig, key, client);
          const there = await reach(s);
          const ms = await leave(s, there, () => go(client));
          s.up.onConnection = null;
          await checkAfter(s, there);
          note(t, { point, way, secure, ms });
        });
  });
