"""The records that this sandbox keeps: their properties, what kind each is, and their sublists.

Source: the REST API Browser 2026.1 as far as the fact sheet quotes it. A kind is `text`, `number`, `bool`, `date`,
`datetime`, `enum` or `ref:` with the record types that the reference may name. Properties marked read-only are
computed by the ERP.
"""

from dataclasses import dataclass, field

CUSTOM_PREFIXES = ("custbody", "custcol", "custentity", "custitem", "custrecord")


@dataclass(frozen=True)
class Sublist:
    """The lines of a sublist; `key` is the property by which a merged line finds the one it changes."""

    fields: dict[str, str]
    key: str = "line"
    read_only: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Record:
    """One record type. External ids are unique within `space`; ids are numbered within it too."""

    name: str
    space: str
    fields: dict[str, str]
    lists: dict[str, Sublist] = field(default_factory=dict)
    read_only: frozenset[str] = frozenset()
    label: tuple[str, ...] = ("name",)
    transaction_code: str | None = None


def _split(text: str) -> dict[str, str]:
    """`"name:text currency:ref:currency"` as a dict; the kind is text when it's left out."""
    pairs = (word.partition(":") for word in text.split())
    return {name: kind or "text" for name, _, kind in pairs}


COMMON = _split("externalId isInactive:bool")
DIMENSIONS = _split("department:ref:department class:ref:classification location:ref:location")
PERIOD = _split("postingPeriod:ref:accountingPeriod")
BODY = {
    **_split(
        "externalId tranId tranDate:date memo currency:ref:currency exchangeRate:number subsidiary:ref:subsidiary"
        " approvalStatus:enum customForm:enum createdFrom:ref:transaction toBeEmailed:bool toBePrinted:bool email"
    ),
    **PERIOD,
    **DIMENSIONS,
}
STAMPS = frozenset({"id", "createdDate", "lastModifiedDate", "links"})
TOTALS = STAMPS | {
    *("status", "subtotal", "taxTotal", "total", "amountPaid", "amountRemaining", "applied", "unapplied"),
    *("deferredRevenue", "recognizedRevenue", "revenueStatus", "totalBase", "isReversal", "reversalEntry", "void"),
}
ITEM_LINE = Sublist(
    {
        **_split(
            "line:number lineUniqueKey:number item:ref:item quantity:number rate:number amount:number description"
            " price:enum taxCode:ref:salesTaxItem taxDetailsReference revRecStartDate:date revRecEndDate:date"
            " revRecTermInMonths:number revRecSchedule:enum deferRevRec:bool doNotCreateRevenueElement:bool"
            " catchUpPeriod:ref:accountingPeriod orderDoc:ref:salesOrder orderLine:number units:enum"
        ),
        **DIMENSIONS,
    }
)
TAX_LINE = Sublist(
    _split(
        "taxDetailsReference taxType:ref:taxType taxCode:ref:salesTaxItem taxBasis:number taxRate:number"
        " taxAmount:number netAmount:number lineType lineName line:number"
    ),
    key="line",
)
APPLY = Sublist(
    _split(
        "doc:ref:transaction apply:bool amount:number line:number total:number due:number refNum applyDate:date"
        " currency:ref:currency type"
    ),
    key="doc",
)
SALE = {
    **BODY,
    **_split(
        "entity:ref:customer dueDate:date otherRefNum terms:ref:term account:ref:account taxDetailsOverride:bool"
        " startDate:date endDate:date orderStatus:enum billAddress shipAddress salesEffectiveDate:date"
        " autoApply:bool taxRegOverride:bool nexus:enum"
    ),
}
ITEM = Record(
    "serviceSaleItem",
    "item",
    {
        **COMMON,
        **DIMENSIONS,
        **_split(
            "itemId displayName salesDescription incomeAccount:ref:account deferredRevenueAccount:ref:account"
            " revenueRecognitionRule:ref:revenueRecognitionRule revRecForecastRule:ref:revenueRecognitionRule"
            " createRevenuePlansOn:enum itemRevenueCategory:enum revenueAllocationGroup:enum directRevenuePosting:bool"
            " deferRevRec:bool taxSchedule:ref:taxSchedule includeChildren:bool unitsType:enum"
        ),
    },
    {
        "subsidiary": Sublist({"id": "text"}, key="id"),
        "price": Sublist(_split("price:number priceLevelName quantity:text currencyPage:enum"), key="priceLevelName"),
    },
    read_only=STAMPS,
    label=("itemId",),
)
NAMED = {**COMMON, "name": "text", "includeChildren": "bool"}
SUBSIDIARIES = {"subsidiary": Sublist({"id": "text"}, key="id")}


def _list_record(name: str, text: str, *, label: tuple[str, ...] = ("name",)) -> Record:
    return Record(name, name, {**COMMON, **_split(text)}, read_only=STAMPS, label=label)


RECORDS: dict[str, Record] = {
    record.name: record
    for record in (
        Record(
            "customer",
            "entity",
            {
                **COMMON,
                **_split(
                    "entityId companyName isPerson:bool firstName lastName email phone url comments altName"
                    " subsidiary:ref:subsidiary currency:ref:currency terms:ref:term creditLimit:number"
                    " receivablesAccount:ref:account parent:ref:customer category:enum vatRegNumber language:enum"
                ),
            },
            {
                "addressbook": Sublist(
                    _split("label defaultBilling:bool defaultShipping:bool addressBookAddress:object id:text"),
                    key="label",
                ),
                "currencyList": Sublist(_split("currency:ref:currency"), key="currency"),
                "taxRegistration": Sublist(_split("taxRegistrationNumber nexusCountry:enum address:enum id"), key="id"),
            },
            read_only=STAMPS | {"balance"},
            label=("entityId",),
        ),
        _list_record(
            "customerSubsidiaryRelationship",
            "entity:ref:customer subsidiary:ref:subsidiary isPrimarySub:bool primaryCurrency:ref:currency"
            " balance:number",
            label=("id",),
        ),
        _list_record(
            "subsidiary",
            "name legalName currency:ref:currency country:enum parent:ref:subsidiary isElimination:bool"
            " fiscalCalendar:enum",
        ),
        _list_record(
            "currency",
            "symbol name exchangeRate:number currencyPrecision:number isBaseCurrency:bool",
        ),
        _list_record("term", "name daysUntilNetDue:number"),
        _list_record(
            "account",
            "acctNumber acctName acctType:enum description currency:ref:currency isSummary:bool parent:ref:account",
            label=("acctNumber", "acctName"),
        ),
        Record("department", "department", NAMED, SUBSIDIARIES, read_only=STAMPS),
        Record("classification", "classification", NAMED, SUBSIDIARIES, read_only=STAMPS),
        Record("location", "location", NAMED, SUBSIDIARIES, read_only=STAMPS),
        ITEM,
        Record("nonInventorySaleItem", "item", ITEM.fields, ITEM.lists, read_only=STAMPS, label=("itemId",)),
        _list_record("revenueRecognitionRule", "name recognitionMethod:enum amountSource:enum"),
        _list_record(
            "accountingPeriod",
            "periodName startDate:date endDate:date closed:bool closedOnDate:date arLocked:bool apLocked:bool"
            " allLocked:bool payrollLocked:bool allowNonGLChanges:bool isPosting:bool isQuarter:bool isYear:bool"
            " isAdjust:bool fiscalCalendar:enum parent:ref:accountingPeriod",
            label=("periodName",),
        ),
        _list_record(
            "accountingPeriodSubsidiary",
            "accountingPeriod:ref:accountingPeriod subsidiary:ref:subsidiary closed:bool arLocked:bool apLocked:bool"
            " allLocked:bool",
            label=("id",),
        ),
        _list_record(
            "currencyRate",
            "baseCurrency:ref:currency transactionCurrency:ref:currency exchangeRate:number effectiveDate:date",
            label=("id",),
        ),
        _list_record("taxSchedule", "name"),
        _list_record("taxType", "name country:enum payablesAccount:ref:account receivablesAccount:ref:account"),
        _list_record(
            "salesTaxItem", "itemId name rate:number taxType:ref:taxType taxAccount:ref:account", label=("itemId",)
        ),
        Record(
            "salesOrder",
            "transaction",
            SALE,
            {"item": ITEM_LINE, "taxDetails": TAX_LINE},
            TOTALS,
            ("tranId",),
            "SalesOrd",
        ),
        Record(
            "invoice", "transaction", SALE, {"item": ITEM_LINE, "taxDetails": TAX_LINE}, TOTALS, ("tranId",), "CustInvc"
        ),
        Record(
            "creditMemo",
            "transaction",
            SALE,
            {"item": ITEM_LINE, "taxDetails": TAX_LINE, "apply": APPLY},
            TOTALS,
            ("tranId",),
            "CustCred",
        ),
        Record(
            "customerPayment",
            "transaction",
            {
                **BODY,
                **_split(
                    "customer:ref:customer payment:number arAcct:ref:account account:ref:account undepFunds:bool"
                    " checkNumber paymentOption:enum paymentMethod:enum autoApply:bool"
                ),
            },
            {"apply": APPLY},
            TOTALS,
            ("tranId",),
            "CustPymt",
        ),
        Record(
            "customerRefund",
            "transaction",
            {
                **BODY,
                **_split("customer:ref:customer arAcct:ref:account account:ref:account checkNumber paymentOption:enum"),
            },
            {"apply": APPLY},
            TOTALS,
            ("tranId",),
            "CustRfnd",
        ),
        Record(
            "journalEntry",
            "transaction",
            {**BODY, **_split("reversalDate:date reversalDefer:bool approved:bool")},
            {
                "line": Sublist(
                    {
                        **DIMENSIONS,
                        **_split(
                            "line:number account:ref:account debit:number credit:number memo entity:ref:customer"
                            " revenueRecognitionRule:ref:revenueRecognitionRule startDate:date endDate:date"
                            " eliminate:bool dueToFromSubsidiary:ref:subsidiary"
                        ),
                    }
                )
            },
            TOTALS,
            ("tranId",),
            "Journal",
        ),
    )
}
TRANSACTIONS = tuple(record.name for record in RECORDS.values() if record.transaction_code)
ITEMS = ("serviceSaleItem", "nonInventorySaleItem")
REFERENCES = {"transaction": TRANSACTIONS, "item": ITEMS}
