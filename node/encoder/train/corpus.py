"""The open texts that the built-in encoder is made from, and the rule by which a text becomes words.

Split of MedQuAD by topic (its `focus`): one topic in five is held out. Vocabulary, counts and training see the
*answers* of the other topics, PubMedQA's abstracts and MTS-Dialog's notes; no question of MedQuAD or PubMedQA is
ever fitted to. PubMedQA's questions choose between settings (development); MedQuAD's questions are the test.
"""

import csv
import glob
import hashlib
import json
import os
import unicodedata

DATA = os.environ.get("CONSILIUM_DATA", os.path.join(os.path.dirname(__file__), "../../../../shared/data"))


def held_out(focus):
    """Whether a topic is kept away from everything that is fitted."""
    digest = hashlib.sha256(focus.strip().lower().encode()).digest()
    return digest[0] % 5 == 0


def medquad():
    """Every row: id, question, answer, focus, held."""
    rows = []
    for path in sorted(glob.glob(os.path.join(DATA, "medquad", "*.jsonl"))):
        for line in open(path, encoding="utf-8"):
            row = json.loads(line)
            rows.append(
                {
                    "id": row["id"],
                    "question": row["question"],
                    "answer": row["answer"],
                    "focus": row["focus"] or "",
                    "held": held_out(row["focus"] or ""),
                }
            )
    return rows


def pubmedqa():
    """Question and abstract (contexts joined; the long answer left out)."""
    with open(os.path.join(DATA, "pubmedqa", "ori_pqal.json"), encoding="utf-8") as file:
        table = json.load(file)
    return [(row["QUESTION"], " ".join(row["CONTEXTS"])) for _, row in sorted(table.items())]


def notes():
    """MTS-Dialog's note sections of its training set."""
    path = os.path.join(DATA, "mts-dialog", "MTS-Dialog-TrainingSet.csv")
    with open(path, encoding="utf-8", newline="") as file:
        return [row["section_text"] for row in csv.DictReader(file)]


def words(text):
    """The rule of `src/words.rs`: lower case, accents stripped, runs of letters and digits; every other
    character that is not white space stands alone."""
    out, word = [], []
    for character in unicodedata.normalize("NFD", text.lower()):
        if character.isalnum():
            word.append(character)
        elif unicodedata.category(character) == "Mn":
            continue
        else:
            if word:
                out.append("".join(word))
                word = []
            if not character.isspace() and unicodedata.category(character) not in ("Cc", "Cf"):
                out.append(character)
    if word:
        out.append("".join(word))
    return out


def pieces(word, vocabulary, longest=64):
    """Greedy longest match first, as WordPiece does; None where a word cannot be covered."""
    if len(word) > longest:
        return None
    out, start = [], 0
    while start < len(word):
        end = len(word)
        while end > start:
            piece = word[start:end] if start == 0 else "##" + word[start:end]
            if piece in vocabulary:
                out.append(vocabulary[piece])
                break
            end -= 1
        if end == start:
            return None
        start = end
    return out
