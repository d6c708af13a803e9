"""How much may be taken off receivables, and how much of that is used: governed limits per invoice, person, customer
and period, each cumulated in the currency of the entity's book.

Whoever puts a decision into force holds the entity's lock (`hold_limits`) until it's stored, so of two people at once
only one uses the last of a limit.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from uuid import UUID

from django.db.models import Exists, OuterRef, Q, Sum

from exceptions.kind_words import ACCEPT_DIFFERENCE
from exceptions.models import Adjustment
from mappings.days import rules_today
from mappings.kinds import ADJUSTMENT_LIMIT, LIMITED_BY
from mappings.resolve import Snapshot
from q2c.core.hotpath import lock_names
from q2c.core.models import Person
from q2c.core.money import spoken_amount, spoken_money
from q2c.transactions.models import BusinessTransaction

_WORDS = {"item": "of one invoice", "person": "of {person}", "customer": "of the customer", "period": "of {entity}"}


@dataclass(frozen=True)
class Spent:
    """What somebody would take off: of which invoice, customer, book and period; amount in the book's currency."""

    resolution: str
    entity: str
    currency: str  # of the book
    invoice: UUID
    person: Person | None  # None before anybody proposes
    customer_key: str
    period: str
    amount: Decimal
    instead_of: tuple[UUID, ...] = ()  # transactions that are cancelled for it, so use nothing

    @property
    def person_id(self) -> int | None:
        """Whose limit it uses; nobody's before anybody proposes."""
        return self.person.pk if self.person is not None else None


@dataclass(frozen=True)
class Limit:
    """One limit with what is used of it; `limit` is None where no rule sets one."""

    of: str
    words: str
    currency: str
    limit: Decimal | None
    used: Decimal
    rule: int | None = None
    version: int | None = None

    def over_by(self, amount: Decimal) -> Decimal:
        """By how much this amount goes over it; 0 where it doesn't."""
        return max(self.used + amount - self.limit, Decimal(0)) if self.limit is not None else Decimal(0)

    def __str__(self) -> str:
        most = ", without a limit" if self.limit is None else f" of {spoken_amount(self.limit, self.currency)}"
        return f"{self.words}: {spoken_money(self.used, self.currency)}{most}"


def hold_limits(entity: str) -> None:
    """Let nobody else use a limit of this entity until the transaction ends."""
    lock_names([f"adjustments:{entity}"])


def limits_of(spent: Spent) -> list[Limit]:
    """Every limit that this would use, with what is used of it so far: two statements."""
    keys = [f"{spent.resolution}|{of}" for of in LIMITED_BY]
    rules, today = Snapshot.load([(ADJUSTMENT_LIMIT, key, {}) for key in keys]), rules_today(spent.entity)
    found = []
    used = _used(spent)
    for of, key in zip(LIMITED_BY, keys, strict=True):
        if of == "person" and spent.person is None:
            continue
        rule = rules.find(ADJUSTMENT_LIMIT, key, on=today, legal_entity=spent.entity)
        words = _WORDS[of].format(person=spent.person, entity=spent.entity)
        if of != "item":
            words += f" in {spent.period}"
        found.append(
            Limit(of, words, spent.currency, Decimal(rule.value) if rule else None, used[of],
                  rule.rule_id if rule else None, rule.version if rule else None)
        )  # fmt: skip
    return found


def why_too_much(spent: Spent, limits: Iterable[Limit]) -> str:
    """Which limits this goes over and by how much, as sentences; empty where it fits. A difference is accepted only
    where a limit per invoice says what a difference is."""
    said = []
    for row in limits:
        if row.limit is None and row.of == "item" and spent.resolution == ACCEPT_DIFFERENCE:
            said.append(f"No rule says up to what amount {spent.entity} accepts a difference.")
        elif row.limit is not None and (over := row.over_by(spent.amount)):
            said.append(
                f"The limit {row.words} is {spoken_money(row.limit, row.currency)}, of which "
                f"{spoken_amount(row.used, row.currency)} is used: {spoken_money(spent.amount, row.currency)} is "
                f"{spoken_amount(over, row.currency)} over it."
            )
    return " ".join(said)


def _used(spent: Spent) -> dict[str, Decimal]:
    gone = BusinessTransaction.objects.filter(pk=OuterRef("transaction_id"), state="cancelled")
    rows = Adjustment.objects.filter(resolution=spent.resolution, legal_entity_code=spent.entity)
    of_period = Q(period_code=spent.period)
    sums = (
        rows.exclude(Exists(gone))
        .exclude(transaction_id__in=spent.instead_of)
        .aggregate(
            item=Sum("book_amount", filter=Q(invoice_transaction_id=spent.invoice)),
            person=Sum("book_amount", filter=of_period & Q(by=spent.person_id)),
            customer=Sum("book_amount", filter=of_period & Q(customer_key=spent.customer_key)),
            period=Sum("book_amount", filter=of_period),
        )
    )
    return {of: sums[of] or Decimal(0) for of in LIMITED_BY}
