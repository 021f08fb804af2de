"""Known-item retrieval: a question should find its own answer among answers alone (no titles, no questions).

Answers with the same text are one answer. A single relevant answer: nDCG@10 is 1 / log2(1 + rank).
"""

import collections
import math

import numpy as np

from corpus import words


def score(ranks):
    """Recall@10 and nDCG@10 of ranks from 1."""
    ranks = np.asarray(ranks, float)
    hit = ranks <= 10
    return float(hit.mean()), float((hit / np.log2(1 + ranks)).mean())


def ranks_by_vectors(questions, answers, relevant):
    """Rank of answer `relevant[i]` for question i by cosine; both sides have unit rows."""
    out = []
    for at in range(0, len(questions), 512):
        scores = questions[at : at + 512] @ answers.T
        own = scores[np.arange(len(scores)), relevant[at : at + 512]]
        out.extend((scores > own[:, None]).sum(1) + 1)
    return out


class Bm25:
    """Okapi BM25, k1 = 1.2, b = 0.75, over the same words as the encoder's, no stemming, no stop words."""

    def __init__(self, texts):
        bags = [collections.Counter(words(t)) for t in texts]
        lengths = np.array([sum(b.values()) for b in bags], float)
        norm = 1.2 * (0.25 + 0.75 * lengths / lengths.mean())
        holders = collections.defaultdict(list)
        for doc, bag in enumerate(bags):
            for word, count in bag.items():
                holders[word].append((doc, count * 2.2 / (count + norm[doc])))
        self.count = len(texts)
        self.lists = {}
        for word, held in holders.items():
            idf = math.log(1 + (self.count - len(held) + 0.5) / (len(held) + 0.5))
            docs, parts = zip(*held)
            self.lists[word] = (np.array(docs), idf * np.array(parts))

    def scores(self, question):
        out = np.zeros(self.count)
        for word in words(question):
            if word in self.lists:
                docs, parts = self.lists[word]
                out[docs] += parts
        return out


def ranks_by_bm25(questions, answers, relevant):
    index = Bm25(answers)
    out = []
    for question, own in zip(questions, relevant):
        scores = index.scores(question)
        out.append(int((scores > scores[own]).sum()) + 1)
    return out
