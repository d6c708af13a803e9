"""Django system checks: a manifest that lies doesn't start."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.core.checks import CheckMessage, Error, register

from connectors import registry
from connectors.manifest import Manifest, Means, Secret


@register("connectors")
def check_vendors(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """Every vendor package against what its manifest says."""
    found: list[CheckMessage] = []
    for code in registry.vendors():
        try:
            facts, client = registry.manifest(code), registry.client_class(code)
        except (ImportError, AttributeError) as error:
            found.append(Error(f"connectors.{code} can't be loaded: {error}", id="connectors.E001"))
            continue
        found += [Error(f"connectors.{code}: {says}", id="connectors.E002") for says in lies(code, facts, client)]
    return found


def lies(code: str, facts: Manifest, client: type) -> Iterator[str]:
    """What a manifest says that its package doesn't do, each as a sentence."""
    if facts.code != code:
        yield f"the manifest calls itself {facts.code}"
    names = [s.name for s in facts.settings]
    if len(names) != len(set(names)):
        yield "a setting is named twice"
    for family in facts.families:
        if family in registry.PROMISES and not any(registry.verbs_of(code)[family].values()):
            yield f"it plays {family} without one of its verbs"
    for event_type, meaning in facts.events.items():
        if isinstance(meaning, Means) and meaning.refetch and not callable(getattr(client, meaning.refetch, None)):
            yield f"{event_type} refetches by {meaning.refetch}, which the client doesn't have"
    if facts.webhook is not None and not any(isinstance(s, Secret) for s in facts.settings):
        yield "it has a webhook door and no secret to prove messages by"
    if facts.repeats.refuses_existing and not any(row.is_existing for row in facts.errors):
        yield "it refuses documents that exist, but no row of its errors says how"
