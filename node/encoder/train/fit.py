"""Makes the built-in encoder's weights out of what `teach.py` kept.

    python fit.py WORK_FOLDER OUT.safetensors

1. Each piece of the vocabulary starts as the teacher's vector of it, without the teacher's mean and turned onto
   its first DIMENSION principal axes, weighted by SIF (Arora et al. 2017, §3).
2. A word that is not a piece by itself is its pieces and, with one learnt weight, a direction of its own that only
   its letters decide: two texts that share a rare name are near, though nobody ever saw it.
3. The vectors are fitted by Adam to two aims: a text's vector is near the teacher's (distillation), and a sentence
   taken out of an answer is nearer to the rest of its answer than to the others of its batch (inverse cloze, Lee
   et al. 2019, §4; InfoNCE with a temperature). A batch has several answers of some topics, so that what is asked of
   a disease is learnt and not only which; and in each batch some whole words are treated as if they were unknown.
4. Rows become 8-bit integers with one scale each.

Answers of the held-out topics and every question stay unseen; of MedQuAD's other columns only the topic is used, to
make batches. Everything is drawn from one seed.
"""

import collections
import itertools
import json
import os
import random
import re
import sys

import numpy as np
import torch
from safetensors.numpy import save_file

from corpus import medquad, notes, pieces, pubmedqa, words
from measure import ranks_by_vectors, score

DIMENSION = int(os.environ.get("DIMENSION", "192"))
PIECES = int(os.environ.get("PIECES", "38000"))
STEPS = int(os.environ.get("STEPS", "600"))
BATCH = int(os.environ.get("BATCH", "384"))
RATE = float(os.environ.get("RATE", "2e-3"))
TEMPERATURE = float(os.environ.get("TEMPERATURE", "0.05"))
DISTIL = float(os.environ.get("DISTIL", "1.0"))
POWER = float(os.environ.get("POWER", "0.5"))
WORDS_MAX = 400
SEED = 1
MASK = 2**64 - 1
# Of the whole words that the teacher lacks, how many a batch takes for unknown.
UNKNOWN = 0.25
ANSWERS_PER_TOPIC = 3
# Of the topics drawn, how many give several answers.
SEVERAL = float(os.environ.get("SEVERAL", "0.15"))


class Bags:
    """Texts as pieces and how much each counts: its number to the power of POWER. Ids from PIECES on are directions of
    unknown words."""

    def __init__(self, kept):
        self.vocabulary = {piece: at for at, piece in enumerate(kept)}
        self.known = {}
        self.directions = []

    def unknown(self, word):
        """A word as pieces and a direction, whether or not it is a piece itself."""
        whole = self.vocabulary.pop(word, None)
        out = pieces(word, self.vocabulary) or [0]
        if whole is not None:
            self.vocabulary[word] = whole
        self.directions.append(direction(word))
        return out + [PIECES + len(self.directions) - 1]

    def ids(self, text):
        out = []
        for word in words(text):
            if word not in self.known:
                whole = self.vocabulary.get(word)
                self.known[word] = self.unknown(word) if whole is None else [whole]
            out.extend(self.known[word])
        return out or [0]

    def of(self, text):
        return bag(self.ids(text)[:WORDS_MAX])


def direction(word):
    """Signs from splitmix64 (Steele et al. 2014), seeded by the FNV-1a hash of the word's UTF-8; unit length."""
    state = 0xCBF29CE484222325
    for byte in word.encode():
        state = (state ^ byte) * 0x100000001B3 & MASK
    signs = []
    while len(signs) < DIMENSION:
        state = state + 0x9E3779B97F4A7C15 & MASK
        z = (state ^ state >> 30) * 0xBF58476D1CE4E5B9 & MASK
        z = (z ^ z >> 27) * 0x94D049BB133111EB & MASK
        z ^= z >> 31
        signs.extend(1.0 if z >> bit & 1 else -1.0 for bit in range(64))
    return np.array(signs[:DIMENSION], np.float32) / np.float32(np.sqrt(DIMENSION))


def embed(table, weight, directions, bags):
    def summed(rows, part):
        ids = torch.from_numpy(np.concatenate([b[part][0] for b in bags]))
        weights = torch.from_numpy(np.concatenate([b[part][1] for b in bags]))
        starts = torch.from_numpy(np.cumsum([0] + [len(b[part][0]) for b in bags[:-1]]))
        return torch.nn.functional.embedding_bag(ids, rows, starts, mode="sum", per_sample_weights=weights)

    return torch.nn.functional.normalize(summed(table, 0) + weight * summed(directions, 1), dim=1)


def all_vectors(model, bags):
    with torch.no_grad():
        return np.concatenate([embed(*model, bags[at : at + 1024]).numpy() for at in range(0, len(bags), 1024)])


class Work:
    """What `teach.py` left: texts and the teacher's vectors of them."""

    def __init__(self, folder):
        self.folder = folder
        self.vocab = self.json("vocab")
        self.seen = self.json("seen")
        self.spans = self.json("spans")

    def json(self, name):
        return json.load(open(os.path.join(self.folder, name + ".json")))

    def vectors(self, name):
        return np.load(os.path.join(self.folder, name + ".npy")).astype(np.float32)


def start(work, counts):
    """The vocabulary that is kept (row 0 stands for what no piece covers), its first table, and the axes."""
    given = work.vectors("vocab")
    used = [counts[p] for p in range(len(work.vocab))]
    # Pieces of the teacher that no text uses are dropped last first: its vocabulary is sorted by frequency.
    order = sorted(range(len(work.vocab)), key=lambda p: (used[p] == 0, p))[: PIECES - 1]
    order.sort()
    kept = ["[other]"] + [work.vocab[p] for p in order]
    mean = given.mean(0)
    axes = np.linalg.svd(given[::3] - mean, full_matrices=False)[2][:DIMENSION].T
    table = (given[order] - mean) @ axes
    table = np.concatenate([table.mean(0, keepdims=True), table])
    share = np.array([1] + [used[p] + 1 for p in order], float)
    share /= share.sum()
    table *= (1e-4 / (1e-4 + share))[:, None]
    return kept, table.astype(np.float32), mean, axes


def cloze(sentences, rare, rng):
    """What might be asked of an answer, and the answer: a sentence, a few words of one, or a few words around one of
    the answer's rarest, as people ask by name. Where it is a sentence, half of the answers lack it."""
    kind = rng.random()
    if kind < 0.4:
        whole = np.concatenate(sentences)[:WORDS_MAX]
        place = rng.choice(np.argsort(rare[whole], kind="stable")[:8])
        before, after = rng.randint(0, 3), rng.randint(1, 4)
        return whole[max(0, place - before) : place + after], whole
    at = rng.randrange(len(sentences))
    asked = sentences[at]
    if kind < 0.8:
        length = rng.randint(2, 12)
        first = rng.randrange(max(1, len(asked) - length + 1))
        asked = asked[first : first + length]
    rest = sentences if rng.random() < 0.5 else sentences[:at] + sentences[at + 1 :]
    return asked, np.concatenate(rest)[:WORDS_MAX]


def bag(ids):
    ids, counts = np.unique(ids, return_counts=True)
    weights = counts.astype(np.float32) ** POWER
    known = ids < PIECES
    return (ids[known], weights[known]), (ids[~known] - PIECES, weights[~known])


def grouped(work, bags):
    """Texts as sentences of ids, by topic; an abstract is a topic of its own."""
    topics = collections.defaultdict(list)
    topic_of = {row["answer"]: row["focus"] for row in medquad() if not row["held"]}
    for at, text in enumerate(work.seen + [c for _, c in pubmedqa()]):
        sentences = [s for s in re.split(r"(?<=[.!?])\s+", text) if len(s) >= 15]
        if len(sentences) >= 2:
            topics[topic_of.get(text) or at].append([np.array(bags.ids(s)) for s in sentences])
    return list(topics.values())


def taught(work, bags, mean, axes):
    """Short texts with the teacher's vector of them on the table's axes."""
    turned = (work.vectors("spans") - mean) @ axes
    turned /= np.linalg.norm(turned, axis=1, keepdims=True)
    return [(bags.of(text), vector) for (_, text), vector in zip(work.spans, turned)]


def drawn(topics, rare, rng):
    """Pairs of one batch: several answers of a topic where it has them, and else one."""
    out = []
    while len(out) < BATCH:
        answers = rng.choice(topics)
        several = ANSWERS_PER_TOPIC if rng.random() < SEVERAL else 1
        for answer in rng.sample(answers, min(len(answers), several)):
            out.append(cloze(answer, rare, rng))
    return out[:BATCH]


def forget(ids, forgotten, otherwise):
    """Ids in which the forgotten words stand as their pieces and directions."""
    gone = (ids < PIECES) & forgotten[np.minimum(ids, PIECES - 1)]
    if not gone.any():
        return ids
    return np.concatenate([ids[~gone]] + [otherwise[i] for i in ids[gone]])


def fit(table, kept, extra, bags, work, mean, axes, development):
    rng = random.Random(SEED)
    numbers = np.random.default_rng(SEED)
    torch.manual_seed(SEED)
    topics = grouped(work, bags)
    pairs = taught(work, bags, mean, axes)
    otherwise = {at: np.array(bags.unknown(kept[at])) for at in extra}
    directions = torch.from_numpy(np.stack(bags.directions))
    rare = np.zeros(PIECES + len(bags.directions), np.int64)
    for sentences in itertools.chain(*topics):
        rare[np.unique(np.concatenate(sentences))] += 1
    print(len(topics), "topics,", len(pairs), "taught,", len(extra), "extra words", flush=True)
    parameter = torch.nn.Parameter(torch.from_numpy(table))
    weight = torch.nn.Parameter(torch.tensor(0.5))
    groups = [{"params": [parameter]}, {"params": [weight], "lr": 5 * RATE}]
    adam = torch.optim.Adam(groups, lr=RATE, betas=(0.9, 0.98), fused=True)
    decay = torch.optim.lr_scheduler.LambdaLR(adam, lambda s: min(1.0, (s + 1) / 50) * (1 - s / (STEPS + 1)))
    for step in range(STEPS):
        forgotten = np.zeros(PIECES, bool)
        forgotten[extra[numbers.random(len(extra)) < UNKNOWN]] = True
        batch = [(bag(forget(a, forgotten, otherwise)), bag(forget(r, forgotten, otherwise))) for a, r in drawn(topics, rare, rng)]
        some = rng.sample(pairs, BATCH)
        # One call, so that one gradient is made. The teacher cannot know the directions: they are not fitted to it.
        nothing = np.zeros(0, np.int64), np.zeros(0, np.float32)
        all_bags = [a for a, _ in batch] + [r for _, r in batch] + [(b[0], nothing) for b, _ in some]
        asked, rest, spoken = embed(parameter, weight, directions, all_bags).split(BATCH)
        logits = asked @ rest.T / TEMPERATURE
        own = torch.arange(BATCH)
        loss = (torch.nn.functional.cross_entropy(logits, own) + torch.nn.functional.cross_entropy(logits.T, own)) / 2
        near = (spoken * torch.from_numpy(np.stack([v for _, v in some]))).sum(1)
        total = loss + DISTIL * (1 - near).mean()
        adam.zero_grad()
        total.backward()
        adam.step()
        decay.step()
        if step % 50 == 49 or step == 0:
            said = loss.item(), near.mean().item(), weight.item()
            print(step + 1, "cloze %.3f taught %.3f unknown %.3f" % said, *development((parameter, weight, directions)), flush=True)
    return parameter.detach(), weight.detach()


def main(folder, out):
    torch.set_num_threads(1)
    work = Work(folder)
    contexts = [c for _, c in pubmedqa()]
    rows = medquad()
    counts = collections.Counter()
    whole = {p: i for i, p in enumerate(work.vocab)}
    spread = collections.Counter(w for t in work.seen + contexts + notes() for w in words(t))
    for word, count in spread.items():
        for piece in pieces(word, whole) or []:
            counts[piece] += count
    kept, table, mean, axes = start(work, counts)
    bags = Bags(kept)
    own = set(work.vocab[: work.json("own")])
    extra = np.array([at for at, piece in enumerate(kept) if at and piece not in own])
    asked = [bags.of(q) for q, _ in pubmedqa()]
    held = [bags.of(c) for c in contexts]

    def development(model):
        ranks = ranks_by_vectors(all_vectors(model, asked), all_vectors(model, held), np.arange(len(asked)))
        return ["dev recall %.3f ndcg %.3f" % score(ranks)]

    fitted, weight = fit(table, kept, extra, bags, work, mean, axes, development)
    scale = fitted.abs().max(1).values.clamp_min(1e-8) / 127
    vectors = torch.round(fitted / scale[:, None]).clamp(-127, 127)
    save_file(
        {
            "vectors": vectors.to(torch.int8).numpy(),
            "scales": scale.numpy(),
            "unknown": weight.reshape(1).numpy(),
            "pieces": np.frombuffer("\n".join(kept).encode(), np.uint8),
        },
        out,
    )
    report(vectors * scale[:, None], weight, bags, rows)


def report(table, weight, bags, rows):
    """The test, once, at the end: MedQuAD's questions, of topics that were fitted to and of those held out."""
    answers = sorted({r["answer"] for r in rows})
    place = {a: i for i, a in enumerate(answers)}
    parts = [r for r in rows if not r["held"]], [r for r in rows if r["held"]]
    answers_ = [bags.of(a) for a in answers]
    asked = [[bags.of(r["question"]) for r in part] for part in parts]
    model = table, weight, torch.from_numpy(np.stack(bags.directions))
    vectors = all_vectors(model, answers_)
    for name, part, questions in zip(("seen", "held out"), parts, asked):
        relevant = np.array([place[r["answer"]] for r in part])
        print(name, "topics: recall@10 %.3f nDCG@10 %.3f" % score(ranks_by_vectors(all_vectors(model, questions), vectors, relevant)))


if __name__ == "__main__":
    main(*sys.argv[1:])
