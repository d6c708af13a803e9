"""The forms of keeping: a legal hold and its release, an erasure, and what somebody looks for in the archives."""

from __future__ import annotations

from typing import Any

from django import forms
from django.db.models import Q

from connectors.models import Connection
from mappings.models import CrossReference
from q2c.carriers import as_uuid
from q2c.core import access, holds
from q2c.core.filters import DateField, dress
from q2c.core.models import CustomerKey
from q2c.flows.catalog import TELLING
from q2c.records.models import GoldenRecord
from q2c.transactions.models import BusinessTransaction
from q2c.transactions.selectors import transactions_visible_to

_AREA = {"rows": 2}
_MADE = [[name] for name in holds.MADE_OF_ONE]


def find_customer(text: str) -> tuple[str, str]:
    """One of a customer's ids (connection:id) and their name, by an id of any system or connection:id.

    Raises ValidationError where nobody is known by it, or several are.
    """
    bare = text.rpartition(":")[2]
    aliases = (
        [text] if ":" in text else [f"{code}:{text}" for code in Connection.objects.values_list("code", flat=True)]
    )
    elsewhere = CrossReference.objects.filter(record_type="customer", external_id=text).values("record_key")
    records = GoldenRecord.objects.filter(
        Q(aliases__overlap=aliases) | Q(number=text) | Q(record_key=text) | Q(record_key__in=elsewhere),
        record_type="customer", merged_into="",
    )[:10]  # fmt: skip
    found: dict[str, str] = {}
    recorded: set[str] = set()
    for record in records:
        named = [alias for alias in record.aliases if alias in aliases] or record.aliases
        found |= dict.fromkeys(named[:1], record.name or record.number)
        recorded |= set(record.aliases)
    for key in CustomerKey.objects.filter(customer_id=bare):
        if str(key) in aliases and str(key) not in recorded:
            found[str(key)] = ""
    if not found:
        raise forms.ValidationError("Nobody is known by this id. Write one that a system gave, such as cus_1.")
    if len(found) > 1:
        raise forms.ValidationError(f"Several are known by it. Write one of: {', '.join(sorted(found)[:5])}.")
    return found.popitem()


class HoldForm(forms.Form):
    """What is held, for which matter, and who asked."""

    name = forms.CharField(label="Name", max_length=120)
    matter = forms.CharField(label="Reference of the matter", max_length=80)
    asked_by = forms.CharField(label="Who asked for it", max_length=120)
    legal_entity = forms.ChoiceField(label="Legal entity", required=False)
    customer = forms.CharField(
        label="Customer", required=False, max_length=170, help_text="An id of any system; it means all of their ids."
    )
    document = forms.CharField(
        label="Or one document", required=False, max_length=120,
        help_text="Its number or id, with its voids, plans, accruals and write-offs. Payments, refunds and credit notes"
        " are documents of their own.",
    )  # fmt: skip
    first_day = DateField(label="Dated or received from", required=False)
    last_day = DateField(label="To", required=False)
    is_everything = forms.BooleanField(label="The whole house, without a limit", required=False)
    why = forms.CharField(label="Reason", min_length=5, max_length=2000, widget=forms.Textarea(attrs=_AREA))

    def __init__(self, data: Any = None, *, user: Any) -> None:
        super().__init__(data, label_suffix="")
        self.user = user
        codes = [entity.code for entity in access.visible_entities(user, holds.PROPOSE)]
        every = [("", "Every entity")] if access.entities_of(user, holds.PROPOSE) is None else []
        self.fields["legal_entity"].choices = [*every, *((code, code) for code in codes)]  # type: ignore[attr-defined]
        self.scope = holds.Scope()
        dress(self)

    def clean_document(self) -> BusinessTransaction | None:
        """The transaction that is meant; of several about one document the one that carries it, not what was made of
        it."""
        text = self.cleaned_data["document"].strip()
        if not text:
            return None
        own_id = as_uuid(text)
        wanted = Q(pk=own_id) if own_id else Q(number=text) | Q(source_id=text) | Q(target_number=text)
        rows = transactions_visible_to(self.user).filter(wanted).exclude(flow__in=TELLING)[:20]
        by_lane = {txn.lane: txn for txn in rows}
        own = {lane: txn for lane, txn in by_lane.items() if lane.split(":")[1:2] not in _MADE}
        by_lane = own or by_lane
        if not by_lane:
            raise forms.ValidationError("No document that you see has this number or id.")
        if len(by_lane) > 1:
            raise forms.ValidationError(f"{len(by_lane)} documents have this number: write the id of one.")
        return next(iter(by_lane.values()))

    def clean(self) -> dict[str, Any]:
        """The scope: at least one limit, or plainly none."""
        data = super().clean() or self.cleaned_data
        if self.errors:
            return data
        customer, name, document = "", "", data["document"]
        if data["customer"].strip():
            try:
                customer, name = find_customer(data["customer"].strip())
            except forms.ValidationError as unknown:
                self.add_error("customer", unknown)
                return data
        is_limited = bool(data["legal_entity"] or customer or document or data["first_day"])
        if data["is_everything"] == is_limited:
            said = "Say what is held, or that it’s the whole house." if not is_limited else (
                "It’s limited and the whole house at once: leave one of both out.")  # fmt: skip
            raise forms.ValidationError(said)
        self.scope = holds.Scope(
            legal_entity=document.legal_entity_code if document else data["legal_entity"], customer=customer,
            customer_name=name, lane=document.lane if document else "",
            document=(document.number or document.source_id) if document else "", first_day=data["first_day"],
            last_day=data["last_day"],
        )  # fmt: skip
        return data


class WhyForm(forms.Form):
    """Why a hold is released."""

    why = forms.CharField(label="Reason", min_length=5, max_length=2000, widget=forms.Textarea(attrs=_AREA))

    def __init__(self, data: Any = None) -> None:
        super().__init__(data, label_suffix="")
        dress(self)


class EraseForm(forms.Form):
    """Who is to be erased, and for which request."""

    customer = forms.CharField(
        label="Customer", max_length=170, help_text="An id of any system; every key of theirs is destroyed."
    )
    matter = forms.CharField(label="Reference of the request", max_length=80)
    may_wait = forms.BooleanField(
        label="Under a legal hold or with open work: wait until neither stands in its way", required=False
    )
    why = forms.CharField(label="Reason", min_length=5, max_length=2000, widget=forms.Textarea(attrs=_AREA))

    def __init__(self, data: Any = None) -> None:
        super().__init__(data, label_suffix="")
        dress(self)

    def clean_customer(self) -> tuple[str, str]:
        """One of their ids, and their name."""
        return find_customer(self.cleaned_data["customer"].strip())
