#!/usr/bin/env python3
"""The same shape of random weights in Hugging Face's transformers, for the page
beside ours: bf16, attention by scaled_dot_product_attention, a static cache;
steps of decoding as they are and compiled with recorded graphs. Rows of CSV
with the columns of gpu_row.h.

usage: gpu_transformers.py [options]

Where torch or transformers are not installed, or there is no GPU, one line
says so and that is all. What fails is told in its row's note.
"""

import argparse
import inspect
import statistics
import sys
import time

COLUMNS = ("what,model,type,how,batch,context,n,ms_median,ms_min,ms_max,"
           "tok_s,gb_s,tflop_s,from,to,note")
WARMUPS = 3
STEPS = 16  # of a sample of decoding

# Layers, width, heads, key-value heads, width of a head, feed-forward,
# vocabulary, whether the output is the embedding.
SHAPES = {
    "llama-3.1-8b": (32, 4096, 32, 8, 128, 14336, 128256, False),
    "smollm2-1.7b": (24, 2048, 32, 32, 64, 8192, 49152, True),
    "smollm2-360m": (32, 960, 15, 5, 64, 2560, 49152, True),
    "smollm2-135m": (30, 576, 9, 3, 64, 1536, 49152, True),
    "tinyllama-1.1b": (22, 2048, 32, 4, 64, 5632, 32000, False),
    "tiny": (2, 256, 4, 2, 64, 512, 1024, True),
}


def numbers(text):
    return [int(n) for n in text.split(",") if int(n)]


def arguments():
    p = argparse.ArgumentParser()
    p.add_argument("--model", default="llama-3.1-8b", choices=SHAPES)
    p.add_argument("--device", default="cuda")
    p.add_argument("--batch", type=numbers, default=[1, 64, 8])
    p.add_argument("--context", type=numbers, default=[2048])
    p.add_argument("--prefill", type=numbers, default=[512, 2048, 8192])
    p.add_argument("--samples", type=int, default=5)
    p.add_argument("--seconds", type=float, default=1e9,
                   help="after so long nothing more is begun")
    return p.parse_args()


class Bench:
    def __init__(self, args, torch, transformers):
        self.args, self.torch, self.hf = args, torch, transformers
        self.end = time.monotonic() + args.seconds
        layers, width, heads, kv, head, ff, vocab, tied = SHAPES[args.model]
        self.config = transformers.LlamaConfig(
            num_hidden_layers=layers, hidden_size=width,
            num_attention_heads=heads, num_key_value_heads=kv, head_dim=head,
            intermediate_size=ff, vocab_size=vocab, tie_word_embeddings=tied,
            max_position_embeddings=max(args.context + args.prefill) + 1024,
            attn_implementation="sdpa", use_cache=True)
        torch.set_default_dtype(torch.bfloat16)
        with torch.device(args.device):
            self.model = transformers.LlamaForCausalLM(self.config)
        torch.set_default_dtype(torch.float32)
        self.model.eval().requires_grad_(False)
        self.has_place = "cache_position" in inspect.signature(
            self.model.forward).parameters
        self.compiled = torch.compile(self.model.forward, dynamic=False,
                                      mode="reduce-overhead")

    def sync(self):
        if self.args.device.startswith("cuda"):
            self.torch.cuda.synchronize()

    def cache(self, batch, length):
        """A static cache, by whichever arguments this version takes."""
        torch = self.torch
        try:
            return self.hf.StaticCache(
                config=self.config, max_batch_size=batch,
                max_cache_len=length, device=self.args.device,
                dtype=torch.bfloat16)
        except TypeError:
            return self.hf.StaticCache(config=self.config,
                                       max_cache_len=length)

    def call(self, forward, cache, ids, at):
        """One forward pass of tokens <ids> at the places <at>."""
        more = {"cache_position": at} if self.has_place else {}
        return forward(input_ids=ids, past_key_values=cache,
                       position_ids=at.expand(ids.shape[0], -1),
                       logits_to_keep=1, **more)

    def read(self, cache, batch, n):
        """A prompt of <n> tokens of each of <batch> sequences."""
        torch, device = self.torch, self.args.device
        ids = torch.ones((batch, n), dtype=torch.long, device=device)
        self.call(self.model.forward, cache, ids,
                  torch.arange(n, device=device))

    def decode(self, forward, cache, batch, place):
        """A sample: seconds of a step, of STEPS from place[0] on."""
        torch, device = self.torch, self.args.device
        ids = torch.ones((batch, 1), dtype=torch.long, device=device)
        self.sync()
        began = time.perf_counter()
        for _ in range(STEPS):
            torch.compiler.cudagraph_mark_step_begin()
            at = torch.tensor([place[0]], device=device)
            out = self.call(forward, cache, ids, at)
            ids = out.logits[:, -1:].argmax(-1).clone()
            place[0] += 1
        self.sync()
        return (time.perf_counter() - began) / STEPS

    def row(self, what, how, batch, context, tokens, prepare):
        """A row of what prepare() gives to call."""
        head = f"{what},{self.args.model},BF16,{how},{batch},{context},"
        if time.monotonic() > self.end:
            print(head + "0,,,,,,,,,no time", flush=True)
            return
        try:
            sample = prepare()
            for _ in range(WARMUPS):
                sample()
            began = time.time()
            ms = [1000 * sample() for _ in range(self.args.samples)]
        except Exception as e:  # whatever it is, the next case has its turn
            why = " ".join(f"{type(e).__name__}: {e}".split())[:150]
            print(head + "0,,,,,,,,," + why.replace(",", ";"), flush=True)
            return
        mid = statistics.median(ms)
        print(head + f"{len(ms)},{mid:.4f},{min(ms):.4f},{max(ms):.4f},"
              f"{1000 * tokens / mid:.1f},,,{began:.3f},{time.time():.3f},",
              flush=True)

    def decode_row(self, how, forward, batch, context):
        def prepare():
            room = (WARMUPS + self.args.samples + 1) * STEPS
            cache = self.cache(batch, context + room)
            self.read(cache, batch, context)
            place = [context]
            return lambda: self.decode(forward, cache, batch, place)

        self.row("transformers decode", how, batch, context, batch, prepare)

    def prefill_row(self, n):
        def prepare():
            cache = self.cache(1, n + 16)
            self.read(cache, 1, n)  # before that it may have no memory yet

            def sample():
                cache.reset()
                self.sync()
                began = time.perf_counter()
                self.read(cache, 1, n)
                self.sync()
                return time.perf_counter() - began

            return sample

        self.row("transformers prefill", "eager", 1, n, n, prepare)

    def run(self):
        for n in self.args.prefill:
            self.prefill_row(n)
        for how, forward in (("eager", self.model.forward),
                             ("compiled", self.compiled)):
            for context in self.args.context:
                for batch in self.args.batch:
                    self.decode_row(how, forward, batch, context)


def main():
    args = arguments()
    try:
        import torch
        import transformers
    except ImportError as e:
        print(f"# transformers: skipped: {e}")
        return 0
    if args.device.startswith("cuda") and not torch.cuda.is_available():
        print("# transformers: skipped: torch sees no GPU")
        return 0
    name = (torch.cuda.get_device_name() if args.device.startswith("cuda")
            else "cpu")
    print(f"# device: {name}; torch {torch.__version__}, transformers "
          f"{transformers.__version__}")
    print(COLUMNS, flush=True)
    with torch.no_grad():
        Bench(args, torch, transformers).run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
