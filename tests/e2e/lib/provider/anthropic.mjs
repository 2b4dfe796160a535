// Anthropic routes of the scripted provider: messages, count_tokens.

import { Plan, jsonEvent } from './http.mjs';
import {
  answerTo, contentText, countTokens, describeParts, limitText, pieces,
  sampleOf,
} from './text.mjs';

/** An error reply as Anthropic shapes it. */
export function anthropicError(status, type, message, requestId) {
  return Plan.json(
    { type: 'error', error: { type, message }, request_id: requestId },
    status,
  );
}

function inputTokens(req) {
  const system = countTokens(contentText(req.system));
  return (req.messages ?? []).reduce(
    (s, m) => s + 1 + countTokens(contentText(m.content)),
    system,
  );
}

const toolResultText = (blocks) =>
  blocks.filter((b) => b.type === 'tool_result')
    .map((b) => contentText(b.content)).join(' ');

function blocksFor(req) {
  const last = req.messages.at(-1);
  const text = contentText(last.content);
  const blocks = [];
  if (req.thinking?.type === 'enabled')
    blocks.push({ type: 'thinking', thinking: 'Let me see.', signature: 'c2ln' });
  const choice = req.tool_choice ?? { type: 'auto' };
  const answered = Array.isArray(last.content) &&
    last.content.some((b) => b.type === 'tool_result');
  const tools = answered || choice.type === 'none' ? [] : (req.tools ?? []);
  const wanted = tools.filter(
    (t) => choice.type === 'any' || choice.name === t.name ||
      text.includes(t.name),
  );
  if (wanted.length) {
    wanted.forEach((t, i) =>
      blocks.push({
        type: 'tool_use',
        id: `toolu_${String(i + 1).padStart(8, '0')}`,
        name: t.name,
        input: sampleOf(t.input_schema) ?? {},
      }),
    );
    return { blocks, stop: 'tool_use' };
  }
  const said = answered
    ? `The tool said: ${toolResultText(last.content)}`
    : answerTo(text, describeParts(last.content));
  const cut = limitText(said, {
    max: req.max_tokens,
    stop: req.stop_sequences,
  });
  blocks.push({ type: 'text', text: cut.text });
  return { blocks, stop: cut.finish === 'length' ? 'max_tokens' : 'end_turn' };
}

const outputOf = (b) =>
  b.type === 'text' ? pieces(b.text).length
    : b.type === 'thinking' ? pieces(b.thinking).length
      : pieces(JSON.stringify(b.input)).length;

const usageOf = (input, output) => ({
  input_tokens: input,
  cache_creation_input_tokens: 0,
  cache_read_input_tokens: 0,
  output_tokens: output,
  service_tier: 'standard',
});

/** POST /v1/messages */
export function messages(p, rec) {
  const req = rec.json;
  const bad = (m) =>
    anthropicError(400, 'invalid_request_error', m, rec.requestId);
  if (rec.header('anthropic-version') === undefined)
    return bad('anthropic-version: header is required');
  if (typeof req?.model !== 'string') return bad('model: Field required');
  if (!Number.isInteger(req.max_tokens))
    return bad('max_tokens: Field required');
  const { blocks, stop } = blocksFor(req);
  const input = inputTokens(req);
  const output = blocks.reduce((s, b) => s + outputOf(b), 0);
  Object.assign(rec.cost, { input, whole: output });
  const message = {
    id: p.nextId('msg'),
    type: 'message',
    role: 'assistant',
    model: req.model,
    content: blocks,
    stop_reason: stop,
    stop_sequence: null,
    usage: usageOf(input, output),
  };
  if (req.stream) return Plan.events(events(p, message, input, output));
  const plan = Plan.json(message);
  plan.tokens = output;
  return plan;
}

const named = (value) => jsonEvent(value, value.type);

function* blockDeltas(b) {
  if (b.type === 'text')
    for (const text of pieces(b.text))
      yield [{ type: 'text_delta', text }, 1];
  if (b.type === 'thinking') {
    for (const thinking of pieces(b.thinking))
      yield [{ type: 'thinking_delta', thinking }, 1];
    yield [{ type: 'signature_delta', signature: b.signature }, 0];
  }
  if (b.type === 'tool_use') {
    const json = JSON.stringify(b.input);
    for (const partial_json of json.match(/.{1,6}/gs) ?? [])
      yield [{ type: 'input_json_delta', partial_json }, 0];
  }
}

const emptyBlock = (b) =>
  b.type === 'text' ? { type: 'text', text: '' }
    : b.type === 'thinking'
      ? { type: 'thinking', thinking: '', signature: '' }
      : { ...b, input: {} };

async function* events(p, message, input, output) {
  yield named({
    type: 'message_start',
    message: {
      ...message,
      content: [],
      stop_reason: null,
      usage: usageOf(input, 1),
    },
  });
  for (const [index, b] of message.content.entries()) {
    yield named({
      type: 'content_block_start', index, content_block: emptyBlock(b),
    });
    if (index === 0) yield named({ type: 'ping' });
    for (const [delta, tokens] of blockDeltas(b)) {
      await p.pace();
      yield { ...named({ type: 'content_block_delta', index, delta }), tokens };
    }
    yield named({ type: 'content_block_stop', index });
  }
  yield {
    ...named({
      type: 'message_delta',
      delta: { stop_reason: message.stop_reason, stop_sequence: null },
      usage: { output_tokens: output },
    }),
    finish: true,
    usage: true,
    tokens: message.content
      .filter((b) => b.type === 'tool_use')
      .reduce((s, b) => s + outputOf(b), 0),
  };
  yield { ...named({ type: 'message_stop' }), done: true };
}

/** POST /v1/messages/count_tokens */
export function countTokensRoute(p, rec) {
  rec.cost.input = 0;
  return Plan.json({ input_tokens: inputTokens(rec.json ?? {}) });
}
