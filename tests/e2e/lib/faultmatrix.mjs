// Runs the table of faults.  One daemon stands before the scripted providers
// a and b, each as plain HTTP and over TLS; every row makes them fail in its
// way, sends one request, streamed and not, and compares what the client got,
// what the providers were asked, and what the ledger and the log say of it.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { noneHeld, rowsOf } from './budget.mjs';
import { Authority } from './certs.mjs';
import { SCHEMES, casesOf, checkDoc, recordCase } from './faults/doc.mjs';
import { ask } from './openai.mjs';
import { RawClient, rawRequest, requestBytes } from './raw.mjs';
import { GATE_ONLY } from './rig.mjs';
import { UPSTREAM_KEY, startTollgate } from './tollgate.mjs';
import { startUpstream } from './upstream.mjs';
import { until } from './until.mjs';

export const KEYS = ['sk-up-first-canary-4c1d', 'sk-up-second-canary-9be2'];

/** What a request may take of a hard budget: all that is held for it. */
const CAP = 64;

export const ANSWER = '1 2 3 4 5 6 7 8 9';

const RETRIES = { attempts: 3, backoff: '20ms', backoff_max: '2s' };

const QUICK = { connect: '400ms', first_byte: '400ms', idle: '400ms' };

const AMBIGUOUS = { retries: { ...RETRIES, retry_ambiguous: true } };

/** Who serves a model: `asks`, the first of which is asked first and the next
 * only where it cannot be; `falls` is behind another route. */
const ONE_PLACE = { max_in_flight: 1, queue: { size: 1, wait: '600ms' } };

const SHAPES = {
  one: { asks: ['a'] },
  two: { asks: ['a', 'b'] },
  fall: { asks: ['a'], falls: 'b' },
  fallany: { asks: ['a'], falls: 'b',
    route: { fallback_on: ['error', 'context_length', 'content_filter'] } },
  keys: { asks: ['a'], entry: { api_key: undefined,
    api_keys: ['env:K1', 'env:K2'] } },
  amb: { asks: ['a'], entry: AMBIGUOUS },
  amb2: { asks: ['a', 'b'], entry: AMBIGUOUS },
  slow: { asks: ['a'], entry: { timeouts: QUICK } },
  slow2: { asks: ['a', 'b'], entry: { timeouts: QUICK } },
  slowamb2: { asks: ['a', 'b'], entry: { timeouts: QUICK, ...AMBIGUOUS } },
  short: { asks: ['a'], entry: { timeouts: { total: '600ms' } } },
  lost: { asks: ['a'], entry: { timeouts: { connect: '2s' } },
    url: (u) => u.replace('127.0.0.1', 'no-such-host.invalid') },
  lost2: { asks: ['a', 'b'], entry: { timeouts: { connect: '2s' } },
    url: (u) => u.replace('127.0.0.1', 'no-such-host.invalid') },
  stranger: { asks: ['a'], tls: { server_name: 'other.test' } },
  stranger2: { asks: ['a', 'b'], tls: { server_name: 'other.test' } },
  expired: { asks: ['old'] },
  line: { asks: ['a'], entry: ONE_PLACE },
  line2: { asks: ['a', 'b'], entry: ONE_PLACE },
  hedge: { asks: ['a', 'b'], route: { hedge_after: '150ms' } },
  patient: { asks: ['a', 'b'], route: { hedge_after: '30s' } },
  always: { asks: ['a'], entry: { breaker: { failures: 0 },
    retries: { ...RETRIES, backoff: '1ms' } } },
  breaks: { asks: ['a'], entry: { retries: { attempts: 1 },
    breaker: { failures: 5, window: '30s', open: '1s' } } },
};

/** The config of a shape for a scheme: its upstreams and its routes. */
function wiringOf(name, scheme, providers, authority) {
  const { asks, falls, entry, url, tls, route } = SHAPES[name];
  const all = falls ? [...asks, falls] : asks;
  const upstreams = all.map((who, i) => ({
    name: `${name}-${who}-${scheme}`,
    base_url: (i === 0 && url ? url : (x) => x)(
      providers[who][scheme].baseUrl),
    api_key: 'env:E2E_UPSTREAM_KEY', dialect: 'openai', models: ['demo'],
    retries: RETRIES, ...entry,
    ...(scheme === 'https' && { tls: { ca: authority.file,
      ...(i === 0 ? tls : {}) } }),
  }));
  const to = (who, weight) =>
    ({ upstream: `${name}-${who}-${scheme}`, model: 'demo', weight });
  const routes = [{ model: `${name}-${scheme}`, ...route,
    targets: asks.map((who, i) => to(who, i === 0 ? 1 : 0)),
    ...(falls && { fallbacks: [`${name}-next-${scheme}`] }) }];
  if (falls)
    routes.push({ model: `${name}-next-${scheme}`, targets: [to(falls, 1)] });
  return { upstreams, routes };
}

/** The daemon and the providers of a group of rows. */
export class FaultRig {
  static async start(shapes) {
    const rig = new FaultRig();
    rig.authority = new Authority();
    const leaf = rig.authority.issue(['provider.test', '127.0.0.1']);
    const old = rig.authority.issue(['127.0.0.1'], { days: -1 });
    const keys = [UPSTREAM_KEY, ...KEYS];
    rig.providers = {};
    for (const who of ['a', 'b', 'old']) {
      const { cert, key } = who === 'old' ? old : leaf;
      rig.providers[who] = {
        http: await startUpstream({ keys }),
        https: await startUpstream({ keys, tls: { cert, key } }) };
    }
    const parts = shapes.flatMap((s) => SCHEMES.map((scheme) =>
      wiringOf(s, scheme, rig.providers, rig.authority)));
    rig.gate = await startTollgate({
      budgets: { wait: '0s', drain: '0s' },
      upstreams: parts.flatMap((p) => p.upstreams),
      routes: parts.flatMap((p) => p.routes),
    }, { env: { K1: KEYS[0], K2: KEYS[1] } });
    rig.gate.secrets.push(...KEYS);
    rig.key = await rig.gate.createKey('faults', '--budget',
      '10M-output-tokens/total');
    return rig;
  }

  async close() {
    try {
      await this.gate.stop();
      this.gate.remove();
    } finally {
      this.authority.remove();
      for (const { http, https } of Object.values(this.providers)) {
        await http.close();
        await https.close();
      }
    }
  }

  /** Forgets what was asked, and what was learnt of the targets of a shape. */
  async clear(shape, scheme) {
    for (const p of Object.values(this.providers)) p[scheme].clear();
    for (const { name } of this.gate.config.upstreams)
      if (name.startsWith(`${shape}-`) && name.endsWith(`-${scheme}`))
        await this.gate.must(['target', 'resume', name]);
  }
}

/** What a row does and sees: its providers, and ways to ask. */
class Case {
  constructor(rig, row, scheme, stream) {
    Object.assign(this, { rig, row, scheme, stream, gate: rig.gate });
    this.a = rig.providers[SHAPES[row.shape].asks[0]][scheme];
    this.b = rig.providers.b[scheme];
    this.name = `${row.shape}-${SHAPES[row.shape].asks[0]}-${scheme}`;
  }

  get address() {
    return { host: '127.0.0.1', port: this.gate.port };
  }

  bytes(more = {}) {
    return requestBytes('POST', '/v1/chat/completions',
      [['Authorization', `Bearer ${this.rig.key.key}`],
        ['Content-Type', 'application/json']],
      JSON.stringify(ask('count to 9', {
        model: `${this.row.shape}-${this.scheme}`, max_tokens: CAP,
        ...(this.stream ? { stream: true } : {}), ...more })));
  }

  ask(more) {
    return rawRequest(this.address, this.bytes(more));
  }

  connect() {
    return RawClient.connect(this.address);
  }

  /** This case's first target, as `target list` has it. */
  async target() {
    const { data } = await this.gate.must(['target', 'list']);
    return data.find((t) => t.name === this.name);
  }

  /** Sends the request, and leaves once something has come to pass. */
  async leave(when) {
    const client = await this.connect();
    await client.send(this.bytes());
    await when(client);
    client.destroy();
    return null;
  }

  /** The samples of a metric: lines, each with its labels and value. */
  async samples(name) {
    const text = await (await fetch(`${this.gate.origin}/metrics`)).text();
    return text.split('\n').filter((l) => l.startsWith(`tollgate_${name}{`));
  }

  /** A metric of this case's first target. */
  async metric(name) {
    const line = (await this.samples(name)).find((l) =>
      l.includes(`"${this.name}"`));
    return line && Number(line.split(' ').at(-1));
  }

  /** A counter of the process, whatever its labels. */
  async total(name) {
    return (await this.samples(name)).reduce((sum, l) =>
      sum + Number(l.split(' ').at(-1)), 0);
  }

  /** The ledger's row of a reply, and those of its legs. */
  async rows(id) {
    const all = await until('the row of the request', async () => {
      const rows = await rowsOf(this.rig);
      return rows.some((r) => r.id === id) && rows;
    });
    return { main: all.find((r) => r.id === id),
      legs: all.filter((r) => r.parent === id) };
  }
}

/** Z: free; E: as told; C: counted, the answer broke off; H: all that was
 * held, for nobody knows. */
export function classOf(row) {
  if (row.in_doubt) return 'H';
  if (row.estimated) return 'C';
  if (row.usage_source === 'upstream') return 'E';
  return row.output_tokens + row.input_tokens === 0 ? 'Z' : '?';
}

/** What a reply comes to, in a few words. */
export function shownOf(reply) {
  if (reply === null) return { status: 499, code: null, event: null };
  const out = { status: reply.status, code: null, event: null, ok: false };
  if (/event-stream/.test(reply.header('content-type') ?? '')) {
    const data = reply.text.split('\n').filter((l) => l.startsWith('data: '))
      .map((l) => l.slice(6));
    out.done = data.at(-1) === '[DONE]';
    const events = data.filter((d) => d.startsWith('{"error"'))
      .map((d) => JSON.parse(d).error);
    if (events.length > 0)
      out.event = events.at(-1).code ?? events.at(-1).type;
    out.ok = out.done && !out.event && /"9"|" 9"/.test(reply.text);
    return out;
  }
  let json;
  try {
    json = reply.json;
  } catch {
    return { ...out, code: 'no JSON' };
  }
  out.code = json.error?.code ?? json.error?.type ?? null;
  out.upstream = json.error?.upstream_status ?? null;
  out.ok = reply.status === 200 && !json.error &&
    json.choices?.[0]?.message?.content === ANSWER;
  return out;
}

const among = (want, got) => [want].flat(1).includes(got);

/** Compares what was seen with what a row asks for. */
function check(want, seen) {
  const { access, main, log, ...short } = seen;
  const say = JSON.stringify({ want, seen: short },
    (k, v) => (v instanceof RegExp ? String(v) : v));
  if (want.ok) assert.ok(seen.ok, `a good answer: ${say}`);
  else assert.ok(!seen.ok, `no good answer: ${say}`);
  for (const k of ['status', 'code', 'event', 'billed', 'attempts', 'legs',
    'from', 'upstream'])
    if (want[k] !== undefined)
      assert.ok(among(want[k], seen[k]), `${k}: ${say}`);
  if (want.hits !== undefined)
    assert.deepEqual(seen.hits, want.hits, `hits: ${say}`);
  for (const [name, value] of Object.entries(want.headers ?? {}))
    if (value === null)
      assert.equal(seen.headers[name], undefined, `${name}: ${say}`);
    else assert.match(seen.headers[name] ?? 'absent', value, `${name}: ${say}`);
}

const HEADERS = ['retry-after', 'retry-after-ms', 'x-should-retry'];

/** Sends the request of a case and gathers what came of it. */
async function observe(c) {
  const { a, b, gate } = c;
  const logged = gate.log.length;
  const log = () => gate.log.slice(logged);
  const lines = gate.accessRows().length;
  const reply = c.row.act ? await c.row.act(c) : await c.ask();
  const asked = reply?.header('x-request-id');
  const access = await until('its line', () =>
    gate.accessRows().slice(lines).find((r) =>
      (reply === null ? r.status === 499 : r.id === asked)))
    .catch((e) => {
      throw new Error(`${e.message} ${JSON.stringify(shownOf(reply))}\n` +
        log().split('\n').filter((l) => !/part":"net/.test(l)).join('\n'));
    });
  const { id } = access;
  const { main, legs } = await c.rows(id);
  return {
    ...shownOf(reply), id, attempts: main.attempts,
    hits: [a.hits, b.hits], billed: classOf(main),
    legs: legs.map(classOf).join(''),
    from: reply?.header('x-tollgate-target')?.split('-').at(-2) ?? null,
    headers: Object.fromEntries(
      HEADERS.map((h) => [h, reply?.header(h)])
        .filter(([, v]) => v !== undefined)),
    reason: access.reason, access, main, complete: reply?.complete ?? true,
    log,
  };
}

/** What holds of every row: nothing stays held, all was told and counted. */
async function checkAlways(c, seen) {
  assert.ok(seen.complete, 'the reply was whole in its framing');
  await noneHeld(c.rig, 'key', c.rig.key.id);
  assert.equal(seen.access.attempts, seen.main.attempts);
  assert.equal(seen.access.status, seen.status);
  if (seen.event) assert.ok(!seen.done, 'an error, and no [DONE]');
  if (c.row.log || seen.code?.startsWith('upstream_'))
    await until(`the log tells of ${seen.id}`, () => (c.row.log ??
      new RegExp(`id=${seen.id} target=${c.row.shape}-`)).test(seen.log()), 5000);
}

const caseName = ({ scheme, stream }) =>
  `${scheme === 'http' ? 'plain' : 'TLS'}, ${stream ? 'streamed' : 'whole'}`;

async function runCase(rig, row, { scheme, stream }) {
  const c = new Case(rig, row, scheme, stream);
  await rig.clear(row.shape, scheme);
  for (const [who, script] of [[c.a, row.a], [c.b, row.b]])
    if (script) who.script({ times: 99, ...script });
  try {
    await row.before?.(c);
    const seen = await observe(c);
    check({ ...row.want, ...(stream ? row.wantStream : row.wantWhole) }, seen);
    await row.also?.(c, seen);
    await checkAlways(c, seen);
    recordCase(row, { scheme, stream }, seen);
    checkDoc(row, { scheme, stream }, seen);
  } finally {
    await row.undo?.(c);
  }
}

/** Declares the tests of a group of rows. */
export function faultTests(title, rows) {
  describe(title, GATE_ONLY, () => {
    let rig;
    before(async () => {
      rig = await FaultRig.start([...new Set(rows.map((r) => r.shape))]);
    });
    after(() => rig?.close());
    for (const row of rows)
      describe(`${row.id}: ${row.fault}`, () => {
        for (const way of casesOf(row))
          test(caseName(way), () => runCase(rig, row, way));
      });
  });
}
