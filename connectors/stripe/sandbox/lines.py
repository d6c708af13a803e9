"""The lines of invoices and credit notes: computed, kept in chunks, shown in Stripe's full form, and paged.

An invoice may have more than a thousand lines, so they don't stand in the invoice: the first chunk holds the ten that
are embedded, later ones a hundred each. A line is stored short and shown long.
"""

from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from connectors.sandbox.request import Answer, Request, decode_json
from connectors.stripe.sandbox import forms
from connectors.stripe.sandbox.catalog import format_decimal
from connectors.stripe.sandbox.core import StripeCore, make_id, read_given
from connectors.stripe.sandbox.errors import invalid, missing_param, no_such
from connectors.stripe.sandbox.lists import read_limit

EMBEDDED, CHUNK = 10, 100
CHUNK_TYPE = "_lines"

PRICE_DATA = forms.nested(
    {
        "currency": forms.currency,
        "product": forms.text,
        "product_data": forms.anything,
        "unit_amount": forms.amount,
        "unit_amount_decimal": forms.decimal,
        "tax_behavior": forms.text,
    },
    required=("currency",),
)
TAX_AMOUNT = forms.nested(
    {
        "amount": forms.amount,
        "taxable_amount": forms.amount,
        "tax_rate": forms.text,
        "tax_rate_data": forms.anything,
        "taxability_reason": forms.text,
        "inclusive": forms.boolean,
    },
    required=("amount", "taxable_amount"),
)
LINE: forms.Spec = {
    "amount": forms.amount,
    "description": forms.text,
    "discountable": forms.boolean,
    "invoice_item": forms.text,
    "metadata": forms.metadata,
    "period": forms.PERIOD,
    "price_data": PRICE_DATA,
    "pricing": forms.nested({"price": forms.text}),
    "quantity": forms.integer,
    "quantity_decimal": forms.decimal,
    "tax_amounts": forms.many(TAX_AMOUNT),
    "tax_rates": forms.many(forms.text),
}
# The control door takes more: what an import of finished documents needs.
MADE_LINE: forms.Spec = {
    **LINE,
    "discount_amounts": forms.many(forms.nested({"amount": forms.not_negative}, required=("amount",))),
    "unit_amount_decimal": forms.decimal,
    "price": forms.text,
    "product": forms.text,
    "currency": forms.currency,
}


def round_amount(amount: Decimal) -> int:
    """Minor units, half up away from zero."""
    return int(amount.quantize(Decimal(1), ROUND_HALF_UP))


def compute_line(stripe: StripeCore, given: dict[str, Any], currency: str, *, param: str = "lines") -> dict:
    """A short line out of its parameters: amount, or quantity × price. Raises Refusal."""
    price_id = (given.get("pricing") or {}).get("price") or given.get("price")
    price_data = given.get("price_data") or {}
    unit, product = given.get("unit_amount_decimal"), given.get("product") or price_data.get("product")
    if price_id:
        price = stripe.fetch("price", price_id, param=f"{param}[pricing][price]")
        if price["currency"] != currency:
            raise invalid(
                f"The price specified is in {price['currency']}, the invoice in {currency}.", param=f"{param}[pricing]"
            )
        unit, product = Decimal(price["unit_amount_decimal"]), price["product"]
    elif price_data:
        unit = price_data.get("unit_amount_decimal")
        if unit is None:
            unit = None if price_data.get("unit_amount") is None else Decimal(price_data["unit_amount"])
    quantity = given.get("quantity_decimal")
    if quantity is None:
        quantity = Decimal(1 if given.get("quantity") is None else given["quantity"])
    amount = given.get("amount")
    if amount is None:
        if unit is None:
            raise missing_param(f"{param}[amount]")
        amount = round_amount(quantity * unit)
    elif unit is None:
        unit = Decimal(amount) if quantity == 1 or not quantity else Decimal(amount) / quantity
    line: dict[str, Any] = {"id": make_id("il"), "a": amount, "q": format_decimal(quantity)}
    line["u"] = format_decimal(round(unit, 12))
    for short, value in (
        ("d", given.get("description")),
        ("p", price_id),
        ("o", product),
        ("m", given.get("metadata")),
        ("i", given.get("invoice_item")),
        ("x", given.get("period") and [given["period"]["start"], given["period"]["end"]]),
        ("r", given.get("tax_rates")),
        ("g", [each["amount"] for each in given.get("discount_amounts") or ()]),
    ):
        if value:
            line[short] = value
    if given.get("tax_amounts"):
        line["t"] = [fix_tax(each) for each in given["tax_amounts"]]
    return line


def discounted(line: dict) -> int:
    """A line's amount after its discounts: what is taxed."""
    return line["a"] - sum(line.get("g", ()))


def fix_tax(given: dict[str, Any]) -> dict:
    """A tax that the caller computed."""
    data = given.get("tax_rate_data") or {}
    inclusive = given.get("inclusive") or str(data.get("inclusive")).lower() == "true"
    return {
        "amount": given["amount"],
        "inclusive": bool(inclusive),
        "taxable_amount": given["taxable_amount"],
        "tax_rate": given.get("tax_rate"),
        "reason": given.get("taxability_reason") or "standard_rated",
    }


def compute_taxes(line: dict, rates: dict[str, dict], default: list[str]) -> None:
    """Fill in a line's taxes from its rates (or the invoice's), half up per line, unless they were given."""
    if "t" in line and not line.get("computed"):
        return
    taxes = []
    for id in line.get("r") or default:
        rate = rates[id]
        percentage = Decimal(str(rate["percentage"]))
        taxable = discounted(line)
        amount = Decimal(taxable)
        if rate["inclusive"]:
            tax = round_amount(amount * percentage / (100 + percentage))
            taxable -= tax
        else:
            tax = round_amount(amount * percentage / 100)
        taxes.append(
            {
                "amount": tax,
                "inclusive": rate["inclusive"],
                "taxable_amount": taxable,
                "tax_rate": id,
                "reason": "standard_rated" if percentage else "zero_rated",
            }
        )
    if taxes:
        line["t"], line["computed"] = taxes, True


def show_tax(tax: dict) -> dict:
    """A tax as lines and totals show it."""
    return {
        "amount": tax["amount"],
        "tax_behavior": "inclusive" if tax["inclusive"] else "exclusive",
        "tax_rate_details": {"tax_rate": tax["tax_rate"]} if tax["tax_rate"] else None,
        "taxability_reason": tax["reason"],
        "taxable_amount": tax["taxable_amount"],
        "type": "tax_rate_details",
    }


def show_discounts(line: dict) -> list[dict]:
    """A line's discounts as lines and totals show them."""
    return [{"amount": amount, "discount": f"di_{line['id'][3:]}{n}"} for n, amount in enumerate(line.get("g", ()))]


def show_line(line: dict, document: dict) -> dict:
    """An invoice's line in full."""
    quantity, currency = line["q"], document["currency"]
    start, end = line.get("x") or (document["period_start"], document["period_end"])
    subscription = line.get("s")
    if subscription:
        parent = {
            "type": "subscription_item_details",
            "invoice_item_details": None,
            "subscription_item_details": {
                "invoice_item": line.get("i"),
                "proration": bool(line.get("pro")),
                "proration_details": {"credited_items": None},
                "subscription": subscription,
                "subscription_item": line.get("si"),
            },
        }
    else:
        parent = {
            "type": "invoice_item_details",
            "invoice_item_details": {
                "invoice_item": line.get("i") or f"ii_{line['id'][3:]}",
                "proration": False,
                "proration_details": {"credited_items": None},
                "subscription": None,
            },
            "subscription_item_details": None,
        }
    pricing = {"type": "price_details", "unit_amount_decimal": line["u"]}
    pricing["price_details"] = (
        {"price": line.get("p"), "product": line.get("o")} if "p" in line or "o" in line else None
    )
    return {
        "id": line["id"],
        "object": "line_item",
        "amount": line["a"],
        "currency": currency,
        "description": line.get("d"),
        "discount_amounts": show_discounts(line),
        "discountable": True,
        "discounts": [],
        "invoice": document["id"],
        "livemode": False,
        "metadata": line.get("m") or {},
        "parent": parent,
        "period": {"start": start, "end": end},
        "pretax_credit_amounts": [],
        "pricing": pricing,
        "quantity": int(Decimal(quantity)),
        "quantity_decimal": quantity,
        "subscription": subscription,
        "subtotal": line["a"],
        "taxes": [show_tax(tax) for tax in line.get("t", ())],
    }


def show_credit_line(line: dict, document: dict) -> dict:
    """A credit note's line in full."""
    unit = line.get("u")
    return {
        "id": line["id"],
        "object": "credit_note_line_item",
        "amount": line["a"],
        "description": line.get("d"),
        "discount_amount": 0,
        "discount_amounts": [],
        "livemode": False,
        "metadata": line.get("m") or {},
        "pretax_credit_amounts": [],
        "quantity": int(Decimal(line["q"])) if line.get("q") is not None else None,
        "tax_rates": [],
        "taxes": [show_tax(tax) for tax in line.get("t", ())],
        "type": "invoice_line_item" if line.get("l") else "custom_line_item",
        "unit_amount": int(unit) if unit is not None and unit.lstrip("-").isdigit() else None,
        "unit_amount_decimal": unit,
        **({"invoice_line_item": line["l"]} if line.get("l") else {}),
    }


SHOW = {"invoice": show_line, "credit_note": show_credit_line}
PATHS = {"invoice": "invoices", "credit_note": "credit_notes"}


def store_lines(stripe: StripeCore, document: dict, lines: list[dict]) -> None:
    """Replace a document's lines; `_lines` in the document counts them."""
    old = count_chunks(document.get("_lines", 0))
    document["_lines"] = len(lines)
    new = count_chunks(len(lines))
    for number in range(new):
        first = 0 if number == 0 else EMBEDDED + (number - 1) * CHUNK
        last = EMBEDDED if number == 0 else first + CHUNK
        stripe.store.put(CHUNK_TYPE, f"{document['id']}/{number}", lines[first:last])
    for number in range(new, old):
        stripe.store.delete(CHUNK_TYPE, f"{document['id']}/{number}")


def load_lines(stripe: StripeCore, document: dict) -> list[dict]:
    """All short lines of a document."""
    lines: list[dict] = []
    for number in range(count_chunks(document.get("_lines", 0))):
        lines += stripe.store.get(CHUNK_TYPE, f"{document['id']}/{number}") or []
    return lines


def count_chunks(lines: int) -> int:
    """How many chunks so many lines take."""
    if not lines:
        return 0
    return 1 + (max(0, lines - EMBEDDED) + CHUNK - 1) // CHUNK


def embed_lines(stripe: StripeCore, document: dict) -> dict:
    """The embedded list: the first ten lines."""
    show = SHOW[document["object"]]
    total = document.get("_lines", 0)
    first: list[dict] = stripe.store.get(CHUNK_TYPE, f"{document['id']}/0") if total else []
    return {
        "object": "list",
        "data": [show(line, document) for line in first or []],
        "has_more": total > EMBEDDED,
        "total_count": total,
        "url": f"/v1/{PATHS[document['object']]}/{document['id']}/lines",
    }


def list_lines(type: str) -> Any:
    """The handler of GET /things/{id}/lines: oldest first, as on the document."""

    def read(stripe: StripeCore, request: Request) -> Answer:
        document = stripe.fetch(type, request.params["id"])
        given = read_given(request)
        limit = read_limit(given)
        page = page_lines(stripe, document, given.get("starting_after"), given.get("ending_before"), limit)
        body = {
            "object": "list",
            "data": [SHOW[type](line, document) for line in page[:limit]],
            "has_more": len(page) > limit,
            "url": request.path,
        }
        return Answer(200, stripe.expand(body, given.get("expand")))

    return read


def page_lines(stripe: StripeCore, document: dict, after: str | None, before: str | None, limit: int) -> list[dict]:
    """At most limit + 1 lines from the cursor on. Only chunks that are needed are decoded."""
    if before:
        lines = load_lines(stripe, document)
        place = next((number for number, line in enumerate(lines) if line["id"] == before), None)
        if place is None:
            raise no_such("line_item", before, param="ending_before")
        earlier = lines[max(0, place - limit - 1) : place]
        return earlier if len(earlier) <= limit else [*earlier[1:], earlier[0]]
    page: list[dict] = []
    cursor, found = after or "", after is None
    for number in range(count_chunks(document.get("_lines", 0))):
        raw = stripe.store.get_raw(CHUNK_TYPE, f"{document['id']}/{number}") or b"[]"
        if not found and cursor.encode() not in raw:
            continue
        lines = decode_json(raw)
        if not found:
            place = next((index for index, line in enumerate(lines) if line["id"] == after), None)
            if place is None:
                continue
            found, lines = True, lines[place + 1 :]
        page += lines
        if len(page) > limit:
            break
    if not found:
        raise no_such("line_item", cursor, param="starting_after")
    return page[: limit + 1]


def add_up(document: dict, lines: list[dict]) -> None:
    """Set subtotal, taxes and total of a document from its lines."""
    taxes: dict[tuple, dict] = {}
    subtotal = 0
    for line in lines:
        subtotal += line["a"]
        for tax in line.get("t", ()):
            key = (tax["tax_rate"], tax["inclusive"], tax["reason"])
            known = taxes.setdefault(key, {**tax, "amount": 0, "taxable_amount": 0})
            known["amount"] += tax["amount"]
            known["taxable_amount"] += tax["taxable_amount"]
    exclusive = sum(tax["amount"] for tax in taxes.values() if not tax["inclusive"])
    inclusive = sum(tax["amount"] for tax in taxes.values() if tax["inclusive"])
    discounts = [each for line in lines for each in show_discounts(line)]
    less = sum(each["amount"] for each in discounts)
    if discounts:
        document["total_discount_amounts"] = discounts
    document["subtotal"] = subtotal
    document["subtotal_excluding_tax"] = subtotal - inclusive
    document["total"] = subtotal - less + exclusive
    document["total_excluding_tax"] = subtotal - less - inclusive
    document["total_taxes"] = [show_tax(tax) for tax in taxes.values()]
