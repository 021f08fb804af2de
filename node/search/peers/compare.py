#!/usr/bin/env python3
"""hnswlib, faiss and usearch on the vectors of `benches/vectors.rs --write FOLDER`, on one thread.

    python3 -m venv ~/.cache/peers && ~/.cache/peers/bin/pip install numpy hnswlib faiss-cpu usearch
    ~/.cache/peers/bin/python node/search/peers/compare.py FOLDER [--only hnswlib,usearch-i8]

Searches are counted in processor time of the one thread, as the benchmark counts its own.
"""

import argparse
import os
import pathlib
import time

os.environ["OMP_NUM_THREADS"] = "1"

import numpy  # noqa: E402

K = 10
LINKS = 32
CONSTRUCTION = 200
BREADTHS = [10, 12, 16, 20, 24, 32, 48, 64, 96, 128, 192, 256]


def read(path):
    rows, dimension = numpy.fromfile(path, dtype="<u4", count=2)
    return numpy.fromfile(path, dtype="<f4", offset=8).reshape(rows, dimension)


def truth(stored, asked):
    best = [numpy.argpartition(-(stored @ query), K)[:K] for query in asked]
    return [set(row.tolist()) for row in best]


def report(name, build_s, searches, expected):
    print(f"\n{name}: built in {build_s:.1f} s cpu, one thread")
    print("breadth  recall@10  queries/s (cpu)")
    for breadth, search in searches:
        search(0)
        start = time.process_time()
        found = [search(nth) for nth in range(len(expected))]
        took = time.process_time() - start
        hit = sum(len(set(map(int, row)) & want) for row, want in zip(found, expected))
        print(f"{breadth:>7}  {hit / (K * len(expected)):9.4f}  {len(expected) / took:15.0f}")


def timed(build):
    start = time.process_time()
    return build(), time.process_time() - start


def hnswlib_rows(stored, asked):
    import hnswlib

    index = hnswlib.Index(space="ip", dim=stored.shape[1])
    index.init_index(max_elements=len(stored), ef_construction=CONSTRUCTION, M=LINKS)
    _, build_s = timed(lambda: index.add_items(stored, num_threads=1))

    def at(breadth):
        def search(nth):
            if nth == 0:
                index.set_ef(breadth)
            return index.knn_query(asked[nth], k=K, num_threads=1)[0][0]

        return breadth, search

    return build_s, [at(breadth) for breadth in BREADTHS]


def faiss_hnsw_rows(stored, asked):
    import faiss

    faiss.omp_set_num_threads(1)
    index = faiss.IndexHNSWFlat(stored.shape[1], LINKS, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction = CONSTRUCTION
    _, build_s = timed(lambda: index.add(stored))

    def at(breadth):
        def search(nth):
            index.hnsw.efSearch = breadth
            return index.search(asked[nth : nth + 1], K)[1][0]

        return breadth, search

    return build_s, [at(breadth) for breadth in BREADTHS]


def faiss_flat_rows(stored, asked):
    import faiss

    faiss.omp_set_num_threads(1)
    index = faiss.IndexFlatIP(stored.shape[1])
    _, build_s = timed(lambda: index.add(stored))
    return build_s, [("flat", lambda nth: index.search(asked[nth : nth + 1], K)[1][0])]


def usearch_rows(stored, asked, dtype):
    from usearch.index import Index

    index = Index(
        ndim=stored.shape[1], metric="ip", dtype=dtype, connectivity=LINKS, expansion_add=CONSTRUCTION
    )
    keys = numpy.arange(len(stored), dtype="u8")
    _, build_s = timed(lambda: index.add(keys, stored, threads=1))

    def at(breadth):
        def search(nth):
            if nth == 0:
                index.expansion_search = breadth
            return index.search(asked[nth], K, threads=1).keys

        return breadth, search

    return build_s, [at(breadth) for breadth in BREADTHS]


PEERS = {
    "hnswlib": hnswlib_rows,
    "faiss-hnsw": faiss_hnsw_rows,
    "faiss-flat": faiss_flat_rows,
    "usearch-f32": lambda stored, asked: usearch_rows(stored, asked, "f32"),
    "usearch-i8": lambda stored, asked: usearch_rows(stored, asked, "i8"),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--only", default=",".join(PEERS))
    wanted = parser.parse_args()
    stored, asked = read(wanted.folder / "vectors.fbin"), read(wanted.folder / "queries.fbin")
    expected = truth(stored, asked)
    print(f"{len(stored)} rows x {stored.shape[1]}, {len(asked)} queries, load {os.getloadavg()}")
    for name in wanted.only.split(","):
        build_s, searches = PEERS[name](stored, asked)
        report(name, build_s, searches, expected)


if __name__ == "__main__":
    main()
