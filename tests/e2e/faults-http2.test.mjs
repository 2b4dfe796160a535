// An upstream over HTTP/2 (`http2: true`) that turns a stream down, goes away
// or breaks off: the client is told, and nothing is sent twice.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import http2 from 'node:http2';
import { after, before, beforeEach, describe, test } from 'node:test';

import { Authority } from './lib/certs.mjs';
import { ask } from './lib/openai.mjs';
import { rawRequest, requestBytes } from './lib/raw.mjs';
import { GATE_ONLY } from './lib/rig.mjs';
import { startTollgate } from './lib/tollgate.mjs';
import { within } from './lib/until.mjs';

const { NGHTTP2_NO_ERROR, NGHTTP2_REFUSED_STREAM, NGHTTP2_INTERNAL_ERROR } =
  http2.constants;

const ANSWER = JSON.stringify({ id: 'x', object: 'chat.completion', created: 1,
  model: 'demo', choices: [{ index: 0, finish_reason: 'stop',
    message: { role: 'assistant', content: 'ok' } }],
  usage: { prompt_tokens: 3, completion_tokens: 1, total_tokens: 4 } });

/** A server that does with each stream what is next in `does`. */
class Provider {
  constructor(leaf) {
    this.does = [];
    this.clear();
    this.server = http2.createSecureServer({ cert: leaf.cert, key: leaf.key });
    this.sessions = new Set();
    this.server.on('session', (s) => {
      this.sessions.add(s);
      s.on('error', () => {});
    });
    // a request is read whole first: an answer that overtakes it breaks off
    this.server.on('stream', (s) => {
      s.on('error', () => {});
      this.streams += 1;
      const act = this.does.shift() ?? this.answer;
      s.on('end', () => act.call(this, s)).resume();
    });
  }

  clear() {
    Object.assign(this, { does: [], streams: 0, worked: 0 });
  }

  async listen() {
    this.server.listen(0, '127.0.0.1');
    await once(this.server, 'listening');
    return this;
  }

  close() {
    this.server.close();
    for (const s of this.sessions) s.destroy();
  }

  answer(stream) {
    this.worked += 1;
    stream.respond({ ':status': 200, 'content-type': 'application/json' });
    stream.end(ANSWER);
  }

  turnDown(stream) {
    stream.close(NGHTTP2_REFUSED_STREAM);
  }

  /** Needs a stream before it on its connection: Node cannot say "none". */
  goAway(stream) {
    assert.ok(stream.id > 2, 'a connection that has served');
    stream.session.goaway(NGHTTP2_NO_ERROR, stream.id - 2);
  }

  breakOff(stream) {
    this.worked += 1;
    stream.close(NGHTTP2_INTERNAL_ERROR);
  }
}

describe('faults: an upstream over HTTP/2', GATE_ONLY, () => {
  let own;
  let up;
  let gate;
  let key;
  before(async () => {
    own = new Authority();
    up = await new Provider(own.issue(['127.0.0.1'])).listen();
    // one worker: what is asked next comes on the connection before
    gate = await startTollgate({ workers: 1, upstreams: [{ name: 'up', http2: true,
      base_url: `https://127.0.0.1:${up.server.address().port}/v1`,
      api_key: 'env:E2E_UPSTREAM_KEY', models: ['*'], tls: { ca: own.file },
      retries: { attempts: 3, backoff: '10ms' }, breaker: { failures: 0 } }] });
    key = await gate.createKey('h2', '--budget', '1M-output-tokens/total');
  });
  beforeEach(() => up.clear());
  after(async () => {
    await gate?.stop();
    gate?.remove();
    up?.close();
    own?.remove();
  });

  const chat = () => within(rawRequest({ host: '127.0.0.1', port: gate.port },
    requestBytes('POST', '/v1/chat/completions',
      [['Authorization', `Bearer ${key.key}`]],
      JSON.stringify(ask('say ok', { max_tokens: 64 })))), 'an answer');

  const rowOf = async (reply) => {
    const id = reply.header('x-request-id');
    await gate.accessRow('its line', (r) => r.id === id);
    const { data } = await gate.must(['ledger', 'export']);
    return data.find((r) => r.id === id);
  };

  for (const how of ['turnDown', 'goAway', 'breakOff'])
    test(`${how}: an error, and nothing is sent twice`, async () => {
      assert.equal((await chat()).status, 200);
      up.clear();
      up.does.push(up[how]);
      const r = await chat();
      assert.equal(r.status, 502, r.text);
      assert.equal(up.streams, 1);
      assert.ok((await rowOf(r)).in_doubt);
      assert.equal((await chat()).status, 200);
    });
});
