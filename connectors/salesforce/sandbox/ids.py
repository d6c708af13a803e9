"""Salesforce record ids: 15 characters that tell case apart, or 18 with a suffix that makes them safe without case."""

import string

ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
SUFFIX = string.ascii_uppercase + "012345"
POD = "5gQ"
STEP = 37  # neighbouring records differ in more than their last character


def make_id(prefix: str, number: int) -> str:
    """The 18-character id of the so-many-th record of a type, e.g. 001 and 1 give 0015gQ00000000bIAA."""
    number *= STEP
    digits = ""
    while number:
        number, digit = divmod(number, 62)
        digits = ALPHABET[digit] + digits
    return add_suffix(prefix + POD + digits.rjust(9, "0"))


def add_suffix(short: str) -> str:
    """The 18-character form of a 15-character id: one letter for the capitals in each five characters."""
    suffix = ""
    for start in (0, 5, 10):
        bits = sum(
            1 << place for place, letter in enumerate(short[start : start + 5]) if letter in string.ascii_uppercase
        )
        suffix += SUFFIX[bits]
    return short + suffix


def read_id(given: object) -> str | None:
    """The 18-character form of an id in either form, None when it's none (wrong length, character or suffix).

    With a right suffix the case of the first 15 characters is restored from it, as Salesforce does.
    """
    if not isinstance(given, str) or len(given) not in (15, 18) or not given.isascii() or not given.isalnum():
        return None
    if len(given) == 15:
        return add_suffix(given)
    if add_suffix(given[:15]) == given:
        return given
    return _restore_case(given)


def _restore_case(given: str) -> str | None:
    letters = list(given[:15].lower())
    for group, letter in enumerate(given[15:].upper()):
        if letter not in SUFFIX:
            return None
        bits = SUFFIX.index(letter)
        for place in range(5):
            if bits >> place & 1:
                index = group * 5 + place
                if not letters[index].isalpha():
                    return None
                letters[index] = letters[index].upper()
    return add_suffix("".join(letters))
