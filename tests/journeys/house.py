"""The verbs that journeys speak: sell, bill, pay, carry, fix; and what the sandboxes' own logs say."""

from __future__ import annotations

import datetime as dt
import time
from collections import Counter
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from django.conf import settings
from django.utils import timezone

from connectors import recorder, registry
from connectors.breaker import forget_breakers
from connectors.models import Connection, ReferenceEntry
from connectors.quota import forget_quotas
from connectors.sandbox.remote import ControlDoor
from connectors.sandbox.testing import Sandboxes
from connectors.slots import forget_lowered
from mappings.models import MappingRule
from q2c import ports
from q2c.api import door
from q2c.core.customer_keys import forget_keys
from q2c.demo.seed import point_webhooks, seed
from q2c.flows import intake, polling
from q2c.flows.tasks import carry, due_flows
from q2c.inbox.models import InboundKey
from q2c.transactions.models import BusinessTransaction, WorkItem
from tests.journeys.seeded import Rows, put_rows_back, take_rows
from tests.journeys.stage import await_that
from tests.journeys.vendors import Cast, usual
from tests.journeys.vendors.salesforce import PLAYER as SALESFORCE
from tests.journeys.vendors.stripe import PLAYER as STRIPE
from tests.mappings.rules import make_rule, next_number

POLLS_AFTER = 8.0  # seconds
NAP = 0.05
_seeded: dict[tuple[Any, ...], Rows] = {}


class House:
    """A seeded portal and its vendors."""

    def __init__(self, sandboxes: Sandboxes, home: Path, cast: Cast | None = None) -> None:
        self.sandboxes, self.home = sandboxes, home
        self.cast = cast or usual()
        self.vendors = sorted({player.vendor for player in self.cast.players()})
        self.prices: dict[tuple[str, str], str] = {}
        self.days_passed = 0  # at the vendors
        self.locked: list[Any] = []  # in the ERP

    def open(self) -> None:
        """Empty vendors, a seeded portal, and the log's place remembered."""
        for vendor in self.vendors:
            self.sandboxes.control("DELETE", f"{vendor}/faults")
        self.sandboxes.control("POST", "clock", {"reset": True})
        self.sandboxes.control("POST", "reset", {"vendors": None, "keep": "reference"})
        forget_everything()
        self._seed()
        forget_everything()
        self.marks = {v: self.last(v) for v in self.vendors}
        self.arrival_marks = {v: self.last(v, "arrivals") for v in self.marks}

    def _seed(self) -> None:
        """Seed once for this portal and these vendors; later journeys of the process begin with the same rows."""
        systems = self.cast.systems()
        place = (settings.BASE_URL, self.sandboxes.port, tuple(system.code for system in systems.values()))
        known = _seeded.get(place)
        if known is None:
            seed(self.home, systems)
            _seeded[place] = take_rows()
        else:
            put_rows_back(known)
            self.point_webhooks()

    def point_webhooks(self) -> None:
        """The vendors send to this portal's doors and sign as its rows know it: an earlier journey may have rolled a
        secret, and the old one signs no more once a day has passed at the vendor."""
        point_webhooks({row.code: row for row in Connection.objects.all()}, ControlDoor(self.sandboxes.port))

    def close(self) -> None:
        """Nothing of one journey reaches the next, no webhook that is on its way either."""
        for locked in self.locked:
            self.cast.erp.unlock(self, locked)
        self.sandboxes.control("POST", "reset", {"vendors": None, "keep": "reference"})
        while self.is_sending():
            time.sleep(NAP)
        forget_everything()

    def last(self, vendor: str, kept: str = "log") -> int:
        """The newest entry of a sandbox's log."""
        return self.sandboxes.control("GET", f"{vendor}/{kept}?after=0&limit=1")["last"]

    def made(self, vendor: str, document_type: str | None = None, effect: str = "created") -> list[dict[str, Any]]:
        """What the vendor's own log says that it made since the journey began."""
        entries = self.sandboxes.log(vendor, after=self.marks[vendor])
        return [e for e in entries if e["effect"] == effect and document_type in (None, e["document_type"])]

    def arrived(self, vendor: str, method: str, path: str) -> list[dict[str, Any]]:
        """The writes that came to the vendor's door since the journey began, whatever became of them; `path` is a
        glob. What is refused or answered again leaves no other trace of having been sent twice."""
        entries = self.sandboxes.arrivals(vendor, after=self.arrival_marks[vendor], method=method)
        return [e for e in entries if fnmatchcase(e["path"], path)]

    def count_arrivals(self) -> dict[str, int]:
        """How many writes came to each vendor's door since it was opened for the first time."""
        return {vendor: self.last(vendor, "arrivals") for vendor in self.arrival_marks}

    def arrived_twice(self) -> list[str]:
        """Writes that came to any vendor's door more than once: the same content at the same address."""
        found: Counter[str] = Counter()
        for vendor, mark in self.arrival_marks.items():
            for e in self.sandboxes.arrivals(vendor, after=mark):
                if e["status"] != 401:  # not looked at
                    found[f"{vendor} {e['method']} {e['path']} {e['external_id'] or ''} {e['digest']}"] += 1
        return [what for what, times in found.items() if times > 1]

    def make(self, vendor: str, document_type: str, objects: list[dict[str, Any]]) -> list[str]:
        """As if a user of the vendor had made them."""
        return self.sandboxes.control("POST", f"{vendor}/documents/{document_type}", objects)["ids"]

    def lock_receivables(self) -> None:
        """The ERP's controller closes the UK entity's receivables of this month, not its ledger, and the portal reads
        its list."""
        self.locked.append(self.cast.erp.lock_receivables(self))

    def fault(self, vendor: str, do: str, **rule: Any) -> str:
        """Plant a fault."""
        return self.sandboxes.control("POST", f"{vendor}/faults", {"do": do, **rule})["id"]

    def await_hit(self, vendor: str, fault: str) -> None:
        """Wait until a fault has struck: of a delay, until the request is at the vendor."""

        def has_struck() -> bool:
            planted = self.sandboxes.control("GET", f"{vendor}/faults")["faults"]
            return any(each["id"] == fault and each["hits"] for each in planted)

        await_that(has_struck, seconds=60, what="the fault strikes")

    def let_go_on(self, vendor: str, fault: str) -> None:
        """Take one fault back: what it delays goes on."""
        self.sandboxes.control("DELETE", f"{vendor}/faults/{fault}")

    def customer(self, **changes: Any) -> str:
        """A billing customer of the UK entity."""
        return self.cast.billing.customer(self, **changes)

    def rename(self, customer: str, name: str) -> None:
        """Billing calls a customer otherwise."""
        self.cast.billing.rename(self, customer, name)

    def invoice(self, customer: str, *, sku: str = "QB-API", amount: int = 10_000, **changes: Any) -> str:
        """A finalised invoice of one line, in minor units."""
        return self.invoices(customer, 1, sku=sku, amount=amount, **changes)[0]

    def invoices(
        self, customer: str, count: int, *, sku: str = "QB-API", amount: int = 1_000, **changes: Any
    ) -> list[str]:
        """So many alike."""
        return self.cast.billing.invoices(self, customer, count, sku=sku, amount=amount, **changes)

    def pay(self, invoice: str) -> str:
        """A card payment of what an invoice leaves open."""
        return self.cast.payments.pay(self, invoice)

    def refund(self, payment: str, amount: int = 1_000) -> str:
        """A refund of part of a payment, in minor units."""
        return self.cast.payments.refund(self, payment, amount)

    def credit(self, invoice: str, **changes: Any) -> str:
        """A credit note; amounts in minor units."""
        return self.cast.billing.credit(self, invoice, **changes)

    def dispute(self, payment: str) -> str:
        """The cardholder's bank takes a payment back."""
        return self.cast.payments.dispute(self, payment)

    def void(self, invoice: str) -> None:
        """Billing voids an invoice."""
        self.cast.billing.void(self, invoice)

    def void_credit(self, credit_note: str) -> None:
        """Billing voids a credit note: its invoice is owed again."""
        self.cast.billing.void_credit(self, credit_note)

    def ask_stripe(self, path: str, **fields: Any) -> dict[str, Any]:
        """A POST to Stripe's own API, as somebody in billing would make it: for what Stripe alone has."""
        return STRIPE.ask(self, path, **fields)

    def payout(self, currency: str = "gbp") -> str:
        """The gateway pays out all that it has in a currency."""
        payout = self.cast.payments.payout(self, currency)
        self.pass_days(5)  # until it has arrived
        return payout

    def pass_days(self, days: int) -> None:
        """Days go by at the vendors; they add up."""
        self.days_passed += days
        self.sandboxes.control("POST", "clock", {"offset_seconds": self.days_passed * 86400})

    def account(self, **changes: Any) -> str:
        """A CRM account in the UK that can be billed."""
        return self.cast.crm.account(self, **changes)

    def win(
        self, account: str, *, sku: str = "QB-API", price: str = "1495.50", currency: str = "GBP", **changes: Any
    ) -> str:
        """A sale of one product from the price book, closed and won; its id."""
        return self.cast.crm.win(self, account, sku=sku, price=price, currency=currency, **changes)

    def sign(
        self, account: str, *, sku: str = "QB-API", price: str = "1495.50", currency: str = "GBP", **changes: Any
    ) -> str:
        """An activated order of the CRM with one product from the price book; its id."""
        return self.cast.crm.sign(self, account, sku=sku, price=price, currency=currency, **changes)

    def price(self, sku: str, price: str, currency: str = "GBP") -> str:
        """A price book entry of a SKU in a currency, made once."""
        return SALESFORCE.price(self, sku, price, currency)

    def carry(self, *, until: Any = None, seconds: float = 30.0, without: str = "") -> None:
        """Carry everything that is due, as workers would, until it's quiet or `until()` holds; fails when so many
        seconds pass in which nothing is carried (a loaded machine carries slowly), or ten times as many."""
        started, was_quiet, has_asked = time.monotonic(), False, False
        ends_at, gives_up_at, asks_at = started + seconds, started + 10 * seconds, started + POLLS_AFTER
        while time.monotonic() < min(ends_at, gives_up_at):
            if until is not None and until():
                return
            if time.monotonic() > asks_at:
                asks_at, has_asked = time.monotonic() + POLLS_AFTER, True
                self.poll()  # as the schedules do: a webhook that failed twice comes again only in hours
            work = intake.carry_due_events().count
            work += sum(carry(flow, seconds=5) for flow in due_flows() if flow != without)
            if work:
                was_quiet, ends_at = False, time.monotonic() + seconds
                asks_at = time.monotonic() + POLLS_AFTER  # a loaded machine isn't a vendor that says nothing
            elif was_quiet:
                return
            elif until is None and not has_asked and self.has_lost_events():
                asks_at = 0.0
            elif until is not None or self.is_expecting(without):
                time.sleep(NAP)
            else:
                was_quiet = True  # and once more: something may have arrived before we asked
        raise AssertionError(f"not {'quiet' if until is None else 'reached'} in {seconds} s: {self.standing()}")

    def is_expecting(self, without: str = "") -> bool:
        """Whether something is due within seconds, or a webhook is still on its way.

        What waits for a parent is released by the parent's end; it looks once by itself, for a parent that ended
        beside it. Where a flow is left out the parent may be of that flow, so nobody waits for that look.
        """
        if InboundKey.objects.filter(verdict="received").exists():
            return True
        soon = timezone.now() + dt.timedelta(minutes=1)
        waiting = WorkItem.objects.filter(transaction__state="waiting", available_at__lt=soon).exclude(flow=without)
        for_parent = waiting.filter(transaction__waits__isnull=False)
        if waiting.filter(transaction__waits=None, probe_count__lt=4).exists():
            return True
        if not without and for_parent.filter(probe_count__lt=2).exists():
            return True
        return self.is_sending() or self.has_undelivered_events()

    def is_sending(self) -> bool:
        """Whether a vendor has a webhook on its way or is about to send one; a first repeat is sent after seconds."""
        senders = [player.vendor for player in self.cast.players() if player.sends_webhooks]
        asked = (self.sandboxes.control("GET", f"{vendor}/deliveries?within=10") for vendor in senders)
        return any(found["under_way"] or found["due"] for found in asked)

    def has_lost_events(self) -> bool:
        """Whether an event hasn't reached the door and no vendor is about to send it, at least not within seconds."""
        return not self.is_sending() and self.has_undelivered_events() and not self.is_sending()

    def has_undelivered_events(self) -> bool:
        """Whether a vendor itself says that an event hasn't reached the portal's door yet, and no poll brought it."""
        open_ids = {key for player in self.cast.players() for key in player.undelivered(self)}
        known = InboundKey.objects.filter(dedupe_key__in=open_ids).values_list("dedupe_key", flat=True)
        return bool(open_ids - set(known))

    def poll(self) -> int:
        """Ask every system that can be asked what changed. Returns how many messages were new."""
        asked = [(row.code, s) for row in Connection.objects.all() for s in registry.streams_of(row.vendor)]
        return sum(polling.poll_connection(code, stream).new for code, stream in asked)

    def set_connections(self, **settings: str) -> None:
        """Change plain settings of all connections (how long a write settles, how long an answer may take)."""
        for row in Connection.objects.all():
            row.settings |= settings
            row.save()
        forget_everything()

    def post_in_summary(self, entity: str) -> None:
        """The entity's policy: billing keeps receivables, and the ledger gets the day."""
        self.set_policy(entity, detail="summary", subledger_owner="billing")

    def post_by_line(self, entity: str) -> None:
        """The entity's policy: the ERP keeps receivables, and gets each document."""
        self.set_policy(entity, detail="line", subledger_owner="erp")

    def set_policy(self, entity: str, **fields: str) -> None:
        """The entity's posting policy, of now and always."""
        number = next_number()
        for field, value in fields.items():
            known = MappingRule.objects.filter(kind="posting_policy", key=field, legal_entity_code=entity)
            known.filter(known_to=None).update(known_to=number)
            make_rule("posting_policy", field, value, number=number, legal_entity=entity)

    def map_item(self, sku: str, like: str, entity: str = "GB01") -> None:
        """From now on, and for all dates, an entity sells a SKU as the ERP's item of another one."""
        item = MappingRule.objects.get(kind="item", key=like, known_to=None).value
        old = MappingRule.objects.filter(kind="item", key=sku, legal_entity_code=entity, known_to=None)
        number = next_number()
        old.update(known_to=number)
        make_rule("item", sku, item, number=number, legal_entity=entity)

    def map_account(self, role: str, number: str, kind: str = "account") -> None:
        """From now on, and for all dates, a role is played by the ERP's account of this number."""
        account = ReferenceEntry.objects.get(list_name="accounts", code=number).external_id
        change_set = next_number()
        old = MappingRule.objects.filter(kind=kind, key=role, currency__in=("", "GBP"), known_to=None)
        for row in list(old):
            MappingRule.objects.filter(pk=row.pk).update(known_to=change_set)
            row.pk, row.value, row.known_from = None, account, change_set
            row.save(force_insert=True)

    def hasten(self) -> None:
        """Let the time pass that waits and settling need."""
        long_ago = "2020-01-01T00:00:00Z"
        WorkItem.objects.filter(worker="").update(available_at=long_ago)
        WorkItem.objects.update(intent_free_at=long_ago)

    def carry_to_the_end(self, flow: str, *, seconds: float = 60.0) -> None:
        """Carry one flow's transactions, however often they have to look or wait, until each is completed; fails when
        so many seconds pass in which none is."""
        count, end = -1, 0.0
        while set(states := self.states(flow)) != {"completed"}:
            if states.get("completed", 0) > count:
                count, end = states.get("completed", 0), time.monotonic() + seconds
            assert time.monotonic() < end, f"not completed in {seconds} s: {states}, {self.held()}"
            self.hasten()
            forget_everything()
            carry(flow, seconds=5)

    def states(self, flow: str | None = None) -> dict[str, int]:
        """How many transactions are in which state."""
        found: dict[str, int] = {}
        rows = BusinessTransaction.objects.all()
        for state in (rows.filter(flow=flow) if flow else rows).values_list("state", flat=True):
            found[state] = found.get(state, 0) + 1
        return found

    def standing(self) -> list[tuple[str, str, str, str]]:
        """What isn't done and why: flow, state, what it waits for, the problem's code."""
        rows = BusinessTransaction.objects.exclude(state__in=("completed", "cancelled"))
        return list(rows.values_list("flow", "state", "waits_for", "problem_code"))

    def held(self) -> list[str]:
        """The problem codes of held transactions."""
        return sorted(BusinessTransaction.objects.filter(state="held").values_list("problem_code", flat=True))


def forget_everything() -> None:
    """What this process remembers of a database that the test before has emptied (the live server runs in it too)."""
    ports.forget_kept()
    door.forget_connections()
    forget_keys()
    recorder.forget_connection_ids()
    forget_breakers()
    forget_quotas()
    forget_lowered()
