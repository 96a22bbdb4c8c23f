"""A format that only its loader knows: records between lines of dashes, of a title and a body."""

import datetime

import numpy as np

WORDS = {"law": "the court rejects the appeal of the plaintiff", "food": "boil the potatoes in salted water"}


def write_records(path, kinds):
    """Writes a record of each kind; one without a kind has no body."""
    records = []
    for number, kind in enumerate(kinds):
        words = WORDS.get(kind, "").split()
        records.append(f"{kind} {number}\n{' '.join([*words, *words[number % 5 :]])}")
    path.write_text("\n----\n".join(records))


def load(path):
    """The records of a file."""
    with open(path, encoding="utf-8") as file:
        for number, record in enumerate(file.read().split("\n----\n")):
            title, body = record.split("\n")
            day = datetime.date(2020, 1, 1) + datetime.timedelta(number)
            yield {"title": title, "doc": {"body": body}, "day": day, "number": np.int64(number)}


def text_of(example):
    """The text of a record; raises for one without."""
    if not example["doc"]["body"]:
        raise ValueError(f"{example['title']} has no body")
    return example["doc"]["body"]
