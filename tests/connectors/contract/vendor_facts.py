"""What the contract tests need to know of a vendor: credentials that fill its manifest, and where its package lies."""

from pathlib import Path

from connectors import registry
from connectors.manifest import Secret

PACKAGES = Path(registry.__file__).parent
VENDORS = registry.vendors()


# How a vendor tells with an answer how much of the day's quota is used, by us and by others.
QUOTA_HEADERS = {
    "salesforce": lambda used, allowed: {"Sforce-Limit-Info": f"api-usage={used}/{allowed}"},
}


def made_up_secrets(code: str) -> dict[str, str]:
    """A recognisable value for each secret of the manifest."""
    return {
        s.name: f"kept-{code}-{s.name}-Zq93Lx"
        for s in registry.manifest(code).settings
        if isinstance(s, Secret) and s.name != "private_key"
    }


def made_up_settings(code: str) -> dict[str, str]:
    """A value for each plain setting without a default."""
    plain = [s for s in registry.manifest(code).settings if not isinstance(s, Secret)]
    return {s.name: "1234567_SB1" if s.name == "account" else "" for s in plain if not s.default}
