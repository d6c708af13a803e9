"""Which customers are persons, as far as their records tell: no account of the CRM, no parent, no tax registration."""

from __future__ import annotations

from collections.abc import Iterable

from q2c.records.models import GoldenRecord

_OF_COMPANIES = ("crm_id", "parent_id", "tax_registrations")
_WORDS = {"gmbh", "ag", "ltd", "limited", "inc", "llc", "plc", "kg", "se", "corp", "co", "company", "group", "bv", "sa"}


def persons_among(names: Iterable[str]) -> tuple[str, ...]:
    """Of these names of customers those of persons: they are covered in what is said freely. One statement."""
    hopes = sorted({name.strip() for name in names if _may_be_a_persons(name)})
    if not hopes:
        return ()
    rows = GoldenRecord.objects.filter(record_type="customer", name__in=hopes)
    told = dict[str, bool]()
    for name, content in rows.values_list("name", "content"):
        told[name] = told.get(name, True) and not any(content.get(fact) for fact in _OF_COMPANIES)
    return tuple(name for name, is_person in told.items() if is_person)


def _may_be_a_persons(name: str) -> bool:
    words = name.replace(".", "").split()
    is_plain = all(word.replace("-", "").replace("’", "").replace("'", "").isalpha() for word in words)
    return 2 <= len(words) <= 4 and is_plain and not _WORDS & {word.lower() for word in words}
