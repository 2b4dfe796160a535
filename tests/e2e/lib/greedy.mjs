// A provider that takes all it may: every byte of text is a token, every answer
// is as long as its cap, and a cap that it does not find is a long one.  It
// keeps its own books; nothing that a gateway says changes them.

import { Plan } from './provider/http.mjs';

/** Tokens of an answer without a cap; of a picture; of what templates add. */
const LONG = 50000;
const PICTURE = 3000;
const TEMPLATE = 120;
const TOOLS = 700;

/** USD per million tokens. */
export const GREEDY_PRICE = { input: 2, output: 10 };

/** Tokens of a text at worst: bytes of one normal form, letters of another. */
const worstOf = (s) => Math.max(Buffer.byteLength(s.normalize('NFC')),
  [...s.normalize('NFKC')].length);

/** Tokens of every string within a value, and a mark around each. */
function textBytes(v) {
  if (typeof v === 'string') return worstOf(v) + 4;
  if (typeof v === 'number') return 1;
  if (Array.isArray(v)) return v.reduce((s, x) => s + textBytes(x), 0);
  if (v === null || typeof v !== 'object') return 0;
  if (/image|audio|file|document/.test(v.type ?? '') || v.image_url)
    return PICTURE;
  return Object.values(v).reduce((s, x) => s + textBytes(x), 0);
}

/** A cap as servers read it: what is no number in range is none. */
const capOf = (...members) => {
  const said = members.find((m) => m !== undefined && m !== null);
  const n = Math.floor(Number(said));
  return said !== undefined && n > 0 && n <= LONG ? n : LONG;
};

const atLeastOne = (v) => Math.max(1, Math.floor(Number(v ?? 1)) || 1);

/** What a request takes; the tools and members that cost more do so. */
function workOf(path, o) {
  const searches = (o.tools ?? []).filter((t) =>
    /search|fetch|interpreter|mcp|code_exec/.test(t.type ?? '')).length;
  let input = TEMPLATE + textBytes(o.messages) + textBytes(o.input) +
    textBytes(o.prompt) + textBytes(o.system) + textBytes(o.instructions) +
    (o.tools ? TOOLS + Buffer.byteLength(JSON.stringify(o.tools)) : 0) +
    (searches + (o.web_search_options ? 1 : 0)) * 20000;
  for (const far of [o.previous_response_id, o.conversation, o.mcp_servers])
    if (far) input += 30000;
  if (/embeddings/.test(path)) return { input, output: 0, choices: 0 };
  const prompts = Array.isArray(o.prompt) && typeof o.prompt[0] !== 'number'
    ? Math.max(1, o.prompt.length) : 1;
  const choices = prompts * Math.max(atLeastOne(o.n), atLeastOne(o.best_of));
  const cap = /responses/.test(path) ? capOf(o.max_output_tokens)
    : /messages/.test(path) ? capOf(o.max_tokens)
      : capOf(o.max_completion_tokens, o.max_tokens, o.n_predict);
  let each = cap;
  if (o.use_beam_search) each *= 10;
  if (o.prediction) each += Buffer.byteLength(JSON.stringify(o.prediction));
  const known = o.boost ? 20 : 1;
  return { input, output: each * choices * known, choices, cap };
}

/** How much dearer the same tokens are. */
const factorOf = (o) => (o.service_tier === 'priority' ? 2 : 1) *
  (o.models ? 10 : 1) * (o.speed === 'fast' ? 6 : 1);

/** A cache costs a quarter more of all input, or twice as much for an hour. */
const cacheFactor = (o) => {
  const text = JSON.stringify(o);
  return !text.includes('"cache_control"') ? 1
    : text.includes('"1h"') ? 2 : 1.25;
};

const text = 'so it goes ';

const bodyFor = (path, o, w, id) => {
  if (/responses/.test(path))
    return { id, object: 'response', created_at: 1, status: 'completed',
      model: o.model, error: null, incomplete_details: null,
      output: [{ id: 'msg_1', type: 'message', role: 'assistant',
        status: 'completed',
        content: [{ type: 'output_text', text, annotations: [] }] }],
      usage: { input_tokens: w.input, output_tokens: w.output,
        total_tokens: w.input + w.output } };
  if (/messages/.test(path))
    return { id, type: 'message', role: 'assistant', model: o.model,
      content: [{ type: 'text', text }], stop_reason: 'max_tokens',
      stop_sequence: null,
      usage: /"cache_control"/.test(JSON.stringify(o)) ? {
        input_tokens: 0, output_tokens: w.output, cache_read_input_tokens: 0,
        cache_creation_input_tokens: w.input, cache_creation: {
          ephemeral_1h_input_tokens: cacheFactor(o) === 2 ? w.input : 0 } }
        : { input_tokens: w.input, output_tokens: w.output } };
  if (/embeddings/.test(path))
    return { object: 'list', model: o.model,
      data: [{ object: 'embedding', index: 0, embedding: [0.5] }],
      usage: { prompt_tokens: w.input, total_tokens: w.input } };
  const choices = Array.from({ length: w.choices }, (_, index) => (
    { index, finish_reason: 'length', text,
      message: { role: 'assistant', content: text } }));
  return { id, object: 'chat.completion', created: 1, model: o.model, choices,
    usage: { prompt_tokens: w.input, completion_tokens: w.output,
      total_tokens: w.input + w.output } };
};

/** The same as chat events, <gap> tokens each. */
async function* eventsFor(o, w, id, { usage, silent, dense }, count) {
  const step = 50;
  const token = dense ? '7' : 'abcd';
  const chunk = (more) => ({ data: JSON.stringify({ id,
    object: 'chat.completion.chunk', created: 1, model: o.model, ...more }) });
  count({ input: w.input, output: 0 });
  for (let made = 0; made < w.output / w.choices; made += step)
    for (let index = 0; index < w.choices; index++) {
      const n = Math.min(step, w.output / w.choices - made);
      count({ input: 0, output: n });
      if (!silent) yield chunk({ choices: [{ index, finish_reason: null,
        delta: { role: 'assistant', content: token.repeat(n) } }] });
    }
  for (let index = 0; index < w.choices; index++)
    yield chunk({ choices: [{ index, finish_reason: 'length', delta: {} }] });
  if (usage && o.stream_options?.include_usage)
    yield chunk({ choices: [], usage: { prompt_tokens: w.input,
      completion_tokens: w.output, total_tokens: w.input + w.output } });
  yield { data: '[DONE]', done: true };
}

/**
 * Makes <up> answer everything that way.  Options: usage: false (it tells no
 * usage), over: n (it takes n times what its cap says), silent: true (it thinks
 * all that, and streams nothing of it), dense: true (each byte it streams is a
 * token), slowMs: n (its first byte comes so late).  Gives its books.
 */
export function greedy(up, options = {}) {
  const late = async function* (ops) {
    await new Promise((r) => setTimeout(r, options.slowMs));
    yield* ops;
  };
  const slow = (plan) => {
    if (options.slowMs) plan.transforms.push(late);
    return plan;
  };
  const { usage = true, over = 1 } = options;
  const books = { requests: 0, input: 0, output: 0, nusd: 0,
    get tokens() {
      return this.input + this.output;
    } };
  const count = (o) => ({ input, output }) => {
    books.input += input;
    books.output += output;
    books.nusd += factorOf(o) * 1000 * (output * GREEDY_PRICE.output +
      input * GREEDY_PRICE.input * cacheFactor(o));
  };
  up.script({ times: 1e9, match: (rec) => rec.method === 'POST',
    plan: (rec) => {
      const o = rec.json ?? {};
      const w = workOf(rec.path, o);
      w.output *= over;
      books.requests++;
      const id = up.nextId('greedy');
      if (o.stream && /completions/.test(rec.path))
        return slow(Plan.events(
          eventsFor(o, w, id, { ...options, usage }, count(o))));
      count(o)(w);
      const body = bodyFor(rec.path, o, w, id);
      if (!usage) delete body.usage;
      return slow(Plan.json(body));
    } });
  return books;
}
