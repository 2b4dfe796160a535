// Requests of every dialect with every field that has a meaning, and the ways
// to change them one field at a time or to say the same in other words.

const tool = {
  type: 'function',
  function: {
    name: 'find', description: 'finds', strict: false,
    parameters: {
      type: 'object', required: ['what'],
      properties: { what: { type: 'string' }, user: { type: 'integer' } },
    },
  },
};

const schema = {
  type: 'json_schema',
  json_schema: {
    name: 'answer', strict: true, description: 'd',
    schema: { type: 'object', properties: { id: { type: 'string' } } },
  },
};

/** By route: a body whose every leaf counts, but for SILENT. */
export const BODIES = {
  '/v1/chat/completions': {
    model: 'demo',
    messages: [
      { role: 'system', content: 'be brief' },
      { role: 'user', name: 'ann', content: [
        { type: 'text', text: 'what is this' },
        { type: 'image_url', image_url: { url: 'data:image/png;base64,AA==',
          detail: 'low' } }] },
      { role: 'assistant', content: 'a thing', refusal: null, tool_calls: [
        { id: 'call_1', type: 'function',
          function: { name: 'find', arguments: '{"what":"it"}' } }] },
      { role: 'tool', tool_call_id: 'call_1', content: 'found' },
    ],
    tools: [tool], tool_choice: 'auto', parallel_tool_calls: true,
    response_format: schema, temperature: 0.5, top_p: 0.9, n: 2, seed: 7,
    stop: ['zzz'], max_completion_tokens: 50, presence_penalty: 0.1,
    frequency_penalty: 0.2, logit_bias: { 50256: -100 }, logprobs: false,
    reasoning_effort: 'low', verbosity: 'high', modalities: ['text'],
    service_tier: 'auto', store: false, prompt_cache_retention: '24h',
    prediction: { type: 'content', content: 'p' }, cache_salt: 'salt',
    top_k: 4, min_p: 0.05, chat_template_kwargs: { enable_thinking: false },
    user: 'u', metadata: { a: 'b' }, safety_identifier: 's',
    prompt_cache_key: 'k', client_metadata: { turn: { id: 1 } },
  },
  '/v1/completions': {
    model: 'demo', prompt: ['one', 'two'], max_tokens: 16, echo: false,
    suffix: 's', n: 1, stop: 'zzz', temperature: 0.2, top_p: 1, seed: 3,
    best_of: 1, logit_bias: { 1: 2 }, presence_penalty: 0, user: 'u',
  },
  '/v1/embeddings': {
    model: 'demo', input: ['a', 'b'], encoding_format: 'float',
    dimensions: 8, input_type: 'query', user: 'u',
  },
  '/v1/responses': {
    model: 'demo', instructions: 'be kind',
    input: [
      { type: 'message', id: 'msg_1', role: 'user', content: [
        { type: 'input_text', text: 'hello' }] },
      { type: 'function_call', id: 'fc_1', call_id: 'call_1', name: 'find',
        arguments: '{}' },
      { type: 'function_call_output', id: 'fo_1', call_id: 'call_1',
        output: 'o' },
    ],
    max_output_tokens: 64, temperature: 0.3, top_p: 0.9, truncation: 'auto',
    tools: [{ type: 'function', name: 'find', parameters: {}, strict: true }],
    tool_choice: 'auto', parallel_tool_calls: false, store: false,
    text: { format: { type: 'text' }, verbosity: 'low' },
    reasoning: { effort: 'low', summary: 'auto' },
    include: ['reasoning.encrypted_content'], service_tier: 'auto',
    metadata: { a: 'b' }, user: 'u', prompt_cache_key: 'k',
    safety_identifier: 's', client_metadata: { x: 'y' },
  },
  '/v1/messages': {
    model: 'claude', max_tokens: 64,
    system: [{ type: 'text', text: 'be kind',
      cache_control: { type: 'ephemeral', ttl: '5m' } }],
    messages: [
      { role: 'user', content: [{ type: 'text', text: 'hello' }] },
      { role: 'assistant', content: [{ type: 'tool_use', id: 'toolu_1',
        name: 'find', input: { what: 'x', id: 3 } }] },
      { role: 'user', content: [{ type: 'tool_result',
        tool_use_id: 'toolu_1', content: 'r', is_error: false }] },
    ],
    tools: [{ name: 'find', description: 'd',
      input_schema: { type: 'object' } }],
    tool_choice: { type: 'auto', disable_parallel_tool_use: true },
    stop_sequences: ['zzz'], temperature: 0.4, top_p: 0.8, top_k: 5,
    thinking: { type: 'disabled' }, output_config: { effort: 'low' },
    service_tier: 'auto', metadata: { user_id: 'u' },
  },
  '/v1/messages/count_tokens': {
    model: 'claude', system: 'be kind',
    messages: [{ role: 'user', content: 'hello' }],
  },
  '/v1/moderations': { model: 'demo', input: ['one', 'two'] },
  '/v1/rerank': { model: 'demo', query: 'q', documents: ['a', 'b'], top_n: 1,
    return_documents: true },
  '/v1/score': { model: 'demo', text_1: 'a', text_2: ['b', 'c'] },
};

/** Members that say nothing, and ids of items that bring their content. */
const SILENT = /^(user|metadata|client_metadata|prompt_cache_key|safety_identifier)(\.|$)|^input\.\d+\.id$/;

export const isSilent = (path) => SILENT.test(path);

const other = (v) => {
  if (typeof v === 'string') return `${v}x`;
  if (typeof v === 'number') return Number.isInteger(v) ? v + 1 : v / 2;
  if (typeof v === 'boolean') return !v;
  return 'not null';
};

/** Every leaf of a body: [path, the body with another value there]. */
export function* changed(body, top = body, path = []) {
  for (const k of Object.keys(body)) {
    const v = body[k];
    const here = [...path, k];
    if (v !== null && typeof v === 'object') {
      yield* changed(v, top, here);
      continue;
    }
    const copy = structuredClone(top);
    let at = copy;
    for (const step of path) at = at[step];
    at[k] = other(v);
    yield [here.join('.'), copy];
  }
}

/** Every member of the top: [name, the body without it]. */
export function* without(body) {
  for (const k of Object.keys(body)) {
    if (k === 'model') continue;
    const copy = { ...body };
    delete copy[k];
    yield [k, copy];
  }
}

const escaped = (s) => `"${[...s].map((c) => c.charCodeAt(0) < 128
  ? `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}` : c).join('')}"`;

/** A body in other words: members the other way round, white space, escapes,
 * other forms of the numbers. */
export function reworded(v) {
  if (Array.isArray(v)) return `[ ${v.map(reworded).join(' ,\n')} ]`;
  if (typeof v === 'string') return escaped(v);
  if (typeof v === 'number')
    return Number.isInteger(v) ? `${v}.0e0` : `${v * 1000}e-3`;
  if (v === null || typeof v === 'boolean') return String(v);
  const members = Object.entries(v).reverse()
    .map(([k, x]) => `\t${escaped(k)} : ${reworded(x)}`);
  return `{\r\n${members.join(' ,')}\n}`;
}
