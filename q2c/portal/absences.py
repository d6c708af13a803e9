"""Where a person says that they are away, and who stands in."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST

from q2c.core import absences, people
from q2c.core.access import PersonRequest, requires
from q2c.core.filters import DateField, dress
from q2c.core.models import Person


class AbsenceForm(forms.Form):
    """From when on, until when, and who stands in."""

    first_day = DateField(label="Away from")
    back_on = DateField(label="Back on", help_text="The first day you’re here again.")
    deputy = forms.ModelChoiceField(Person.objects.none(), label="Who stands in", empty_label="Choose somebody")
    why = forms.CharField(label="Why", max_length=200, required=False, help_text="Seen by whoever works with you.")

    def __init__(self, *args: Any, person: Person, **kwargs: Any) -> None:
        super().__init__(*args, **{"label_suffix": "", **kwargs})
        others = Person.objects.filter(is_active=True, memberships__isnull=False).exclude(pk=person.pk)
        self.fields["deputy"].queryset = others.distinct().order_by("display_name", "username")  # type: ignore[attr-defined]
        dress(self)


@require_http_methods(["GET", "POST"])
@requires("portal.view_home")
def absence_list(request: PersonRequest) -> HttpResponse:
    """When I'm away, for whom I stand in, and the form to say so."""
    form = AbsenceForm(request.POST or None, person=request.user)
    if request.method == "POST" and form.is_valid():
        try:
            made = absences.note_absence(request.user, zone=people.zone_of(request.user), **form.cleaned_data)
        except absences.AbsenceRefused as refused:
            form.add_error(None, str(refused))
        else:
            messages.success(request, f"{made.deputy} stands in for you {made}.", extra_tags="done")
            return redirect("portal:absence_list")
    rows = list(absences.absences_of(request.user))
    context = {
        "form": form,
        "own": [row for row in rows if row.person_id == request.user.pk],
        "others": [row for row in rows if row.deputy_id == request.user.pk],
    }
    return render(request, "portal/absence_list.html", context, status=422 if form.errors else 200)


@require_POST
@requires("portal.view_home")
def absence_end(request: PersonRequest, absence_id: int) -> HttpResponse:
    """I'm back, or won't go."""
    absence = request.user.absences.filter(pk=absence_id, ended_at=None).first()
    if absence is None:
        raise Http404
    absences.end_absence(absence, by=request.user)
    messages.success(request, "What is new comes to you again.", extra_tags="done")
    return redirect("portal:absence_list")
