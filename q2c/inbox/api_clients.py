"""Machines that may call our REST API: what each may do is proposed by one person and approved by another.

A secret is made and shown once, afterwards, to whoever runs the portal; a new one ends the old one and its tokens. To
end a client takes one person, and holds at once.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

from django.conf import settings
from django.db.models import QuerySet
from django.db.transaction import atomic
from oauth2_provider.generators import generate_client_secret
from oauth2_provider.models import get_access_token_model, get_application_model

from q2c.core import access, audit
from q2c.core.approvals import propose
from q2c.core.models import LegalEntity, Person, Proposal
from q2c.inbox.models import ApiClient

KIND, SUBJECT = "api_client", "api_client"
MANAGE, APPROVE = "core.manage_access", "core.approve_access"
_NAME = re.compile(r"[a-z][a-z0-9-]{2,59}")


class ClientRefused(ValueError):
    """Why a machine can't be let in so, in words."""


def all_clients() -> QuerySet[ApiClient]:
    """Every machine that was let in, also those that were ended, by name."""
    return ApiClient.objects.select_related("application").order_by("application__client_id")


def propose_client(
    name: str, *, by: Person, scopes: Collection[str], entities: Collection[str] | None, why: str
) -> Proposal:
    """Propose what the machine of this name may do, and for which entities (None: all). Raises ClientRefused, or
    ApprovalRefused without a reason."""
    known: Any = settings.OAUTH2_PROVIDER["SCOPES"]
    codes = None if entities is None else sorted(set(entities))
    if not _NAME.fullmatch(name):
        raise ClientRefused("A client’s name has small letters, digits and hyphens, from 3 to 60: upstream-orders.")
    if unknown := sorted(set(scopes) - set(known)):
        raise ClientRefused(f"There’s no scope {', '.join(unknown)}. Scopes are {', '.join(known)}.")
    if not scopes:
        raise ClientRefused("Name at least one scope; what may do nothing is ended.")
    sold = set(LegalEntity.objects.filter(is_active=True).values_list("code", flat=True))
    if codes is not None and (not codes or set(codes) - sold):
        raise ClientRefused(f"Name one or more of {', '.join(sorted(sold))}, or all of them.")
    mine = access.entities_where(by, MANAGE)
    if mine is not None and (codes is None or set(codes) - mine):
        raise ClientRefused(_too_far(mine))
    was = _known(name)
    if was is None and get_application_model().objects.filter(client_id=name).exists():
        raise ClientRefused(f"{name} is the name of an application that isn’t ours to change. Take another.")
    waiting = Proposal.objects.filter(kind=KIND, subject_id=name, state=Proposal.State.PROPOSED)
    if waiting.exists():
        raise ClientRefused("Another change of this client waits for a second person.")
    content = {"client": name, "may": sorted(set(scopes)), "for": ["every entity"] if codes is None else codes,
               "is_for_all_entities": codes is None, "was": was}  # fmt: skip
    return propose(
        KIND, (SUBJECT, name), content=content, by=by, title=f"Let the machine {name} call the API", why=why,
        permission=APPROVE, legal_entities=codes or (),
    )  # fmt: skip


def apply_change(proposal: Proposal, *, by: Person) -> None:
    """Put what two people agreed on into force, in the transaction of the last signature. Raises ClientRefused when it
    was changed meanwhile."""
    facts = proposal.content
    if _known(facts["client"]) != facts["was"]:
        raise ClientRefused("What this client may do was changed meanwhile.")
    application, _ = get_application_model().objects.get_or_create(
        client_id=facts["client"],
        defaults={"name": facts["client"], "client_type": "confidential", "client_secret": generate_client_secret(),
                  "authorization_grant_type": "client-credentials"},
    )  # fmt: skip
    is_for_all = facts["is_for_all_entities"]
    given = {"scopes": facts["may"], "is_for_all_entities": is_for_all,
             "legal_entities": [] if is_for_all else facts["for"]}  # fmt: skip
    ApiClient.objects.update_or_create(application=application, defaults=given)
    data = {"proposal": proposal.pk, **given}
    audit.record(by, "let_in", SUBJECT, facts["client"], why=proposal.why, data=data)


def make_secret(name: str, *, by: Person, why: str) -> str:
    """A new secret, which is nowhere else to be read. The one before, and every token that it got, ends at once. Raises
    ClientRefused."""
    with atomic():
        client = _locked(name, by, why)
        if not client.scopes:
            raise ClientRefused(f"{name} was ended. Two people have to let it in again first.")
        secret = _replace_secret(client)
        audit.record(by, "make_secret", SUBJECT, name, why=why, data={})
    return secret


def end_client(name: str, *, by: Person, why: str) -> None:
    """It may do nothing any more, from now on. Raises ClientRefused."""
    with atomic():
        client = _locked(name, by, why)
        was = _known(name)
        client.scopes, client.legal_entities, client.is_for_all_entities = [], [], False
        client.save()
        _replace_secret(client)
        audit.record(by, "end", SUBJECT, name, why=why, data={"was": was})


def _replace_secret(client: ApiClient) -> str:
    secret = generate_client_secret()
    client.application.client_secret = secret  # stored by its hash only
    client.application.save()
    get_access_token_model().objects.filter(application=client.application).delete()
    return secret


def _locked(name: str, by: Person, why: str) -> ApiClient:
    if not why.strip():
        raise ClientRefused("Say why.")
    client = ApiClient.objects.select_for_update(of=("self",)).filter(application__client_id=name).first()
    if client is None:
        raise ClientRefused(f"No machine called {name} was ever let in.")
    mine = access.entities_where(by, MANAGE)
    if mine is not None and (client.is_for_all_entities or not mine or set(client.legal_entities) - mine):
        raise ClientRefused(_too_far(mine))
    return client


def _too_far(mine: Collection[str]) -> str:
    return f"Your role gives access for {', '.join(sorted(mine))} only." if mine else "None of your roles gives access."


def _known(name: str) -> dict[str, Any] | None:
    columns = ("scopes", "legal_entities", "is_for_all_entities")
    return ApiClient.objects.filter(application__client_id=name).values(*columns).first()
