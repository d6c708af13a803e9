"""Deep links into the vendors' own screens, from each vendor's manifest."""

from __future__ import annotations

from connectors import registry
from connectors.models import Connection


def record_url(connection: Connection | None, document_type: str, document_id: str) -> str:
    """The address of a record in its system, or "" when the vendor gives none or a setting is missing."""
    if connection is None or not document_id:
        return ""
    try:
        manifest = registry.manifest(connection.vendor)
        pattern = manifest.record_pages.get(document_type, manifest.record_url)
        settings = registry.settings_of(manifest, connection.settings)
        url = pattern.format(**{**settings, "type": document_type, "id": document_id})
    except (LookupError, ValueError):
        return ""
    return url if url.startswith(("https://", "http://")) else ""
