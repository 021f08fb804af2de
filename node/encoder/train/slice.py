"""Writes the slice of MedQuAD that the tests of the built-in encoder search: rows of held-out topics only, two or more
of each topic, so that a topic alone does not decide.

    python slice.py OUT.json
"""

import collections
import json
import random
import sys

from corpus import medquad

ROWS = 160
SOURCE = "MedQuAD, Ben Abacha and Demner-Fushman, BMC Bioinformatics 20:511, 2019; CC BY 4.0; a selection, unchanged"


def main(out):
    topics = collections.defaultdict(list)
    for row in medquad():
        if row["held"] and 150 <= len(row["answer"]) <= 1500:
            topics[row["focus"]].append(row)
    several = sorted(topic for topic, rows in topics.items() if len(rows) >= 2)
    rows, answers = [], set()
    for topic in random.Random(11).sample(several, len(several)):
        for row in topics[topic][:3]:
            if len(rows) < ROWS and row["answer"] not in answers:
                answers.add(row["answer"])
                rows.append({name: row[name] for name in ("id", "question", "answer")})
    with open(out, "w", encoding="utf-8") as file:
        json.dump({"source": SOURCE, "rows": rows}, file, ensure_ascii=False, indent=0)
        file.write("\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
