"""The one typed place where settings and secrets come in; nothing else reads the environment."""

from pathlib import Path

import platformdirs
from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from core.errors import ConfigurationError


def _cache_dir() -> Path:
    return platformdirs.user_cache_path("engine-bench")


def _data_dir() -> Path:
    return platformdirs.user_data_path("engine-bench")


class Settings(BaseSettings):
    """Read from the environment; names are the field names in upper case, with the prefix where one is given."""

    model_config = SettingsConfigDict(env_prefix="ENGINE_BENCH_", extra="ignore", populate_by_name=True)

    cache_dir: Path = Field(default_factory=_cache_dir)
    """Where local sandboxes live. Private to the user; safe to delete while nothing runs."""

    cache_limit: float = Field(default=5, gt=0)
    """GiB of builds that are kept for later sandboxes (`ENGINE_BENCH_CACHE_LIMIT`); the oldest go first."""

    data_dir: Path = Field(default_factory=_data_dir)
    """Where the local Prefect server keeps its database, and the installation its secret."""

    results_dir: Path = Path("results")
    """Where result documents go, one folder a run. Relative to the working directory."""

    store_url: str | None = None
    """SQLAlchemy URL of the results store; default: `rollouts.db` in `results_dir`."""

    local_venv: bool = False
    """Give each local sandbox a virtual environment of its own instead of this interpreter."""

    dir: Path | None = None
    """A clone of EngineBench (`ENGINE_BENCH_DIR`), for `benchmark=engine-bench`."""

    synth_backend_url: str | None = Field(default=None, validation_alias="SYNTH_BACKEND_URL")
    """A hosted eval service to use instead of the embedded one."""

    synth_api_key: SecretStr | None = Field(default=None, validation_alias="SYNTH_API_KEY")

    environment_api_key: SecretStr | None = Field(default=None, validation_alias="ENVIRONMENT_API_KEY")
    """Key of a task app that already runs."""

    daytona_api_key: SecretStr | None = Field(default=None, validation_alias="DAYTONA_API_KEY")
    """For `backend=daytona`. Without it, the block `DaytonaCredentials` is asked."""

    daytona_api_url: str = Field(default="https://app.daytona.io/api", validation_alias="DAYTONA_API_URL")

    daytona_target: str | None = Field(default=None, validation_alias="DAYTONA_TARGET")
    """Region that sandboxes run in; default: that of the account."""

    openai_api_key: SecretStr | None = Field(default=None, validation_alias="OPENAI_API_KEY")
    anthropic_api_key: SecretStr | None = Field(default=None, validation_alias="ANTHROPIC_API_KEY")
    inference_api_key: SecretStr | None = Field(default=None, validation_alias="INFERENCE_API_KEY")
    """Key for the proxy that the parameter `inference_url` names."""

    opencode_bin: str | None = Field(default=None, validation_alias="OPENCODE_BIN")
    """The agents' programs, where those on PATH are not meant."""
    codex_bin: str | None = Field(default=None, validation_alias="CODEX_BIN")
    claude_bin: str | None = Field(default=None, validation_alias="CLAUDE_BIN")

    @property
    def secrets(self) -> tuple[SecretStr, ...]:
        """All keys that are set: what no log may show."""
        values = (getattr(self, name) for name in type(self).model_fields)
        return tuple(value for value in values if isinstance(value, SecretStr))

    @property
    def sandboxes_dir(self) -> Path:
        return self.cache_dir / "sandboxes"

    @property
    def builds_dir(self) -> Path:
        """Builds of benchmarks' crates, which local sandboxes share."""
        return self.cache_dir.expanduser().resolve() / "builds"

    @property
    def builds_limit(self) -> int:
        """Bytes."""
        return int(self.cache_limit * (1 << 30))

    @property
    def resolved_store_url(self) -> str:
        return self.store_url or f"sqlite+aiosqlite:///{self.results_dir.absolute() / 'rollouts.db'}"

    def agent_keys(self) -> dict[str, SecretStr]:
        """The keys for models that are set, by environment variable."""
        keys = {
            "OPENAI_API_KEY": self.openai_api_key,
            "ANTHROPIC_API_KEY": self.anthropic_api_key,
            "INFERENCE_API_KEY": self.inference_api_key,
        }
        return {name: key for name, key in keys.items() if key is not None and key.get_secret_value()}

    def agent_programs(self) -> dict[str, str]:
        """The agents' programs that are set, by environment variable."""
        programs = {"OPENCODE_BIN": self.opencode_bin, "CODEX_BIN": self.codex_bin, "CLAUDE_BIN": self.claude_bin}
        return {name: program for name, program in programs.items() if program}

    def hosted_eval_service(self) -> tuple[str, SecretStr] | None:
        """URL and key of the hosted eval service, None where the embedded one is to be used.

        Raises:
            ConfigurationError: a URL is set without a key.
        """
        if self.synth_backend_url is None:
            return None
        if self.synth_api_key is None:
            raise ConfigurationError(
                f"SYNTH_BACKEND_URL is set ({self.synth_backend_url}) but SYNTH_API_KEY is not. "
                "Set the key, or unset SYNTH_BACKEND_URL to use the embedded eval service."
            )
        return self.synth_backend_url, self.synth_api_key
