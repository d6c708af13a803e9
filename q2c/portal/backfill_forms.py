"""The forms of back-fills: what is run again, starting it, cancelling it."""

from __future__ import annotations

import datetime as dt
from typing import Any

from django import forms
from django.utils import timezone

from connectors import registry
from connectors.models import Connection
from mappings.tables import file_bytes
from mappings.workbooks import Unreadable
from q2c.core import access
from q2c.core.filters import DateField, dress
from q2c.flows import backfills
from q2c.flows.backfill_files import read_ids
from q2c.flows.backfill_running import PERMISSION
from q2c.inbox.models import Backfill, InboundKey
from q2c.portal import told
from q2c.portal.filters import STATES, start_of_day

DAYS = 7  # how far back the form proposes


class MakeForm(forms.Form):
    """What is to be run again: by days and filters, or by a file of ids."""

    source = forms.ChoiceField(label="What is run again", choices=Backfill.Source.choices)
    since = DateField(label="From day")
    until = DateField(label="To day")
    connection = forms.ModelChoiceField(
        Connection.objects.none(), label="System", required=False, empty_label="Every system",
        help_text="What is read again needs one.", to_field_name="code",
    )  # fmt: skip
    stream = forms.ChoiceField(
        label="What is read again of it", required=False, help_text="Only where a system is read again."
    )
    event_type = forms.CharField(
        label="Message", required=False, max_length=120, help_text="As the system calls it: invoice.finalized"
    )
    legal_entity = forms.ChoiceField(label="Legal entity", required=False)
    verdict = forms.ChoiceField(label="Verdict", required=False, choices=[("", "Any"), *InboundKey.Verdict.choices])
    flow = forms.ChoiceField(label="Flow", required=False)
    state = forms.ChoiceField(
        label="State of what it became", required=False, choices=[("", "Any"), *(s for s in STATES if s[0] != "open")]
    )
    file = forms.FileField(
        label="Or a file of ids", required=False,
        help_text="CSV or XLSX with a column “Id”: of messages, of objects at their source, or document numbers. The "
        "filters on messages are left aside then.",
    )  # fmt: skip
    why = forms.CharField(label="Reason", min_length=5, max_length=500)

    def __init__(self, *args: Any, user: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"label_suffix": "", **kwargs})
        today = timezone.localdate()
        self.fields["since"].initial, self.fields["until"].initial = today - dt.timedelta(days=DAYS), today
        self.fields["connection"].queryset = Connection.objects.order_by("name")  # type: ignore[attr-defined]
        codes = [e.code for e in access.visible_entities(user, PERMISSION)]
        self._choose("legal_entity", [("", "Any"), *((code, code) for code in codes)])
        self._choose("flow", [("", "Any"), *sorted((code, flow.title) for code, flow in told.flows().items())])
        self.ranges = {c.code: registry.ranges_of(c.vendor) for c in Connection.objects.order_by("name")}
        named = [
            (connection, [(f"{connection}|{code}", words) for code, words in ranges.items()])
            for connection, ranges in self.ranges.items() if ranges
        ]  # fmt: skip
        self._choose("stream", [("", "Choose"), *named])
        self.notes: tuple[str, ...] = ()
        self.plan: Any = None
        dress(self)

    def _choose(self, name: str, choices: list[Any]) -> None:
        self.fields[name].choices = choices  # type: ignore[attr-defined]

    def clean(self) -> dict[str, Any]:
        """Puts the plan together. A file that can't be read is an error of its field."""
        data = super().clean() or {}
        if self.errors:
            return data
        connection, stream = data.get("connection"), data.get("stream", "")
        is_again = data["source"] == Backfill.Source.AGAIN
        if is_again and connection is None and stream:
            connection = Connection.objects.filter(code=stream.partition("|")[0]).first()
        if is_again and stream and connection is not None and not stream.startswith(f"{connection.code}|"):
            self.add_error("stream", f"It isn’t of {connection.name}. Choose the same system in both.")
            return data
        ids: tuple[Any, ...] = ()
        if data.get("file"):
            try:
                read = read_ids(file_bytes(data["file"]))
            except Unreadable as error:
                self.add_error("file", str(error))
                return data
            ids, self.notes = read.rows, read.notes
        names = ("event_type", "legal_entity", "verdict", "flow", "state")
        filters = {} if ids or is_again else {n: data[n] for n in names if data.get(n)}
        until = start_of_day(data["until"] + dt.timedelta(days=1))
        self.plan = backfills.Plan(
            source=data["source"], since=start_of_day(data["since"]), until=until, connection=connection,
            stream=stream.partition("|")[2] if is_again else "", filters=filters, ids=ids,
            words=self._words(data, connection, stream, filters, len(ids)),
        )  # fmt: skip
        return data

    def _words(self, data: dict[str, Any], connection: Any, stream: str, filters: dict[str, str], ids: int) -> str:
        parts = []
        if ids:
            parts.append(f"{ids:,} {'id' if ids == 1 else 'ids'} of a file")
        elif data["source"] == Backfill.Source.AGAIN:
            code, _, what = stream.partition("|")
            parts.append(self.ranges.get(code, {}).get(what, "Nothing").split(",")[0])
        else:
            parts.append("What we stored")
        if connection is not None:
            parts.append(f"of {connection.name}")
        parts.append(f"from {data['since']:%-d %b %Y} to {data['until']:%-d %b %Y}")
        said = [f"{self.fields[n].label}: {told.flow_title(v) if n == 'flow' else v}" for n, v in filters.items()]
        return " ".join(parts) + (f", {', '.join(said)}" if said else "")


class StartForm(forms.Form):
    """What of the dry run is carried, how fast, and why."""

    takes_held = forms.BooleanField(label="Also what would be held: each becomes a case", required=False, initial=True)
    takes_differs = forms.BooleanField(
        label="Also what differs from what we hold: nothing that was posted is changed by it", required=False
    )
    per_minute = forms.IntegerField(
        label="Messages a minute, at most", min_value=1, max_value=backfills.PACE_MAX, initial=backfills.PACE
    )
    why = forms.CharField(label="Reason", min_length=5, max_length=500)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"label_suffix": "", **kwargs})
        dress(self)


class CancelForm(forms.Form):
    """Why it ends before it's done."""

    why = forms.CharField(label="Reason", min_length=5, max_length=500)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"label_suffix": "", "auto_id": "id_cancel_%s", **kwargs})
        dress(self)
