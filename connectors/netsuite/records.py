"""NetSuite's name, fields and pages for each of our document types. Facts only."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Record:
    """A record type of the REST API. `code` is its type in SuiteQL, `page` its path in the user interface."""

    name: str
    number: str = "tranId"
    total: str = ""
    code: str = ""
    page: str = ""
    reads_lines: bool = False  # its sublists are part of what we read back
    needs: tuple[str, ...] = ()  # paths without which what is read back proves nothing


_POSTED = ("tranDate", "postingPeriod.id", "currency.id", "subsidiary.id")
_SALE = (*_POSTED, "tranId", "total")
TYPES = {
    "customer": Record("customer", number="entityId", page="/app/common/entity/custjob.nl?id={id}"),
    "ar_invoice": Record(
        "invoice", total="total", code="CustInvc", page="/app/accounting/transactions/custinvc.nl?id={id}",
        needs=_SALE,
    ),
    "ar_credit_memo": Record(
        "creditMemo", total="total", code="CustCred", page="/app/accounting/transactions/custcred.nl?id={id}",
        reads_lines=True, needs=(*_SALE, "apply.items"),
    ),
    "receipt": Record(
        "customerPayment", total="payment", code="CustPymt", page="/app/accounting/transactions/custpymt.nl?id={id}",
        reads_lines=True, needs=(*_POSTED, "payment", "apply.items"),
    ),
    "ar_refund": Record(
        "customerRefund", total="total", code="CustRfnd", page="/app/accounting/transactions/custrfnd.nl?id={id}",
        reads_lines=True, needs=(*_POSTED, "total", "apply.items"),
    ),
    "journal": Record(
        "journalEntry", code="Journal", page="/app/accounting/transactions/journal.nl?id={id}", reads_lines=True,
        needs=(*_POSTED, "line.items"),
    ),
}  # fmt: skip

READ_BACK = (
    "id,externalId,tranId,entity,tranDate,postingPeriod,subsidiary,currency,exchangeRate,total,amountRemaining,"
    "approvalStatus,status"
)

# List name -> SuiteQL. Column names confirmed from dbt_netsuite's seeds; dates are asked for in ISO, since SuiteQL
# gives
# them by the user's preference otherwise.
LISTS = {
    "subsidiaries": (
        "SELECT s.id, s.name, s.legalname, c.symbol AS currency, s.country, s.parent, s.iselimination, s.isinactive "
        "FROM subsidiary s JOIN currency c ON c.id = s.currency ORDER BY s.id"
    ),
    "periods": (
        "SELECT id, periodname, TO_CHAR(startdate,'YYYY-MM-DD') AS startdate, "
        "TO_CHAR(enddate,'YYYY-MM-DD') AS enddate, closed, arlocked, alllocked, isadjust FROM accountingperiod "
        "WHERE isposting='T' AND isquarter='F' AND isyear='F' ORDER BY id"
    ),
    "items": (
        "SELECT id, itemid, displayname, itemtype, incomeaccount, deferredrevenueaccount, revenuerecognitionrule, "
        "department, class, location, isinactive FROM item ORDER BY id"
    ),
    "accounts": "SELECT id, acctnumber, fullname, accttype, isinactive FROM account ORDER BY id",
    "departments": "SELECT id, name, isinactive FROM department ORDER BY id",
    "classes": "SELECT id, name, isinactive FROM classification ORDER BY id",
    "locations": "SELECT id, name, isinactive FROM location ORDER BY id",
    "currencies": "SELECT id, symbol, name, currencyprecision, isbasecurrency, isinactive FROM currency ORDER BY id",
    "terms": "SELECT id, name, daysuntilnetdue, isinactive FROM term ORDER BY id",
    "tax_codes": "SELECT id, itemid, rate, taxtype, taxaccount, isinactive FROM salestaxitem ORDER BY id",
    "rates": (
        "SELECT r.id, b.symbol AS basecurrency, t.symbol AS transactioncurrency, r.exchangerate, "
        "TO_CHAR(r.effectivedate,'YYYY-MM-DD') AS effectivedate FROM currencyrate r "
        "JOIN currency b ON b.id = r.basecurrency JOIN currency t ON t.id = r.transactioncurrency "
        "WHERE r.effectivedate >= TO_DATE(?,'YYYY-MM-DD') ORDER BY r.effectivedate, r.id"
    ),
}

# The same of an account that hasn't switched on what a list asks for: its columns aren't there then.
PLAIN_LISTS = {
    "items": (
        "SELECT id, itemid, displayname, itemtype, incomeaccount, deferredrevenueaccount, isinactive "
        "FROM item ORDER BY id"
    ),
}

# A subsidiary's own lock of a period. No documented table, but our sandbox's own; an account without it is read so.
PERIODS_BY_SUBSIDIARY = (
    "SELECT accountingperiod, subsidiary, closed, arlocked, alllocked "
    "FROM accountingperiodsubsidiary ORDER BY accountingperiod, subsidiary"
)

# The further subsidiaries that may bill a customer; its own stands on the record.
CUSTOMER_SUBSIDIARIES = "SELECT subsidiary FROM customersubsidiaryrelationship WHERE entity = ? ORDER BY subsidiary"

# Made since a day, whatever its own date is: a late document is dated in a month that is long past.
OURS = (
    "SELECT t.id, t.externalid, t.type, t.tranid, c.symbol AS currency, t.foreigntotal AS amount "
    "FROM transaction t JOIN currency c ON c.id = t.currency "
    "WHERE t.createddate >= TO_DATE(?,'YYYY-MM-DD') AND t.externalid LIKE '%-%-%' ORDER BY t.id"
)
BY_NUMBER = "SELECT t.id FROM transaction t WHERE t.type = ? AND t.tranid = ? ORDER BY t.id"
# Whose external id begins with a text: LIKE finds them quickly, and INSTR leaves out what "_" took for any sign.
TOTALS = (
    "SELECT t.type, c.symbol AS currency, COUNT(*) AS count, SUM(t.foreigntotal) AS amount "
    "FROM transaction t JOIN currency c ON c.id = t.currency "
    "WHERE t.trandate >= TO_DATE(?,'YYYY-MM-DD') AND t.trandate <= TO_DATE(?,'YYYY-MM-DD') AND t.externalid LIKE ? "
    "AND INSTR(t.externalid, ?) = 1 AND t.posting = 'T' GROUP BY t.type, c.symbol ORDER BY t.type, c.symbol"
)
TOTAL_LINES = (
    "SELECT t.type, c.symbol AS currency, COUNT(*) AS lines "
    "FROM transactionline l JOIN transaction t ON t.id = l.transaction JOIN currency c ON c.id = t.currency "
    "WHERE t.trandate >= TO_DATE(?,'YYYY-MM-DD') AND t.trandate <= TO_DATE(?,'YYYY-MM-DD') AND t.externalid LIKE ? "
    "AND INSTR(t.externalid, ?) = 1 AND t.posting = 'T' AND l.mainline = 'F' AND l.taxline = 'F' "
    "GROUP BY t.type, c.symbol ORDER BY t.type, c.symbol"
)
