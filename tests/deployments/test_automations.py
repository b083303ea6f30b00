"""The automations, each fired for real; in two of them the windows are shorter than in service."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from prefect.blocks.notifications import CustomWebhookNotificationBlock
from prefect.client.orchestration import PrefectClient, get_client
from prefect.events import emit_event
from prefect.events.utilities import EventsWorker
from prefect.settings import PREFECT_API_URL, temporary_settings

from core.errors import ConfigurationError
from deployments.automations import NOTIFICATION_BLOCK, Definition, apply_automations, read_automations
from tests.deployments.service import Server, eventually

pytestmark = pytest.mark.slow

SHORT = 10
"""Seconds, the least that Prefect accepts for an absence."""


class Inbox:
    """Where notifications go."""

    def __init__(self) -> None:
        self.messages: list[dict[str, str]] = []
        inbox = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                inbox.messages.append(json.loads(body))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """pytest's output is not the place."""

        self.http = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/"

    def awaits(self, words: str) -> dict[str, str]:
        """The message whose subject holds these words."""

        def look() -> dict[str, str] | None:
            return next((message for message in self.messages if words in message["subject"]), None)

        return eventually(look, f"a notification with {words!r}, in {self.messages}")


@pytest.fixture
def inbox() -> Iterator[Inbox]:
    inbox = Inbox()
    thread = threading.Thread(target=inbox.http.serve_forever)
    thread.start()
    yield inbox
    inbox.http.shutdown()
    inbox.http.server_close()
    thread.join()


@pytest.fixture
async def client(server: Server) -> AsyncIterator[PrefectClient]:
    with temporary_settings({PREFECT_API_URL: server.api_url}):
        async with get_client() as client:
            yield client


@pytest.fixture
async def notified(client: PrefectClient, inbox: Inbox) -> AsyncIterator[Inbox]:
    """The automations tell the inbox; afterwards they are as `make serve` has left them."""
    content = {"subject": "{{subject}}", "body": "{{body}}"}
    block = CustomWebhookNotificationBlock(name="inbox", url=inbox.url, method="POST", json_data=content)
    document = await block.save(NOTIFICATION_BLOCK, overwrite=True)  # type: ignore[misc]
    await apply_automations(client, [shortened(automation) for automation in read_automations()])
    yield inbox
    await client.delete_block_document(document)
    await apply_automations(client)


def shortened(automation: Definition) -> Definition:
    """For the late nightly; a shorter window for heartbeats would take runs for dead that only wait for a processor."""
    if "late" not in automation["name"]:
        return automation
    return {**automation, "trigger": {**automation["trigger"], "within": SHORT}}


async def test_applying_again_changes_nothing(client: PrefectClient, server: Server):
    def automations() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = server.post("automations/filter", sort="NAME_ASC")
        volatile = {"updated", "id"}
        return [{key: value for key, value in automation.items() if key not in volatile} for automation in found]

    before = automations()
    assert {automation["name"] for automation in before} >= {automation["name"] for automation in read_automations()}
    await apply_automations(client)
    assert _without_trigger_ids(automations()) == _without_trigger_ids(before)


async def test_what_was_switched_off_stays_off_and_others_are_left_alone(client: PrefectClient):
    name = "engine-bench · regression"
    (automation,) = await client.read_automations_by_name(name)
    await client.pause_automation(automation.id)
    try:
        await apply_automations(client)
        (again,) = await client.read_automations_by_name(name)
        assert (again.id, again.enabled) == (automation.id, False)
    finally:
        await client.resume_automation(automation.id)


async def test_a_deployment_that_is_not_there_is_named(client: PrefectClient):
    wrong = {**read_automations()[0], "actions": [{"type": "run-deployment", "deployment": "no-such/one"}]}
    with pytest.raises(ConfigurationError, match="no-such/one"):
        await apply_automations(client, [wrong])


async def test_without_a_block_a_notification_is_an_event_of_the_feed(client: PrefectClient, server: Server):
    (automation,) = await client.read_automations_by_name("engine-bench · nightly failed")
    assert [action.type for action in automation.actions] == ["do-nothing"]
    run = server.press_run("engine-bench/nightly", later=True)
    server.set_state(run, "FAILED")
    assert await asyncio.to_thread(_fired, server, str(automation.id))


@pytest.mark.parametrize(("type_", "name"), [("FAILED", "Failed"), ("CRASHED", "Crashed"), ("FAILED", "TimedOut")])
async def test_a_nightly_that_ends_badly_notifies(notified: Inbox, server: Server, type_: str, name: str):
    others = server.press_run("engine-bench/local", later=True)
    server.set_state(others, type_, name, message="not a nightly")
    run = server.press_run("engine-bench/nightly", later=True)
    server.set_state(run, type_, name, message="no seeds left")
    message = await asyncio.to_thread(notified.awaits, f"has ended as {name}")
    assert "no seeds left" in message["body"]
    assert f"/runs/flow-run/{run}" in message["body"]
    assert not [message for message in notified.messages if "not a nightly" in message["body"]]


async def test_a_nightly_that_does_not_begin_notifies(notified: Inbox, server: Server):
    run = server.press_run("engine-bench/nightly", later=True)
    assert server.set_state(run, "SCHEDULED", "Late", force=True) == "ACCEPT"
    message = await asyncio.to_thread(notified.awaits, "is late")
    assert run in message["body"]
    server.set_state(run, "CANCELLED")


async def test_a_regression_notifies(notified: Inbox, server: Server):
    with temporary_settings({PREFECT_API_URL: server.api_url}):
        emit_event(
            "engine-bench.regression",
            resource={"prefect.resource.id": "engine-bench.benchmark.sample", "prefect.resource.name": "sample"},
            payload={"message": "mean reward 0.412, before 0.733"},
        )
        await EventsWorker.drain_all()  # type: ignore[misc]
    message = await asyncio.to_thread(notified.awaits, "sample has regressed")
    assert "0.412" in message["body"]


def _fired(server: Server, automation: str) -> bool:
    """Whether the feed says so."""

    def look() -> bool:
        resource = {"id": [f"prefect.automation.{automation}"]}
        wanted = {"event": {"name": ["prefect.automation.triggered"]}, "resource": resource}
        return bool(server.post("events/filter", filter=wanted)["events"])

    return eventually(look, "the automation's event")


def _without_trigger_ids(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_trigger_ids(inner) for key, inner in value.items() if key != "id"}
    if isinstance(value, list):
        # the server holds the names of events as a set, and lists them in any order
        return sorted((_without_trigger_ids(inner) for inner in value), key=str)
    return value
