"""Who may open what: a table of every address, the roles that it lets in, and what the others get."""

import hashlib
import uuid

import pytest
from django.apps import apps
from django.db import connection
from django.test import Client
from django.urls import get_resolver, reverse
from django_celery_beat.models import IntervalSchedule, PeriodicTask

from exceptions import bulk
from q2c.core.models import Person
from q2c.core.roles import ROLES
from tests import factories

pytestmark = pytest.mark.django_db

SALES, BILLING, MAPPING, CONTROLLER, PLATFORM, AUDITOR, EMERGENCY, FACING = (role.code for role in ROLES)
STAFF = {SALES, BILLING, MAPPING, CONTROLLER, PLATFORM, AUDITOR}
ALL = STAFF | {EMERGENCY}
QUEUE = {BILLING, MAPPING, CONTROLLER, AUDITOR}  # who sees the billing queue; the others get 404 for its cases

# address name: (method, arguments, roles that are let in, what those get)
SCREENS = {
    "portal:home": ("get", [], ALL, 200),
    "mappings:targets": ("get", [], {BILLING, MAPPING, CONTROLLER, PLATFORM}, 404),  # they name no kind here
    "portal:search": ("get", [], ALL, 200),
    "portal:transaction_list": ("get", [], ALL, 200),
    "portal:transaction_detail": ("get", ["transaction"], ALL, 200),
    "portal:plan_detail": ("get", ["transaction"], ALL, 200),
    "portal:plan_propose": ("post", ["transaction"], {SALES, BILLING, CONTROLLER, PLATFORM}, 422),
    "portal:posting": ("get", ["transaction"], ALL, 404),  # that one has built no journal
    "portal:exchange": ("get", ["transaction", "exchange"], ALL, 200),
    "portal:lineage": ("get", [], ALL, 200),
    "portal:event_list": ("get", [], ALL, 200),
    "portal:event_detail": ("get", ["event"], ALL, 200),
    "portal:event_replay": ("post", ["event"], {SALES, BILLING, PLATFORM}, 422),
    "portal:decision_list": ("get", [], ALL, 200),
    "portal:decision_detail": ("get", ["proposal"], ALL, 200),
    "portal:decision_sign": ("post", ["proposal"], {CONTROLLER, PLATFORM}, 422),
    "portal:decision_withdraw": ("post", ["proposal"], ALL, 422),  # it's somebody else's
    "portal:emergency_list": ("get", [], ALL, 200),
    "portal:emergency_detail": ("get", ["emergency"], ALL, 200),
    "portal:emergency_review": ("post", ["emergency"], {CONTROLLER}, 422),
    "portal:schedule_list": ("get", [], ALL, 200),
    "portal:backfill_list": ("get", [], ALL, 200),
    "portal:backfill_new": ("get", [], {SALES, BILLING, PLATFORM}, 200),
    "portal:backfill_detail": ("get", ["backfill"], ALL, 200),
    "portal:backfill_start": ("post", ["backfill"], {SALES, BILLING, PLATFORM}, 422),
    "portal:backfill_cancel": ("post", ["backfill"], {SALES, BILLING, PLATFORM}, 422),
    "portal:backfill_turn": ("post", ["backfill", "verb"], {SALES, BILLING, PLATFORM}, 302),
    "portal:backfill_export": ("get", ["backfill"], ALL, 200),
    "portal:bill_run_list": ("get", [], ALL, 200),
    "portal:bill_run_detail": ("get", ["bill_run"], ALL, 200),
    "portal:bill_run_decide": ("post", ["bill_run", "act"], {BILLING, CONTROLLER}, 422),
    "portal:pause_list": ("get", [], ALL, 200),
    "portal:pause_new": ("post", [], {PLATFORM}, 422),
    "portal:pause_resume": ("post", ["pause"], {PLATFORM}, 422),
    "portal:keeping": ("get", [], {CONTROLLER, PLATFORM, AUDITOR}, 200),
    "portal:keeping_run": ("post", [], {PLATFORM}, 302),
    "portal:hold_list": ("get", [], {CONTROLLER, PLATFORM, AUDITOR}, 200),
    "portal:hold_new": ("get", [], {CONTROLLER, PLATFORM}, 200),
    "portal:hold_detail": ("get", ["hold"], {CONTROLLER, PLATFORM, AUDITOR}, 200),
    "portal:hold_release": ("post", ["hold"], {CONTROLLER, PLATFORM}, 422),
    "portal:erasure_list": ("get", [], {CONTROLLER, PLATFORM, AUDITOR}, 200),
    "portal:archive_list": ("get", [], {CONTROLLER, PLATFORM, AUDITOR}, 200),
    "portal:archive_check": ("post", ["archive"], {PLATFORM}, 302),
    "portal:archived": ("get", [], ALL, 200),
    "portal:archived_download": ("get", ["transaction"], ALL, 404),  # nothing of it is archived
    "portal:schedule_edit": ("get", ["task"], {PLATFORM}, 200),
    "portal:audit_list": ("get", [], STAFF, 200),
    "portal:card": ("get", [], ALL | {FACING}, 200),
    "portal:completeness": ("get", [], ALL, 200),
    "portal:completeness_day": ("get", ["source", "document_type", "on"], ALL, 200),
    "portal:completeness_ask": ("post", ["source", "document_type", "on"], {SALES, BILLING, PLATFORM}, 302),
    "portal:flash": ("get", [], {CONTROLLER, AUDITOR}, 200),
    "portal:operations": ("get", [], {CONTROLLER, PLATFORM, AUDITOR}, 200),
    "portal:operations_flow": ("get", ["flow"], {CONTROLLER, PLATFORM, AUDITOR}, 200),
    "portal:cut_off": ("get", [], {CONTROLLER, AUDITOR}, 200),
    "portal:ignored": ("get", [], {CONTROLLER, AUDITOR}, 200),
    "portal:transaction_reveal": ("post", ["transaction"], {CONTROLLER, PLATFORM}, 422),
    "portal:exchange_reveal": ("post", ["transaction", "exchange"], {CONTROLLER, PLATFORM}, 422),
    "portal:event_reveal": ("post", ["event"], {CONTROLLER, PLATFORM}, 422),
    "portal:person_list": ("get", [], {CONTROLLER, PLATFORM, AUDITOR}, 200),
    "portal:person_detail": ("get", ["person"], {CONTROLLER, PLATFORM, AUDITOR}, 200),
    "portal:rights_of": ("get", ["person"], {CONTROLLER, PLATFORM, AUDITOR}, 200),
    "portal:person_give": ("post", ["person"], {PLATFORM}, 422),
    "portal:grant_end": ("post", ["grant"], {PLATFORM}, 422),
    "portal:role_list": ("get", [], {CONTROLLER, PLATFORM, AUDITOR}, 200),
    "portal:role_detail": ("get", ["role"], {CONTROLLER, PLATFORM, AUDITOR}, 200),
    "portal:role_new": ("get", [], {PLATFORM}, 200),
    "portal:role_change": ("get", ["role"], {PLATFORM}, 200),
    "portal:rights": ("get", [], ALL | {FACING}, 200),
    "portal:here": ("get", [], ALL | {FACING}, 204),
    "portal:you": ("get", [], ALL | {FACING}, 200),
    "portal:absence_list": ("get", [], ALL, 200),
    "portal:absence_end": ("post", ["line"], ALL, 404),  # it's nobody's
    "portal:keys": ("get", [], ALL | {FACING}, 200),
    "exceptions:case_list": ("get", [], STAFF, 200),
    "exceptions:case_news": ("get", [], STAFF, 404),  # it names no instant here
    "exceptions:view_keep": ("post", [], STAFF, 302),
    "exceptions:mention_read": ("post", ["view"], STAFF, 404),
    "exceptions:view_forget": ("post", ["view"], STAFF, 404),
    "exceptions:case_detail": ("get", ["case"], QUEUE, 200),
    "exceptions:case_assign": ("post", ["case"], {BILLING, MAPPING, CONTROLLER}, 303),
    "exceptions:alert_list": ("get", [], STAFF, 200),
    "exceptions:alert_mine": ("get", [], STAFF, 200),
    "exceptions:channel_list": ("get", [], {PLATFORM}, 200),
    "exceptions:channel_edit": ("get", ["channel"], {PLATFORM}, 200),
    "exceptions:channel_test": ("post", ["channel"], {PLATFORM}, 302),
    "exceptions:channel_log": ("get", ["channel"], {PLATFORM}, 200),
    "exceptions:channel_again": ("post", ["channel"], {PLATFORM}, 302),
    "exceptions:delivery_detail": ("get", ["delivery"], {PLATFORM}, 200),
    "exceptions:delivery_again": ("post", ["delivery"], {PLATFORM}, 302),
    "exceptions:case_pause": ("post", ["case"], {BILLING, MAPPING, CONTROLLER}, 422),
    "exceptions:case_resume": ("post", ["case"], {BILLING, MAPPING, CONTROLLER}, 422),
    "exceptions:case_note": ("post", ["case"], {BILLING, MAPPING, CONTROLLER}, 422),
    "exceptions:case_repost": ("post", ["case"], {BILLING, CONTROLLER}, 422),
    "exceptions:case_waive": ("post", ["case"], {CONTROLLER}, 422),
    "exceptions:case_correct": ("post", ["case"], {BILLING, MAPPING, CONTROLLER}, 422),
    "exceptions:case_override": ("post", ["case"], {BILLING, MAPPING, CONTROLLER}, 422),
    "exceptions:case_look": ("post", ["case"], {BILLING, CONTROLLER}, 422),
    "exceptions:case_evidence": ("get", ["case"], QUEUE, 200),
    "exceptions:case_file": ("get", ["case", "file"], {CONTROLLER}, 200),
    "exceptions:case_related": ("get", ["case"], QUEUE, 200),
    "exceptions:evidence_reveal": ("post", ["case"], {CONTROLLER}, 422),
    "exceptions:case_merge": ("post", ["case"], {BILLING, MAPPING, CONTROLLER}, 422),
    "exceptions:case_split": ("post", ["case"], {BILLING, MAPPING, CONTROLLER}, 422),
    "exceptions:case_take_out": ("post", ["case"], {BILLING, MAPPING, CONTROLLER}, 422),
    "exceptions:kind_list": ("get", [], STAFF, 200),
    "exceptions:kind_detail": ("get", ["kind"], STAFF, 200),
    "exceptions:kind_runbook": ("post", ["kind"], STAFF - {AUDITOR}, 422),
    "exceptions:case_remap": ("post", ["case"], {BILLING, MAPPING, CONTROLLER}, 422),
    "exceptions:case_link": ("post", ["case"], {BILLING, CONTROLLER}, 422),
    "exceptions:case_edit": ("post", ["case"], {BILLING, MAPPING, CONTROLLER}, 422),
    "exceptions:case_emergency": ("post", ["case"], {BILLING, MAPPING, CONTROLLER}, 422),
    "exceptions:case_snooze": ("post", ["case"], {BILLING, MAPPING, CONTROLLER}, 422),
    "exceptions:case_wake": ("post", ["case"], {BILLING, MAPPING, CONTROLLER}, 422),
    "exceptions:case_sendback": ("post", ["case"], {BILLING, MAPPING, CONTROLLER}, 422),
    "exceptions:case_take_up": ("post", ["case"], {CONTROLLER}, 422),
    "exceptions:open_items": ("get", [], STAFF, 200),
    "exceptions:case_write_off": ("post", ["case"], {BILLING, MAPPING, CONTROLLER}, 422),
    "exceptions:case_difference": ("post", ["case"], {BILLING, MAPPING, CONTROLLER}, 422),
    "exceptions:case_apply_open": ("post", ["case"], {BILLING, MAPPING, CONTROLLER}, 422),
    "exceptions:case_period": ("post", ["case"], {BILLING, MAPPING, CONTROLLER}, 422),
    "exceptions:sheet_export": ("get", [], STAFF, 200),
    "exceptions:sheet_new": ("get", [], STAFF - {AUDITOR}, 200),
    "exceptions:sheet_detail": ("get", ["sheet"], STAFF - {AUDITOR}, 404),  # it's somebody else's
    "exceptions:sheet_carry": ("post", ["sheet"], STAFF - {AUDITOR}, 404),
    "exceptions:bulk_list": ("get", [], STAFF, 200),
    "exceptions:bulk_freeze": ("post", [], {SALES, BILLING, MAPPING, CONTROLLER, PLATFORM}, 302),  # nothing is chosen
    "exceptions:bulk_detail": ("get", ["bulk"], QUEUE, 200),
    "exceptions:bulk_confirm": ("post", ["bulk"], {BILLING, MAPPING, CONTROLLER}, 404),  # it's somebody else's
    "exceptions:bulk_undo": ("post", ["bulk"], {BILLING, MAPPING, CONTROLLER}, 404),
    "exceptions:bulk_stop": ("post", ["bulk"], {BILLING, MAPPING, CONTROLLER}, 404),
    "exceptions:bulk_again": ("post", ["bulk"], {BILLING, CONTROLLER}, 302),
    "mappings:rule_list": ("get", [], ALL, 200),
    "mappings:rule_detail": ("get", ["rule"], ALL, 200),
    "mappings:propose": ("get", [], {BILLING, MAPPING, CONTROLLER, PLATFORM}, 200),
    "mappings:retire": ("get", ["rule"], {BILLING, MAPPING, CONTROLLER, PLATFORM}, 200),
    "mappings:identity_list": ("get", [], ALL, 200),
    "mappings:identity_find": ("get", [], ALL, 404),  # it names no id here
    "mappings:identity_detail": ("get", ["record_type", "record_key"], ALL, 200),
    "mappings:identity_change": ("get", ["record_type", "record_key"], {BILLING, MAPPING, CONTROLLER}, 200),
    "mappings:field_override": ("get", ["record_type", "record_key"], {BILLING, MAPPING, CONTROLLER}, 404),
    "mappings:duplicate_list": ("get", [], ALL, 200),
    "mappings:duplicate_look": ("post", [], {BILLING, MAPPING, CONTROLLER}, 302),
    "mappings:duplicate_detail": ("get", ["pair"], ALL, 200),
    "mappings:duplicate_decide": ("post", ["pair"], {BILLING, MAPPING, CONTROLLER}, 422),
    "mappings:owner_list": ("get", [], ALL, 200),
    "mappings:rule_export": ("get", [], ALL, 200),
    "mappings:grid": ("get", [], {BILLING, MAPPING, CONTROLLER}, 200),
    "mappings:copy_entity": ("get", [], {BILLING, MAPPING, CONTROLLER}, 200),
    "mappings:renumber": ("get", [], {BILLING, MAPPING, CONTROLLER}, 200),
    "mappings:matrix": ("get", [], ALL, 200),
    "mappings:matrix_take": ("post", [], {BILLING, MAPPING, CONTROLLER}, 404),  # it names no kind here
    "mappings:hints": ("get", [], {BILLING, MAPPING, CONTROLLER}, 404),
    "mappings:lists_refresh": ("post", [], {BILLING, MAPPING, CONTROLLER}, 302),
    "mappings:sheet_new": ("get", [], {BILLING, MAPPING, CONTROLLER}, 200),
    "mappings:sheet_detail": ("get", ["sheet"], {BILLING, MAPPING, CONTROLLER}, 404),  # it's somebody else's
    "mappings:sheet_cancel": ("post", ["sheet"], {BILLING, MAPPING, CONTROLLER}, 404),
    "mappings:sheet_draft": ("post", ["sheet"], {BILLING, MAPPING, CONTROLLER}, 404),
    "mappings:change_set_list": ("get", [], ALL, 200),
    "mappings:change_set_detail": ("get", ["change_set"], ALL, 200),
    "mappings:change_set_sign": ("post", ["change_set"], {MAPPING, CONTROLLER}, 422),
    "mappings:change_set_emergency": ("post", ["change_set"], {EMERGENCY}, 422),
    "mappings:change_set_documents": ("get", ["change_set"], ALL, 200),
    "mappings:change_set_propose": ("post", ["change_set"], {BILLING, MAPPING, CONTROLLER, PLATFORM}, 422),
    "mappings:change_set_evidence": ("post", ["change_set"], {BILLING, MAPPING, CONTROLLER, PLATFORM}, 422),
    "mappings:change_set_withdraw": ("post", ["change_set"], {BILLING, MAPPING, CONTROLLER, PLATFORM}, 422),
    "mappings:change_set_anew": ("post", ["change_set"], {BILLING, MAPPING, CONTROLLER, PLATFORM}, 422),
    "mappings:change_set_remove": ("post", ["change_set", "line"], {BILLING, MAPPING, CONTROLLER, PLATFORM}, 422),
    "connectors:connection_list": ("get", [], ALL, 200),
    "connectors:connection_detail": ("get", ["connection"], ALL, 200),
    "connectors:connection_test": ("post", ["connection"], {PLATFORM}, 302),
    "connectors:connection_pause": ("post", ["connection"], {PLATFORM}, 422),
    "connectors:connection_resume": ("post", ["connection"], {PLATFORM}, 422),
    "connectors:connection_edit": ("get", ["connection"], {PLATFORM}, 200),
}
# Not for people's sessions: each has its own key (signature, token, nothing), proven in tests/api and tests/core.
DOORS = ("healthz", "readyz", "metrics", "webhooks/", "api/v1/", "o/token/", "o/revoke_token/")
OWN_ACCOUNT = "accounts/"  # allauth: the person's own sign-in and second factor; sign-up is closed, see below
ADMIN = "admin/"


def addresses(resolver=None, prefix="", namespace=""):
    """Every address of the portal: (path, name)."""
    for pattern in (resolver or get_resolver()).url_patterns:
        path = prefix + str(pattern.pattern)
        if hasattr(pattern, "url_patterns"):
            yield from addresses(pattern, path, pattern.namespace or namespace)
        else:
            yield path, f"{namespace}:{pattern.name}" if namespace else pattern.name


@pytest.fixture
def things(db):
    """One of each thing that an address may name."""
    factories.make_connection("netsuite")
    held = factories.make_transaction("held")
    case = factories.make_case(transactions=[held], assignee=factories.make_person("billing_ops"))
    done = factories.make_bulk(factories.make_person("billing_ops"), case)
    bulk.undo(done, by=done.made_by)
    every = IntervalSchedule.objects.create(every=30, period="seconds")
    role = factories.make_custom_role("tax_desk", "holds")
    return {
        "transaction": held.pk,
        "exchange": factories.make_exchange(held).id,
        "event": factories.make_message().event_id,
        "proposal": factories.make_proposal().pk,
        "emergency": factories.make_emergency().pk,
        "task": PeriodicTask.objects.create(name="Poll", task="q2c.core.tasks.none", interval=every).pk,
        "case": case.pk,
        "file": factories.make_file(case).pk,
        "bulk": done.pk,
        "kind": "negative_price",
        "backfill": factories.make_backfill(factories.make_person("platform")).pk,
        "verb": "resume",
        "bill_run": factories.make_bill_run().pk,
        "act": "release",
        "pause": factories.make_pause().pk,
        "hold": factories.make_hold(lane="stripe:invoice:in_0", document="INV-0").pk,
        "archive": factories.make_archive().pk,
        "flow": "invoice_to_erp",
        "person": role.person_id,
        "grant": role.pk,
        "role": role.role,
        "channel": factories.make_channel().pk,
        "delivery": factories.make_message_to(factories.make_channel("Close room 2")).pk,
        "rule": factories.make_rule().pk,
        "change_set": factories.make_change_set(state="proposed").pk,
        "line": 1,  # of a set that is proposed: none is taken out
        "connection": "netsuite",
        "source": factories.make_connection("stripe").code,
        "document_type": "invoice",
        "on": "2026-11-01",
        "pair": factories.make_pair(1).pk,
        "record_type": "customer",
        "record_key": factories.make_record("customer", "stripe:customer:cus_1").record_key,
        "view": 0,  # nobody's
        "sheet": factories.make_sheet(factories.make_person("mapping_admin")).pk,
    }


def test_every_address_stands_in_the_table():
    named = {name for path, name in addresses() if not path.startswith((*DOORS, OWN_ACCOUNT, ADMIN))}
    assert named == set(SCREENS)


@pytest.mark.parametrize("role", sorted(ALL))
def test_each_role_gets_what_the_table_says_and_denied_changes_nothing(things, role):
    client = Client()
    client.force_login(factories.make_person(role))
    told = {}
    before = digest()
    for name, (method, wants, roles, _) in SCREENS.items():
        if role not in roles:
            told[name] = getattr(client, method)(reverse(name, args=[things[w] for w in wants])).status_code
    assert digest() == before
    expected = {name: 403 for name, row in SCREENS.items() if role not in row[2]}
    if role in (SALES, PLATFORM):  # they work cases, but not of this queue
        acts = (
            "case_detail",
            "case_assign",
            "case_note",
            "case_repost",
            "case_evidence",
            "case_file",
            "case_related",
            "case_merge",
            "case_split",
            "case_take_out",
            "case_correct",
            "case_override",
            "case_look",
            "case_period",
            "case_write_off",
            "case_difference",
            "case_link",
        )
        acts += (
            "case_pause",
            "case_resume",
            "case_edit",
            "case_snooze",
            "case_wake",
            "case_sendback",
        )
        acts += ("case_emergency", "case_apply_open")
        acts += ("bulk_detail", "bulk_confirm", "bulk_undo", "bulk_stop", "bulk_again")
        acts += ("evidence_reveal",) if role == PLATFORM else ()
        expected |= {f"exceptions:{act}": 404 for act in acts}
    if role == FACING:
        expected["portal:home"] = 302  # it begins at the money card
    assert told == expected
    allowed = {
        name: getattr(client, method)(reverse(name, args=[things[w] for w in wants])).status_code
        for name, (method, wants, roles, _) in SCREENS.items()
        if role in roles
    }
    assert allowed == {name: status for name, (_, _, roles, status) in SCREENS.items() if role in roles}


@pytest.mark.parametrize(
    ("proposes", "signs"),
    [
        ("mappings.propose_rule", "mappings.approve_rule"),
        ("exceptions.work_case", "transactions.approve_posting"),
        ("transactions.repost", "transactions.approve_posting"),
        ("exceptions.work_case", "exceptions.approve_resolution"),
        ("connectors.work_connection", "connectors.approve_connection"),
        ("mappings.propose_policy", "mappings.approve_policy"),
        ("mappings.propose_running", "mappings.approve_rule"),
        ("inbox.run_backfill", "exceptions.approve_resolution"),
        ("core.approve_emergency", "core.review_emergency"),
        ("core.manage_access", "core.approve_access"),
        ("core.propose_keeping", "core.approve_keeping"),
    ],
)
def test_one_person_of_each_role_is_enough_for_two_to_agree(proposes, signs):
    makers = {role.code for role in ROLES if proposes in role.may}
    checkers = {role.code for role in ROLES if signs in role.may}
    assert any(maker != checker for maker in makers for checker in checkers)


def test_a_stranger_is_asked_to_sign_in_and_changes_nothing(things, client):
    before = digest()
    for name, (method, wants, _, _) in SCREENS.items():
        response = getattr(client, method)(reverse(name, args=[things[w] for w in wants]))
        assert (name, response.status_code, response["Location"].split("?")[0]) == (name, 302, "/accounts/login/")
    assert digest() == before


def test_somebody_without_a_role_is_let_in_nowhere(things):
    client = Client()
    client.force_login(factories.make_person("", username="nobody"))
    for name, (method, wants, _, _) in SCREENS.items():
        assert getattr(client, method)(reverse(name, args=[things[w] for w in wants])).status_code == 403


def test_only_get_reads_and_only_post_changes(things, client):
    client.force_login(factories.make_person("platform"))
    for name, (method, wants, _, _) in SCREENS.items():
        if method == "post":
            assert client.get(reverse(name, args=[things[w] for w in wants])).status_code == 405, name


def test_foreign_and_made_up_ids_are_not_found(things):
    client = Client()
    client.force_login(factories.make_person("controller"))
    strange = {name: uuid.uuid4() if isinstance(value, uuid.UUID) else 999999 for name, value in things.items()}
    strange["connection"] = strange["kind"] = "no-such"
    strange["record_type"] = "customer"
    for name, (method, wants, roles, _) in SCREENS.items():
        if wants and CONTROLLER in roles:
            assert getattr(client, method)(reverse(name, args=[strange[w] for w in wants])).status_code == 404, name


def test_the_admin_is_for_superusers_only_and_never_for_governed_tables(things, client):
    for role in sorted(ALL):
        client.force_login(factories.make_person(role, is_staff=True))
        assert client.get("/admin/").status_code == 302
    client.force_login(Person.objects.create_superuser("root", password=factories.PASSWORD))
    assert client.get("/admin/").status_code == 200
    governed = (
        "mappings/mappingrule", "mappings/changeset", "exceptions/exceptioncase", "connectors/connection",
        "transactions/businesstransaction", "core/proposal", "core/signature", "core/auditentry",
    )  # fmt: skip
    for label in governed:
        assert client.get(f"/admin/{label}/").status_code == 404, label


def test_the_admin_has_no_sign_in_of_its_own(client, db):
    """Django's asks for no second factor, and nothing slows who guesses there."""
    Person.objects.create_superuser("root", password=factories.PASSWORD)
    answer = client.post("/admin/login/?next=/admin/core/", {"username": "root", "password": factories.PASSWORD})
    assert (answer.status_code, answer["Location"]) == (302, "/accounts/login/?next=/admin/core/")
    assert "_auth_user_id" not in client.session
    client.force_login(factories.make_person("controller", is_staff=True))
    assert client.post("/admin/login/", {"username": "root", "password": factories.PASSWORD}).status_code == 403


def test_sign_up_is_closed(client, db):
    before = Person.objects.count()
    wanted = {"username": "me", "password1": factories.PASSWORD, "password2": factories.PASSWORD}
    answer = client.post("/accounts/signup/", wanted)
    assert answer.status_code == 200
    assert "closed" in answer.content.decode().lower()
    assert Person.objects.count() == before


def test_the_sign_in_form_takes_login_and_password(client, db):
    factories.make_person("controller", username="cora")
    assert client.post("/accounts/login/", {"login": "cora", "password": "wrong one"}).status_code == 200
    assert client.get("/").status_code == 302
    answer = client.post("/accounts/login/", {"login": "cora", "password": factories.PASSWORD})
    assert (answer.status_code, answer["Location"]) == (302, "/")
    assert client.get("/").status_code == 200


def digest():
    """A hash over every row of the portal's tables; sessions and logins aside."""
    whole = hashlib.sha256()
    rooms = {
        "core",
        "inbox",
        "records",
        "outbox",
        "transactions",
        "reconciliation",
        "connectors",
        "mappings",
        "exceptions",
    }
    tables = sorted(m._meta.db_table for m in apps.get_models() if m._meta.app_label in (*rooms, "django_celery_beat"))
    with connection.cursor() as cursor:
        for table in tables:
            cursor.execute(
                f"SELECT coalesce(md5(string_agg(md5(t::text), '' ORDER BY md5(t::text))), '') FROM \"{table}\" t"
            )
            whole.update(f"{table}{cursor.fetchone()[0]}".encode())
    return whole.hexdigest()
