from collections.abc import AsyncIterator

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
        assert (await ask(gateway, "nothing/there")).status_code == 404
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
