"""NetSuite in the journeys."""

from __future__ import annotations

import datetime as dt
from typing import Any
from zoneinfo import ZoneInfo

from connectors.models import ReferenceEntry
from q2c.core.models import Subsidiary
from q2c.flows.reference import refresh_reference
from tests.journeys.vendors.player import PlaysErp, Trace
from tests.sandboxes.netsuite_client import Client

RECORDS = "*/record/v1/*"
# What a read-back needs, by record: without one of these it proves nothing, whatever else it says.
_POSTED = (".id", ".tranDate", *(f".{n}{i}" for n in ("postingPeriod", "currency", "subsidiary") for i in ("", ".id")))
_APPLY = (".apply", ".apply.items", *(f".apply.items.{n}" for n in ("doc", "doc.id", "apply", "amount")))
_NEEDED = {
    "invoice": (*_POSTED, ".tranId", ".total"),
    "creditMemo": (*_POSTED, *_APPLY, ".tranId", ".total"),
    "customerPayment": (*_POSTED, *_APPLY, ".payment"),
    "journalEntry": (*_POSTED, ".line", ".line.items"),
}


def _of(record: str, *, method: str = "POST", look: str = RECORDS, **more: Any) -> Trace:
    door = f"*/record/v1/{record}" + ("" if method == "POST" else "/*")
    needed = _NEEDED.get(record, ())
    return Trace(record, method=method, path=RECORDS, door=door, look=look, needed=needed, **more)


class NetSuite(PlaysErp):
    vendor = "netsuite"
    may_be_absent = (".amountRemaining", ".reversalEntry", ".reversalDate")
    traces = {
        # A PUT under its external id: the same content at the same record, as often as it's sent.
        "customer_to_erp": _of("customer", method="PUT", look="", again="done", unseen={"done": 2}),
        "customer_to_erp-changed": _of("customer", effect="updated", method="PUT", look="", again="done"),
        "customer_use_to_erp": _of("customerSubsidiaryRelationship", method="PUT"),
        "invoice_to_erp": _of("invoice"),
        "credit_memo_to_erp": _of("creditMemo"),
        "invoice_void_to_erp": _of("creditMemo"),
        "credit_void_to_erp": _of("invoice"),
        "write_off_to_erp": _of("creditMemo"),
        "unwinding_to_erp": _of("creditMemo"),
        "accrual_to_erp": _of("journalEntry"),
        "reversal_to_erp": _of("journalEntry"),
        "payment_to_erp": _of("customerPayment"),
        "application_to_erp": _of("customerPayment", effect="updated", method="PATCH", unseen={"done": 1}),
        "refund_to_erp": _of("journalEntry"),
        "refund_to_erp-credit": _of("customerRefund"),
        "dispute_to_erp": _of("journalEntry"),
        "payout_to_erp": _of("journalEntry"),
        "summary_to_erp": _of("journalEntry"),
    }

    def this_month(self):
        today = dt.datetime.now(ZoneInfo("Europe/London")).date()
        own = Subsidiary.objects.get(legal_entity__code="GB01", connection__code=self.code)
        return {"period": f"{today:%Y-%m}", "subsidiary": own.external_id}

    def lock_receivables(self, house):
        locked = self.this_month()
        house.sandboxes.control("POST", "netsuite/account", {"lock_period": {**locked, "ledger": "ar"}})
        refresh_reference(self.code, ("periods",))
        return locked

    def unlock(self, house, locked):
        house.sandboxes.control("POST", "netsuite/account", {"open_period": locked})

    def open_month(self, house):
        self.unlock(house, self.this_month())

    def items_on(self, house, record, key):
        items = ReferenceEntry.objects.filter(connection__code=self.code, list_name="items")
        codes = dict(items.values_list("external_id", "code"))
        return {codes[line["item"]["id"]] for line in Client(house.sandboxes).read(record, key)["item"]["items"]}

    def customer_name(self, house, key):
        found: str = Client(house.sandboxes).read("customer", key)["companyName"]
        return found


PLAYER = NetSuite()
