"""Which choices of a posting policy go together. Pure.

The receivables sub-ledger of an entity is the ERP's, with everything on line level, or billing's, with everything in
summary. A mixture (summary invoices, line-level cash) would leave receivables that never clear.
"""

from __future__ import annotations

import datetime as dt

from q2c.core.problems import Category, Problem
from q2c.posting.facts import Policy

CHOICES = {"zero_amount": ("post", "skip"), "missing_service_dates": ("document", "hold")}
ALLOCATES = frozenset({"erp", "engine"})  # owners of revenue that spread a contract's price over all that it sells
OWNER_OF = {"line": "erp", "summary": "billing"}  # detail -> whose sub-ledger it means


def check_policy(policy: Policy, legal_entity: str) -> Policy:
    """The policy, if its choices go together. Raises Problem `missing_posting_policy` naming the field to set."""
    owner = OWNER_OF.get(policy.detail)
    if owner is None:
        raise _unfit(legal_entity, "detail", f"detail is “{policy.detail}”, and may be line or summary")
    if policy.subledger_owner != owner:
        why = (
            f"detail is {policy.detail} while the sub-ledger's owner is {policy.subledger_owner}; set it to {owner},"
            " or receivables won't clear"
        )
        raise _unfit(legal_entity, "subledger_owner", why)
    for field, choices in CHOICES.items():
        chosen = getattr(policy, field)
        if chosen not in choices:
            raise _unfit(
                legal_entity, field, f"{field.replace('_', ' ')} is “{chosen}”, and may be {' or '.join(choices)}"
            )
    if policy.zero_amount == "skip" and policy.revenue_owner in ALLOCATES:
        why = f"the owner of revenue ({policy.revenue_owner}) allocates to documents of 0 too, so they can't be skipped"
        raise _unfit(legal_entity, "zero_amount", why)
    try:
        dt.time.fromisoformat(policy.summary_cut_off)
    except ValueError as error:
        why = f"the cut-off “{policy.summary_cut_off}” isn't a time such as 02:00"
        raise _unfit(legal_entity, "summary_cut_off", why) from error
    return policy


def _unfit(legal_entity: str, field: str, why: str) -> Problem:
    return Problem(
        "missing_posting_policy",
        Category.MAPPING,
        f"The posting policy of {legal_entity} doesn't fit: {why}",
        kind="posting_policy",
        key=field,
        legal_entity=legal_entity,
    )
