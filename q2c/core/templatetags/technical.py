"""How a technical view shows what went over the wire: indented, with hidden and covered values as marks."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit

from django import template
from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe

from q2c.core.masking import MARK, mask_text

register = template.Library()


@register.filter
def pretty(value: Any) -> str:
    """JSON, indented. Text and bytes that are no JSON stay as they are."""
    if isinstance(value, memoryview):
        value = bytes(value)
    if isinstance(value, (bytes, str)):
        text = value.decode("utf-8", "replace") if isinstance(value, bytes) else value
        try:
            value = json.loads(text, parse_float=Decimal)
        except ValueError:
            return text
    return json.dumps(value, indent=2, ensure_ascii=False, default=str)


@register.filter
def masked(text: str) -> SafeString:
    """Wire text for a `pre`, with what was redacted shown as "hidden" and what is covered as "masked"."""
    shown = escape(text).replace("[redacted]", '<span class="mask">hidden</span>')
    return mark_safe(shown.replace(MARK, '<span class="mask">masked</span>'))


@register.filter
def covered(text: Any) -> str:
    """A text with its personal values covered (`q2c.core.masking`)."""
    return mask_text(str(text)).text


@register.filter
def url_path(url: str) -> str:
    """The path of an address, without host and query: "/services/rest/record/v1/invoice"."""
    return urlsplit(str(url)).path or str(url)


@register.filter
def wire(text: str) -> str:
    """Headers and body of a message; a JSON body is indented."""
    head, gap, body = text.partition("\n\n")
    return f"{head}\n\n{pretty(body)}" if gap else pretty(text)
