"""How everything logs: one line of JSON per event in production, readable lines in the demo; never a secret, and no
personal data: no e-mail address, and not the rows that PostgreSQL quotes in its errors."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import structlog

from q2c.core.redact import redact

_MAIL = re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+")
# What PostgreSQL quotes: the row that a constraint refused, a key's values, a text that isn't what was wanted.
_QUOTED = re.compile(r"(DETAIL:\s+)[^\n]*|(CONTEXT:\s+)[^\n]*|(invalid input syntax for type [\w ]+: )[^\n]*")


def without_secrets(_logger: object, _method: str, event: dict[str, Any]) -> dict[str, Any]:
    """Redacts every value of a log event, and takes personal data out of it."""
    return without_persons(redact(event))


def without_persons(value: Any) -> Any:
    """The same value without e-mail addresses and without what PostgreSQL quotes of a row; other types as they are."""
    if isinstance(value, str):
        if "@" in value:
            value = _MAIL.sub("[e-mail]", value)
        return _QUOTED.sub(lambda found: f"{found[1] or found[2] or found[3]}[left out]", value)
    if isinstance(value, Mapping):
        return {name: without_persons(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [without_persons(item) for item in value]
    return value


_STEPS: list[Any] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.stdlib.ExtraAdder(),
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.format_exc_info,
]


def logging_config(env: str, level: str) -> dict[str, Any]:
    """The dictConfig of all processes; structlog's own loggers go the same way."""
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.stdlib.PositionalArgumentsFormatter(),
            *_STEPS,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    printer: Any = structlog.processors.JSONRenderer(default=str)
    if env == "demo":
        printer = structlog.processors.KeyValueRenderer(key_order=["level", "event"], drop_missing=True, sort_keys=True)
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "line": {
                "()": structlog.stdlib.ProcessorFormatter,
                "foreign_pre_chain": _STEPS,
                "processors": [
                    structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                    without_secrets,
                    printer,
                ],
            }
        },
        "handlers": {"err": {"class": "logging.StreamHandler", "formatter": "line"}},
        "root": {"handlers": ["err"], "level": level},
        "loggers": {
            "django": {"handlers": [], "level": level, "propagate": True},
            "celery.worker.strategy": {"level": "WARNING"},  # a line per nudge says nothing
            "celery.worker.request": {"level": "WARNING"},  # nor one per nudge that expired
            "celery.app.trace": {"level": "WARNING"},
            "celery.beat": {"level": "WARNING"},
            "django_celery_beat": {"level": "WARNING"},
        },
    }
