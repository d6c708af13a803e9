"""Forms of the connections' console: a reason, a change, credentials that are never shown."""

from __future__ import annotations

from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.core.validators import URLValidator

from connectors import registry
from connectors.manifest import GOVERNED, Manifest, Secret
from connectors.models import Connection
from q2c.core.filters import DateField, dress
from q2c.core.vault import Unsealable

_ADDRESS = URLValidator(schemes=["https", "http"])
_CEILINGS = tuple(part.name for part in GOVERNED)


class ReasonForm(forms.Form):
    """Why."""

    why = forms.CharField(label="Reason", min_length=5, max_length=500)


class ConnectionForm(forms.Form):
    """Name, address, plain settings, concurrency, and new credentials. A field per setting of the vendor's manifest."""

    name = forms.CharField(label="Name", max_length=100)
    base_url = forms.CharField(
        label="Address",
        max_length=300,
        help_text="A new address clears the credentials; those given with it wait with it.",
    )
    at_once = forms.IntegerField(
        label="Requests at once",
        required=False,
        min_value=1,
        max_value=100,
        help_text="Empty: as many as the vendor allows.",
    )
    expire_on = DateField(label="Credentials expire on", required=False)
    why = forms.CharField(label="Reason", min_length=5, max_length=500)

    def __init__(self, data: Any = None, *, connection: Connection) -> None:
        self.connection = connection
        self.manifest: Manifest | None = _manifest(connection)
        super().__init__(data, initial=_initial(connection), label_suffix="")
        held = _held(connection)
        for part in self.manifest.settings if self.manifest else ():
            label = part.name.replace("_", " ").capitalize()
            if isinstance(part, Secret):
                self.fields[f"secret_{part.name}"] = forms.CharField(
                    label=label,
                    required=False,
                    strip=False,
                    max_length=8000,
                    help_text=_says_of(part),
                    widget=forms.PasswordInput(render_value=False, attrs={"autocomplete": "new-password"}),
                )
                if not part.is_required and part.name in held:
                    self.fields[f"remove_{part.name}"] = forms.BooleanField(label=f"Remove {label}", required=False)
            else:
                self.fields[f"setting_{part.name}"] = forms.CharField(
                    label=label,
                    required=part.is_required,
                    max_length=300,
                    initial=connection.settings.get(part.name, part.default),
                    help_text=part.label,
                )
        dress(self)

    def clean(self) -> dict[str, Any]:
        """Ceilings are whole numbers above 0, or empty. A credential is given anew or removed, not both."""
        cleaned: dict[str, Any] = super().clean() or {}
        for name in self.removed:
            if cleaned.get(f"secret_{name}"):
                self.add_error(f"secret_{name}", "Give a new one or remove it, not both.")
        for name in _CEILINGS:
            text = str(cleaned.get(f"setting_{name}") or "").strip()
            if text and not (text.isdecimal() and registry.read_ceiling(text)):
                self.add_error(f"setting_{name}", "Write a whole number above 0, such as 50000, or leave it empty.")
            elif f"setting_{name}" in cleaned:
                cleaned[f"setting_{name}"] = text
        return cleaned

    def clean_base_url(self) -> str:
        """An address of the web, without a password in it."""
        url = self.cleaned_data["base_url"].strip()
        if url == self.connection.base_url:
            return url
        try:
            _ADDRESS(url)
        except ValidationError:
            raise ValidationError("Write the whole address, with https://.") from None
        if "@" in url.split("/")[2]:
            raise ValidationError("Leave the password out of the address; credentials have their own fields.")
        if not url.startswith("https://") and not self.connection.is_sandbox:
            raise ValidationError("Only https is spoken to a vendor.")
        return url

    @property
    def plain(self) -> dict[str, Any]:
        """Name and concurrency as they are to be."""
        return {"name": self.cleaned_data["name"], "at_once": self.cleaned_data["at_once"]}

    @property
    def settings(self) -> dict[str, Any]:
        """The vendor's settings, its account among them, as they are to be. One that was emptied is stored as empty:
        that counts before its default. One that is left as it's shown isn't stored for that."""
        known = self.connection.settings
        fields = {name: field for name, field in self.fields.items() if name.startswith("setting_")}
        given = {name[8:]: self.cleaned_data[name] for name in fields if name in self.cleaned_data}
        shown = {name[8:]: str(field.initial or "") for name, field in fields.items()}
        return {**known, **{name: value for name, value in given.items() if value != shown[name]}}

    @property
    def removed(self) -> list[str]:
        """The credentials that are to go."""
        return [name[7:] for name, is_asked in self.cleaned_data.items() if name.startswith("remove_") and is_asked]

    @property
    def secrets(self) -> dict[str, str]:
        """New credentials; empty ones stay as they are."""
        return {name[7:]: value for name, value in self.cleaned_data.items() if name.startswith("secret_") and value}

    @property
    def plain_fields(self) -> list[Any]:
        """Fields of plain settings."""
        return [field for field in self if field.name.startswith("setting_")]

    @property
    def secret_fields(self) -> list[Any]:
        """Fields of credentials, each followed by the box that removes it, where one does."""
        return [field for field in self if field.name.startswith(("secret_", "remove_"))]


def _says_of(part: Secret) -> str:
    said = [part.label] if part.label else []
    if part.name.endswith(registry.PREVIOUS):
        said.append("Stays valid for 24 hours after it’s given")
    return ". ".join([*said, "Never shown", "Empty: stays as it is."])


def _held(connection: Connection) -> frozenset[str]:
    """The names of the credentials that there are."""
    try:
        return frozenset(registry.secrets_of(connection))
    except Unsealable:
        return frozenset()


def _manifest(connection: Connection) -> Manifest | None:
    try:
        return registry.manifest(connection.vendor)
    except LookupError:
        return None


def _initial(connection: Connection) -> dict[str, Any]:
    expires = connection.secrets_expire_at
    return {
        "name": connection.name,
        "base_url": connection.base_url,
        "at_once": connection.at_once,
        "expire_on": expires.date() if expires else None,
    }
