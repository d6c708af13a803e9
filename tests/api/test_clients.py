"""A machine is let in by two people, gets its secret once, and is rotated and ended at once."""

from __future__ import annotations

from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.test import Client

from q2c.core.approvals import ApprovalRefused
from q2c.core.ids import uuid7
from q2c.core.models import AuditEntry, Person, Proposal
from q2c.inbox.models import ApiClient
from q2c.portal.decisions import decide
from tests import factories
from tests.api.conftest import make_client

NAME = "upstream-orders"


@pytest.fixture
def ada(house):
    """Gives access to all entities; `house` has GB01 and US01."""
    return factories.make_person("platform", username="ada")


def run(*words: str, by: str = "ada") -> str:
    out = StringIO()
    own = [] if words[0] == "list" else ["--by", by, "--why", "The shop sends its orders"]
    call_command("api_client", *words, *own, stdout=out)
    return out.getvalue().strip()


def agree(by: Person, *, approve: bool = True) -> str:
    proposal = Proposal.objects.get(state="proposed")
    return decide(proposal, by=by, approve=approve, why="So be it", seen_hash=proposal.content_hash)


def ask(secret: str, **more: str):
    sent = {"grant_type": "client_credentials", "client_id": NAME, "client_secret": secret, **more}
    return Client().post("/o/token/", sent)


def status(token: str, path: str = "/api/v1/cases") -> int:
    return Client(headers={"Authorization": f"Bearer {token}"}).get(path).status_code


def let_in(*, scopes: tuple[str, ...] = ("cases:read",), where: tuple[str, ...] = ("--all-entities",)) -> str:
    run("propose", NAME, "--scopes", *scopes, *where)
    agree(factories.make_person("controller"))
    return run("secret", NAME)


def test_nothing_is_let_in_before_somebody_else_approved_and_its_secret_is_told_once(ada):
    run("propose", NAME, "--scopes", "cases:read", "cards:read", "--entities", "GB01")
    assert not ApiClient.objects.exists()
    with pytest.raises(CommandError, match="was ever let in"):
        run("secret", NAME)
    with pytest.raises(ApprovalRefused):
        agree(ada)
    assert agree(factories.make_person("controller")) == "approved"
    given = ApiClient.objects.get()
    assert (given.scopes, given.legal_entities, given.is_for_all_entities) == (
        ["cards:read", "cases:read"],
        ["GB01"],
        False,
    )
    secret = run("secret", NAME)
    assert secret not in given.application.client_secret
    token = ask(secret).json()["access_token"]
    assert (status(token), status(token, f"/api/v1/transactions/{uuid7()}")) == (200, 403)
    assert ask(secret, scope="orders:write").status_code == 400
    assert run("list") == f"{NAME}: cards:read, cases:read for GB01"
    acts = AuditEntry.objects.filter(subject_type="api_client", subject_id=NAME).order_by("pk")
    assert [entry.verb for entry in acts] == ["propose", "approve", "let_in", "make_secret"]
    assert secret not in str(list(acts.values_list("data", "why")))


def test_what_it_may_do_changes_by_two_people_and_a_change_of_what_was_is_not_made(ada):
    secret = let_in()
    run("propose", NAME, "--scopes", "cards:read", "--all-entities")
    with pytest.raises(CommandError, match="waits for a second person"):
        run("propose", NAME, "--scopes", "cards:read", "--all-entities")
    assert agree(factories.make_person("controller")) == "approved"
    assert status(ask(secret).json()["access_token"]) == 403
    run("propose", NAME, "--scopes", "cases:repost", "--all-entities")
    run("end", NAME)
    with pytest.raises(ValueError, match="changed meanwhile"):
        agree(factories.make_person("controller"))
    assert ApiClient.objects.get().scopes == []


def test_a_rejected_one_is_never_made(ada):
    run("propose", NAME, "--scopes", "cases:read", "--all-entities")
    assert agree(factories.make_person("controller"), approve=False) == "rejected"
    assert not ApiClient.objects.exists()


def test_a_new_secret_ends_the_old_one_and_its_tokens(ada):
    old = let_in()
    token = ask(old).json()["access_token"]
    new = run("secret", NAME)
    assert (status(token), ask(old).status_code) == (401, 401)
    assert status(ask(new).json()["access_token"]) == 200


def test_an_ended_one_may_do_nothing_until_two_people_let_it_in_again(ada):
    secret = let_in()
    token = ask(secret).json()["access_token"]
    run("end", NAME)
    assert (status(token), ask(secret).status_code, run("list")) == (401, 401, f"{NAME}: ended")
    with pytest.raises(CommandError, match="was ended"):
        run("secret", NAME)
    assert status(ask(let_in()).json()["access_token"]) == 200


@pytest.mark.parametrize(
    ("words", "by", "said"),
    [
        (("propose", "Shop", "--scopes", "cases:read", "--all-entities"), "ada", "small letters"),
        (("propose", NAME, "--scopes", "everything", "--all-entities"), "ada", "There’s no scope everything"),
        (("propose", NAME, "--scopes", "cases:read", "--entities", "XX99"), "ada", "Name one or more of GB01, US01"),
        (("propose", "foreign", "--scopes", "cases:read", "--all-entities"), "ada", "isn’t ours to change"),
        (("propose", NAME, "--scopes", "cases:read", "--all-entities"), "ben", "gives access for GB01 only"),
        (("propose", NAME, "--scopes", "cases:read", "--entities", "US01"), "ben", "gives access for GB01 only"),
        (("propose", NAME, "--scopes", "cases:read", "--all-entities"), "eve", "None of your roles gives access"),
        (("propose", NAME, "--scopes", "cases:read", "--all-entities"), "nobody", "Nobody who may sign in"),
        (("secret", "known"), "ben", "gives access for GB01 only"),
        (("end", "known"), "eve", "None of your roles gives access"),
    ],
)
def test_who_may_not_or_asks_for_what_there_is_not_is_told_so(ada, words, by, said):
    factories.make_person("platform", username="ben", entities=("GB01",))
    factories.make_person("auditor", username="eve")
    make_client("known")
    make_client("foreign").api_client.delete()
    with pytest.raises(CommandError, match=said):
        run(*words, by=by)
    assert not Proposal.objects.exists()
    assert not AuditEntry.objects.filter(subject_type="api_client").exists()


def test_the_second_person_sees_on_the_screen_what_it_may_do(ada):
    run("propose", NAME, "--scopes", "orders:write", "--entities", "GB01", "US01")
    controller = Client()
    controller.force_login(factories.make_person("controller"))
    proposal = Proposal.objects.get()
    shown = controller.get(f"/decisions/{proposal.pk}/").content.decode()
    for said in (f"Let the machine {NAME} call the API", "orders:write", "GB01", "US01", "The shop sends its orders"):
        assert said in shown
    sent = {"verdict": "approve", "seen_hash": proposal.content_hash}
    assert controller.post(f"/decisions/{proposal.pk}/sign/", sent).status_code == 302
    assert ApiClient.objects.get().scopes == ["orders:write"]
