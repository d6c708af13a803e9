"""The forms by which people merge and split cases, and what a case's page needs of them."""

from __future__ import annotations

import re
from typing import Any

from django import forms

from exceptions.kind_words import REMAP_AND_REPOST
from exceptions.kinds import kind_of
from exceptions.models import ApartCase, CaseAlias, ExceptionCase
from exceptions.workbench.forms import ReasonForm

_NUMBER = re.compile(r"\s*(?:EX-)?(\d{1,18})\s*", re.IGNORECASE | re.ASCII)


class MergeForm(ReasonForm):
    """Into which case, and why."""

    into = forms.CharField(label="Into case", max_length=30, widget=forms.TextInput(attrs={"placeholder": "EX-2041"}))
    field_order = ("into", "why")

    def clean_into(self) -> int:
        """The number of the case."""
        found = _NUMBER.fullmatch(self.cleaned_data["into"])
        if found is None:
            raise forms.ValidationError("A case's number is like EX-2041.")
        return int(found[1])


class SplitForm(ReasonForm):
    """Which documents, and why."""

    documents = forms.CharField(
        label="Documents", max_length=20_000, widget=forms.Textarea(attrs={"rows": 2}),
        help_text="Their numbers, with spaces, commas or lines between them.",
    )  # fmt: skip
    field_order = ("documents", "why")

    def clean_documents(self) -> list[str]:
        """The numbers, each once."""
        return list(dict.fromkeys(re.split(r"[\s,;]+", self.cleaned_data["documents"].strip())))


class TakeOutForm(ReasonForm):
    """Which merged cause, and why."""

    alias = forms.IntegerField(widget=forms.HiddenInput)


def regroup_facts(case: ExceptionCase) -> dict[str, Any]:
    """What was merged into the case, what it was split from, and the forms."""
    standing = CaseAlias.objects.filter(case=case, ended_at__isnull=True).select_related("by", "came_from")
    aliases = standing.order_by("-id")[:50]
    return {
        "aliases": [(alias, TakeOutForm(initial={"alias": alias.pk}, prefix=f"out{alias.pk}")) for alias in aliases],
        "apart": ApartCase.objects.filter(case=case).select_related("by", "out_of").first(),
        "may_merge": REMAP_AND_REPOST not in kind_of(case.kind).may,
        "merge_form": MergeForm(prefix="merge"),
        "split_form": SplitForm(prefix="split"),
    }
