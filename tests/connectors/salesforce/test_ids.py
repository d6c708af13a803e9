"""15 and 18 characters name the same record."""

import pytest

from connectors.salesforce.ids import full_id

# As Salesforce itself sent them (the outbound message among the fixtures; the short forms are their first 15).
PAIRS = [("0031I0000081tbP", "0031I0000081tbPQAQ"), ("0031I0000081tb0", "0031I0000081tb0QAA"),
         ("04l1I000000fztE", "04l1I000000fztEQAQ"), ("04l1I000000fzt9", "04l1I000000fzt9QAA")]  # fmt: skip


@pytest.mark.parametrize(("short", "long"), PAIRS)
def test_a_short_id_gets_its_checksum(short, long):
    assert full_id(short) == long
    assert full_id(f" {long} ") == long


@pytest.mark.parametrize(("short", "long"), PAIRS)
def test_an_id_that_lost_its_case_gets_it_back(short, long):
    assert full_id(long.lower()) == long
    assert full_id(long.upper()) == long


def test_ids_that_differ_in_case_alone_are_different_records():
    assert full_id("0031I0000081tbP") != full_id("0031I0000081tBp")


@pytest.mark.parametrize(
    "text", ["", "001", "0015g00000ABCDEAA", "0015g00000ABCD'", "0015g00000ABCDEAA41", "0015g00000ABCDE999"]
)
def test_what_is_no_id_is_refused(text):
    with pytest.raises(ValueError):
        full_id(text)
