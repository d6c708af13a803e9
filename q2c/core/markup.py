"""The little markup that people may write: paragraphs, lists, bold, code, links. Everything else is plain text."""

from __future__ import annotations

import re
from itertools import groupby

from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe

_BULLET = re.compile(r"[-*] +(.+)")
_NUMBERED = re.compile(r"\d{1,3}[.)] +(.+)")
# On text that is escaped already, so nothing that a person wrote can open or close a tag.
_CODE = re.compile(r"`([^`\n]+)`")
_BOLD = re.compile(r"\*\*([^*\n]+)\*\*")
_LINK = re.compile(r"\[([^\]\n]{1,200})\]\((https?://[^\s()<>]{1,500}|/[^\s()<>/][^\s()<>]{0,500})\)")


def render_markup(text: str) -> SafeString:
    """The text as HTML: a blank line ends a paragraph, "- " and "1. " begin lists, **bold**, `code`, [words](address).

    An address is http, https, or one of the portal's own that begins with a single slash; any other stays as written.
    """
    blocks = re.split(r"\n\s*\n", text.replace("\r\n", "\n").strip())
    return mark_safe("".join(_block(block) for block in blocks if block.strip()))


def _block(block: str) -> str:
    parts = []
    for sort, lines in groupby((line.strip() for line in block.split("\n") if line.strip()), key=_sort):
        if sort == "p":
            parts.append(f"<p>{'<br>'.join(map(_inline, lines))}</p>")
        else:
            pattern = _BULLET if sort == "ul" else _NUMBERED
            items = (pattern.fullmatch(line) for line in lines)
            parts.append(f"<{sort}>{''.join(f'<li>{_inline(m[1])}</li>' for m in items if m)}</{sort}>")
    return "".join(parts)


def _sort(line: str) -> str:
    return "ul" if _BULLET.fullmatch(line) else "ol" if _NUMBERED.fullmatch(line) else "p"


def _inline(line: str) -> str:
    """Code first, so that nothing inside it is read as anything else."""
    pieces = _CODE.split(escape(line))
    return "".join(f"<code>{p}</code>" if n % 2 else _dress(p) for n, p in enumerate(pieces))


def _dress(text: str) -> str:
    linked = _LINK.sub(r'<a href="\2" rel="noreferrer">\1</a>', text)
    return _BOLD.sub(r"<b>\1</b>", linked)
