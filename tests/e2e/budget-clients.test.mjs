// What official clients send in earnest is not refused for keys with hard
// budgets that have room for it: of tokens, of money, and of both.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';

import Anthropic from '@anthropic-ai/sdk';
import { zodResponseFormat, zodTextFormat } from 'openai/helpers/zod';
import { z } from 'zod';

import { OpenAI, ask, collect } from './lib/openai.mjs';
import { GATE_ONLY, startRig, upstreamEntry } from './lib/rig.mjs';
import { toYaml } from './lib/yaml.mjs';

const TODAY = new Date().toISOString().slice(0, 10);

const PRICES = [
  { model: ['demo', 'text-embedding-*'], input: 2, output: 10 },
  { model: 'claude-*', input: 2, output: 10, cache_write: 2.5 },
  { model: 'omni-moderation*', request: 0 },
];

let [rig, dir, serial] = [null, null, 0];

const createKey = (...args) => rig.gate.createKey(`c${++serial}`, ...args);

const clientOf = (key) => new OpenAI({ baseURL: rig.baseUrl, apiKey: key.key,
  maxRetries: 0, timeout: 60000, logLevel: 'off' });

describe('clients of keys with hard budgets', GATE_ONLY, () => {
  let keys;
  before(async () => {
    dir = fs.mkdtempSync(path.join(os.tmpdir(), 'tg-clients-'));
    const prices = path.join(dir, 'prices.yaml');
    fs.writeFileSync(prices, toYaml({ updated: TODAY, prices: PRICES }));
    rig = await startRig({
      config: (up) => ({ prices, upstreams: [
        upstreamEntry(up, { models: ['demo', 'omni-moderation*',
          'text-embedding-*'] }),
        upstreamEntry(up, { name: 'anthropic', dialect: 'anthropic',
          models: ['claude-*'] })] }) });
    const m = ['--budget', '100M-tokens/day', '--budget', '$1000/day'];
    keys = [await createKey(...m), await createKey(m[0], m[1]),
      await createKey(m[2], m[3])];
  });
  after(async () => {
    await rig?.close();
    fs.rmSync(dir, { recursive: true, force: true });
  });

  const each = (f) => async () => {
    for (const key of keys) await f(clientOf(key), key);
  };
  const fn = { type: 'function', function: { name: 'look_up', strict: true,
    description: 'd', parameters: { type: 'object', additionalProperties:
      false, properties: { city: { type: 'string' } },
    required: ['city'] } } };

  test('openai: chat with all that it knows', each(async (client) => {
    const r = await client.chat.completions.create({
      model: 'demo', messages: [
        { role: 'developer', content: 'be good', name: 'dev' },
        { role: 'system', content: [{ type: 'text', text: 'be brief' }] },
        { role: 'user', content: 'say ok', name: 'me' },
        { role: 'assistant', content: null, refusal: null, tool_calls: [{
          id: 'c1', type: 'function', function: { name: 'look_up',
            arguments: '{"type":"file","file_id":"x","image_url":"y"}' } }] },
        { role: 'tool', tool_call_id: 'c1', content: '{"type":"image"}' },
        { role: 'user', content: [{ type: 'text', text: 'say ok' }] }],
      temperature: 0.5, top_p: 0.9, n: 2, stop: ['\n\n'],
      max_completion_tokens: 64, presence_penalty: 0.1,
      frequency_penalty: 0.1, logit_bias: { 50256: -100 }, logprobs: true,
      top_logprobs: 3, seed: 42, user: 'u-1', store: true,
      metadata: { team: 'a' }, reasoning_effort: 'low', verbosity: 'low',
      service_tier: 'auto', parallel_tool_calls: false,
      prompt_cache_key: 'k', safety_identifier: 's',
      prompt_cache_retention: '24h', modalities: ['text'],
      response_format: { type: 'json_object' },
      tools: [fn, { type: 'custom', custom: { name: 'shell' } }],
      tool_choice: 'auto' });
    assert.equal(r.choices.length, 2);
  }));

  test('openai: streams, with and without usage', each(async (client) => {
    await collect(await client.chat.completions.create(
      ask('count to 5', { stream: true })));
    await collect(await client.chat.completions.create(ask('count to 5', {
      stream: true, stream_options: { include_usage: true,
        include_obfuscation: false } })));
    await client.chat.completions.stream(ask('count to 5'))
      .finalChatCompletion();
  }));

  test('openai: helpers for schemas and tools', each(async (client) => {
    const shape = z.object({ answer: z.string(), n: z.number().nullable() });
    const parsed = await client.chat.completions.parse({ ...ask('go'),
      response_format: zodResponseFormat(shape, 'shape') });
    assert.ok(parsed.choices[0].message.parsed);
    const runner = client.chat.completions.runTools({
      ...ask('use look_up'), tools: [{ type: 'function', function: {
        ...fn.function, parse: JSON.parse, function: () => 'rain' } }] });
    assert.match(await runner.finalContent(), /rain/);
  }));

  test('openai: older completions and embeddings', each(async (client) => {
    await client.completions.create({ model: 'demo', prompt: ['a', 'b'],
      max_tokens: 5, echo: true, logprobs: 2, suffix: 'z', best_of: 2 });
    const e = await client.embeddings.create({
      model: 'text-embedding-3-small', input: ['a', 'b'], dimensions: 8,
      user: 'u' });
    assert.equal(e.data.length, 2);
    await client.moderations.create({ model: 'omni-moderation-latest',
      input: ['a'] });
  }));

  test('openai: responses', each(async (client) => {
    const tools = [{ type: 'function', name: 'look_up', strict: true,
      parameters: fn.function.parameters },
    { type: 'custom', name: 'apply', format: { type: 'text' } }];
    const body = { model: 'demo', instructions: 'be good', tools,
      input: [{ role: 'developer', content: 'be brief' },
        { role: 'user', content: [{ type: 'input_text', text: 'say ok' }] }],
      reasoning: { effort: 'low', summary: 'auto' }, store: false,
      include: ['reasoning.encrypted_content'], temperature: 1, top_p: 1,
      text: { verbosity: 'low' }, max_output_tokens: 200,
      parallel_tool_calls: true, tool_choice: 'auto', truncation: 'disabled',
      metadata: { a: 'b' }, prompt_cache_key: 'k', user: 'u',
      safety_identifier: 's', service_tier: 'default', max_tool_calls: 3 };
    const first = await client.responses.create(body);
    // the loop of an agent: what came goes back, with what the tool said
    await client.responses.create({ ...body, input: [...body.input,
      ...first.output, { type: 'function_call', call_id: 'c1',
        name: 'look_up', arguments: '{"city":"x"}' },
      { type: 'function_call_output', call_id: 'c1', output: 'rain' },
      { type: 'reasoning', id: 'rs_1', summary: [{ type: 'summary_text',
        text: 't' }], encrypted_content: 'gAAAA' }] });
    await client.responses.stream({ model: 'demo', input: 'say ok' })
      .finalResponse();
    await client.responses.parse({ model: 'demo', input: 'go', text: {
      format: zodTextFormat(z.object({ a: z.string() }), 'shape') } });
  }));

  test('anthropic: messages', each(async (_, key) => {
    const client = new Anthropic({ baseURL: rig.origin, apiKey: key.key,
      authToken: null, maxRetries: 0, logLevel: 'off' });
    const body = { model: 'claude-x', max_tokens: 2000, system: [{
      type: 'text', text: 'be good', cache_control: { type: 'ephemeral' } }],
    messages: [{ role: 'user', content: 'say ok' },
      { role: 'assistant', content: [
        { type: 'thinking', thinking: 't', signature: 's' },
        { type: 'tool_use', id: 't1', name: 'look_up',
          input: { type: 'image', file_id: 'x' } }] },
      { role: 'user', content: [{ type: 'tool_result', tool_use_id: 't1',
        content: [{ type: 'text', text: 'rain' }] },
      { type: 'document', source: { type: 'text', media_type: 'text/plain',
        data: 'a page' } }] }],
    tools: [{ name: 'look_up', description: 'd', input_schema:
      fn.function.parameters }, { type: 'bash_20250124', name: 'bash' }],
    tool_choice: { type: 'auto' }, metadata: { user_id: 'u' },
    stop_sequences: ['x'], thinking: { type: 'enabled',
      budget_tokens: 1024 } };
    await client.messages.create(body);
    await client.messages.stream({ ...body, thinking: undefined,
      temperature: 1, top_k: 5, service_tier: 'auto' }).finalMessage();
    await client.messages.countTokens({ model: 'claude-x',
      messages: body.messages });
  }));

  test('vLLM, llama.cpp and OpenRouter: what they add', each(
    async (client) => {
      await client.chat.completions.create(ask('say ok', { top_k: 40,
        min_p: 0.05, repetition_penalty: 1.05, ignore_eos: false,
        chat_template_kwargs: { enable_thinking: false },
        structured_outputs: { choice: ['a'] }, skip_special_tokens: true,
        cache_prompt: true, grammar: 'root ::= "ok"', typical_p: 1,
        reasoning: { effort: 'low' }, usage: { include: true },
        include_reasoning: true, add_generation_prompt: true, top_a: 0,
        min_tokens: 1, stop_token_ids: [], priority: 0 }));
    }));
});
