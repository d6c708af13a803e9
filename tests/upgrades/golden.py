"""What the last release wrote, as files: read by tests from now on, written at a release (`make golden`)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from celery import current_app
from django.db.migrations.loader import MigrationLoader

from q2c.flows import catalog
from q2c.transactions.models import BusinessTransaction, StepRun

FOLDER = Path(__file__).with_name("released")
OURS = ("q2c.", "exceptions.", "mappings.", "connectors.")


def release_facts() -> dict[str, Any]:
    """What this release consists of, as far as the next one has to know: last migrations, steps, tasks."""
    loader = MigrationLoader(None)
    current_app.loader.import_default_modules()
    return {
        "migrations": {app: name for app, name in sorted(loader.graph.leaf_nodes()) if is_ours(loader, app)},
        "flows": {flow.code: [[step.name, step.kind, step.gives] for step in flow.steps] for flow in catalog.FLOWS},
        "tasks": sorted(name for name in current_app.tasks if name.startswith(OURS)),
    }


def is_ours(loader: MigrationLoader, app: str) -> bool:
    """Whether an app's migrations are part of the portal."""
    return loader.graph.leaf_nodes(app)[0] in loader.disk_migrations and loader.disk_migrations[
        loader.graph.leaf_nodes(app)[0]
    ].__module__.startswith(OURS)


def released() -> dict[str, Any]:
    """`release_facts` of the last release."""
    facts: dict[str, Any] = json.loads((FOLDER / "release.json").read_text())
    return facts


def documents() -> dict[str, dict[str, Any]]:
    """The last release's documents by flow."""
    return {path.stem: json.loads(path.read_text()) for path in sorted(FOLDER.glob("*_*.json"))}


def write(name: str, facts: dict[str, Any]) -> None:
    """One file, in an order that shows what changed."""
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / f"{name}.json").write_text(json.dumps(facts, indent=1, sort_keys=True, ensure_ascii=False) + "\n")


def document_facts(txn: BusinessTransaction, intents: list[dict[str, Any]], events: list[list[Any]]) -> dict[str, Any]:
    """One carried document as it's stored."""
    steps = StepRun.objects.filter(transaction_id=txn.pk).order_by("sequence")
    return {
        "fact_type": txn.fact_type,
        "fact": bytes(txn.fact).decode(),
        "steps": [
            [s.sequence, s.step, s.kind, s.state, None if s.output is None else bytes(s.output).decode()] for s in steps
        ],
        "intents": intents,
        "events": events,
    }
