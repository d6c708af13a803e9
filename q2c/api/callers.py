"""Machines that call: which scopes their client has, and which rows they see. Default deny."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from oauth2_provider.contrib.rest_framework import OAuth2Authentication
from oauth2_provider.scopes import BaseScopes
from rest_framework.permissions import BasePermission

from q2c.core.roles import VIEW, Role
from q2c.inbox.models import ApiClient

_MACHINE = Role("api", "A machine", (), VIEW)


class ClientScopes(BaseScopes):
    """A client can ask only for the scopes that were given to it. One without an `ApiClient` gets none."""

    def get_all_scopes(self) -> dict[str, str]:
        scopes: Any = settings.OAUTH2_PROVIDER["SCOPES"]
        return dict(scopes)

    def get_available_scopes(
        self, application: Any = None, request: Any = None, *args: Any, **kwargs: Any
    ) -> list[str]:
        found = ApiClient.objects.filter(application=application).first() if application else None
        return [scope for scope in found.scopes if scope in self.get_all_scopes()] if found else []

    def get_default_scopes(self, application: Any = None, request: Any = None, *args: Any, **kwargs: Any) -> list[str]:
        return self.get_available_scopes(application, request)


class Caller:
    """A client in the place of a person: what `q2c.core.access` and the selectors ask for."""

    pk = None
    is_authenticated = True

    def __init__(self, client: ApiClient) -> None:
        self.client_id: str = client.application.client_id
        self.entities: frozenset[str] | None = None if client.is_for_all_entities else frozenset(client.legal_entities)
        codes = [None] if self.entities is None else sorted(self.entities)
        self._memberships = [(_MACHINE, code) for code in codes]

    def sells_for(self, entity: str) -> bool:
        """Whether the client is bound to this entity."""
        return self.entities is None or entity in self.entities


def caller_of(request: Any) -> Caller:
    """Who calls. Only after `HasScope` has let the request in."""
    return request._request.api_caller


class BearerHeader(OAuth2Authentication):
    """A token of the Authorization header. Whoever has none is refused before anything reads their body."""

    def authenticate(self, request: Any) -> Any:
        """Client and token, or None."""
        return super().authenticate(request._request)  # REST framework's own would read the body as JSON first


class HasScope(BasePermission):
    """The token has the view's scope, and its client still has it too (a scope that was taken away ends at once)."""

    def has_permission(self, request: Any, view: Any) -> bool:
        token = request.auth
        application = getattr(token, "application", None)
        if application is None:
            return False
        client = ApiClient.objects.select_related("application").filter(application=application).first()
        needed = view.scopes_of(request.method)
        if client is None or not token.is_valid(needed) or not set(needed) <= set(client.scopes):
            return False
        request._request.api_caller = Caller(client)
        return True
