"""The catalogue of exception kinds, and each kind's runbook: read by all who see cases, changed by those who work its
queue."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_POST

from exceptions import kind_words, kinds, runbooks, tallies
from exceptions.models import RunbookVersion
from q2c.core.access import PersonRequest, requires
from q2c.core.filters import dress
from q2c.core.htmx import count_rows, page
from q2c.core.markup import render_markup
from q2c.core.templatetags.words import span_words

HISTORY = 50  # versions that are shown


class RunbookForm(forms.Form):
    """The text, why it changes, and the version that it was written from."""

    text = forms.CharField(
        label="What to do", max_length=runbooks.TEXT_MAX, widget=forms.Textarea(attrs={"rows": 10}),
        help_text="A blank line ends a paragraph; “- ” and “1. ” begin lists; **bold**, `code`, [words](https://…). "
        "Names in braces are filled in from the case.",
    )  # fmt: skip
    why = forms.CharField(label="Reason", min_length=5, max_length=1000)
    seen = forms.IntegerField(widget=forms.HiddenInput)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"label_suffix": "", **kwargs})
        dress(self)


@require_GET
@requires("exceptions.view_case")
def kind_list(request: HttpRequest) -> HttpResponse:
    """Every kind of exception: what it is, whose, by when, what may be done, and who wrote its runbook last."""
    owner, text = request.GET.get("owner", ""), request.GET.get("q", "").strip()[:80]
    written = runbooks.newest_of(kinds.BY_CODE)
    rows = [
        {
            "kind": kind, "version": written.get(kind.code),
            "sla": span_words(kind.sla.total_seconds()), "severity": kind_words.SEVERITY_WORDS[kind.severity],
            "may": [kind_words.RESOLUTION_WORDS[code] for code in kind.may],
        }
        for kind in sorted(kinds.KINDS, key=lambda kind: kind.title)
        if owner in ("", kind.owner) and text.lower() in f"{kind.code} {kind.title} {kind.says}".lower()
    ]  # fmt: skip
    context = {
        "rows": rows, "all": len(kinds.KINDS), "written": len(written), "owner": owner, "q": text,
        "owners": sorted({kind.owner for kind in kinds.KINDS}),
    }  # fmt: skip
    return page(request, "exceptions/kind_list.html", "exceptions/_kind_table.html", context)


@require_GET
@requires("exceptions.view_case")
def kind_detail(request: HttpRequest, code: str) -> HttpResponse:
    """One kind, its runbook with a form for those who may change it, and every earlier version."""
    kind = _kind(code)
    asked = request.GET.get("restore", "")
    earlier = None
    if asked.isascii() and asked.isdigit() and len(asked) < 10:
        earlier = RunbookVersion.objects.filter(kind=code, version=int(asked)).first()
        if asked == "0":
            earlier = RunbookVersion(kind=code, version=0, text=kind.runbook)
    return _show(request, kind, earlier=earlier)


@require_POST
@requires(runbooks.EDIT)
def kind_runbook(request: PersonRequest, code: str) -> HttpResponse:
    """Keep the text as the kind's newest runbook; with `preview` only show how it would look."""
    kind = _kind(code)
    form = RunbookForm(request.POST)
    if "preview" in request.POST:
        form.fields["why"].required = False
        preview = render_markup(form.data.get("text", "")[: runbooks.TEXT_MAX])
        return page(
            request, "exceptions/kind_detail.html", "exceptions/_runbook_preview.html",
            {**_facts(request, kind), "form": form, "preview": preview},
        )  # fmt: skip
    if form.is_valid():
        data = form.cleaned_data
        try:
            made = runbooks.save_runbook(kind, data["text"], by=request.user, why=data["why"], seen=data["seen"])
        except runbooks.RunbookRefused as refused:
            form.add_error(None, f"Not possible: {refused}")
        else:
            said = f"Version {made.version} of the runbook holds from now on, on every case of this kind."
            messages.success(request, said, extra_tags="done")
            return redirect("exceptions:kind_detail", kind.code)
    return _show(request, kind, form=form, status=422)


def _kind(code: str) -> kinds.Kind:
    if not kinds.is_known(code):
        raise Http404
    return kinds.kind_of(code)


def _show(
    request: HttpRequest, kind: kinds.Kind, *, form: RunbookForm | None = None,
    earlier: RunbookVersion | None = None, status: int = 200,
) -> HttpResponse:  # fmt: skip
    facts = _facts(request, kind)
    if form is None:
        why = f"Version {earlier.version} again" if earlier and earlier.version else "As delivered" if earlier else ""
        text = earlier.text if earlier else facts["text"]
        form = RunbookForm(
            initial={"text": text, "why": why, "seen": facts["version"].version if facts["version"] else 0}
        )
    return render(request, "exceptions/kind_detail.html", {**facts, "form": form, "earlier": earlier}, status=status)


def _facts(request: HttpRequest, kind: kinds.Kind) -> dict[str, Any]:
    """What the page says of the kind beside the form."""
    versions = list(
        RunbookVersion.objects.filter(kind=kind.code).select_related("by").order_by("-version")[:HISTORY]
    )  # fmt: skip
    version = versions[0] if versions else None
    text = runbooks.text_of(kind, version)
    return {
        "kind": kind,
        "version": version,
        "versions": versions,
        "text": text,
        "runbook": render_markup(text),
        "severity": kind_words.SEVERITY_WORDS[kind.severity],
        "sla": span_words(kind.sla.total_seconds()),
        "may": [kind_words.RESOLUTION_WORDS[code] for code in kind.may],
        "open": count_rows(tallies.cases_visible_to(request.user).filter(closed_at__isnull=True, kind=kind.code)),
        "may_edit": runbooks.may_edit(request.user, kind),
    }
