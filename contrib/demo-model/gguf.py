"""Write the trained model as a GGUF v3 file: matrices in F16, the rest F32."""
import struct

import numpy as np

import bpe

TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + "
    "'<|im_end|>' + '\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}")

U32, F32, BOOL, STR, ARR, I32 = 4, 6, 7, 8, 9, 5


def text(s):
    b = s.encode()
    return struct.pack("<Q", len(b)) + b


def value(kind, v):
    if kind == U32:
        return struct.pack("<I", v)
    if kind == I32:
        return struct.pack("<i", v)
    if kind == F32:
        return struct.pack("<f", v)
    if kind == BOOL:
        return struct.pack("<?", v)
    return text(v)


def pair(key, kind, v, of=None):
    head = text(key) + struct.pack("<I", kind)
    if kind != ARR:
        return head + value(kind, v)
    return (head + struct.pack("<IQ", of, len(v)) +
            b"".join(value(of, e) for e in v))


def metadata(vocab, p):
    types = [3 if t in bpe.SPECIAL else 1 for t in vocab.tokens]
    return [
        pair("general.architecture", STR, "llama"),
        pair("general.name", STR, "tollgate demo"),
        pair("general.license", STR, "MIT"),
        pair("general.alignment", U32, 32),
        pair("llama.block_count", U32, p.LAYERS),
        pair("llama.context_length", U32, p.CONTEXT),
        pair("llama.embedding_length", U32, p.DIM),
        pair("llama.feed_forward_length", U32, p.FF),
        pair("llama.attention.head_count", U32, p.HEADS),
        pair("llama.attention.head_count_kv", U32, p.KV),
        pair("llama.attention.layer_norm_rms_epsilon", F32, p.EPS),
        pair("llama.rope.freq_base", F32, p.BASE),
        pair("llama.rope.dimension_count", U32, p.HEAD),
        pair("llama.vocab_size", U32, p.VOCAB),
        pair("tokenizer.ggml.model", STR, "gpt2"),
        pair("tokenizer.ggml.pre", STR, "gpt-2"),
        pair("tokenizer.ggml.tokens", ARR, vocab.tokens, STR),
        pair("tokenizer.ggml.token_type", ARR, types, I32),
        pair("tokenizer.ggml.merges", ARR,
             ["%s %s" % m for m in vocab.merges], STR),
        pair("tokenizer.ggml.bos_token_id", U32, 0),
        pair("tokenizer.ggml.eos_token_id", U32, 2),
        pair("tokenizer.ggml.add_bos_token", BOOL, False),
        pair("tokenizer.chat_template", STR, TEMPLATE)]


def tensors(model, p):
    w = {k: v.detach().numpy() for k, v in model.w.items()}
    yield "token_embd.weight", w["embed"]
    yield "output_norm.weight", w["norm"]
    names = [("attn_norm", "an"), ("attn_q", "q"), ("attn_k", "k"),
             ("attn_v", "v"), ("attn_output", "o"), ("ffn_norm", "fn"),
             ("ffn_gate", "g"), ("ffn_up", "u"), ("ffn_down", "d")]
    for i in range(p.LAYERS):
        for name, key in names:
            yield "blk.%d.%s.weight" % (i, name), w["%s%d" % (key, i)]


def write(path, model, vocab, p):
    pairs = metadata(vocab, p)
    heads, blobs, at = [], [], 0
    for name, a in tensors(model, p):
        half = a.ndim > 1
        data = a.astype(np.float16 if half else np.float32).tobytes()
        dims = a.shape[::-1]
        heads.append(text(name) + struct.pack("<I", len(dims)) +
                     b"".join(struct.pack("<Q", d) for d in dims) +
                     struct.pack("<IQ", 1 if half else 0, at))
        data += bytes(-len(data) % 32)
        blobs.append(data)
        at += len(data)
    out = struct.pack("<4sIQQ", b"GGUF", 3, len(heads), len(pairs))
    out += b"".join(pairs) + b"".join(heads)
    out += bytes(-len(out) % 32)
    with open(path, "wb") as f:
        f.write(out + b"".join(blobs))
