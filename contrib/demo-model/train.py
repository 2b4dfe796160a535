"""Train the demo model and write it as GGUF: train.py OUT.gguf [MINUTES]."""
import os
import sys
import time

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
import torch
import torch.nn.functional as F

import bpe
import corpus
import gguf

SEED = 20
VOCAB, DIM, LAYERS, HEADS, KV, FF = 2048, 128, 6, 4, 2, 384
HEAD = DIM // HEADS
CONTEXT, BASE, EPS = 512, 10000.0, 1e-5
STEPS, ROWS, LEN, RATE = 2600, 8, 192, 3e-3


class Model(torch.nn.Module):
    """Llama: RMSNorm, rotary pairs of neighbours, grouped queries, SwiGLU."""

    def __init__(self):
        super().__init__()
        g = torch.Generator().manual_seed(SEED)

        def matrix(n_out, n_in, scale=1.0):
            w = torch.randn(n_out, n_in, generator=g) * scale * n_in ** -0.5
            return torch.nn.Parameter(w)

        self.w = torch.nn.ParameterDict()
        self.w["embed"] = torch.nn.Parameter(
            torch.randn(VOCAB, DIM, generator=g) * 0.05)
        out = (2 * LAYERS) ** -0.5
        for i in range(LAYERS):
            self.w["an%d" % i] = torch.nn.Parameter(torch.ones(DIM))
            self.w["q%d" % i] = matrix(DIM, DIM)
            self.w["k%d" % i] = matrix(KV * HEAD, DIM)
            self.w["v%d" % i] = matrix(KV * HEAD, DIM)
            self.w["o%d" % i] = matrix(DIM, DIM, out)
            self.w["fn%d" % i] = torch.nn.Parameter(torch.ones(DIM))
            self.w["g%d" % i] = matrix(FF, DIM)
            self.w["u%d" % i] = matrix(FF, DIM)
            self.w["d%d" % i] = matrix(DIM, FF, out)
        self.w["norm"] = torch.nn.Parameter(torch.ones(DIM))
        at = torch.arange(CONTEXT).double()[:, None]
        turn = at * BASE ** (-torch.arange(0, HEAD, 2).double() / HEAD)
        self.cos, self.sin = turn.cos().float(), turn.sin().float()
        mask = torch.full((CONTEXT, CONTEXT), float("-inf")).triu(1)
        self.mask = mask

    def norm(self, x, gain):
        return x * (x.pow(2).mean(-1, keepdim=True) + EPS).rsqrt() * gain

    def turn(self, x):
        n = x.shape[2]
        a, b = x[..., 0::2], x[..., 1::2]
        c, s = self.cos[:n], self.sin[:n]
        return torch.stack((a * c - b * s, a * s + b * c), -1).flatten(-2)

    def forward(self, ids):
        rows, n = ids.shape
        w = self.w
        x = F.embedding(ids, w["embed"])
        for i in range(LAYERS):
            h = self.norm(x, w["an%d" % i])
            q = (h @ w["q%d" % i].T).view(rows, n, HEADS, HEAD).transpose(1, 2)
            k = (h @ w["k%d" % i].T).view(rows, n, KV, HEAD).transpose(1, 2)
            v = (h @ w["v%d" % i].T).view(rows, n, KV, HEAD).transpose(1, 2)
            q, k = self.turn(q), self.turn(k)
            k = k.repeat_interleave(HEADS // KV, 1)
            v = v.repeat_interleave(HEADS // KV, 1)
            s = q @ k.transpose(2, 3) * HEAD ** -0.5 + self.mask[:n, :n]
            a = (s.softmax(-1) @ v).transpose(1, 2).reshape(rows, n, DIM)
            x = x + a @ w["o%d" % i].T
            h = self.norm(x, w["fn%d" % i])
            h = F.silu(h @ w["g%d" % i].T) * (h @ w["u%d" % i].T)
            x = x + h @ w["d%d" % i].T
        return self.norm(x, w["norm"])


def dataset(vocab, seed, talks):
    ids, said = [], []
    for talk in corpus.dialogues(seed, talks):
        i, s = vocab.chat(talk)
        ids += i
        said += s
    return np.array(ids, np.int16), np.array(said, np.int8)


def reply(model, vocab, question):
    ids, _ = vocab.chat([("user", question)])
    ids = ids[:-1] + [vocab.id["<|im_start|>"]] + vocab.encode("assistant\n")
    stop, start = vocab.id["<|im_end|>"], len(ids)
    with torch.no_grad():
        while len(ids) < start + 80:
            h = model(torch.tensor([ids]))[0, -1]
            ids.append(int((model.w["embed"] @ h).argmax()))
            if ids[-1] == stop:
                break
    back = {c: b for b, c in bpe.BYTES.items()}
    text = "".join(vocab.tokens[i] for i in ids[start:] if i > 2)
    return bytes(back[c] for c in text).decode("utf-8", "replace")


def main(path, minutes):
    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    texts = [t for talk in corpus.dialogues(SEED, 20000) for _, t in talk]
    vocab = bpe.Vocab(bpe.train(texts + ["user\nassistant\nsystem\n"] * 9000,
                                VOCAB))
    print("vocabulary: %d tokens" % len(vocab.tokens), flush=True)
    ids, said = dataset(vocab, SEED + 1, 150000)
    print("corpus: %d tokens" % len(ids), flush=True)
    model = Model()
    print("model: %d parameters" % sum(p.numel() for p in model.parameters()),
          flush=True)
    flat = [p for p in model.parameters() if p.dim() < 2]
    wide = [p for p in model.parameters() if p.dim() > 1]
    opt = torch.optim.AdamW([{"params": wide, "weight_decay": 0.02},
                             {"params": flat, "weight_decay": 0.0}],
                            lr=RATE, betas=(0.9, 0.98))
    r = np.random.default_rng(SEED)
    began, step, mean, share = time.monotonic(), 0, 0.0, 0.0
    while share < 1.0:
        share = step / STEPS
        if minutes:
            share = (time.monotonic() - began) / (60 * minutes)
        share = min(share, 1.0)
        rate = RATE * min(1.0, (step + 1) / 200) * (1 - 0.97 * share)
        for group in opt.param_groups:
            group["lr"] = rate
        long = share > 0.9
        rows, n = (ROWS // 2, LEN * 2 - 1) if long else (ROWS, LEN)
        at = r.integers(0, len(ids) - n - 1, rows)
        x = torch.tensor(np.stack([ids[a:a + n] for a in at]).astype(np.int64))
        y = torch.tensor(
            np.stack([ids[a + 1:a + n + 1] for a in at]).astype(np.int64))
        own = torch.tensor(np.stack([said[a + 1:a + n + 1] for a in at])) > 0
        h = model(x)[own]
        loss = F.cross_entropy(h @ model.w["embed"].T, y[own])
        opt.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        opt.step()
        mean = loss.item() if step == 0 else 0.98 * mean + 0.02 * loss.item()
        if step % 100 == 0:
            print("step %d, %.0f s, loss %.4f" % (
                step, time.monotonic() - began, mean), flush=True)
        if step % 500 == 499:
            gguf.write(path, model, vocab, sys.modules[__name__])
            for q in ("Hello!", "What is a river?", "Tell me a story."):
                print("  %s -> %s" % (q, reply(model, vocab, q)), flush=True)
        step += 1
    gguf.write(path, model, vocab, sys.modules[__name__])
    for q in ("Hello!", "Who are you?", "What is a river?", "Tell me a story.",
              "What does happy mean?", "How do I build a rocket?"):
        print("%s -> %s" % (q, reply(model, vocab, q)))


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]) if len(sys.argv) > 2 else 0)
