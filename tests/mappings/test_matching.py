"""How alike records are: each reason for and against, and that few are compared at all."""

from itertools import combinations

import pytest

from mappings.matching import SUSPECTED, blocks_of, compare, plain_name

LEEDS = {"line1": "1 High Street", "postal_code": "LS1 1AA", "country": "GB"}
BLUE = {"name": "Blue Bikes Ltd", "email": "pay@blue.test", "bill_to": LEEDS,
        "tax_registrations": [{"country": "GB", "number": "GB 123"}]}  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "score", "reasons"),
    [
        ({"name": "BLUE BIKES LIMITED"}, 100, ("the same name", "the same tax registration GB123",
                                              "e-mail at the same domain blue.test", "the same postal code",
                                              "the same street")),
        ({"name": "Other", "email": "", "bill_to": None}, 60, ("the same tax registration GB123",)),
        ({"email": "", "bill_to": None, "tax_registrations": []}, 60, ("the same name",)),
        ({"email": "", "bill_to": None, "tax_registrations": [{"number": "GB999"}]}, 20,
         ("the same name", "other tax registrations")),
        ({"name": "Blue Bikez", "tax_registrations": []}, 45, ("e-mail at the same domain blue.test",
                                                              "the same postal code", "the same street")),
        ({"name": "Red", "email": "x@gmail.com", "bill_to": {"postal_code": "M1", "country": "GB"},
          "tax_registrations": []}, 0, ("other postal codes",)),
    ],
)  # fmt: skip
def test_customers_are_compared_by_name_tax_registration_domain_and_address(changes, score, reasons):
    assert compare("customer", BLUE, BLUE | changes) == compare("customer", BLUE | changes, BLUE)
    match = compare("customer", BLUE, BLUE | changes)
    assert (match.score, match.reasons) == (score, reasons)
    assert match.is_suspected == (score >= SUSPECTED)


def test_two_names_that_are_nearly_the_same_and_pay_from_one_account_are_suspected():
    one = {"name": "Northwind Traders International", "pays_from": "sepa_debit 3000"}
    typo = {"name": "Northwind Traders Internationl", "pays_from": "sepa_debit 3000"}
    match = compare("customer", one, typo)
    assert match.reasons == ("names alike by 98 %", "pay from the same sepa debit ending 3000")
    assert match.is_suspected
    assert set(blocks_of("customer", one)) & set(blocks_of("customer", typo)) == {"pays:sepa_debit 3000"}
    assert not compare("customer", one, typo | {"name": "Contoso"}).is_suspected


def test_a_name_that_is_nearly_the_same_counts_unless_its_numbers_differ():
    one, typo = {"name": "Northwind Traders International"}, {"name": "Northwind Traders Internationl"}
    assert compare("customer", one, typo).reasons == ("names alike by 98 %",)
    assert compare("customer", {"name": "Customer 17850"}, {"name": "Customer 17851"}).score == 0


def test_products_by_sku_and_contracts_by_order():
    assert compare("product", {"sku": "gtx-1", "name": "Gate"}, {"sku": "GTX1", "name": "Gate"}).score == 100
    assert compare("product", {"sku": "A", "name": "Gate"}, {"sku": "B", "name": "Gate"}).score == 30
    contract = {"order_id": "006A", "customer_id": "cus_1", "start_date": "2026-01-01"}
    assert compare("subscription", contract, contract | {"customer_id": "cus_2"}).reasons == (
        "of the same order 006A", "the same start date",
    )  # fmt: skip


def test_names_lose_accents_case_and_legal_form_but_never_everything():
    assert plain_name("Müller & Söhne GmbH") == plain_name("SOHNE MULLER") == "muller sohne"
    assert plain_name("The Company Ltd") == "company ltd the"


def test_only_records_that_share_a_block_are_compared():
    contents = [{"name": f"Customer {n}", "email": f"a@c{n}.test"} for n in range(1000)]
    contents += [{"name": "Customer 7 Ltd", "email": "b@c7.test"}]
    blocks: dict[str, list[int]] = {}
    for place, content in enumerate(contents):
        for block in blocks_of("customer", content):
            blocks.setdefault(block, []).append(place)
    pairs = {pair for places in blocks.values() for pair in combinations(places, 2)}
    assert pairs == {(7, 1000)}
