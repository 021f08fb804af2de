"""Makes this folder's three hospitals from ACI-Bench and MTS-Dialog: make.py ACI_BENCH_FOLDER MTS_DIALOG_FOLDER

Each sub-corpus of ACI-Bench is a hospital. Its patients are the encounters, with their notes and the names that the
metadata give; MTS-Dialog's sections, which name no patient, are spread among the three as further patients.
Python's standard library alone; the same input gives the same bytes.
"""

import csv
import gzip
import json
import re
import sys
from pathlib import Path

HOSPITALS = ("aci", "virtassist", "virtscribe")
# Shorter sections ("Noncontributory.") say nothing that a search could find.
SECTION_WORDS_MIN = 12


def rows(path):
    csv.field_size_limit(1 << 30)
    with open(path, encoding="utf-8-sig", newline="") as file:
        yield from csv.DictReader(file)


def encounters(folder):
    metadata = {}
    for path in sorted(folder.glob("*_metadata.csv")):
        metadata |= {row["encounter_id"]: row for row in rows(path)}
    for path in sorted(folder.glob("*.csv")):
        if path.name.endswith("_metadata.csv"):
            continue
        for row in rows(path):
            about = metadata[row["encounter_id"]]
            first, family = (about[f"patient_{part}name"].strip() for part in ("first", "family"))
            names = [f"{first} {family}".strip(), about["doctor_name"].strip()]
            complaints = [part.strip() for part in about["2nd_complaints"].split(";")]
            yield row["dataset"], {
                "id": f"aci-bench:{row['encounter_id']}",
                "patient": f"aci-bench:{row['encounter_id']}",
                "title": about["cc"].strip(),
                "text": row["note"].strip(),
                "names": [name for name in names if name],
                "kind": "NOTE",
                "sex": about["patient_gender"].strip(),
                # Safe Harbor: an age over 89 is 90 or more.
                "age": min(int(about["patient_age"]), 90) if about["patient_age"].strip().isdigit() else None,
                "complaints": [part for part in complaints if part],
            }


def sections(folder):
    at = 0
    for path in sorted(folder.glob("*.csv")):
        part = re.sub(r"^MTS-Dialog-|\.csv$", "", path.name)
        for row in rows(path):
            text = row["section_text"].strip()
            if len(text.split()) < SECTION_WORDS_MIN:
                continue
            name = f"mts-dialog:{part}-{row['ID']}"
            yield HOSPITALS[at % len(HOSPITALS)], {
                "id": name,
                "patient": name,
                "title": "",
                "text": text,
                "names": [],
                "kind": row["section_header"].strip(),
                "sex": "",
                "age": None,
                "complaints": [],
            }
            at += 1


def main():
    aci_bench, mts_dialog = (Path(argument) for argument in sys.argv[1:3])
    notes = {hospital: [] for hospital in HOSPITALS}
    for hospital, note in [*encounters(aci_bench), *sections(mts_dialog)]:
        notes[hospital].append(note)
    for hospital, found in notes.items():
        lines = "".join(json.dumps(note, ensure_ascii=False) + "\n" for note in found)
        path = Path(__file__).parent / f"{hospital}.jsonl.gz"
        path.write_bytes(gzip.compress(lines.encode(), 9, mtime=0))
        print(hospital, len(found), "notes and sections,", len(lines.encode()), "bytes")


main()
