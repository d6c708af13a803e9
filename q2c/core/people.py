"""People: nobody signs up by themselves (an admin brings them in); who single sign-on is; their time zones and keys."""

import zoneinfo
from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from allauth.core.exceptions import SignupClosedException
from allauth.socialaccount.adapter import DefaultSocialAccountAdapter
from allauth.socialaccount.models import SocialAccount
from allauth.socialaccount.providers.base import AuthProcess
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


class KnownPeopleAdapter(DefaultSocialAccountAdapter):
    """Single sign-on brings in who is a person of the portal already. The first time it's tied to the one person who
    has the verified e-mail address, and the database then lets them wait before they approve; from then on the
    provider's own name for them counts, whatever becomes of the address."""

    def list_apps(self, request: Any, provider: Any = None, client_id: Any = None) -> list[Any]:
        """Those of the settings: one that lies in the database isn't believed."""
        if not settings.SOCIALACCOUNT_PROVIDERS:
            return []
        return [app for app in super().list_apps(request, provider, client_id) if app.pk is None]

    def is_open_for_signup(self, request: Any, sociallogin: Any) -> bool:
        return False

    def pre_social_login(self, request: Any, sociallogin: Any) -> None:
        """Raises SignupClosedException for whom nobody here knows."""
        if sociallogin.is_existing or sociallogin.state.get("process") == AuthProcess.CONNECT:
            return
        person = _person_of(sociallogin)
        if person is None:
            raise SignupClosedException
        sociallogin.connect(request, person)


def _person_of(sociallogin: Any) -> Person | None:
    """The one person with a verified address of this sign-in; nobody whom the provider calls by another name already:
    an address may be given to somebody new."""
    verified = [a.email for a in sociallogin.email_addresses if a.verified is True or a.verified == "true"]
    known = SocialAccount.objects.filter(provider=sociallogin.account.provider).values("user")
    found = {p for email in verified if email for p in Person.objects.filter(email__iexact=email, is_active=True)[:2]}
    person = found.pop() if len(found) == 1 else None
    return person if person is not None and not known.filter(user=person).exists() else None


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
