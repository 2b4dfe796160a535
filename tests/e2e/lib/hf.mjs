// Writes the model of gguf.mjs as a directory in the layout of Hugging Face:
// the same numbers, so that it says the same.

import fs from 'node:fs';
import path from 'node:path';

import { CONTEXT, SHAPE, TEMPLATE, VOCAB_TYPES, floatBytes, tensors,
  vocabulary } from './gguf.mjs';

const { D, HEADS, FF, KV_HEADS } = SHAPE;

const NAMES = {
  'token_embd.weight': 'model.embed_tokens.weight',
  'blk.0.attn_norm.weight': 'model.layers.0.input_layernorm.weight',
  'blk.0.attn_q.weight': 'model.layers.0.self_attn.q_proj.weight',
  'blk.0.attn_k.weight': 'model.layers.0.self_attn.k_proj.weight',
  'blk.0.attn_v.weight': 'model.layers.0.self_attn.v_proj.weight',
  'blk.0.attn_output.weight': 'model.layers.0.self_attn.o_proj.weight',
  'blk.0.ffn_norm.weight': 'model.layers.0.post_attention_layernorm.weight',
  'blk.0.ffn_gate.weight': 'model.layers.0.mlp.gate_proj.weight',
  'blk.0.ffn_up.weight': 'model.layers.0.mlp.up_proj.weight',
  'blk.0.ffn_down.weight': 'model.layers.0.mlp.down_proj.weight',
  'output_norm.weight': 'model.norm.weight',
  'output.weight': 'lm_head.weight',
};

/** Rotary pairs are neighbours in a GGUF of llama, and halves here. */
function pairsToHalves(a, cols) {
  const head = D / HEADS, half = head / 2;
  const out = new Float32Array(a.length);
  for (let row = 0; row < a.length / cols; row++) {
    const first = row - row % head;
    const from = first + 2 * (row % half) + Math.floor(row % head / half);
    out.set(a.subarray(from * cols, (from + 1) * cols), row * cols);
  }
  return out;
}

/** Tensors as Hugging Face has them: name, shape (outermost first), bytes. */
function hfTensors(seed, vocab, dtype) {
  return tensors(seed, vocab).map(([name, dims, data]) => [
    NAMES[name], [...dims].reverse(),
    floatBytes(dtype, /attn_[qk]/.test(name) ? pairsToHalves(data, dims[0])
      : data)]);
}

function writeShard(file, all, dtype) {
  const head = { __metadata__: { format: 'pt' } };
  let at = 0;
  for (const [name, shape, data] of all) {
    head[name] = { dtype, shape, data_offsets: [at, at + data.length] };
    at += data.length;
  }
  let text = JSON.stringify(head);
  text = text.padEnd(Math.ceil(text.length / 8) * 8);
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(text.length));
  fs.writeFileSync(file, Buffer.concat([length, Buffer.from(text),
    ...all.map((t) => t[2])]));
}

function writeWeights(put, dir, all, dtype, shards) {
  if (shards === 1) {
    writeShard(path.join(dir, 'model.safetensors'), all, dtype);
    return;
  }
  const parts = Array.from({ length: shards }, () => []);
  all.forEach((t, i) => parts[i % shards].push(t));
  const weight_map = {};
  parts.forEach((part, i) => {
    const number = (n) => String(n).padStart(5, '0');
    const name = `model-${number(i + 1)}-of-${number(shards)}.safetensors`;
    writeShard(path.join(dir, name), part, dtype);
    part.forEach((t) => (weight_map[t[0]] = name));
  });
  put('model.safetensors.index.json', { weight_map, metadata: {
    total_size: all.reduce((sum, t) => sum + t[2].length, 0) } });
}

/** Merges that make the tokens by the order of their scores. */
function mergesOf(vocab) {
  const id = new Map(vocab.map((t, i) => [t[0], i]));
  const merges = [];
  for (const [text, score, type] of vocab) {
    if (type !== VOCAB_TYPES.NORMAL) continue;
    const chars = [...text];
    for (let n = 1; n < chars.length; n++) {
      const pair = [chars.slice(0, n).join(''), chars.slice(n).join('')];
      if (pair.every((p) => id.has(p)))
        merges.push([score, id.get(pair[0]), pair]);
    }
  }
  merges.sort((a, b) => b[0] - a[0] || a[1] - b[1]);
  return merges.map((m) => m[2].join(' '));
}

/** tokenizer.json as those of Llama 2 are. */
function tokenizer(vocab) {
  const bar = '\u2581';
  const special = vocab.map((t, id) => ({ id, content: t[0], special: true,
    single_word: false, lstrip: false, rstrip: false, normalized: false }))
    .filter((t) => [VOCAB_TYPES.CONTROL, VOCAB_TYPES.UNKNOWN]
      .includes(vocab[t.id][2]));
  return {
    version: '1.0', truncation: null, padding: null, added_tokens: special,
    normalizer: { type: 'Sequence', normalizers: [
      { type: 'Prepend', prepend: bar },
      { type: 'Replace', pattern: { String: ' ' }, content: bar }] },
    pre_tokenizer: null,
    post_processor: { type: 'TemplateProcessing',
      single: [{ SpecialToken: { id: '<s>', type_id: 0 } },
        { Sequence: { id: 'A', type_id: 0 } }],
      pair: [{ SpecialToken: { id: '<s>', type_id: 0 } },
        { Sequence: { id: 'A', type_id: 0 } },
        { Sequence: { id: 'B', type_id: 1 } }],
      special_tokens: { '<s>': { id: '<s>', ids: [1], tokens: ['<s>'] } } },
    decoder: { type: 'Sequence', decoders: [
      { type: 'Replace', pattern: { String: bar }, content: ' ' },
      { type: 'ByteFallback' }, { type: 'Fuse' },
      { type: 'Strip', content: ' ', start: 1, stop: 0 }] },
    model: { type: 'BPE', dropout: null, unk_token: '<unk>',
      continuing_subword_prefix: null, end_of_word_suffix: null,
      fuse_unk: true, byte_fallback: true,
      vocab: Object.fromEntries(vocab.map((t, i) => [t[0], i])),
      merges: mergesOf(vocab) },
  };
}

/** Writes the model into a directory; options: seed, dtype, shards, config
 * (members of config.json), generation (of generation_config.json). */
export function writeHf(dir, { seed = 7, dtype = 'F32', shards = 1,
  config = {}, generation = {} } = {}) {
  const vocab = vocabulary();
  const end = vocab.findIndex((t) => t[0] === '<|im_end|>');
  const put = (name, v) =>
    fs.writeFileSync(path.join(dir, name), JSON.stringify(v, null, 2));
  fs.mkdirSync(dir, { recursive: true });
  writeWeights(put, dir, hfTensors(seed, vocab, dtype), dtype, shards);
  put('config.json', { architectures: ['LlamaForCausalLM'],
    model_type: 'llama', attention_bias: false, attention_dropout: 0.0,
    bos_token_id: 1, eos_token_id: 2, hidden_act: 'silu', hidden_size: D,
    initializer_range: 0.02, intermediate_size: FF,
    max_position_embeddings: CONTEXT, mlp_bias: false,
    num_attention_heads: HEADS, num_hidden_layers: 1,
    num_key_value_heads: KV_HEADS, pretraining_tp: 1, rms_norm_eps: 1e-5,
    rope_scaling: null, rope_theta: 10000.0, tie_word_embeddings: false,
    torch_dtype: { F32: 'float32', F16: 'float16', BF16: 'bfloat16' }[dtype],
    transformers_version: '4.51.3', use_cache: true,
    vocab_size: vocab.length, ...config });
  put('generation_config.json', { _from_model_config: true, bos_token_id: 1,
    eos_token_id: [2, end], do_sample: true, ...generation });
  put('tokenizer.json', tokenizer(vocab));
  put('tokenizer_config.json', { add_bos_token: true, add_eos_token: false,
    bos_token: '<s>', eos_token: '<|im_end|>', unk_token: '<unk>',
    pad_token: null, legacy: true, clean_up_tokenization_spaces: false,
    model_max_length: 1e30, tokenizer_class: 'LlamaTokenizer',
    chat_template: TEMPLATE });
  return dir;
}
