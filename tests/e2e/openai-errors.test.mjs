// The official openai client: each failure raises the right exception, with
// the provider's words, status and code; retries happen as the client means
// them to, and no more.

import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, test } from 'node:test';

import { OpenAI, ask, collect, openaiFor } from './lib/openai.mjs';
import { Plan } from './lib/provider/http.mjs';
import { rawRequest, requestBytes } from './lib/raw.mjs';
import { DIRECT, GATE_ONLY, startRig } from './lib/rig.mjs';
import { UPSTREAM_KEY } from './lib/tollgate.mjs';

let rig;
let client;
before(async () => {
  rig = await startRig();
  client = openaiFor(rig);
});
beforeEach(() => rig.clear());
after(() => rig?.close());

const create = (c = client, more = {}) =>
  c.chat.completions.create(ask('hello', more));

/** The error a call raises. */
async function errorOf(promise) {
  try {
    await promise;
  } catch (e) {
    return e;
  }
  throw new Error('the call was expected to fail');
}

describe('openai errors: one exception class per status', () => {
  const rows = [
    [400, OpenAI.BadRequestError],
    ...(DIRECT ? [[403, OpenAI.PermissionDeniedError]] : []),
    [404, OpenAI.NotFoundError], [409, OpenAI.ConflictError],
    [422, OpenAI.UnprocessableEntityError], [429, OpenAI.RateLimitError],
    [413, OpenAI.APIError], [500, OpenAI.InternalServerError],
    [503, OpenAI.InternalServerError], [529, OpenAI.InternalServerError],
  ];
  for (const [status, kind] of rows)
    test(`the provider's ${status}`, async () => {
      rig.up.script({ fault: 'status', code: status, message: 'so it is',
        type: 'some_type', param: 'p', error_code: 'some_code' });
      const e = await errorOf(create());
      assert.ok(e instanceof kind, `${e.constructor.name} for ${status}`);
      assert.equal(e.status, status);
      assert.match(e.message, /so it is/);
      assert.equal(e.code, 'some_code');
      assert.equal(e.type, 'some_type');
      assert.equal(e.param, 'p');
      assert.ok(e.requestID, 'the error carries a request id');
    });

  test('the same for a streamed request', async () => {
    rig.up.script({ fault: 'status', code: 404, error_code: 'gone' });
    const e = await errorOf(create(client, { stream: true }));
    assert.ok(e instanceof OpenAI.NotFoundError);
    assert.equal(e.code, 'gone');
  });

  test('odd statuses pass through: 499', async () => {
    rig.up.script({ fault: 'odd_status', code: 499 });
    const e = await errorOf(create());
    assert.equal(e.status, 499);
    assert.equal(e.type, 'odd_error');
  });

  test('an HTML error page still raises, status kept', async () => {
    rig.up.script({ fault: 'html_error', code: 502 });
    const e = await errorOf(create());
    assert.ok(e instanceof OpenAI.InternalServerError);
    assert.equal(e.status, 502);
  });

  test('an empty error body still raises', async () => {
    rig.up.script({ fault: 'empty_error', code: 500 });
    const e = await errorOf(create());
    assert.ok(e instanceof OpenAI.InternalServerError);
    assert.ok(e.status === 500 || (!DIRECT && e.status === 502));
  });

  test('an error inside a 200 reaches the client as it is', async () => {
    rig.up.script({ fault: 'error_in_200' });
    const r = await create();
    assert.equal(r.error.message, 'boom');
  });

  test('a 204 is null to the client', async () => {
    rig.up.script({ fault: 'no_content' });
    assert.equal(await create(), null);
  });

  test('rate limit: headers cross as they are', async () => {
    rig.up.script({ fault: 'rate_limit', after: '7', after_ms: '7000' });
    const e = await errorOf(create());
    assert.ok(e instanceof OpenAI.RateLimitError);
    assert.equal(e.code, 'rate_limit_exceeded');
    assert.equal(e.headers.get('retry-after'), '7');
    assert.equal(e.headers.get('retry-after-ms'), '7000');
    assert.equal(e.headers.get('x-ratelimit-reset-requests'), '6m0s');
  });

  test('insufficient_quota is told apart from a rate limit', async () => {
    rig.up.script({ fault: 'status', code: 429, type: 'insufficient_quota',
      error_code: 'insufficient_quota' });
    const e = await errorOf(create());
    assert.equal(e.code, 'insufficient_quota');
  });
});

describe('openai errors: a wrong key', () => {
  test('AuthenticationError with code invalid_api_key', async () => {
    const bad = openaiFor(rig, { apiKey: 'sk-tg-wrong' });
    const e = await errorOf(create(bad));
    assert.ok(e instanceof OpenAI.AuthenticationError);
    assert.equal(e.status, 401);
    assert.equal(e.code, 'invalid_api_key');
    assert.equal(e.type, 'invalid_request_error');
    assert.ok(e.requestID);
    if (!DIRECT) assert.equal(rig.up.hits, 0, 'nothing went upstream');
  });

  test('the provider refusing our own key is not the client\'s 401',
    GATE_ONLY, async () => {
      for (const code of [401, 403]) {
        rig.up.script({ fault: 'status', code, error_code: 'invalid_api_key' });
        const e = await errorOf(create());
        assert.equal(e.status, 502, `the provider's ${code}`);
        assert.equal(e.type, 'upstream_error');
      }
    });
});

describe('the provider refuses our key', GATE_ONLY, () => {
  const no = (more) => Plan.json({ error: { message: UPSTREAM_KEY } }, 401,
    more);
  for (const [name, method, more] of [
    ['to a GET', 'GET', []], ['to a HEAD', 'HEAD', []],
    ['in a coding nobody asked for', 'GET', [['Content-Encoding', 'x']]]])
    test(`${name}: 502, and nothing of what it said`, async () => {
      rig.up.script({ plan: () => no(more) });
      const r = await rig.fetch('/v1/files/x', { method });
      assert.equal(r.status, 502);
      const text = await r.text();
      if (method !== 'HEAD')
        assert.equal(JSON.parse(text).error.code, 'upstream_auth_failed');
      assert.ok(!text.includes(UPSTREAM_KEY));
      assert.equal((await rig.fetch('/v1/files')).status, 200);
    });
});

describe('openai errors: retries of the client', () => {
  test('disabled: exactly one request', async () => {
    rig.up.script({ fault: 'status', code: 500, times: 10 });
    await errorOf(create());
    assert.equal(rig.up.hits, 1);
  });

  test('default: two more, told by x-stainless-retry-count', async () => {
    rig.up.script({ fault: 'rate_limit', after_ms: '1', times: 2 });
    const patient = openaiFor(rig, { maxRetries: 2 });
    const r = await create(patient);
    assert.equal(r.choices[0].message.content, 'You said: hello');
    assert.equal(rig.up.hits, 3);
    assert.deepEqual(
      rig.up.requests.map((q) => q.header('x-stainless-retry-count')),
      ['0', '1', '2']);
  });

  test('x-should-retry: false from the provider stops the client',
    async () => {
      rig.up.script({ fault: 'status', code: 500, should_retry: 'false',
        times: 10 });
      await errorOf(create(openaiFor(rig, { maxRetries: 2 })));
      assert.equal(rig.up.hits, 1);
    });

  test('422 is not retried', async () => {
    rig.up.script({ fault: 'status', code: 422, times: 10 });
    await errorOf(create(openaiFor(rig, { maxRetries: 2 })));
    assert.equal(rig.up.hits, 1);
  });
});

describe('openai errors: faults of the connection to the provider', () => {
  const failing = [
    ['reset', { fault: 'reset', at: 0 }, 502, 'upstream_reset'],
    ['reset within the head', { fault: 'reset', at: 20 }, 502,
      'upstream_reset'],
    ['garbage instead of HTTP', { fault: 'garbage' }, 502,
      'upstream_bad_response'],
    ['a bad chunk', { fault: 'bad_chunk' }, 502, 'upstream_bad_response'],
    ['a body cut short', { fault: 'short_length' }, 502,
      'upstream_bad_response'],
    ['an NUL in a header', { fault: 'nul_header' }, 502,
      'upstream_bad_response'],
  ];
  for (const [name, script, status, code] of failing)
    test(`${name}: an error, never a half answer`, async () => {
      rig.up.script(script);
      const e = await errorOf(create());
      assert.ok(e instanceof Error);
      if (DIRECT) return;
      assert.equal(e.status, status);
      assert.ok(e.code === code || /^upstream_/.test(e.code), e.code);
      assert.equal(e.type, 'upstream_error');
      assert.equal(rig.up.hits, 1, 'executed once');
    });

  test('provider down: 503 upstream_unavailable', GATE_ONLY, async () => {
    await rig.up.refuse();
    const e = await errorOf(create());
    await rig.up.listen();
    assert.equal(e.status, 503);
    assert.equal(e.code, 'upstream_unavailable');
    assert.equal(e.type, 'upstream_error');
    assert.ok(e.headers.get('x-request-id'));
    assert.equal(e.headers.get('retry-after'), '1');
    assert.equal(e.headers.get('retry-after-ms'), '1000');
    assert.equal(e.headers.get('x-should-retry'), 'true');
    assert.equal((await create()).object, 'chat.completion');
  });

  test('a kept-alive connection found dead: no second execution',
    GATE_ONLY, async () => {
      await create();
      rig.up.clear();
      rig.up.dropConnections();
      const outcome = await create().catch((e) => e);
      assert.ok(rig.up.hits <= 1, `${rig.up.hits} executions`);
      if (outcome instanceof Error) assert.equal(outcome.status, 502);
      assert.equal((await create()).object, 'chat.completion');
    });

  test('a stream that fails at once raises from create or the iteration',
    async () => {
      rig.up.script({ fault: 'error_only' });
      const e = await errorOf(
        create(client, { stream: true }).then(collect));
      assert.match(e.message, /boom/);
    });
});

describe('openai errors: a provider that hangs', GATE_ONLY, () => {
  test('no first byte in time: 504 upstream_timeout, provider told',
    async () => {
      const slow = await startRig({
        entry: { timeouts: { first_byte: '300ms' } } });
      try {
        const s = slow.up.script({ fault: 'hang_headers' });
        const e = await errorOf(create(openaiFor(slow)));
        assert.equal(e.status, 504);
        assert.equal(e.code, 'upstream_timeout');
        await (await s.request).whenAborted();
      } finally {
        await slow.close();
      }
    });

  test('a stream that falls silent ends with an error event', async () => {
    const slow = await startRig({ entry: { timeouts: { idle: '300ms' } } });
    try {
      const s = slow.up.script({ gateAfter: 3 });
      const stream = await create(openaiFor(slow), { stream: true });
      const e = await errorOf(collect(stream));
      assert.ok(e instanceof OpenAI.APIError);
      assert.equal(e.code, 'upstream_timeout');
      await (await s.request).whenAborted();
    } finally {
      await slow.close();
    }
  });
});

describe('openai errors: tollgate\'s own refusals', GATE_ONLY, () => {
  const refused = [
    ['unknown route', 'POST', '/nowhere-known', {}, 404, 'unknown_url'],
    ['wrong method', 'DELETE', '/healthz', {}, 405, 'method_not_allowed'],
  ];
  for (const [name, method, path, , status, code] of refused)
    test(name, async () => {
      const r = await rig.fetch(path, { method });
      assert.equal(r.status, status);
      const { error } = await r.json();
      assert.equal(error.code, code);
      assert.equal(error.type, 'invalid_request_error');
      assert.ok(r.headers.get('x-request-id'));
      assert.equal(rig.up.hits, 0);
    });

  const bodies = [
    ['no JSON', '{"model":"demo",', 'null'],
    ['not an object', '[1]', 'null'],
    ['duplicate key', '{"model":"a","messages":[],"model":"b"}', 'model'],
    ['duplicate key by escape',
      '{"model":"a","messages":[],"mo\\u0064el":"b"}', 'model'],
    ['model is no string', '{"model":7,"messages":[]}', 'model'],
    ['model missing', '{"messages":[]}', 'model'],
    ['trailing garbage', '{"model":"demo","messages":[]}x', 'null'],
    ['bad UTF-8', Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d]),
      'null'],
    ['nested too deep', '['.repeat(5000), 'null'],
  ];
  for (const [name, body, param] of bodies)
    test(`body refused with 400: ${name}`, async () => {
      const r = await rig.fetch('/v1/chat/completions', {
        body, headers: { 'content-type': 'application/json' } });
      assert.equal(r.status, 400, await r.clone().text());
      const { error } = await r.json();
      assert.equal(error.type, 'invalid_request_error');
      assert.equal(String(error.param), param);
      assert.equal(rig.up.hits, 0);
    });

  test('too many members are told as such', async () => {
    const many = Object.fromEntries(
      Array.from({ length: 2000 }, (_, i) => [`k${i}`, 1]));
    const r = await rig.fetch('/v1/chat/completions', { json: many });
    assert.equal(r.status, 400);
    const { error } = await r.json();
    assert.match(error.message, /too many members/);
    assert.doesNotMatch(error.message, /ambiguous/);
    assert.equal(rig.up.hits, 0);
  });

  test('two Content-Types are 400: which one would be read?', async () => {
    for (const path of ['/v1/images/edits', '/v1/nobody/knows']) {
      const r = await rawRequest(rig.address, requestBytes('POST', path,
        [['Authorization', `Bearer ${rig.key}`], ['Content-Type', 'text/plain'],
          ['content-type', 'application/json']], '{"model":"demo"}'));
      assert.equal(r.status, 400, path);
    }
    assert.equal(rig.up.hits, 0);
  });

  test('a compressed body of which the model is wanted: 415', async () => {
    for (const path of ['/v1/chat/completions', '/v1/nobody/knows']) {
      const r = await rawRequest(rig.address, requestBytes('POST', path,
        [['Authorization', `Bearer ${rig.key}`],
          ['Content-Type', 'application/json'],
          ['Content-Encoding', 'identity'], ['Content-Encoding', 'gzip']],
        'x'));
      assert.equal(r.status, 415, path);
    }
    assert.equal(rig.up.hits, 0);
  });

  test('a compressed request body: 415', async () => {
    const r = await rig.fetch('/v1/chat/completions', {
      body: Buffer.from('x'), headers: { 'content-encoding': 'gzip',
        'content-type': 'application/json' } });
    assert.equal(r.status, 415);
    assert.equal((await r.json()).error.code, 'unsupported_encoding');
    assert.equal(rig.up.hits, 0);
  });

  test('a model asked for as Anthropic\'s clients do is missed as theirs',
    GATE_ONLY, async () => {
      for (const [key, type] of [[rig.key, 'not_found_error'],
        ['sk-tg-wrong', 'authentication_error']]) {
        const k = await fetch(`${rig.origin}/v1/models/${'x'.repeat(600)}`, {
          headers: { 'x-api-key': key, 'anthropic-version': '2023-06-01' } });
        const e = await k.json();
        assert.equal(e.type, 'error');
        assert.equal(e.error.type, type);
        assert.ok(k.headers.get('request-id'));
      }
    });

  test('Anthropic\'s route answers errors in Anthropic\'s shape',
    async () => {
      const r = await fetch(`${rig.origin}/v1/messages`, {
        method: 'POST', headers: { 'x-api-key': 'sk-tg-wrong',
          'anthropic-version': '2023-06-01' }, body: '{}' });
      assert.equal(r.status, 401);
      const e = await r.json();
      assert.equal(e.type, 'error');
      assert.equal(e.error.type, 'authentication_error');
    });
});
