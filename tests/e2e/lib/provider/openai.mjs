// OpenAI routes of the scripted provider that answer from the request alone:
// chat, completions, embeddings, moderations, models.

import { Plan, jsonEvent } from './http.mjs';
import {
  answerTo, contentText, countTokens, describeParts, embeddingOf,
  floatsToBase64, limitText, pieces, sampleOf,
} from './text.mjs';

export const CREATED = 1767225600;
const FINGERPRINT = 'fp_e2e';

/** An error reply as OpenAI shapes it. */
export function openaiError(status, message, extra = {}) {
  const error = {
    message,
    type: extra.type ?? 'invalid_request_error',
    param: extra.param ?? null,
    code: extra.code ?? null,
  };
  return Plan.json({ error }, status, extra.headers ?? []);
}

export function usageOf(prompt, completion, cached = 0) {
  return {
    prompt_tokens: prompt,
    completion_tokens: completion,
    total_tokens: prompt + completion,
    prompt_tokens_details: { cached_tokens: cached, audio_tokens: 0 },
    completion_tokens_details: {
      reasoning_tokens: 0,
      audio_tokens: 0,
      accepted_prediction_tokens: 0,
      rejected_prediction_tokens: 0,
    },
  };
}

/** Tokens of a chat prompt: the words of every message, and one for each. */
export function promptTokens(messages) {
  return messages.reduce(
    (sum, m) => sum + 1 + countTokens(contentText(m.content)),
    0,
  );
}

function chosenTools(req) {
  const tools = (req.tools ?? []).filter((t) => t.type === 'function');
  const choice = req.tool_choice ?? (tools.length ? 'auto' : 'none');
  const last = req.messages.at(-1);
  if (!tools.length || choice === 'none' || last?.role === 'tool') return [];
  if (choice?.type === 'function')
    return tools.filter((t) => t.function.name === choice.function.name);
  const text = contentText(last?.content);
  const named = tools.filter((t) => text.includes(t.function.name));
  if (named.length) return named;
  if (choice === 'required') return tools.slice(0, 1);
  return /\ball tools\b/.test(text) ? tools : [];
}

function answerFor(req) {
  const calls = chosenTools(req).map((t, i) => ({
    id: `call_${String(i + 1).padStart(8, '0')}`,
    type: 'function',
    function: {
      name: t.function.name,
      arguments: JSON.stringify(sampleOf(t.function.parameters ?? {}) ?? {}),
    },
  }));
  if (calls.length) return { calls, finish: 'tool_calls', text: null };
  const last = req.messages.at(-1) ?? {};
  const format = req.response_format ?? {};
  let text;
  if (format.type === 'json_schema')
    text = JSON.stringify(sampleOf(format.json_schema.schema));
  else if (format.type === 'json_object')
    text = JSON.stringify({ answer: contentText(last.content) });
  else if (last.role === 'tool')
    text = `The tool said: ${contentText(last.content)}`;
  else text = answerTo(contentText(last.content), describeParts(last.content));
  const max = req.max_completion_tokens ?? req.max_tokens ?? undefined;
  const cut = limitText(text, { max, stop: req.stop });
  return { calls: [], ...cut };
}

const tokenLogprob = (token, top) => ({
  token,
  logprob: -0.25,
  bytes: [...Buffer.from(token, 'utf8')],
  top_logprobs: Array.from({ length: top }, (_, i) => ({
    token: i === 0 ? token : `alt${i}`,
    logprob: -0.25 - i,
    bytes: [...Buffer.from(i === 0 ? token : `alt${i}`, 'utf8')],
  })),
});

function logprobsOf(req, tokens) {
  if (!req.logprobs) return null;
  const top = req.top_logprobs ?? 0;
  return { content: tokens.map((t) => tokenLogprob(t, top)), refusal: null };
}

function outputTokens(a) {
  if (a.calls.length)
    return a.calls.reduce((n, c) => n + pieces(c.function.arguments).length, 0);
  return pieces(a.text).length;
}

const choiceText = (text, i) => (i === 0 ? text : `${text} (${i + 1})`);

/** POST /chat/completions */
export function chat(p, rec) {
  const req = rec.json;
  if (typeof req?.model !== 'string')
    return openaiError(400, 'you must provide a model parameter');
  if (!Array.isArray(req.messages) || req.messages.length === 0)
    return openaiError(400, "Missing required parameter: 'messages'.", {
      param: 'messages',
      code: 'missing_required_parameter',
    });
  const n = req.n ?? 1;
  const answer = answerFor(req);
  const answers = Array.from({ length: n }, (_, i) => ({
    ...answer,
    text: answer.text === null ? null : choiceText(answer.text, i),
  }));
  const input = promptTokens(req.messages);
  const output = answers.reduce((s, a) => s + outputTokens(a), 0);
  Object.assign(rec.cost, { input, whole: output });
  const base = {
    id: p.nextId('chatcmpl'),
    created: CREATED,
    model: req.model,
    service_tier: 'default',
    system_fingerprint: FINGERPRINT,
  };
  const usage = usageOf(input, output, p.cachedTokens);
  if (req.stream)
    return Plan.events(chatEvents(p, req, base, answers, usage));
  const reply = {
    ...base,
    object: 'chat.completion',
    choices: answers.map((a, index) => ({
      index,
      message: {
        role: 'assistant',
        content: a.text,
        refusal: null,
        annotations: [],
        ...(a.calls.length ? { tool_calls: a.calls } : {}),
      },
      logprobs: logprobsOf(req, a.text === null ? [] : pieces(a.text)),
      finish_reason: a.finish,
    })),
    usage,
  };
  if (req.store) p.stored.set(reply.id, { ...reply, request: req });
  const plan = Plan.json(reply);
  plan.tokens = output;
  return plan;
}

function* toolDeltas(calls) {
  for (const [index, c] of calls.entries()) {
    yield [{
      index,
      id: c.id,
      type: 'function',
      function: { name: c.function.name, arguments: '' },
    }, 0];
    for (const part of c.function.arguments.match(/.{1,6}/gs) ?? [])
      yield [{ index, function: { arguments: part } }, 0];
  }
}

async function* chatEvents(p, req, base, answers, usage) {
  const withUsage = req.stream_options?.include_usage === true;
  const chunk = (choices, extra = {}) => ({
    ...jsonEvent({
      ...base,
      object: 'chat.completion.chunk',
      choices,
      ...(withUsage ? { usage: null } : {}),
      ...extra,
    }),
  });
  const delta = (index, d, more = {}) =>
    chunk([{ index, delta: d, logprobs: null, finish_reason: null, ...more }]);
  for (const i of answers.keys())
    yield delta(i, { role: 'assistant', content: '', refusal: null });
  const texts = answers.map((a) => (a.text === null ? [] : pieces(a.text)));
  const longest = Math.max(...texts.map((t) => t.length));
  for (let k = 0; k < longest; k++)
    for (const [i, t] of texts.entries()) {
      if (k >= t.length) continue;
      await p.pace();
      const more = req.logprobs ? { logprobs: logprobsOf(req, [t[k]]) } : {};
      yield { ...delta(i, { content: t[k] }, more), tokens: 1 };
    }
  for (const [i, a] of answers.entries()) {
    for (const [call] of toolDeltas(a.calls))
      yield delta(i, { tool_calls: [call] });
    yield {
      ...delta(i, {}, { finish_reason: a.finish }),
      finish: true,
      tokens: a.calls.length ? outputTokens(a) : 0,
    };
  }
  if (withUsage) yield { ...chunk([], { usage }), usage: true };
  yield { data: '[DONE]', done: true };
}

/** GET/POST/DELETE of stored chat completions. */
export function storedChat(p, rec, id, sub) {
  if (id === undefined) {
    const data = [...p.stored.values()].map(({ request, ...c }) => c);
    return Plan.json(p.page(data));
  }
  const found = p.stored.get(id);
  if (!found) return openaiError(404, `No completion '${id}'`);
  const { request, ...completion } = found;
  if (sub === 'messages')
    return Plan.json(
      p.page(request.messages.map((m, i) => ({ id: `${id}-${i}`, ...m }))),
    );
  if (rec.method === 'DELETE') {
    p.stored.delete(id);
    return Plan.json({ id, object: 'chat.completion.deleted', deleted: true });
  }
  if (rec.method === 'POST') {
    found.metadata = rec.json?.metadata ?? null;
    completion.metadata = found.metadata;
  }
  return Plan.json(completion);
}

const promptList = (prompt) => {
  if (!Array.isArray(prompt)) return [prompt];
  if (prompt.length && typeof prompt[0] === 'number') return [prompt];
  return prompt;
};

const textOrIds = (x) => (Array.isArray(x) ? x.join(' ') : String(x));

/** POST /completions */
export function completions(p, rec) {
  const req = rec.json;
  if (typeof req?.model !== 'string')
    return openaiError(400, 'you must provide a model parameter');
  const prompts = promptList(req.prompt ?? '').map(textOrIds);
  const n = req.n ?? 1;
  const answers = prompts.flatMap((text) => {
    const a = limitText(answerTo(text), {
      max: req.max_tokens ?? 16,
      stop: req.stop,
    });
    const shown = req.echo ? text + a.text : a.text;
    return Array.from({ length: n }, () => ({ ...a, text: shown }));
  });
  const input = prompts.reduce((s, t) => s + countTokens(t), 0);
  const output = answers.reduce((s, a) => s + pieces(a.text).length, 0);
  Object.assign(rec.cost, { input, whole: output });
  const base = {
    id: p.nextId('cmpl'),
    object: 'text_completion',
    created: CREATED,
    model: req.model,
  };
  const usage = usageOf(input, output);
  if (req.stream)
    return Plan.events(completionEvents(p, req, base, answers, usage));
  const choices = answers.map((a, index) => ({
    index,
    text: a.text,
    logprobs: null,
    finish_reason: a.finish,
  }));
  const plan = Plan.json({ ...base, choices, usage });
  plan.tokens = output;
  return plan;
}

async function* completionEvents(p, req, base, answers, usage) {
  const withUsage = req.stream_options?.include_usage === true;
  const chunk = (choices, u = null) =>
    jsonEvent({ ...base, choices, ...(withUsage ? { usage: u } : {}) });
  for (const [index, a] of answers.entries()) {
    for (const text of pieces(a.text)) {
      await p.pace();
      yield {
        ...chunk([{ index, text, logprobs: null, finish_reason: null }]),
        tokens: 1,
      };
    }
    yield {
      ...chunk([{ index, text: '', logprobs: null, finish_reason: a.finish }]),
      finish: true,
    };
  }
  if (withUsage) yield { ...chunk([], usage), usage: true };
  yield { data: '[DONE]', done: true };
}

/** POST /embeddings */
export function embeddings(p, rec) {
  const req = rec.json;
  if (typeof req?.model !== 'string')
    return openaiError(400, 'you must provide a model parameter');
  const inputs = promptList(req.input ?? '');
  const dims = req.dimensions ?? 8;
  const base64 = req.encoding_format === 'base64';
  const tokens = inputs.reduce((s, x) => s + countTokens(textOrIds(x)), 0);
  rec.cost.input = tokens;
  return Plan.json({
    object: 'list',
    data: inputs.map((x, index) => {
      const v = embeddingOf(x, dims);
      return {
        object: 'embedding',
        index,
        embedding: base64 ? floatsToBase64(v) : v,
      };
    }),
    model: req.model,
    usage: { prompt_tokens: tokens, total_tokens: tokens },
  });
}

/** POST /moderations */
export function moderations(p, rec) {
  const inputs = [rec.json?.input ?? ''].flat();
  const names = ['harassment', 'hate', 'self-harm', 'sexual', 'violence'];
  return Plan.json({
    id: p.nextId('modr'),
    model: rec.json?.model ?? 'omni-moderation-latest',
    results: inputs.map((x) => {
      const bad = /attack/.test(typeof x === 'string' ? x : (x.text ?? ''));
      const of = (f) => Object.fromEntries(names.map((k) => [k, f(k)]));
      return {
        flagged: bad,
        categories: of((k) => bad && k === 'violence'),
        category_scores: of((k) => (bad && k === 'violence' ? 0.9 : 0.01)),
        category_applied_input_types: of(() => ['text']),
      };
    }),
  });
}

const modelObject = (id) => ({
  id,
  object: 'model',
  created: CREATED,
  owned_by: 'e2e',
});

const anthropicModel = (id) => ({
  type: 'model',
  id,
  display_name: id,
  created_at: '2026-01-01T00:00:00Z',
});

/** GET /models, GET and DELETE /models/{id}, in both dialects. */
export function models(p, rec, id) {
  const anthropic = rec.header('anthropic-version') !== undefined;
  const shape = anthropic ? anthropicModel : modelObject;
  if (id !== undefined) {
    const name = decodeURIComponent(id);
    if (!p.models.includes(name))
      return openaiError(404, `The model '${name}' does not exist`, {
        code: 'model_not_found',
      });
    if (rec.method === 'DELETE')
      return Plan.json({ id: name, object: 'model', deleted: true });
    return Plan.json(shape(name));
  }
  const data = p.models.map(shape);
  return Plan.json(
    anthropic
      ? { data, has_more: false, first_id: p.models[0], last_id: p.models.at(-1) }
      : { object: 'list', data },
  );
}
