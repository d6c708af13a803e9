"""What every canonical document shares. Pure, frozen, strict: unknown fields are refused, money is Decimal with its
currency."""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum
from typing import Annotated, ClassVar, cast

import msgspec

Currency = Annotated[str, msgspec.Meta(pattern="^[A-Z]{3}$")]
Country = Annotated[str, msgspec.Meta(pattern="^([A-Z]{2})?$")]
MAX_DIGITS = 14  # NUMERIC(20,6) holds 14 digits before the point


class Later(StrEnum):
    """What a later fact of the same source object is to an earlier one."""

    VERSION = "version"  # a newer version of it, which says all that it said: only the newest is carried
    OF_MOVEMENT = "of_movement"  # that only where both are of one movement: money that went, or its coming back
    ANOTHER = "another"  # a fact of its own: neither stands for the other


class Document(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """Base of all canonical structs. One that starts a flow says what `later_is` to it; a flow refuses one that
    doesn't."""

    later_is: ClassVar[Later]


class Source(Document):
    """Where a fact came from: our connection's code, the vendor's own word for the object, its id, its version
    there."""

    connection: str
    object_type: str
    object_id: Annotated[str, msgspec.Meta(min_length=1)]
    version: str = ""


def check_amount(value: Decimal, name: str) -> None:
    """Refuses what a ledger can't hold: NaN, infinity, absurd exponents. Raises ValueError naming the field."""
    if not value.is_finite() or value.adjusted() >= MAX_DIGITS or cast(int, value.as_tuple().exponent) < -12:
        raise ValueError(f"{name}: {value} isn't an amount")
