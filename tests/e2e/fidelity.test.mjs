// Byte fidelity: what the provider says reaches the client unchanged and the
// other way round, apart from what tollgate is there to change.

import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, test } from 'node:test';

import { JsonMaker } from './lib/prng.mjs';
import { Plan } from './lib/provider/http.mjs';
import { rawRequest, requestBytes } from './lib/raw.mjs';
import { DIRECT, GATE_ONLY, startRig, upstreamEntry } from './lib/rig.mjs';
import { UPSTREAM_KEY } from './lib/tollgate.mjs';

let rig;
before(async () => {
  rig = await startRig({
    config: (up) => ({
      upstreams: [
        upstreamEntry(up, {
          models: ['demo', 'fault:*'], headers: { 'X-Configured': 'yes' } }),
        { ...upstreamEntry(up), name: 'claude', dialect: 'anthropic',
          models: ['claude-*'] },
        upstreamEntry(up, { name: 'other', models: ['gpt-5-mini'] }),
      ],
      routes: [
        { model: 'fast', targets: [{ upstream: 'other', model: 'gpt-5-mini' }] },
        { model: 'demo', targets: [{ upstream: 'up' }] },
        { model: 'fault:*', targets: [{ upstream: 'up' }] },
        { model: 'claude-*', targets: [{ upstream: 'claude' }] },
        { model: 'haiku',
          targets: [{ upstream: 'claude', model: 'claude-haiku' }] },
      ],
    }),
  });
});
beforeEach(() => rig.up.clear());
after(() => rig?.close());

const auth = () => ['Authorization', `Bearer ${rig.key}`];
const JSON_TYPE = ['Content-Type', 'application/json'];

const post = (target, body, headers = []) =>
  rawRequest(rig.address,
    requestBytes('POST', target, [auth(), JSON_TYPE, ...headers], body));

const chatBody = (more = {}) => JSON.stringify({
  model: 'demo', messages: [{ role: 'user', content: 'count to 20' }], ...more });

describe('reply bytes are the provider\'s', () => {
  const rows = {
    'chat': ['/v1/chat/completions', chatBody()],
    'chat stream with usage': ['/v1/chat/completions',
      chatBody({ stream: true, stream_options: { include_usage: true } })],
    'completions': ['/v1/completions', '{"model":"demo","prompt":"hi"}'],
    'completions stream with usage': ['/v1/completions',
      '{"model":"demo","prompt":"count to 9","stream":true,' +
      '"stream_options":{"include_usage":true}}'],
    'embeddings': ['/v1/embeddings', '{"model":"demo","input":"x"}'],
    'moderations': ['/v1/moderations', '{"model":"demo","input":"x"}'],
    'responses': ['/v1/responses', '{"model":"demo","input":"say a"}'],
    'responses stream': ['/v1/responses',
      '{"model":"demo","input":"count to 9","stream":true}'],
    'messages stream': ['/v1/messages', '{"model":"claude-e2e","max_tokens":' +
      '99,"stream":true,"messages":[{"role":"user","content":"count to 9"}]}',
    [['anthropic-version', '2023-06-01']]],
    'speech': ['/v1/audio/speech', '{"model":"demo","input":"hey"}'],
    'images stream': ['/v1/images/generations',
      '{"model":"demo","prompt":"x","stream":true}'],
    'an unknown route': ['/v1/agents', '{"x":1}'],
  };
  for (const [name, [target, body, headers]] of Object.entries(rows))
    test(name, async () => {
      const r = await post(target, body, headers);
      assert.equal(r.status, 200, r.text);
      assert.ok(r.complete);
      assert.ok(r.body.equals(rig.up.last.payload),
        `${r.text}\n--- provider ---\n${rig.up.last.payload}`);
      assert.equal(r.header('content-type'), rig.up.last.path
        .endsWith('speech') ? 'audio/mpeg' : r.header('content-type'));
    });

  test('odd JSON in a reply: blanks, numbers, escapes, extra members',
    async () => {
      for (let seed = 1; seed <= 40; seed++) {
        const body = new JsonMaker(seed).object({
          id: '"x"', model: '"demo"', choices: '[]',
          usage: '{"prompt_tokens":1,"completion_tokens":1}' });
        rig.up.script({ plan: () => Plan.bytes(body, 'application/json') });
        const r = await post('/v1/chat/completions', chatBody());
        assert.equal(r.text, body, `seed ${seed}`);
      }
    });

  test('a stream written byte by byte', async () => {
    rig.up.script({ fault: 'split', n: 1 });
    const r = await post('/v1/chat/completions',
      chatBody({ stream: true, stream_options: { include_usage: true } }));
    assert.ok(r.body.equals(rig.up.last.payload));
  });

  /** A reply of these bytes, as it reaches the client and the row. */
  const said = async (head, body = '') => {
    rig.up.script({ plan: () => {
      const p = Plan.bytes(body, 'x');
      return Object.assign(p, { ownFraming: true, keepAlive: false,
        rawHead: Buffer.from(`${head}\r\nConnection: close\r\n\r\n`) });
    } });
    const r = await post('/v1/chat/completions', chatBody());
    return { r, row: DIRECT ? {} : await rig.gate.accessRow('said',
      (x) => x.id === r.header('x-request-id')) };
  };
  const USED = '{"choices":[],"usage":{"prompt_tokens":6,' +
    '"completion_tokens":5,"total_tokens":11}}';

  for (const type of ['', 'Content-Type: text/plain',
    'Content-Type: application/json'])
    for (const mark of ['', '\ufeff'])
      test(`JSON ${type ? `as ${type.slice(14)}` : 'of no type'}` +
        `${mark && ', with a byte-order mark'}: as it is, and read`,
      GATE_ONLY, async () => {
        const { r, row } = await said(
          `HTTP/1.1 200 OK${type && `\r\n${type}`}`, mark + USED);
        assert.equal(r.status, 200);
        assert.equal(r.text, mark + USED);
        assert.equal(r.header('content-type'), type.slice(14) || undefined);
        assert.deepEqual([row.input_tokens, row.output_tokens,
          row.usage_source], [6, 5, 'upstream']);
      });

  test('a page instead of an answer is an error', GATE_ONLY, async () => {
    const { r, row } = await said(
      'HTTP/1.1 200 OK\r\nContent-Type: text/html', '<html>log in</html>');
    assert.equal(r.status, 502);
    assert.equal(r.json.error.code, 'upstream_bad_response');
    assert.equal(row.output_tokens, 0);
  });

  test('204, 304 and HEAD have the head they came with', async () => {
    const none = await said('HTTP/1.1 204 No Content\r\nX-A: 1');
    assert.equal(none.r.status, 204);
    assert.equal(none.r.header('x-a'), '1');
    assert.equal(none.r.header('content-length'), undefined);
    const same = await said('HTTP/1.1 304 Not Modified\r\nETag: "x"');
    assert.equal(same.r.status, 304);
    assert.equal(same.r.header('etag'), '"x"');
    assert.equal(same.r.header('content-length'), undefined);
    rig.up.script({ plan: () => Plan.bytes('0123456789', 'a/b') });
    const head = await rawRequest(rig.address, requestBytes('HEAD',
      '/v1/files/x/content', [auth()]), { method: 'HEAD' });
    assert.equal(head.header('content-length'), '10');
    assert.equal(head.header('content-type'), 'a/b');
  });

  test('a compressed reply nobody asked for is still readable', async () => {
    rig.up.script({ fault: 'gzip' });
    const r = await rig.fetch('/v1/chat/completions', {
      body: chatBody(), headers: { 'content-type': 'application/json' } });
    assert.equal((await r.json()).object, 'chat.completion');
  });

  test('no Accept-Encoding: never compressed unasked', GATE_ONLY, async () => {
    const r = await post('/v1/chat/completions', chatBody());
    assert.equal(r.header('content-encoding'), undefined);
    assert.ok(['identity', undefined].includes(
      rig.up.last.header('accept-encoding')));
  });
});

describe('request bytes are the client\'s', () => {
  const routes = {
    '/v1/chat/completions': { messages: '[{"role":"user","content":"x"}]' },
    '/v1/completions': { prompt: '"x"' },
    '/v1/embeddings': { input: '"x"' },
    '/v1/responses': { input: '"x"' },
    '/v1/moderations': { input: '"x"' },
  };
  for (const [route, members] of Object.entries(routes))
    test(`random valid JSON to ${route}`, async () => {
      for (let seed = 100; seed < 125; seed++) {
        const body = new JsonMaker(seed).object({ ...members,
          model: '"demo"' });
        const r = await post(route, body);
        assert.equal(r.status, 200, `seed ${seed}: ${r.text}\n${body}`);
        assert.equal(rig.up.last.body.toString(), body, `seed ${seed}`);
      }
    });

  test('a streamed request differs only by include_usage', async () => {
    for (let seed = 200; seed < 240; seed++) {
      const maker = new JsonMaker(seed);
      const options = maker.pick([undefined, '{}', 'null',
        '{"include_usage":false}', '{ "include_usage" : true }',
        '{"include_obfuscation":false}',
        '{"include_usage":false , "x":[1]}']);
      const body = maker.object({
        model: '"demo"', messages: '[{"role":"user","content":"x"}]',
        stream: 'true', ...(options ? { stream_options: options } : {}) });
      const r = await post('/v1/chat/completions', body);
      assert.equal(r.status, 200, `seed ${seed}: ${r.text}\n${body}`);
      const got = rig.up.last.body.toString();
      if (DIRECT) assert.equal(got, body);
      else assertUsageAsked(body, got, seed);
    }
  });

  test('multipart crosses byte for byte, odd boundary and file name',
    async () => {
      const boundary = '----x\'()+_,-./:=?y';
      const part = (name, more, data) => `--${boundary}\r\n` +
        `Content-Disposition: form-data; name="${name}"${more}\r\n\r\n` +
        `${data}\r\n`;
      const body = Buffer.concat([
        Buffer.from(part('model', '', 'demo')),
        Buffer.from(part('file', '; filename="caf\u00e9 \\"q\\".wav"',
          '\r\n--not the boundary\r\n\x00\x01')),
        Buffer.from(`--${boundary}--\r\nepilogue`)]);
      const r = await rawRequest(rig.address, requestBytes('POST',
        '/v1/audio/transcriptions', [auth(),
          ['Content-Type', `multipart/form-data; boundary="${boundary}"`]],
        body));
      assert.equal(r.status, 200, r.text);
      assert.ok(rig.up.last.body.equals(body));
      assert.equal(rig.up.last.header('content-type'),
        `multipart/form-data; boundary="${boundary}"`);
    });

  test('the raw path and query of passed routes are untouched', async () => {
    const targets = [
      '/v1/agents/a%2Fb%3F', '/v1/agents?beta=true&q=%20+%2B&&=&a[]=1',
      '/v1/agents/x?', '/v1/agents//x/', '/v1/agents/%e2%82%ac;v=1',
      '/v1/files?purpose=batch&limit=2', '/v1/agents?x={y}|z',
      '/v1/threads/t_1/runs?api-version=1',
    ];
    for (const target of targets) {
      await rawRequest(rig.address, requestBytes('GET', target, [auth()]));
      assert.equal(rig.up.last.target, target);
    }
  });

  test('paths: /v1 may be left out; the query never routes', async () => {
    const rows = [
      ['/chat/completions', '/v1/chat/completions'],
      ['/v1/chat/completions?model=other&x=1',
        '/v1/chat/completions?model=other&x=1'],
    ];
    for (const [sent, got] of rows) {
      const r = await post(sent, chatBody());
      assert.equal(r.status, 200, `${sent}: ${r.text}`);
      if (!DIRECT) assert.equal(rig.up.last.target, got);
    }
  });

  test('paths: double /v1, //, trailing / reach the same operation',
    GATE_ONLY, async () => {
      for (const path of ['/v1/v1/chat/completions', '//v1/chat/completions',
        '/v1//chat/completions', '/v1/chat/completions/']) {
        const r = await post(path, chatBody());
        assert.equal(r.status, 200, `${path}: ${r.text}`);
        assert.equal(r.json.object, 'chat.completion');
      }
    });
});

/** got must be body with nothing but include_usage:true put in. */
function assertUsageAsked(body, got, seed) {
  const value = JSON.parse(got);
  assert.equal(value.stream_options.include_usage, true, `seed ${seed}`);
  let p = 0;
  while (p < body.length && body[p] === got[p]) p++;
  let s = 0;
  while (s < body.length - p && body.at(-1 - s) === got.at(-1 - s)) s++;
  const removed = body.slice(p, body.length - s);
  const added = got.slice(p, got.length - s);
  assert.ok(removed.length <= 5, `seed ${seed}: removed ${removed}`);
  assert.ok(added.length <= '"stream_options":{"include_usage":true},'.length +
    2, `seed ${seed}: added ${added}`);
  const before = JSON.parse(body);
  delete value.stream_options.include_usage;
  delete before.stream_options?.include_usage;
  if (before.stream_options === undefined || before.stream_options === null)
    before.stream_options = {};
  assert.deepEqual(value, before, `seed ${seed}`);
}

describe('include_usage that tollgate adds is taken out again', GATE_ONLY,
  () => {
    const usageChunk = /"choices":\[\],"usage":\{/;

    test('the rest of the stream is byte for byte the same', async () => {
      const r = await post('/v1/chat/completions', chatBody({ stream: true }));
      const sent = rig.up.last.payload.toString();
      assert.match(sent, usageChunk);
      assert.match(sent, /,"usage":null/);
      assert.equal(r.text, sent.split('\n\n')
        .filter((e) => !usageChunk.test(e))
        .map((e) => e.replace(',"usage":null', '')).join('\n\n'));
    });

    // What a provider writes when asked for usage, and what it would have
    // written otherwise.
    const chunk = (more) => '"id":"c1","object":"chat.completion.chunk",' +
      `"choices":[{"index":0,"delta":{${more}},"finish_reason":null}]`;
    const EVENTS = [
      [`data: {${chunk('"role":"assistant"')},"usage":null}\n\n`,
        `data: {${chunk('"role":"assistant"')}}\n\n`],
      [`data: {"usage":null,${chunk('"content":"a"')}}\n\n`,
        `data: {${chunk('"content":"a"')}}\n\n`],
      [`data: {"id": "c1", "choices": [], "usage": null, "x": 1}\n\n`,
        `data: {"id": "c1", "choices": [], "x": 1}\n\n`],
      [`data: { "usage" : null , ${chunk('"content":"b"')} }\n\n`,
        `data: { ${chunk('"content":"b"')} }\n\n`],
      // a name that is written with escapes is that name
      [`data: {${chunk('"content":"c"')},"us\\u0061ge":null}\n\n`,
        `data: {${chunk('"content":"c"')}}\n\n`],
      // not at the top, and not a member
      [`data: {${chunk('"usage":null,"content":"d"')}}\n\n`,
        `data: {${chunk('"usage":null,"content":"d"')}}\n\n`],
      [`data: {${chunk('"content":"x,\\"usage\\":null"')}}\n\n`,
        `data: {${chunk('"content":"x,\\"usage\\":null"')}}\n\n`],
      // no chunk
      ['data: {"note":1,"usage":null}\n\n',
        'data: {"note":1,"usage":null}\n\n'],
      // what stands around the data stays
      [`: hello\r\nx: y\r\ndata:{${chunk('"content":"e"')},"usage":null}` +
        ' \r\n: more\r\n\r\n',
      `: hello\r\nx: y\r\ndata:{${chunk('"content":"e"')}}` +
        ' \r\n: more\r\n\r\n'],
      // lines of data are written anew
      [`data: {${chunk('"content":"f"')},\ndata: "usage":null}\n\n`,
        `data: {${chunk('"content":"f"')}}\n\n`],
      [': ping\n\n', ': ping\n\n'],
      [`data: {${chunk('').replace(':null', ':"stop"')},"usage":null}\n\n`,
        `data: {${chunk('').replace(':null', ':"stop"')}}\n\n`],
      ['data: {"id":"c1","choices":[],"usage":{"prompt_tokens":3,' +
        '"completion_tokens":4,"total_tokens":7}}\n\n', ''],
      // no choices at all is a list of none
      ['data: {"id":"c1","usage":{"prompt_tokens":3,' +
        '"completion_tokens":4,"total_tokens":7}}\n\n', ''],
      ['data: [DONE]\n\n', 'data: [DONE]\n\n'],
    ];
    const sentText = EVENTS.map(([x]) => x).join('');

    for (const n of [0, 1, 2, 3, 7, 64])
      test(`"usage":null is taken out, nothing else, pieces of ${n || 'all'}`,
        async () => {
          rig.up.script({
            plan: () => Plan.bytes(sentText, 'text/event-stream'),
            ...(n ? { fault: 'split', n } : {}) });
          const r = await post('/v1/chat/completions',
            chatBody({ stream: true }));
          assert.equal(r.text, EVENTS.map(([, x]) => x).join(''));
          const row = await rig.gate.accessRow('usage read',
            (x) => x.id === r.header('x-request-id'));
          assert.equal(row.output_tokens, 4);
          assert.equal(row.usage_source, 'upstream');
        });

    test('usage beside an error stays', async () => {
      const said = 'data: {"error":{"message":"x"},"usage":{"prompt_tokens":' +
        '3,"completion_tokens":4,"total_tokens":7}}\n\n';
      rig.up.script({ plan: () => Plan.bytes(said, 'text/event-stream') });
      const r = await post('/v1/chat/completions', chatBody({ stream: true }));
      assert.equal(r.text, said);
    });

    test('a client that asked for usage gets "usage":null too', async () => {
      rig.up.script({
        plan: () => Plan.bytes(sentText, 'text/event-stream') });
      const r = await post('/v1/chat/completions', chatBody({ stream: true,
        stream_options: { include_usage: true } }));
      assert.equal(r.text, sentText);
    });

    test('with a renamed model: both changes in one event', async () => {
      const said = `data: {"model":"gpt-5-mini-1","usage":null,${chunk('')}}` +
        '\r\n\r\ndata: [DONE]\r\n\r\n';
      rig.up.script({ plan: () => Plan.bytes(said, 'text/event-stream') });
      const r = await post('/v1/chat/completions',
        chatBody({ model: 'fast', stream: true }));
      assert.equal(r.text,
        said.replace('"gpt-5-mini-1","usage":null,', '"fast",'));
    });

    test('whatever the cut: every byte its own packet', async () => {
      rig.up.script({ fault: 'split', n: 1 });
      const r = await post('/v1/chat/completions', chatBody({ stream: true }));
      assert.doesNotMatch(r.text, usageChunk);
      assert.match(r.text, /data: \[DONE\]\n\n$/);
    });

    test('usage told with the last choice stays', async () => {
      rig.up.script({ fault: 'usage_everywhere' });
      const r = await post('/v1/chat/completions', chatBody({ stream: true }));
      assert.match(r.text, /"finish_reason":"stop"/);
      assert.match(r.text, /data: \[DONE\]\n\n$/);
    });

    test('words of usage inside content are left alone', async () => {
      const said = '"usage":{"prompt_tokens":1},"choices":[]';
      const r = await post('/v1/chat/completions', chatBody({ stream: true,
        messages: [{ role: 'user', content: `say ${said}` }] }));
      const text = r.text.split('\n\n')
        .filter((l) => l.startsWith('data: {'))
        .map((l) => JSON.parse(l.slice(6)).choices[0].delta.content ?? '')
        .join('');
      assert.equal(text, said);
    });
  });

describe('model rename, both ways', GATE_ONLY, () => {
  test('plain: the provider\'s name there, the client\'s name here',
    async () => {
      const body = '{"messages":[{"role":"user","content":"say \\"model\\":' +
        '\\"fast\\" gpt-5-mini"}], "model" : "fast","seed":1e2}';
      const r = await post('/v1/chat/completions', body);
      assert.equal(rig.up.last.body.toString(),
        body.replace('"model" : "fast"', '"model" : "gpt-5-mini"'));
      assert.equal(r.json.model, 'fast');
      assert.equal(r.text, rig.up.last.payload.toString()
        .replace('"model":"gpt-5-mini"', '"model":"fast"'));
      assert.match(r.json.choices[0].message.content, /gpt-5-mini$/);
    });

  test('stream: every chunk is renamed, nothing else', async () => {
    for (const n of [undefined, 1, 7]) {
      if (n) rig.up.script({ fault: 'split', n });
      const r = await post('/v1/chat/completions', chatBody({
        model: 'fast', stream: true,
        stream_options: { include_usage: true } }));
      assert.equal(r.text, rig.up.last.payload.toString()
        .replaceAll('"model":"gpt-5-mini"', '"model":"fast"'));
    }
  });

  test('a failed response is renamed, and its usage read', async () => {
    const failed = (model) => 'event: response.failed\ndata: {"type":' +
      `"response.failed","response":{"model":"${model}","status":"failed",` +
      '"error":{"code":"server_error","message":"gpt-5-mini"},"usage":' +
      '{"input_tokens":40,"output_tokens":2,"total_tokens":42}}}\n\n';
    const delta = 'event: response.output_text.delta\ndata: ' +
      `{"type":"response.output_text.delta","delta":"${'x'.repeat(99)}"}\n\n`;
    rig.up.script({ plan: () => Plan.bytes(
      delta + failed('gpt-5-mini'), 'text/event-stream') });
    const r = await post('/v1/responses', JSON.stringify(
      { model: 'fast', input: 'x', stream: true }));
    assert.equal(r.text, delta + failed('fast'));
    const row = await rig.gate.accessRow('usage read',
      (x) => x.id === r.header('x-request-id'));
    assert.deepEqual([row.input_tokens, row.output_tokens, row.usage_source],
      [40, 2, 'upstream']);
    assert.equal(row.reason, 'up_error_event');
  });

  const UNSAID = [undefined, 'text/plain; charset=utf-8',
    'Application/Octet-Stream'];
  const typed = (said, type) => {
    const plan = Plan.bytes(said, type ?? 'x/y');
    if (!type)
      plan.headers = plan.headers.filter(([n]) => !/^content-type$/i.test(n));
    return plan;
  };

  test('a stream whose type is not said is read as one', async () => {
    const said = (model) => `data: {"model":"${model}","choices":[{"index":` +
      '0,"delta":{"content":"x"},"finish_reason":"stop"}],"usage":' +
      '{"prompt_tokens":7,"completion_tokens":5,"total_tokens":12}}\n\n' +
      'data: [DONE]\n\n';
    for (const type of UNSAID) {
      for (const start of ['', ': hi\n\n', '\r\n \n']) {
        for (const n of [0, 1]) {
          rig.up.script({ plan: () => typed(start + said('gpt-5-mini'), type),
            ...(n ? { fault: 'split', n } : {}) });
          const r = await post('/v1/chat/completions',
            chatBody({ model: 'fast', stream: true }));
          assert.equal(r.header('content-type') ?? undefined, type);
          assert.equal(r.text, start + said('fast'));
          const row = await rig.gate.accessRow('usage read',
            (x) => x.id === r.header('x-request-id'));
          assert.deepEqual([row.output_tokens, row.usage_source],
            [5, 'upstream']);
        }
      }
    }
  });

  test('a stream whose type is not said does not end unseen', async () => {
    const said = 'data: {"choices":[{"index":0,"delta":{"content":"x"}}]}\n\n';
    for (const type of UNSAID) {
      rig.up.script({ plan: () => typed(said, type) });
      const r = await post('/v1/chat/completions', chatBody({ stream: true }));
      assert.ok(r.text.startsWith(said));
      assert.match(r.text.slice(said.length), /^data: \{"error":/);
    }
  });

  test('what is no event stream passes as it came', async () => {
    const bodies = ['{"model":"gpt-5-mini"}', '\n [1]', 'Hello, you',
      '<html>\n\n</html>', 'dat\u0000', 'x'];
    for (const type of [...UNSAID, 'audio/mpeg', 'image/png', 'text/html']) {
      for (const said of bodies) {
        for (const n of said === 'dat\u0000' ? [0] : [0, 1]) {
          rig.up.script({ plan: () => typed(said, type),
            ...(n ? { fault: 'split', n } : {}) });
          const r = await post('/v1/chat/completions',
            chatBody({ model: 'fast', stream: true }));
          assert.equal(r.text, said, `${type}`);
          assert.ok(r.complete);
        }
      }
    }
  });

  test('a long stream is renamed to its end', async () => {
    const event = 'data: {"model":"gpt-5-mini","choices":[{"index":0,' +
      '"delta":{"content":"x"},"finish_reason":null}]}\n\n';
    rig.up.script({ plan: () => Plan.bytes(
      `${event.repeat(100000)}data: [DONE]\n\n`, 'text/event-stream') });
    const r = await post('/v1/chat/completions', chatBody({
      model: 'fast', stream: true, stream_options: { include_usage: true } }));
    assert.ok(r.complete);
    assert.equal(r.text.indexOf('gpt-5-mini'), -1);
    assert.equal(r.text.length, 100000 * (event.length - 6) + 14);
  });

  test('Messages: the model within message_start', async () => {
    const r = await post('/v1/messages', '{"model":"haiku","max_tokens":9,' +
      '"stream":true,"messages":[{"role":"user","content":"count to 3"}]}');
    assert.equal(rig.up.last.json.model, 'claude-haiku');
    assert.match(r.text, /event: message_start\ndata: .*"model":"haiku"/);
    assert.equal(r.text, rig.up.last.payload.toString()
      .replaceAll('"model":"claude-haiku"', '"model":"haiku"'));
  });

  test('other routes: embeddings, responses (nested in response)',
    async () => {
      const e = await post('/v1/embeddings', '{"model":"fast","input":"x"}');
      assert.equal(e.json.model, 'fast');
      const r = await post('/v1/responses',
        '{"model":"fast","input":"count to 3","stream":true}');
      assert.doesNotMatch(r.text, /gpt-5-mini/);
      const last = r.text.split('\n\n').filter(Boolean).at(-1);
      assert.equal(JSON.parse(last.split('data: ')[1]).response.model, 'fast');
    });

  test('multipart: the model part is renamed', async () => {
    const form = new FormData();
    form.append('model', 'fast');
    form.append('file', new Blob(['abc']), 'a.wav');
    const r = await rig.fetch('/v1/audio/transcriptions',
      { method: 'POST', body: form });
    assert.equal(r.status, 200);
    assert.match(rig.up.last.body.toString(), /\r\n\r\ngpt-5-mini\r\n/);
  });

  test('an escaped model name routes as what it means', async () => {
    const r = await post('/v1/embeddings',
      '{"model":"f\\u0061st","input":"x"}');
    assert.equal(r.status, 200);
    assert.equal(rig.up.last.json.model, 'gpt-5-mini');
    assert.equal(r.json.model, 'fast');
  });
});

describe('headers cross', () => {
  const lower = (list) => list.map(([n, v]) => [n.toLowerCase(), v]);

  test('the client\'s end-to-end headers, repeated ones in order',
    async () => {
      const sent = [
        ['X-Stainless-Lang', 'js'], ['OpenAI-Beta', 'a=v1'],
        ['OpenAI-Organization', 'org-9'], ['X-Twice', 'one'],
        ['x-twice', 'two'], ['X-Empty', ''], ['User-Agent', 'e2e/1 (x; y)'],
        ['X-Tabs', 'a\tb'], ['x-under_score', '1'],
        ['Idempotency-Key', 'k-1'], ['Accept', 'application/json'],
      ];
      await post('/v1/chat/completions', chatBody(), sent);
      const got = lower(rig.up.last.headers);
      for (const [n, v] of lower(sent))
        assert.ok(got.some(([m, w]) => m === n && w === v), `${n}: ${v}`);
      assert.deepEqual(rig.up.last.all('x-twice'), ['one', 'two']);
    });

  test('the provider\'s end-to-end headers, repeated ones in order',
    async () => {
      rig.up.script({ fault: 'repeat_headers' });
      const r = await post('/v1/chat/completions', chatBody());
      assert.deepEqual(r.all('x-twice'), ['one', 'two']);
      assert.equal(r.header('x-mixed-case'), 'Kept As Is');
      assert.ok([0, 2].includes(r.all('set-cookie').length),
        'cookies are dropped or kept, never joined');
      assert.equal(r.header('openai-processing-ms'), '5');
      assert.equal(r.header('openai-version'), '2020-10-01');
      assert.equal(r.header('x-ratelimit-limit-requests'), '1000');
    });

  test('exactly one x-request-id, content-type, framing', async () => {
    for (const more of [{}, { stream: true }]) {
      const r = await post('/v1/chat/completions', chatBody(more));
      assert.equal(r.all('x-request-id').length, 1);
      assert.equal(r.all('content-type').length, 1);
      assert.equal(r.all('content-length').length +
        r.all('transfer-encoding').length, 1);
      assert.ok(r.all('date').length <= 1);
    }
  });

  test('headers of the config are added', GATE_ONLY, async () => {
    await post('/v1/chat/completions', chatBody());
    assert.equal(rig.up.last.header('x-configured'), 'yes');
  });
});

describe('headers that must not cross', GATE_ONLY, () => {
  test('hop-by-hop and what Connection names, on the way up', async () => {
    const r = await post('/v1/chat/completions', chatBody(), [
      ['Connection', 'keep-alive, X-Hop'], ['X-Hop', 'secret'],
      ['Keep-Alive', 'timeout=9'], ['TE', 'trailers'],
      ['Proxy-Authorization', 'Basic eA=='], ['Proxy-Connection', 'close'],
      ['Upgrade', 'h2c'], ['HTTP2-Settings', 'AAMAAABkAAQAAP__'],
      ['Trailer', 'x'],
    ]);
    assert.equal(r.status, 200);
    const names = rig.up.last.headers.map(([n]) => n.toLowerCase());
    for (const n of ['x-hop', 'keep-alive', 'te', 'proxy-authorization',
      'proxy-connection', 'upgrade', 'http2-settings', 'trailer',
      'transfer-encoding', 'expect'])
      assert.ok(!names.includes(n), `${n} crossed`);
  });

  test('hop-by-hop and what Connection names, on the way down', async () => {
    rig.up.script({ fault: 'hop_headers' });
    const r = await post('/v1/chat/completions', chatBody());
    for (const n of ['x-secret-hop', 'keep-alive', 'proxy-authenticate',
      'proxy-connection', 'upgrade', 'trailer'])
      assert.equal(r.header(n), undefined, `${n} crossed`);
    assert.doesNotMatch(r.header('connection') ?? '', /x-secret-hop/);
  });

  test('the client\'s key and cookies, in whatever header they came',
    async () => {
      const keyHeaders = [['Authorization', `Bearer ${rig.key}`],
        ['x-api-key', rig.key], ['api-key', rig.key]];
      for (const h of keyHeaders)
        for (const target of ['/v1/chat/completions', '/v1/agents']) {
          await rawRequest(rig.address, requestBytes('POST', target,
            [h, JSON_TYPE, ['Cookie', 'session=canary-cookie']], chatBody()));
          const head = rig.up.last.rawHead.toString();
          assert.ok(!head.includes(rig.key), `${h[0]} to ${target}`);
          assert.ok(!head.includes('canary-cookie'));
          assert.equal(rig.up.last.header('authorization'),
            `Bearer ${UPSTREAM_KEY}`);
          assert.equal(rig.up.last.header('x-api-key'), undefined);
        }
    });

  test('Host is the provider\'s', async () => {
    await post('/v1/chat/completions', chatBody());
    assert.deepEqual(rig.up.last.all('host'), [`127.0.0.1:${rig.up.port}`]);
  });

  test('a provider that echoes its key does not leak it', async () => {
    rig.up.script({ fault: 'status', code: 400,
      message: `bad key ${UPSTREAM_KEY} given` });
    const r = await post('/v1/chat/completions', chatBody());
    assert.equal(r.status, 400);
    assert.ok(!r.text.includes(UPSTREAM_KEY), r.text);
  });
});
