// WebSocket server side of the scripted provider (RFC 6455): handshake,
// frames, and an echo that speaks enough of the realtime API.

import { createHash } from 'node:crypto';

import { headBytes } from './http.mjs';
import { create } from './responses.mjs';

const GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';

export const wsAccept = (key) =>
  createHash('sha1').update(key + GUID).digest('base64');

/** One frame, unmasked unless a mask is given. */
export function wsFrame(opcode, payload, mask) {
  const data = Buffer.from(payload);
  const len = data.length;
  const small = len < 126 ? len : len < 65536 ? 126 : 127;
  const head = Buffer.alloc(2 + (small === 126 ? 2 : small === 127 ? 8 : 0));
  head[0] = 0x80 | opcode;
  head[1] = (mask ? 0x80 : 0) | small;
  if (small === 126) head.writeUInt16BE(len, 2);
  if (small === 127) head.writeBigUInt64BE(BigInt(len), 2);
  if (!mask) return Buffer.concat([head, data]);
  for (let i = 0; i < len; i++) data[i] ^= mask[i & 3];
  return Buffer.concat([head, mask, data]);
}

/** Reads one frame; null at the end of the connection. */
export async function wsRead(reader) {
  const head = await reader.readExactly(2);
  if (head === null) return null;
  const [b0, b1] = head;
  let len = b1 & 127;
  if (len === 126) len = (await reader.readExactly(2))?.readUInt16BE(0);
  else if (len === 127)
    len = Number((await reader.readExactly(8))?.readBigUInt64BE(0));
  const mask = b1 & 0x80 ? Buffer.from((await reader.readExactly(4)) ?? []) : null;
  const payload = await reader.readExactly(len ?? 0);
  if (payload === null) return null;
  const data = Buffer.from(payload);
  if (mask) for (let i = 0; i < data.length; i++) data[i] ^= mask[i & 3];
  return { fin: (b0 & 0x80) !== 0, opcode: b0 & 15, masked: b1 >= 128, data };
}

export const wantsWebSocket = (rec) =>
  /websocket/i.test(rec.header('upgrade') ?? '') &&
  rec.header('sec-websocket-key') !== undefined;

/**
 * Serves one WebSocket until it is closed.  Text frames are answered by
 * the realtime echo, or by Responses events on /responses; binary frames
 * come back as they are.
 */
export async function serveWebSocket(p, rec, reader, socket) {
  const protocols = (rec.header('sec-websocket-protocol') ?? '')
    .split(',').map((s) => s.trim()).filter(Boolean);
  const headers = [
    ['Upgrade', 'websocket'],
    ['Connection', 'Upgrade'],
    ['Sec-WebSocket-Accept', wsAccept(rec.header('sec-websocket-key'))],
    ['x-request-id', rec.requestId],
  ];
  if (protocols.length)
    headers.push(['Sec-WebSocket-Protocol', protocols[0]]);
  socket.write(headBytes(101, headers, 'Switching Protocols'));
  rec.wsFrames = [];
  const send = (value) => socket.write(wsFrame(1, JSON.stringify(value)));
  const realtime = /\/realtime$/.test(rec.path);
  if (realtime)
    send({ type: 'session.created', event_id: 'event_1', session: {
      id: 'sess_e2e', object: 'realtime.session',
      model: new URLSearchParams(rec.query).get('model'),
    } });
  for (;;) {
    const f = await wsRead(reader);
    if (f === null) break;
    rec.wsFrames.push(f);
    rec.emit('frame', f);
    if (f.opcode === 8) {
      socket.write(wsFrame(8, f.data));
      break;
    }
    if (f.opcode === 9) socket.write(wsFrame(10, f.data));
    else if (f.opcode === 2) socket.write(wsFrame(2, f.data));
    else if (f.opcode === 1) await answerText(p, rec, f.data, send, realtime);
  }
  rec.finished = true;
  rec.emit('over');
  socket.end();
}

async function answerText(p, rec, data, send, realtime) {
  let message;
  try {
    message = JSON.parse(data.toString('utf8'));
  } catch {
    send({ type: 'error', error: { type: 'invalid_request_error',
      message: 'not JSON' } });
    return;
  }
  if (realtime) {
    send({ type: 'echo', event_id: p.nextId('event'), echo: message });
    return;
  }
  const { type, ...body } = message;
  const fake = { json: { ...body, stream: true }, cost: rec.cost };
  const plan = create(p, fake);
  if (plan.events === undefined) {
    send({ type: 'error', ...JSON.parse(plan.body.toString('utf8')) });
    return;
  }
  for await (const e of plan.events) send(JSON.parse(e.data));
}

