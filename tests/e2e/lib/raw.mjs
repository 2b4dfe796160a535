// A client that sends exactly the bytes it is given, over TCP, TLS or a unix
// socket, and reads replies without any library in between.

import net from 'node:net';
import tls from 'node:tls';

import { ByteReader } from './provider/http.mjs';
import { within } from './until.mjs';

const CRLF = Buffer.from('\r\n');
const CRLF2 = Buffer.from('\r\n\r\n');

/** A reply as it came: status, headers in order, raw and decoded body. */
export class RawReply {
  constructor(head) {
    this.rawHead = Buffer.from(head);
    const lines = head.toString('latin1').split('\r\n');
    this.statusLine = lines[0];
    this.status = Number(lines[0].split(' ')[1]);
    this.headers = lines.slice(1).filter((l) => l !== '').map((l) => {
      const c = l.indexOf(':');
      return [l.slice(0, c), l.slice(c + 1).trim()];
    });
    this.rawParts = [];
    this.parts = [];
    this.complete = false;
  }

  all(name) {
    const low = name.toLowerCase();
    return this.headers.filter(([n]) => n.toLowerCase() === low)
      .map(([, v]) => v);
  }

  header(name) {
    return this.all(name)[0];
  }

  get body() {
    return Buffer.concat(this.parts);
  }

  get text() {
    return this.body.toString('utf8');
  }

  get json() {
    return JSON.parse(this.text);
  }
}

export class RawClient {
  /** Options: host, port or path; tls (tls.connect options). */
  static async connect(options) {
    const c = new RawClient();
    const raw = net.connect({ allowHalfOpen: true, noDelay: true,
      host: options.host, port: options.port, path: options.path });
    c.raw = raw;
    raw.on('error', (e) => (c.error = e));
    await within(new Promise((resolve, reject) => {
      raw.once('connect', resolve);
      raw.once('error', reject);
    }), 'connect');
    c.socket = raw;
    if (options.tls) {
      c.socket = tls.connect({ socket: raw, ...options.tls });
      c.socket.on('error', (e) => (c.error = e));
      await within(new Promise((resolve, reject) => {
        c.socket.once('secureConnect', resolve);
        c.socket.once('error', reject);
        c.socket.once('close', () => reject(c.error ?? new Error('closed')));
      }), 'TLS handshake');
    }
    c.reader = new ByteReader(c.socket);
    c.closed = new Promise((r) => c.raw.once('close', r));
    return c;
  }

  /** Sends bytes; resolves when the kernel has them. */
  send(bytes) {
    return new Promise((r) => this.socket.write(bytes, () => r()));
  }

  /** Sends bytes in pieces of n, each its own segment as far as we can. */
  async sendSplit(bytes, n = 1) {
    const b = Buffer.from(bytes);
    for (let i = 0; i < b.length && !this.socket.destroyed; i += n) {
      await this.send(b.subarray(i, i + n));
      await new Promise((r) => setImmediate(r));
    }
  }

  /** Half-closes: no more bytes from us. */
  end() {
    this.socket.end();
  }

  /** Closes with RST. */
  reset() {
    this.raw.resetAndDestroy();
  }

  destroy() {
    this.raw.destroy();
  }

  /** Stops and resumes reading, as a slow reader does. */
  pause() {
    this.reader.hold();
  }

  resume() {
    this.reader.release();
  }

  /** Reads the next final reply; interim (1xx) ones are collected in it. */
  async readReply({ method = 'GET' } = {}) {
    const interim = [];
    for (;;) {
      const head = await within(this.reader.readUntil(CRLF2), 'a reply');
      if (head === null) return null;
      const reply = new RawReply(head);
      if (reply.status >= 100 && reply.status < 200 && reply.status !== 101) {
        interim.push(reply);
        continue;
      }
      reply.interim = interim;
      await within(this.#readBody(reply, method), 'a reply body');
      return reply;
    }
  }

  async #readBody(reply, method) {
    if (method === 'HEAD' || [101, 204, 304].includes(reply.status)) {
      reply.complete = true;
      return;
    }
    if (/chunked/i.test(reply.header('transfer-encoding') ?? ''))
      reply.complete = await this.#readChunks(reply);
    else if (reply.header('content-length') !== undefined)
      reply.complete = await this.#readCount(
        reply, Number(reply.header('content-length')));
    else reply.complete = await this.#readRest(reply);
  }

  async #readChunks(reply) {
    for (;;) {
      const line = await this.reader.readUntil(CRLF);
      if (line === null) return false;
      reply.rawParts.push(line);
      const size = parseInt(line.toString('latin1'), 16);
      if (size === 0) break;
      if (!(await this.#readCount(reply, size))) return false;
      const end = await this.reader.readExactly(2);
      if (end === null) return false;
      reply.rawParts.push(end);
    }
    for (;;) {
      const line = await this.reader.readUntil(CRLF);
      if (line === null) return false;
      reply.rawParts.push(line);
      if (line.length === 2) return true;
    }
  }

  async #readCount(reply, count) {
    for (let left = count; left > 0; ) {
      const data = await this.reader.readSome(left);
      if (data === null) return false;
      left -= data.length;
      reply.rawParts.push(data);
      reply.parts.push(data);
    }
    return true;
  }

  async #readRest(reply) {
    for (;;) {
      const data = await this.reader.readSome(1 << 20);
      if (data === null) return this.error === undefined;
      reply.parts.push(data);
      reply.rawParts.push(data);
    }
  }

  /** Everything until the peer closes. */
  async readAll() {
    const parts = [];
    for (;;) {
      const data = await within(this.reader.readSome(1 << 20), 'close');
      if (data === null) return Buffer.concat(parts);
      parts.push(data);
    }
  }
}

/** Bytes of a request: headers as [name, value] pairs, in order. */
export function requestBytes(method, target, headers = [], body = '') {
  const b = Buffer.from(body);
  const lines = [`${method} ${target} HTTP/1.1`, 'Host: tollgate.test',
    ...headers.map(([n, v]) => `${n}: ${v}`)];
  const framed = headers.some(([n]) =>
    /^(content-length|transfer-encoding)$/i.test(n));
  if (b.length > 0 && !framed) lines.push(`Content-Length: ${b.length}`);
  return Buffer.concat([
    Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'latin1'), b]);
}

/** One request on a connection of its own. */
export async function rawRequest(address, bytes, options = {}) {
  const c = await RawClient.connect(address);
  await c.send(bytes);
  const reply = await c.readReply(options);
  c.destroy();
  return reply;
}
