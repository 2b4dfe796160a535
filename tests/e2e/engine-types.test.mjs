// Every field that the built-in engine reads, sent with a value of every JSON
// type: what is not of the field's type is 400 with the field's path.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { startEngine } from './lib/engine.mjs';

let rig;
before(async () => { rig = await startEngine(); });
after(() => rig?.close());

const VALUES = { null: null, true: true, int: 5, neg: -1, real: 1.5, empty: '',
  text: 'x', list: [], obj: {} };

/** A copy of <body> with <value> at <path>: "messages[0].role". */
function put(body, path, value) {
  const copy = structuredClone(body);
  const steps = path.split(/[.[\]]+/).filter(Boolean);
  const last = steps.pop();
  let at = copy;
  steps.forEach((s, i) => {
    at = at[s] ??= /^\d+$/.test(steps[i + 1] ?? last) ? [] : {};
  });
  at[last] = value;
  return copy;
}

/** Sends every value at <path>. <ok>: names of values that are taken; <params>:
 * what is at fault instead of the path, by the value's name. */
async function check(url, body, path, ok, params = {}) {
  for (const [name, value] of Object.entries(VALUES)) {
    const r = await rig.fetch(url, { json: put(body, path, value) });
    const said = await r.text();
    const what = `${url} ${path}: ${JSON.stringify(value)}: ${r.status} ${said}`;
    if (ok.includes(name)) {
      assert.equal(r.status, 200, what);
      continue;
    }
    assert.equal(r.status, 400, what);
    const { error } = JSON.parse(said);
    const param = params[name] ?? path;
    assert.equal(error.type, 'invalid_request_error', what);
    assert.equal(error.param, param, what);
    assert.ok(error.message.includes(param.split('.').pop()), what);
    assert.doesNotMatch(error.message, /JSON:|internal|\(null\)/, what);
  }
}

const STRING = ['null', 'empty', 'text'];
const BOOL = ['null', 'true'];
const OBJECT = ['null', 'obj'];
const LIST = ['null', 'list'];
const NULL = ['null'];

const SAMPLING = [
  ['temperature', ['null', 'real']], ['top_p', NULL], ['min_p', NULL],
  ['top_k', ['null', 'int', 'neg']], ['presence_penalty', ['null', 'neg', 'real']],
  ['frequency_penalty', ['null', 'neg', 'real']],
  ['repetition_penalty', ['null', 'int', 'real']],
  ['repeat_penalty', ['null', 'int', 'real']],
  ['seed', ['null', 'int', 'neg']], ['stop', ['null', 'text', 'list']],
  ['stop_token_ids', LIST], ['logit_bias', OBJECT],
  ['max_tokens', ['null', 'int']], ['min_tokens', NULL], ['n', ['null', 'int']],
  ['ignore_eos', BOOL], ['skip_special_tokens', BOOL],
  ['cache_salt', ['null', 'text']], ['stream', BOOL], ['stream_options', OBJECT],
  ['stream_options.include_usage', BOOL],
  ['stream_options.include_obfuscation', BOOL],
  ['response_format', NULL, { obj: 'response_format.type' }],
  ['response_format.type', []], ['guided_json', OBJECT], ['json_schema', OBJECT],
  ['stop[0]', ['text']], ['suffix', ['null', 'empty']],
  ['grammar', ['null', 'empty']], ['guided_regex', ['null', 'empty']],
  ['guided_grammar', ['null', 'empty']], ['guided_choice', LIST],
  ['structured_outputs', NULL], ['use_beam_search', NULL],
  ['prompt_logprobs', NULL],
];

const ANY = [
  ['user', STRING], ['safety_identifier', STRING], ['prompt_cache_key', STRING],
  ['prompt_cache_retention', STRING], ['service_tier', STRING],
  ['verbosity', STRING], ['store', BOOL], ['metadata', OBJECT],
  ['prediction', OBJECT], ['unknown', Object.keys(VALUES)],
];

const TOOL = { type: 'function', function: { name: 'f' } };
const CALL = { id: 'c', type: 'function',
  function: { name: 'f', arguments: '{"a": 1}' } };
const CHAT = { model: 'demo', max_tokens: 1,
  messages: [{ role: 'user', content: 'hi' }] };

describe('types of fields', () => {
  const each = (name, url, body, rows) => test(name, async () => {
    for (const row of rows) await check(url, body, ...row);
  });

  each('chat, how to answer', '/v1/chat/completions', CHAT, [...SAMPLING, ...ANY,
    ['max_completion_tokens', ['null', 'int']], ['logprobs', BOOL],
    ['top_logprobs', NULL], ['tools', LIST],
    ['tool_choice', NULL, { obj: 'tool_choice.type' }],
    ['parallel_tool_calls', BOOL], ['chat_template_kwargs', OBJECT],
    ['enable_thinking', BOOL], ['reasoning_effort', STRING],
    ['add_generation_prompt', BOOL], ['modalities', LIST], ['audio', NULL],
    ['modalities[0]', [], { empty: 'modalities', text: 'modalities' }],
    ['functions', LIST],
    ['function_call', ['null', 'empty']], ['web_search_options', NULL],
    ['continue_final_message', NULL],
  ]);

  each('chat, messages', '/v1/chat/completions', CHAT, [
    ['messages', []], ['messages[0]', [], { obj: 'messages[0].role' }],
    ['messages[0].role', []], ['messages[0].name', STRING],
    ['messages[0].content', ['empty', 'text', 'list']],
    ['messages[0].refusal', STRING], ['messages[0].tool_calls', LIST],
    ['messages[0].tool_call_id', STRING], ['messages[0].function_call', NULL]]);

  each('chat, parts of a message', '/v1/chat/completions', put(CHAT, 'messages', [
    { role: 'user', content: [{ type: 'text', text: 'hi' }] }]), [
    ['messages[0].content[0]', [], { obj: 'messages[0].content[0].type' }],
    ['messages[0].content[0].type', []],
    ['messages[0].content[0].text', ['empty', 'text']]]);

  each('chat, calls', '/v1/chat/completions', put(CHAT, 'messages', [
    { role: 'user', content: 'hi' },
    { role: 'assistant', content: null, tool_calls: [CALL] },
    { role: 'tool', tool_call_id: 'c', content: 'ok' }]), [
    ['messages[1].content', ['null', 'empty', 'text', 'list']],
    ['messages[1].tool_calls[0]', [],
      { obj: 'messages[1].tool_calls[0].function' }],
    ['messages[1].tool_calls[0].id', STRING],
    ['messages[1].tool_calls[0].type', STRING],
    ['messages[1].tool_calls[0].function', [],
      { obj: 'messages[1].tool_calls[0].function.name' }],
    ['messages[1].tool_calls[0].function.name', ['empty', 'text']],
    ['messages[1].tool_calls[0].function.arguments', ['empty', 'text', 'obj']],
    ['messages[2].tool_call_id', ['empty', 'text']],
    ['messages[2].content', ['empty', 'text', 'list']]]);

  each('chat, tools', '/v1/chat/completions', { ...CHAT, tools: [TOOL] }, [
    ['tools[0]', [], { obj: 'tools[0].type' }], ['tools[0].type', []],
    ['tools[0].function', [], { obj: 'tools[0].function.name' }],
    ['tools[0].function.name', ['text']],
    ['tools[0].function.description', STRING],
    ['tools[0].function.parameters', OBJECT],
    ['tools[0].function.strict', BOOL],
    ['tool_choice', NULL, { obj: 'tool_choice.type' }],
    ['tool_choice.type', []]]);

  each('chat, a named tool', '/v1/chat/completions', { ...CHAT, tools: [TOOL],
    tool_choice: { type: 'function', function: { name: 'f' } } }, [
    ['tool_choice.function', [], { obj: 'tool_choice.function.name' }],
    ['tool_choice.function.name', [],
      { empty: 'tool_choice', text: 'tool_choice' }]]);

  each('chat, allowed tools', '/v1/chat/completions', { ...CHAT, tools: [TOOL],
    tool_choice: { type: 'allowed_tools',
      allowed_tools: { mode: 'auto', tools: [TOOL] } } }, [
    ['tool_choice.allowed_tools', [], { obj: 'tool_choice.allowed_tools.mode' }],
    ['tool_choice.allowed_tools.mode', [],
      { empty: 'tool_choice', text: 'tool_choice' }],
    ['tool_choice.allowed_tools.tools', ['list']],
    ['tool_choice.allowed_tools.tools[0]', [],
      { obj: 'tool_choice.allowed_tools.tools' }]]);

  each('chat, a schema', '/v1/chat/completions', { ...CHAT, response_format: {
    type: 'json_schema', json_schema: { name: 'n', schema: { type: 'null' } } } }, [
    ['response_format.json_schema', [],
      { obj: 'response_format.json_schema.name' }],
    ['response_format.json_schema.name', ['text']],
    ['response_format.json_schema.description', STRING],
    ['response_format.json_schema.strict', BOOL],
    ['response_format.json_schema.schema', ['null', 'true', 'obj']]]);

  const text = { model: 'demo', prompt: 'the cat', max_tokens: 1 };
  each('completions', '/v1/completions', text, [...SAMPLING, ...ANY,
    ['prompt', ['empty', 'text']], ['logprobs', ['null', 'int']],
    ['echo', BOOL], ['best_of', ['null', 'int']]]);

  each('embeddings', '/v1/embeddings', { model: 'demo', input: 'the cat' }, [
    ...ANY, ['input', ['text']], ['encoding_format', NULL],
    ['dimensions', NULL]]);

  each('tokenize, a text', '/tokenize', { content: 'the cat' }, [...ANY,
    ['content', ['empty', 'text'], { null: 'content' }],
    ['add_special', BOOL], ['add_special_tokens', BOOL], ['with_pieces', BOOL],
    ['parse_special', BOOL], ['return_token_strs', BOOL]]);

  each('tokenize, a prompt', '/tokenize', { prompt: 'the cat' }, [
    ['prompt', ['empty', 'text'], { null: 'content' }],
    ['content', STRING], ['add_special_tokens', BOOL]]);

  each('tokenize, messages', '/tokenize', { messages: CHAT.messages }, [
    ['messages', [], { null: 'content' }], ['content', STRING],
    ['prompt', STRING], ['add_special_tokens', BOOL],
    ['add_generation_prompt', BOOL], ['tools', LIST],
    ['chat_template_kwargs', OBJECT]]);

  each('detokenize', '/detokenize', { tokens: [300] }, [...ANY,
    ['tokens', ['list']], ['tokens[0]', ['int']]]);
});

describe('the model of a request', () => {
  test('is a string', async () => {
    for (const value of [true, 5, -1, 1.5, [], {}]) {
      const r = await rig.fetch('/v1/chat/completions', {
        json: { ...CHAT, model: value } });
      assert.equal(r.status, 400);
      assert.equal((await r.json()).error.param, 'model');
    }
  });
});

/** A request with a body as it is written. */
const raw = (url, body) => rig.fetch(url, { method: 'POST', body,
  headers: { 'content-type': 'application/json' } });

const chatWith = (more) =>
  `{"model":"demo","messages":[{"role":"user","content":"hi"}],${
    more.includes('max_tokens') ? '' : '"max_tokens":1,'}${more}}`;

describe('numbers of a request', () => {
  test('a seed is any integer of the API', async () => {
    for (const seed of ['9223372036854775807', '-9223372036854775808',
      '9223372036854776000', '-9223372036854776000', '1e3', '7.0'])
      assert.equal((await raw('/v1/chat/completions',
        chatWith(`"seed":${seed}`))).status, 200, seed);
  });

  test('one that is too big is out of a range that is told', async () => {
    const big = '9'.repeat(1000);
    for (const [field, number, words] of [
      ['seed', '18446744073709551615', /from -9223372036854775808 to 9223372036854775807/],
      ['max_tokens', '99999999999999999999', /from 1 to 2147483647/],
      ['max_tokens', big, /from 1 to 2147483647/],
      ['max_tokens', `-${big}`, /from 1 to 2147483647/],
      ['top_k', big, /from -1 to/], ['n', big, /from 1 to 128/],
      ['temperature', big, /from 0 to 2/], ['temperature', '1e400', /from 0 to 2/],
      ['stop_token_ids', `[${big}]`, /token id from 0 to/],
      ['logit_bias', `{"1":${big}}`, /-100 to 100/]]) {
      const r = await raw('/v1/chat/completions', chatWith(`"${field}":${number}`));
      const { error } = await r.json();
      assert.equal(r.status, 400, field);
      assert.match(error.param, new RegExp(`^${field}(\\.1|\\[0\\])?$`));
      assert.match(error.message, words);
    }
  });

  test('where nobody counts they are taken', async () => {
    const big = '9'.repeat(1000);
    const schema = (s) => `"response_format":{"type":"json_schema","json_schema":{
      "name":"n","schema":${s}}}`;
    for (const more of [`"unknown":${big}`, `"metadata":{"a":-${big}}`,
      schema(`{"type":"integer","maximum":${big},"minimum":-${big}}`),
      schema('{"type":"integer","minimum":0,"maximum":18446744073709551615}'),
      schema(`{"type":"string","maxLength":${big}}`),
      schema(`{"enum":[1,18446744073709551615,-${big}]}`),
      `"tools":[{"type":"function","function":{"name":"f","parameters":{
        "type":"object","properties":{"a":{"type":"integer","maximum":${big}}}}}}]`,
      `"chat_template_kwargs":{"a":${big}}`]) {
      const r = await raw('/v1/chat/completions', chatWith(more));
      assert.equal(r.status, 200, `${more.slice(0, 60)}: ${await r.text()}`);
    }
  });
});

describe('a body that could be read in two ways', () => {
  test('is refused at any depth, with the path', async () => {
    for (const [more, param] of [
      ['"user":"a","user":"b"', 'user'],
      ['"metadata":{"a":"1","a":"2"}', 'metadata.a'],
      ['"metadata":{"a":"1","\\u0061":"2"}', 'metadata.a'],
      ['"unknown":[{},{"b":{"c":1,"d":2,"c":3}}]', 'unknown[1].b.c'],
      ['"tools":[{"type":"function","function":{"name":"f","name":"g"}}]',
        'tools[0].function.name']]) {
      const r = await raw('/v1/chat/completions', chatWith(more));
      const { error } = await r.json();
      assert.equal(r.status, 400, more);
      assert.equal(error.type, 'invalid_request_error');
      assert.equal(error.param, param);
      assert.match(error.message, /ambiguous member at byte \d+: duplicate key/);
    }
    const twice = await raw('/v1/chat/completions',
      '{"model":"demo","messages":[{"role":"user","content":"a","content":"b"}]}');
    assert.equal((await twice.json()).error.param, 'messages[0].content');
    const tokens = await raw('/tokenize', '{"content":"a","x":{"y":1,"y":1}}');
    assert.equal((await tokens.json()).error.param, 'x.y');
  });

  test('half of a surrogate pair is text', async () => {
    const r = await raw('/tokenize', '{"content":"a\\ud800b"}');
    assert.equal(r.status, 200);
    const { tokens } = await r.json();
    const back = await rig.fetch('/detokenize', { json: { tokens } });
    assert.equal((await back.json()).content, 'a\ufffdb');
  });
});
