"""Deep links into the vendors' own screens, from each vendor's manifest."""

from __future__ import annotations

import importlib
import importlib.util

from connectors.models import Connection


def record_url(connection: Connection | None, document_type: str, document_id: str) -> str:
    """The address of a record in its system, or "" when the vendor gives none or a setting is missing."""
    if connection is None or not document_id or importlib.util.find_spec("connectors.registry") is None:
        return ""
    registry = importlib.import_module("connectors.registry")
    try:
        pattern = registry.manifest(connection.vendor).record_url
    except KeyError:
        return ""
    try:
        url = pattern.format(**{**connection.settings, "type": document_type, "id": document_id})
    except (KeyError, IndexError):
        return ""
    return url if url.startswith(("https://", "http://")) else ""
