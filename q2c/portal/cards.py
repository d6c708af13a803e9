"""The money card's page: where a document stands, for people who talk to customers."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from exceptions.cards import cards_of
from q2c.core.access import requires


@require_GET
@requires("portal.view_card")
def card(request: HttpRequest) -> HttpResponse:
    """The card of a number, as a page or (`?format=json`) as JSON."""
    text = request.GET.get("q", "").strip().replace("\x00", "")[:120]
    cards = cards_of(request.user, text) if text else []
    if request.GET.get("format") == "json":
        return JsonResponse({"asked": text, "cards": [found.as_json() for found in cards]})
    return render(request, "portal/card.html", {"asked": text, "cards": cards})
