"""Where the model is that an agent talks to, and with which key."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit

from pydantic import SecretStr

from task_app.errors import InfrastructureFailure

PLACEHOLDER = "{correlation_id}"
_ROUTES = ("/chat/completions", "/responses", "/messages")


@dataclass(frozen=True)
class Provider:
    """Who serves models, if nobody stands in between."""

    name: str
    url: str
    """Without /v1."""
    key: str
    """The environment variable that holds the key."""


OPENAI = Provider("openai", "https://api.openai.com", "OPENAI_API_KEY")
ANTHROPIC = Provider("anthropic", "https://api.anthropic.com", "ANTHROPIC_API_KEY")

PROXY_KEY = "INFERENCE_API_KEY"
"""The environment variable with the key for an `inference_url`. A provider's own key is sent to that provider only."""


@dataclass(frozen=True)
class Endpoint:
    url: str
    """The address that `/responses` and the like follow; ends in /v1 unless an `inference_url` holds that elsewhere."""
    key: SecretStr = field(repr=False)
    key_name: str
    """The environment variable that it came from, for messages."""
    proxied: bool

    @property
    def root(self) -> str:
        """The address that `/v1/messages` follows, as Anthropic's clients have it."""
        return self.url.removesuffix("/v1")


def endpoint(
    provider: Provider, inference_url: str | None, correlation_id: str, environment: Mapping[str, SecretStr]
) -> Endpoint:
    """The provider itself, or the proxy at `inference_url` with the rollout's correlation id in its path.

    Raises:
        InfrastructureFailure: there is no key for the provider.
    """
    if inference_url is not None:
        key = environment.get(PROXY_KEY, SecretStr("none"))
        return Endpoint(proxy_url(inference_url, correlation_id), key, PROXY_KEY, proxied=True)
    found = environment.get(provider.key)
    if found is None or not found.get_secret_value():
        raise InfrastructureFailure(
            f"There is no key for {provider.name}: set {provider.key}, or give the policy an inference_url."
        )
    return Endpoint(f"{provider.url}/v1", found, provider.key, proxied=False)


def proxy_url(inference_url: str, correlation_id: str) -> str:
    """The base address of a proxy with the correlation id in its path, since the agents can't send a query.

    It replaces `{correlation_id}` where the URL says so. Else it is the last folder, before a final /v1; one that the
    URL names in its path or as `?cid=` is taken as it is.
    """
    parts = urlsplit(inference_url)
    cid = parse_qs(parts.query).get("cid", [correlation_id])[0]
    path = parts.path.rstrip("/")
    for route in _ROUTES:
        path = path.removesuffix(route)
    if PLACEHOLDER in path:
        path = path.replace(PLACEHOLDER, cid)
    elif cid not in path.split("/"):
        path = f"{path.removesuffix('/v1')}/{cid}"
    versioned = path if "v1" in path.split("/") else f"{path}/v1"
    return f"{parts.scheme}://{parts.netloc}{versioned}"
