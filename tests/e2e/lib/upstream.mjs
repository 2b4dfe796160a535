// The scripted provider: an OpenAI-, Azure- and Anthropic-shaped server that
// answers correctly, records every byte it is sent, knows what its work truly
// cost, and misbehaves exactly as told.  Used in-process by the tests, and on
// its own as a small demo provider:
//
//   node upstream.mjs [--host H] [--port N] [--print-port] [--gap-ms N]
//
// Needs nothing but Node 18.

import { EventEmitter, once } from 'node:events';
import net from 'node:net';
import tls from 'node:tls';
import { pathToFileURL } from 'node:url';

import * as anthropic from './provider/anthropic.mjs';
import { applyFault, faultOfModel } from './provider/faults.mjs';
import * as files from './provider/files.mjs';
import { ByteReader, Plan, RequestRecord, readBody }
  from './provider/http.mjs';
import * as openai from './provider/openai.mjs';
import * as responses from './provider/responses.mjs';
import { parseMultipart, sha256 } from './provider/text.mjs';
import { serveWebSocket, wantsWebSocket } from './provider/ws.mjs';

const CRLF2 = Buffer.from('\r\n\r\n');
const KEEP_BYTES = 32 * 1024 * 1024;

const batches = files.collection('batches', 'batch', {
  cancel: { status: 'cancelling' },
});
const fineTuning = files.collection('ftjobs', 'fine_tuning.job', {
  cancel: { status: 'cancelled' },
});

const searchStore = () => Plan.json({
  object: 'vector_store.search_results.page', search_query: ['q'],
  data: [], has_more: false, next_page: null,
});

const vectorStores = files.collection('vector_stores', 'vector_store');

/** Route table: first path segment under /v1 to a function of the rest. */
const ROUTES = {
  chat: (p, r, [op, id, sub]) =>
    op !== 'completions' ? undefined
      : r.method === 'POST' && id === undefined ? openai.chat(p, r)
        : openai.storedChat(p, r, id, sub),
  completions: (p, r) => openai.completions(p, r),
  embeddings: (p, r) => openai.embeddings(p, r),
  moderations: (p, r) => openai.moderations(p, r),
  models: (p, r, [id]) => openai.models(p, r, id),
  responses: (p, r, [id, sub]) =>
    id === undefined ? responses.create(p, r) : responses.byId(p, r, id, sub),
  messages: (p, r, [sub]) =>
    sub === 'count_tokens' ? anthropic.countTokensRoute(p, r)
      : sub === undefined ? anthropic.messages(p, r) : undefined,
  files: (p, r, [id, sub]) => files.files(p, r, id, sub),
  uploads: (p, r, [id, sub]) => files.uploads(p, r, id, sub),
  audio: (p, r, [op]) => files.audio(p, r, op),
  images: (p, r, [op]) => files.images(p, r, op),
  batches: (p, r, [id, sub]) => batches(p, r, id, sub),
  vector_stores: (p, r, [id, sub, subId]) =>
    sub === 'search' ? searchStore() : vectorStores(p, r, id, sub, subId),
  fine_tuning: (p, r, [, id, sub]) => fineTuning(p, r, id, sub),
};

/** Members that bound an answer. */
const CAPS = ['max_tokens', 'max_completion_tokens', 'max_output_tokens'];

/** Notes the caps of a request; a deaf provider does not hear them. */
function hearCaps(rec, deaf) {
  if (rec.json === null || typeof rec.json !== 'object') return;
  for (const name of CAPS) {
    if (rec.json[name] === undefined) continue;
    rec.caps[name] = rec.json[name];
    if (deaf) rec.json[name] = 1e9;
  }
}

/** What any other route gets: an account of the request. */
function echo(rec) {
  return Plan.json({
    object: 'echo', method: rec.method, target: rec.target,
    bytes: rec.bodyBytes, sha256: rec.sha256,
  });
}

/** Resolves at the first of some events, and leaves no listener behind. */
function firstOf(...events) {
  return new Promise((resolve) => {
    const done = () => {
      for (const [emitter, name] of events) emitter.off(name, done);
      resolve();
    };
    for (const [emitter, name] of events) emitter.on(name, done);
  });
}

/** A queued script and what a test can await of it. */
class Script {
  constructor(init) {
    Object.assign(this, { times: 1 }, init);
    this.request = new Promise((r) => (this.setRequest = r));
    this.reached = new Promise((r) => (this.setReached = r));
    this.gate = new Promise((r) => (this.open = r));
  }

  matches(rec) {
    if (this.match === undefined) return true;
    if (this.match instanceof RegExp) return this.match.test(rec.path);
    return this.match(rec);
  }

  /** Puts the gate after k events, or before the head for gate: "head". */
  guard(plan, rec) {
    const op = { gate: this.gate, reached: () => this.setReached(rec) };
    if (this.gateAfter === undefined) return;
    if (this.gateAfter === 'head') {
      plan.transforms.push(async function* (ops) {
        yield op;
        yield* ops;
      });
      return;
    }
    const inner = plan.events ?? plan.blocks ?? [plan.body];
    const k = this.gateAfter;
    const gated = (async function* () {
      let i = 0;
      for await (const e of inner) {
        if (i++ === k) yield op;
        yield e;
      }
      if (i <= k) yield op;
    })();
    if (plan.events !== undefined) plan.events = gated;
    else plan.blocks = gated;
  }
}

export class Upstream extends EventEmitter {
  /** Providers that listen now. */
  static live = new Set();

  constructor(options = {}) {
    super();
    this.setMaxListeners(2000);
    this.options = { host: '127.0.0.1', port: 0, ...options };
    this.requests = [];
    this.scripts = [];
    this.sockets = new Set();
    this.connections = 0;
    this.inFlight = 0;
    this.maxInFlight = 0;
    this.maxOpen = 0;
    this.counter = 0;
    this.cachedTokens = 0;
    this.ignoresCaps = false;
    this.gapMs = this.options.gapMs ?? 0;
    this.keys = this.options.keys ?? null;
    this.models = this.options.models ??
      ['demo', 'gpt-5-mini', 'org/model:free'];
    this.onConnection = null;
    this.clearState();
  }

  clearState() {
    this.files = new Map();
    this.uploads = new Map();
    this.responses = new Map();
    this.stored = new Map();
    this.collections = new Map();
  }

  async listen() {
    this.server = net.createServer({ allowHalfOpen: true }, (s) =>
      this.#accept(s));
    const { unix, host, port } = this.options;
    this.server.listen(
      unix ? { path: unix } : { host, port: this.port ?? port });
    await once(this.server, 'listening');
    Upstream.live.add(this);
    if (!unix) this.port = this.server.address().port;
    return this;
  }

  get origin() {
    const scheme = this.options.tls ? 'https' : 'http';
    return `${scheme}://${this.options.host}:${this.port}`;
  }

  get baseUrl() {
    return `${this.origin}/v1`;
  }

  /** Connections are refused until listen() is called again. */
  async refuse() {
    Upstream.live.delete(this);
    const closed = once(this.server, 'close');
    this.server.close();
    for (const s of this.sockets) s.destroy();
    await closed;
  }

  async close() {
    this.emit('closing');
    if (this.server.listening) await this.refuse();
  }

  /** Cuts idle kept-alive connections, as providers do at any time. */
  dropConnections() {
    for (const s of this.sockets) s.destroy();
  }

  /**
   * Queues behaviour for the next matching request.  Fields: match (RegExp
   * on the path, or a function), times, fault and its parameters, plan (a
   * function of the request), edit (a function of the plan), gateAfter (k
   * events, or "head"), when: "head" (answer before reading the body),
   * holdBody (stop reading the body until open()).
   */
  script(init) {
    const s = new Script(init);
    this.scripts.push(s);
    return s;
  }

  #takeScript(rec, early) {
    const i = this.scripts.findIndex(
      (s) => (s.when === 'head' || s.holdBody === true) === early &&
        s.matches(rec));
    if (i < 0) return undefined;
    const s = this.scripts[i];
    if (--s.times <= 0) this.scripts.splice(i, 1);
    s.setRequest(rec);
    return s;
  }

  /** The first request, past or future, that the predicate accepts. */
  async waitFor(accepts) {
    for (;;) {
      const found = this.requests.find(accepts);
      if (found) return found;
      await once(this, 'request');
    }
  }

  get last() {
    return this.requests.at(-1);
  }

  get hits() {
    return this.requests.length;
  }

  /** Tokens really consumed and produced by all requests so far. */
  get cost() {
    return this.requests.reduce(
      (s, r) => ({
        input: s.input + r.cost.input, output: s.output + r.cost.output,
      }),
      { input: 0, output: 0 },
    );
  }

  /** What the requests that the predicate accepts truly cost; see truth(). */
  trueCost({ stubborn = false, of = () => true } = {}) {
    const sum = { requests: 0, input: 0, output: 0 };
    for (const r of this.requests) {
      if (!of(r)) continue;
      const { input, output } = r.truth(stubborn);
      sum.requests += 1;
      sum.input += input;
      sum.output += output;
    }
    return sum;
  }

  get open() {
    return this.sockets.size;
  }

  /** Forgets requests, scripts and stored objects; connections stay. */
  clear() {
    this.requests = [];
    this.scripts = [];
    this.maxInFlight = this.inFlight;
    this.clearState();
  }

  nextId(prefix) {
    this.counter += 1;
    return `${prefix}-e2e${String(this.counter).padStart(8, '0')}`;
  }

  collection(name) {
    if (!this.collections.has(name)) this.collections.set(name, new Map());
    return this.collections.get(name);
  }

  page(data) {
    return {
      object: 'list', data, has_more: false,
      first_id: data[0]?.id ?? null, last_id: data.at(-1)?.id ?? null,
    };
  }

  async pace() {
    if (this.gapMs > 0) await new Promise((r) => setTimeout(r, this.gapMs));
  }

  #accept(raw) {
    this.connections += 1;
    const id = this.connections;
    raw.setNoDelay(true);
    raw.on('error', () => {});
    this.sockets.add(raw);
    this.maxOpen = Math.max(this.maxOpen, this.sockets.size);
    raw.on('close', () => {
      this.sockets.delete(raw);
      this.emit('disconnect', id);
    });
    this.emit('connect', id);
    if (this.onConnection === 'reset') return void raw.resetAndDestroy();
    if (this.onConnection === 'hang')
      return void raw.resume().on('end', () => raw.end());
    let socket = raw;
    if (this.options.tls) {
      socket = new tls.TLSSocket(raw, {
        isServer: true,
        secureContext: tls.createSecureContext(this.options.tls),
        requestCert: false,
      });
      socket.on('error', () => raw.destroy());
    }
    this.#serve(socket, raw, id).catch((e) => {
      this.emit('failure', e);
      raw.destroy();
    });
  }

  async #serve(socket, raw, id) {
    const reader = new ByteReader(socket);
    for (;;) {
      const head = await reader.readUntil(CRLF2);
      if (head === null) break;
      const rec = new RequestRecord(
        this.requests.length, id, Buffer.from(head));
      if (!(await this.#exchange(rec, reader, socket, raw))) break;
    }
    if (!raw.destroyed) socket.end();
  }

  /** One request; true when the connection can carry another. */
  async #exchange(rec, reader, socket, raw) {
    rec.requestId = this.nextId('req');
    rec.servername = socket.servername;
    this.requests.push(rec);
    this.inFlight += 1;
    this.maxInFlight = Math.max(this.maxInFlight, this.inFlight);
    const gone = () => {
      if (rec.finished || rec.aborted) return;
      rec.aborted = true;
      rec.abortedMs = performance.now();
      rec.emit('abort');
      rec.emit('over');
    };
    reader.on('gone', gone);
    this.emit('request', rec);
    try {
      return await this.#reply(rec, reader, socket, raw);
    } finally {
      reader.off('gone', gone);
      this.inFlight -= 1;
      this.emit('over', rec);
    }
  }

  async #reply(rec, reader, socket, raw) {
    if (wantsWebSocket(rec) && !this.refuseWebSockets) {
      await serveWebSocket(this, rec, reader, socket);
      return false;
    }
    const early = this.#takeScript(rec, true);
    if (early?.holdBody) {
      reader.hold();
      early.gate.then(() => reader.release());
    }
    if (/100-continue/i.test(rec.header('expect') ?? '') && !early)
      socket.write('HTTP/1.1 100 Continue\r\n\r\n');
    const body = readBody(reader, rec, this.options.keepBytes ?? KEEP_BYTES)
      .then((whole) => {
        rec.bodyDone = whole;
        rec.emit('body-done', whole);
        return whole;
      });
    if (early?.when !== 'head' && !(await body)) return false;
    const script = early ?? this.#takeScript(rec, false);
    const plan = this.#planFor(rec, script);
    const kept = await this.#write(rec, plan, socket, raw);
    return kept && (await body) && plan.keepAlive &&
      plan.framing !== 'close' &&
      !/close/i.test(rec.header('connection') ?? '');
  }

  #planFor(rec, script) {
    let plan;
    hearCaps(rec, this.ignoresCaps);
    if (script?.plan) plan = script.plan(rec, this);
    else plan = this.#refusal(rec) ?? this.#route(rec) ?? echo(rec);
    const fault = script?.fault ? script : faultOfModel(this.#modelOf(rec));
    if (fault) plan = applyFault(plan, fault);
    if (plan.rawHead === undefined) {
      for (const [n, v] of this.#commonHeaders(rec))
        if (!plan.headers.some(([m]) => m.toLowerCase() === n))
          plan.headers.push([n, v]);
    }
    if (script?.edit) plan = script.edit(plan, rec) ?? plan;
    rec.refused = plan.status >= 400;
    rec.planned = true;
    script?.guard(plan, rec);
    return plan;
  }

  #commonHeaders(rec) {
    const id = rec.requestId;
    if (rec.header('anthropic-version') !== undefined)
      return [['request-id', id], ['anthropic-organization-id', 'org-e2e']];
    return [
      ['x-request-id', id], ['openai-processing-ms', '5'],
      ['openai-version', '2020-10-01'], ['openai-organization', 'org-e2e'],
      ['x-ratelimit-limit-requests', '1000'],
      ['x-ratelimit-remaining-requests', '999'],
      ['x-ratelimit-reset-requests', '60ms'],
    ];
  }

  #modelOf(rec) {
    const named = rec.json?.model ?? rec.deployment;
    if (typeof named === 'string') return named;
    const type = rec.header('content-type') ?? '';
    if (!type.startsWith('multipart/form-data')) return undefined;
    try {
      return parseMultipart(type, rec.body).find((x) => x.name === 'model')
        ?.data.toString('utf8');
    } catch {
      return undefined;
    }
  }

  /** The reply to a request without one of the provider's keys. */
  #refusal(rec) {
    if (this.keys === null) return undefined;
    const given = [
      /^Bearer (.*)$/.exec(rec.header('authorization') ?? '')?.[1],
      rec.header('x-api-key'), rec.header('api-key'),
    ];
    rec.keysGiven = given.filter((k) => k !== undefined);
    if (rec.keysGiven.some((k) => this.keys.includes(k))) return undefined;
    return openai.openaiError(401, 'Incorrect API key provided.', {
      code: 'invalid_api_key',
    });
  }

  #route(rec) {
    const segments = rec.path.split('/').slice(1);
    if (segments[0] === 'openai' && segments[1] === 'deployments') {
      const version = new URLSearchParams(rec.query).get('api-version');
      if (!version)
        return Plan.json(
          { error: { code: '404', message: 'Resource not found' } }, 404);
      rec.deployment = decodeURIComponent(segments[2]);
      if (rec.json && rec.json.model === undefined)
        rec.json.model = rec.deployment;
      segments.splice(0, 3);
    } else {
      if (segments[0] === 'openai') segments.shift();
      if (segments[0] === 'v1') segments.shift();
    }
    const rest = segments.slice(1).filter((s) => s !== '');
    return Object.hasOwn(ROUTES, segments[0])
      ? ROUTES[segments[0]](this, rec, rest) : undefined;
  }

  async #write(rec, plan, socket, raw) {
    let ops = plan.operations(rec.method);
    for (const t of plan.transforms) ops = t(ops);
    for await (const op of ops) {
      if (rec.aborted || raw.destroyed) return false;
      if (op.gate) await this.#waitGate(rec, op);
      else if (op.bytes !== undefined) await this.#send(rec, op, socket);
      else return this.#end(rec, op, socket, raw);
    }
    if (rec.aborted) return false;
    rec.finished = true;
    rec.emit('over');
    return true;
  }

  async #waitGate(rec, op) {
    op.reached?.();
    if (rec.aborted) return;
    const opened = new EventEmitter();
    op.gate.then(() => opened.emit('open'));
    await firstOf([opened, 'open'], [rec, 'abort'], [this, 'closing']);
  }

  async #send(rec, op, socket) {
    const sent = new Promise((r) => socket.write(op.bytes, r));
    rec.bytesOut += op.bytes.length;
    if (op.payload && rec.bytesOut < KEEP_BYTES)
      rec.payloadParts.push(op.payload);
    rec.cost.output += op.tokens ?? 0;
    rec.emit('sent', rec.bytesOut);
    if (op.flush) {
      await sent;
      await new Promise((r) =>
        op.gapMs ? setTimeout(r, op.gapMs) : setImmediate(r));
    } else if (socket.writableNeedDrain) {
      rec.blocked = true;
      rec.emit('blocked');
      await firstOf([socket, 'drain'], [socket, 'close'], [rec, 'abort']);
      rec.blocked = false;
    }
  }

  async #end(rec, op, socket, raw) {
    await new Promise((r) => socket.write('', r));
    rec.cut = Object.keys(op)[0];
    rec.emit('cut', rec.cut);
    if (op.hang) {
      if (!rec.aborted)
        await firstOf([rec, 'abort'], [this, 'closing']);
      return false;
    }
    rec.finished = true;
    rec.emit('over');
    if (op.reset) raw.resetAndDestroy();
    else if (op.fin) socket.end();
    else raw.destroy();
    return false;
  }
}

/** Starts a provider; see Upstream for what it can be told. */
export const startUpstream = (options) => new Upstream(options).listen();

export { Plan, sha256 };

function argumentsOf(argv) {
  const o = { host: '127.0.0.1', port: 8080, gapMs: 25,
    keepBytes: 16 * 1024 * 1024 };
  for (let i = 0; i < argv.length; i++) {
    if (argv[i] === '--host') o.host = argv[++i];
    else if (argv[i] === '--port') o.port = Number(argv[++i]);
    else if (argv[i] === '--gap-ms') o.gapMs = Number(argv[++i]);
    else if (argv[i] === '--key') o.keys = [argv[++i]];
    else if (argv[i] === '--models') o.models = argv[++i].split(',');
    else if (argv[i] === '--print-port') o.printPort = true;
    else throw new Error(`unknown option ${argv[i]}`);
  }
  return o;
}

async function main() {
  let options;
  try {
    options = argumentsOf(process.argv.slice(2));
  } catch (e) {
    process.stderr.write(`${e.message}\n`);
    process.exit(2);
  }
  const up = await startUpstream(options);
  up.on('over', () => {
    // a demo may run for days: keep no history
    if (up.requests.length > 40) up.requests.splice(0, 20);
  });
  process.stdout.write(
    options.printPort ? `${up.port}\n` : `serving ${up.baseUrl}\n`);
  for (const s of ['SIGINT', 'SIGTERM'])
    process.on(s, () => up.close().then(() => process.exit(0)));
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href)
  await main();
