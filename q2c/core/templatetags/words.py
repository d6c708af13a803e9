"""Template tags for what every screen says the same way: money, instants, states, ids, counts, addresses of lists."""

from __future__ import annotations

import datetime as dt
import re
import zoneinfo
from decimal import Decimal
from typing import Any

from django import template
from django.template.loader import get_template
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe

from q2c.core.htmx import Counted
from q2c.core.ids import MACHINE_ID, uuid7
from q2c.core.money import decimals
from q2c.core.roles import PERMISSION_WORDS
from q2c.core.states import look

register = template.Library()
MINUS = "\u2212"
_PERIOD = re.compile(r"(\d{4})-(0[1-9]|1[0-2])(?:-(\d\d))?")
_ACRONYMS = {"sku": "SKU", "erp": "ERP", "crm": "CRM", "url": "address", "api": "API", "ar": "AR", "ops": "operations"}
_NOUNS = {"Application": "Cash application", "application": "Cash application", "Use": "Customer use",
          "CustomerWanted": "Customer"}  # fmt: skip


def plain_money(amount: Decimal, currency: str) -> str:
    """`1,234.50`: decimals by ISO 4217 (more if the amount has more), the minus as U+2212."""
    places = decimals(currency) if currency else 2
    amount = Decimal(amount)
    exponent = amount.normalize().as_tuple().exponent
    places = max(places, -exponent if isinstance(exponent, int) else 0)
    text = f"{abs(amount):,.{places}f}"
    return f"{MINUS}{text}" if amount < 0 else text


@register.simple_tag
def money(amount: Any, currency: str = "", tone: str = "") -> SafeString | str:
    """An amount in its own currency. Nothing for None; zero is grey; a `column` keeps JPY in line."""
    if amount is None or amount == "":
        return ""
    amount = Decimal(amount)
    classes = "money"
    if tone == "column" and currency and decimals(currency) == 0:
        classes += " m0"
    if amount == 0:
        classes += " zero"
    code = format_html('<span class="ccy">{}</span>\u00a0', currency) if currency else ""
    return format_html('<span class="{}">{}{}</span>', classes, code, plain_money(amount, currency))


@register.simple_tag
def amounts(given: Any) -> SafeString:
    """The first two of a list of currencies with their amounts, one below the other, and how many more there are.
    Nothing for no list."""
    lines = [money(amount, currency, "column") for currency, amount in given or ()]
    more = len(lines) - 2
    said = format_html('<span class="sub">and {}</span>', count(more, "more currency", "more currencies"))
    return SafeString("<br>".join(lines[:2]) + (said if more > 0 else ""))


@register.simple_tag
def when(moment: Any, style: str = "", zone: str = "") -> SafeString | str:
    """An instant or a date, short: "21:12" today, "Mon 2 Nov, 06:14" this week, "2 Nov, 06:14" this year.

    `style` "exact" adds seconds and milliseconds (timelines only); "in" words it as "at 21:12", "on 2 Nov". The zone is
    the person's, named in the page's frame; with `zone` (an entity's) its day is always told, and its short name.
    """
    if moment is None or moment == "":
        return ""
    if isinstance(moment, dt.datetime):
        if zone:
            local = moment.astimezone(zoneinfo.ZoneInfo(zone))
            text = f"{local:%a} {local.day} {local:%b %Y, %H:%M %Z}"
            return format_html('<time datetime="{}">{}</time>', local.isoformat(), text)
        local, now = timezone.localtime(moment), timezone.localtime()
        days = (now.date() - local.date()).days
        if style == "exact":
            text = f"{local:%H:%M:%S}.{local.microsecond // 1000:03d}"
            return format_html('<time datetime="{}">{}</time>', local.isoformat(), text)
        if days == 0:
            text = f"{local:%H:%M}"
            lead = "at "
        elif abs(days) < 7:
            text, lead = f"{local:%a} {local.day} {local:%b, %H:%M}", "on "
        elif local.year == now.year:
            text, lead = f"{local.day} {local:%b, %H:%M}", "on "
        else:
            text, lead = f"{local.day} {local:%b %Y}", "on "
        title = f"{local:%Y-%m-%d %H:%M:%S %Z}"
        return format_html(
            '<time datetime="{}" title="{}">{}{}</time>', local.isoformat(), title, lead if style == "in" else "", text
        )
    return format_html('<time datetime="{}">{}</time>', moment.isoformat(), f"{moment.day} {moment:%b %Y}")


def span_words(seconds: float) -> str:
    """A span in words: "26 h 13 min", "3 days", "38 min", "12 s"."""
    seconds = abs(seconds)
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = int(seconds // 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes:02d} min"
    return f"{hours // 24} days"


@register.filter
def age(moment: dt.datetime | None) -> str:
    """How long ago, in words."""
    return span_words((timezone.now() - moment).total_seconds()) if moment else ""


@register.filter
def took(microseconds: int) -> str:
    """A duration of a step: "0.12 ms", "0.004 s", "33.8 s"."""
    if microseconds < 1000:
        return f"{microseconds / 1000:.2f} ms"
    seconds = microseconds / 1_000_000
    return f"{seconds:.3f} s" if seconds < 1 else f"{seconds:.1f} s"


@register.filter
def duration(seconds: float | None) -> str:
    """How long something took, to two figures: "40 ms", "0.9 s", "12 s", "3.0 min", "15 h"; "" where it isn't known."""
    if seconds is None:
        return ""
    if seconds < 0.1:
        return f"{seconds * 1000:.0f} ms"
    size, unit = next(((n, word) for n, word in ((3600, "h"), (60, "min")) if seconds >= n), (1, "s"))
    return f"{seconds / size:.{0 if seconds >= 10 * size else 1}f} {unit}"


@register.simple_tag
def icon(name: str) -> SafeString:
    """A symbol of the page's sprite, silent for screen readers."""
    return format_html('<svg class="i" aria-hidden="true"><use href="#i-{}"/></svg>', name)


def _state(tone: str, name: str, word: str) -> SafeString:
    return format_html('<span class="st {}">{}{}</span>', tone, icon(name) if name else "", word)


@register.simple_tag
def badge(kind: str, state: str, detail: str = "", bare: bool = False) -> SafeString:
    """A state: icon with its own outline and word, in the tone that says whether somebody has to act."""
    shown = look(kind, state)
    tone = f"{shown.tone} bare" if bare else shown.tone
    return _state(tone, shown.icon, f"{shown.word} {detail}".strip())


@register.simple_tag
def case_badge(case: Any) -> SafeString:
    """The state of a case; one that came back shows as regressed while nobody has it."""
    if case.snoozed_at is not None:
        return badge("case", "snoozed")
    return badge("case", "regressed" if case.state == "open" and case.regressed_count else case.state)


@register.simple_tag
def case_promise(case: Any) -> SafeString | str:
    """Where the promise of a case stands: for whom it waits, or how much time is left by its own working hours."""
    if case.closed_at is not None:
        return ""
    if case.paused_for:
        return _state("calm", "clock", f"Paused: {case.paused_for}")
    left = (case.due_at - timezone.now()).total_seconds()
    if left < 0:
        return _state("late", "late", f"{span_words(left)} late")
    if case.standing != "on_time":
        return _state("act", "risk", f"{span_words(left)} left")
    return _state("calm", "clock", f"{span_words(left)} left")


@register.simple_tag
def ident(value: str, link: str = "", system: str = "") -> SafeString | str:
    """An id or number: mono, never broken, with a copy button, and a link out where the system has one."""
    if not value:
        return ""
    out = (
        format_html(
            '<a class="icon-btn" href="{}" rel="noreferrer" aria-label="Open {} in {}">{}</a>',
            link,
            value,
            system,
            icon("out"),
        )
        if link
        else ""
    )
    return format_html(
        '<span class="id"><code>{0}</code>'
        '<button class="icon-btn" type="button" data-copy="{0}" aria-label="Copy {0}">{1}</button>{2}</span>',
        value,
        icon("copy"),
        out,
    )


@register.simple_tag
def count(number: int | Counted, one: str, many: str = "") -> str:
    """A count with its noun, singular and plural written out: "1 case", "2,996 invoices", "no cases"; of an estimate
    "about 1,240,000 cases"."""
    whole = number.number if isinstance(number, Counted) else number
    noun = one if whole == 1 else (many or f"{one}s")
    return f"{figure(number)} {noun}" if number else f"no {noun}"


@register.filter
def figure(number: Any) -> str:
    """A whole number with thousands commas; words stay as they are; empty for None."""
    if isinstance(number, Counted):
        return number.words
    return "" if number is None else number if isinstance(number, str) else f"{number:,}"


@register.simple_tag(takes_context=True)
def listed(context: template.Context, **changes: Any) -> str:
    """This list's address with some fields changed or (None or "") dropped; the place in the list starts anew."""
    query = context["request"].GET.copy()
    for name in ("after", "before", "at"):
        query.pop(name, None)
    for name, value in changes.items():
        if value in (None, ""):
            query.pop(name, None)
        else:
            query[name] = str(value)
    return f"?{query.urlencode()}" if query else context["request"].path


@register.simple_tag(takes_context=True)
def drawn(context: template.Context, name: str) -> SafeString:
    """A part of the page, to be shown in more than one place: `{% drawn "parts/_nav.html" as nav %}`."""
    part: Any = get_template(name)
    return part.template.render(context)


@register.simple_tag
def form_key() -> SafeString:
    """The hidden key of a form: the same form sent twice is carried out once."""
    return format_html('<input type="hidden" name="form_key" value="{}">', uuid7())


@register.filter
def spoken(code: str) -> str:
    """A code as words: "post_invoice" becomes "Post invoice"."""
    words = [_ACRONYMS.get(word, word) for word in str(code).replace("_", " ").replace("-", " ").split(" ")]
    text = " ".join(words)
    return text[:1].upper() + text[1:]


@register.filter
def period(code: str) -> str:
    """A period's code as people say it: "2026-11" becomes "Nov 2026", and "2026-11-26", of a second period that begins
    in one month, "period of 26 Nov 2026"; a code of another make stays as it is."""
    found = _PERIOD.fullmatch(str(code or ""))
    if found is None:
        return str(code or "")
    month = f"{dt.date(int(found[1]), int(found[2]), 1):%b %Y}"
    return f"period of {int(found[3])} {month}" if found[3] else month


@register.filter
def human(number: str) -> str:
    """A number that people use ("INV-88105"); nothing for an id that only machines read ("ch_1Dzh1fvRPOqMYL7B")."""
    text = str(number or "")
    return "" if MACHINE_ID.fullmatch(text) else text


@register.filter
def short_id(identifier: str) -> str:
    """An id where there's no room for it: "ch_1Dz…46ym". Copying and hovering give the whole."""
    text = str(identifier or "")
    return text if len(text) <= 19 else f"{text[:6]}…{text[-4:]}"


@register.filter
def document_name(txn: Any) -> str:
    """What people call a transaction's document: its number, else what it is ("Payment")."""
    return human(txn.number or txn.source_id) or spoken_noun(txn.fact_type)


@register.filter
def item(mapping: Any, key: Any) -> Any:
    """The value of a key that a template can only name at run time."""
    return mapping.get(key) if mapping else None


@register.simple_tag(takes_context=True)
def here(context: template.Context, address: str, also: str = "") -> str | SafeString:
    """Marks the navigation's line whose part of the portal is open."""
    path = context["request"].path
    is_below = address != "/" and path.startswith(tuple(filter(None, (address, also))))
    return mark_safe(' aria-current="page"') if path == address or is_below else ""


@register.simple_tag
def left(moment: dt.datetime) -> str:
    """How much time is left until an instant."""
    return span_words((moment - timezone.now()).total_seconds())


@register.filter
def spoken_noun(name: str) -> str:
    """What a class or a vendor's object is called: "CreditMemo" a credit memo, "SBQQ__Quote__c" a quote."""
    if str(name) in _NOUNS:
        return _NOUNS[str(name)]
    plain = re.sub(r"^\w+?__(?=\w+__c$)", "", str(name)).removesuffix("__c")
    return spoken(re.sub(r"(?<=[a-z])(?=[A-Z])", " ", plain).lower())


@register.filter
def sentence(text: str) -> str:
    """A text that stands as a sentence: a capital first, one full stop last. Nothing for nothing."""
    plain = str(text or "").strip()
    return f"{plain[:1].upper()}{plain[1:].rstrip('.')}." if plain else ""


@register.filter
def inside(text: str) -> str:
    """A noun inside a sentence: "Credit memo" becomes "credit memo", "AR invoice" stays."""
    first = text.split(" ", 1)[0]
    return text if first.isupper() and len(first) > 1 else text[:1].lower() + text[1:]


@register.simple_tag
def tone(kind: str, state: str) -> str:
    """The tone of a state, as a class."""
    return look(kind, state).tone


@register.simple_tag
def step_icon(state: str) -> SafeString:
    """The outline of a step's state, named for screen readers."""
    shown = look("step", state)
    return format_html('<svg class="i" role="img" aria-label="{}"><use href="#i-{}"/></svg>', shown.word, shown.icon)


@register.filter
def is_plain(value: Any) -> bool:
    """Whether a value needs no indentation to be read."""
    return not isinstance(value, (dict, list))


@register.filter
def permission_words(permission: str) -> str:
    """A permission in words: "exceptions.waive_case" becomes "Waive a case"."""
    return PERMISSION_WORDS.get(permission) or spoken(permission.partition(".")[2])


@register.simple_tag
def plain_amount(amount: Decimal | None, currency: str = "") -> str:
    """An amount as plain text, for SVG: "EUR 120,000.00"."""
    return "" if amount is None else f"{currency} {plain_money(amount, currency)}".strip()


@register.filter
def words_of(text: str) -> list[str]:
    """The words of a text, to loop over."""
    return text.split()


@register.simple_tag
def quota(used: int | None, limit: int | None) -> SafeString | str:
    """How much of a quota is used: a bar and a percentage; only a count where the vendor gives no limit."""
    if used is None:
        return ""
    if not limit:
        return f"{used:,}"
    share = min(100, round(100 * used / limit))
    return format_html(
        '<span class="row-flex flex-nowrap">'
        '<svg class="bar" viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true">'
        '<rect class="bg" width="100" height="8"/><rect class="{}" width="{}" height="8"/></svg>'
        '<span class="nowrap">{} %</span></span>',
        "warn" if share >= 70 else "fg",
        share,
        share,
    )


@register.simple_tag
def risk(days: int) -> SafeString:
    """Credentials that end soon or have ended."""
    return (
        _state("late", "late", "ended")
        if days < 0
        else _state("act", "risk", f"in {days} days" if days != 1 else "in 1 day")
    )
