"""What is always the same in a system's sentence about many documents: its words, without what is particular to one.

Pure. Two documents that fail for one reason are one piece of work, though the sentence names another id, number, amount
or instant each time.
"""

from __future__ import annotations

import re

_LENGTH_MAX = 200
_ANY = "#"
_ADDRESSES = re.compile(r"https?://\S+|[^\s'\"]+@[^\s'\"]+")
_NAMED_LAST = re.compile(r"(?<=: )(['\"“‘`])[^'\"”’`]*['\"”’`]")  # "No such customer: 'cus_x'"
_WORDS = re.compile(r"[\w$€£*+\-@%?=.,:/]*\d[\w$€£*+\-@%?=.,:/]*")  # whatever holds a digit: ids, amounts, dates, hours
_LIST = re.compile(r"#(?:[\s,;]+(?:and\s+)?#)+")


def without_particulars(sentence: str) -> str:
    """The sentence in small letters, with `#` for addresses, ids, numbers, amounts, dates and lists of them.

    Names of custom fields (`Q2C_Status__c`) stay: they are what the sentence is about.
    """
    text = _ADDRESSES.sub(_ANY, sentence)
    text = _NAMED_LAST.sub(_ANY, text)
    text = _WORDS.sub(lambda word: word[0] if "__" in word[0] else _ANY + _ending(word[0]), text)
    return " ".join(_LIST.sub(_ANY, text).split()).casefold()[:_LENGTH_MAX]


def _ending(word: str) -> str:
    """The stop or comma behind a word, which isn't part of it."""
    return word[-1] if word[-1] in ".,:?" else ""
