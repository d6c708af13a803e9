"""Who may do what, and which rows a person sees: two questions that are never mixed."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable
from typing import Any

from django.contrib.auth.views import redirect_to_login
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from q2c.core.models import LegalEntity, Membership, Person
from q2c.core.roles import BY_CODE, ROLES, Role

NOBODY = Q(pk__in=[])


class PersonRequest(HttpRequest):
    """What a view behind `requires` is given, for the type checker: somebody has signed in."""

    user: Person


def memberships(user: Any) -> list[tuple[Role, str | None]]:
    """The roles of a person with the entity's code of each, or None for all entities. Read once per request."""
    known = getattr(user, "_memberships", None)
    if known is None:
        rows = Membership.objects.filter(person_id=user.pk).values_list("role", "legal_entity__code")
        known = user._memberships = [(BY_CODE[role], code) for role, code in rows if role in BY_CODE]
    return known


def may(user: Any, permission: str, entity: str | None = None) -> bool:
    """Whether a person may do this kind of thing, for one entity if it is named."""
    return any(
        permission in role.may and (entity is None or code is None or code == entity)
        for role, code in memberships(user)
    )


def entities_where(user: Any, permission: str) -> frozenset[str] | None:
    """Codes of the entities for which a person holds a permission; None means all of them."""
    codes = {code for role, code in memberships(user) if permission in role.may}
    return None if None in codes else frozenset(c for c in codes if c)


def entities_of(user: Any) -> frozenset[str] | None:
    """Codes of the entities whose rows a person sees; None means all, also rows that have no entity yet."""
    codes = {code for _, code in memberships(user)}
    return None if None in codes else frozenset(c for c in codes if c)


def visible_q(user: Any, field: str = "legal_entity_code") -> Q:
    """The rows a person sees of a table with an entity's code. Rows without one are for people of all entities."""
    codes = entities_of(user)
    return Q() if codes is None else Q(**{f"{field}__in": sorted(codes)})


def visible_to(user: Any, rows: QuerySet, field: str = "legal_entity_code") -> QuerySet:
    """The rows a person sees: those of the entities that their roles name."""
    return rows.filter(visible_q(user, field))


def sees_entity(user: Any, code: str) -> bool:
    """Whether a person sees rows of this entity. The empty code is seen by people of all entities."""
    codes = entities_of(user)
    return codes is None or code in codes


def cases_q(user: Any, tallies: QuerySet) -> Q:
    """Cases of the person's queues and entities. Roles that work no queue (audit) see every queue.

    `tallies` is the table of open documents per case and entity: a case about several entities is seen by each of them.
    """
    parts = []
    for role, code in memberships(user):
        if "exceptions.view_case" not in role.may:
            continue
        queue = Q(queue__in=role.queues) if role.queues else Q()
        if code is None:
            parts.append(queue)
        else:
            mine = tallies.filter(case=OuterRef("pk"), legal_entity_code=code, document_count__gt=0)
            parts.append(queue & (Q(legal_entity_code=code) | Q(Exists(mine), legal_entity_code="")))
    if any(not part for part in parts):
        return Q()
    return functools.reduce(operator.or_, parts) if parts else NOBODY


def places_q(user: Any) -> Q:
    """Rows of one queue and one entity (not of several) of the person's queues and entities."""
    parts = []
    for role, code in memberships(user):
        if "exceptions.view_case" in role.may:
            queue = Q(queue__in=role.queues) if role.queues else Q()
            parts.append(queue if code is None else queue & Q(legal_entity_code=code))
    if any(not part for part in parts):
        return Q()
    return functools.reduce(operator.or_, parts) if parts else NOBODY


def who_may(permission: str, entity: str = "") -> list[Person]:
    """People who hold a permission for an entity, for "who can do it instead"."""
    roles = [role.code for role in ROLES if permission in role.may]
    scope = Q(memberships__legal_entity__isnull=True)
    if entity:
        scope |= Q(memberships__legal_entity__code=entity)
    found = Person.objects.filter(scope, memberships__role__in=roles, is_active=True)
    return list(found.distinct().order_by("display_name", "username")[:6])


def roles_with(permission: str) -> str:
    """The titles of the roles that hold a permission, for a sentence."""
    return " or ".join(role.title for role in ROLES if permission in role.may)


def visible_entities(user: Any) -> list[LegalEntity]:
    """The legal entities of a person, by code."""
    return list(visible_to(user, LegalEntity.objects.filter(is_active=True), "code"))


def requires(permission: str) -> Callable[[Callable[..., HttpResponse]], Callable[..., HttpResponse]]:
    """A view for people whose role holds the permission. Others get 403 with the reason; strangers sign in first."""

    def decorate(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
        @functools.wraps(view)
        def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
            if not request.user.is_authenticated:
                return ask_to_sign_in(request)
            if not may(request.user, permission):
                return denied(request, permission)
            return view(request, *args, **kwargs)

        guarded.permission = permission  # type: ignore[attr-defined]
        return guarded

    return decorate


def ask_to_sign_in(request: HttpRequest) -> HttpResponse:
    """To the sign-in page; a fragment's request makes the whole page go there, so the form never lands in a table."""
    htmx: Any = getattr(request, "htmx", None)
    if htmx:
        response = HttpResponse(status=204)
        response["HX-Redirect"] = redirect_to_login(htmx.current_url_abs_path or "/").url
        return response
    return redirect_to_login(request.get_full_path() if request.method == "GET" else "/")


def denied(request: HttpRequest, permission: str) -> HttpResponse:
    """The page that says what isn't allowed, why, and whose role would allow it."""
    roles = [role.title for role in ROLES if permission in role.may]
    return render(request, "403.html", {"permission": permission, "roles": roles}, status=403)
