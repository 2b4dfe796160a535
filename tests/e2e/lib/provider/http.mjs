// HTTP/1.1 framing of the scripted provider.  Reading is lenient and records
// every byte; writing goes through a list of operations, so that a fault can
// cut, split or corrupt the reply at any byte.

import { createHash } from 'node:crypto';
import { EventEmitter } from 'node:events';

const EMPTY = Buffer.alloc(0);
const CRLF = Buffer.from('\r\n');

/** Pull interface over a socket: bytes are taken when they are wanted. */
export class ByteReader extends EventEmitter {
  constructor(socket, highWater = 4 * 1024 * 1024) {
    super();
    this.socket = socket;
    this.chunks = [];
    this.length = 0;
    this.ended = false;
    this.held = false;
    this.highWater = highWater;
    socket.on('data', (b) => this.#push(b));
    socket.on('end', () => this.#finish('end'));
    socket.on('error', () => this.#finish('error'));
    socket.on('close', () => this.#finish('close'));
  }

  #push(bytes) {
    this.chunks.push(bytes);
    this.length += bytes.length;
    if (this.length > this.highWater) this.socket.pause();
    this.emit('more');
  }

  #finish(how) {
    if (this.ended && how !== 'error' && how !== 'close') return;
    this.ended = true;
    this.emit('more');
    this.emit('gone', how);
  }

  /** Stops reading from the socket until release() (a slow server). */
  hold() {
    this.held = true;
    this.socket.pause();
  }

  release() {
    this.held = false;
    this.socket.resume();
    this.emit('more');
  }

  #take(n) {
    if (this.chunks.length > 1 && this.chunks[0].length < n)
      this.chunks = [Buffer.concat(this.chunks)];
    const first = this.chunks[0];
    const out = first.subarray(0, n);
    if (out.length === first.length) this.chunks.shift();
    else this.chunks[0] = first.subarray(n);
    this.length -= out.length;
    if (this.length <= this.highWater && !this.held) this.socket.resume();
    return out;
  }

  async #more() {
    if (this.ended) return false;
    await new Promise((r) => this.once('more', r));
    return true;
  }

  /** At most max bytes as soon as there are any; null at the end. */
  async readSome(max) {
    for (;;) {
      if (this.length > 0 && !this.held)
        return this.#take(Math.min(max, this.chunks[0].length));
      if (!(await this.#more()) && this.length === 0) return null;
    }
  }

  /** Exactly n bytes, or null when the peer ended before. */
  async readExactly(n) {
    for (;;) {
      if (this.length >= n && !this.held) return n ? this.#take(n) : EMPTY;
      if (!(await this.#more()) && this.length < n) return null;
    }
  }

  /** Bytes up to and including mark; null when the peer ended before. */
  async readUntil(mark, max = 16 * 1024 * 1024) {
    for (;;) {
      if (this.length > 0 && !this.held) {
        if (this.chunks.length > 1) this.chunks = [Buffer.concat(this.chunks)];
        const at = this.chunks[0].indexOf(mark);
        if (at >= 0) return this.#take(at + mark.length);
        if (this.length > max) return null;
      }
      if (!(await this.#more())) return null;
    }
  }
}

/** One request as it arrived, and what became of its reply. */
export class RequestRecord extends EventEmitter {
  constructor(number, connection, head) {
    super();
    this.setMaxListeners(50);
    this.number = number;
    this.connection = connection;
    this.startedMs = performance.now();
    this.rawHead = head;
    this.rawBodyParts = [];
    this.bodyParts = [];
    this.bodyBytes = 0;
    this.bodyHash = createHash('sha256');
    this.bodyDone = false;
    this.aborted = false;
    this.abortedMs = null;
    this.finished = false;
    this.bytesOut = 0;
    this.payloadParts = [];
    this.blocked = false;
    this.cost = { input: 0, cached: 0, output: 0, whole: 0 };
    this.planned = false;
    this.refused = false;
    this.caps = {};
    this.trailers = [];
    const lines = head.toString('latin1').split('\r\n');
    const [method, target, version] = lines[0].split(' ');
    this.method = method;
    this.target = target;
    this.version = version;
    const q = target.indexOf('?');
    this.path = q < 0 ? target : target.slice(0, q);
    this.query = q < 0 ? '' : target.slice(q + 1);
    this.headers = lines
      .slice(1)
      .filter((l) => l !== '')
      .map((l) => {
        const c = l.indexOf(':');
        return [l.slice(0, c), l.slice(c + 1).trim()];
      });
  }

  /** First value of a header, any case; undefined when it is absent. */
  header(name) {
    return this.all(name)[0];
  }

  /** All values of a header, in order. */
  all(name) {
    const low = name.toLowerCase();
    return this.headers
      .filter(([n]) => n.toLowerCase() === low)
      .map(([, v]) => v);
  }

  /** Bytes of the body as they were on the wire, chunk framing included. */
  get rawBody() {
    return Buffer.concat(this.rawBodyParts);
  }

  /** The body itself. */
  get body() {
    return Buffer.concat(this.bodyParts);
  }

  /** What was sent as the reply's body, without framing (first 32 MiB). */
  get payload() {
    return Buffer.concat(this.payloadParts);
  }

  get sha256() {
    return this.bodyHash.copy().digest('hex');
  }

  /** The body as JSON; undefined when it is none. */
  get json() {
    if (this.jsonValue === undefined) {
      try {
        this.jsonValue = JSON.parse(this.body.toString('utf8'));
      } catch {
        return undefined;
      }
    }
    return this.jsonValue;
  }

  /**
   * What this request truly cost, as its provider sees it: nothing where it
   * was refused, else its input and what was written of its answer; of a
   * provider that does not stop when nobody listens (stubborn) all of it.
   */
  truth(stubborn = false) {
    if (!this.planned || this.refused) return { input: 0, output: 0 };
    const { input, output, whole } = this.cost;
    return { input, output: stubborn ? Math.max(output, whole) : output };
  }

  /** Resolves when the client went away before the reply was complete. */
  async whenAborted() {
    if (!this.aborted) await new Promise((r) => this.once('abort', r));
    return this.abortedMs - this.startedMs;
  }

  /** Resolves when the reply was written or the client is gone. */
  async whenOver() {
    if (!this.finished && !this.aborted)
      await new Promise((r) => this.once('over', r));
  }
}

async function readChunked(reader, rec, keep, limit) {
  for (;;) {
    const line = await reader.readUntil(CRLF);
    if (line === null) return false;
    keep(rec.rawBodyParts, line);
    const size = parseInt(line.toString('latin1'), 16);
    if (!Number.isInteger(size)) return false;
    if (size === 0) break;
    for (let left = size; left > 0; ) {
      const data = await reader.readSome(left);
      if (data === null) return false;
      left -= data.length;
      addBody(rec, data, keep, limit);
    }
    const end = await reader.readExactly(2);
    if (end === null) return false;
    keep(rec.rawBodyParts, end);
  }
  for (;;) {
    const line = await reader.readUntil(CRLF);
    if (line === null) return false;
    keep(rec.rawBodyParts, line);
    if (line.length === 2) return true;
    rec.trailers.push(line.toString('latin1').trim());
  }
}

function addBody(rec, data, keep) {
  rec.bodyBytes += data.length;
  rec.bodyHash.update(data);
  keep(rec.rawBodyParts, data);
  keep(rec.bodyParts, data);
  rec.emit('body', data.length);
}

/** Reads the body; false when the peer ended before it was complete. */
export async function readBody(reader, rec, keepBytes) {
  const keep = (list, data) => {
    if (rec.bodyBytes <= keepBytes) list.push(Buffer.from(data));
  };
  const te = rec.header('transfer-encoding');
  if (te !== undefined) return readChunked(reader, rec, keep);
  let left = Number(rec.header('content-length') ?? 0);
  while (left > 0) {
    const data = await reader.readSome(left);
    if (data === null) return false;
    left -= data.length;
    addBody(rec, data, keep);
  }
  return true;
}

const REASONS = {
  200: 'OK', 201: 'Created', 202: 'Accepted', 204: 'No Content',
  302: 'Found', 400: 'Bad Request', 401: 'Unauthorized', 403: 'Forbidden',
  404: 'Not Found', 405: 'Method Not Allowed', 409: 'Conflict',
  413: 'Content Too Large', 422: 'Unprocessable Entity',
  429: 'Too Many Requests', 500: 'Internal Server Error',
  502: 'Bad Gateway', 503: 'Service Unavailable', 504: 'Gateway Timeout',
  529: 'Overloaded',
};

export const reasonOf = (status) => REASONS[status] ?? 'Status';

/** Serialises a status line and headers. */
export function headBytes(status, headers, reason = reasonOf(status)) {
  const lines = [`HTTP/1.1 ${status} ${reason}`];
  for (const [n, v] of headers) lines.push(`${n}: ${v}`);
  return Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'latin1');
}

/** Bytes of one server-sent event. */
export function eventBytes(e, eol = '\n') {
  if (e.raw !== undefined) return Buffer.from(e.raw);
  let s = '';
  if (e.comment !== undefined) s += `: ${e.comment}${eol}`;
  if (e.event !== undefined) s += `event: ${e.event}${eol}`;
  if (e.data !== undefined) s += `data: ${e.data}${eol}`;
  return Buffer.from(s + (e.bare ? '' : eol), 'utf8');
}

export const jsonEvent = (value, event) => ({
  event,
  data: JSON.stringify(value),
});

/**
 * A reply before it is bytes.  framing: length | chunked | close.  Either
 * body (Buffer), blocks (iterable of Buffers) or events (SSE) is set.
 */
export class Plan {
  constructor(init = {}) {
    this.status = 200;
    this.headers = [];
    this.framing = 'length';
    this.eol = '\n';
    this.keepAlive = true;
    this.marks = [];
    this.transforms = [];
    Object.assign(this, init);
  }

  static json(value, status = 200, headers = []) {
    return new Plan({
      status,
      headers: [['Content-Type', 'application/json'], ...headers],
      body: Buffer.from(JSON.stringify(value), 'utf8'),
    });
  }

  static bytes(body, type, status = 200, headers = []) {
    return new Plan({
      status,
      headers: [['Content-Type', type], ...headers],
      body: Buffer.from(body),
    });
  }

  static events(events, headers = []) {
    return new Plan({
      framing: 'chunked',
      headers: [
        ['Content-Type', 'text/event-stream; charset=utf-8'],
        ['Cache-Control', 'no-cache'],
        ...headers,
      ],
      events,
    });
  }

  setHeader(name, value) {
    const low = name.toLowerCase();
    this.headers = this.headers.filter(([n]) => n.toLowerCase() !== low);
    if (value !== undefined) this.headers.push([name, value]);
  }

  async *#parts() {
    if (this.events !== undefined) {
      if (this.bom) yield { bytes: Buffer.from('\ufeff', 'utf8') };
      for await (const e of this.events) {
        if (e.gate) yield e;
        else yield { bytes: eventBytes(e, this.eol), tokens: e.tokens ?? 0 };
      }
    } else if (this.blocks !== undefined) {
      for await (const b of this.blocks)
        yield b.gate ? b : { bytes: b, tokens: 0 };
    } else if (this.body !== undefined && this.body.length > 0) {
      yield { bytes: this.body, tokens: this.tokens ?? 0 };
    }
  }

  /** The reply as operations: {bytes} {gate} {reset} {fin} {hang}. */
  async *operations(method) {
    const bodiless =
      method === 'HEAD' || this.status === 204 || this.status === 304;
    const headers = [...this.headers];
    if (this.status !== 204 && !this.ownFraming) {
      if (this.framing === 'chunked')
        headers.push(['Transfer-Encoding', 'chunked']);
      else if (this.framing === 'length')
        headers.push(['Content-Length', String(this.lengthOfBody())]);
    }
    if (!this.keepAlive || this.framing === 'close')
      headers.push(['Connection', 'close']);
    for (const b of this.before ?? []) yield { bytes: Buffer.from(b) };
    const head = this.rawHead ?? headBytes(this.status, headers, this.reason);
    yield { bytes: head, head: true };
    if (bodiless) return;
    const chunked = this.framing === 'chunked' && !this.ownFraming;
    for await (const p of this.#parts()) {
      if (p.gate) yield p;
      else if (!chunked) yield { ...p, payload: p.bytes };
      else yield { bytes: chunkOf(p.bytes), payload: p.bytes, tokens: p.tokens };
    }
    if (chunked) yield { bytes: Buffer.from('0\r\n\r\n') };
    if (this.after !== undefined) yield { bytes: Buffer.from(this.after) };
  }

  lengthOfBody() {
    if (this.body !== undefined) return this.body.length;
    return this.blockBytes ?? 0;
  }
}

export const chunkOf = (bytes) =>
  Buffer.concat([
    Buffer.from(`${bytes.length.toString(16)}\r\n`),
    bytes,
    Buffer.from('\r\n'),
  ]);

/** Cuts the operations after `at` bytes (headers included unless body). */
export async function* cutAt(ops, { at = 0, body = false, how = 'reset' }) {
  let left = at;
  for await (const op of ops) {
    if (op.bytes === undefined || (body && op.head)) {
      yield op;
      continue;
    }
    if (op.bytes.length >= left) {
      if (left > 0) yield { ...op, bytes: op.bytes.subarray(0, left) };
      yield { [how]: true };
      return;
    }
    left -= op.bytes.length;
    yield op;
  }
  yield { [how]: true };
}

/** Splits every write into pieces of n bytes, each its own packet. */
export async function* splitEach(ops, { n = 1, gapMs = 0 }) {
  for await (const op of ops) {
    if (op.bytes === undefined) {
      yield op;
      continue;
    }
    for (let i = 0; i < op.bytes.length; i += n)
      yield {
        bytes: op.bytes.subarray(i, i + n),
        payload: i === 0 ? op.payload : undefined,
        tokens: i === 0 ? op.tokens : 0,
        flush: true,
        gapMs,
      };
  }
}
