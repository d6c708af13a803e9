"""Reads parameters by a table of names and kinds, from a form (strings) or from the control door (JSON)."""

from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from connectors.stripe.sandbox.errors import invalid, missing_param, unknown_param

Kind = Callable[[Any, str], Any]
Spec = Mapping[str, Kind]

MOST_METADATA, LONGEST_KEY, LONGEST_VALUE = 50, 40, 500
LARGEST_AMOUNT = 99_999_999_999


def read_params(given: dict, spec: Spec, *, required: tuple[str, ...] = (), within: str = "") -> dict[str, Any]:
    """The given parameters, each turned into its kind. Raises Refusal: unknown, missing or invalid."""
    read = {}
    for name, value in given.items():
        kind = spec.get(name)
        if kind is None:
            if name == "expand":
                continue
            raise unknown_param(f"{within}[{name}]" if within else name)
        read[name] = kind(value, f"{within}[{name}]" if within else name)
    for name in required:
        if read.get(name) is None:
            raise missing_param(f"{within}[{name}]" if within else name)
    return read


def text(value: Any, param: str) -> str | None:
    """A string; empty clears."""
    if isinstance(value, dict | list):
        raise invalid(f"Invalid string: {value}", code="parameter_invalid_string", param=param)
    return None if value in (None, "") else str(value)


def integer(value: Any, param: str) -> int | None:
    """A whole number."""
    if value in (None, ""):
        return None
    try:
        if isinstance(value, bool | float):
            raise ValueError
        return int(value)
    except (ValueError, TypeError) as error:
        raise invalid(f"Invalid integer: {value}", code="parameter_invalid_integer", param=param) from error


def amount(value: Any, param: str) -> int | None:
    """An amount in minor units, which may be negative."""
    number = integer(value, param)
    if number is not None and abs(number) > LARGEST_AMOUNT:
        raise invalid("Amount must be no more than 99999999999", code="amount_too_large", param=param)
    return number


def positive(value: Any, param: str) -> int | None:
    """A whole number of at least 1."""
    number = amount(value, param)
    if number is not None and number < 1:
        raise invalid("This value must be greater than or equal to 1.", code="parameter_invalid_integer", param=param)
    return number


def not_negative(value: Any, param: str) -> int | None:
    """A whole number of at least 0."""
    number = amount(value, param)
    if number is not None and number < 0:
        raise invalid("This value must be greater than or equal to 0.", code="parameter_invalid_integer", param=param)
    return number


def decimal(value: Any, param: str) -> Decimal | None:
    """A decimal of up to 12 places."""
    if value in (None, ""):
        return None
    try:
        number = Decimal(str(value))
    except InvalidOperation as error:
        raise invalid(f"Invalid decimal: {value}", param=param) from error
    if not number.is_finite() or -int(number.normalize().as_tuple().exponent) > 12:
        raise invalid("Invalid decimal: at most 12 decimal places are allowed", param=param)
    return number


def boolean(value: Any, param: str) -> bool | None:
    """true or false."""
    if value in (None, ""):
        return None
    if value in (True, "true"):
        return True
    if value in (False, "false"):
        return False
    raise invalid(f"Invalid boolean: {value}", param=param)


def currency(value: Any, param: str) -> str | None:
    """A lowercase ISO code."""
    code = text(value, param)
    if code is not None and not (len(code) == 3 and code.isalpha()):
        raise invalid(f"Invalid currency: {code}.", param=param)
    return code.lower() if code else None


def email(value: Any, param: str) -> str | None:
    """An address with an @ in it."""
    address = text(value, param)
    if address is not None and ("@" not in address or " " in address):
        raise invalid(f"Invalid email address: {address}", code="email_invalid", param=param)
    return address


def choice(*allowed: str) -> Kind:
    """One of some words."""

    def read(value: Any, param: str) -> str | None:
        word = text(value, param)
        if word is not None and word not in allowed:
            raise invalid(f"Invalid {param}: must be one of {', '.join(allowed)}", param=param)
        return word

    return read


def nested(spec: Spec, *, required: tuple[str, ...] = ()) -> Kind:
    """A hash with its own table."""

    def read(value: Any, param: str) -> dict | None:
        if value in (None, ""):
            return None
        if not isinstance(value, dict):
            raise invalid("Invalid object", param=param)
        return read_params(value, spec, required=required, within=param)

    return read


def many(kind: Kind) -> Kind:
    """An array."""

    def read(value: Any, param: str) -> list | None:
        if value in (None, ""):
            return []
        if not isinstance(value, list):
            raise invalid("Invalid array", param=param)
        return [kind(each, f"{param}[{number}]") for number, each in enumerate(value)]

    return read


def anything(value: Any, param: str) -> Any:
    """Kept as it came."""
    return None if value == "" else value


def metadata(value: Any, param: str) -> dict[str, str] | None:
    """At most 50 keys of 40 characters with values of 500; an empty value removes its key, an empty hash all."""
    if value in (None, ""):
        return None
    if not isinstance(value, dict):
        raise invalid("Invalid metadata: metadata must be a hash", param=param)
    for key, each in value.items():
        if len(str(key)) > LONGEST_KEY:
            raise invalid(f"Metadata keys can have up to {LONGEST_KEY} characters. You passed '{key}'.", param=param)
        if each is not None and len(str(each)) > LONGEST_VALUE:
            raise invalid(
                f"Metadata values can have up to {LONGEST_VALUE} characters, but you passed in a value that is "
                f"{len(str(each))} characters.",
                param=f"{param}[{key}]",
            )
    return {str(key): "" if each is None else str(each) for key, each in value.items()}


def merge_metadata(old: dict[str, str], new: dict[str, str] | None) -> dict[str, str]:
    """What an update leaves: None clears everything, empty values remove their key."""
    if new is None:
        return {}
    merged = {key: value for key, value in {**old, **new}.items() if value != ""}
    if len(merged) > MOST_METADATA:
        raise invalid(f"Metadata can have up to {MOST_METADATA} keys", param="metadata")
    return merged


ADDRESS = nested(dict.fromkeys(("line1", "line2", "city", "state", "postal_code", "country"), text))
PERIOD = nested({"start": integer, "end": integer}, required=("start", "end"))
