"""What is said of a message or answer in which a field is missing, renamed, null or of another kind."""

from __future__ import annotations

from connectors.fields import Noted
from q2c.core.problems import Category, Problem


def unreadable(error: Exception, noted: Noted | None = None) -> Problem:
    """A vendor's message that can't be read, with the path of the field at fault as far as it's known.

    A fault that no field had a part in is a bug of ours, and stays one: this raises it again.
    """
    path = noted.path if noted else ""
    if isinstance(error, KeyError):
        text = f"field {error} is missing"
    elif path or isinstance(error, ValueError):
        text = str(error)
    else:
        raise error
    where = f" at {path}" if path and path not in text else ""
    says = f"The message can't be read{where}: {text}"
    return Problem("malformed_event", Category.VALIDATION, says, path=(path or text)[:200])
