"""What is known after a call that went wrong: never sent, not answered, or refused (law 4)."""

import asyncio
import socket

import pytest
from aiohttp import web

from connectors import http
from connectors.manifest import Limits
from connectors.recorder import Collector
from q2c.core.clocks import since_boot
from q2c.core.problems import Category, NeverSent, NotAnswered, Problem
from tests.connectors.lines import dial, run, serving


def test_an_answer_comes_back_whole_and_with_exact_decimals():
    async def answer(request):
        return web.json_response(text='{"total": 10.10, "count": 3}')

    async def story():
        async with serving(answer) as url:
            reply = await dial(url).call("GET", "/thing", verb="read")
            return reply.json("total")

    assert str(run(story())["total"]) == "10.10"


def test_a_refused_connection_is_never_sent():
    async def story():
        with socket.socket() as held:
            held.bind(("127.0.0.1", 0))
            port = held.getsockname()[1]
        await dial(f"http://127.0.0.1:{port}").call("POST", "/thing", verb="post", json={})

    with pytest.raises(NeverSent):
        run(story())


def test_a_name_that_does_not_resolve_is_never_sent():
    with pytest.raises(NeverSent):
        run(dial("http://no-such-name.invalid").call("POST", "/thing", verb="post", json={}))


def test_a_certificate_that_does_not_prove_itself_is_never_sent():
    seen = []

    async def answer(request):
        seen.append(request.path)
        return web.Response()

    async def story():
        async with serving(answer) as url:
            await dial(url.replace("http://", "https://")).call("POST", "/thing", verb="post", json={})

    with pytest.raises(NeverSent):
        run(story())
    assert seen == []


def test_a_write_whose_answer_is_cut_off_is_not_answered_and_was_made():
    made = []

    async def answer(request):
        made.append(await request.json())
        request.transport.close()
        await asyncio.Event().wait()

    async def story():
        async with serving(answer) as url:
            await dial(url).call("POST", "/thing", verb="post", json={"a": 1})

    with pytest.raises(NotAnswered):
        run(story())
    assert made == [{"a": 1}]


def test_a_truncated_body_leaves_a_write_unknown_and_a_read_unavailable():
    async def answer(request):
        response = web.StreamResponse(headers={"Content-Length": "500", "Content-Type": "application/json"})
        await response.prepare(request)
        await response.write(b'{"id": "1')
        request.transport.close()
        return response

    async def story(method):
        async with serving(answer) as url:
            await dial(url).call(method, "/thing", verb="x")

    with pytest.raises(NotAnswered):
        run(story("POST"))
    with pytest.raises(Problem) as read:
        run(story("GET"))
    assert read.value.category is Category.AVAILABILITY


def test_a_slow_answer_times_out_as_not_answered():
    async def answer(request):
        await asyncio.Event().wait()

    async def story():
        async with serving(answer) as url:
            limits = Limits(at_once=1, timeout_seconds=0.7 - 5.0, connect_seconds=5.0)  # 0.7 s in all
            await dial(url, limits=limits).call("POST", "/thing", verb="post", json={})

    with pytest.raises(NotAnswered):
        run(story())


def test_html_with_status_200_is_no_success():
    async def answer(request):
        return web.Response(text="<html>Please log in</html>", content_type="text/html")

    async def story(method):
        async with serving(answer) as url:
            reply = await dial(url).call(method, "/thing", verb="x")
            reply.json("id")

    with pytest.raises(NotAnswered):
        run(story("POST"))
    with pytest.raises(Problem) as read:
        run(story("GET"))
    assert read.value.code == "answer_not_understood"


def test_an_answer_without_the_needed_field_is_no_success():
    async def answer(request):
        return web.json_response({"success": False})

    async def story():
        async with serving(answer) as url:
            (await dial(url).call("POST", "/thing", verb="x")).json("id")

    with pytest.raises(NotAnswered, match="id is missing"):
        run(story())


def test_after_the_send_deadline_nothing_leaves():
    seen = []

    async def answer(request):
        seen.append(request.path)
        return web.Response(status=204)

    async def story():
        async with serving(answer) as url:
            telephone = dial(url)
            await telephone.call("POST", "/first", verb="x")
            past = since_boot() - 0.001
            token = http.outgoing.set(http.Outgoing(deadline=past))
            try:
                await telephone.call("POST", "/late", verb="x")
            finally:
                http.outgoing.reset(token)

    with pytest.raises(NeverSent, match="deadline"):
        run(story())
    assert seen == ["/first"]


def test_the_deadline_is_checked_after_the_connection_is_made():
    """A worker may be paused while it connects: the check is the last thing before the bytes."""
    seen = []

    async def answer(request):
        seen.append(request.path)
        return web.Response(status=204)

    async def story():
        async with serving(answer) as url:
            telephone = dial(url)
            session = http._session(telephone.line, telephone.limits)
            connect = session.connector._create_connection
            passed = since_boot() + 0.2

            async def slow(*args):
                made = await connect(*args)
                while since_boot() < passed:
                    await asyncio.sleep(0.01)
                return made

            session.connector._create_connection = slow
            token = http.outgoing.set(http.Outgoing(deadline=passed))
            try:
                await telephone.call("POST", "/late", verb="x")
            finally:
                http.outgoing.reset(token)

    with pytest.raises(NeverSent, match="deadline"):
        run(story())
    assert seen == []


def test_a_read_does_not_ask_for_a_deadline():
    async def answer(request):
        return web.json_response({})

    async def story():
        async with serving(answer) as url:
            http.outgoing.set(http.Outgoing(deadline=0.0))
            return (await dial(url).call("GET", "/thing", verb="x")).status

    assert run(story()) == 200


def test_redirects_are_not_followed():
    seen = []

    async def answer(request):
        seen.append(request.path)
        return web.Response(status=307, headers={"Location": "/elsewhere"})

    async def story():
        async with serving(answer) as url:
            await dial(url).call("POST", "/thing", verb="x")

    with pytest.raises(Problem):
        run(story())
    assert seen == ["/thing"]


def test_an_answer_longer_than_the_cap_is_cut_off(monkeypatch):
    monkeypatch.setattr(http, "ANSWER_BYTES_MAX", 1000)

    async def answer(request):
        return web.Response(body=b"x" * 5000)

    async def story():
        async with serving(answer) as url:
            await dial(url).call("POST", "/thing", verb="x")

    with pytest.raises(NotAnswered, match="longer than"):
        run(story())


def test_a_compressed_answer_is_capped_by_its_real_size(monkeypatch):
    monkeypatch.setattr(http, "ANSWER_BYTES_MAX", 100_000)

    async def answer(request):
        response = web.Response(body=b"x" * 5_000_000)
        response.enable_compression(web.ContentCoding.gzip)
        return response

    async def story():
        async with serving(answer) as url:
            await dial(url).call("POST", "/thing", verb="x")

    with pytest.raises(NotAnswered, match="longer than"):
        run(story())


def test_every_exchange_is_recorded_with_its_transaction_and_without_credentials():
    collector = Collector()

    class Secretive:
        async def authorize(self, headers, **_):
            headers["Authorization"] = "Bearer s3cret"

        def forget(self, sent):
            return False

    async def answer(request):
        assert request.headers["Authorization"] == "Bearer s3cret"
        assert request.headers["X-Correlation-Id"] == "corr-1"
        return web.json_response({"id": "7"}, status=201)

    async def story():
        async with serving(answer) as url:
            http.outgoing.set(http.Outgoing(step="post_invoice", correlation_id="corr-1"))
            await dial(url, collector=collector, auth=Secretive()).call("POST", "/thing", verb="post", json={"a": 1})

    run(story())
    (noted,) = collector.take()
    assert (noted.status, noted.request_body, noted.response_body) == (201, b'{"a":1}', b'{"id": "7"}')
    assert (noted.about.step, noted.verb, noted.failure) == ("post_invoice", "post", "")
    assert "Authorization" not in noted.request_headers
    assert collector.take() == []


def test_a_refused_token_is_fetched_anew_once_and_no_more():
    asked = []

    class Token:
        async def authorize(self, headers, **_):
            asked.append("authorize")

        def forget(self, sent):
            asked.append("forget")
            return True

    async def answer(request):
        return web.Response(status=401)

    async def story():
        async with serving(answer) as url:
            await dial(url, auth=Token()).call("POST", "/thing", verb="x")

    with pytest.raises(Problem):
        run(story())
    assert asked == ["authorize", "forget", "authorize"]


def test_one_session_is_kept_alive_for_all_calls_of_a_loop():
    ports = set()

    async def answer(request):
        ports.add(request.transport.get_extra_info("peername")[1])
        return web.Response(status=204)

    async def story():
        async with serving(answer) as url:
            for _ in range(5):
                await dial(url).call("POST", "/thing", verb="x")

    run(story())
    assert len(ports) == 1


def test_no_more_calls_are_under_way_than_the_connection_allows():
    most, now, release = [0], [0], asyncio.Event()

    async def answer(request):
        now[0] += 1
        most[0] = max(most[0], now[0])
        if now[0] == 4:
            release.set()
        await release.wait()
        now[0] -= 1
        return web.Response(status=204)

    async def story():
        async with serving(answer) as url:
            telephone = dial(url)  # at_once=4
            await asyncio.gather(*(telephone.call("POST", "/x", verb="x") for _ in range(12)))

    run(story())
    assert most[0] == 4
