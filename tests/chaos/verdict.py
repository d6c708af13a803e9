"""What became of everything: judged by the vendors' own logs and documents first, by our tables second.

Each check returns findings: a sentence and the ids that it is about. No finding is the only good answer.
"""

from __future__ import annotations

import json
import subprocess
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from django.db.models import Exists, OuterRef, Q

from exceptions.models import ExceptionCase, Occurrence
from q2c import launch
from q2c.core.models import Proposal
from q2c.inbox.models import InboundKey
from q2c.records.models import BilledDocument
from q2c.transactions.models import BusinessTransaction, Dependency, LineageLink, StepRun, WorkItem
from tests.chaos.plan import VENDORS
from tests.chaos.world import World
from tests.chaos.written import judge_writes

MOST_IDS = 12
COMMAND_SECONDS = 300
# Of each document of billing: the flow, the prefix under which the ERP keeps it, and what of it counts as billed.
BILLED = {
    "invoice": ("invoice_to_erp", "inv", lambda d: d["status"] not in ("draft", "deleted")),
    "credit_note": ("credit_memo_to_erp", "cm", lambda d: True),
    "payment_intent": ("payment_to_erp", "pay", lambda d: d["status"] == "succeeded"),
    "refund": ("refund_to_erp", "ref", lambda d: d["status"] == "succeeded"),
    "dispute": ("dispute_to_erp", "dsp", lambda d: True),
    "payout": ("payout_to_erp", "po", lambda d: d["status"] == "paid"),
}
VOIDS = {"invoice": "invoice_void_to_erp", "credit_note": "credit_void_to_erp"}
# Documents of one transaction of the ERP each: our external id stands on it, once.
ERP_TYPES = ("invoice", "creditMemo", "customerPayment", "customerRefund", "journalEntry", "customer")


@dataclass(frozen=True)
class Finding:
    """Something that must not be, and where."""

    what: str
    ids: list[str]

    def __str__(self) -> str:
        more = f" and {len(self.ids) - MOST_IDS} more" if len(self.ids) > MOST_IDS else ""
        return f"{self.what} ({len(self.ids)}): {', '.join(self.ids[:MOST_IDS])}{more}"


@dataclass
class Verdict:
    """All findings, and how many of what there were."""

    findings: list[Finding] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    def say(self, what: str, ids: Iterable[Any]) -> None:
        """A finding, if there is anything to say."""
        named = sorted({str(each) for each in ids})
        if named:
            self.findings.append(Finding(what, named))


def judge(world: World) -> Verdict:
    """Everything, once all is at rest."""
    verdict = Verdict()
    logs = {vendor: world.sandboxes.log(vendor) for vendor in ("netsuite", "stripe", "salesforce")}
    posted = [entry for entry in logs["netsuite"] if entry["effect"] == "created"]
    _judge_doubles(world, verdict, posted)
    _judge_billed(world, verdict, {e["external_id"] for e in posted})
    _judge_sales(world, verdict)
    _judge_amounts(world, verdict)
    _judge_lineage(world, verdict, posted)
    verdict.counts.update(judge_writes(verdict.say, world.door, logs))
    _judge_states(verdict)
    _judge_commands(world, verdict)
    return verdict


def _judge_doubles(world: World, verdict: Verdict, made: list[dict[str, Any]]) -> None:
    ours = [e for e in made if e["document_type"] in ERP_TYPES and e["external_id"] and _is_ours(e["external_id"])]
    times = Counter((e["document_type"], e["external_id"]) for e in ours)
    verdict.say("doubled in the ERP", (f"{kind} {name}" for (kind, name), n in times.items() if n > 1))
    known = {kind: {d["id"] for d in world.door.documents("stripe", kind)} for kind in (*BILLED, "customer")}
    strangers = [e["external_id"] for e in ours if not any(_candidates(e["external_id"], known))]
    verdict.say("in the ERP under our id, of nothing that billing has", strangers)
    verdict.counts["documents that the ERP made for us"] = len(ours)


def _is_ours(external_id: str) -> bool:
    return "-stripe-" in external_id


def _candidates(external_id: str, known: dict[str, set[str]]) -> Iterator[str]:
    """The ids of billing that this external id may mean: whole, or before the word of a movement (`-failed`)."""
    rest = external_id.partition("-stripe-")[2]
    for each in (rest, rest.rpartition("-")[0]):
        if each and any(each in ids for ids in known.values()):
            yield each


def _judge_billed(world: World, verdict: Verdict, in_erp: set[str]) -> None:
    """Every billed document stands in the ERP, or where a screen shows why not."""
    lost, untrue = [], []
    for kind, (flow, prefix, counts) in BILLED.items():
        for document in world.door.documents("stripe", kind):
            if not counts(document):
                continue
            verdict.counts["billed documents"] += 1
            name = f"{kind} {document['id']}"
            txn = _latest(flow, document["id"])
            if _is_in(in_erp, f"{prefix}-stripe-{document['id']}"):
                verdict.counts["posted"] += 1
            elif txn is None and not _is_explained(kind, document["id"]):
                lost.append(name)
            elif txn is not None and txn.state == "completed":
                untrue.append(f"{name} (transaction {txn.pk})")
            else:
                verdict.counts["in a case, ignored with a reason, or ended by people"] += 1
            if kind in VOIDS and document["status"] == "void" and f"{prefix}-stripe-{document['id']}" in in_erp:
                undone = _latest(VOIDS[kind], document["id"])
                is_shown = undone is not None and undone.state not in ("completed", "cancelled")
                if f"void-stripe-{document['id']}" not in in_erp and not is_shown:
                    lost.append(f"void of {name}")
    verdict.say("lost: billed, and neither posted nor anywhere", lost)
    verdict.say("said to be completed, and never made by the ERP", untrue)


def _is_in(in_erp: set[str], external_id: str) -> bool:
    """As itself, or as a movement of it (a dispute is `…-lost`, a payout that came back `…-failed`)."""
    return external_id in in_erp or any(each.startswith(f"{external_id}-") for each in in_erp)


def _latest(flow: str, source_id: str) -> BusinessTransaction | None:
    return BusinessTransaction.objects.filter(flow=flow, source_id=source_id).order_by("-lane_sequence").first()


def _is_explained(kind: str, source_id: str) -> bool:
    """Ignored with a reason, or its message was refused and stands in an open case."""
    if BilledDocument.objects.filter(external_id=source_id).exclude(ignored_reason="").exists():
        return True
    keys = InboundKey.objects.filter(Q(dedupe_key__contains=source_id) | Q(event__source_id=source_id))
    events = keys.filter(verdict="refused").values("event_id")
    return Occurrence.objects.filter(event_id__in=events, closed_at__isnull=True).exists()


def _judge_sales(world: World, verdict: Verdict) -> None:
    """Each won opportunity has one subscription, or a transaction that says why not."""
    made = Counter(
        document.get("metadata", {}).get("order_id", "")
        for kind in ("subscription", "subscription_schedule")
        for document in world.door.documents("stripe", kind)
        if not (kind == "subscription" and document.get("schedule"))
    )
    doubled, lost = [], []
    for deal in world.door.documents("salesforce", "Opportunity"):
        if not deal.get("IsWon") and deal.get("StageName") != "Closed Won":
            continue
        verdict.counts["sales"] += 1
        if made[deal["Id"]] > 1:
            doubled.append(deal["Id"])
        txn = _latest("order_to_subscription", deal["Id"])
        if not made[deal["Id"]] and (txn is None or txn.state == "completed") and not _is_explained("", deal["Id"]):
            lost.append(deal["Id"])
    verdict.say("a sale with two subscriptions", doubled)
    verdict.say("a won sale that became nothing", lost)


def _judge_amounts(world: World, verdict: Verdict) -> None:
    """What the ERP holds of an invoice or credit note is its total at billing, to the cent."""
    wrong = []
    for record, kind, prefix in (("invoice", "invoice", "inv"), ("creditMemo", "credit_note", "cm")):
        held = {d.get("externalId"): d for d in world.door.documents("netsuite", record)}
        for document in world.door.documents("stripe", kind):
            posted = held.get(f"{prefix}-stripe-{document['id']}")
            if posted is None:
                continue
            total = Decimal(document["total"]) / (1 if document["currency"] == "jpy" else 100)
            if Decimal(str(posted["total"])) != total:
                wrong.append(f"{document['id']} {total} is {posted['total']} in the ERP")
    verdict.say("another amount in the ERP than billed", wrong)


def _judge_lineage(world: World, verdict: Verdict, made: list[dict[str, Any]]) -> None:
    """Each document that we made has its lineage; each lineage leads to a document that exists."""
    targets = defaultdict(set)
    for system, target in LineageLink.objects.values_list("target_system", "target_id"):
        targets[system].add(target)
    for vendor in VENDORS:
        verdict.say(f"lineage without a document at {vendor}", targets[vendor] - _all_ids(world, vendor))
    unfinished = set(BusinessTransaction.objects.exclude(state="completed").values_list("source_id", flat=True))
    without = [
        e["external_id"] for e in made
        if e["document_type"] in ERP_TYPES and _is_ours(e["external_id"] or "")
        and e["id"] not in targets["netsuite"] and not any(each and each in e["external_id"] for each in unfinished)
    ]  # fmt: skip
    verdict.say("a document without lineage", without)


def _all_ids(world: World, vendor: str) -> set[str]:
    """The ids of everything that a vendor keeps."""
    types = world.sandboxes.control("GET", f"{vendor}/documents")["types"]
    return {str(d.get("id") or d.get("Id")) for each in types for d in world.door.documents(vendor, each)}


def _judge_states(verdict: Verdict) -> None:
    """Nothing stands where no screen shows it, and no screen says what isn't so."""
    rows = BusinessTransaction.objects.all()
    for state in rows.order_by().values_list("state", flat=True):
        verdict.counts[f"transactions {state}"] += 1
    shown = Occurrence.objects.filter(transaction_id=OuterRef("pk"), closed_at__isnull=True, case__closed_at=None)
    work = WorkItem.objects.filter(transaction_id=OuterRef("pk"))
    verdict.say("held without an open case", rows.filter(~Exists(shown), state="held").values_list("pk", flat=True))
    verdict.say("still running", rows.filter(state="running").values_list("pk", flat=True))
    verdict.say(
        "unknown, and nobody looks: no work and no case",
        rows.filter(~Exists(shown), ~Exists(work), state="unknown").values_list("pk", flat=True),
    )
    verdict.say(
        "waiting for nothing that is said, or without work",
        rows.filter(state="waiting").filter(Q(waits_for="") | ~Exists(work)).values_list("pk", flat=True),
    )
    done = ("completed", "cancelled")
    verdict.say(
        "work left of what is done", WorkItem.objects.filter(transaction__state__in=done).values_list("pk", flat=True)
    )
    over = rows.filter(state__in=done).values("pk")
    verdict.say(
        "a case that shows a document that is done",
        Occurrence.objects.filter(transaction_id__in=over, closed_at=None).values_list("transaction_id", flat=True),
    )
    verdict.say(
        "a wait of what is done", Dependency.objects.filter(transaction__state__in=done).values_list("key", flat=True)
    )
    twice = Counter(StepRun.objects.filter(state="done", kind="write").values_list("transaction_id", "step"))
    superseded = set(StepRun.objects.exclude(supersedes=None).values_list("transaction_id", flat=True))
    verdict.say(
        "a write that is done twice", (f"{t} {s}" for (t, s), n in twice.items() if n > 1 and t not in superseded)
    )
    verdict.say(
        "a message that nobody translated",
        InboundKey.objects.filter(verdict="received").values_list("dedupe_key", flat=True),
    )
    refused = InboundKey.objects.filter(verdict="refused")
    told = Occurrence.objects.filter(event_id=OuterRef("event_id"))
    verdict.say("a refused message without a case", refused.filter(~Exists(told)).values_list("dedupe_key", flat=True))
    held = rows.filter(state="held")
    verdict.say(
        "held for a fault of ours, though everybody reposted it in the calm",
        [f"{row.pk} ({row.problem['summary']}; {row.problem.get('evidence')})"
         for row in held.filter(problem_code="unexpected_error")],
    )  # fmt: skip
    for code, problem in held.values_list("problem_code", "problem"):
        is_sold_so = code in ("missing_item_mapping", "price_differs")  # as the company does on purpose
        verdict.counts[f"held: {code}" if is_sold_so else f"held: {code} ({problem['summary']})"] += 1
    verdict.counts["open cases"] = ExceptionCase.objects.filter(closed_at__isnull=True).count()
    verdict.counts["decisions that wait"] = Proposal.objects.filter(state="proposed").count()


def _judge_commands(world: World, verdict: Verdict) -> None:
    """What an operator would ask: do the totals agree, do audit chain and seals hold?"""
    totals = _command(world, "control_totals")
    rows = json.loads(totals.stdout)["rows"] if totals.stdout else []
    wrong = [f"{row['source']} {row['document_type']} {row['currency']}" for row in rows if not _adds_up(row)]
    wrong += [line for line in totals.stderr.splitlines() if line.strip() and "Warning" not in line]
    verdict.counts["documents that wait behind a held one"] = sum(row["in_flight"]["count"] for row in rows)
    verdict.say("the control totals don't agree", wrong if rows else ["there are none"])
    audited = _command(world, "verify_audit")
    if audited.returncode:
        verdict.say("the audit doesn't hold", [audited.stderr[-600:]])


def _adds_up(row: dict[str, Any]) -> bool:
    """Billed is received, and each of it ended or waits somewhere: waits are judged with the states."""
    parts = [row[name] for name in ("posted", "held", "ignored", "in_flight")]
    for name in ("count", "lines", "amount"):
        received = Decimal(str(row["received"][name]))
        if received != Decimal(str(row["billed"][name])) or received != sum(Decimal(str(p[name])) for p in parts):
            return False
    return bool(row["declared"]["count"] == row["received"]["count"])


def _command(world: World, name: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        launch.manage(name), env=world.portal, cwd=launch.ROOT, capture_output=True, text=True, timeout=COMMAND_SECONDS
    )
