"""The person's own page with their time zone and keys, the keyboard map."""

from __future__ import annotations

import zoneinfo

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.middleware.csrf import get_token
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_http_methods

from q2c.core import access, people
from q2c.core.access import PersonRequest, requires
from q2c.core.filters import dress


class ZoneForm(forms.Form):
    """The zone in which this person reads times."""

    zone = forms.CharField(
        label="Time zone",
        max_length=60,
        help_text="Region and city, such as Europe/Berlin.",
        widget=forms.TextInput(attrs={"list": "zones", "autocomplete": "off"}),
    )


@require_GET
@requires("portal.view_self")
def here(request: PersonRequest) -> HttpResponse:
    """Somebody is at work on a page that asks for nothing meanwhile: as any request it keeps them signed in. The page
    learns who that is, and the token its forms need if they have signed in anew since."""
    return HttpResponse(status=204, headers={"X-Person": str(request.user.pk), "X-CSRF-Token": get_token(request)})


@require_http_methods(["GET", "POST"])
@requires("portal.view_self")
def you(request: PersonRequest) -> HttpResponse:
    """Who I am here, what I may do, my time zone, light or dark, keys of one character, signing out."""
    if request.method == "POST" and request.POST.get("keys") in ("on", "off"):
        is_on = request.POST["keys"] == "on"
        people.choose_letter_keys(request.user, on=is_on)
        said = "Keys of one character do what the map says." if is_on else "Keys of one character do nothing any more."
        messages.success(request, said, extra_tags="done")
        return redirect("portal:you")
    roles = access.memberships(request.user)
    form = dress(ZoneForm(request.POST or None, initial={"zone": people.zone_of(request.user).key}, label_suffix=""))
    if request.method == "POST" and form.is_valid():
        try:
            people.choose_zone(request.user, form.cleaned_data["zone"].strip())
        except ValueError as refused:
            form.add_error("zone", str(refused))
        else:
            messages.success(request, f"Times are shown as in {form.cleaned_data['zone']} now.", extra_tags="done")
            return redirect("portal:you")
    context = {
        "roles": roles,
        "form": form,
        "zones": sorted(name for name in zoneinfo.available_timezones() if name.startswith(REGIONS)),
    }
    return render(request, "portal/you.html", context, status=422 if form.errors else 200)


REGIONS = ("Africa/", "America/", "Asia/", "Atlantic/", "Australia/", "Europe/", "Pacific/", "UTC")


@require_GET
@requires("portal.view_self")
def keys(request: HttpRequest) -> HttpResponse:
    """The keyboard map: what works for this person."""
    is_on = people.uses_letter_keys(request.user)
    shown = KEYS if is_on else [(ALONE.get(key, key), says) for key, says in KEYS if key in (*ALONE, *STAYING)]
    return render(request, "portal/keys.html", {"keys": shown})


KEYS = (
    ("/ or Ctrl K", "Search for any number or id, go to any screen by its name"),
    ("j", "Next row"), ("k", "Previous row"), ("o", "Open the current row"), ("f", "Filter the list"),
    ("1 to 9", "Open a view of the list"), ("n", "Next page"), ("N", "Previous page"),
    ("a", "In a case: who takes it"), ("r", "In a case: repost"), ("m", "In a case: map and repost"),
    ("c", "In a case: say something"), ("F2", "Take the first suggestion"),
    ("Ctrl Enter", "Do the one primary action"), ("x", "Tick the current row"),
    ("z", "Undo, within 60 seconds"), ("Esc", "Close what is open, untick rows"), ("?", "This map"),
)  # fmt: skip
# What stays where keys of one character are off; and what is left of a row that names one beside another.
STAYING = ("F2", "Ctrl Enter", "Esc")
ALONE = {"/ or Ctrl K": "Ctrl K"}
