import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from task_app.agents.gateway import Gateway, opened
from task_app.agents.inference import Endpoint
from task_app.doors import Door
from tests.scripted_model import Act, Cut, Refuse, Say, Script, ScriptedModel, Silence, serving

KEY = "the-real-key"
BEARER = ("Authorization", "Bearer x")
TOOLS = [{"type": "function", "function": {"name": "bash", "parameters": {}}}]
ASKED = {"model": "m", "messages": [{"role": "user", "content": "hello"}], "tools": TOOLS}


@pytest.fixture
async def model() -> AsyncIterator[ScriptedModel]:
    async with serving() as model:
        yield model


def target(model: ScriptedModel, *turn: Act | Cut | Refuse | Silence, key: str | None = KEY) -> Endpoint:
    return Endpoint(f"{model.add('one', Script([turn], key=key))}/v1", SecretStr(KEY), "THE_KEY", proxied=True)


async def ask(
    gateway: Gateway, path: str = "chat/completions", stream: bool = False, auth: tuple[str, str] = BEARER
) -> httpx.Response:
    async with httpx.AsyncClient(trust_env=False, timeout=20) as client:
        url = f"{gateway.endpoint.url}/{path}"
        return await client.post(url, json={**ASKED, "stream": stream}, headers=dict([auth]))


@pytest.mark.parametrize("stream", [False, True])
async def test_an_answer_comes_through_and_the_key_does_not(model: ScriptedModel, stream: bool) -> None:
    async with opened(target(model, Say("hello back")), 5, Door.on_this_machine()) as gateway:
        answer = await ask(gateway, stream=stream)
        assert answer.status_code == 200
        assert "hello back" in answer.text
        assert gateway.trouble is None
        assert KEY not in f"{gateway.endpoint.url} {gateway.endpoint.key.get_secret_value()}"
    (asked,) = model.asked["one"]
    assert (asked.key, asked.path) == (KEY, "/s/one/v1/chat/completions")


async def test_the_key_takes_the_place_of_the_agents_own_in_either_form(model: ScriptedModel) -> None:
    async with opened(target(model, Say("hi")), 5, Door.on_this_machine()) as gateway:
        assert (await ask(gateway, auth=("X-Api-Key", "x"))).status_code == 200
        assert (await ask(gateway, auth=BEARER)).status_code == 200


async def test_who_does_not_know_the_address_gets_nothing(model: ScriptedModel) -> None:
    async with (
        opened(target(model, Say("hi")), 5, Door.on_this_machine()) as gateway,
        httpx.AsyncClient(trust_env=False) as client,
    ):
        origin = httpx.URL(gateway.endpoint.url).copy_with(path="/v1/chat/completions")
        assert (await client.post(origin, json=ASKED)).status_code == 404
    assert model.asked["one"] == []


async def test_a_refusal_is_known_also_where_the_agent_hangs_up_first() -> None:
    """Its length tells an agent that it has all of it; the model may keep the connection for longer."""
    body = json.dumps({"error": {"message": "unheard of", "code": "model_not_found"}}).encode()

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        await reader.read()
        writer.close()

    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        async with opened(
            Endpoint(url, SecretStr(KEY), "THE_KEY", proxied=True), 20, Door.on_this_machine()
        ) as gateway:
            assert (await ask(gateway)).status_code == 404
    assert gateway.trouble is not None
    assert (gateway.trouble.status, gateway.trouble.message) == (404, "unheard of")


async def test_a_refusal_is_passed_on_and_known(model: ScriptedModel) -> None:
    async with opened(
        target(model, Refuse(429, "no money", "insufficient_quota", times=1), Say("hi")), 5, Door.on_this_machine()
    ) as gateway:
        assert (await ask(gateway)).status_code == 429
        assert gateway.trouble is not None
        assert (gateway.trouble.status, gateway.trouble.code) == (429, "insufficient_quota")
        assert gateway.trouble.message == "no money"
        assert (await ask(gateway)).status_code == 200
        assert gateway.trouble is None


async def test_what_other_routes_say_is_of_no_consequence(model: ScriptedModel) -> None:
    async with opened(target(model, Say("hi")), 5, Door.on_this_machine()) as gateway:
        async with httpx.AsyncClient(trust_env=False) as client:
            assert (await client.get(f"{gateway.endpoint.url}/nothing/there")).status_code == 404
        assert gateway.trouble is None


async def test_a_silent_model_is_given_up(model: ScriptedModel) -> None:
    async with opened(target(model, Silence()), 0.3, Door.on_this_machine()) as gateway:
        with pytest.raises(httpx.RemoteProtocolError):
            await ask(gateway, stream=True)
        assert gateway.trouble is not None
        assert "silent" in gateway.trouble.message


async def test_a_model_that_is_down_is_told_from_one_that_refuses() -> None:
    async with opened(
        Endpoint("http://127.0.0.1:9/v1", SecretStr(KEY), "THE_KEY", proxied=True), 5, Door.on_this_machine()
    ) as gateway:
        assert (await ask(gateway)).status_code == 502
        assert gateway.trouble is not None
        assert "can't be reached" in gateway.trouble.message


async def test_an_agent_that_leaves_says_nothing_about_the_model(model: ScriptedModel) -> None:
    async with opened(target(model, Silence()), 30, Door.on_this_machine()) as gateway:
        asked = {**ASKED, "stream": True}
        async with (
            httpx.AsyncClient(trust_env=False) as client,
            client.stream("POST", f"{gateway.endpoint.url}/chat/completions", json=asked) as answer,
        ):
            assert answer.status_code == 200
    assert gateway.trouble is None


async def test_turns_are_limited(model: ScriptedModel) -> None:
    async with opened(target(model, Say("hi")), 5, Door.on_this_machine(), max_turns=2) as gateway:
        assert [(await ask(gateway)).status_code for _ in range(2)] == [200, 200]
        assert not gateway.refused_turn
        refused = await ask(gateway)
        assert (refused.status_code, gateway.refused_turn) == (400, True)
        assert "limit of 2 turns" in refused.text
    assert len(model.asked["one"]) == 2


async def test_answers_that_are_asked_for_at_once_or_left_count_as_turns(model: ScriptedModel) -> None:
    """As soon as they are asked for: before they have come, and if nobody waits for them."""
    async with opened(target(model, Silence()), 30, Door.on_this_machine(), max_turns=1) as gateway:
        asking = asyncio.create_task(ask(gateway))
        while not model.asked.get("one"):  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.01)
        assert (await ask(gateway)).status_code == 400
        asking.cancel()
        await asyncio.wait({asking})
        assert (await ask(gateway)).status_code == 400


@pytest.mark.parametrize(
    ("route", "change", "what"),
    [
        ("responses", {"tools": [{"type": "web_search"}]}, "the tool web_search"),
        ("responses", {"tools": [*TOOLS, {"type": "mcp", "server_url": "https://elsewhere"}]}, "the tool mcp"),
        ("responses", {"tools": [{"type": "namespace", "tools": [{"type": "web_search"}]}]}, "the tool web_search"),
        ("messages", {"tools": [{"type": "web_fetch_20250910", "name": "web_fetch"}]}, "the tool web_fetch_20250910"),
        ("messages", {"mcp_servers": [{"type": "url", "url": "https://elsewhere"}]}, "the field mcp_servers"),
        ("chat/completions", {"web_search_options": {"search_context_size": "low"}}, "the field web_search_options"),
        ("chat/completions", {"plugins": [{"id": "web"}]}, "the field plugins"),
        ("chat/completions", {"model": "gpt-4o-search-preview"}, "the model gpt-4o-search-preview"),
        ("responses", {"input": [{"content": [{"file_url": "https://elsewhere/x"}]}]}, "a file or picture"),
        (
            "messages",
            {"messages": [{"content": [{"source": {"type": "url", "url": "http://x"}}]}]},
            "a file or picture",
        ),
        ("chat/completions", {"messages": [{"content": [{"image_url": {"url": "HTTP://x"}}]}]}, "a file or picture"),
        ("batches", {}, "the route batches"),
        ("responses/../batches", {}, "the route"),
    ],
)
async def test_a_model_can_not_reach_the_internet_in_the_agents_place(
    model: ScriptedModel, route: str, change: dict[str, Any], what: str
) -> None:
    async with opened(target(model, Say("hi")), 5, Door.on_this_machine()) as gateway:
        answer = await said(gateway, f"POST {{}}/{route}", json.dumps({**ASKED, **change}).encode())
        assert answer.startswith("HTTP/1.1 400")
        assert f"There is no internet here, so {what}" in answer
        assert gateway.trouble is None
    assert model.asked["one"] == []


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b"\x1f\x8b packed", "Content-Encoding: gzip\r\n"),
        (b"[]", ""),
        (b"[" * 10**6, ""),
        (b'{"tools": [{"type": "web\\u005fsearch"}]}', ""),
    ],
    ids=["packed", "no object", "nested", "escaped"],
)
async def test_nor_by_what_is_written_in_another_way(model: ScriptedModel, body: bytes, headers: str) -> None:
    async with opened(target(model, Say("hi")), 5, Door.on_this_machine()) as gateway:
        assert (await said(gateway, "POST {}/chat/completions", body, headers)).startswith("HTTP/1.1 400")
    assert model.asked["one"] == []


async def test_what_comes_behind_a_request_goes_nowhere(model: ScriptedModel) -> None:
    """A second request that only the model would see, since the first one says that it is shorter."""
    body = json.dumps(ASKED).encode()
    async with opened(target(model, Say("hi")), 5, Door.on_this_machine()) as gateway:
        behind = b"POST /s/one/v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}"
        length = f"Content-Length: {len(body)}\r\n"
        answer = await said(gateway, "POST {}/chat/completions", body + behind, length, tell_length=False)
        assert answer.startswith("HTTP/1.1 200")
        two_ends = f"{length}X: a\nTransfer-Encoding: chunked\r\n"
        assert await said(gateway, "POST {}/chat/completions", body, two_ends, tell_length=False) == ""
    assert len(model.asked["one"]) == 1


async def test_a_request_in_chunks_arrives_in_one_piece(model: ScriptedModel) -> None:
    whole = json.dumps(ASKED).encode()
    body = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (whole[:5], whole[5:])) + b"0\r\n\r\n"
    async with opened(target(model, Say("hi")), 5, Door.on_this_machine()) as gateway:
        chunked = "Transfer-Encoding: chunked\r\n"
        answer = await said(gateway, "POST {}/chat/completions", body, chunked, tell_length=False)
    assert answer.startswith("HTTP/1.1 200")
    assert [asked.body for asked in model.asked["one"]] == [ASKED]


async def test_addresses_in_what_is_said_and_called_are_nobodys_business(model: ScriptedModel) -> None:
    called = {"type": "tool_use", "id": "t", "name": "fetch", "input": {"url": "https://elsewhere"}}
    said_before = [{"role": "user", "content": "see https://elsewhere"}, {"role": "assistant", "content": [called]}]
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    body = {**ASKED, "messages": [*said_before, {"role": "user", "content": [picture]}]}
    async with opened(target(model, Say("hi")), 5, Door.on_this_machine()) as gateway:
        assert "There is no internet" not in await said(gateway, "POST {}/chat/completions", json.dumps(body).encode())


async def test_with_the_internet_a_model_may_search(model: ScriptedModel) -> None:
    async with opened(target(model, Say("hi")), 5, Door.on_this_machine(), internet=True) as gateway:
        body = json.dumps({**ASKED, "web_search_options": {}}).encode()
        assert (await said(gateway, "POST {}/chat/completions", body)).startswith("HTTP/1.1 200")


async def said(gateway: Gateway, line: str, body: bytes, headers: str = "", tell_length: bool = True) -> str:
    """The answer to a request written by hand; `{}` in its first line is the gateway's path."""
    url = httpx.URL(gateway.endpoint.url)
    length = f"Content-Length: {len(body)}\r\n" if tell_length else ""
    reader, writer = await asyncio.open_connection(url.host, url.port)
    head = f"{line.format(url.path)} HTTP/1.1\r\nHost: x\r\n{length}{headers}\r\n"
    writer.write(head.encode() + body)
    answer = (await reader.read()).decode()
    writer.close()
    return answer
