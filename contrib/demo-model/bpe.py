"""A byte-level BPE vocabulary, trained and applied. The pre-tokenizer is that
of gpt-2, for text in ASCII."""
import collections
import re

WORDS = re.compile(r"'s|'t|'re|'ve|'m|'ll|'d| ?[A-Za-z]+| ?[0-9]+|"
                   r" ?[^\sA-Za-z0-9]+|\s+(?!\S)|\s+")
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]


def alphabet():
    """Byte -> the printable character that stands for it."""
    keep = (list(range(33, 127)) + list(range(161, 173)) +
            list(range(174, 256)))
    table, extra = {}, 0
    for b in range(256):
        if b in keep:
            table[b] = chr(b)
        else:
            table[b] = chr(256 + extra)
            extra += 1
    return table


BYTES = alphabet()


def train(texts, size):
    """Merges that fill a vocabulary of <size> tokens, commonest pair first;
    equal ones in the order of their text."""
    words = collections.Counter()
    for text in texts:
        words.update(WORDS.findall(text))
    split = {w: tuple(BYTES[b] for b in w.encode()) for w in words}
    merges = []
    while len(SPECIAL) + 256 + len(merges) < size:
        pairs = collections.Counter()
        for w, n in words.items():
            s = split[w]
            for a, b in zip(s, s[1:]):
                pairs[a, b] += n
        best = min(pairs, key=lambda p: (-pairs[p], p))
        merges.append(best)
        joined = best[0] + best[1]
        for w, s in split.items():
            if joined not in "".join(s):
                continue
            out, i = [], 0
            while i < len(s):
                if s[i:i + 2] == best:
                    out.append(joined)
                    i += 2
                else:
                    out.append(s[i])
                    i += 1
            split[w] = tuple(out)
    return merges


class Vocab:
    """Specials first, then the 256 bytes, then the merges in rank order."""

    def __init__(self, merges):
        self.merges = merges
        self.tokens = SPECIAL + [BYTES[b] for b in range(256)]
        self.tokens += [a + b for a, b in merges]
        self.id = {t: i for i, t in enumerate(self.tokens)}
        self.rank = {m: i for i, m in enumerate(merges)}
        self.known = {}

    def word(self, w):
        if w in self.known:
            return self.known[w]
        s = [BYTES[b] for b in w.encode()]
        while len(s) > 1:
            rank, i = min((self.rank.get((a, b), 1 << 30), i)
                          for i, (a, b) in enumerate(zip(s, s[1:])))
            if rank == 1 << 30:
                break
            s[i:i + 2] = [s[i] + s[i + 1]]
        self.known[w] = [self.id[t] for t in s]
        return self.known[w]

    def encode(self, text):
        return [i for w in WORDS.findall(text) for i in self.word(w)]

    def chat(self, talk):
        """Ids of a dialogue as the chat template writes it, and which of them
        the model has to say."""
        ids, said = [], []
        for role, text in talk:
            head = [self.id["<|im_start|>"]] + self.encode(role + "\n")
            body = self.encode(text) + [self.id["<|im_end|>"]]
            tail = self.encode("\n")
            own = role == "assistant"
            ids += head + body + tail
            said += [0] * len(head) + [int(own)] * len(body) + [0] * len(tail)
        end = [self.id["<|endoftext|>"]]
        return ids + end, said + [0]
