"""Credentials on a request: OAuth 1.0a by Oracle's own vector, tokens fetched once."""

import asyncio
from dataclasses import replace

import pytest
from aiohttp import web

from connectors import auth
from q2c.core.problems import Category, Problem
from tests.connectors.lines import LIMITS, dial, run, serving

CALLS = 8  # at once


def test_oauth1_signs_as_oracles_public_sample_does():
    """Vector of the NetSuite help (section 1534941088), recomputed."""
    signer = auth.OAuth1(
        realm="123456",
        consumer_key="ef40afdd8abaac111b13825dd5e5e2ddddb44f86d5a0dd6dcf38c20aae6b67e4",
        consumer_secret="d26ad321a4b2f23b0741c8d38392ce01c3e23e109df6c96eac6d099e9ab9e8b5",
        token_id="2b0ce516420110bcbd36b69e99196d1b7f6de3c6234c5afb799b73d87569f5cc",
        token_secret="c29a677df7d5439a458c063654187e3d678d73aca8e3c9d8bea1478a3eb0d295",
    )
    url = "https://123456.suitetalk.api.netsuite.com/services/rest/record/v1/employee/40"
    header = signer.header("GET", url, (), nonce="fjaLirsIcCGVZWzBX0pg", timestamp="1508242306")
    assert header.startswith('OAuth realm="123456", oauth_consumer_key="ef40')
    assert header.endswith('oauth_signature="B5OIWznZ2YP0OB7VrJrGkYsTh%2B8H%2B5T9Hag%2Bo92q0zY%3D"')


def test_oauth1_signs_query_parameters_like_the_reference_library():
    from oauthlib.oauth1 import Client

    signer = auth.OAuth1(realm="1_SB1", consumer_key="ck", consumer_secret="c s", token_id="ti", token_secret="t/s")
    query = [("q", "a b&c"), ("fields", "id,tranId"), ("limit", "1000")]
    url = "https://Acct.example.com/services/x"
    ours = signer.header("GET", url, query, nonce="n1", timestamp="1700000000")
    reference = Client(
        "ck", "c s", "ti", "t/s", signature_method="HMAC-SHA256", realm="1_SB1", nonce="n1", timestamp="1700000000"
    )
    _, headers, _ = reference.sign(f"{url}?q=a%20b%26c&fields=id%2CtranId&limit=1000", "GET")
    signature = headers["Authorization"].split('oauth_signature="')[1].split('"')[0]
    assert f'oauth_signature="{signature}"' in ours


def _token_server(asked, status=200):
    async def answer(request):
        if request.path == "/token":
            asked.append((await request.post())["grant_type"])
            await asyncio.sleep(0)
            if status != 200:
                return web.json_response(
                    {"error": "invalid_grant", "error_description": "user hasn't approved"}, status=status
                )
            return web.json_response({"access_token": f"t{len(asked)}", "expires_in": "3600"})
        if request.headers["Authorization"] == "Bearer t1" and "revoked" in request.query:
            return web.json_response({}, status=401)
        return web.json_response({"with": request.headers["Authorization"]})

    return answer


def _fetched(url):
    async def fetch(telephone):
        return await auth.fetch_token(telephone, url + "/token", [("grant_type", "client_credentials")])

    return auth.FetchedToken(["vendor", "secret"], fetch)


def test_many_callers_fetch_one_token():
    asked = []

    async def story():
        async with serving(_token_server(asked)) as url:
            phones = [dial(url, auth=_fetched(url)) for _ in range(8)]
            return [r.json() for r in await asyncio.gather(*(p.call("GET", "/x", verb="x") for p in phones))]

    assert run(story()) == [{"with": "Bearer t1"}] * 8
    assert asked == ["client_credentials"]


def test_a_revoked_token_is_replaced_once():
    asked = []

    async def story():
        async with serving(_token_server(asked)) as url:
            phone = dial(url, auth=_fetched(url))
            return (await phone.call("GET", "/x", verb="x", query=[("revoked", "1")])).json()

    assert run(story()) == {"with": "Bearer t2"}
    assert len(asked) == 2


@pytest.mark.parametrize("is_one_client", [True, False])
def test_many_calls_whose_token_is_refused_at_once_fetch_one_new_one(is_one_client):
    asked, refused, all_asked = [], [], asyncio.Event()

    async def answer(request):
        if request.path == "/token":
            asked.append(request.path)
            return web.json_response({"access_token": f"t{len(asked)}", "expires_in": "3600"})
        if request.headers["Authorization"] == "Bearer t1":
            refused.append(request)
            place = len(refused)
            if place == CALLS:
                all_asked.set()
            await all_asked.wait()
            await asyncio.sleep(place * 0.02)  # by then those before have a new one, and use it
            return web.json_response({}, status=401)
        return web.json_response({"with": request.headers["Authorization"]})

    async def story():
        async with serving(answer) as url:
            shared = _fetched(url)
            limits = replace(LIMITS, at_once=CALLS)
            phones = [dial(url, limits=limits, auth=shared if is_one_client else _fetched(url)) for _ in range(CALLS)]
            return [r.json() for r in await asyncio.gather(*(p.call("GET", "/x", verb="x") for p in phones))]

    assert run(story()) == [{"with": "Bearer t2"}] * CALLS
    assert (len(asked), len(refused)) == (2, CALLS)


def test_refused_credentials_are_a_problem_of_authentication():
    async def story():
        async with serving(_token_server([], status=400)) as url:
            await dial(url, auth=_fetched(url)).call("POST", "/x", verb="x")

    with pytest.raises(Problem, match="user hasn't approved") as refusal:
        run(story())
    assert (refusal.value.code, refusal.value.category) == ("credentials_refused", Category.AUTHENTICATION)


@pytest.mark.parametrize(
    "body", [b"", b"<html>Bad Request</html>", b'{"error": "temporarily_unavailable"}', b'{"code": 400}', b"[]"]
)
def test_a_400_that_names_no_error_of_ours_pauses_nothing(body):
    async def answer(_request):
        return web.Response(body=body, status=400, content_type="application/json")

    async def story():
        async with serving(answer) as url:
            await dial(url, auth=_fetched(url)).call("GET", "/x", verb="x")

    with pytest.raises(Problem, match="didn't refuse our credentials") as silence:
        run(story())
    assert (silence.value.code, silence.value.category) == ("system_unavailable", Category.AVAILABILITY)


def test_an_unusable_private_key_is_a_problem_of_authentication():
    with pytest.raises(Problem) as refusal:
        auth.assertion(key="no key", algorithm="PS256", claims={})
    assert refusal.value.code == "credentials_refused"
