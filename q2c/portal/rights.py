"""What may I do here, and why: my rights with where each comes from, and "why can't I" for one thing or one case."""

from __future__ import annotations

import re
from typing import Any

from django import forms
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from exceptions import tallies
from exceptions.models import ExceptionCase
from q2c.core import absences, access, emergencies, memberships
from q2c.core.access import PersonRequest, requires
from q2c.core.filters import dress
from q2c.core.models import EmergencyUse, Membership, Person
from q2c.core.rights import answer, rights_of, sources_of
from q2c.core.roles import OBJECTS, OF_CASES, PERMISSION_WORDS
from q2c.portal.people import tell_held, visible_person

ENDED_SHOWN = 10


class AskForm(forms.Form):
    """What somebody would like to do, and on which case."""

    permission = forms.ChoiceField(label="To do what")
    case = forms.CharField(label="On which case", required=False, max_length=24, help_text="Such as EX-2041.")

    def __init__(self, data: Any = None) -> None:
        super().__init__(data, label_suffix="")
        groups = [
            (title, [(name, words) for name, words in PERMISSION_WORDS.items() if name.partition(".")[0] == prefix])
            for prefix, title in OBJECTS.items()
        ]
        self.fields["permission"].choices = [("", "Choose one"), *groups]  # type: ignore[attr-defined]
        dress(self)


@require_GET
@requires("portal.view_self")
def mine(request: PersonRequest) -> HttpResponse:
    """What I may do here and why, and an answer to `?permission=` (with `?case=`)."""
    return _show(request, request.user)


@require_GET
@requires("core.view_access")
def of_person(request: PersonRequest, person_id: int) -> HttpResponse:
    """The same of somebody else."""
    return _show(request, visible_person(request, person_id))


def _show(request: PersonRequest, person: Person) -> HttpResponse:
    is_self = person.pk == request.user.pk
    grants, held = Membership.objects.filter(person=person), sources_of(person)
    sources = held
    if not is_self and access.entities_of(request.user, "core.view_access") is not None:
        grants = memberships.visible_to(request.user, grants)
        shown = set(grants.values_list("pk", flat=True))
        sources = [source for source in held if source.held.pk in shown]
    tell_held(source.held for source in sources)
    asked = AskForm(request.GET if "permission" in request.GET else None)
    found, case = None, None
    if asked.is_bound and asked.is_valid():
        case = _case(request, person, asked.cleaned_data["case"])
        if asked.cleaned_data["case"] and case is None:
            asked.add_error("case", "There’s no such case among those that you see.")
        else:
            about = case if asked.cleaned_data["permission"] in OF_CASES or case else None
            found = answer(
                person, asked.cleaned_data["permission"], case=about, sources=sources,
                are_some_hidden=len(sources) < len(held),
            )  # fmt: skip
    over = grants.exclude(pk__in=[source.held.pk for source in sources])
    context = {
        "person": person,
        "is_self": is_self,
        "sources": sources,
        "may_see": access.may(request.user, "core.view_access"),
        "objects": rights_of(sources),
        "ask_form": asked,
        "answer": found,
        "case": case,
        "other_grants": tell_held(over.select_related("legal_entity", "given_by").order_by("-pk")[:ENDED_SHOWN]),
        "stands_in": [row for row in absences.absences_of(person) if row.deputy_id == person.pk],
        "signs_alone": any("core.approve_emergency" in source.role.may for source in sources),
        "emergencies": _emergencies(request, person),
    }
    return render(request, "portal/rights.html", context)


def _case(request: HttpRequest, person: Person, text: str) -> ExceptionCase | None:
    """The case, if both the viewer and the person see it."""
    match = re.fullmatch(r"(?:EX-)?([0-9]{1,18})", text.strip(), re.IGNORECASE)
    if not match:
        return None
    seen = tallies.cases_visible_to(request.user).filter(pk=int(match[1]))
    if person.pk != request.user.pk:
        return seen.first() if tallies.cases_visible_to(person).filter(pk=int(match[1])).exists() else None
    return seen.first()


def _emergencies(request: PersonRequest, person: Person) -> list[EmergencyUse]:
    rows = emergencies.uses_visible_to(request.user).filter(used_by=person, ended_at=None)
    return list(rows.order_by("-used_at")[:ENDED_SHOWN])
