"""The role that the portal runs as can't change what is append-only, whatever it switches off in its session."""

import pytest
from django.apps import apps
from django.db import DatabaseError, connection, transaction

from q2c.core.grants import append_only_tables, changeable_columns, grant_app_role, undeletable_tables
from q2c.core.models import Proposal, Signature
from q2c.core.partitions import month_partition_sql
from tests import factories

pytestmark = pytest.mark.django_db
ROLE = "q2c_app"
APPEND_ONLY = append_only_tables()


BY_A_TRIGGER = "P0001"


@pytest.fixture
def proposal(db):
    """Something proposed, made while the session is still the owner's."""
    return factories.make_proposal()


@pytest.fixture
def as_app(db):
    """The session continues as the portal's role, with pgtrigger's triggers switched off as any session may."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [ROLE])
        if not cursor.fetchone():
            cursor.execute(f"CREATE ROLE {ROLE}")
        grant_app_role(ROLE)
        cursor.execute(f"SET LOCAL ROLE {ROLE}")
        cursor.execute("SELECT array_agg(DISTINCT tgname) FROM pg_trigger WHERE starts_with(tgname, 'pgtrigger')")
        names = cursor.fetchone()[0]
        cursor.execute("SELECT set_config('pgtrigger.ignore', %s, true)", ["{" + ",".join(names) + "}"])
        yield cursor
        cursor.execute("RESET ROLE")


def refused(cursor, statement):
    """The SQLSTATE with which the database refuses a statement; None when it doesn't."""
    try:
        with transaction.atomic():
            cursor.execute(statement)
    except DatabaseError as error:
        return error.__cause__.sqlstate
    return None


def test_the_tables_that_must_stay_append_only_are_known_as_such():
    assert {
        "transactions_steprun", "transactions_lineagelink", "transactions_preparedposting", "transactions_seal",
        "core_signature", "core_auditentry", "connectors_exchange", "inbox_inboundevent", "exceptions_casenote",
        "connectors_historicalconnection",
    } <= set(APPEND_ONLY)  # fmt: skip
    assert "core_proposal" in undeletable_tables()


@pytest.mark.scenario(63)
@pytest.mark.parametrize("table", APPEND_ONLY)
def test_an_append_only_table_refuses_every_change(as_app, table):
    model = next(m for m in apps.get_models() if m._meta.db_table == table)
    column = model._meta.concrete_fields[-1].column
    denied = "42501"
    assert refused(as_app, f'UPDATE "{table}" SET "{column}" = "{column}"') == denied
    assert refused(as_app, f'DELETE FROM "{table}"') == denied
    assert refused(as_app, f'TRUNCATE "{table}"') == denied
    assert refused(as_app, f'ALTER TABLE "{table}" DISABLE TRIGGER ALL') == denied
    assert refused(as_app, f'SELECT count(*) FROM "{table}"') is None


def test_a_partition_can_be_reached_through_its_parent_only(as_app):
    as_app.execute("SELECT relname FROM pg_class WHERE relispartition AND relkind = 'r' ORDER BY relname")
    partitions = [row[0] for row in as_app.fetchall()]
    assert len(partitions) > 100
    for verb in ("SELECT 1 FROM", "DELETE FROM", "TRUNCATE"):
        assert refused(as_app, f'{verb} "transactions_steprun_2026_11"') == "42501"
    as_app.execute(
        "SELECT count(*) FROM pg_class WHERE relispartition AND relkind = 'r' AND has_table_privilege(%s, oid,"
        " 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE')",
        [ROLE],
    )
    assert as_app.fetchone() == (0,)


def test_a_proposal_may_end_but_neither_go_nor_say_anything_else(proposal, as_app):
    assert refused(as_app, "DELETE FROM core_proposal") == "42501"
    fixed = {field.column for field in Proposal._meta.concrete_fields} - set(changeable_columns()["core_proposal"])
    assert {"content", "content_hash", "proposed_by_id", "signer_permission", "signatures_needed"} < fixed
    for column in sorted(fixed):
        assert refused(as_app, f"UPDATE core_proposal SET {column} = {column}") == "42501", column
    assert refused(as_app, "UPDATE core_proposal SET state = 'void', void_reason = 'moved', decided_at = now()") is None


def test_no_session_setting_lets_the_portals_role_approve_without_signatures(proposal, as_app):
    assert refused(as_app, "UPDATE core_proposal SET state = 'approved'") == BY_A_TRIGGER
    sign = (
        "INSERT INTO core_signature (id, proposal_id, proposed_by_id, signed_by_id, signed_at, is_approval,"
        f" signed_hash, why) SELECT gen_random_uuid(), '{proposal.pk}', {proposal.proposed_by_id}, {{signer}}, now(),"
        " true, '{hash}', ''"
    )
    other = "(SELECT max(id) + 1 FROM core_person)"
    assert refused(as_app, sign.format(signer=other, hash="b" * 64)) == BY_A_TRIGGER  # another content
    assert refused(as_app, sign.format(signer=proposal.proposed_by_id, hash="a" * 64)) == "23514"  # the proposer
    assert Signature.objects.count() == 0
    assert refused(as_app, "UPDATE core_proposal SET state = 'void'") is None
    assert refused(as_app, "UPDATE core_proposal SET state = 'proposed'") == BY_A_TRIGGER  # what ended stays so


def test_a_rule_in_force_may_only_be_ended(as_app):
    assert changeable_columns()["mappings_mappingrule"] == ["known_to"]
    for column in ("value", "key", "effective_to", "approved_by_id", "known_from"):
        assert refused(as_app, f"UPDATE mappings_mappingrule SET {column} = {column}") == "42501", column
    assert refused(as_app, "UPDATE mappings_mappingrule SET known_to = known_to") is None


def test_the_portals_role_owns_nothing_and_makes_no_tables(as_app):
    as_app.execute("SELECT count(*) FROM pg_class WHERE pg_has_role(%s, relowner, 'MEMBER')", [ROLE])
    assert as_app.fetchone() == (0,)
    assert refused(as_app, "CREATE TABLE mine (id int)") == "42501"


def test_partitions_are_made_ahead_by_the_owners_function(as_app):
    as_app.execute("SELECT q2c_make_partitions(60)")
    made = as_app.fetchone()[0]
    parents = {name.rsplit("_", 2)[0] for name in made}
    assert {"transactions_steprun", "inbox_inboundevent", "connectors_exchange"} <= parents
    as_app.execute("SELECT q2c_make_partitions(60)")
    assert as_app.fetchone()[0] == []
    last = sorted(made)[-1]
    table, year, month = last.rsplit("_", 2)
    as_app.execute("SELECT pg_get_expr(relpartbound, oid) FROM pg_class WHERE relname = %s", [last])
    assert month_partition_sql(table, int(year), int(month)).endswith(as_app.fetchone()[0])
