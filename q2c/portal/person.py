"""The person's own page, the keyboard map."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from q2c.core import access
from q2c.core.access import requires


@require_GET
@requires("portal.view_home")
def you(request: HttpRequest) -> HttpResponse:
    """Who I am here, what I may do, light or dark, signing out."""
    roles = access.memberships(request.user)
    return render(
        request, "portal/you.html", {"roles": roles, "permissions": sorted({p for r, _ in roles for p in r.may})}
    )


@require_GET
@requires("portal.view_home")
def keys(request: HttpRequest) -> HttpResponse:
    """The keyboard map."""
    return render(request, "portal/keys.html", {"keys": KEYS})


KEYS = (
    ("/", "Search for any number or id"), ("j", "Next row"), ("k", "Previous row"), ("o", "Open the current row"),
    ("f", "Filter the list"), ("n", "Next page"), ("N", "Previous page"), ("Ctrl Enter", "Do the one primary action"),
    ("Esc", "Close what is open"), ("?", "This map"),
)  # fmt: skip
