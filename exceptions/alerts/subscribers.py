"""What subscribers of webhooks are given: the JSON Schema of a message and an AsyncAPI document, printed from the
classes that messages are made of.

python -m exceptions.alerts.subscribers docs/webhooks
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import msgspec

VERSION = "1.0.0"
SCHEMA, ASYNCAPI = "alert.v1.schema.json", "asyncapi.json"
DIALECT = "https://json-schema.org/draft/2020-12/schema"
SAYS = {
    "exception.raised": "Cases of one kind opened.",
    "exception.at_risk": "The promise of such cases is running out.",
    "exception.late": "The promise of such cases is broken.",
    "exception.reminded": "Such cases are still open.",
    "exception.resolved": "None of the key is open any more: the all-clear.",
    "exception.test": "Somebody tries the channel; nothing is wrong.",
}
_EXAMPLE = {
    "type": "exception.raised",
    "timestamp": "2026-11-24T10:00:00Z",
    "data": {
        "alert": "alert_412", "key": "missing_item_mapping/netsuite/invoice_to_erp", "is_over": False,
        "kind": "missing_item_mapping", "title": "Missing item mapping: 3 cases opened.", "severity": "high",
        "connection": "netsuite", "flow": "invoice_to_erp", "cases": 3, "queues": ["billing_ops"],
        "entities": ["DE01", "GB01"],
        "places": [
            {"queue": "billing_ops", "entity": "DE01", "severity": "high", "cases": 1},
            {"queue": "billing_ops", "entity": "GB01", "severity": "high", "cases": 2},
        ],
        "places_left_out": 0, "round": 0, "began_at": "2026-11-24T09:58:12Z", "over_at": None,
        "link": "https://portal.example.com/exceptions/cases/?kind=missing_item_mapping",
    },
}  # fmt: skip


def schema() -> dict[str, Any]:
    """JSON Schema 2020-12 of one message. Open: a subscriber ignores what it doesn't know."""
    from exceptions.alerts.webhooks import AlertMessage

    return {"$schema": DIALECT, "$id": "urn:q2c:webhooks:alert:v1", **msgspec.json.schema(AlertMessage)}


def asyncapi() -> dict[str, Any]:
    """AsyncAPI 3.1.0: what we send, to which channel, proved by which headers."""
    names = {code: "".join(word.capitalize() for word in code.replace(".", "_").split("_")) for code in SAYS}
    return {
        "asyncapi": "3.1.0",
        "info": {
            "title": "Exceptions of quote-to-cash, as signed webhooks",
            "version": VERSION,
            "description": "Standard Webhooks 1.0.0. How to check a signature stands in README.md beside this file.",
        },
        "defaultContentType": "application/json",
        "channels": {
            "alerts": {
                "address": None,
                "description": "The subscriber’s own address: a POST over https.",
                "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in names.values()},
            }
        },
        "operations": {
            "tellAlerts": {
                "action": "send",
                "channel": {"$ref": "#/channels/alerts"},
                "messages": [{"$ref": f"#/channels/alerts/messages/{name}"} for name in names.values()],
            }
        },
        "components": {
            "messages": {names[code]: _message(code, says) for code, says in SAYS.items()},
            "messageTraits": {"signed": {"headers": {"$ref": "#/components/schemas/headers"}}},
            "schemas": {"headers": _headers()},
        },
    }


def _message(code: str, says: str) -> dict[str, Any]:
    is_first = code == _EXAMPLE["type"]
    return {
        "name": code,
        "title": says,
        "contentType": "application/json",
        "traits": [{"$ref": "#/components/messageTraits/signed"}],
        "correlationId": {"location": "$message.payload#/data/key"},
        "payload": {"schemaFormat": "application/schema+json;version=2020-12", "schema": {"$ref": f"./{SCHEMA}"}},
        **({"examples": [{"name": "three cases", "payload": _EXAMPLE}]} if is_first else {}),
    }


def _headers() -> dict[str, Any]:
    words = {
        "webhook-id": "Of the message, the same at each attempt; what you have had is answered 2xx and dropped",
        "webhook-timestamp": "Unix seconds of this attempt",
        "webhook-signature": "v1, and the base64 of the HMAC-SHA256; two with a space between while a secret is rolled",
    }
    fields = {name: {"type": "string", "description": says} for name, says in words.items()}
    return {"type": "object", "required": list(words), "properties": fields}


def printed() -> dict[str, str]:
    """The files by name, as they are kept."""
    made = {SCHEMA: schema(), ASYNCAPI: asyncapi()}
    return {name: json.dumps(content, indent=2, ensure_ascii=False) + "\n" for name, content in made.items()}


if __name__ == "__main__":
    import os

    import django

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "q2c.settings")
    django.setup()
    for file_name, text in printed().items():
        Path(sys.argv[1], file_name).write_text(text)
