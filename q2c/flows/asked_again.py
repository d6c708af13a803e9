"""What rules may look at of a stored document, outside of its flow: for whoever explains or previews a posting."""

from __future__ import annotations

from typing import Any

from mappings.resolve import Snapshot
from q2c.flows.steps import asked
from q2c.links import Links, fetch_links


class _Fetched:
    """What the rules that a snapshot holds look at: nobody else's facts are found out."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    def looks_at(self, kind: str) -> frozenset[str]:
        """Facts of the document."""
        return self._snapshot.fetched_looks(kind)


def facts_again(document: Any, snapshot: Snapshot, *kinds: str) -> dict[str, str] | None:
    """The facts of a document as its flow would ask rules of these kinds with them today; None where none of those that
    were fetched looks at any. At most one statement."""
    fetched, links = _Fetched(snapshot), Links()
    wants = asked.want_facts(document, fetched, *kinds)
    if wants:
        fetch_links(links, {"fact": {key for _, key in wants}})
    return asked.facts_of(document, fetched, links, *kinds)
