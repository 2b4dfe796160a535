// Vercel's `ai` with @ai-sdk/openai (Responses and chat), with
// @ai-sdk/openai-compatible and with @ai-sdk/anthropic.

import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, test } from 'node:test';

import { createAnthropic } from '@ai-sdk/anthropic';
import { createOpenAI } from '@ai-sdk/openai';
import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import { APICallError, embedMany, generateImage, generateObject, generateText,
  isStepCount, stepCountIs, streamText, tool } from 'ai';
import { z } from 'zod';

import { PIXEL_PNG, embeddingOf, sha256 } from './lib/provider/text.mjs';
import { DIRECT, GATE_ONLY, startRig, upstreamEntry } from './lib/rig.mjs';

globalThis.AI_SDK_LOG_WARNINGS = false;

let rig;
before(async () => {
  rig = await startRig({
    config: (up) => ({
      upstreams: [
        upstreamEntry(up, { models: ['demo', 'fault:*'] }),
        { ...upstreamEntry(up), name: 'claude', dialect: 'anthropic',
          models: ['claude-*'] },
      ],
    }),
  });
});
beforeEach(() => rig.clear());
after(() => rig?.close());

const isStep = isStepCount ?? stepCountIs;
const weather = tool({
  description: 'Weather of a city',
  inputSchema: z.object({ city: z.string() }),
  execute: ({ city }) => `sunny in ${city}`,
});

const providers = [
  ['@ai-sdk/openai responses', () =>
    createOpenAI({ baseURL: rig.baseUrl, apiKey: rig.key })('demo')],
  ['@ai-sdk/openai chat', () =>
    createOpenAI({ baseURL: rig.baseUrl, apiKey: rig.key }).chat('demo')],
  ['@ai-sdk/openai-compatible', () =>
    createOpenAICompatible({ name: 'tg', baseURL: rig.baseUrl,
      apiKey: rig.key, includeUsage: true,
      supportsStructuredOutputs: true })('demo')],
  ['@ai-sdk/anthropic', () =>
    createAnthropic({ baseURL: rig.baseUrl, apiKey: rig.key })('claude-e2e')],
];

for (const [name, model] of providers)
  describe(`ai with ${name}`, () => {
    test('generateText', async () => {
      const r = await generateText({
        model: model(), prompt: 'say hello there', maxRetries: 0 });
      assert.equal(r.text, 'hello there');
      assert.equal(r.finishReason, 'stop');
      assert.equal(r.usage.outputTokens, 2);
    });

    test('streamText: deltas, finish, usage', async () => {
      const r = streamText({
        model: model(), prompt: 'count to 30', maxRetries: 0 });
      const deltas = [];
      for await (const d of r.textStream) deltas.push(d);
      assert.equal(deltas.join(''),
        Array.from({ length: 30 }, (_, i) => i + 1).join(' '));
      assert.ok(deltas.length > 20, 'it came in pieces');
      assert.equal(await r.finishReason, 'stop');
      assert.equal((await r.usage).outputTokens, 30);
    });

    test('a tool loop, streamed', async () => {
      const r = streamText({
        model: model(), prompt: 'use get_weather', maxRetries: 0,
        tools: { get_weather: weather }, stopWhen: isStep(3) });
      assert.equal(await r.text, 'The tool said: sunny in sample');
      const steps = await r.steps;
      assert.equal(steps[0].toolCalls[0].toolName, 'get_weather');
      assert.equal(steps[0].toolResults[0].output, 'sunny in sample');
      assert.equal(steps.length, 2);
    });

    test('an image in the prompt', async () => {
      const r = await generateText({
        model: model(), maxRetries: 0,
        messages: [{ role: 'user', content: [
          { type: 'text', text: 'see' },
          { type: 'file', data: PIXEL_PNG, mediaType: 'image/png' }] }] });
      assert.match(r.text, new RegExp(sha256(PIXEL_PNG)));
    });

    test('leaving a stream stops the provider', async () => {
      const script = rig.up.script({ gateAfter: 6 });
      const stop = new AbortController();
      const r = streamText({ model: model(), prompt: 'count to 500',
        maxRetries: 0, abortSignal: stop.signal });
      const reading = (async () => {
        for await (const d of r.textStream) if (d) stop.abort();
      })().catch(() => {});
      const rec = await script.request;
      await rec.whenAborted();
      await reading;
    });

    test('a provider error is an APICallError with its status', async () => {
      rig.up.script({ fault: 'status', code: 429, message: 'slow down' });
      await assert.rejects(
        generateText({ model: model(), prompt: 'x', maxRetries: 0 }),
        (e) => {
          assert.ok(APICallError.isInstance(e), e.name);
          assert.equal(e.statusCode, 429);
          return true;
        });
    });
  });

describe('ai with @ai-sdk/openai: the rest', () => {
  const openai = () =>
    createOpenAI({ baseURL: rig.baseUrl, apiKey: rig.key });

  test('generateObject', async () => {
    for (const m of [openai()('demo'), openai().chat('demo')]) {
      const r = await generateObject({ model: m, prompt: 'who',
        maxRetries: 0, schema: z.object({ name: z.string() }) });
      assert.deepEqual(r.object, { name: 'sample' });
    }
  });

  test('embedMany', async () => {
    const r = await embedMany({ model: openai().embedding('demo'),
      values: ['a', 'b'], maxRetries: 0 });
    assert.deepEqual(r.embeddings,
      [embeddingOf('a', 8), embeddingOf('b', 8)]);
  });

  test('generateImage', async () => {
    const r = await generateImage({ model: openai().image('demo'),
      prompt: 'cat', maxRetries: 0 });
    assert.ok(Buffer.from(r.image.uint8Array).equals(PIXEL_PNG));
  });

  test('a stream broken off is an error, not an end', async () => {
    rig.up.script({ fault: 'cut_events', after: 4, how: 'clean' });
    const r = streamText({ model: openai().chat('demo'),
      prompt: 'count to 9', maxRetries: 0, onError: () => {} });
    const types = [];
    for await (const p of r.fullStream) types.push(p.type);
    if (!DIRECT) assert.ok(types.includes('error'), types.join(' '));
  });
});

describe('ai accounting', GATE_ONLY, () => {
  test('Responses, streamed: the row has the tokens', async () => {
    const r = streamText({
      model: createOpenAI({ baseURL: rig.baseUrl, apiKey: rig.key })('demo'),
      prompt: 'count to 17', maxRetries: 0 });
    await r.text;
    const row = await rig.gate.accessRow('responses stream', (x) =>
      x.path === '/v1/responses' && x.output_tokens === 17);
    assert.equal(row.stream, true);
    assert.equal(row.input_tokens, rig.up.last.cost.input);
  });

  test('Messages, streamed: the row has the tokens', async () => {
    const r = streamText({
      model: createAnthropic({ baseURL: rig.baseUrl, apiKey: rig.key })(
        'claude-e2e'), prompt: 'count to 19', maxRetries: 0 });
    await r.text;
    const row = await rig.gate.accessRow('messages stream', (x) =>
      x.path === '/v1/messages' && x.output_tokens === 19);
    assert.equal(row.target, 'claude');
    assert.equal(row.input_tokens, rig.up.last.cost.input);
    assert.equal(rig.up.last.header('x-api-key') !== undefined ||
      rig.up.last.header('authorization') !== undefined, true);
  });
});
