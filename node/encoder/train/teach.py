"""Asks the teacher (all-MiniLM-L6-v2) for the vectors that training needs, and keeps them in a folder.

    python teach.py MODEL_FOLDER WORK_FOLDER
"""

import collections
import json
import os
import random
import re
import sys

import numpy as np
import torch

from corpus import medquad, notes, pubmedqa, words

EXTRA_WORDS = int(os.environ.get("EXTRA_WORDS", "16000"))
BATCH_TOKENS = 4096


class Teacher:
    def __init__(self, folder):
        from transformers import AutoModel, AutoTokenizer

        self.tokens = AutoTokenizer.from_pretrained(folder)
        # bfloat16 agrees with float32 to a cosine of 0.9999 and takes half the time.
        self.model = AutoModel.from_pretrained(folder, dtype=torch.bfloat16).eval()

    @torch.inference_mode()
    def encode(self, texts, limit=256):
        ids = self.tokens([t[:20000] for t in texts], truncation=True, max_length=limit, verbose=False)["input_ids"]
        order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
        out = np.zeros((len(ids), 384), np.float32)
        at = 0
        while at < len(order):
            take = [order[at]]
            while at + len(take) < len(order):
                longest = len(ids[order[at + len(take)]])
                if longest * (len(take) + 1) > BATCH_TOKENS:
                    break
                take.append(order[at + len(take)])
            at += len(take)
            longest = max(len(ids[i]) for i in take)
            batch = torch.zeros(len(take), longest, dtype=torch.long)
            mask = torch.zeros(len(take), longest, dtype=torch.long)
            for row, i in enumerate(take):
                batch[row, : len(ids[i])] = torch.tensor(ids[i])
                mask[row, : len(ids[i])] = 1
            hidden = self.model(input_ids=batch, attention_mask=mask).last_hidden_state.float()
            summed = (hidden * mask[..., None]).sum(1)
            out[take] = torch.nn.functional.normalize(summed, dim=1).numpy()
        return out


def vocabulary(folder, texts):
    """The teacher's own pieces in Latin letters and digits, then the most frequent words that it splits."""
    own = json.load(open(os.path.join(folder, "tokenizer.json"), encoding="utf-8"))["model"]["vocab"]
    kept = [p for p in own if re.fullmatch(r"(##)?[a-z0-9]+|[!-/:-@\[-`{-~°±µ≥≤]", p)]
    counts = collections.Counter(w for t in texts for w in words(t))
    have = set(kept)
    extra = [w for w, n in counts.most_common() if w not in have and re.fullmatch(r"[a-z][a-z0-9]*", w) and n >= 2]
    return kept, extra[:EXTRA_WORDS]


def spans(answers, rng):
    """Two short spans of each answer, as a stand-in for what people ask: one sentence, and a few words of one."""
    out = []
    for number, answer in enumerate(answers):
        sentences = [s for s in re.split(r"(?<=[.!?])\s+", answer) if 15 <= len(s) <= 300]
        if len(sentences) < 2:
            continue
        out.append((number, rng.choice(sentences)))
        few = rng.choice(sentences).split()
        start = rng.randrange(max(1, len(few) - 8))
        out.append((number, " ".join(few[start : start + rng.randint(3, 8)])))
    return out


def main(folder, work):
    os.makedirs(work, exist_ok=True)
    torch.set_num_threads(2)
    rng = random.Random(1)
    rows = medquad()
    seen = sorted({r["answer"] for r in rows if not r["held"]})
    rest = sorted({r["answer"] for r in rows} - set(seen))
    abstracts = [context for _, context in pubmedqa()]
    notes_ = [n for n in notes() if len(n) >= 20]
    own, extra = vocabulary(folder, seen + abstracts + notes_)
    vocab = own + extra
    rng.shuffle(seen)
    json.dump(vocab, open(os.path.join(work, "vocab.json"), "w"))
    asked = spans(seen, rng)
    json.dump(len(own), open(os.path.join(work, "own.json"), "w"))
    json.dump(asked, open(os.path.join(work, "spans.json"), "w"))
    json.dump(seen, open(os.path.join(work, "seen.json"), "w"))
    json.dump(rest, open(os.path.join(work, "rest.json"), "w"))
    print(len(vocab), "pieces", len(seen), "answers seen", len(rest), "held out", len(asked), "spans", flush=True)
    teacher = Teacher(folder)
    jobs = [
        ("vocab", [v.removeprefix("##") for v in vocab], 16),
        ("spans", [s for _, s in asked], 96),
        # The rest is for `figures.py` alone: nothing is fitted to it.
        ("questions", [r["question"] for r in rows if r["held"]], 64),
        ("rest", rest, 256),
    ]
    for name, texts, limit in jobs:
        path = os.path.join(work, name + ".npy")
        if not os.path.exists(path):
            vectors = []
            for at in range(0, len(texts), 512):
                vectors.append(teacher.encode(texts[at : at + 512], limit))
                print(name, at, len(texts), flush=True)
            np.save(path, np.concatenate(vectors).astype(np.float16))


if __name__ == "__main__":
    main(*sys.argv[1:])
