// The official openai client beyond chat: every other resource it offers,
// through the routes tollgate knows and those it only passes on.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { AzureOpenAI } from 'openai';
import { toFile } from 'openai';

import { collect, openaiFor } from './lib/openai.mjs';
import { speechBytes } from './lib/provider/files.mjs';
import { PIXEL_PNG, embeddingOf, sha256 } from './lib/provider/text.mjs';
import { DIRECT, GATE_ONLY, startRig, upstreamEntry } from './lib/rig.mjs';

let rig;
let client;
before(async () => {
  rig = await startRig({
    config: (up) => ({
      upstreams: [
        upstreamEntry(up, { models: ['demo', 'org/model:free'] }),
        { name: 'az', base_url: up.origin, dialect: 'azure',
          api_key: 'env:E2E_UPSTREAM_KEY', models: ['az-*'] },
      ],
    }),
  });
  client = openaiFor(rig);
});
after(() => rig?.close());

const bytesOf = async (response) =>
  Buffer.from(await response.arrayBuffer());

describe('openai completions', () => {
  test('plain, default max_tokens, echo, list of prompts', async () => {
    const r = await client.completions.create({
      model: 'demo', prompt: 'count to 40' });
    assert.equal(r.object, 'text_completion');
    assert.equal(r.choices[0].finish_reason, 'length');
    assert.equal(r.usage.completion_tokens, 16);
    const many = await client.completions.create({
      model: 'demo', prompt: ['say a', 'say b'], echo: true });
    assert.deepEqual(many.choices.map((c) => c.text), ['say aa', 'say bb']);
  });

  test('stream', async () => {
    const chunks = await collect(await client.completions.create({
      model: 'demo', prompt: 'count to 5', stream: true }));
    assert.equal(chunks.map((c) => c.choices[0].text).join(''), '1 2 3 4 5');
    assert.equal(chunks.at(-1).choices[0].finish_reason, 'stop');
  });

  test('stream with usage asked', async () => {
    const chunks = await collect(await client.completions.create({
      model: 'demo', prompt: 'count to 5', stream: true,
      stream_options: { include_usage: true } }));
    assert.equal(chunks.at(-1).usage.completion_tokens, 5);
  });
});

describe('openai embeddings', () => {
  test('base64 by default: the client decodes the same floats', async () => {
    const r = await client.embeddings.create({
      model: 'demo', input: ['alpha', 'beta'], dimensions: 16 });
    assert.equal(rig.up.last.json.encoding_format, 'base64');
    assert.deepEqual(r.data[0].embedding, embeddingOf('alpha', 16));
    assert.deepEqual(r.data[1].embedding, embeddingOf('beta', 16));
    assert.equal(r.usage.prompt_tokens, 2);
  });

  test('float, and base64 asked by the caller', async () => {
    const f = await client.embeddings.create({
      model: 'demo', input: 'alpha', encoding_format: 'float' });
    assert.deepEqual(f.data[0].embedding, embeddingOf('alpha', 8));
    const b = await client.embeddings.create({
      model: 'demo', input: 'alpha', encoding_format: 'base64' });
    assert.equal(typeof b.data[0].embedding, 'string');
  });

  test('token ids as input', async () => {
    const r = await client.embeddings.create({
      model: 'demo', input: [[1, 2, 3], [4]] });
    assert.equal(r.data.length, 2);
    assert.deepEqual(rig.up.last.json.input, [[1, 2, 3], [4]]);
  });
});

describe('openai models', () => {
  test('list is paged to its end and holds the served models', async () => {
    const ids = (await collect(client.models.list())).map((m) => m.id);
    assert.ok(ids.includes('demo'));
    assert.equal(new Set(ids).size, ids.length);
  });

  test('retrieve; an id with a slash and a colon', async () => {
    const m = await client.models.retrieve('org/model:free');
    assert.equal(m.id, 'org/model:free');
    assert.equal(m.object, 'model');
  });
});

describe('openai files and uploads', () => {
  test('upload, list, retrieve, content, delete: bytes unchanged',
    async () => {
      const data = Buffer.from([...Array(256).keys(), 13, 10, 45, 45]);
      const f = await client.files.create({
        file: await toFile(data, 'd\u00e9j\u00e0 vu.bin'), purpose: 'batch' });
      assert.equal(f.bytes, data.length);
      assert.equal(f.filename, 'd\u00e9j\u00e0 vu.bin');
      const all = await collect(client.files.list());
      assert.ok(all.some((x) => x.id === f.id));
      assert.equal((await client.files.retrieve(f.id)).id, f.id);
      const back = await bytesOf(await client.files.content(f.id));
      assert.equal(sha256(back), sha256(data));
      assert.equal((await client.files.delete(f.id)).deleted, true);
    });

  test('uploads in parts', async () => {
    const u = await client.uploads.create({
      bytes: 6, filename: 'u.txt', mime_type: 'text/plain',
      purpose: 'assistants' });
    const ids = [];
    for (const s of ['abc', 'def'])
      ids.push((await client.uploads.parts.create(u.id, {
        data: await toFile(Buffer.from(s), 'p') })).id);
    const done = await client.uploads.complete(u.id, { part_ids: ids });
    assert.equal(done.status, 'completed');
    const back = await bytesOf(await client.files.content(done.file.id));
    assert.equal(back.toString(), 'abcdef');
  });

  test('POST with an empty body: upload cancel', async () => {
    const u = await client.uploads.create({
      bytes: 1, filename: 'u', mime_type: 'text/plain', purpose: 'batch' });
    assert.equal((await client.uploads.cancel(u.id)).status, 'cancelled');
    assert.equal(rig.up.last.bodyBytes, 0);
  });
});

describe('openai audio', () => {
  test('speech: binary reply', async () => {
    const r = await client.audio.speech.create({
      model: 'demo', voice: 'alloy', input: 'hello' });
    assert.equal(r.headers.get('content-type'), 'audio/mpeg');
    assert.ok((await bytesOf(r)).equals(speechBytes('hello')));
  });

  test('speech as server-sent events', async () => {
    const r = await client.audio.speech.create({
      model: 'demo', voice: 'alloy', input: 'hello', stream_format: 'sse' });
    const text = await r.text();
    const audio = [...text.matchAll(/"audio":"([^"]*)"/g)]
      .map((m) => Buffer.from(m[1], 'base64'));
    assert.ok(Buffer.concat(audio).equals(speechBytes('hello')));
    assert.match(text, /speech\.audio\.done/);
  });

  test('transcription: multipart, and its model part routes', async () => {
    const wav = Buffer.alloc(70000, 0x5a);
    const r = await client.audio.transcriptions.create({
      model: 'demo', file: await toFile(wav, 'a.wav') });
    assert.equal(r.text, `Heard 70000 bytes of a.wav ${sha256(wav)}`);
  });

  test('transcription streamed, as text, and translation', async () => {
    const file = () => toFile(Buffer.from('xyz'), 'a.wav');
    const s = await client.audio.transcriptions.create({
      model: 'demo', file: await file(), stream: true });
    const events = await collect(s);
    assert.equal(events.at(-1).type, 'transcript.text.done');
    const t = await client.audio.transcriptions.create({
      model: 'demo', file: await file(), response_format: 'text' });
    assert.match(t, /^Heard 3 bytes/);
    const e = await client.audio.translations.create({
      model: 'demo', file: await file() });
    assert.match(e.text, /^Translated 3 bytes/);
  });
});

describe('openai images', () => {
  const b64 = PIXEL_PNG.toString('base64');

  test('generate, and generate as a stream', async () => {
    const r = await client.images.generate({
      model: 'demo', prompt: 'a cat', n: 2 });
    assert.deepEqual(r.data.map((d) => d.b64_json), [b64, b64]);
    const s = await client.images.generate({
      model: 'demo', prompt: 'a cat', stream: true, partial_images: 1 });
    const events = await collect(s);
    assert.deepEqual(events.map((e) => e.type),
      ['image_generation.partial_image', 'image_generation.completed']);
  });

  test('edit and variation (multipart)', async () => {
    const image = () => toFile(PIXEL_PNG, 'p.png', { type: 'image/png' });
    const r = await client.images.edit({
      model: 'demo', image: await image(), prompt: 'greener' });
    assert.equal(r.data[0].b64_json, b64);
    assert.equal(rig.up.last.imageHash, sha256(PIXEL_PNG));
    const v = await client.images.createVariation({ image: await image() });
    assert.equal(v.data.length, 1);
  });
});

describe('openai moderations', () => {
  test('text and parts, with and without a model', async () => {
    const r = await client.moderations.create({
      model: 'demo', input: ['fine', 'attack'] });
    assert.deepEqual(r.results.map((x) => x.flagged), [false, true]);
    const d = await client.moderations.create({ input: 'attack' });
    assert.equal(d.results[0].flagged, true);
  });
});

describe('openai responses', () => {
  test('create, retrieve, input items, cancel, delete', async () => {
    const r = await client.responses.create({
      model: 'demo', input: 'say hello', metadata: { a: 'b' } });
    assert.equal(r.output_text, 'hello');
    assert.equal(r.status, 'completed');
    assert.equal((await client.responses.retrieve(r.id)).id, r.id);
    const items = await collect(client.responses.inputItems.list(r.id));
    assert.equal(items[0].content, 'say hello');
    assert.equal((await client.responses.cancel(r.id)).status, 'cancelled');
    await client.responses.delete(r.id);
    await assert.rejects(client.responses.retrieve(r.id), { status: 404 });
  });

  test('create as a stream: all events, in order', async () => {
    const events = await collect(await client.responses.create({
      model: 'demo', input: 'count to 4', stream: true }));
    assert.deepEqual(events.map((e) => e.type), [
      'response.created', 'response.in_progress',
      'response.output_item.added', 'response.content_part.added',
      ...Array(4).fill('response.output_text.delta'),
      'response.output_text.done', 'response.content_part.done',
      'response.output_item.done', 'response.completed']);
    assert.deepEqual(events.map((e) => e.sequence_number),
      events.map((_, i) => i));
    assert.equal(events.at(-1).response.usage.output_tokens, 4);
  });

  test('.stream() helper, tools, structured text', async () => {
    const s = client.responses.stream({ model: 'demo', input: 'count to 3' });
    assert.equal((await s.finalResponse()).output_text, '1 2 3');
    const t = await client.responses.create({
      model: 'demo', input: 'use get_time', tools: [{
        type: 'function', name: 'get_time', strict: true,
        parameters: { type: 'object', properties: {} } }] });
    assert.equal(t.output[0].type, 'function_call');
    const j = await client.responses.create({
      model: 'demo', input: 'x', text: { format: {
        type: 'json_schema', name: 'n', strict: true,
        schema: { type: 'object', properties: { a: { type: 'integer' } } } } } });
    assert.deepEqual(JSON.parse(j.output_text), { a: 7 });
  });

  test('a stored response replayed as a stream; input token count',
    async () => {
      const r = await client.responses.create({ model: 'demo', input: 'hi' });
      const again = await collect(
        await client.responses.retrieve(r.id, { stream: true }));
      assert.equal(again.at(-1).type, 'response.completed');
      const n = await client.responses.inputTokens.count({
        model: 'demo', input: 'one two' });
      assert.equal(n.input_tokens, 3);
    });

  test('previous_response_id, and an unknown one', async () => {
    const a = await client.responses.create({ model: 'demo', input: 'a' });
    const b = await client.responses.create({
      model: 'demo', input: 'b', previous_response_id: a.id });
    assert.equal(b.previous_response_id, a.id);
    await assert.rejects(
      client.responses.create({
        model: 'demo', input: 'b', previous_response_id: 'resp_none' }),
      { status: 400, code: 'previous_response_not_found' });
  });
});

describe('openai resources that are only passed on', () => {
  test('batches: create, retrieve, cancel, list', async () => {
    const b = await client.batches.create({
      input_file_id: 'file-1', endpoint: '/v1/chat/completions',
      completion_window: '24h' });
    assert.equal((await client.batches.retrieve(b.id)).id, b.id);
    assert.equal((await client.batches.cancel(b.id)).status, 'cancelling');
    assert.equal((await collect(client.batches.list())).length, 1);
  });

  test('vector stores: create, files, search, delete', async () => {
    const v = await client.vectorStores.create({ name: 'v' });
    const f = await client.vectorStores.files.create(v.id,
      { file_id: 'file-1' });
    assert.ok(f.id);
    const found = await collect(
      client.vectorStores.search(v.id, { query: 'q' }));
    assert.deepEqual(found, []);
    assert.equal((await client.vectorStores.delete(v.id)).deleted, true);
  });

  test('fine tuning jobs', async () => {
    const j = await client.fineTuning.jobs.create({
      model: 'demo', training_file: 'file-1' });
    assert.equal((await client.fineTuning.jobs.cancel(j.id)).status,
      'cancelled');
  });

  test('never whitelist endpoints: a route nobody knows', async () => {
    const r = await client.post('/agents/a%2Fb/runs', {
      body: { x: 1 }, query: { beta: 'true', 'q[]': 'a b' } });
    assert.equal(r.object, 'echo');
    assert.match(r.target, /^\/v1\/agents\/a%2Fb\/runs\?beta=true&q/);
    assert.equal(r.bytes, '{"x":1}'.length);
  });

  test('deprecated assistants with their beta header', async () => {
    const r = await client.beta.threads.create({});
    assert.equal(r.object, 'echo');
    assert.equal(rig.up.last.header('openai-beta'), 'assistants=v2');
  });
});

describe('openai client to an azure-shaped front', () => {
  const azure = () => new AzureOpenAI({
    baseURL: `${rig.origin}/openai`, apiKey: rig.key, maxRetries: 0,
    apiVersion: '2024-10-21' });

  test('AzureOpenAI: deployment path, api-version, api-key', async () => {
    const r = await azure().chat.completions.create({
      model: 'az-gpt', messages: [{ role: 'user', content: 'hello azure' }] });
    assert.equal(r.choices[0].message.content, 'You said: hello azure');
    assert.match(rig.up.last.target,
      /^\/openai\/deployments\/az-gpt\/chat\/completions\?api-version=/);
    if (!DIRECT)
      assert.equal(rig.up.last.header('authorization'), undefined);
  });
});

describe('deployment paths', GATE_ONLY, () => {
  const post = (deployment, body, key = rig.key) => fetch(
    `${rig.origin}/openai/deployments/${deployment}/chat/completions` +
    '?api-version=2024-10-21', { method: 'POST',
      headers: { 'api-key': key, 'content-type': 'application/json' },
      body: JSON.stringify(body) });
  const messages = [{ role: 'user', content: 'hi' }];

  test('the path is enough, to azure and to others', async () => {
    for (const name of ['az-gpt', 'demo']) {
      const r = await post(name, { messages });
      assert.equal(r.status, 200, name);
      assert.equal((await r.json()).model, name);
    }
    assert.equal(JSON.parse(rig.up.last.body).model, 'demo');
  });

  test('to azure the body stays as it is', async () => {
    await post('az-gpt', { messages, model: 'any' });
    assert.deepEqual(JSON.parse(rig.up.last.body), { messages, model: 'any' });
  });

  test('the path goes before the body', async () => {
    await post('demo', { messages, model: 'org/model:free' });
    assert.equal(JSON.parse(rig.up.last.body).model, 'demo');
    await post('demo', { model: null, messages });
    assert.equal(JSON.parse(rig.up.last.body).model, 'demo');
  });

  test('a key\'s list holds for the path', async () => {
    const k = await rig.gate.createKey('az-only', '--models', 'demo');
    assert.equal((await post('demo', { messages }, k.key)).status, 200);
    rig.up.clear();
    const r = await post('az-gpt', { messages, model: 'demo' }, k.key);
    assert.equal(r.status, 404);
    assert.equal((await r.json()).error.code, 'model_not_found');
    assert.equal(rig.up.hits, 0);
  });
});

describe('openai client to an azure upstream', GATE_ONLY, () => {
  test('a plain client reaches a deployment of the model', async () => {
    const r = await client.chat.completions.create({
      model: 'az-gpt', messages: [{ role: 'user', content: 'hi' }] });
    assert.equal(r.choices[0].message.content, 'You said: hi');
    assert.match(rig.up.last.target,
      /^\/openai\/deployments\/az-gpt\/chat\/completions\?api-version=./);
    assert.ok(rig.up.last.header('api-key'));
    assert.equal(rig.up.last.header('authorization'), undefined);
  });

  test('a query with api-version goes as it came', async () => {
    const post = async (query) => {
      const r = await fetch(
        `${rig.origin}/openai/deployments/az-gpt/chat/completions${query}`, {
          method: 'POST',
          headers: { 'api-key': rig.key, 'content-type': 'application/json' },
          body: JSON.stringify({ messages: [{ role: 'user', content: 'x' }] }),
        });
      assert.equal(r.status, 200);
      await r.arrayBuffer();
      return rig.up.last.target.split('?')[1];
    };
    assert.equal(await post('?a=b&api-version=2024-06-01&c=%2f'),
      'a=b&api-version=2024-06-01&c=%2f');
    assert.equal(await post('?a=b&c=%2f'),
      'a=b&c=%2f&api-version=2024-10-21');
  });
});
