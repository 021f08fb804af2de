"""The figures of README.md: known items of MedQuAD by BM25, by the built-in encoder, by both, and by the teacher.

    python figures.py WORK_FOLDER ../src/builtin/weights.safetensors

Questions are those of the held-out topics, which nothing was fitted to. They are asked of all answers, and of the answers
of the held-out topics alone, for which `teach.py` has MiniLM's vectors (the first 256 tokens, as sentence-transformers
reads them).
"""

import json
import os
import sys

import numpy as np
from safetensors.numpy import load_file

from corpus import medquad
from measure import Bm25, score


def builtin(weights):
    """A function from texts to unit vectors."""
    tensors = load_file(weights)
    kept = tensors["pieces"].tobytes().decode().split("\n")
    os.environ["DIMENSION"] = str(tensors["vectors"].shape[1])
    os.environ["PIECES"] = str(len(kept))
    import fit

    bags = fit.Bags(kept)
    table = tensors["vectors"].astype(np.float32) * tensors["scales"][:, None]

    def encode(texts):
        out = []
        for text in texts:
            (ids, counts), (unknown, further) = bags.of(text)
            total = (table[ids] * counts[:, None]).sum(0)
            for at, weight in zip(unknown, further):
                total = total + tensors["unknown"][0] * weight * bags.directions[at]
            out.append(total / np.linalg.norm(total))
        return np.array(out, np.float32)

    return encode


def ranks(scores, own):
    return (scores > scores[np.arange(len(own)), own][:, None]).sum(1) + 1


def fused(one, other):
    """Reciprocal rank fusion, k = 60, of the first 100 of both."""
    total = np.zeros_like(one)
    for scores in (one, other):
        order = np.argsort(-scores, axis=1, kind="stable")[:, :100]
        np.put_along_axis(total, order, np.take_along_axis(total, order, 1) + 1 / (61 + np.arange(100)), 1)
    return total


def table(name, questions, answers, own, ways):
    print(f"{name}: {len(questions)} questions, {len(answers)} answers")
    held = {}
    for way, scores in ways.items():
        held[way] = scores()
        print("  %-22s recall@10 %.3f  nDCG@10 %.3f" % (way, *score(ranks(held[way], own))))
    for way in held:
        if way != "BM25":
            both = fused(held["BM25"], held[way])
            print("  %-22s recall@10 %.3f  nDCG@10 %.3f" % ("BM25 and " + way, *score(ranks(both, own))), flush=True)


def main(work, weights):
    rows = [row for row in medquad() if row["held"]]
    rest = json.load(open(os.path.join(work, "rest.json")))
    encode = builtin(weights)
    everything = sorted({row["answer"] for row in medquad()})
    for name, answers in (("answers of held-out topics", rest), ("all answers", everything)):
        place = {answer: at for at, answer in enumerate(answers)}
        kept = [at for at, row in enumerate(rows) if row["answer"] in place]
        questions = [rows[at]["question"] for at in kept]
        own = np.array([place[rows[at]["answer"]] for at in kept])
        index = Bm25(answers)
        ways = {
            "BM25": lambda: np.array([index.scores(q) for q in questions], np.float32),
            "built-in": lambda: encode(questions) @ encode(answers).T,
        }
        taught = os.path.join(work, "rest.npy")
        if name != "all answers" and os.path.exists(taught):
            asked = np.load(os.path.join(work, "questions.npy")).astype(np.float32)[kept]
            ways["MiniLM"] = lambda: asked @ np.load(taught).astype(np.float32).T
        table(name, questions, answers, own, ways)


if __name__ == "__main__":
    main(*sys.argv[1:])
