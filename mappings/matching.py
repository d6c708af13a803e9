"""How alike two records are, and why. Pure: no table is asked.

Records that share no block are never compared, so the work stays far below every pair with every other. A score of 100
is certain, from `SUSPECTED` on somebody should look; each reason says what was found in words.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rapidfuzz import fuzz

SUSPECTED = 60
BLOCK_MAX = 50  # a block with more records says nothing about any two of them
NAME_CLOSE, STREET_CLOSE = 92, 88
_LEGAL_FORMS = frozenset(
    re.findall(
        r"\w+",
        "ab ag bv co company corp corporation gmbh inc incorporated kg kk limited llc llp ltd nv oy plc pty sa sarl "
        "sas se spa srl the",
    )
)
_PUBLIC_MAIL = frozenset(
    re.findall(
        r"\S+",
        "aol.com gmail.com gmx.de gmx.net googlemail.com hotmail.com icloud.com live.com me.com outlook.com proton.me "
        "web.de yahoo.com",
    )
)


@dataclass(frozen=True)
class Match:
    """What comparing two records gave: a score from 0 to 100 and the reasons for and against."""

    score: int
    reasons: tuple[str, ...]

    @property
    def is_suspected(self) -> bool:
        """Whether somebody should look."""
        return self.score >= SUSPECTED


def blocks_of(record_type: str, content: Mapping[str, Any]) -> list[str]:
    """The record's blocks: only records that share one are compared."""
    if record_type == "customer":
        return sorted(_customer_blocks(content))
    if record_type == "product":
        sku, name = _code(content.get("sku")), plain_name(content.get("name"))
        return [block for block in (sku and f"sku:{sku}", name and f"name:{name}") if block]
    if record_type == "subscription":
        return [f"order:{content['order_id']}"] if content.get("order_id") else []
    return []


def compare(record_type: str, a: Mapping[str, Any], b: Mapping[str, Any]) -> Match:
    """How alike two records of one type are, by their agreed contents."""
    found = {"customer": _customers, "product": _products, "subscription": _subscriptions}.get(record_type)
    points = found(a, b) if found else []
    score = sum(weight for weight, _ in points)
    return Match(max(0, min(100, score)), tuple(reason for _, reason in points))


def plain_name(name: Any) -> str:
    """A name without accents, case, punctuation and legal form: "Müller & Söhne GmbH" is "muller sohne"."""
    text = unicodedata.normalize("NFKD", str(name or "")).encode("ascii", "ignore").decode().lower()
    words = re.findall(r"[a-z0-9]+", text)
    kept = [word for word in words if word not in _LEGAL_FORMS] or words
    return " ".join(sorted(kept))


def _customer_blocks(content: Mapping[str, Any]) -> set[str]:
    blocks = {f"tax:{number}" for number in _tax_numbers(content)}
    if name := plain_name(content.get("name")):
        blocks.add(f"name:{name}")
        longest = max(name.split(), key=lambda word: (len(word), word))
        if postcode := _postcode(content):
            blocks.add(f"post:{postcode}:{longest[:4]}")
    if domain := _domain(content):
        blocks.add(f"mail:{domain}")
    if content.get("pays_from"):
        blocks.add(f"pays:{content['pays_from']}")
    return blocks


def _customers(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[tuple[int, str]]:
    points = [*_names(a, b)]
    mine, theirs = _tax_numbers(a), _tax_numbers(b)
    if mine & theirs:
        points.append((60, f"the same tax registration {min(mine & theirs)}"))
    elif mine and theirs:
        points.append((-40, "other tax registrations"))
    if _domain(a) and _domain(a) == _domain(b):
        points.append((20, f"e-mail at the same domain {_domain(a)}"))
    post, other = _postcode(a), _postcode(b)
    if post and other:
        points.append((15, "the same postal code") if post == other else (-15, "other postal codes"))
    if a.get("pays_from") and a.get("pays_from") == b.get("pays_from"):
        sort, _, digits = str(a["pays_from"]).rpartition(" ")
        points.append((25, f"pay from the same {sort.replace('_', ' ')} ending {digits}"))
    street, other_street = _street(a), _street(b)
    if street and other_street and post == other and fuzz.ratio(street, other_street) >= STREET_CLOSE:
        points.append((10, "the same street"))
    return points


def _names(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[tuple[int, str]]:
    name, other = plain_name(a.get("name")), plain_name(b.get("name"))
    if not name or not other:
        return []
    if name == other:
        return [(60, "the same name")]
    if re.findall(r"\d+", name) != re.findall(r"\d+", other):
        return []  # "Site 12" and "Site 13" are two
    close = fuzz.ratio(name, other)
    return [(35, f"names alike by {close:.0f} %")] if close >= NAME_CLOSE else []


def _products(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[tuple[int, str]]:
    points = []
    sku, other = _code(a.get("sku")), _code(b.get("sku"))
    if sku and sku == other:
        points.append((70, f"the same SKU {a.get('sku')}"))
    if plain_name(a.get("name")) and plain_name(a.get("name")) == plain_name(b.get("name")):
        points.append((60 if not (sku and other) else 30, "the same name"))
    return points


def _subscriptions(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[tuple[int, str]]:
    points = []
    if a.get("order_id") and a.get("order_id") == b.get("order_id"):
        points.append((60, f"of the same order {a['order_id']}"))
    for field, weight in (("customer_id", 20), ("start_date", 20)):
        if a.get(field) and a.get(field) == b.get(field):
            points.append((weight, f"the same {field.removesuffix('_id').replace('_', ' ')}"))
    return points


def _tax_numbers(content: Mapping[str, Any]) -> set[str]:
    return {_code(row.get("number")) for row in content.get("tax_registrations") or () if _code(row.get("number"))}


def _domain(content: Mapping[str, Any]) -> str:
    domain = str(content.get("email") or "").rpartition("@")[2].strip().lower()
    return "" if domain in _PUBLIC_MAIL else domain


def _postcode(content: Mapping[str, Any]) -> str:
    bill_to = content.get("bill_to") or {}
    code = _code(bill_to.get("postal_code"))
    return f"{bill_to.get('country') or ''}{code}" if code else ""


def _street(content: Mapping[str, Any]) -> str:
    return plain_name((content.get("bill_to") or {}).get("line1"))


def _code(value: Any) -> str:
    return re.sub(r"[^A-Z0-9]", "", str(value or "").upper())
