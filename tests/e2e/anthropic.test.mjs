// @anthropic-ai/sdk to an Anthropic upstream, passed through: both ways to
// authenticate, every version and beta as the client sent it.

import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, test } from 'node:test';

import Anthropic from '@anthropic-ai/sdk';

import { collect } from './lib/openai.mjs';
import { PIXEL_PNG, sha256 } from './lib/provider/text.mjs';
import { UPSTREAM_KEY } from './lib/tollgate.mjs';
import { DIRECT, GATE_ONLY, startRig } from './lib/rig.mjs';

let rig;
before(async () => {
  rig = await startRig({
    upstream: { models: ['claude-e2e', 'claude-two'] },
    entry: { dialect: 'anthropic', models: ['claude-e2e', 'claude-two'] },
  });
});
beforeEach(() => rig.clear());
after(() => rig?.close());

const clientFor = (options = {}) =>
  new Anthropic({
    baseURL: rig.origin, apiKey: rig.key, maxRetries: 0, ...options });

const ask = (content, more = {}) => ({
  model: 'claude-e2e', max_tokens: 1000,
  messages: [{ role: 'user', content }], ...more,
});

const headers = (more = {}) => ({
  'content-type': 'application/json', 'anthropic-version': '2023-06-01',
  ...more,
});

describe('anthropic messages', () => {
  test('plain', async () => {
    const m = await clientFor().messages.create(ask('say hello there'));
    assert.equal(m.content[0].text, 'hello there');
    assert.equal(m.stop_reason, 'end_turn');
    assert.equal(m.usage.output_tokens, 2);
    assert.ok(m._request_id, 'request-id reaches the client');
  });

  test('stream, raw events in order, ping included on the wire', async () => {
    const events = await collect(
      await clientFor().messages.create(ask('count to 5', { stream: true })));
    assert.deepEqual(events.map((e) => e.type), [
      'message_start', 'content_block_start',
      ...Array(5).fill('content_block_delta'), 'content_block_stop',
      'message_delta', 'message_stop']);
    assert.equal(events.at(-2).usage.output_tokens, 5);
  });

  test('.stream() helper', async () => {
    const s = clientFor().messages.stream(ask('count to 8'));
    const m = await s.finalMessage();
    assert.equal(m.content[0].text, '1 2 3 4 5 6 7 8');
  });

  test('thinking, tools, tool results', async () => {
    const tools = [{ name: 'get_weather', description: 'w', input_schema: {
      type: 'object', properties: { city: { type: 'string' } } } }];
    const s = clientFor().messages.stream(ask('use get_weather', {
      tools, thinking: { type: 'enabled', budget_tokens: 1024 },
      max_tokens: 2000 }));
    const m = await s.finalMessage();
    assert.deepEqual(m.content.map((b) => b.type), ['thinking', 'tool_use']);
    assert.equal(m.content[0].signature, 'c2ln');
    assert.deepEqual(m.content[1].input, { city: 'sample' });
    const after2 = await clientFor().messages.create({
      ...ask('use get_weather'), tools,
      messages: [...ask('use get_weather').messages,
        { role: 'assistant', content: m.content },
        { role: 'user', content: [{ type: 'tool_result',
          tool_use_id: m.content[1].id, content: 'rain' }] }] });
    assert.equal(after2.content[0].text, 'The tool said: rain');
  });

  test('an image block', async () => {
    const m = await clientFor().messages.create(ask([
      { type: 'image', source: { type: 'base64', media_type: 'image/png',
        data: PIXEL_PNG.toString('base64') } }]));
    assert.match(m.content[0].text, new RegExp(sha256(PIXEL_PNG)));
  });

  test('count tokens', async () => {
    const r = await clientFor().messages.countTokens({
      model: 'claude-e2e', messages: ask('one two three').messages });
    assert.equal(r.input_tokens, 4);
  });

  test('models, in Anthropic\'s shape', async () => {
    const ids = await collect(clientFor().models.list());
    assert.deepEqual(ids.map((m) => m.id).sort(),
      ['claude-e2e', 'claude-two']);
    assert.equal(ids[0].type, 'model');
    assert.ok(ids[0].display_name);
    const one = await clientFor().models.retrieve('claude-two');
    assert.equal(one.id, 'claude-two');
  });

  test('max_tokens ends with max_tokens', async () => {
    const m = await clientFor().messages.create(
      ask('count to 50', { max_tokens: 3 }));
    assert.equal(m.stop_reason, 'max_tokens');
  });

  test('leaving a stream stops the provider', async () => {
    const script = rig.up.script({ gateAfter: 6 });
    const s = await clientFor().messages.create(
      ask('count to 500', { stream: true }));
    for await (const e of s) if (e.type === 'content_block_delta') break;
    const rec = await script.request;
    await rec.whenAborted();
    assert.ok(rec.cost.output < 10);
  });
});

describe('anthropic authentication and headers', () => {
  test('SDK 1.x: Authorization Bearer, its version, no ?beta', async () => {
    await clientFor().messages.create(ask('x'));
    const r = rig.up.last;
    assert.equal(r.target, '/v1/messages');
    assert.equal(r.header('anthropic-version'), '2026-10-21');
  });

  for (const style of ['x-api-key', 'authorization', 'api-key'])
    test(`old and other clients: ${style}`, async () => {
      const value = style === 'authorization' ? `Bearer ${rig.key}` : rig.key;
      const r = await fetch(`${rig.origin}/v1/messages`, {
        method: 'POST', headers: headers({ [style]: value }),
        body: JSON.stringify(ask('say ok')) });
      assert.equal(r.status, 200);
      assert.equal((await r.json()).content[0].text, 'ok');
      if (DIRECT) return;
      assert.equal(rig.up.last.header('x-api-key') ??
        rig.up.last.header('authorization')?.slice(7), UPSTREAM_KEY);
      assert.ok(!rig.up.last.rawHead.toString().includes(rig.key));
    });

  test('?beta=true, any version, several betas: byte for byte', async () => {
    const r = await fetch(`${rig.origin}/v1/messages?beta=true`, {
      method: 'POST', headers: headers({
        'x-api-key': rig.key, 'anthropic-version': '2099-01-01',
        'anthropic-beta': 'a-2025-01-01,b-2025-02-02, c',
        'anthropic-dangerous-direct-browser-access': 'true' }),
      body: JSON.stringify(ask('x')) });
    assert.equal(r.status, 200);
    const up = rig.up.last;
    assert.equal(up.target, '/v1/messages?beta=true');
    assert.equal(up.header('anthropic-version'), '2099-01-01');
    assert.equal(up.header('anthropic-beta'), 'a-2025-01-01,b-2025-02-02, c');
    assert.equal(up.header('anthropic-dangerous-direct-browser-access'),
      'true');
  });

  test('Claude Code probes HEAD / without a key', GATE_ONLY, async () => {
    const r = await fetch(`${rig.origin}/`, { method: 'HEAD' });
    assert.equal(r.status, 200);
  });

  test('the body crosses byte for byte', async () => {
    const body = '{ "max_tokens" : 1e2,"model":"claude-e2e" ,\n"messages":' +
      '[{"role":"user","content":"say \\u00e9\\/"}], "metadata":{}}';
    await fetch(`${rig.origin}/v1/messages`, {
      method: 'POST', headers: headers({ 'x-api-key': rig.key }), body });
    assert.equal(rig.up.last.body.toString(), body);
  });
});

describe('anthropic errors', () => {
  const rows = [
    [400, 'BadRequestError', 'invalid_request_error'],
    [404, 'NotFoundError', 'not_found_error'],
    [429, 'RateLimitError', 'rate_limit_error'],
    [500, 'InternalServerError', 'api_error'],
    [529, 'InternalServerError', 'overloaded_error'],
  ];
  for (const [status, kind, type] of rows)
    test(`the provider's ${status}`, async () => {
      const { anthropicError } = await import('./lib/provider/anthropic.mjs');
      rig.up.script({
        plan: () => anthropicError(status, type, 'so it is', 'req_1') });
      await assert.rejects(clientFor().messages.create(ask('x')), (e) => {
        assert.ok(e instanceof Anthropic[kind], e.constructor.name);
        assert.equal(e.status, status);
        assert.equal(e.error.error.type, type);
        return true;
      });
    });

  test('a wrong key: AuthenticationError in Anthropic\'s shape',
    GATE_ONLY, async () => {
      await assert.rejects(
        clientFor({ apiKey: 'sk-tg-wrong' }).messages.create(ask('x')),
        (e) => {
          assert.ok(e instanceof Anthropic.AuthenticationError);
          assert.equal(e.error.type, 'error');
          assert.equal(e.error.error.type, 'authentication_error');
          return true;
        });
      assert.equal(rig.up.hits, 0);
    });

  test('a stream broken off raises', async () => {
    rig.up.script({ fault: 'cut_events', after: 5, how: 'reset' });
    await assert.rejects(
      clientFor().messages.create(ask('count to 20', { stream: true }))
        .then(collect));
  });

  test('a stream without message_stop ends with event: error',
    GATE_ONLY, async () => {
      rig.up.script({ fault: 'cut_events', after: 5, how: 'clean' });
      const r = await fetch(`${rig.origin}/v1/messages`, {
        method: 'POST', headers: headers({ 'x-api-key': rig.key }),
        body: JSON.stringify(ask('count to 20', { stream: true })) });
      const text = await r.text();
      assert.match(text, /event: error\ndata: \{"type":"error"/);
      assert.match(text, /\n\n$/);
    });
});
