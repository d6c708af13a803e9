"""Order unwinding: what an order became in billing is ended there by two people's decision.

Starts on   an agreed plan: to take back an order whose chain stopped half way
Ends with   the subscription cancelled in billing (a plan of one too; an invoice of single sales is voided); the CRM
            hears of it by the status that billing then tells
Posts       nothing: what was billed and posted before was taken back first, each invoice by its own plan
Owners      sales operations; billing operations for what was billed
Never       ends what billing still has standing in an ERP; touches the order in the CRM; ends another subscription than
            was agreed
"""

from __future__ import annotations

from typing import Any

from q2c.canonical.contract import Subscription
from q2c.canonical.posting import SavedRecord
from q2c.canonical.unwinding import OrderUnwinding
from q2c.core.problems import Category, Problem
from q2c.flows.told import Link
from q2c.transactions.steps import Flow, Read, Write

CODE = "order_unwinding"
ENDED = ("canceled", "cancelled", "void", "incomplete_expired")  # in billing's words


def choose_billing(unwinding: OrderUnwinding, txn: Any) -> str:
    """The billing system that has it."""
    txn.legal_entity_code, txn.target_connection = unwinding.legal_entity, unwinding.billing
    return unwinding.billing


async def find_ended(unwinding: OrderUnwinding, billing: Any) -> SavedRecord | None:
    """Look whether billing has ended it. Raises Problem `plan_moved` where another one stands for the order; what began
    under the one that was agreed is no other."""
    found: SavedRecord | None = await billing.find_subscription(
        "", customer_id=unwinding.customer_id, order_id=unwinding.order_id
    )
    if found is not None and found.id != unwinding.subscription_id and not await _began_so(unwinding, found, billing):
        raise Problem(
            "plan_moved",
            Category.CONFLICT,
            f"{unwinding.order_number} stands as another {found.document_type} in billing by now",
            connection=unwinding.source.connection,
            document=unwinding.order_number,
        )
    return found if found is not None and found.status in ENDED else None


async def _began_so(unwinding: OrderUnwinding, found: SavedRecord, billing: Any) -> bool:
    """Whether this is the subscription that began under the agreed one, which was sold for later."""
    if (unwinding.subscription_type, found.document_type) != ("subscription", "subscription"):
        return False
    try:
        agreed: Subscription = await billing.subscription(unwinding.subscription_id)
    except Problem as problem:
        if problem.code != "record_gone":
            raise
        return False
    return agreed.source.object_id == found.id


async def end_subscription(unwinding: OrderUnwinding, billing: Any, write: Any) -> SavedRecord:
    """End it, on the day that was agreed or at once where that has begun."""
    ended = await find_ended(unwinding, billing)
    if ended is not None:
        return ended
    found: SavedRecord = await billing.cancel_subscription(unwinding.subscription_id, on=unwinding.on, key=write.key)
    return found


def tell(unwinding: OrderUnwinding, ended: SavedRecord) -> list:
    """Lineage from the order to the decision, and to what it ended: also to what began under what was agreed."""
    source = unwinding.source
    decision = (source.connection, source.object_type, source.object_id)
    agreed = (unwinding.billing, unwinding.subscription_type, unwinding.subscription_id)
    told = [Link(*decision, *agreed, unwinding.amount, unwinding.currency, "ended", "end_subscription")]
    if ended.id != unwinding.subscription_id:
        begun = (unwinding.billing, unwinding.subscription_type, ended.id)
        told.append(Link(*decision, *begun, relation="ended", step="end_subscription"))
    return told


ORDER_UNWINDING = Flow(
    code=CODE,
    title="Order unwinding",
    starts_with=("unwinding",),
    fact_type=OrderUnwinding,
    owner="sales_ops",
    lane_type="order",
    steps=(
        Read("choose_billing", "Take the billing system that has it", choose_billing, gives="billing_system"),
        Write(
            "end_subscription",
            "End what the order became in billing",
            find=find_ended,
            create=end_subscription,
            prepared="unwinding",
            port="billing",
            gives="ended",
        ),
    ),
    links=tell,
)
