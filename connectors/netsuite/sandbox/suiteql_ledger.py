"""The tables of SuiteQL over transactions and rates, as views; @ stands for the mark that dates begin with.

Columns of `transaction` and `transactionline` follow public samples (dbt_netsuite seeds, Apache-2.0) as the fact
sheet quotes them; `transactionaccountingline`, `previoustransactionlinelink`, `currencyrate`, `revenueelement` and
`deletedrecord` are general knowledge. The lines of a document stay in its JSON and are taken apart when they're asked
for.
"""

TRANSACTION = """
CREATE TEMP VIEW "transaction" AS
SELECT id, externalid, tranid AS transactionnumber, tranid, type, record AS recordtype, @trandate AS trandate,
  @duedate AS duedate, status, @replace(replace(createddate, 'T', ' '), 'Z', '') AS createddate,
  @replace(replace(lastmodifieddate, 'T', ' '), 'Z', '') AS lastmodifieddate, entity, subsidiary, currency,
  exchangerate, foreigntotal, total, paid AS foreignamountpaid, foreigntotal - paid AS foreignamountunpaid,
  approval AS approvalstatus, posting, postingperiod, memo, otherrefnum, createdfrom, account, isreversal, reversal,
  @reversaldate AS reversaldate, 'F' AS voided
FROM ns_transaction
"""
ACCOUNTING_LINE = """
CREATE TEMP VIEW transactionaccountingline AS
SELECT tran AS "transaction", line AS transactionline, account, 1 AS accountingbook, debit, credit,
  coalesce(debit, 0) - coalesce(credit, 0) AS amount, coalesce(debit, 0) - coalesce(credit, 0) AS netamount,
  foreign_amount AS foreignamount, 'T' AS posting
FROM ns_impact
"""
LINE = """
CREATE TEMP VIEW transactionline AS
SELECT id AS "transaction", 0 AS id, id || '-0' AS uniquekey, CAST(NULL AS TEXT) AS item, NULL AS quantity,
  NULL AS rate,
  CASE WHEN type IN ('CustCred', 'CustPymt') THEN -1 ELSE 1 END * foreigntotal AS foreignamount,
  CASE WHEN type IN ('CustCred', 'CustPymt') THEN -1 ELSE 1 END * total AS netamount,
  paid AS foreignamountpaid, foreigntotal - paid AS foreignamountunpaid, subsidiary, entity, 'T' AS mainline,
  'F' AS taxline, memo, CAST(NULL AS TEXT) AS department,
  CAST(NULL AS TEXT) AS "class", CAST(NULL AS TEXT) AS location, account AS expenseaccount,
  'F' AS isrevrectransaction, @replace(replace(lastmodifieddate, 'T', ' '), 'Z', '') AS linelastmodifieddate
FROM ns_transaction
UNION ALL
SELECT t.id, json_extract(l.value, '$.line'), t.id || '-' || json_extract(l.value, '$.line'),
  json_extract(l.value, '$.item.id'),
  CASE WHEN t.type = 'CustCred' THEN 1 ELSE -1 END * json_extract(l.value, '$.quantity'),
  json_extract(l.value, '$.rate'),
  CASE WHEN t.type = 'CustCred' THEN 1 ELSE -1 END * json_extract(l.value, '$.amount'),
  round(CASE WHEN t.type = 'CustCred' THEN 1 ELSE -1 END * json_extract(l.value, '$.amount') * t.exchangerate, 3),
  NULL, NULL, t.subsidiary, t.entity, 'F', 'F', json_extract(l.value, '$.description'),
  json_extract(l.value, '$.department.id'), json_extract(l.value, '$.class.id'),
  json_extract(l.value, '$.location.id'), NULL, 'F', @replace(replace(t.lastmodifieddate, 'T', ' '), 'Z', '')
FROM ns_transaction t
JOIN documents d ON d.type = t.record AND d.id = CAST(t.id AS TEXT)
JOIN json_each(CAST(d.body AS TEXT), '$.item.items') l
UNION ALL
SELECT t.id, 10000 + json_extract(l.value, '$.line'), t.id || '-t' || json_extract(l.value, '$.line'),
  json_extract(l.value, '$.taxCode.id'), NULL, json_extract(l.value, '$.taxRate'),
  CASE WHEN t.type = 'CustCred' THEN 1 ELSE -1 END * json_extract(l.value, '$.taxAmount'),
  NULL, NULL, NULL, t.subsidiary, t.entity, 'F', 'T', NULL, NULL, NULL, NULL, NULL, 'F',
  @replace(replace(t.lastmodifieddate, 'T', ' '), 'Z', '')
FROM ns_transaction t
JOIN documents d ON d.type = t.record AND d.id = CAST(t.id AS TEXT)
JOIN json_each(CAST(d.body AS TEXT), '$.taxDetails.items') l
UNION ALL
SELECT t.id, json_extract(l.value, '$.line'), t.id || '-' || json_extract(l.value, '$.line'), NULL, NULL, NULL,
  coalesce(json_extract(l.value, '$.debit'), 0) - coalesce(json_extract(l.value, '$.credit'), 0),
  NULL, NULL, NULL, t.subsidiary, json_extract(l.value, '$.entity.id'), 'F', 'F', json_extract(l.value, '$.memo'),
  json_extract(l.value, '$.department.id'), json_extract(l.value, '$.class.id'),
  json_extract(l.value, '$.location.id'), json_extract(l.value, '$.account.id'), 'F',
  @replace(replace(t.lastmodifieddate, 'T', ' '), 'Z', '')
FROM ns_transaction t
JOIN documents d ON d.type = t.record AND d.id = CAST(t.id AS TEXT)
JOIN json_each(CAST(d.body AS TEXT), '$.line.items') l
"""
LINK = """
CREATE TEMP VIEW previoustransactionlinelink AS
SELECT paid AS previousdoc, paying AS nextdoc, amount AS foreignamount, 'Payment' AS linktype FROM ns_application
"""
REVENUE_ELEMENT = """
CREATE TEMP VIEW revenueelement AS
SELECT t.id || '-' || json_extract(l.value, '$.line') AS id, t.id AS source, t.entity, t.subsidiary, t.currency,
  json_extract(l.value, '$.item.id') AS item, json_extract(l.value, '$.amount') AS amount,
  @json_extract(l.value, '$.revRecStartDate') AS revrecstartdate,
  @json_extract(l.value, '$.revRecEndDate') AS revrecenddate
FROM ns_transaction t
JOIN documents d ON d.type = t.record AND d.id = CAST(t.id AS TEXT)
JOIN json_each(CAST(d.body AS TEXT), '$.item.items') l
WHERE t.type = 'CustInvc' AND t.posting = 'T' AND json_extract(CAST(d.body AS TEXT), '$.deferredRevenue') > 0
  AND json_extract(l.value, '$.item.id') IN (SELECT CAST(id AS TEXT) FROM item WHERE revenuerecognitionrule IS NOT NULL)
  AND NOT coalesce(json_extract(l.value, '$.doNotCreateRevenueElement'), 0)
"""
RATE = """
CREATE TEMP VIEW currencyrate AS
SELECT b.code || '-' || t.code || '-' || substr(t.day, 2) AS id, bc.id AS basecurrency, tc.id AS transactioncurrency,
  round(b.per_euro / t.per_euro, 8) AS exchangerate, t.day AS effectivedate, 'ECB' AS source
FROM ns_rate t
JOIN ns_rate b ON b.day = t.day AND b.code <> t.code
JOIN currency bc ON bc.symbol = b.code
JOIN currency tc ON tc.symbol = t.code
UNION ALL
SELECT m.id, bc.id, tc.id, m.rate, m.day, 'manual'
FROM ns_manual_rate m
JOIN currency bc ON bc.symbol = m.base
JOIN currency tc ON tc.symbol = m.code
"""
DELETED = """
CREATE TEMP VIEW deletedrecord AS
SELECT n AS id, record AS recordtypeid, id AS recordid, externalid,
  @replace(replace(at, 'T', ' '), 'Z', '') AS deleteddate
FROM ns_deleted
"""
LEDGER_VIEWS = tuple(
    view.replace("@", "char(2) || ")
    for view in (TRANSACTION, ACCOUNTING_LINE, LINE, LINK, REVENUE_ELEMENT, RATE, DELETED)
)
