"""What is paused, by whom and why, what waits behind it; pausing and resuming at once, with a reason."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_POST

from connectors.models import Connection
from q2c.core import access
from q2c.core.access import PersonRequest, requires
from q2c.core.filters import dress
from q2c.flows import pausing
from q2c.flows.catalog import FLOWS
from q2c.flows.tasks import nudge
from q2c.transactions.models import Pause


class PauseForm(forms.Form):
    """What to pause, and why."""

    flow = forms.ChoiceField(
        label="Flow", required=False, choices=[("", "Every flow"), *((flow.code, flow.title) for flow in FLOWS)]
    )
    legal_entity = forms.ChoiceField(label="Legal entity", required=False)
    object_type = forms.ChoiceField(
        label="Object type",
        required=False,
        choices=[
            ("", "Every type"),
            *((name, name.replace("_", " ").capitalize()) for name in pausing.OBJECT_TYPES),
        ],
    )
    why = forms.CharField(label="Reason", min_length=5, max_length=500)

    def __init__(self, data: Any = None, *, user: Any) -> None:
        super().__init__(data, label_suffix="")
        mine = access.entities_of(user, pausing.PERMISSION)
        codes = [entity.code for entity in access.visible_entities(user, pausing.PERMISSION)]
        every = [("", "Every entity")] if mine is None else []
        self.fields["legal_entity"].choices = [*every, *((code, code) for code in codes)]  # type: ignore[attr-defined]
        dress(self)


class ReasonForm(forms.Form):
    """Why it goes on."""

    why = forms.CharField(label="Reason", min_length=5, max_length=500)


@require_GET
@requires("transactions.view_transaction")
def pause_list(request: HttpRequest) -> HttpResponse:
    """What is paused now, and what was lately."""
    return _show(request)


@require_POST
@requires(pausing.PERMISSION)
def pause_new(request: PersonRequest) -> HttpResponse:
    """Pause it at once."""
    form = PauseForm(request.POST, user=request.user)
    if form.is_valid():
        facts = {name: form.cleaned_data[name] for name in ("flow", "legal_entity", "object_type")}
        try:
            pause = pausing.pause_work(by=request.user, reason=form.cleaned_data["why"], **facts)
        except ValueError as refused:
            form.add_error(None, str(refused))
        else:
            said = f"{pausing.words_of(pause)} is paused. What comes meanwhile queues and keeps its order."
            messages.success(request, said, extra_tags="done")
            return redirect("portal:pause_list")
    return _show(request, status=422, form=form)


@require_POST
@requires(pausing.PERMISSION)
def pause_resume(request: PersonRequest, pause_id: int) -> HttpResponse:
    """Let it go on: what waited is due again in the order in which it came."""
    pause = Pause.objects.filter(pk=pause_id).first()
    if pause is None or not _may(request.user, pause):
        raise Http404
    form = ReasonForm(request.POST)
    if not form.is_valid():
        return _show(request, status=422, form=PauseForm(user=request.user), reason_form=form)
    nudge(pausing.resume_work(pause, by=request.user, reason=form.cleaned_data["why"]))
    messages.success(request, f"{pausing.words_of(pause)} goes on, in the order in which it came.", extra_tags="done")
    return redirect("portal:pause_list")


def _may(user: Any, pause: Pause) -> bool:
    mine = access.entities_of(user, pausing.PERMISSION)
    return mine is None or pause.legal_entity_code in mine


def _show(request: HttpRequest, *, status: int = 200, **forms: Any) -> HttpResponse:
    may_pause = access.may(request.user, pausing.PERMISSION)
    running = pausing.pauses_seen_by(request.user)
    for pause in running:
        pause.waiting, pause.oldest = pausing.waiting_behind(request.user, pause)  # type: ignore[attr-defined]
        pause.may_resume = may_pause and _may(request.user, pause)  # type: ignore[attr-defined]
    context = {
        "pauses": running,
        "ended": pausing.ended_seen_by(request.user),
        "connections": list(Connection.objects.filter(state=Connection.State.PAUSED)),
        "may_pause": may_pause,
        "form": PauseForm(user=request.user) if may_pause else None,
        **forms,
    }
    return render(request, "portal/pause_list.html", context, status=status)
