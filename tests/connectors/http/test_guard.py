"""Where the telephone may dial: not into our own network, whatever a name says."""

import pytest

from connectors import http
from connectors.guard import refuse_address, refuse_scheme
from q2c.core.problems import Category, Problem
from tests.connectors.lines import dial, run


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "100.64.0.1", "0.0.0.0", "169.254.169.254", "::1",
     "fd00:ec2::254", "fe80::1%eth0", "::ffff:10.0.0.1", "64:ff9b::a9fe:a9fe",
     "2002:7f00:1::", "224.0.0.1", "255.255.255.255"],
)  # fmt: skip
def test_private_addresses_are_refused(address):
    assert refuse_address(address, allows_private=False)


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700::1111"])
def test_public_addresses_pass(address):
    assert refuse_address(address, allows_private=False) is None


def test_a_sandbox_may_be_private_but_never_the_clouds_metadata():
    assert refuse_address("127.0.0.1", allows_private=True) is None
    assert refuse_address("172.18.0.4", allows_private=True) is None
    assert refuse_address("169.254.169.254", allows_private=True)
    assert refuse_address("::ffff:169.254.169.254", allows_private=True)


def test_only_https_leaves_the_house():
    assert refuse_scheme("https", allows_private=False) is None
    assert refuse_scheme("http", allows_private=False)
    assert refuse_scheme("http", allows_private=True) is None
    assert refuse_scheme("file", allows_private=True)


@pytest.mark.parametrize("url", ["https://127.0.0.1:1", "https://[::1]:1", "http://example.com", "https://localhost:1"])
def test_a_production_connection_does_not_dial_it(url):
    with pytest.raises(Problem) as refusal:
        run(dial(url, allows_private=False).call("GET", "/", verb="x"))
    assert (refusal.value.code, refusal.value.category) == ("address_refused", Category.VALIDATION)


def test_a_name_that_moves_to_a_private_address_is_refused_when_it_is_dialled(monkeypatch):
    """DNS rebinding: the addresses that are judged are those that are dialled."""

    async def moved(self, host, port=0, family=0):
        return [{"hostname": host, "host": "10.0.0.8", "port": port, "family": 2, "proto": 0, "flags": 0}]

    monkeypatch.setattr(http.ThreadedResolver, "resolve", moved)
    with pytest.raises(Problem) as refusal:
        run(dial("https://api.vendor.example", allows_private=False).call("POST", "/", verb="x", json={}))
    assert refusal.value.code == "address_refused"
