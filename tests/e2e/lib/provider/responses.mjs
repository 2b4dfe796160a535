// Responses API of the scripted provider: create (plain and streamed), and
// the stored ones by id.

import { Plan, jsonEvent } from './http.mjs';
import { CREATED, openaiError } from './openai.mjs';
import {
  answerTo, contentText, countTokens, describeParts, limitText, pieces,
  sampleOf,
} from './text.mjs';

function itemsOf(input) {
  if (input === undefined || input === null) return [];
  if (typeof input === 'string')
    return [{ type: 'message', role: 'user', content: input }];
  return input;
}

function inputTokens(req) {
  return itemsOf(req.input).reduce(
    (s, i) => s + 1 + countTokens(contentText(i.content ?? i.output ?? '')),
    countTokens(req.instructions ?? ''),
  );
}

function outputItems(p, req) {
  const items = itemsOf(req.input);
  const last = items.at(-1) ?? {};
  const text = contentText(last.content);
  const tools = (req.tools ?? []).filter((t) => t.type === 'function');
  const answered = last.type === 'function_call_output';
  const forced = req.tool_choice?.name;
  const wanted = answered || req.tool_choice === 'none' ? [] : tools.filter(
    (t) => t.name === forced || text.includes(t.name) ||
      (req.tool_choice === 'required' && t === tools[0]),
  );
  if (wanted.length)
    return {
      items: wanted.map((t, i) => ({
        id: p.nextId('fc'),
        type: 'function_call',
        status: 'completed',
        call_id: `call_${String(i + 1).padStart(8, '0')}`,
        name: t.name,
        arguments: JSON.stringify(sampleOf(t.parameters ?? {}) ?? {}),
      })),
      status: 'completed',
    };
  const format = req.text?.format ?? {};
  let said;
  if (format.type === 'json_schema')
    said = JSON.stringify(sampleOf(format.schema));
  else if (answered) said = `The tool said: ${contentText(last.output)}`;
  else said = answerTo(text, describeParts(last.content));
  const cut = limitText(said, { max: req.max_output_tokens ?? undefined });
  return {
    items: [{
      id: p.nextId('msg'),
      type: 'message',
      status: cut.finish === 'length' ? 'incomplete' : 'completed',
      role: 'assistant',
      content: [{
        type: 'output_text', text: cut.text, annotations: [], logprobs: [],
      }],
    }],
    status: cut.finish === 'length' ? 'incomplete' : 'completed',
  };
}

const tokensOf = (item) =>
  item.type === 'message'
    ? pieces(item.content[0].text).length
    : pieces(item.arguments).length;

function responseOf(p, req) {
  const { items, status } = outputItems(p, req);
  const input = inputTokens(req);
  const output = items.reduce((s, i) => s + tokensOf(i), 0);
  return {
    id: p.nextId('resp'),
    object: 'response',
    created_at: CREATED,
    status,
    background: req.background ?? false,
    error: null,
    incomplete_details:
      status === 'incomplete' ? { reason: 'max_output_tokens' } : null,
    instructions: req.instructions ?? null,
    max_output_tokens: req.max_output_tokens ?? null,
    model: req.model,
    output: items,
    parallel_tool_calls: req.parallel_tool_calls ?? true,
    previous_response_id: req.previous_response_id ?? null,
    reasoning: { effort: null, summary: null },
    store: req.store ?? true,
    temperature: req.temperature ?? 1,
    text: req.text ?? { format: { type: 'text' } },
    tool_choice: req.tool_choice ?? 'auto',
    tools: req.tools ?? [],
    top_p: req.top_p ?? 1,
    truncation: 'disabled',
    usage: {
      input_tokens: input,
      input_tokens_details: { cached_tokens: 0, cache_write_tokens: 0 },
      output_tokens: output,
      output_tokens_details: { reasoning_tokens: 0 },
      total_tokens: input + output,
    },
    user: null,
    metadata: req.metadata ?? {},
  };
}

/** POST /responses */
export function create(p, rec) {
  const req = rec.json;
  if (typeof req?.model !== 'string')
    return openaiError(400, "Missing required parameter: 'model'.", {
      param: 'model', code: 'missing_required_parameter',
    });
  if (req.previous_response_id && !p.responses.has(req.previous_response_id))
    return openaiError(400, 'Previous response not found.', {
      param: 'previous_response_id', code: 'previous_response_not_found',
    });
  const r = responseOf(p, req);
  rec.cost.input = r.usage.input_tokens;
  rec.cost.whole = r.usage.output_tokens;
  if (r.store) p.responses.set(r.id, { response: r, request: req });
  if (req.stream) return Plan.events(responseEvents(p, r));
  const plan = Plan.json(r);
  plan.tokens = r.usage.output_tokens;
  return plan;
}

/** The events of a streamed response, in the documented order. */
export async function* responseEvents(p, r) {
  let seq = 0;
  const ev = (type, more, extra = {}) => ({
    ...jsonEvent({ type, sequence_number: seq++, ...more }, type),
    ...extra,
  });
  const early = {
    ...r, status: 'in_progress', output: [], usage: null,
    incomplete_details: null,
  };
  yield ev('response.created', { response: early });
  yield ev('response.in_progress', { response: early });
  for (const [output_index, item] of r.output.entries())
    yield* item.type === 'message'
      ? messageEvents(p, ev, item, output_index)
      : callEvents(ev, item, output_index);
  yield ev(`response.${r.status}`, { response: r }, {
    done: true, finish: true, usage: true,
  });
}

async function* messageEvents(p, ev, item, output_index) {
  const at = { item_id: item.id, output_index, content_index: 0 };
  const part = item.content[0];
  yield ev('response.output_item.added', {
    output_index, item: { ...item, status: 'in_progress', content: [] },
  });
  yield ev('response.content_part.added', { ...at, part: { ...part, text: '' } });
  for (const delta of pieces(part.text)) {
    await p.pace();
    yield ev('response.output_text.delta', { ...at, delta, logprobs: [] }, {
      tokens: 1,
    });
  }
  yield ev('response.output_text.done', { ...at, text: part.text, logprobs: [] });
  yield ev('response.content_part.done', { ...at, part });
  yield ev('response.output_item.done', { output_index, item });
}

async function* callEvents(ev, item, output_index) {
  const at = { item_id: item.id, output_index };
  yield ev('response.output_item.added', {
    output_index, item: { ...item, status: 'in_progress', arguments: '' },
  });
  for (const delta of item.arguments.match(/.{1,6}/gs) ?? [])
    yield ev('response.function_call_arguments.delta', { ...at, delta });
  yield ev('response.function_call_arguments.done', {
    ...at, name: item.name, arguments: item.arguments,
  }, { tokens: tokensOf(item) });
  yield ev('response.output_item.done', { output_index, item });
}

/** Everything under /responses/{id}. */
export function byId(p, rec, id, sub) {
  if (id === 'input_tokens' && rec.method === 'POST')
    return Plan.json({
      object: 'response.input_tokens', input_tokens: inputTokens(rec.json ?? {}),
    });
  if (id === 'compact' && rec.method === 'POST') {
    const r = responseOf(p, rec.json ?? {});
    return Plan.json({ ...r, object: 'response.compaction' });
  }
  const found = p.responses.get(id);
  if (!found)
    return openaiError(404, `Response with id '${id}' not found.`);
  if (sub === 'input_items')
    return Plan.json(
      p.page(itemsOf(found.request.input).map((x, i) => ({
        id: `msg_in_${i + 1}`, ...x,
      }))),
    );
  if (sub === 'cancel' && rec.method === 'POST') {
    found.response = { ...found.response, status: 'cancelled' };
    return Plan.json(found.response);
  }
  if (rec.method === 'DELETE') {
    p.responses.delete(id);
    return Plan.json({ id, object: 'response', deleted: true });
  }
  if (new URLSearchParams(rec.query).get('stream') === 'true')
    return Plan.events(responseEvents(p, found.response));
  return Plan.json(found.response);
}
