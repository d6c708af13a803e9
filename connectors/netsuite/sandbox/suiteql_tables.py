"""The lists of SuiteQL as views over the account: lower-case columns, booleans as T and F, dates with a mark.

Columns follow public samples (dbt_netsuite seeds, Apache-2.0) as the fact sheet quotes them;
`transactionaccountingline`, `previoustransactionlinelink`, `currencyrate`, `revenueelement` and `deletedrecord` are
general knowledge, and `accountingperiodsubsidiary` is this sandbox's own.
"""

MARK_SQL = "char(2)||"


def _text(column: str, path: str) -> str:
    value = f"json_extract(b, '$.{path}')"
    return f"CAST({value} AS TEXT) AS {column}" if path.endswith(".id") else f"{value} AS {column}"


def _flag(column: str, path: str) -> str:
    return f"CASE WHEN json_extract(b, '$.{path}') THEN 'T' ELSE 'F' END AS {column}"


def _date(column: str, path: str) -> str:
    return f"{MARK_SQL}replace(replace(json_extract(b, '$.{path}'), 'T', ' '), 'Z', '') AS {column}"


def _list_view(name: str, record: str | tuple[str, ...], columns: str) -> str:
    """A view over one record type; `columns` are `column=json.path` with `?` for booleans and `@` for dates."""
    types = (record,) if isinstance(record, str) else record
    parts = []
    for word in columns.split():
        column, _, path = word.partition("=")
        build = {"?": _flag, "@": _date}.get(path[:1], _text)
        parts.append(build(column, path.lstrip("?@")))
    named = ", ".join(f"'{each}'" for each in types)
    source = f"(SELECT id, type, CAST(body AS TEXT) AS b FROM documents WHERE type IN ({named}))"
    return f"CREATE TEMP VIEW {name} AS SELECT CAST(id AS INTEGER) AS id, {', '.join(parts)} FROM {source}"


LIST = "externalid=externalId name=name isinactive=?isInactive"
PERIOD_FLAGS = "closed=?closed arlocked=?arLocked aplocked=?apLocked alllocked=?allLocked"
STAMPS = "datecreated=@createdDate lastmodifieddate=@lastModifiedDate"
PERIOD_PAIRS = """
CREATE TEMP VIEW accountingperiodsubsidiary AS
SELECT p.id AS accountingperiod, p.periodname, p.startdate, p.enddate, s.id AS subsidiary,
  s.externalid AS subsidiarycode,
  coalesce(o.closed, p.closed) AS closed, coalesce(o.arlocked, p.arlocked) AS arlocked,
  coalesce(o.aplocked, p.aplocked) AS aplocked, coalesce(o.alllocked, p.alllocked) AS alllocked
FROM accountingperiod p CROSS JOIN subsidiary s
LEFT JOIN periodoverride o ON o.accountingperiod = p.id AND o.subsidiary = s.id
WHERE p.isposting = 'T' AND p.isquarter = 'F' AND p.isyear = 'F'
"""
RELATIONS = (
    "SELECT CAST(json_extract(b, '$.entity.id') AS INTEGER) AS entity,"
    " CAST(json_extract(b, '$.subsidiary.id') AS TEXT) AS subsidiary,"
    " 'F' AS isprimarysub, json_extract(b, '$.externalId') AS externalid"
    " FROM (SELECT CAST(body AS TEXT) AS b FROM documents WHERE type = 'customerSubsidiaryRelationship')"
    " UNION ALL SELECT id, subsidiary, 'T', NULL FROM customer"
)
LIST_VIEWS = (
    _list_view(
        "subsidiary",
        "subsidiary",
        f"{LIST} fullname=name legalname=legalName currency=currency.id country=country.id parent=parent.id"
        " iselimination=?isElimination fiscalcalendar=fiscalCalendar.id",
    ),
    _list_view(
        "currency",
        "currency",
        f"{LIST} symbol=symbol exchangerate=exchangeRate currencyprecision=currencyPrecision"
        " isbasecurrency=?isBaseCurrency",
    ),
    _list_view("term", "term", f"{LIST} daysuntilnetdue=daysUntilNetDue"),
    _list_view(
        "account",
        "account",
        "externalid=externalId acctnumber=acctNumber accttype=acctType.id accountsearchdisplaynamecopy=acctName"
        " accountsearchdisplayname=acctName fullname=acctName displaynamewithhierarchy=acctName"
        " isinactive=?isInactive issummary=?isSummary",
    ),
    *(
        _list_view(
            name, name, f"{LIST} fullname=name includechildren=?includeChildren subsidiary=subsidiary.items[0].id"
        )
        for name in ("department", "classification", "location")
    ),
    _list_view(
        "item",
        ("serviceSaleItem", "nonInventorySaleItem"),
        "externalid=externalId itemid=itemId displayname=displayName fullname=itemId itemtype=itemType"
        " incomeaccount=incomeAccount.id deferredrevenueaccount=deferredRevenueAccount.id"
        " revenuerecognitionrule=revenueRecognitionRule.id class=class.id department=department.id"
        " location=location.id includechildren=?includeChildren subsidiary=subsidiary.items[0].id"
        f" isinactive=?isInactive {STAMPS}",
    ).replace(
        "json_extract(b, '$.itemType')", "CASE type WHEN 'serviceSaleItem' THEN 'Service' ELSE 'NonInvtPart' END"
    ),
    _list_view("revenuerecognitionrule", "revenueRecognitionRule", f"{LIST} method=recognitionMethod.id"),
    _list_view("taxtype", "taxType", f"{LIST} country=country.id"),
    _list_view(
        "salestaxitem",
        "salesTaxItem",
        "externalid=externalId itemid=itemId name=itemId rate=rate taxtype=taxType.id taxaccount=taxAccount.id"
        " isinactive=?isInactive",
    ),
    _list_view(
        "customer",
        "customer",
        "externalid=externalId entityid=entityId companyname=companyName altname=companyName email=email phone=phone"
        " isperson=?isPerson firstname=firstName lastname=lastName currency=currency.id terms=terms.id"
        " subsidiary=subsidiary.id receivablesaccount=receivablesAccount.id parent=parent.id creditlimit=creditLimit"
        f" isinactive=?isInactive {STAMPS}",
    ),
    "CREATE TEMP VIEW entity AS SELECT id, externalid, entityid, altname, email, 'CustJob' AS type, isinactive,"
    " datecreated, lastmodifieddate FROM customer",
    f"CREATE TEMP VIEW customersubsidiaryrelationship AS {RELATIONS}",
    _list_view(
        "accountingperiod",
        "accountingPeriod",
        "externalid=externalId periodname=periodName startdate=@startDate enddate=@endDate parent=parent.id"
        f" {PERIOD_FLAGS} isposting=?isPosting isquarter=?isQuarter isyear=?isYear isadjust=?isAdjust"
        " allownonglchanges=?allowNonGLChanges isinactive=?isInactive lastmodifieddate=@lastModifiedDate",
    ),
    _list_view(
        "periodoverride",
        "accountingPeriodSubsidiary",
        f"accountingperiod=accountingPeriod.id subsidiary=subsidiary.id {PERIOD_FLAGS}",
    ),
    PERIOD_PAIRS,
)
