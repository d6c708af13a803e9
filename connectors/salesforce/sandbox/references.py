"""How a composite request's parts use the answers of earlier ones: `@{reference.path}`."""

import re
from typing import Any

from connectors.salesforce.sandbox.errors import refusal

REFERENCE = re.compile(r"@\{([^}]+)\}")


class PartHeaders(dict):
    """A subrequest's own headers before the whole request's."""

    def __init__(self, own: dict, outer: Any):
        super().__init__({name.lower(): value for name, value in own.items()})
        self.outer = outer

    def get(self, name: str, default: Any = None) -> Any:
        """Whatever the case."""
        return super().get(name.lower()) or self.outer.get(name, default)


def fill_in(value: Any, known: dict) -> Any:
    """A part's body or address with its references replaced. Raises Refusal for one that leads nowhere."""
    if isinstance(value, dict):
        return {name: fill_in(each, known) for name, each in value.items()}
    if isinstance(value, list):
        return [fill_in(each, known) for each in value]
    if not isinstance(value, str):
        return value
    whole = REFERENCE.fullmatch(value)
    if whole:
        return _look_up(whole[1], known)
    return REFERENCE.sub(lambda match: str(_look_up(match[1], known)), value)


def _look_up(path: str, known: dict) -> Any:
    name, _, rest = path.partition(".")
    value = known[name]
    for part in re.findall(r"[^.\[\]]+", rest):
        try:
            value = value[int(part)] if isinstance(value, list) else value[part]
        except (KeyError, IndexError, ValueError, TypeError):
            raise refusal(
                "PROCESSING_HALTED", f"Invalid reference specified. No value for {path} found in {name}"
            ) from None
    return value
