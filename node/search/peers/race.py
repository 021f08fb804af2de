#!/usr/bin/env python3
"""This index beside hnswlib, faiss and usearch: the same vectors, one core, in turns.

    python3 -m venv ~/.cache/peers && ~/.cache/peers/bin/pip install numpy hnswlib faiss-cpu usearch
    cargo bench --profile dev -p consilium-search --bench vectors --no-run
    ~/.cache/peers/bin/python node/search/peers/race.py FOLDER PROGRAM [--only ours-small,hnswlib] [--rounds 3]

FOLDER has vectors.fbin and queries.fbin (rows and dimension as u32, then f32, little-endian; `benches/vectors.rs
--write` makes some); what is built is kept in it and taken from there the next time, with what it cost. PROGRAM is what
cargo built. Each round goes through the breadths, and at each breadth every index answers all questions once, in a new
order; a figure is the median over the rounds. Counted is processor time. The peers get all questions in one call, so
that Python costs them nothing (but for faiss-flat, which would turn many questions into one matrix product).

100,000 rows take about ten minutes on a core of its own with everything built, a million about an hour and a half.
"""

import argparse
import json
import os
import pathlib
import random
import statistics
import subprocess
import time

os.environ["OMP_NUM_THREADS"] = "1"
os.environ["OPENBLAS_NUM_THREADS"] = "1"

import numpy  # noqa: E402

K = 10
LINKS = 32
CONSTRUCTION = 200
BREADTHS = [10, 12, 16, 20, 24, 32, 48, 64, 96, 128, 192, 256]
AT_ONCE = 10_000


def read(path):
    rows, dimension = numpy.fromfile(path, dtype="<u4", count=2)
    return numpy.fromfile(path, dtype="<f4", offset=8).reshape(rows, dimension)


def truth(stored, asked):
    """The true K of each question, a slice of the rows at a time."""
    best = numpy.full((len(asked), K), -2, "f4")
    rows = numpy.zeros((len(asked), K), "i8")
    for start in range(0, len(stored), 50_000):
        scores = asked @ stored[start : start + 50_000].T
        top = numpy.argpartition(-scores, K, axis=1)[:, :K]
        both = numpy.concatenate([best, numpy.take_along_axis(scores, top, 1)], axis=1)
        ids = numpy.concatenate([rows, top + start], axis=1)
        keep = numpy.argsort(-both, axis=1)[:, :K]
        best, rows = numpy.take_along_axis(both, keep, 1), numpy.take_along_axis(ids, keep, 1)
    return [set(row.tolist()) for row in rows]


def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class Hnswlib:
    def __init__(self, name, dimension):
        import hnswlib

        self.index = hnswlib.Index(space="ip", dim=dimension)

    def begin(self, rows):
        self.index.init_index(max_elements=rows, ef_construction=CONSTRUCTION, M=LINKS)

    def add(self, start, vectors):
        self.index.add_items(vectors, num_threads=1)

    def save(self, path):
        self.index.save_index(path)

    def load(self, path):
        self.index.load_index(path)

    def search(self, asked, breadth):
        self.index.set_ef(breadth)
        return self.index.knn_query(asked, k=K, num_threads=1)[0]


class FaissHnsw:
    def __init__(self, name, dimension):
        import faiss

        self.faiss = faiss
        faiss.omp_set_num_threads(1)
        self.index = faiss.IndexHNSWFlat(dimension, LINKS, faiss.METRIC_INNER_PRODUCT)
        self.index.hnsw.efConstruction = CONSTRUCTION

    def begin(self, rows):
        pass

    def add(self, start, vectors):
        self.index.add(vectors)

    def save(self, path):
        self.faiss.write_index(self.index, path)

    def load(self, path):
        self.index = self.faiss.read_index(path)

    def search(self, asked, breadth):
        self.index.hnsw.efSearch = breadth
        return self.index.search(asked, K)[1]


class FaissFlat(FaissHnsw):
    def __init__(self, name, dimension):
        super().__init__(name, dimension)
        self.index = self.faiss.IndexFlatIP(dimension)

    def search(self, asked, breadth):
        return [self.index.search(asked[nth : nth + 1], K)[1][0] for nth in range(len(asked))]


class Usearch:
    def __init__(self, name, dimension):
        from usearch.index import Index

        dtype = name.removeprefix("usearch-")
        self.index = Index(
            ndim=dimension, metric="ip", dtype=dtype, connectivity=LINKS, expansion_add=CONSTRUCTION
        )

    def begin(self, rows):
        pass

    def add(self, start, vectors):
        self.index.add(numpy.arange(start, start + len(vectors), dtype="u8"), vectors, threads=1)

    def save(self, path):
        self.index.save(path)

    def load(self, path):
        self.index.load(path)

    def search(self, asked, breadth):
        self.index.expansion_search = breadth
        return self.index.search(asked, K, threads=1).keys


PEERS = {
    "hnswlib": Hnswlib,
    "faiss-hnsw": FaissHnsw,
    "faiss-flat": FaissFlat,
    "usearch-f32": Usearch,
    "usearch-i8": Usearch,
}
FLAT = {"faiss-flat", "ours-exact"}


def peer(name, folder, stored):
    """What was built before, or is built now."""
    index = PEERS[name](name, stored.shape[1])
    kept, told = folder / f"{name}.bin", folder / f"{name}.json"
    if kept.exists() and told.exists():
        index.load(str(kept))
        return index, json.loads(told.read_text())
    before, began = resident(), time.process_time()
    index.begin(len(stored))
    for start in range(0, len(stored), AT_ONCE):
        index.add(start, stored[start : start + AT_ONCE])
    cost = {"cpu_s": time.process_time() - began, "rss": resident() - before, "rows": len(stored)}
    index.save(str(kept))
    told.write_text(json.dumps(cost))
    return index, cost


class Ours:
    """The benchmark's program, which answers one line for each line."""

    def __init__(self, name, program, folder):
        self.exact = name == "ours-exact"
        arguments = [program, "--race", "--folder", str(folder / "ours")]
        for what in ("vectors", "queries"):
            arguments += [f"--{what}", str(folder / f"{what}.fbin")]
        arguments += ["--memory", "fast" if name == "ours-fast" else "small"]
        self.process = subprocess.Popen(
            arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )
        for line in self.process.stdout:
            if line.startswith("ready"):
                break
            print(f"{name}: {line.rstrip()}", flush=True)

    def ask(self, breadth):
        self.process.stdin.write(f"{'exact' if self.exact else breadth}\n")
        self.process.stdin.flush()
        seconds, found = self.process.stdout.readline().split(" ", 1)
        return float(seconds), json.loads(found)


def sweep(index, asked, breadth):
    if isinstance(index, Ours):
        return index.ask(breadth)
    began = time.process_time()
    found = index.search(asked, breadth)
    return time.process_time() - began, [list(map(int, row)) for row in found]


def report(figures, names):
    def speeds(name, breadth):
        return statistics.median(speed for speed, _ in figures[name, breadth])

    print("\nqueries/s of processor time (recall@10), by breadth")
    print("breadth " + "".join(f"{name:>22}" for name in names))
    for breadth in BREADTHS:
        cells = []
        for name in names:
            known = figures.get((name, breadth))
            cells.append(f"{speeds(name, breadth):12.0f} ({known[0][1]:.4f})" if known else "")
        print(f"{breadth:>7} " + "".join(f"{cell:>22}" for cell in cells))
    for bar in (0.95, 0.99):
        print(f"\nthe quickest at recall@10 of at least {bar}")
        for name in names:
            enough = [b for b in BREADTHS if figures.get((name, b)) and figures[name, b][0][1] >= bar]
            quickest = max(enough, key=lambda breadth: speeds(name, breadth), default=None)
            if quickest is None:
                print(f"{name:>12}: never")
                continue
            spread = [speed for speed, _ in figures[name, quickest]]
            print(
                f"{name:>12}: {speeds(name, quickest):8.0f} ({figures[name, quickest][0][1]:.4f}, breadth"
                f" {quickest}; {min(spread):.0f} to {max(spread):.0f})"
            )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("program")
    parser.add_argument("--only", default=",".join(["ours-small", "ours-fast", "ours-exact", *PEERS]))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--core", type=int, default=0)
    wanted = parser.parse_args()
    os.sched_setaffinity(0, {wanted.core})
    stored, asked = read(wanted.folder / "vectors.fbin"), read(wanted.folder / "queries.fbin")
    print(f"{len(stored)} rows x {stored.shape[1]}, {len(asked)} questions, load {os.getloadavg()}")
    expected = truth(stored, asked)
    names, indexes = wanted.only.split(","), {}
    for name in names:
        if name in PEERS:
            indexes[name], cost = peer(name, wanted.folder, stored)
            print(f"{name}: built in {cost['cpu_s']:.1f} s cpu, {cost['rss'] / cost['rows']:.0f} B a row by the system")
        else:
            indexes[name] = Ours(name, wanted.program, wanted.folder)
    figures, order = {}, random.Random(1)
    for _ in range(wanted.rounds):
        for breadth in BREADTHS:
            for name in order.sample(names, len(names)):
                if name in FLAT and breadth != BREADTHS[0]:
                    continue
                took, found = sweep(indexes[name], asked, breadth)
                hit = sum(len(set(row) & want) for row, want in zip(found, expected))
                pair = (len(asked) / took, hit / (K * len(expected)))
                figures.setdefault((name, breadth), []).append(pair)
    report(figures, names)
    print(f"\nload at the end {os.getloadavg()}")


if __name__ == "__main__":
    main()
