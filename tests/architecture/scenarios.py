"""Which test proves which line of what can go wrong: read from the marks on the tests, printed as docs/scenarios.md.

python -m tests.architecture.scenarios > docs/scenarios.md
"""

from __future__ import annotations

import ast
import sys
from collections import defaultdict

from tests.architecture.house import ROOT

TITLES = {
    1: "The ERP commits the invoice, the answer times out, we try again",
    2: "The same for credit memo, payment, refund, journal, customer",
    3: "A time-out while the ERP still works on it, and an early retry",
    4: "kill -9 after the answer, before our commit",
    5: "kill -9 after the intent is committed, before anything is sent",
    6: "The look-up itself fails, or doesn't show it yet",
    7: "Two workers take the same document at once, 200 rounds",
    8: "A customer is made and changed within 50 ms",
    9: "A double click on Repost; two people in two browsers",
    10: "The same idempotency key with another body",
    11: "Everything is read and replayed again after it was posted",
    12: "A task is delivered again while its first run is active",
    13: "A paused worker goes on after another one took over",
    14: "The same webhook five times at once",
    15: "`updated` comes before `created`",
    16: "An old event after a newer state",
    17: "A lost webhook is found by polling",
    18: "An event of an object that is deleted at the source",
    19: "Stored, processing failed, processed by a later run",
    20: "Bad signature, expired, rotated secret, body encoded anew",
    21: "One poisonous message among a hundred",
    22: "A message that kills its workers",
    23: "An event storm; each connection keeps its share",
    24: "More records of one instant than a page holds",
    25: "A record committed late with an earlier time",
    26: "A source that filters by date in its own time zone",
    27: "A page that is filtered to nothing",
    28: "A cursor older than the source keeps",
    29: "A crash in the middle of a window",
    30: "Page three of five fails",
    31: "A listing is suddenly empty",
    32: "A catalogue larger than the client's cap",
    33: "Two accounts are merged in the CRM",
    34: "The external record goes between mapping and posting",
    35: "A missing item mapping; mended, exactly its documents post",
    36: "A mapping changes while documents are in flight",
    37: "A fallback would apply",
    38: "A parent that isn't there yet",
    39: "Tax on the total against tax per line",
    40: "Currencies without and with three decimals",
    41: "Partial refund, partial credit and chargeback on one invoice",
    42: "A void after posting, and of what was never posted",
    43: "A credit note that makes a total negative",
    44: "Lines and invoices of zero",
    45: "The period closes between validation and posting",
    46: "Month ends, time zones, daylight saving, 29 February",
    47: "Rates that are missing or change",
    48: "Credit and rebill in the middle of a month, twice",
    49: "A late line after a summary was posted",
    50: "Status 200 with an error page, or with success: false",
    51: "A refusal never ends as success",
    52: "The breaker opens and drains",
    53: "The limiter's store is down",
    54: "A quota that is shared with others",
    55: "Fields that are extra, missing, renamed or null",
    56: "PostgreSQL goes away in mid-flight",
    57: "The broker is wiped or away",
    58: "Two beats",
    59: "Old and new workers side by side",
    60: "The database is restored from an older backup",
    61: "Nobody approves their own; roles removed; stale versions",
    62: "One cause on thousands of documents",
    63: "Attempts to change what is append-only",
    64: "Random interleavings keep every total",
}
HEAD = """# What can go wrong, and which test proves that it doesn't

Printed from the marks `@pytest.mark.scenario(number)` on the tests: `python -m tests.architecture.scenarios`. Journeys
count in the vendors' own logs and look at what a person sees; those over all flows run once for each flow.

| # | what goes wrong | proved by |
|---|---|---|
"""


def read_marks() -> dict[int, list[str]]:
    """The tests by the numbers on them, as `path::name`."""
    found: dict[int, list[str]] = defaultdict(list)
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.FunctionDef):
                for number in _numbers(node):
                    found[number].append(f"{path.relative_to(ROOT)}::{node.name}")
    return found


def _numbers(test: ast.FunctionDef) -> list[int]:
    return [
        number.value
        for mark in test.decorator_list
        if isinstance(mark, ast.Call) and isinstance(mark.func, ast.Attribute) and mark.func.attr == "scenario"
        for number in mark.args
        if isinstance(number, ast.Constant) and isinstance(number.value, int)
    ]


def print_page() -> str:
    """docs/scenarios.md as it should be."""
    marks = read_marks()
    rows = [f"| {number} | {title} | {_shown(marks.get(number, []))} |" for number, title in TITLES.items()]
    return HEAD + "\n".join(rows) + "\n"


def _shown(tests: list[str]) -> str:
    return "<br>".join(f"`{test}`" for test in tests)


if __name__ == "__main__":
    sys.stdout.write(print_page())
