// @langchain/openai: chat, streams, tools, structured output, embeddings.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { HumanMessage, ToolMessage } from '@langchain/core/messages';
import { tool } from '@langchain/core/tools';
import { ChatOpenAI, OpenAIEmbeddings } from '@langchain/openai';
import { z } from 'zod';

import { collect } from './lib/openai.mjs';
import { embeddingOf } from './lib/provider/text.mjs';
import { DIRECT, startRig } from './lib/rig.mjs';

let rig;
before(async () => {
  rig = await startRig();
});
after(() => rig?.close());

const chat = (more = {}) =>
  new ChatOpenAI({
    model: 'demo', apiKey: rig.key, maxRetries: 0,
    configuration: { baseURL: rig.baseUrl }, ...more,
  });

const weather = tool(async ({ city }) => `sunny in ${city}`, {
  name: 'get_weather', description: 'Weather',
  schema: z.object({ city: z.string() }),
});

for (const useResponsesApi of [false, true])
  describe(`langchain, ${useResponsesApi ? 'responses' : 'chat'}`, () => {
    const model = () => chat({ useResponsesApi });

    test('invoke, with usage', async () => {
      const r = await model().invoke('say hello there');
      assert.equal(r.text, 'hello there');
      assert.equal(r.usage_metadata.output_tokens, 2);
    });

    test('stream: pieces and usage', async () => {
      const chunks = await collect(await model().stream('count to 12'));
      assert.equal(chunks.map((c) => c.text).join(''),
        '1 2 3 4 5 6 7 8 9 10 11 12');
      const usage = chunks.find((c) => c.usage_metadata)?.usage_metadata;
      assert.equal(usage.output_tokens, 12);
    });

    test('tools: call, answer', async () => {
      const bound = model().bindTools([weather]);
      const ask = new HumanMessage('use get_weather');
      const a = await bound.invoke([ask]);
      assert.equal(a.tool_calls[0].name, 'get_weather');
      assert.deepEqual(a.tool_calls[0].args, { city: 'sample' });
      const result = await weather.invoke(a.tool_calls[0]);
      assert.ok(result instanceof ToolMessage);
      const b = await bound.invoke([ask, a, result]);
      assert.equal(b.text, 'The tool said: sunny in sample');
    });

    test('streamed tool call', async () => {
      let all;
      for await (const c of
        await model().bindTools([weather]).stream('use get_weather'))
        all = all ? all.concat(c) : c;
      assert.deepEqual(all.tool_calls[0].args, { city: 'sample' });
    });

    test('structured output', async () => {
      const r = await model().withStructuredOutput(
        z.object({ a: z.number() }), { name: 'n', method: 'jsonSchema' },
      ).invoke('x');
      assert.deepEqual(r, { a: 1.5 });
    });

    test('leaving a stream stops the provider', async () => {
      const script = rig.up.script({ gateAfter: 7 });
      for await (const c of await model().stream('count to 900'))
        if (c.text) break;
      await (await script.request).whenAborted();
    });

    test('a provider error raises', async () => {
      rig.up.script({ fault: 'status', code: 400, message: 'no such thing' });
      await assert.rejects(model().invoke('x'), /no such thing/);
    });
  });

describe('langchain, the rest', () => {
  test('a stream cut off cleanly is not taken for a whole one', async () => {
    rig.up.script({ fault: 'cut_events', after: 4, how: 'clean' });
    const reading = chat().stream('count to 30').then(collect);
    if (DIRECT) await reading;
    else await assert.rejects(reading);
  });

  test('embeddings (base64 by default)', async () => {
    const e = new OpenAIEmbeddings({ model: 'demo', apiKey: rig.key,
      maxRetries: 0, configuration: { baseURL: rig.baseUrl } });
    assert.deepEqual(await e.embedDocuments(['a', 'b']),
      [embeddingOf('a', 8), embeddingOf('b', 8)]);
  });
});
