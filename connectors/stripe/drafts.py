"""The draft of an invoice over single sales, with what is to stand on it.

An attempt that ended in between has left a draft, and another one may come under another idempotency key: so a draft
with our external id is looked for first, and made what it should be. There's never a second one.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

from connectors.families import SubscriptionPlan
from connectors.fields import dig
from connectors.stripe import inbound, outbound

VERB = "bill_once"
List = Callable[..., AsyncIterator[dict[str, Any]]]
Post = Callable[..., Awaitable[dict[str, Any]]]
Delete = Callable[..., Awaitable[None]]


class Drafts:
    """The drafts of one account, by the client's own `list`, `post` and `delete`."""

    def __init__(self, list_: List, post: Post, delete: Delete) -> None:
        self._list, self._post, self._delete = list_, post, delete

    async def complete(self, plan: SubscriptionPlan, prices: Mapping[str, str], *, key: str) -> str:
        """The id of the draft with exactly the plan's lines: each call under its own key, so that another attempt goes
        on where this one ended. Raises Problem."""
        draft = await self._find(plan)
        standing = [] if draft is None else await self._items(draft)
        if draft is None:
            made = await self._post("/v1/invoices", outbound.invoice(plan), verb=VERB, key=f"{key}-invoice"[:255])
            draft = str(made["id"])
        else:
            path, body = f"/v1/invoices/{draft}", outbound.invoice_head(plan)
            await self._post(path, body, verb=VERB, key=f"{key}-head"[:255])
        missing = []
        for line in plan.lines:
            item = outbound.invoice_item(plan, line, prices, invoice_id=draft)
            there = next((raw for raw in standing if _says(raw, item)), None)
            if there is None:
                missing.append((line, item))
            else:
                standing.remove(there)
        await self._remove(standing)
        for line, item in missing:
            await self._post("/v1/invoiceitems", item, verb=VERB, key=f"{key}-item-{line.line_id}"[:255])
        return draft

    async def _find(self, plan: SubscriptionPlan) -> str | None:
        """Our draft of this plan. One in another currency, which can't be changed, is deleted with what stands on it:
        its items would else wait for another invoice."""
        query, found = [("customer", plan.customer_id), ("status", "draft")], None
        for raw in [raw async for raw in self._list("/v1/invoices", VERB, query)]:
            if dig(raw, "metadata.external_id") != plan.external_id:
                continue
            if found is None and raw.get("currency") == plan.currency.lower():
                found = str(raw["id"])
            else:
                await self._remove(await self._items(str(raw["id"])))
                await self._delete(f"/v1/invoices/{raw['id']}", verb=VERB)
        return found

    async def _items(self, draft: str) -> list[dict[str, Any]]:
        return [raw async for raw in self._list("/v1/invoiceitems", VERB, [("invoice", draft)])]

    async def _remove(self, items: list[dict[str, Any]]) -> None:
        for raw in items:
            await self._delete(f"/v1/invoiceitems/{raw['id']}", verb=VERB)


def _says(raw: Mapping[str, Any], item: outbound.Form) -> bool:
    """Whether an item that stands on a draft is the one we'd make."""
    asked = dict(item)
    price = inbound.id_of(dig(raw, "pricing.price_details.price"))
    given = (price, str(raw.get("quantity")), raw.get("description"), dig(raw, "metadata.sku"))
    return given == (
        asked["pricing[price]"], asked["quantity"], asked["description"], asked.get("metadata[sku]")
    )  # fmt: skip
