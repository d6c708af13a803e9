"""What is covered of a message's text, and what isn't."""

import pytest

from q2c.core.masking import mask_said, mask_text, mask_values


@pytest.mark.parametrize(
    ("text", "shown", "names"),
    [
        ('{"email": "ann@acme.example", "id": "cus_1"}', '{"email": "[masked]", "id": "cus_1"}', ("email",)),
        ('{"last4": "4242", "brand": "visa"}', '{"last4": "[masked]", "brand": "visa"}', ("last4",)),
        ('{"phone": 4930123, "total": 12.50}', '{"phone": "[masked]", "total": 12.50}', ("phone",)),
        ('{"line1": "1 \\"High\\" St", "country": "GB"}', '{"line1": "[masked]", "country": "GB"}', ("line1",)),
        ('{"BillingPostalCode": "10115"}', '{"BillingPostalCode": "[masked]"}', ("billingpostalcode",)),
        ('{"body": "{\\"zip\\":\\"10115\\",\\"n\\":1}"}', '{"body": "{\\"zip\\":\\"[masked]\\",\\"n\\":1}"}', ("zip",)),
        ("amount=12&shipping%5Bphone%5D=123", "amount=12&shipping%5Bphone%5D=[masked]", ("phone",)),
        ("<ns:email>ann</ns:email><total>12</total>", "<ns:email>[masked]</ns:email><total>12</total>", ("email",)),
        ('{"cardholder_name": "Ann"}', '{"cardholder_name": "[masked]"}', ("cardholdername",)),
        ('{"phones": ["1", "2"], "n": ["1"]}', '{"phones": ["[masked]"], "n": ["1"]}', ("phones",)),
        ('{"address": "1 High St"}', '{"address": "[masked]"}', ("address",)),
        (
            '{"shipping": {"a": {"b": 1}, "name": "Ann"}}',
            '{"shipping": {"a": {"b": 1}, "name": "[masked]"}}',
            ("name",),
        ),
        ("asked by ann%40acme.example today", "asked by [masked] today", ("mail address",)),
        ("to DE89 3704 0044 0532 0130 00", "to [masked]", ("iban",)),
        ('{"email": "", "phone": null, "sku": "22423"}', '{"email": "", "phone": null, "sku": "22423"}', ()),
        ("INV-88213 of 2026-11-22, EUR 1,204.00", "INV-88213 of 2026-11-22, EUR 1,204.00", ()),
    ],
)
def test_personal_values_are_covered_by_name_or_shape_and_nothing_else(text, shown, names):
    assert mask_text(text) == (shown, names)


def test_what_was_read_is_covered_by_name_and_shape_and_keeps_its_form():
    said = {
        "email": "ann@acme.example", "phones": ["1", "2"], "note": "of\nann@acme.example", "total": 12, "paid": True,
        "billing_details": {"name": "Ann", "address": {"line1": "1 \"High\" St", "country": "GB"}}, "name": "Acme Ltd",
    }  # fmt: skip
    assert mask_values(said) == {
        "email": "[masked]", "phones": ["[masked]", "[masked]"], "note": "of\n[masked]", "total": 12, "paid": True,
        "billing_details": {"name": "[masked]", "address": {"line1": "[masked]", "country": "GB"}}, "name": "Acme Ltd",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("Call +49 (0)171 1234567 or 0171/1234567.", "Call [masked] or [masked]."),
        ("Fax (555) 123-4567, 555-123-4567; 0044 20 7946 0958", "Fax [masked], [masked]; [masked]"),
        ("ann@acme.example paid to DE89 3704 0044 0532 0130 00", "[masked] paid to [masked]"),
        ("Ada Lovelace, ada  lovelace: Ms. Lovelace called", "[masked], [masked]: Ms. [masked] called"),
        ("INV-2026-000123 of 2026-11-22, EUR 1,204.00", "INV-2026-000123 of 2026-11-22, EUR 1,204.00"),
        ("EX-2041 on 01.11.2026 and 01/11/2026, 06-12-2026", "EX-2041 on 01.11.2026 and 01/11/2026, 06-12-2026"),
        ("10482 0.00500000 01234,56 in_1Q0123456789", "10482 0.00500000 01234,56 in_1Q0123456789"),
        ("Bob's bill, lovelace ltd", "Bob's bill, lovelace ltd"),
    ],
)
def test_what_people_write_is_covered_by_shape_and_by_the_names_that_are_known(said, shown):
    assert mask_said(said, ["Ada Lovelace", "Bo Li"]) == shown


def test_known_names_are_covered_in_a_message_of_any_form():
    said = '{"memo": "for ADA LOVELACE, 2 hours", "to": "lovelace"}'
    assert mask_text(said, ["Ada Lovelace"]) == (
        '{"memo": "for [masked], 2 hours", "to": "lovelace"}', ("name of a person",),
    )  # fmt: skip
