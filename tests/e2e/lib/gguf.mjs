// Writes a small model of random weights, so that the engine can be tested
// wherever the sources are: a Llama of one layer with an SPM vocabulary of
// letters, words and the signs of JSON, and a chat template with tools.

import fs from 'node:fs';

import { prng } from './prng.mjs';

const U32 = 4, I32 = 5, F32 = 6, STRING = 8, ARRAY = 9;
const D = 32, HEADS = 4, FF = 64;
export const CONTEXT = 1536;

const NORMAL = 1, UNKNOWN = 2, CONTROL = 3, BYTE = 6;

/** The template: ChatML, with tools told and called as Hermes models do. */
export const TEMPLATE = `{%- if tools %}{{- '<|im_start|>system\\n' }}
{%- if messages[0].role == 'system' %}{{- messages[0].content + '\\n' }}{%- endif %}
{{- 'tools: <tools>' }}
{%- for tool in tools %}{{- '\\n' }}{{- tool | tojson }}{%- endfor %}
{{- '\\n</tools> answer <tool_call>\\n{"name": f, "arguments": {}}\\n</tool_call><|im_end|>\\n' }}
{%- elif messages[0].role == 'system' %}{{- '<|im_start|>system\\n' + messages[0].content + '<|im_end|>\\n' }}
{%- endif %}
{%- for message in messages %}
{%- if message.role == 'assistant' and message.tool_calls %}{{- '<|im_start|>assistant' }}
{%- if message.content %}{{- '\\n' + message.content }}{%- endif %}
{%- for call in message.tool_calls %}{{- '\\n<tool_call>\\n{"name": "' + call.function.name + '", "arguments": ' }}{{- call.function.arguments | tojson }}{{- '}\\n</tool_call>' }}{%- endfor %}
{{- '<|im_end|>\\n' }}
{%- elif message.role == 'tool' %}{{- '<|im_start|>user\\n<tool_response>\\n' + message.content + '\\n</tool_response><|im_end|>\\n' }}
{%- elif message.role == 'user' or message.role == 'assistant' or not loop.first %}{{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}
{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}`;

/** Types of weights: number in a GGUF file, and bytes of floats in it. */
const TYPES = {
  F32: { number: 0, bytes: (a) => Buffer.from(a.buffer) },
  F16: { number: 1, bytes: (a) => halves(a, toF16) },
  BF16: { number: 30, bytes: (a) => halves(a, toBf16) },
};

const bits = new DataView(new ArrayBuffer(4));

function bitsOf(v) {
  bits.setFloat32(0, v);
  return bits.getUint32(0);
}

/* To nearest, ties to even; the numbers here are neither huge nor NaN. */
function toBf16(v) {
  const b = bitsOf(v);
  return (b + 0x7fff + ((b >>> 16) & 1)) >>> 16;
}

function toF16(v) {
  const b = bitsOf(v);
  const sign = (b >>> 16) & 0x8000;
  const exponent = ((b >>> 23) & 0xff) - 112;
  if (exponent <= 0) {
    const n = Math.abs(v) * 2 ** 24;
    const low = Math.floor(n);
    const up = n - low > 0.5 || (n - low === 0.5 && low % 2 === 1);
    return sign | (low + (up ? 1 : 0));
  }
  const whole = (exponent << 23) | (b & 0x7fffff);
  return sign | ((whole + 0xfff + ((whole >>> 13) & 1)) >>> 13);
}

function halves(a, convert) {
  const out = Buffer.alloc(a.length * 2);
  a.forEach((v, i) => out.writeUInt16LE(convert(v), i * 2));
  return out;
}

/** Floats as the bytes of a type. */
export const floatBytes = (dtype, a) => TYPES[dtype].bytes(a);

export const SHAPE = { D, HEADS, FF, KV_HEADS: HEADS / 2 };

/** Token texts, scores and types, in the order of their ids. */
export function vocabulary() {
  const all = [['<unk>', 0, UNKNOWN], ['<s>', 0, CONTROL], ['</s>', 0, CONTROL]];
  for (let b = 0; b < 256; b++)
    all.push([`<0x${b.toString(16).toUpperCase().padStart(2, '0')}>`, 0, BYTE]);
  all.push(['<|im_start|>', 0, CONTROL], ['<|im_end|>', 0, CONTROL]);
  const chars = '\u2581abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ' +
    '0123456789{}[]":,.<>/_-+=!?\n\'()|';
  const words = ['\u2581the', '\u2581and', '\u2581cat', '\u2581dog', '\u2581red',
    '\u2581sun', '\u2581ran', '\u2581to', '\u2581a', 'he', 'in', 'er', 'on'];
  let rank = 0;
  for (const c of chars) all.push([c, -1000 - rank++, NORMAL]);
  /* A word is merged letter by letter, so its beginnings are tokens, too. */
  for (const w of words)
    for (let n = 2; n <= w.length; n++)
      if (!all.some((t) => t[0] === w.slice(0, n)))
        all.push([w.slice(0, n), -10 - rank++, NORMAL]);
  return all;
}

class Writer {
  parts = [];
  size = 0;

  bytes(b) {
    this.parts.push(b);
    this.size += b.length;
  }

  number(size, put, v) {
    const b = Buffer.alloc(size);
    b[put](v);
    this.bytes(b);
  }

  u32(v) {
    this.number(4, 'writeUInt32LE', v);
  }

  u64(v) {
    this.number(8, 'writeBigUInt64LE', BigInt(v));
  }

  string(s) {
    const b = Buffer.from(s);
    this.u64(b.length);
    this.bytes(b);
  }

  value(type, v) {
    if (type === STRING) this.string(v);
    else if (type === F32) this.number(4, 'writeFloatLE', v);
    else if (type === I32) this.number(4, 'writeInt32LE', v);
    else this.u32(v);
  }

  pair(key, type, v) {
    this.string(key);
    this.u32(type);
    this.value(type, v);
  }

  list(key, type, all) {
    this.string(key);
    this.u32(ARRAY);
    this.u32(type);
    this.u64(all.length);
    for (const v of all) this.value(type, v);
  }
}

/** Rows of floats with a normal-like spread; scale may depend on the row. */
function floats(next, rows, cols, scale) {
  const a = new Float32Array(rows * cols);
  for (let r = 0; r < rows; r++)
    for (let c = 0; c < cols; c++)
      a[r * cols + c] = (next() + next() + next() - 1.5) *
        (typeof scale === 'function' ? scale(r) : scale);
  return a;
}

const ones = (n) => new Float32Array(n).fill(1);

export const VOCAB_TYPES = { NORMAL, UNKNOWN, CONTROL, BYTE };

/** Tensors: name, dimensions as GGUF has them (innermost first), data. */
export function tensors(seed, vocab) {
  const next = prng(seed);
  const n = vocab.length;
  /* Bytes and control tokens are unlikely, so that what comes is text. */
  const likely = (r) => (vocab[r][2] === NORMAL ? 3 : 0.01);
  const kv = D / 2;
  return [
    ['token_embd.weight', [D, n], floats(next, n, D, 1)],
    ['blk.0.attn_norm.weight', [D], ones(D)],
    ['blk.0.attn_q.weight', [D, D], floats(next, D, D, 0.3)],
    ['blk.0.attn_k.weight', [D, kv], floats(next, kv, D, 0.3)],
    ['blk.0.attn_v.weight', [D, kv], floats(next, kv, D, 0.5)],
    ['blk.0.attn_output.weight', [D, D], floats(next, D, D, 0.5)],
    ['blk.0.ffn_norm.weight', [D], ones(D)],
    ['blk.0.ffn_gate.weight', [D, FF], floats(next, FF, D, 0.4)],
    ['blk.0.ffn_up.weight', [D, FF], floats(next, FF, D, 0.4)],
    ['blk.0.ffn_down.weight', [FF, D], floats(next, D, FF, 0.4)],
    ['output_norm.weight', [D], ones(D)],
    ['output.weight', [D, n], floats(next, n, D, likely)],
  ];
}

function metadata(w, vocab, template) {
  w.pair('general.architecture', STRING, 'llama');
  w.pair('general.name', STRING, 'tiny');
  w.pair('llama.context_length', U32, CONTEXT);
  w.pair('llama.embedding_length', U32, D);
  w.pair('llama.block_count', U32, 1);
  w.pair('llama.feed_forward_length', U32, FF);
  w.pair('llama.attention.head_count', U32, HEADS);
  w.pair('llama.attention.head_count_kv', U32, HEADS / 2);
  w.pair('llama.attention.layer_norm_rms_epsilon', F32, 1e-5);
  w.pair('llama.rope.dimension_count', U32, D / HEADS);
  w.pair('tokenizer.ggml.model', STRING, 'llama');
  w.list('tokenizer.ggml.tokens', STRING, vocab.map((t) => t[0]));
  w.list('tokenizer.ggml.scores', F32, vocab.map((t) => t[1]));
  w.list('tokenizer.ggml.token_type', I32, vocab.map((t) => t[2]));
  w.pair('tokenizer.ggml.unknown_token_id', U32, 0);
  w.pair('tokenizer.ggml.bos_token_id', U32, 1);
  w.pair('tokenizer.ggml.eos_token_id', U32,
    vocab.findIndex((t) => t[0] === '<|im_end|>'));
  if (template) {
    w.pair('tokenizer.chat_template', STRING, template);
    return 18;
  }
  return 17;
}

/** Writes the model to a file; options: seed, template ('' for none), dtype
 * of the matrices. */
export function writeModel(file, { seed = 7, template = TEMPLATE,
  dtype = 'F32' } = {}) {
  const vocab = vocabulary();
  const all = tensors(seed, vocab).map(([name, dims, data]) => {
    const type = dims.length > 1 ? dtype : 'F32';
    return [name, dims, floatBytes(type, data), TYPES[type].number];
  });
  const meta = new Writer();
  const pairs = metadata(meta, vocab, template);
  const w = new Writer();
  const align = (n) => Math.ceil(n / 32) * 32;
  let offset = 0;
  w.bytes(Buffer.from('GGUF'));
  w.u32(3);
  w.u64(all.length);
  w.u64(pairs);
  meta.parts.forEach((p) => w.bytes(p));
  for (const [name, dims, data, type] of all) {
    w.string(name);
    w.u32(dims.length);
    dims.forEach((d) => w.u64(d));
    w.u32(type);
    w.u64(offset);
    offset += align(data.byteLength);
  }
  w.bytes(Buffer.alloc(align(w.size) - w.size));
  for (const [, , data] of all) {
    w.bytes(data);
    w.bytes(Buffer.alloc(align(data.byteLength) - data.byteLength));
  }
  fs.writeFileSync(file, Buffer.concat(w.parts));
  return file;
}
