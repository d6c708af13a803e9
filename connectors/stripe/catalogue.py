"""Products, prices and tax rates of a Stripe account: what an order needs is found or made, and what an invoice's line
names by its id only is read.

What can't change is kept: a tax rate's percentage, and the SKU that was written on a price or a product.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any

from connectors.errors import Absent
from connectors.families import SubscriptionPlan
from connectors.fields import dig
from connectors.stripe import inbound, outbound
from q2c.canonical.contract import OrderLine
from q2c.core.problems import AlreadyThere, Category, NotAnswered, Problem

KEPT = 2_000
UNNAMED_SECONDS = 60.0  # after which a product that bore no SKU is asked again: somebody may have written it

Call = Callable[..., Awaitable[dict[str, Any]]]


class Catalogue:
    """The catalogue of one account, by the client's own `get` and `post`."""

    def __init__(self, get: Call, post: Call, *, connection: str) -> None:
        self._get, self._post, self._connection = get, post, connection
        self._rates: dict[str, dict[str, Any]] = {}
        self._skus: dict[str, tuple[str, float]] = {}
        self._charges: dict[str, dict[str, Any]] = {}  # how a price charges, which never changes

    # For an order

    async def price_of(self, line: OrderLine, plan: SubscriptionPlan, *, key: str) -> str:
        """The price of a line of an order, found or made with its product. A price that is found under the line's key
        and isn't the line's (of another product, once a rule names another) is left alone; the line has one more key.
        Raises Problem; ValueError for what Stripe can't say."""
        given = plan.product_of(line)
        if given.startswith("price_"):
            return given
        product = given if given and given != "create" else outbound.product_id(line.sku)
        lookups = outbound.lookup_keys(line, plan.currency, product=product)
        for step, lookup in zip(("price", "own-price"), lookups, strict=True):
            found = await self._find_price(lookup)
            if found is None:
                if product != given:
                    await self._ensure_product(line, key=key)
                body = outbound.price(line, product=product, currency=plan.currency, lookup=lookup)
                found = await self._make_price(body, lookup, key=f"{key}-{step}-{line.line_id}"[:255])
            if outbound.is_price(found, line, product=product, currency=plan.currency):
                if not isinstance(found.get("id"), str):  # of null, `str` would make an id "None"
                    raise NotAnswered(f"Stripe's price {lookup} has no id", connection=self._connection)
                return found["id"]
        raise Problem(
            "vendor_reference_refused",
            Category.MAPPING,
            f"Stripe's price with the lookup key {lookup} isn't one of {line.sku} as it was sold",
            connection=self._connection,
            document=plan.order_id,
            field="lookup_key",
        )

    async def _find_price(self, lookup: str) -> dict[str, Any] | None:
        query = [("lookup_keys[]", lookup), ("active", "true"), ("limit", "1")]
        found = await self._get("/v1/prices", "find_price", query, needs=("data",))
        return found["data"][0] if found["data"] else None

    async def _make_price(self, body: outbound.Form, lookup: str, *, key: str) -> dict[str, Any]:
        try:
            return await self._post("/v1/prices", body, verb="save_price", key=key)
        except AlreadyThere as refusal:  # another order made it meanwhile
            if known := await self._find_price(lookup):
                return known
            raise NotAnswered(f"{refusal.summary}, but a look-up doesn't find it", **refusal.subject) from refusal

    async def _ensure_product(self, line: OrderLine, *, key: str) -> None:
        wanted = outbound.product_id(line.sku)
        try:
            await self._get(f"/v1/products/{wanted}", "find_product")
        except Absent:
            body = outbound.product(line)
            try:
                await self._post("/v1/products", body, verb="save_product", key=f"{key}-product-{wanted}"[:255])
            except AlreadyThere:
                pass  # another order made it meanwhile

    # Of an invoice

    async def with_skus(self, lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """The lines with the SKU of their product where neither they nor its id say it (the metadata of a
        subscription's line are the subscription's), and with how their price charges where they don't say that."""
        for line in lines:
            details = dig(line, "pricing.price_details")
            if isinstance(details, dict) and not inbound.says_sku(line):
                product = inbound.id_of(details.get("product"))
                sku = await self._sku_of(inbound.id_of(details.get("price")), product)
                details["product"] = {"id": product, "metadata": {"sku": sku} if sku else {}}
            if isinstance(details, dict) and details.get("price") and not inbound.charge_type(line):
                details["price"] = await self._charge_of(inbound.id_of(details["price"]))
        return lines

    async def _charge_of(self, price: str) -> dict[str, Any]:
        """How a price charges: once, for a time or by use. Kept."""
        if price not in self._charges:
            try:
                self._note_charge(await self._get(f"/v1/prices/{price}", "price"))
            except Absent:
                return {"id": price}  # its id is all that is left of it
        return self._charges[price]

    def _note_charge(self, price: dict[str, Any]) -> None:
        if len(self._charges) >= KEPT:
            self._charges.clear()
        self._charges[str(price["id"])] = {name: price.get(name) for name in ("id", "type", "recurring")}

    async def _sku_of(self, price: str, product: str) -> str:
        """What we wrote on a price, else on its product; "" where nothing is written. Kept."""
        name = price or product
        sku, asked_at = self._skus.get(name, ("", 0.0))
        if sku or (asked_at and time.monotonic() - asked_at < UNNAMED_SECONDS):
            return sku
        try:
            if price:
                found = await self._get(f"/v1/prices/{price}", "price", [("expand[]", "product")])
                self._note_charge(found)
                sku = dig(found, "metadata.sku") or dig(found, "product.metadata.sku")
            else:
                sku = dig(await self._get(f"/v1/products/{product}", "product"), "metadata.sku")
        except Absent:
            sku = ""  # its id is all that is left of it
        if len(self._skus) >= KEPT:
            self._skus.clear()
        self._skus[name] = str(sku or ""), time.monotonic()
        return self._skus[name][0]

    async def with_rates(self, lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """The lines with their tax rates in full: a tax names its rate by id only, and it can't be expanded."""
        taxes = [tax for line in lines for tax in line.get("taxes") or line.get("tax_amounts") or ()]
        holders = [tax["tax_rate_details"] if tax.get("tax_rate_details") else tax for tax in taxes]
        for holder in holders:
            rate = holder.get("tax_rate")
            if isinstance(rate, str) and rate:
                holder["tax_rate"] = await self._tax_rate(rate)
        return lines

    async def _tax_rate(self, rate_id: str) -> dict[str, Any]:
        if rate_id not in self._rates:
            if len(self._rates) >= KEPT:
                self._rates.clear()
            self._rates[rate_id] = await self._get(f"/v1/tax_rates/{rate_id}", "tax_rate")
        return self._rates[rate_id]
