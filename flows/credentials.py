"""Where Daytona's API key comes from when the environment has none: a block on the Prefect server."""

from typing import cast

from prefect.blocks.core import Block
from pydantic import Field, SecretStr

from core.settings import Settings

BLOCK_NAME = "engine-bench"


class DaytonaCredentials(Block):
    """An account at Daytona. Save it as `engine-bench`, and runs with the Daytona backend use it."""

    _block_type_name = "Daytona Credentials"
    _block_type_slug = "daytona-credentials"
    _description = "API key, URL and region for engine-bench's Daytona backend."

    api_key: SecretStr = Field(description="An API key with the permissions to write and delete sandboxes.")
    api_url: str = Field(default="", description="The API's URL; empty for Daytona's own cloud.")
    target: str = Field(default="", description="The region, e.g. `us` or `eu`; empty for the account's default.")


async def with_daytona_credentials(settings: Settings) -> Settings:
    """The settings, completed from the block where the environment has no key; as they are where there is no block."""
    if settings.daytona_api_key is not None:
        return settings
    try:
        block = cast(DaytonaCredentials, await DaytonaCredentials.aload(BLOCK_NAME))
    except ValueError:  # Prefect's way to say that there is none
        return settings
    return settings.model_copy(
        update={
            "daytona_api_key": block.api_key,
            "daytona_api_url": block.api_url or settings.daytona_api_url,
            "daytona_target": block.target or settings.daytona_target,
        }
    )
