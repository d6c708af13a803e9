"""The list of flows: the table of contents."""

from __future__ import annotations

from q2c.flows.accrual_to_erp import ACCRUAL_TO_ERP
from q2c.flows.application_to_erp import APPLICATION_TO_ERP
from q2c.flows.credit_memo_to_erp import CREDIT_MEMO_TO_ERP
from q2c.flows.customer_to_erp import CUSTOMER_TO_ERP
from q2c.flows.customer_use_to_erp import CUSTOMER_USE_TO_ERP
from q2c.flows.hold_to_source import HOLD_TO_SOURCE
from q2c.flows.invoice_to_erp import INVOICE_TO_ERP
from q2c.flows.order_to_sale import ORDER_TO_SALE
from q2c.flows.order_to_subscription import ORDER_TO_SUBSCRIPTION
from q2c.flows.order_unwinding import ORDER_UNWINDING
from q2c.flows.payment_to_erp import PAYMENT_TO_ERP
from q2c.flows.payout_to_erp import DISPUTE_TO_ERP, PAYOUT_TO_ERP
from q2c.flows.refund_to_erp import REFUND_TO_ERP
from q2c.flows.reversal_to_erp import REVERSAL_TO_ERP
from q2c.flows.status_to_crm import STATUS_TO_CRM
from q2c.flows.summary_to_erp import SUMMARY_TO_ERP
from q2c.flows.unwinding_to_erp import UNWINDING_TO_ERP
from q2c.flows.void_to_erp import CREDIT_VOID_TO_ERP, INVOICE_VOID_TO_ERP
from q2c.flows.write_off_to_erp import WRITE_OFF_TO_ERP
from q2c.transactions.steps import Flow

FLOWS: tuple[Flow, ...] = (
    CUSTOMER_TO_ERP,
    CUSTOMER_USE_TO_ERP,
    ORDER_TO_SUBSCRIPTION,
    ORDER_TO_SALE,
    ORDER_UNWINDING,
    INVOICE_TO_ERP,
    CREDIT_MEMO_TO_ERP,
    INVOICE_VOID_TO_ERP,
    CREDIT_VOID_TO_ERP,
    WRITE_OFF_TO_ERP,
    UNWINDING_TO_ERP,
    REVERSAL_TO_ERP,
    ACCRUAL_TO_ERP,
    PAYMENT_TO_ERP,
    APPLICATION_TO_ERP,
    REFUND_TO_ERP,
    DISPUTE_TO_ERP,
    PAYOUT_TO_ERP,
    SUMMARY_TO_ERP,
    STATUS_TO_CRM,
    HOLD_TO_SOURCE,
)
TELLING = frozenset({STATUS_TO_CRM.code, HOLD_TO_SOURCE.code})  # they only say how a document stands
BY_CODE = {flow.code: flow for flow in FLOWS}
