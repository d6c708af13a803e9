"""The catalogue of exception kinds: what a controller would print and sign. One row per Problem code.

`same_when` is the fingerprint; `may` the resolutions that are offered; `runbook` what to do, in plain sentences.
Every mapping kind brings its own row (the missing code), so a new mapping kind needs nothing here.
"""

from __future__ import annotations

from exceptions.kind_words import (
    ACCEPT_DIFFERENCE,
    APPLY_OPEN,
    BILLING_OPS,
    CHOOSE_PERIOD,
    CONTROLLERSHIP,
    CORRECT_AT_SOURCE,
    EDIT_FIELDS,
    HIGH,
    LINK,
    LOOK_AGAIN,
    LOW,
    MEDIUM,
    PLATFORM,
    REMAP_AND_REPOST,
    REPLAY_EVENT,
    REPOST,
    RESUME_CONNECTION,
    SALES_OPS,
    URGENT,
    WAIVE,
    WRITE_OFF,
    hours,
)
from exceptions.kind_words import (
    Kind as Kind,
)
from exceptions.operating_kinds import OPERATING
from mappings import kinds as mapping_kinds
from q2c.core.approvals import OVERRIDE
from q2c.core.problems import Category

_PLACE = ("connection", "kind", "key", "legal_entity", "currency", "region", "product_line")
_MAP = (
    "Add the mapping in the form of this case, have a second person approve it; the held documents then post by "
    "themselves."
)

_LISTED = (
    f"{_MAP} Where a rule is there and names what isn't active in the ERP any more, approve another one; or have it "
    "made active there, refresh the ERP's lists, and repost."
)

_OWN_WORDS = {
    "missing_item_mapping": _LISTED,
    "missing_tax_code_mapping": _LISTED,
    "no_system_for_role": "Say in the form of this case which connection takes it and from which day on; a second "
    "person approves, and the held documents go there by themselves.",
    "customer_unidentified": "Find out who {key} is (order, remittance, the sales person) and map it to a customer "
    "of the ERP; a second person approves.",
    "rate_missing": "Ask treasury for the rate of the posting date, propose it as a manual rate, and have a second "
    "person approve it.",
    "legal_entity_unknown": "Decide which of our entities sells in this currency or country, and map it; a second "
    "person approves.",
    "missing_posting_policy": "Set this entity's policy under Mappings, kind Posting policy; a second person approves.",
}


def _missing(kind: mapping_kinds.Kind) -> Kind:
    says = kind.missing_says.format(system="The ERP", key="{key}", scope="")
    may = (REMAP_AND_REPOST, CORRECT_AT_SOURCE, REPOST)
    runbook = _OWN_WORDS.get(kind.missing_code, _MAP)
    return Kind(kind.missing_code, Category.MAPPING, kind.owner, HIGH, hours(8), _PLACE, may, says, runbook)


V, M, A, R = Category.VALIDATION, Category.MAPPING, Category.AUTHENTICATION, Category.RATE_LIMIT
AV, C, P = Category.AVAILABILITY, Category.CONFLICT, Category.PERIOD_CLOSED
U, D, I = Category.UNKNOWN_OUTCOME, Category.DRIFT, Category.INTERNAL  # noqa: E741

_FIX = (CORRECT_AT_SOURCE, REPOST)
_FIX_OR_WAIVE = (CORRECT_AT_SOURCE, REPOST, WAIVE)

_MAPPING = (
    *(_missing(kind) for kind in mapping_kinds.KINDS),
    Kind("mapping_ambiguous", M, BILLING_OPS, HIGH, hours(8), ("kind", "key", "rules"), (REMAP_AND_REPOST,),
         "Two rules both answer {key}", "Open both rules, retire one or make one more specific, and have it approved."),
    Kind("mapping_target_gone", M, BILLING_OPS, HIGH, hours(8), _PLACE, (REMAP_AND_REPOST,),
         "What {key} becomes isn't active in {connection} any more",
         "No document has failed on it yet. Choose another target in the form of this case and have a second person "
         "approve it, or have the entry made active again in the ERP and refresh its lists: the case then closes."),
    Kind("vendor_reference_refused", M, BILLING_OPS, HIGH, hours(8), ("connection", "error", "field", "key", "wording"),
         (REMAP_AND_REPOST, CORRECT_AT_SOURCE, REPOST), "{connection} doesn't know what we referred to",
         "The target doesn't take what we named: an id that a mapping gave, or a currency or subsidiary that its own "
         "record lacks. Correct the rule here or the record there, which may be inactive, then repost. A customer that "
         "was deleted there is re-pointed in the cross-references by two people, to the one that stands in for it; or "
         "unlinked, and saved again in billing, which makes it anew.", True),
)  # fmt: skip

_DOCUMENT = (
    Kind("out_of_balance", V, BILLING_OPS, HIGH, hours(8), ("connection", "document"), _FIX_OR_WAIVE,
         "The lines of {document} don't add up to its total",
         "Compare lines, tax and total in billing; correct there, then re-read."),
    Kind("rounding_over_limit", V, BILLING_OPS, MEDIUM, hours(8), ("connection", "document"),
         (CORRECT_AT_SOURCE, REPOST), "Rounding of {document} is over the limit",
         "Find the line whose unrounded amount is off, or raise the limit by policy."),
    Kind("revenue_treatment", V, CONTROLLERSHIP, HIGH, hours(8), ("sku", "legal_entity"), (EDIT_FIELDS, *_FIX),
         "SKU {sku} defers revenue, and has no service dates",
         "Give the line its service period in billing, or here with a second person. If the item shouldn't defer, "
         "correct it in the ERP; if such lines are earned on their own date, say so in the posting policy "
         "(missing_service_dates); then repost."),
    Kind("negative_price", V, BILLING_OPS, MEDIUM, hours(24), ("connection", "sku"), _FIX_OR_WAIVE,
         "SKU {sku} has a negative price",
         "Ask whether this is a credit or an adjustment. If it's bad debt it isn't revenue: waive it here with that "
         "reason, and let the write-off be booked as one."),
    Kind("price_differs", V, SALES_OPS, MEDIUM, hours(24), ("connection", "sku", "currency"),
         (CORRECT_AT_SOURCE, OVERRIDE, REPOST), "SKU {sku} was sold at another price than the price book's",
         "Ask sales whether the discount was approved; correct the order, or override."),
    Kind("order_changed_after_won", C, SALES_OPS, HIGH, hours(8), ("connection", "order"),
         (CORRECT_AT_SOURCE, WAIVE), "An order was changed after it became a subscription",
         "The subscription stays as it was sold. Amend it in billing (or by an amendment opportunity) and waive this, "
         "or put the order back in the CRM."),
    Kind("order_incomplete", V, SALES_OPS, MEDIUM, hours(24), ("connection", "document"), _FIX,
         "Order {document} lacks something",
         "Complete the opportunity or its quote in Salesforce; saving it there reads it again."),
    Kind("line_term_differs", V, SALES_OPS, HIGH, hours(8), ("connection", "document"), _FIX_OR_WAIVE,
         "SKU {sku} is sold for another term than its order",
         "Billing bills every recurring line for the order's whole term, from its first day to its last. Give the line "
         "the order's term and dates in Salesforce, or sell it in an order of its own; saving it there reads it again. "
         "If it's right as it is (a ramp, a shorter line), make the subscription in billing by hand, then waive this."),
    Kind("customer_without_name", V, BILLING_OPS, MEDIUM, hours(24), ("connection", "customer"), _FIX,
         "Customer {customer} has no name", "Name the customer in billing; saving it there reads it again."),
    Kind("subscription_not_active", C, SALES_OPS, HIGH, hours(8), ("connection", "subscription"), (REPOST, WAIVE),
         "Subscription {subscription} ended before it was active",
         "Ask billing why it ended. Waive if the customer withdrew; otherwise repair it there and repost."),
    Kind("two_target_systems", V, CONTROLLERSHIP, HIGH, hours(8), ("connection", "document"), _FIX_OR_WAIVE,
         "The lines of {document} go to two systems",
         "Rules send its product lines to different systems, and a document stands in one ledger. Split it in billing, "
         "or give its product lines one system by a rule; then repost."),
    Kind("posted_differently", C, CONTROLLERSHIP, URGENT, hours(2), ("connection", "document"),
         (REPOST, LOOK_AGAIN, OVERRIDE), "{document} is booked otherwise than was sent",
         "Compare both in the ERP. What its people may still put right (a number, an application), they put right "
         "there; a repost reads it again and passes once both agree. What is posted for good stays: correct it by a "
         "document of its own, and let two people accept it as it is."),
    Kind("account_hierarchy", V, SALES_OPS, MEDIUM, hours(24), ("connection", "account"), _FIX,
         "The account hierarchy of {account} runs in a circle or is broken",
         "Correct the parent account in Salesforce."),
    Kind("customer_without_address", V, SALES_OPS, MEDIUM, hours(24), ("connection", "customer"), _FIX,
         "{customer} has no usable address", "Add the billing address in the source system."),
    Kind("unknown_feed_prefix", V, BILLING_OPS, MEDIUM, hours(24), ("connection", "prefix"),
         (CORRECT_AT_SOURCE, WAIVE, REPOST), "The prefix {prefix} of the feed's number is unknown",
         "Ask the feed's owner what it means. A bad-debt adjustment isn't revenue: waive it here with that reason."),
    Kind("credit_without_invoice", V, BILLING_OPS, MEDIUM, hours(24), ("connection", "document"), _FIX_OR_WAIVE,
         "{document} credits an invoice that we don't know",
         "Find the original; if it was posted outside, link it, then repost."),
    Kind("balance_without_document", V, BILLING_OPS, MEDIUM, hours(24), ("connection", "document"), _FIX_OR_WAIVE,
         "{document} used credit that no document gave",
         "Somebody changed the customer's balance by hand. Settle the invoice in the ERP by a document of its own, "
         "then waive with its number; have credit given by credit notes."),
    Kind("payout_unexplained", V, BILLING_OPS, HIGH, hours(8), ("connection", "document"), _FIX_OR_WAIVE,
         "The movements of payout {document} don't explain it",
         "Compare the payout with the gateway's own balance report. A kind of movement that nobody carries needs a "
         "journal by hand, and so does a payout that was asked for by hand, with the fees of what it paid out: post "
         "it in the ERP, then waive with its number. Payouts on the gateway's own schedule name their movements."),
    Kind("payout_of_several_entities", V, CONTROLLERSHIP, HIGH, hours(8), ("connection", "legal_entity"),
         _FIX_OR_WAIVE, "Payout {document} pays out the cash of {legal_entity}",
         "Name the owner of the gateway account under Connections and settle the other entities' part between them, "
         "or let the gateway pay out each entity's cash by itself; then repost."),
    Kind("uncollectible_proposed", C, CONTROLLERSHIP, MEDIUM, hours(24), ("connection", "document"),
         (WRITE_OFF, ACCEPT_DIFFERENCE, REPLAY_EVENT, WAIVE), "Billing gave up {document}",
         "Billing's word is only a proposal. Write off here what the ERP has open of the invoice, or accept it as a "
         "difference where it's small; a second person agrees, and the ERP gets a document of its own. Or have it "
         "collected, and waive this with what was decided."),
    Kind("open_amount_moved", C, CONTROLLERSHIP, HIGH, hours(8), ("connection", "document"),
         (WRITE_OFF, ACCEPT_DIFFERENCE, REPOST, WAIVE),
         "Of {document} another amount is open than was to be taken off",
         "Somebody paid, credited or wrote it off meanwhile, so nothing was posted. Decide anew on what is left: that "
         "takes the place of what was decided before. Or put it right in the ERP, then repost; or waive this with the "
         "reason."),
    Kind("open_amount_exceeded", C, BILLING_OPS, HIGH, hours(8), ("connection", "document"),
         (APPLY_OPEN, REPOST, WAIVE),
         "Less of {document} is open in the ERP than is to be applied or taken back",
         "A write-off, a payment or a credit stands on it there. Where that is wrong, reverse it there, then repost. A "
         "payment may be applied to what is open, and its rest stays on account: a second person agrees. Waive what is "
         "settled by hand."),
    Kind("plan_moved", C, CONTROLLERSHIP, HIGH, hours(8), ("connection", "document"), (REPOST, WAIVE),
         "What was agreed about {document} isn't there any more",
         "Somebody paid, credited or corrected it meanwhile, or a mapping changed, so its plan stands still. Put it "
         "right in the ERP, then repost: the plan goes on where it stands. Or waive this with the reason, and propose "
         "a new plan from the document's page."),
    Kind("plan_half_done", C, CONTROLLERSHIP, HIGH, hours(8), ("connection", "document"), (REPOST, WAIVE),
         "A plan about {document} was given up half way",
         "It had taken the document back in the ERP already, so this would take the same back twice. Take the plan up "
         "again in the case that gave it up, let it finish, and repost this: it then finds what stands. Or post what "
         "was missing by hand, point the record at it under Cross-references with a second person, and repost. Where "
         "nothing is left to take back, waive this."),
    Kind("unsupported_document", V, BILLING_OPS, MEDIUM, hours(24), ("connection", "prefix"),
         (CORRECT_AT_SOURCE, WAIVE, REPOST), "We don't carry documents like {document}",
         "Ask the feed's owner what it means; waive with the reason, or have it sent properly."),
    Kind("posting_rejected", V, CONTROLLERSHIP, HIGH, hours(8), ("connection", "document"),
         (EDIT_FIELDS, *_FIX_OR_WAIVE),
         "The posting of {document} was rejected",
         "Read why, and correct the document at its source or a mapping; a repost asks for approval again."),
    Kind("hold_not_told", V, PLATFORM, LOW, hours(24), ("connection",), (CORRECT_AT_SOURCE, REPOST, WAIVE),
         "{connection} doesn't take our notes of what holds its documents",
         "The documents themselves aren't concerned. Read the vendor's sentence below: give our user the right to "
         "write (in Salesforce the fields Q2C_Hold__c, Q2C_Hold_Message__c and Q2C_Hold_Case__c), then repost; or set "
         "tells_holds to no under Connections, and waive this."),
    Kind("vendor_refused", V, BILLING_OPS, HIGH, hours(8), ("connection", "error", "field", "wording"),
         (EDIT_FIELDS, *_FIX_OR_WAIVE),
         "{connection} refused the document",
         "Read the vendor's sentence below; correct the field it names at the source, then repost.", True),
)  # fmt: skip

_PERIOD = (
    Kind("period_closed", P, CONTROLLERSHIP, HIGH, hours(4), ("subsidiary", "period"), (CHOOSE_PERIOD, REPOST, WAIVE),
         "{period} is closed in {subsidiary}",
         "Choose below: post in the next open period, accrue beside it what was earned, or ask for a reopening; a "
         "second person agrees. Whichever it is, the documents then post by themselves. Repost what the ERP’s people "
         "have made way for already."),
    Kind("posted_in_other_period", D, CONTROLLERSHIP, HIGH, hours(4), ("connection", "document"),
         (LOOK_AGAIN, OVERRIDE), "{document} was posted in another period than asked for",
         "The ERP moved it. Reverse it there and post it in the period asked for; then look again. Or two people "
         "accept the period that it took."),
    Kind("forgotten_document", D, CONTROLLERSHIP, URGENT, hours(2), ("connection", "external_id"), (CORRECT_AT_SOURCE,),
         "{document} stands in {connection}, and we know nothing of it",
         "The database was restored from a backup that is older than this document. Find its source by the external "
         "id; save it there, so that we read it again. What people had decided is decided again here, and finds it. "
         "Reverse the document if nobody knows it."),
)  # fmt: skip

_OUTCOME = (
    Kind("outcome_unknown", U, BILLING_OPS, URGENT, hours(2), ("connection", "document"), (LOOK_AGAIN, LINK),
         "{connection} didn't answer for {document}: nobody knows yet whether it was posted",
         "It's never sent again on suspicion. Look again: what is found is linked, and only what the target proves "
         "absent is sent. If it stays undecided, search there for its number and link what you find."),
    Kind("document_exists_differs", C, BILLING_OPS, URGENT, hours(2), ("connection", "document"),
         (LOOK_AGAIN, LINK, CORRECT_AT_SOURCE), "{document} exists in {connection} with other content",
         "Somebody posted it by hand or changed it. Reverse there, or link it."),
    Kind("cross_reference_conflict", C, BILLING_OPS, HIGH, hours(8), ("connection", "external_type", "external_id"),
         (REPOST, OVERRIDE), "{record} is stored as another one of {connection} than {external_id}",
         "It was made there, and somebody linked or made another one meanwhile. Decide which is right. Point the "
         "record at {external_id} under Cross-references with a second person, and repost; or let two people leave it "
         "as it’s stored. Either way reverse or end the other one in {connection}."),
    Kind("made_beside", C, BILLING_OPS, MEDIUM, hours(24), ("connection", "external_type", "external_id"), (WAIVE,),
         "{external_id} was made in {connection} beside what its record is there",
         "Its record was merged, or linked to another one there, while this was on its way. What comes later goes "
         "where the record leads; what was sold or posted under {external_id} stays with it. If nothing stands on it, "
         "have it deleted or made inactive in {connection}; else merge both there, or point the record at it under "
         "Cross-references with a second person. Then waive this with what was done."),
    Kind("document_exists", C, BILLING_OPS, URGENT, hours(2), ("connection", "document"),
         (LOOK_AGAIN, LINK, CORRECT_AT_SOURCE), "{connection} says that {document} exists already",
         "Look at what is there. If it's ours, looking again finds and links it. If somebody typed it in, link it "
         "where every figure is the same; otherwise reverse that one."),
    Kind("conflict", C, BILLING_OPS, MEDIUM, hours(8), ("connection", "error", "wording"), (REPOST, CORRECT_AT_SOURCE),
         "{connection} says that the record changed meanwhile", "Repost: it reads again before it writes.", True),
    Kind("record_busy", C, PLATFORM, MEDIUM, hours(4), ("connection", "error"), (REPOST,),
         "Records of {connection} stay busy",
         "Something there holds them for long: a mass update, a job, a trigger. Each was tried several times, minutes "
         "apart. Find out what holds them, or lower the connection's concurrency; then repost."),
    Kind("target_gone", M, BILLING_OPS, MEDIUM, hours(24), ("connection", "document"),
         (CORRECT_AT_SOURCE, REPOST, WAIVE), "{document} names a record that {connection} hasn't got",
         "It was deleted or merged there. Have it restored, or let the source name another one, then repost; where it "
         "was deleted on purpose, waive with that reason.", True),
    Kind("duplicate_refused", C, SALES_OPS, MEDIUM, hours(24), ("connection", "document"),
         (CORRECT_AT_SOURCE, REPOST, WAIVE), "{connection} takes what {document} names for a duplicate",
         "Several records there answer to it, or one looks like it. Merge them there, or have its duplicate rule let "
         "this one pass; then repost."),
    Kind("duplicate_suspected", C, BILLING_OPS, MEDIUM, hours(24), ("connection", "customer"),
         (CORRECT_AT_SOURCE, REPOST, WAIVE), "{customer} looks like one that we know",
         "Open each pair below and say whether they are one or two. That they are one a second person confirms. Then "
         "what is held goes on by itself; so it does once they are merged in the system of record."),
    Kind("update_refused", C, BILLING_OPS, MEDIUM, hours(24), ("connection", "record", "field"),
         (WAIVE,), "{connection} says another {field} of a record, which isn't its to say",
         "The surviving value stays. Compare both on the record's page under Cross-references: have it corrected in "
         "the system that owns the field, or propose there to let this value stand; then close this with what was "
         "decided."),
    Kind("idempotency_key_reused", C, PLATFORM, HIGH, hours(4), ("connection", "document"), (REPOST,),
         "{connection} saw our key of {document} with another content",
         "Nothing was sent twice. Find out what changed between the attempts."),
)  # fmt: skip

_SYSTEM = (
    Kind("credentials_refused", A, PLATFORM, URGENT, hours(1), ("connection",), (RESUME_CONNECTION,),
         "{connection} refused our credentials",
         "Renew the credential under Connections (or have its administrator let us in: its API may be off, or our "
         "address not allowed), test it, then resume; what waits goes on by itself."),
    Kind("system_unavailable", AV, PLATFORM, MEDIUM, hours(4), ("connection",), (REPOST,),
         "{connection} can't be reached",
         "Look at the vendor's status page. Work waits and goes on by itself; repost what gave up."),
    Kind("rate_limited", R, PLATFORM, MEDIUM, hours(4), ("connection",), (REPOST,), "{connection} asks us to slow down",
         "Lower the connection's concurrency or ask the vendor for a higher limit; then repost."),
    Kind("answer_not_understood", AV, PLATFORM, HIGH, hours(4), ("connection", "error"), (REPOST,),
         "{connection} answered something that we don't understand",
         "Read the raw answer; a proxy or maintenance page is the usual cause."),
    Kind("dependency_overdue", V, BILLING_OPS, MEDIUM, hours(8), ("awaits",), (REPOST, CORRECT_AT_SOURCE, WAIVE),
         "What others wait for should have been done by now",
         "Open what it waits for; if that is held, solve it there: this one follows by itself."),
    Kind("feed_gap", D, BILLING_OPS, HIGH, hours(8), ("connection", "stream"), (REPLAY_EVENT, WAIVE),
         "Numbers are missing in the feed of {connection}",
         "Ask the source for the missing documents, or read the stream again. Waive it to go on behind the gap: "
         "what is missing then stays missing, unless a webhook brings it."),
    Kind("list_unread", D, PLATFORM, HIGH, hours(8), ("connection", "list"), (WAIVE,),
         "A list of {connection} can't be read whole: {list}",
         "The list that was read before counts until it can be read again, and the case closes by itself then. Of one "
         "that has grown too long, ask the system's administrator to archive what nobody uses any more. One that came "
         "empty is a lost permission or a fault there; waive this if nothing is left of it, and the next reading "
         "believes it."),
    Kind("stream_unread", D, PLATFORM, HIGH, hours(4), ("connection", "stream"), (WAIVE,),
         "{connection} doesn't let us read {stream}",
         "Give the integration role the permission that the vendor names. It's read on by itself, and this closes."),
    Kind("feed_incomplete", D, BILLING_OPS, HIGH, hours(4), ("connection", "document_type", "day", "legal_entity"),
         (WAIVE,), "{connection} and we don't have the same {document_type} documents of {day}",
         "Open Completeness: it names each document. What is missing was asked for again by itself, and the case "
         "closes when both agree. What the source doesn't know, or says otherwise, a person has to explain: correct it "
         "at the source, or waive it with the reason."),
    Kind("bill_run_rejected", C, BILLING_OPS, HIGH, hours(8), ("connection", "legal_entity", "run"), (WAIVE,),
         "{legal_entity} rejected bill run {run} of {connection}",
         "Have the documents voided or corrected where they were billed: customers may have them already. What is "
         "issued again comes as a run of its own. Waive this with what was done; what was given up stays on the list "
         "of open items."),
    Kind("number_missing", D, BILLING_OPS, LOW, hours(24), ("connection", "document_type", "series"), (WAIVE,),
         "A number is missing in the series {series} of {connection}",
         "Neither the source nor we have a document of this number. Ask billing what became of it (auditors will), and "
         "waive it with the answer. The case closes by itself should the document appear."),
    Kind("feed_quiet", D, PLATFORM, HIGH, hours(2), ("connection", "document_type"), (WAIVE,),
         "{connection} brings fewer {document_type} documents than usual",
         "Look at the source and at its webhooks under Connections. Ask the register again on Completeness: what it "
         "lists and we lack is read by itself. The case closes when as many come as usual."),
    Kind("entity_quiet", D, PLATFORM, HIGH, hours(2), ("connection", "document_type", "legal_entity"), (WAIVE,),
         "{connection} brings fewer {document_type} of {legal_entity} than usual",
         "Other entities’ documents come, so the connection itself works: look at what the source does for this one (a "
         "bill run that failed, a customer or a product that moved to another entity, an own webhook or account). Ask "
         "the register again on Completeness. The case closes when as many come as usual."),
    Kind("unexpected_error", I, PLATFORM, URGENT, hours(2), ("flow", "step", "error"), (REPOST,), "A bug of ours",
         "Read the trace, mend the cause, release, then repost. Nothing was lost."),
    Kind("quarantined", I, PLATFORM, URGENT, hours(2), ("flow", "step"), (REPOST,),
         "A worker died on this three times while it was alone",
         "Look at memory and at the document's size before you repost it."),
    Kind("address_refused", V, PLATFORM, URGENT, hours(1), ("connection",), (REPOST,),
         "The address of {connection} isn't one that we may dial",
         "A private, foreign or redirected address. Correct it under Connections; a second person approves."),
    Kind("vendor_permission", A, PLATFORM, HIGH, hours(2), ("connection", "error", "wording"),
         (REPOST, REPLAY_EVENT, WAIVE), "{connection} doesn't permit what we asked",
         "Give the integration role the permission that the vendor names; then repost, or replay what wasn’t read."),
)  # fmt: skip

_INBOX = (
    Kind("malformed_event", V, PLATFORM, MEDIUM, hours(8), ("connection", "event_type"), (REPLAY_EVENT, WAIVE),
         "{connection} sent an event that can't be read",
         "Compare the raw body with the vendor's schema; replay when the reader is mended."),
    Kind("gone", I, PLATFORM, MEDIUM, hours(8), ("connection",), (WAIVE,),
         "A message of {connection} that was to be read again isn't kept any more",
         "Its month was let go, only its key is left. See at the source what it said, and waive this with it."),
    Kind("erased", I, PLATFORM, MEDIUM, hours(8), ("connection",), (WAIVE,),
         "A message of {connection} that was to be read again is of a customer who was erased",
         "Its key was destroyed with theirs, so nobody can read it. A document that it brought and that we lack is "
         "named by Completeness, with its amount: what to do about it is decided there. See at the source what the "
         "message said, and waive this with it."),
    Kind("unknown_event", V, PLATFORM, LOW, hours(24), ("connection", "event_type"), (REPLAY_EVENT, WAIVE),
         "{connection} sent {event_type}, which nobody has declared",
         "Declare it in the vendor's manifest, as meant or ignored; then replay."),
    Kind("movement_undated", V, BILLING_OPS, HIGH, hours(8), ("connection", "document"), (WAIVE, REPLAY_EVENT),
         "Nobody says when {document} went through",
         "Its event never reached us, and the gateway keeps events for a month only; its own dates are of the day on "
         "which it was begun, which for a debit is days before. Look in the gateway's dashboard on which day it went "
         "through, book it by hand in that day's period, then waive this with the number."),
    Kind("record_gone", V, BILLING_OPS, MEDIUM, hours(24), ("connection", "document"), (WAIVE, REPLAY_EVENT),
         "{document} was deleted at its source", "Ask why; if it was posted, a correcting document is due."),
    Kind("schema_drift", M, PLATFORM, HIGH, hours(8), ("connection", "path", "field", "wording"),
         (REPLAY_EVENT, CORRECT_AT_SOURCE), "{connection} changed the field {path}",
         "The vendor sends it missing, renamed or with another type; adapt the reader, then replay."),
)  # fmt: skip

_CONTROL = (
    Kind("approval_attempt_after_reset", A, PLATFORM, URGENT, hours(1), ("person",), (WAIVE,),
         "{person} tried to approve within 24 hours of a new password",
         "Ask the person by telephone whether it was them. If not, lock the account and review what it did."),
    Kind("approver_has_new_password", A, PLATFORM, HIGH, hours(4), ("person", "since"), (WAIVE,),
         "{person}, who may approve, signs in by something new since {since}",
         "Ask the person by telephone whether they wanted it. They can approve again after 24 hours."),
    Kind("audit_not_anchored", I, PLATFORM, URGENT, hours(4), ("file",), (WAIVE,),
         "The audit chain isn't anchored in {file}",
         "What was done since could be cut off unseen. See that the volume of Q2C_ANCHOR_FILE is there, has room, and "
         "that the worker of reconciliation may add to the file; its log has the error of each minute. After a restore "
         "say so by manage.py restored. The case closes by itself once the newest entry is anchored."),
    Kind("archive_failed", I, PLATFORM, HIGH, hours(8), ("directory",), (WAIVE,),
         "Months couldn't be archived in {directory}",
         "Nothing is lost: the month stays. See that Q2C_ARCHIVE names a directory with room that the workers may "
         "write to. It's tried again daily (Schedules, Drop expired months), and the case closes by itself."),
    Kind("archive_damaged", D, PLATFORM, URGENT, hours(2), ("archive",), (WAIVE,), "The archive {archive} isn't whole",
         "Put both of its files back from the copy of the archive's directory, then check it again on the screen "
         "Keeping: the case closes by itself. Somebody may have changed them, so find out who could."),
)  # fmt: skip

KINDS: tuple[Kind, ...] = (*_MAPPING, *_DOCUMENT, *_PERIOD, *_OUTCOME, *_SYSTEM, *OPERATING, *_INBOX, *_CONTROL)
BY_CODE = {kind.code: kind for kind in KINDS}


def kind_of(code: str) -> Kind:
    """The row of a code. A code without a row is a bug of ours, so it gets that one: nothing may go unseen."""
    return BY_CODE.get(code, BY_CODE["unexpected_error"])


def is_known(code: str) -> bool:
    """Whether the catalogue has this code."""
    return code in BY_CODE
