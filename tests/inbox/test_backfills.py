"""Back-fills of what we stored: rows by filter or by a file, a dry run that keeps nothing, pieces at a pace."""

import datetime as dt
import io

import pytest
from django.utils import timezone
from openpyxl import Workbook

from connectors.families import Page, Polled
from connectors.models import Connection
from mappings.workbooks import Unreadable
from q2c.canonical.schema import to_json
from q2c.core import approvals, audit
from q2c.core.customer_keys import destroy_key
from q2c.core.ids import uuid7
from q2c.core.models import AuditEntry, CustomerKey, Proposal
from q2c.core.problems import Category, Problem
from q2c.flows import backfill_gathering, backfill_running, backfills
from q2c.flows.backfill_files import read_ids
from q2c.flows.intake import carry_due_events
from q2c.inbox.models import Backfill, BackfillItem, InboundEvent, InboundKey
from q2c.inbox.receive import Arrival, receive
from q2c.inbox.replay import TooOld, replay_event
from q2c.portal.decisions import decide
from q2c.transactions.models import BusinessTransaction, WorkItem
from tests import factories
from tests.inbox.conftest import MANIFEST, arrival, posted
from tests.mappings.rules import make_rule


@pytest.fixture
def operator(acme):
    return factories.make_person("platform")


def make(by, *, go=True, **changes):
    now = timezone.now()
    given = {"source": "stored", "since": now - dt.timedelta(days=1), "until": now + dt.timedelta(days=1), **changes}
    own = backfills.make(backfills.Plan(**given), by=by, why="to be sure")
    if go:
        backfill_running.run_due()
        own.refresh_from_db()
    return own


def start(own, **changes):
    given = {"takes": ("held",), "per_minute": 6000, "approval": None, "asked": {}, **changes}
    return backfills.start(own, by=own.made_by, why="they are missing", **given)


def run(own, pieces=5):
    for _ in range(pieces):
        Backfill.objects.filter(pk=own.pk).update(released_at=None)  # no pace
        backfill_running.run_due()
        carry_due_events()
    own.refresh_from_db()
    return own


def found(own):
    return list(own.items.order_by("at", "id").values_list("source_id", "finding"))


def results(own):
    return dict(own.items.values_list("source_id", "result"))


def lost(*numbers):
    """Messages that were refused since nobody knew their kind, which is known by now."""
    ids = receive(
        Connection.objects.get(code="acme").pk,
        [Arrival("new.event", f"in_{n}", f"evt_{n}", to_json(posted(n))) for n in numbers],
        via="webhook",
    ).new
    carry_due_events()
    return ids


@pytest.fixture
def mended(monkeypatch):
    """From here on `new.event` is known."""
    from connectors.manifest import Manifest
    from q2c.flows import intake

    known = Manifest(**{**vars(MANIFEST), "events": {**MANIFEST.events, "new.event": MANIFEST.events["fact"]}})
    return lambda: monkeypatch.setattr(intake.registry, "manifest", lambda code: known)


def test_a_dry_run_tells_what_is_missing_known_changed_or_nothing_and_keeps_none_of_it(acme, operator):
    acme.client.answers["in_2"] = posted(2, "10.00")
    receive(acme.id, [arrival(posted(1), "evt_1"), Arrival("asked", "in_2", "evt_2", b"{}"),
                      Arrival("draft", "in_3", "evt_3", b"{}"), Arrival("strange", "in_4", "evt_4", b"{}")],
            via="webhook")  # fmt: skip
    carry_due_events()
    acme.client.answers["in_2"] = posted(2, "12.00")
    before = list(BusinessTransaction.objects.order_by("id").values_list("id", "amount"))
    own = make(operator)
    assert own.state == "tried"
    items = {item.source_id: item for item in own.items.all()}
    assert {s: item.finding for s, item in items.items()} == {
        "evt_1": "known", "in_2": "differs", "in_3": "nothing", "in_4": "held",
    }  # fmt: skip
    assert items["in_2"].amount == 12
    assert "total 10.00, now 12.00" in items["in_2"].says
    assert items["in_2"].transaction_id == before[1][0]
    assert items["in_3"].says == "drafts have no effect"
    assert list(BusinessTransaction.objects.order_by("id").values_list("id", "amount")) == before
    assert not WorkItem.objects.exclude(transaction__in=[i for i, _ in before]).exists()
    assert not InboundKey.objects.filter(is_backfill=True).exists()


@pytest.mark.scenario(19)
def test_what_was_refused_is_carried_once_in_the_last_lane_and_the_second_time_it_is_known(acme, operator, mended):
    lost(1, 2, 3)
    mended()
    own = start(make(operator, filters={"verdict": "refused"}))
    assert [finding for _, finding in found(own)] == ["held"] * 3  # nobody says who buys: a case each
    run(own, 1)
    assert BusinessTransaction.objects.count() == 3
    assert set(WorkItem.objects.values_list("priority", flat=True)) == {8}
    run(own)
    assert own.state == "done"
    assert set(results(own).values()) == {"carried"}
    again = make(operator)
    assert {finding for _, finding in found(again)} == {"known"}
    with pytest.raises(backfills.BackfillRefused, match="nothing in it to carry"):
        start(again)
    replay = AuditEntry.objects.get(verb="replay")
    assert (replay.subject_id, len(replay.data["events"])) == (str(own.pk), 3)


def test_nothing_more_is_given_before_the_intake_has_read_what_it_was_given_nor_faster_than_the_pace(
    acme, operator, mended, monkeypatch
):
    monkeypatch.setattr(backfill_running, "RELEASED_AT_ONCE", 2)
    lost(1, 2, 3, 4, 5)
    mended()
    own = start(make(operator), per_minute=60)
    backfill_running.run_due()
    assert own.items.filter(result="released").count() == 2  # a minute's share of two seconds
    Backfill.objects.update(released_at=timezone.now() - dt.timedelta(minutes=1))
    backfill_running.run_due()
    assert own.items.filter(result="released").count() == 2
    carry_due_events()
    Backfill.objects.update(released_at=timezone.now())
    backfill_running.run_due()
    assert own.items.filter(result="released").count() == 0
    Backfill.objects.update(released_at=timezone.now() - dt.timedelta(minutes=1))
    backfill_running.run_due()
    assert own.items.filter(result="released").count() == 2
    assert own.items.filter(result="carried").count() == 2


def test_paused_it_gives_no_more_and_cancelled_it_leaves_the_rest_and_says_so(acme, operator, mended, monkeypatch):
    monkeypatch.setattr(backfill_running, "RELEASED_AT_ONCE", 2)
    lost(1, 2, 3, 4, 5)
    mended()
    own = start(make(operator))
    backfill_running.run_due()
    backfills.pause(own, by=operator)
    run(own)
    assert sorted(results(own).values()) == ["carried"] * 2 + ["pending"] * 3  # what was given went on
    backfills.resume(own, by=operator)
    run(own, 1)
    backfills.cancel(own, by=operator, why="enough of it")
    run(own)
    assert own.state == "cancelled"
    assert sorted(results(own).values()) == ["carried"] * 4 + ["left"]
    assert BusinessTransaction.objects.count() == 4
    with pytest.raises(backfills.BackfillRefused, match="has ended already"):
        backfills.cancel(own, by=operator, why="once more")


def test_beyond_its_window_by_rule_neither_a_message_nor_a_back_fill_runs_again(acme, operator):
    receive(acme.id, [arrival(posted(1), "evt_1")], via="webhook")
    carry_due_events()
    make_rule("replay_window", "fa*", "3", connection="acme")
    (event_id,) = InboundEvent.objects.values_list("id", flat=True)
    assert make(operator).items.get().finding == "known"
    future = timezone.now() + dt.timedelta(days=4)
    from q2c.inbox import window

    class Later:
        now = staticmethod(lambda: future)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(window, "timezone", Later)
        item = make(operator).items.get()
        assert (item.finding, item.code) == ("refused", "too_old")
        assert "fact of acme is replayed up to 3 days back" in item.says
        with pytest.raises(TooOld, match="up to 3 days back"):
            replay_event(event_id, by=operator, reason="to be sure")
        make_rule("replay_window", "fact", "any")
        make_rule("replay_window", "asked", "1")
        assert window.Windows([("other", "fact")]).why_not("other", "fact", timezone.now()) == ""


def test_nothing_of_an_erased_customer_is_run_again_nor_read_again(acme, operator, monkeypatch):
    receive(acme.id, [arrival(posted(1), "evt_1")], via="webhook")
    carry_due_events()
    destroy_key(CustomerKey.objects.get().pk)
    (item,) = make(operator).items.all()
    assert (item.finding, item.code) == ("refused", "erased")
    read = source_of(monkeypatch, [Page((Polled("fact", "in_2", "evt_2", to_json(posted(2)), timezone.now()),), {})])
    (item,) = make(operator, source="again", connection=acme, stream="facts").items.all()
    assert (item.finding, item.code) == ("refused", "erased")
    assert read.asked == [("facts", {})]
    assert (item.body, item.body_key) == (None, None)


def source_of(monkeypatch, pages):
    """A system whose past gives these pages; an exception is raised in its turn."""

    class Past:
        ranges = {"facts": "Facts, by when they were made"}
        asked: list = []

        async def between(self, what, since, until, position):
            self.asked.append((what, position))
            page = pages.pop(0)
            if isinstance(page, Exception):
                raise page
            return page

        async def again(self, ids):
            return [Polled("fact", i, f"again_{i}", to_json(posted(int(i[3:]))), timezone.now())
                    for i in ids if i != "in_404"]  # fmt: skip

    past = Past()
    past.asked = []
    monkeypatch.setattr(backfill_gathering.registry, "client_for", lambda row, collector: past)
    monkeypatch.setattr(backfills.registry, "ranges_of", lambda vendor: Past.ranges)
    return past


def polled(*numbers):
    return tuple(Polled("fact", f"in_{n}", f"evt_{n}", to_json(posted(n)), timezone.now()) for n in numbers)


def test_what_is_read_again_page_by_page_waits_sealed_and_comes_into_the_inbox_only_when_it_is_started(
    acme, operator, monkeypatch
):
    receive(acme.id, [arrival(posted(1), "evt_1")], via="webhook")
    carry_due_events()
    away = Problem("system_unavailable", Category.AVAILABILITY, "Acme is away")
    past = source_of(monkeypatch, [Page(polled(1, 2), {"after": 2}, True), away, Page(polled(2, 3), {}, False)])
    own = make(operator, source="again", connection=acme, stream="facts")
    assert (own.state, own.failure, own.position) == ("gathering", "Acme is away", {"after": 2})
    Backfill.objects.update(due_at=timezone.now())
    backfill_running.run_due()
    own.refresh_from_db()
    assert past.asked == [("facts", {}), ("facts", {"after": 2}), ("facts", {"after": 2})]
    assert (own.state, sorted(found(own))) == ("tried", [("in_1", "known"), ("in_2", "held"), ("in_3", "held")])
    assert InboundEvent.objects.count() == 1
    assert own.items.exclude(body=None).count() == 3
    assert b"GBP" not in b"".join(bytes(item.body) for item in own.items.all())
    own.items.update(finding="posts")  # all of them, whatever its dry run says
    run(start(own))
    assert InboundEvent.objects.count() == 3
    assert results(own) == {"in_1": "known", "in_2": "carried", "in_3": "carried"}
    assert own.items.filter(body=None).count() == 3


def test_what_is_read_again_and_known_of_a_month_that_was_let_go_is_refused_and_its_key_stays_decided(
    acme, operator, monkeypatch
):
    receive(acme.id, [arrival(posted(1), "evt_1")], via="webhook")
    carry_due_events()
    own = read_again(acme, operator, monkeypatch)
    own.items.update(finding="posts")
    InboundKey.objects.filter(dedupe_key="evt_1").update(event_id=uuid7())  # as after retention
    run(start(own, takes=("posts",)))
    assert results(own) == {"in_1": "refused", "in_2": "carried", "in_3": "carried"}
    assert own.items.get(source_id="in_1").result_says == backfill_running.GONE
    assert InboundKey.objects.get(dedupe_key="evt_1").verdict == "translated"
    assert sealed(own) == []


def read_again(acme, operator, monkeypatch):
    """Read again and tried: the first would post, the second is known, the third differs."""
    source_of(monkeypatch, [Page(polled(1, 2, 3), {}, False)])
    own = make(operator, source="again", connection=acme, stream="facts")
    for number, finding in enumerate(("posts", "known", "differs"), 1):
        own.items.filter(source_id=f"in_{number}").update(finding=finding)
    return own


def sealed(own):
    """The rows of which what was read can still be opened."""
    kept = own.items.exclude(body=None, body_key=None)
    return sorted(kept.values_list("source_id", flat=True))


@pytest.mark.parametrize(
    ("takes", "stay"), [((), ["in_1"]), (("differs",), ["in_1", "in_3"])], ids=["what posts", "what differs too"]
)
def test_what_was_read_and_isnt_carried_is_forgotten_with_the_start(acme, operator, monkeypatch, takes, stay):
    own = read_again(acme, operator, monkeypatch)
    assert sealed(own) == ["in_1", "in_2", "in_3"]  # it may be tried again
    start(own, takes=takes)
    assert sealed(own) == stay
    run(own)
    assert (own.state, sealed(own)) == ("done", [])


@pytest.mark.parametrize("ends", ["without its right", "as a release before left it", "cancelled"])
def test_whatever_way_a_back_fill_ends_nothing_that_was_read_for_it_stays(acme, operator, monkeypatch, ends):
    own = read_again(acme, operator, monkeypatch)
    if ends == "without its right":
        start(own)
        operator.memberships.all().delete()
        run(own, 1)
        assert results(own)["in_1"] == "refused"
    elif ends == "cancelled":
        backfills.cancel(own, by=operator, why="enough of it")
    else:
        Backfill.objects.update(state="done")
        assert sealed(own) == ["in_1", "in_2", "in_3"]
        backfill_running.forget_unstarted()
    assert sealed(own) == []


def test_a_system_that_cant_give_it_again_says_why(acme, operator, monkeypatch):
    source_of(monkeypatch, [Problem("feed_gap", Category.DRIFT, "acme keeps events for 30 days")])
    own = make(operator, source="again", connection=acme, stream="facts")
    assert (own.state, own.failure) == ("failed", "acme keeps events for 30 days")


@pytest.mark.parametrize(
    ("page", "says"),
    [
        (Page(polled(1), {"after": 1}, True, unread="field 'Id' is missing"), "field 'Id' is missing"),
        (TypeError("int() argument must be a string"), "int() argument must be a string"),
        (KeyError("created"), "field 'created' is missing"),
    ],
)
def test_a_row_that_cant_be_read_ends_its_back_fill_in_words_and_no_later_one(acme, operator, monkeypatch, page, says):
    source_of(monkeypatch, [page, Page(polled(2), {}, False)])
    plan = {"go": False, "source": "again", "connection": acme, "stream": "facts"}
    bad, good = make(operator, **plan), make(operator, **plan)
    backfill_running.run_due()
    bad.refresh_from_db()
    good.refresh_from_db()
    assert (bad.state, bad.failure) == ("failed", f"A row of Acme can’t be read: {says}")
    assert (bad.items.count(), found(good)) == (0, [("in_2", "held")])


def test_a_back_fill_that_fails_otherwise_keeps_no_later_one_from_going_on(acme, operator, monkeypatch):
    bad, _ = make(operator, go=False), make(operator, go=False)
    step = backfill_running.step

    def fail(backfill_id):
        if backfill_id == bad.pk:
            raise RuntimeError("a bug")
        return step(backfill_id)

    monkeypatch.setattr(backfill_running, "step", fail)
    backfill_running.run_due()
    assert list(Backfill.objects.order_by("pk").values_list("state", flat=True)) == ["gathering", "tried"]


def test_a_file_names_messages_objects_or_numbers_and_each_row_that_names_none(acme, operator, mended):
    first, _, third = lost(1, 2, 3)
    mended()
    sheet = Workbook()
    for row in (["Who", "Id"], ["a", str(first)], ["b", "in_2"], ["c", "in_9"], ["d", "in_2"], ["e", str(third)]):
        sheet.active.append(row)
    content = io.BytesIO()
    sheet.save(content)
    own = make(operator, ids=read_ids(content.getvalue()).rows)
    says = {item.row: (item.source_id or item.given, item.finding, item.says) for item in own.items.all()}
    assert [says[n][0] for n in (2, 3, 6)] == ["in_1", "in_2", "in_3"]
    assert says[4] == ("in_9", "refused", "No message of these days that you may replay has this id or number.")
    assert says[5] == ("in_2", "refused", "It is the same id as in row 3.")
    number = BusinessTransaction.objects
    run(start(own))
    assert number.count() == 3
    by_number = make(operator, ids=read_ids(b"INV-1\n").rows)
    assert [item.source_id for item in by_number.items.all()] in (["in_1"], [""])


def test_a_file_of_ids_is_read_again_at_the_source_and_what_it_lacks_is_named(acme, operator, monkeypatch):
    source_of(monkeypatch, [])
    own = make(operator, source="again", connection=acme, ids=read_ids(b"Id\nin_1\nin_404\n").rows)
    assert [(i.given, i.source_id) for i in own.items.order_by("row")] == [("in_1", "in_1"), ("in_404", "")]
    assert own.items.get(given="in_404").says == "Acme has nothing of this id that we read again."


@pytest.mark.parametrize(
    ("content", "says"),
    [(b"", "nothing in it"), (b"a,b\n1,2\n", "None of its columns is headed"), (b"Id\n", "There is no id in it")],
)
def test_a_file_that_cant_be_read_says_what_to_do(content, says):
    with pytest.raises(Unreadable, match=says):
        read_ids(content)


def test_what_was_signed_is_what_runs(acme, operator, mended):
    lost(1, 2)
    mended()
    from mappings.kinds import RESOLUTION_LEVELS

    own = make(operator)
    start(own, approval=RESOLUTION_LEVELS["1 colleague"], asked={"level": "1 colleague"})
    proposal = Proposal.objects.get()
    assert backfills.proposal_of(own) == proposal
    BackfillItem.objects.filter(backfill=own, source_id="in_1").update(amount=5)
    with pytest.raises(backfills.BackfillRefused, match="isn’t what was proposed"):
        backfills.apply_decision(proposal, "approved")
    own.refresh_from_db()
    assert own.state == "asked"
    backfills.apply_decision(proposal, "rejected")
    own.refresh_from_db()
    assert own.state == "tried"


def asked(operator):
    """A back-fill whose start waits for a colleague, and its proposal."""
    from mappings.kinds import RESOLUTION_LEVELS

    own = make(operator)
    start(own, approval=RESOLUTION_LEVELS["1 colleague"], asked={"level": "1 colleague"})
    return own, Proposal.objects.get()


def test_what_nobody_signs_for_a_week_is_void_with_its_back_fill(acme, operator, mended):
    lost(1)
    mended()
    own, proposal = asked(operator)
    Backfill.objects.update(made_at=timezone.now() - dt.timedelta(days=8))
    assert backfill_running.forget_unstarted() == 1
    proposal.refresh_from_db()
    own.refresh_from_db()
    assert (own.state, proposal.state) == ("cancelled", "void")
    assert proposal.void_reason == f"{own.number} was cancelled: Nobody started it for a week."
    assert audit.verify().holds


def test_a_proposal_whose_back_fill_ended_without_it_can_be_rejected_but_not_approved(acme, operator, mended):
    lost(1)
    mended()
    own, proposal = asked(operator)
    Backfill.objects.update(state="cancelled")  # as a release before left it
    second = factories.make_person("controller")
    signs = {"by": second, "why": "nobody wants it", "seen_hash": proposal.content_hash}
    with pytest.raises(backfills.BackfillRefused, match="isn’t waiting for a signature"):
        decide(proposal, approve=True, **signs)
    proposal.refresh_from_db()
    assert proposal.state == "proposed"
    assert decide(proposal, approve=False, **signs) == "rejected"
    own.refresh_from_db()
    assert own.state == "cancelled"


def test_a_dry_run_of_yesterday_isnt_signed_but_goes_back_to_whoever_made_it(acme, operator, mended, monkeypatch):
    lost(1)
    mended()
    own, proposal = asked(operator)
    own.refresh_from_db()
    assert proposal.evidence_at == own.tried_at
    monkeypatch.setattr(approvals, "EVIDENCE_KEPT", dt.timedelta(0))  # no hours are left of it
    signs = {"by": factories.make_person("controller"), "why": "", "seen_hash": proposal.content_hash}
    assert decide(proposal, approve=True, **signs) == "void"
    own.refresh_from_db()
    assert (own.state, own.started_at) == ("tried", None)


def test_a_person_of_some_entities_replays_theirs_only_and_reads_no_system_again(acme, operator, mended):
    lost(1)
    mended()
    of_gb = factories.make_person("billing_ops", entities=("GB01",))
    assert not make(of_gb).items.exists()  # the entity of a refused message isn't known
    InboundKey.objects.update(legal_entity_code="US01")
    assert not make(of_gb).items.exists()
    with pytest.raises(backfills.BackfillRefused, match="for all entities"):
        make(of_gb, source="again", connection=acme, stream="facts")
    with pytest.raises(backfills.BackfillRefused, match="doesn’t run back-fills"):
        make(factories.make_person("auditor"))
    foreign = make(operator)
    with pytest.raises(backfills.BackfillRefused, match="doesn’t act on it"):
        backfills.cancel(foreign, by=of_gb, why="not mine")


def test_an_old_dry_run_starts_nothing_and_one_that_nobody_starts_is_let_go(acme, operator, mended):
    lost(1)
    mended()
    own = make(operator)
    Backfill.objects.update(tried_at=timezone.now() - dt.timedelta(hours=25))
    with pytest.raises(backfills.BackfillRefused, match="older than a day"):
        start(own)
    backfills.try_again(own, by=operator)
    backfill_running.run_due()
    own.refresh_from_db()
    assert own.state == "tried"
    Backfill.objects.update(made_at=timezone.now() - dt.timedelta(days=8))
    assert backfill_running.forget_unstarted() == 1
    own.refresh_from_db()
    assert (own.state, own.items.get().result) == ("cancelled", "left")


def test_a_role_that_was_taken_back_carries_nothing_more(acme, operator, mended):
    lost(1, 2)
    mended()
    own = start(make(operator))
    operator.memberships.all().delete()
    run(own, 1)
    assert own.state == "done"
    assert set(results(own).values()) == {"refused"}
    assert BusinessTransaction.objects.count() == 0
