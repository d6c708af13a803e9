"""Who may do what, and which rows a person sees: two questions that are never mixed.

A role is held for one legal entity or for all, from an instant to an instant, and may be limited to queues and to kinds
of case. Rights are read once per request, so what has ended has ended with the next click.
"""

from __future__ import annotations

import datetime as dt
import functools
import inspect
import operator
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from django.contrib.auth.views import redirect_to_login
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import Resolver404, resolve
from django.utils import timezone

from q2c.core.models import CustomRole, LegalEntity, Membership, Person
from q2c.core.roles import BY_CODE, ROLES, SEEN_BY, Role

NOBODY = Q(pk__in=[])
NAMED = 6  # people who are named as those who can do it instead
VIEW_CASE = "exceptions.view_case"


class PersonRequest(HttpRequest):
    """What a view behind `requires` is given, for the type checker: somebody has signed in."""

    user: Person


@dataclass(frozen=True)
class Reach:
    """For which entities somebody holds a permission: all, some, and some for one kind of case only ("": all)."""

    is_everywhere: bool
    entities: frozenset[str]
    of_kind: frozenset[tuple[str, str]]  # entity, kind

    @property
    def is_nowhere(self) -> bool:
        """Whether no role gives it at all."""
        return not (self.is_everywhere or self.entities or self.of_kind)

    def covers(self, entity: str | None, kind: str = "") -> bool:
        """Whether it reaches a document of this entity in a case of this kind."""
        if self.is_everywhere or entity in self.entities:
            return True
        return bool(kind) and (("", kind) in self.of_kind or (entity, kind) in self.of_kind)


def in_force(prefix: str = "", at: dt.datetime | None = None) -> Q:
    """What has begun and hasn't ended at an instant (now): of memberships, or of what `prefix` leads to them from."""
    at = at or timezone.now()
    begun = Q(**{f"{prefix}starts_at__isnull": True}) | Q(**{f"{prefix}starts_at__lte": at})
    runs = Q(**{f"{prefix}ends_at__isnull": True}) | Q(**{f"{prefix}ends_at__gt": at})
    return begun & runs & Q(**{f"{prefix}ended_at__isnull": True})


def find_roles(codes: Iterable[str]) -> dict[str, Role]:
    """Roles by code: the product's, and those that people composed (one statement if there's one of them)."""
    wanted = set(codes)
    found = {code: BY_CODE[code] for code in wanted if code in BY_CODE}
    if composed := wanted - found.keys():
        rows = CustomRole.objects.filter(code__in=composed, is_active=True)
        found |= {row.code: row.as_role() for row in rows}
    return found


def memberships(user: Any) -> list[tuple[Role, str | None]]:
    """The roles that a person holds now, with the entity's code of each, or None for all entities. Read once per
    request."""
    known = getattr(user, "_memberships", None)
    if known is None:
        rows = list(Membership.objects.filter(in_force(), person_id=user.pk).values_list("role", "legal_entity__code"))
        roles = find_roles(role for role, _ in rows)
        known = user._memberships = [(roles[role], code) for role, code in rows if role in roles]
    return known


def may(user: Any, permission: str, entity: str | None = None, *, kind: str | None = None) -> bool:
    """Whether a person may do this kind of thing: for one entity and one kind of case, where they are named."""
    return any(
        (permission in role.may if kind is None else role.holds(permission, kind))
        and (entity is None or code is None or code == entity)
        for role, code in memberships(user)
    )


def reach(user: Any, permission: str) -> Reach:
    """For which entities, and kinds of case, a person holds a permission."""
    whole: set[str | None] = set()
    of_kind = set()
    for role, code in memberships(user):
        if role.holds(permission):
            whole.add(code)
        elif permission in role.may:
            of_kind |= {(code or "", kind) for kind in role.kinds}
    return Reach(None in whole, frozenset(code for code in whole if code), frozenset(of_kind))


def entities_where(user: Any, permission: str, *, kind: str = "") -> frozenset[str] | None:
    """Codes of the entities for which a person holds a permission; None means all of them. A role that is limited to
    kinds of case counts only for what is about one of them."""
    codes = {code for role, code in memberships(user) if role.holds(permission, kind)}
    return None if None in codes else frozenset(c for c in codes if c)


def beyond_reach(user: Any, permission: str, entity: str) -> str:
    """Why somebody may not do this for an entity ("": for what belongs to none, or to all), in words, or ""."""
    if reach(user, permission).covers(entity):
        return ""
    return f"None of your roles does this for {entity or 'every entity'}. Ask somebody whose role does."


def entities_of(user: Any, permission: str = "") -> frozenset[str] | None:
    """Codes of the entities whose rows a person sees by a permission (none named: by any role of theirs); None means
    all, also rows that have no entity yet."""
    codes = {code for role, code in memberships(user) if not permission or permission in role.may}
    return None if None in codes else frozenset(c for c in codes if c)


def visible_q(user: Any, field: str = "legal_entity_code", *, permission: str = "") -> Q:
    """The rows a person sees of a table with an entity's code. Rows without one are for people of all entities."""
    codes = entities_of(user, permission)
    return Q() if codes is None else Q(**{f"{field}__in": sorted(codes)})


def visible_to(user: Any, rows: QuerySet, field: str = "legal_entity_code", *, permission: str = "") -> QuerySet:
    """The rows a person sees: those of the entities for which a role of theirs shows this table (`SEEN_BY`)."""
    return rows.filter(visible_q(user, field, permission=permission or SEEN_BY.get(rows.model._meta.label_lower, "")))


def sees_entity(user: Any, code: str, permission: str) -> bool:
    """Whether a person sees rows of this entity by a permission. The empty code is seen by people of all entities."""
    codes = entities_of(user, permission)
    return codes is None or code in codes


def _case_scopes(user: Any) -> list[tuple[Role, str | None]]:
    return [(role, code) for role, code in memberships(user) if VIEW_CASE in role.may]


def class_q(role: Role, prefix: str = "") -> Q:
    """Cases of the queues and kinds that a role is limited to."""
    limits = Q(**{f"{prefix}queue__in": role.queues}) if role.queues else Q()
    return limits & Q(**{f"{prefix}kind__in": role.kinds}) if role.kinds else limits


def _any_of(parts: list[Q]) -> Q:
    if any(not part for part in parts):
        return Q()
    return functools.reduce(operator.or_, parts) if parts else NOBODY


def cases_q(user: Any, tallies: QuerySet) -> Q:
    """Cases of the person's queues, kinds and entities. Roles that work no queue (audit) see every queue.

    `tallies` is the table of open documents per case and entity: a case about several entities is seen by each of them
    that has a document in it; once it's closed, by each that had one.
    """
    parts = []
    for role, code in _case_scopes(user):
        own = class_q(role)
        if code is not None:
            had = tallies.filter(case=OuterRef("pk"), legal_entity_code=code)
            # The cheap part of each pair first: the database reads them in this order, row by row.
            mine = Q(Exists(had.filter(document_count__gt=0))) | (Q(closed_at__isnull=False) & Q(Exists(had)))
            own &= Q(legal_entity_code=code) | (Q(legal_entity_code="") & mine)
        parts.append(own)
    return _any_of(parts)


def concerned_q(user: Any, tallies: QuerySet) -> Q:
    """As `cases_q`, with the cases that a document of the person's entities has left, or has only just joined."""
    parts = []
    for role, code in _case_scopes(user):
        had = tallies.filter(case=OuterRef("pk"), legal_entity_code=code)
        own = class_q(role)
        parts.append(own if code is None else own & (Q(legal_entity_code=code) | Q(Exists(had))))
    return _any_of(parts)


def places_q(user: Any) -> Q:
    """Rows of one queue, kind and entity (not of several) of the person's queues, kinds and entities."""
    return _any_of(
        [
            class_q(role) if code is None else class_q(role) & Q(legal_entity_code=code)
            for role, code in _case_scopes(user)
        ]
    )


def of_cases_q(user: Any) -> Q:
    """Of rows that belong to a case that the person sees (documents, tallies): those of the entities for which they
    see that case. Who sees the same entities in every class needs no look at the case."""
    entities: dict[tuple[tuple[str, ...], tuple[str, ...]], set[str | None]] = {}
    for role, code in _case_scopes(user):
        entities.setdefault((role.queues, role.kinds), set()).add(code)
    if len({frozenset(codes) for codes in entities.values()}) <= 1 or any(
        None in codes for (queues, kinds), codes in entities.items() if not queues and not kinds
    ):
        return visible_q(user, permission=VIEW_CASE)
    return in_cases_q(user)


def in_cases_q(user: Any) -> Q:
    """As `of_cases_q`, for rows of any case: those of the queues and kinds that the person sees."""
    parts = []
    for role, code in _case_scopes(user):
        own = class_q(role, "case__")
        parts.append(own if code is None else own & Q(legal_entity_code=code))
    return _any_of(parts)


def role_q(*permissions: str, prefix: str = "", queue: str = "", kind: str = "") -> Q:
    """Memberships (or what `prefix` leads to them from) in a role, of the product or composed, that holds one of these
    permissions; that works the queue and isn't kept from the kind of case, where they are named."""
    wanted = set(permissions)
    codes = [role.code for role in ROLES if wanted & role.may and (not queue or queue in role.queues)]
    composed = CustomRole.objects.filter(is_active=True, permissions__overlap=list(permissions))
    if queue:
        composed = composed.filter(queues__contains=[queue])
    if kind:
        composed = composed.filter(Q(kinds=[]) | Q(kinds__contains=[kind]))
    return Q(**{f"{prefix}role__in": codes}) | Q(**{f"{prefix}role__in": composed.values("code")})


def holders_q(permission: str, *, queue: str = "", kind: str = "") -> Q:
    """People (by their memberships) whose role holds a permission now: one that works the queue, and isn't kept from
    the kind of case, where they are named. One join; filter the scope in the same call."""
    holds = role_q(permission, prefix="memberships__", queue=queue, kind=kind)
    return holds & in_force("memberships__") & Q(is_active=True)


def people_who_may(permission: str, entity: str = "", *, queue: str = "", kind: str = "") -> QuerySet[Person]:
    """People who hold a permission for an entity (or all of them) now, by name."""
    scope = Q(memberships__legal_entity__isnull=True)
    if entity:
        scope |= Q(memberships__legal_entity__code=entity)
    found = Person.objects.filter(scope, holders_q(permission, queue=queue, kind=kind))
    return found.distinct().order_by("display_name", "username")


def who_may(permission: str, entity: str = "", *, kind: str = "") -> list[Person]:
    """The first people who hold a permission for an entity, for "who can do it instead"."""
    return list(people_who_may(permission, entity, kind=kind)[:NAMED])


def roles_with(permission: str) -> str:
    """The titles of the product's roles that hold a permission, for a sentence."""
    return " or ".join(role.title for role in ROLES if permission in role.may)


def visible_entities(user: Any, permission: str) -> list[LegalEntity]:
    """The legal entities for which a person holds a permission, by code."""
    return list(visible_to(user, LegalEntity.objects.filter(is_active=True), "code", permission=permission))


def requires(
    permission: str, *others: str, everywhere: bool = False
) -> Callable[[Callable[..., HttpResponse]], Callable[..., HttpResponse]]:
    """A view for people whose role holds the permission, or one of the others; `everywhere` for all entities,
    where a page is about all of them at once. Who holds none gets 403 with the reason; strangers sign in first."""

    def decorate(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
        @functools.wraps(view)
        def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
            if not request.user.is_authenticated:
                return ask_to_sign_in(request)
            if not any(_may_open(request.user, held, everywhere) for held in (permission, *others)):
                return denied(request, permission, everywhere=everywhere and may(request.user, permission))
            return view(request, *args, **kwargs)

        guarded.permission = permission  # type: ignore[attr-defined]
        return guarded

    return decorate


def _may_open(user: Any, permission: str, everywhere: bool) -> bool:
    return reach(user, permission).is_everywhere if everywhere else may(user, permission)


def ask_to_sign_in(request: HttpRequest, *, why: str = "") -> HttpResponse:
    """To the sign-in page, which is told why a session has ended, where that's known, and that what was sent is lost,
    whoever ended it and when; a fragment's request makes the whole page go there, so the form never lands in a
    table."""
    is_read = request.method in ("GET", "HEAD")
    told = (f"&{why}=1" if why else "") + ("" if is_read else "&unsaved=1")
    htmx: Any = getattr(request, "htmx", None)
    if htmx:
        response = HttpResponse(status=204)
        response["HX-Redirect"] = redirect_to_login(htmx.current_url_abs_path or "/").url + told
        return response
    return redirect(redirect_to_login(request.get_full_path() if is_read else _page_before(request)).url + told)


def _page_before(request: HttpRequest) -> str:
    """Of a form that was sent the page that it stood on, as the browser says, if that is a page of ours to be opened;
    otherwise home."""
    came = urlsplit(request.headers.get("Referer", ""))
    is_ours = (came.scheme, came.netloc) == (request.scheme, request.get_host())
    return came._replace(scheme="", netloc="").geturl() if is_ours and _opens(came.path) else "/"


def _opens(path: str) -> bool:
    """Whether a view of ours answers GET there: what only takes forms, and says what is wrong in them, doesn't."""
    try:
        view: Any = resolve(path).func
    except Resolver404:
        return False
    while inspect.isfunction(view):
        if "GET" not in inspect.getclosurevars(view).nonlocals.get("request_method_list", ("GET",)):
            return False
        view = getattr(view, "__wrapped__", None)
    return True


def denied(request: HttpRequest, permission: str, *, everywhere: bool = False) -> HttpResponse:
    """The page that says what isn't allowed, why (`everywhere`: it's held, but not for all
    entities), and whose role would allow it."""
    roles = [role.title for role in ROLES if permission in role.may]
    who = [person for person in who_may(permission) if person.pk != request.user.pk]
    context = {"permission": permission, "roles": roles, "who": who, "everywhere": everywhere}
    return render(request, "403.html", context, status=403)
