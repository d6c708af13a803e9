"""People: nobody signs up by themselves (an admin or single sign-on brings them in); their time zones and keys."""

import zoneinfo
from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from django.conf import settings

from q2c.core.models import Person

DEMO_EMAIL_DOMAIN = "demo.invalid"  # the demo's people, whom production refuses
ZONE = "time_zone"  # the preference's name
LETTER_KEYS = "letter_keys"  # whether keys that are one character do something


class ClosedDoorAdapter(DefaultAccountAdapter):
    """Sign-up is closed."""

    error_messages = {
        **DefaultAccountAdapter.error_messages,
        "username_password_mismatch": "The user name or the password is wrong. Upper and lower case count.",
        "too_many_login_attempts": "Too many tries. Sign-in opens again in a few minutes.",
    }

    def is_open_for_signup(self, request):
        return False


def find_zone(name: str) -> zoneinfo.ZoneInfo | None:
    """The time zone of that name ("Europe/Berlin"), or None where there's no such one."""
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        return None


def zone_of(person: Any) -> zoneinfo.ZoneInfo:
    """The zone in which a person reads times: their choice, else the portal's."""
    chosen = getattr(person, "preferences", {}).get(ZONE, "")
    return (find_zone(chosen) if chosen else None) or zoneinfo.ZoneInfo(settings.TIME_ZONE)


def choose_zone(person: Person, name: str) -> None:
    """Remember a person's zone. Raises ValueError for a name that no zone has."""
    if find_zone(name) is None:
        raise ValueError(f"There’s no time zone called {name}. Write a region and a city: Europe/Berlin.")
    person.preferences = {**person.preferences, ZONE: name}
    person.save(update_fields=["preferences"])


def uses_letter_keys(person: Any) -> bool:
    """Whether keys that are one character do something for this person; who speaks to the computer switches them off
    (WCAG 2.1.4)."""
    return bool(getattr(person, "preferences", {}).get(LETTER_KEYS, True))


def choose_letter_keys(person: Person, *, on: bool) -> None:
    """Remember whether they do."""
    person.preferences = {**person.preferences, LETTER_KEYS: on}
    person.save(update_fields=["preferences"])
