"""One box for any id or number of any system: exact matches over indexed columns, of the rows that the person sees."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django.db.models import Model, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_GET

from connectors.models import Connection
from connectors.registry import message_keys, spellings
from exceptions import tallies
from exceptions.bulk_results import actions_visible_to
from mappings.kinds import BY_CODE as KINDS
from mappings.selectors import change_sets_visible_to, life_of, rules_visible_to
from q2c.carriers import MOST, as_uuid, documents_carrying, transactions_carrying
from q2c.core import access, holds
from q2c.core.access import requires
from q2c.core.shell import NAVIGATION
from q2c.core.templatetags.words import spoken_noun
from q2c.flows import backfills, bill_run_acts
from q2c.flows.catalog import TELLING
from q2c.inbox.selectors import messages_visible_to
from q2c.portal import told
from q2c.records.models import GoldenRecord
from q2c.records.store import alias_of
from q2c.transactions.bill_runs import BillRun

_OWN_NUMBER = re.compile(r"^([a-z]{2})-?(\d{1,12})$", re.IGNORECASE)


@dataclass(frozen=True)
class Hit:
    """One thing found: what it is, what it's called, where it opens."""

    kind: str
    title: str
    says: str
    url: str
    state: tuple[str, str] | None = None  # (kind of state, state)
    amount: Any = None
    currency: str = ""


@require_GET
@requires("portal.view_home")
def search(request: HttpRequest) -> HttpResponse:
    """What carries this id or number. One hit opens at once."""
    text = request.GET.get("q", "").strip().replace("\x00", "")[:200]
    hits = find(request.user, text) if text else []
    if len(hits) == 1:
        return redirect(hits[0].url)
    return render(request, "portal/search.html", {"searched": text, "hits": hits})


def _screens(user: Any, text: str) -> list[Hit]:
    """The screens whose name begins with what was typed, so that the box leads everywhere without a mouse."""
    begins = text.lower()
    return [
        Hit("Screen", entry.title, "Open the screen", reverse(entry.view))
        for _title, entries in NAVIGATION
        for entry in entries
        if len(begins) > 2 and entry.title.lower().startswith(begins) and access.may(user, entry.permission)
    ]


def find(user: Any, text: str) -> list[Hit]:
    """Everything of the person's that carries exactly this id or number."""
    forms = spellings(text)
    hits = [
        *_screens(user, text),
        *_numbered(user, text),
        *_transactions(user, forms, text),
    ]
    connections = list(Connection.objects.values_list("pk", "code", "name"))
    names = {code: name for _pk, code, name in connections}
    hits += _messages(user, text, [pk for pk, _code, _name in connections])
    hits += [*_bill_runs(user, forms, names), *_records(user, forms, names), *_rules(user, forms)]
    hits += _documents(user, forms, names)
    return list({hit.url: hit for hit in hits}.values())[:MOST]


@dataclass(frozen=True)
class Numbered:
    """Something of our own that people call by a number: EX-12. `sort` names its states."""

    kind: str
    permission: str
    seen_by: Callable[[Any], QuerySet]
    title: Callable[[Any], str]
    view: str
    sort: str


_NUMBERED = {
    "EX": Numbered("Case", "exceptions.view_case", tallies.cases_shown_to, lambda c: c.summary,
                   "exceptions:case_detail", "case"),
    "CS": Numbered("Change set", "mappings.view_rule", change_sets_visible_to, lambda c: c.title,
                   "mappings:change_set_detail", "approval"),
    "BF": Numbered("Back-fill", backfills.VIEW, backfills.backfills_visible_to, lambda b: b.words,
                   "portal:backfill_detail", "backfill"),
    "BA": Numbered("Bulk action", "exceptions.view_case", actions_visible_to, lambda a: a.chosen_words,
                   "exceptions:bulk_detail", "bulk"),
    "LH": Numbered("Legal hold", holds.VIEW, holds.holds_visible_to, lambda h: h.name, "portal:hold_detail", "hold"),
}  # fmt: skip


def _numbered(user: Any, text: str) -> list[Hit]:
    match = _OWN_NUMBER.match(text)
    asked = _NUMBERED.get(match[1].upper()) if match else None
    if not match or asked is None or not access.may(user, asked.permission):
        return []
    found: Model | None = asked.seen_by(user).filter(pk=int(match[2])).first()
    if found is None:
        return []
    number, url = f"{match[1].upper()}-{found.pk}", reverse(asked.view, args=[found.pk])
    return [Hit(asked.kind, number, asked.title(found), url, (asked.sort, found.state))]  # type: ignore[attr-defined]


def _bill_runs(user: Any, forms: list[str], names: dict[str, str]) -> list[Hit]:
    """Runs by the name that billing gave them."""
    if not access.may(user, bill_run_acts.VIEW):
        return []
    rows: QuerySet[BillRun] = bill_run_acts.runs_visible_to(user)
    rows = rows.filter(connection_code__in=list(names), is_named=True, name__in=forms).order_by("-day", "-addition")
    return [
        Hit("Bill run", r.name, f"{r.legal_entity_code}, {names[r.connection_code]}",
            reverse("portal:bill_run_detail", args=[r.pk]), ("bill_run", r.state))
        for r in rows[:MOST]
    ]  # fmt: skip


def _transactions(user: Any, forms: list[str], text: str) -> list[Hit]:
    if not access.may(user, "transactions.view_transaction"):
        return []
    return [
        Hit(
            told.flow_title(t.flow), t.number or t.source_id, t.customer_name,
            reverse("portal:transaction_detail", args=[t.pk]), ("transaction", t.state), t.amount, t.currency,
        )
        for t in sorted(transactions_carrying(user, forms, text), key=lambda t: t.flow in TELLING)
    ]  # fmt: skip


def _messages(user: Any, text: str, connections: list[int]) -> list[Hit]:
    """Messages by our id of them, or by the vendor's (of a webhook: evt_…, 04l…)."""
    if not access.may(user, "inbox.view_event"):
        return []
    # As the indexes have it: a key is unique by connection.
    wanted = Q(connection_id__in=connections, dedupe_key__in=message_keys(text))
    if own_id := as_uuid(text):
        wanted |= Q(event_id=own_id)
    return [
        Hit(
            "Message",
            key.event.event_type,
            key.connection.name,
            reverse("portal:event_detail", args=[key.event_id]),
            ("verdict", key.verdict),
        )
        for key in messages_visible_to(user).filter(wanted)[:MOST]
    ]


def _records(user: Any, forms: list[str], names: dict[str, str]) -> list[Hit]:
    """Customers, products and contracts that a system knows by this id: they open with all their ids."""
    if not access.may(user, "mappings.view_rule"):
        return []
    aliases = [alias_of(code, form) for code in names for form in forms]
    rows = access.visible_to(user, GoldenRecord.objects.filter(aliases__overlap=aliases))[:MOST]
    return [
        Hit(
            f"{spoken_noun(r.record_type)}: its ids everywhere", r.name or r.number or r.record_key, "",
            reverse("mappings:identity_detail", args=[r.record_type, r.record_key]),
        )
        for r in rows
    ]  # fmt: skip


def _rules(user: Any, forms: list[str]) -> list[Hit]:
    """The rules that translate exactly this key today, or will."""
    if not access.may(user, "mappings.view_rule"):
        return []
    rows = rules_visible_to(user).filter(kind__in=list(KINDS), key__in=forms, known_to__isnull=True)
    return [
        Hit(
            f"Mapping: {KINDS[r.kind].title}", r.key,
            f"becomes {r.value_label or r.value} in {r.legal_entity_code or 'all entities'}",
            reverse("mappings:rule_detail", args=[r.pk]), ("rule", life_of(r)),
        )
        for r in rows.order_by("kind", "legal_entity_code", "-effective_from")[:MOST]
    ]  # fmt: skip


def _documents(user: Any, forms: list[str], names: dict[str, str]) -> list[Hit]:
    """Records in other systems: they open in the lineage, which starts from any id."""
    if not access.may(user, "transactions.view_transaction"):
        return []
    found = []
    for carrier in documents_carrying(user, forms):
        (system, kind, identifier), number = carrier.key, carrier.number
        what = f"{spoken_noun(kind)} in {names.get(system, system)}"
        says = identifier if number and number != identifier else ""
        url = _lineage(*carrier.key)
        found.append(Hit(what, number or identifier, says, url, None, carrier.amount, carrier.currency))
    return found


def _lineage(system: str, kind: str, identifier: str) -> str:
    return f"{reverse('portal:lineage')}?{urlencode({'system': system, 'type': kind, 'id': identifier})}"
