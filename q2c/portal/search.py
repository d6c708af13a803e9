"""One box for any id or number of any system: exact matches over indexed columns, of the rows that the person sees."""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django.db.models import Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_GET

from connectors.models import Connection
from connectors.registry import spellings
from exceptions import tallies
from mappings.kinds import BY_CODE as KINDS
from mappings.models import CrossReference
from mappings.selectors import change_sets_visible_to, life_of, rules_visible_to
from q2c.core import access
from q2c.core.access import requires
from q2c.core.shell import NAVIGATION
from q2c.core.templatetags.words import spoken_noun
from q2c.flows.catalog import TELLING
from q2c.inbox.selectors import messages_visible_to
from q2c.portal import told
from q2c.portal.graph import ends_of
from q2c.records.models import BilledDocument, GoldenRecord
from q2c.records.store import alias_of
from q2c.transactions.models import LineageLink
from q2c.transactions.selectors import transactions_visible_to

_CASE = re.compile(r"^ex-?(\d{1,12})$", re.IGNORECASE)
_CHANGE_SET = re.compile(r"^cs-?(\d{1,12})$", re.IGNORECASE)
MOST = 20


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
        *_cases(user, text),
        *_change_sets(user, text),
        *_transactions(user, forms, text),
        *_messages(user, text),
    ]
    names = dict(Connection.objects.values_list("code", "name"))
    hits += [*_records(user, forms, names), *_rules(user, forms), *_documents(user, forms, names)]
    return list({hit.url: hit for hit in hits}.values())[:MOST]


def _cases(user: Any, text: str) -> list[Hit]:
    match = _CASE.match(text)
    if not match or not access.may(user, "exceptions.view_case"):
        return []
    rows = tallies.cases_shown_to(user).filter(pk=int(match[1]))
    return [
        Hit("Case", c.number, c.summary, reverse("exceptions:case_detail", args=[c.pk]), ("case", c.state))
        for c in rows
    ]


def _change_sets(user: Any, text: str) -> list[Hit]:
    match = _CHANGE_SET.match(text)
    if not match or not access.may(user, "mappings.view_rule"):
        return []
    rows = change_sets_visible_to(user).filter(pk=int(match[1]))
    return [
        Hit(
            "Change set",
            f"CS-{c.pk}",
            c.title,
            reverse("mappings:change_set_detail", args=[c.pk]),
            ("approval", c.state),
        )
        for c in rows
    ]


def _transactions(user: Any, forms: list[str], text: str) -> list[Hit]:
    if not access.may(user, "transactions.view_transaction"):
        return []
    visible = transactions_visible_to(user)
    wanted = Q(source_id__in=forms) | Q(number__in=forms) | Q(target_id__in=forms) | Q(target_number__in=forms)
    wanted |= Q(correlation_id=text)
    if own_id := as_uuid(text):
        wanted |= Q(pk=own_id)
    return [
        Hit(
            told.flow_title(t.flow), t.number or t.source_id, t.customer_name,
            reverse("portal:transaction_detail", args=[t.pk]), ("transaction", t.state), t.amount, t.currency,
        )
        for t in sorted(visible.filter(wanted).order_by("-id")[:MOST], key=lambda t: t.flow in TELLING)
    ]  # fmt: skip


def _messages(user: Any, text: str) -> list[Hit]:
    own_id = as_uuid(text)
    if not own_id or not access.may(user, "inbox.view_event"):
        return []
    return [
        Hit(
            "Message",
            key.event.event_type,
            key.connection.name,
            reverse("portal:event_detail", args=[key.event_id]),
            ("verdict", key.verdict),
        )
        for key in messages_visible_to(user).filter(event_id=own_id)[:MOST]
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
    found: dict[tuple[str, str, str], Hit] = {}

    def add(key: tuple[str, str, str], number: str, amount: Any = None, currency: str = "") -> None:
        system, kind, identifier = key
        what = f"{spoken_noun(kind)} in {names.get(system, system)}"
        says = identifier if number and number != identifier else ""
        found.setdefault(key, Hit(what, number or identifier, says, _lineage(*key), None, amount, currency))

    references = access.visible_to(user, CrossReference.objects.select_related("connection"))
    for row in references.filter(Q(external_id__in=forms) | Q(number__in=forms))[:MOST]:
        add((row.connection.code, row.external_type, row.external_id), row.number)
    billed = access.visible_to(user, BilledDocument.objects.all())
    for doc in billed.filter(Q(external_id__in=forms) | Q(number__in=forms) | Q(subscription_id__in=forms))[:MOST]:
        add((doc.connection_code, doc.document_type, doc.external_id), doc.number, doc.amount, doc.currency)
    links = access.visible_to(user, LineageLink.objects.all())
    for link in links.filter(Q(source_id__in=forms) | Q(target_id__in=forms)).order_by()[:MOST]:
        for key in ends_of(link):
            if key[2] in forms:
                add(key, "")
    return list(found.values())


def _lineage(system: str, kind: str, identifier: str) -> str:
    return f"{reverse('portal:lineage')}?{urlencode({'system': system, 'type': kind, 'id': identifier})}"


def as_uuid(text: str) -> uuid.UUID | None:
    """The id that a text is, or None."""
    try:
        return uuid.UUID(text)
    except ValueError:
        return None
