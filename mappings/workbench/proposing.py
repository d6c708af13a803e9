"""Proposing rules: nothing posts differently until a second person approves."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.db.transaction import atomic
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_GET, require_http_methods

from exceptions import releases
from mappings import building, meanwhile, suggestions
from mappings.drafts import DraftRefused, Line, retirement_of, save_draft
from mappings.forms import RetireForm, RuleForm
from mappings.kinds import BY_CODE, KINDS, PROPOSE, PROPOSE_RUNNING
from mappings.models import MappingRule
from mappings.selectors import change_sets_visible_to, rules_visible_to
from mappings.workbench.change_sets import say_proposed
from q2c.core import access
from q2c.core.access import PersonRequest, requires
from q2c.core.approvals import ApprovalRefused
from q2c.core.filters import dress

TARGETS_SHOWN = 50


@require_http_methods(["GET", "POST"])
@requires(PROPOSE, PROPOSE_RUNNING)
def propose(request: PersonRequest) -> HttpResponse:
    """A new rule (of a `?kind=`, with a `?key=` to begin with), or with `?rule=` another version of one."""
    rule = _rule(request)
    if rule is not None and request.method == "GET" and (other := _moved_to(request, rule, "mappings:propose")):
        return other
    mine = [kind for kind in KINDS if access.may(request.user, kind.propose)]
    kind = rule.kind if rule else request.GET.get("kind", mine[0].code)
    if kind not in BY_CODE:
        raise Http404
    form = RuleForm(request.POST or None, kind=kind, user=request.user, rule=rule)
    if rule is None and (key := request.GET.get("key", "")):
        form.initial["key"] = key[:250].replace("\x00", "")
    if request.method == "POST" and form.is_valid():
        verb = "Change" if rule else "Map"
        title = f"{verb} {form.kind.title}: {form.cleaned_data['key']} to {form.cleaned_data['value']}"
        try:
            return _kept(request, title, form.as_line(), form.cleaned_data["why"])
        except DraftRefused as refused:
            form.take_faults(refused)
        except ApprovalRefused as refused:
            form.add_error(None, refused.why)
    draft = building.drafts_of(request.user).first()
    context = {
        "form": form, "rule": rule, "kind": BY_CODE[kind], "draft": draft,
        "kinds": mine, **_meanwhile(request, rule),
    }  # fmt: skip
    return render(request, "mappings/propose.html", context, status=422 if request.method == "POST" else 200)


@require_GET
@requires(PROPOSE, PROPOSE_RUNNING)
def targets(request: HttpRequest) -> HttpResponse:
    """Entries of a target's list that are like what has been typed so far."""
    kind = BY_CODE.get(request.GET.get("kind", ""))
    if kind is None:
        raise Http404
    asked: dict[str, str] = {}  # of a form, or of a row of the grid: "value-3"
    for name, text in request.GET.items():
        if text:
            asked[name.partition("-")[0].removesuffix("_code")] = str(text)[:250].replace("\x00", "")
    place = (asked.get(name, "") for name in ("connection", "legal_entity", "key"))
    connection, typed = suggestions.target_connection(kind, *place), asked.get("value", "")
    found = suggestions.suggest(kind, typed, connection=connection, limit=TARGETS_SHOWN)
    return render(request, "mappings/_targets.html", {"targets": found})


@require_http_methods(["GET", "POST"])
@requires(PROPOSE, PROPOSE_RUNNING)
def retire(request: PersonRequest, rule_id: int) -> HttpResponse:
    """Propose that a rule ends."""
    rule = rules_visible_to(request.user).filter(pk=rule_id).first()
    if rule is None:
        raise Http404
    if request.method == "GET" and (other := _moved_to(request, rule, "mappings:retire")):
        return other
    form = dress(RetireForm(request.POST or None, initial={"effective_from": timezone.localdate()}, label_suffix=""))
    if request.method == "POST" and form.is_valid():
        line = retirement_of(rule, form.cleaned_data["effective_from"])
        try:
            return _kept(request, f"Retire {BY_CODE[rule.kind].title}: {rule.key}", line, form.cleaned_data["why"])
        except DraftRefused as refused:
            form.add_error(None, " ".join(f"{fault.text[:1].upper()}{fault.text[1:]}." for fault in refused.faults))
        except ApprovalRefused as refused:
            form.add_error(None, refused.why)
    draft = building.drafts_of(request.user).first()
    context = {"form": form, "rule": rule, "draft": draft, **_meanwhile(request, rule)}
    return render(request, "mappings/retire.html", context, status=422 if request.method == "POST" else 200)


def _rule(request: HttpRequest) -> MappingRule | None:
    rule_id = request.GET.get("rule", "")
    if not rule_id:
        return None
    found = rules_visible_to(request.user).filter(pk=rule_id).first() if rule_id.isdecimal() else None
    if found is None:
        raise Http404
    return found


def _moved_to(request: HttpRequest, rule: MappingRule, view: str) -> HttpResponse | None:
    """To the rule that took the place of one that others have changed, saying so; None for one that is known still."""
    if rule.known_to is None:
        return None
    messages.warning(request, f"{meanwhile.tell_change(rule)}.", extra_tags="act")
    now = meanwhile.successor_of(rule)
    if now is None:
        return redirect("mappings:rule_detail", rule.pk)
    if view == "mappings:retire":
        return redirect(view, now.pk)
    return redirect(f"{reverse(view)}?rule={now.pk}")


def _meanwhile(request: HttpRequest, rule: MappingRule | None) -> dict[str, Any]:
    """What others did to the rule while the form was open, and what of theirs waits for a signature."""
    if rule is None:
        return {}
    mine = change_sets_visible_to(request.user)
    now = meanwhile.successor_of(rule) if rule.known_to is not None else None
    return {"changed": meanwhile.tell_change(rule), "now": now,
            "rivals": list(mine.filter(pk__in=meanwhile.waiting_for(rule).values("pk"))[:5])}  # fmt: skip


def _kept(request: PersonRequest, title: str, line: Line, why: str) -> HttpResponse:
    """Propose the one line at once, or collect it in the person's draft, as they chose."""
    if request.POST.get("then") == "collect":
        draft = building.add_to_draft(title, why, lines=[line], by=request.user)
        messages.success(request, f"Added to your draft CS-{draft.pk}. Propose it when it’s complete.")
        return redirect("mappings:change_set_detail", draft.pk)
    with atomic():
        change_set = save_draft(title, why, lines=[line], by=request.user)
        say_proposed(request, releases.propose_change_set(change_set, by=request.user))
    return redirect("mappings:change_set_detail", change_set.pk)
