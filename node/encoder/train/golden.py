"""Writes vectors that the committed weights give, computed here and not in Rust, for the tests.

    python golden.py ../src/builtin/weights.safetensors ../src/builtin/golden.json
"""

import json
import os
import sys

import numpy as np
from safetensors.numpy import load_file

TEXTS = [
    "What are the symptoms of a kidney stone?",
    "Adalimumab (Humira®) 40 mg; Ménière's disease, Ménière's disease, xq7z-flurbozepine",
    "",
]


def main(weights, out):
    tensors = load_file(weights)
    kept = tensors["pieces"].tobytes().decode().split("\n")
    os.environ["DIMENSION"] = str(tensors["vectors"].shape[1])
    os.environ["PIECES"] = str(len(kept))
    import fit

    bags = fit.Bags(kept)
    table = tensors["vectors"].astype(np.float64) * tensors["scales"][:, None]
    golden = []
    for text in TEXTS:
        (ids, weights_), (unknown, further) = bags.of(text)
        total = (table[ids] * weights_[:, None]).sum(0)
        for at, weight in zip(unknown, further):
            total = total + tensors["unknown"][0] * weight * bags.directions[at]
        golden.append({"text": text, "vector": [round(float(x), 6) for x in total / np.linalg.norm(total)]})
    with open(out, "w", encoding="utf-8") as file:
        json.dump(golden, file, ensure_ascii=False)
        file.write("\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
