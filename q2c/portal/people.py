"""People and roles: who holds what, from whom, until when; giving and taking it, by two people; composing roles."""

from __future__ import annotations

import datetime as dt
from typing import Any

from django.contrib import messages
from django.db.models import Exists, OuterRef
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from q2c.core import access, memberships
from q2c.core.access import PersonRequest, requires
from q2c.core.approvals import ApprovalRefused
from q2c.core.htmx import page, paginate
from q2c.core.models import CustomRole, Membership, Person, Proposal
from q2c.core.rights import Source, rights_of
from q2c.core.roles import BY_CODE
from q2c.core.shell import proposals_visible_to
from q2c.portal.people_forms import EndForm, GrantForm, RoleForm

VIEW = "core.view_access"
SOON = dt.timedelta(days=30)
PAST_SHOWN = 20


@require_GET
@requires(VIEW)
def person_list(request: HttpRequest) -> HttpResponse:
    """Everybody who holds a role, with what, and when the first of it ends; with `?of=none` who may sign in without."""
    held = memberships.visible_to(request.user, memberships.standing())
    people = Person.objects.filter(is_active=True)
    own = Exists(held.filter(person=OuterRef("pk")).order_by())
    is_none = request.GET.get("of") == "none" and access.entities_of(request.user, VIEW) is None
    listed = paginate(request, people.filter(~own if is_none else own), order=("display_name", "id"))
    by_person: dict[int, list[Membership]] = {}
    for row in tell_held(held.filter(person__in=[person.pk for person in listed.rows])):
        by_person.setdefault(row.person_id, []).append(row)
    for person in listed.rows:
        person.held = by_person.get(person.pk, [])
        person.first_end = min((row.ends_at for row in person.held if row.ends_at), default=None)
    context = {
        "page": listed,
        "is_none": is_none,
        "ending": held.filter(ends_at__lte=timezone.now() + SOON).count(),
        "waiting": waiting(request).count(),
        "may_manage": access.may(request.user, memberships.MANAGE),
    }
    return page(request, "portal/person_list.html", "portal/_person_table.html", context)


@require_GET
@requires(VIEW)
def person_detail(request: PersonRequest, person_id: int) -> HttpResponse:
    """What one person holds, held and will hold; and the form that gives them a role."""
    return show_person(request, visible_person(request, person_id))


def visible_person(request: HttpRequest, person_id: int) -> Person:
    """The person; 404 for one who holds nothing for an entity of the viewer's."""
    person = Person.objects.filter(pk=person_id).first()
    if person is None:
        raise Http404
    if access.entities_of(request.user, VIEW) is None or person.pk == request.user.pk:
        return person
    if not memberships.visible_to(request.user, Membership.objects.filter(person=person)).exists():
        raise Http404
    return person


def show_person(request: PersonRequest, person: Person, *, status: int = 200, **forms: Any) -> HttpResponse:
    """The page of a person, also after a form that couldn't be used."""
    held = tell_held(memberships.visible_to(request.user, memberships.standing(person)))
    ids = [row.pk for row in held]
    past = Membership.objects.filter(person=person).exclude(pk__in=ids).select_related("legal_entity", "given_by")
    may_manage = access.may(request.user, memberships.MANAGE) and person.pk != request.user.pk
    context = {
        "person": person,
        "held": held,
        "past": tell_held(memberships.visible_to(request.user, past).order_by("-pk")[:PAST_SHOWN]),
        "waiting": list(waiting(request).filter(subject_type="person", subject_id=str(person.pk))),
        "may_manage": may_manage,
        "is_self": person.pk == request.user.pk,
        "grant_form": forms.get("grant_form") or (GrantForm(by=request.user) if may_manage else None),
        "end_form": forms.get("end_form") or EndForm(),
        "ending": forms.get("ending"),
    }
    return render(request, "portal/person_detail.html", context, status=status)


@require_POST
@requires(memberships.MANAGE)
def person_give(request: PersonRequest, person_id: int) -> HttpResponse:
    """Propose to give somebody a role."""
    person = visible_person(request, person_id)
    form = GrantForm(request.POST, by=request.user)
    if form.is_valid():
        try:
            made = memberships.propose_grant(person, by=request.user, **form.terms())
        except (memberships.MembershipRefused, ApprovalRefused) as refused:
            form.add_error(None, f"Not possible: {refused}")
        else:
            return _proposed(request, made)
    return show_person(request, person, status=422, grant_form=form)


@require_POST
@requires(memberships.MANAGE)
def grant_end(request: PersonRequest, grant_id: int) -> HttpResponse:
    """Propose to take a role back."""
    held = memberships.visible_to(request.user, memberships.standing()).filter(pk=grant_id).first()
    if held is None:
        raise Http404
    form = EndForm(request.POST, label_suffix="")
    if form.is_valid():
        try:
            made = memberships.propose_end(held, by=request.user, why=form.cleaned_data["why"])
        except (memberships.MembershipRefused, ApprovalRefused) as refused:
            form.add_error(None, f"Not possible: {refused}")
        else:
            return _proposed(request, made)
    return show_person(request, held.person, status=422, end_form=form, ending=held.pk)


@require_GET
@requires(VIEW)
def role_list(request: HttpRequest) -> HttpResponse:
    """Every role: what comes with the product, what people composed, and how many hold each."""
    counts: dict[str, int] = {}
    for code, _ in memberships.visible_to(request.user, memberships.standing()).order_by().values_list(
        "role", "person"
    ).distinct():  # fmt: skip
        counts[code] = counts.get(code, 0) + 1
    context = {
        "roles": [(role, counts.get(role.code, 0), role.code in BY_CODE) for role in memberships.all_roles()],
        "waiting": waiting(request).filter(kind=memberships.ROLE).count(),
        "may_manage": access.entities_where(request.user, memberships.MANAGE) is None,
    }
    return render(request, "portal/role_list.html", context)


@require_GET
@requires(VIEW)
def role_detail(request: HttpRequest, code: str) -> HttpResponse:
    """One role: what it allows, on which cases, who holds it and who agreed on its shape."""
    row = CustomRole.objects.filter(code=code).select_related("proposal__proposed_by").first()
    role = BY_CODE.get(code) or (row.as_role() if row else None)
    if role is None:
        raise Http404
    context = {
        "role": role,
        "row": row,
        "objects": rights_of([Source(role, Membership())]),
        "held": tell_held(memberships.visible_to(request.user, memberships.standing(role=code))[:200]),
        "waiting": list(waiting(request).filter(subject_type="role", subject_id=code)),
        "may_change": row is not None and access.entities_where(request.user, memberships.MANAGE) is None,
    }
    return render(request, "portal/role_detail.html", context)


@require_http_methods(["GET", "POST"])
@requires(memberships.MANAGE)
def role_new(request: PersonRequest) -> HttpResponse:
    """Compose a role, empty or (`?like=`) out of another one."""
    like = access.find_roles([request.GET.get("like", "")]).get(request.GET.get("like", ""))
    first = {"permissions": sorted(like.may), "queues": like.queues, "kinds": like.kinds} if like else {}
    return _compose(request, None, RoleForm(request.POST or None, initial=first, is_new=True))


@require_http_methods(["GET", "POST"])
@requires(memberships.MANAGE)
def role_change(request: PersonRequest, code: str) -> HttpResponse:
    """Propose another shape of a role that people composed."""
    row = CustomRole.objects.filter(code=code).first()
    if row is None:
        raise Http404
    names = ("title", "says", "permissions", "queues", "kinds", "is_active")
    first = {name: getattr(row, name) for name in names}
    return _compose(request, row, RoleForm(request.POST or None, initial=first, is_new=False))


def waiting(request: HttpRequest) -> Any:
    """Proposals about people and roles that wait for a second person."""
    rows = proposals_visible_to(request.user).filter(kind__in=memberships.KINDS, state=Proposal.State.PROPOSED)
    return rows.select_related("proposed_by").order_by("proposed_at")


def tell_held(rows: Any) -> list[Membership]:
    """Each with the title of its role (`title`), and a word for where it stands (`stands`)."""
    found, now = list(rows), timezone.now()
    roles = access.find_roles(row.role for row in found)
    for row in found:
        row.title = roles[row.role].title if row.role in roles else memberships.title_of(row.role)
        row.is_coming = row.starts_at is not None and row.starts_at > now
        row.over_at = row.ended_at or row.ends_at
    return found


def _compose(request: PersonRequest, row: CustomRole | None, form: RoleForm) -> HttpResponse:
    if request.method == "POST" and form.is_valid():
        try:
            made = memberships.propose_role(row.code if row else "", by=request.user, **form.terms())
        except (memberships.MembershipRefused, ApprovalRefused) as refused:
            form.add_error(None, f"Not possible: {refused}")
        else:
            return _proposed(request, made)
    context = {"form": form, "row": row}
    return render(request, "portal/role_form.html", context, status=422 if form.errors else 200)


def _proposed(request: PersonRequest, made: Proposal) -> HttpResponse:
    messages.success(request, "Proposed. Nothing changes until somebody else approves.", extra_tags="decide")
    return redirect("portal:decision_detail", made.pk)
