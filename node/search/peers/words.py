#!/usr/bin/env python3
"""BM25 with a collection's own statistics, by bm25s, on MedQuAD: what `benches/words.rs` is compared with.

    python3 -m venv ~/.cache/peers && ~/.cache/peers/bin/pip install bm25s PyStemmer
    ~/.cache/peers/bin/python node/search/peers/words.py DATA

A question should find its own answer among all different answers. One thread.
"""

import json
import math
import pathlib
import sys
import time

import bm25s
import Stemmer

K = 10


def medquad(folder):
    rows, questions = {}, []
    for path in sorted(folder.glob("*.jsonl")):
        for line in path.open(encoding="utf-8"):
            item = json.loads(line)
            questions.append((item["question"], rows.setdefault(item["answer"], len(rows))))
    return list(rows), questions


def measure(answers, questions, k1, b):
    stemmer = Stemmer.Stemmer("english")
    tokens = lambda texts: bm25s.tokenize(texts, stopwords="en", stemmer=stemmer, show_progress=False)
    start = time.perf_counter()
    index = bm25s.BM25(k1=k1, b=b, method="lucene")
    index.index(tokens(answers), show_progress=False)
    built = time.perf_counter() - start
    start = time.perf_counter()
    hits, _ = index.retrieve(tokens([text for text, _ in questions]), k=K, show_progress=False, n_threads=1)
    seconds = time.perf_counter() - start
    found = gain = 0
    for ten, (_, own) in zip(hits, questions):
        place = list(ten).index(own) if own in ten else None
        if place is not None:
            found += 1
            gain += 1 / math.log2(place + 2)
    asked = len(questions)
    print(f"k1 {k1}, b {b}: recall@10 {found / asked:.4f}, nDCG@10 {gain / asked:.4f}, "
          f"{asked / seconds:.0f} questions/s, built in {built:.2f} s")


def main():
    answers, questions = medquad(pathlib.Path(sys.argv[1]) / "medquad")
    for k1, b in [(1.2, 0.75), (0.9, 0.4), (1.5, 0.75)]:
        measure(answers, questions, k1, b)


if __name__ == "__main__":
    main()
