"""What is particular to one document goes, what the sentence is about stays."""

import pytest

from q2c.core.wording import without_particulars


@pytest.mark.parametrize(
    ("sentence", "words"),
    [
        ("Please enter value(s) for: Location.", "please enter value(s) for: location."),
        ("Invalid item reference key 880 for subsidiary 3.", "invalid item reference key # for subsidiary #."),
        ("Charge ch_3Qa0 has already been refunded.", "charge # has already been refunded."),
        ("No such customer: 'cus_missing'", "no such customer: #"),
        ("No such column 'Q2C_Status__c' on entity 'Order'", "no such column 'q2c_status__c' on entity 'order'"),
        ("More than one record: [8015g000000ORD1AAM, 8015g000000ORD2AAM]", "more than one record: [#]"),
        ("More than one record: [8015g000000ORD1AAM]", "more than one record: [#]"),
        ("Amount: value not of required type: 12.000,00", "amount: value not of required type: #"),
        ("at 2026-11-20T09:30:00Z, request 6f1c5a0e-3f7b-4c0e-9a51-1f2d3c4b5a69", "at #, request #"),
        ("Amount must be at least $0.50 usd", "amount must be at least # usd"),
        ("Invalid email address: ap@northwind.test", "invalid email address: #"),
        ("See https://example.test/logs/req_1?t=17 for more", "see # for more"),
        ("Buchungsperiode 010 2026 ist nicht geöffnet", "buchungsperiode # ist nicht geöffnet"),
        ("a  b\n c", "a b c"),
        ("", ""),
    ],
)
def test_a_sentence_keeps_its_words(sentence, words):
    assert without_particulars(sentence) == words


def test_a_long_sentence_is_cut_and_still_the_same_for_two_documents():
    one, other = (f"Order {n} " + "was refused, and so on, " * 20 + n for n in ("4711", "4712"))
    assert without_particulars(one) == without_particulars(other)
    assert len(without_particulars(one)) == 200
