"""Applies automations.yaml to a Prefect server. By name, so that doing it twice changes nothing."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

from prefect.client.orchestration import PrefectClient
from prefect.events.schemas.automations import AutomationCore
from prefect.exceptions import ObjectNotFound
from ruamel.yaml import YAML

from core.errors import ConfigurationError

AUTOMATIONS = Path(__file__).with_name("automations.yaml")

NOTIFICATION_BLOCK = "engine-bench-notifications"
"""A notification block of this name, of any type, is told; without one a notification is an event in Prefect's feed."""

Definition = Mapping[str, Any]


def read_automations(path: Path = AUTOMATIONS) -> list[Definition]:
    """The definitions as they are written, with names where the server wants ids."""
    definitions: list[Definition] = YAML(typ="safe").load(path)
    return definitions


async def apply_automations(client: PrefectClient, definitions: Sequence[Definition] | None = None) -> None:
    """Create or update each by its name. One that somebody has switched off stays off; others are left alone.

    Raises:
        ConfigurationError: an action names a deployment that is not registered.
    """
    block = await _notification_block(client)
    for definition in read_automations() if definitions is None else definitions:
        actions = [await _resolved(action, block, client) for action in definition["actions"]]
        wanted = AutomationCore.model_validate({**definition, "actions": actions})
        known = await client.read_automations_by_name(wanted.name)
        if not known:
            await client.create_automation(wanted)
        for automation in known:
            await client.update_automation(automation.id, wanted.model_copy(update={"enabled": automation.enabled}))


async def _resolved(action: Definition, block: UUID | None, client: PrefectClient) -> Definition:
    if action["type"] == "send-notification":
        return {**action, "block_document_id": block} if block else {"type": "do-nothing"}
    if "deployment" in action:
        rest = {key: value for key, value in action.items() if key != "deployment"}
        return {**rest, "source": "selected", "deployment_id": await _deployment(client, action["deployment"])}
    return action


async def _deployment(client: PrefectClient, name: str) -> UUID:
    try:
        return (await client.read_deployment_by_name(name)).id
    except ObjectNotFound:
        raise ConfigurationError(f"There is no deployment {name!r} yet. `make deploy` registers all of them.") from None


async def _notification_block(client: PrefectClient) -> UUID | None:
    page = 200
    offset = 0
    while documents := await client.read_block_documents(offset=offset, limit=page, include_secrets=False):
        for document in documents:
            if document.name == NOTIFICATION_BLOCK:
                return document.id
        offset += page
    return None
