import pytest
from pydantic import SecretStr

from task_app.agents.inference import ANTHROPIC, OPENAI, Endpoint, endpoint, proxy_url
from task_app.errors import InfrastructureFailure


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("http://proxy", "http://proxy/c1/v1"),
        ("http://proxy/v1", "http://proxy/c1/v1"),
        ("http://proxy/v1/", "http://proxy/c1/v1"),
        ("http://proxy:8000/a", "http://proxy:8000/a/c1/v1"),
        ("http://proxy/v1/chat/completions", "http://proxy/c1/v1"),
        ("https://host/api/v1/trial-7", "https://host/api/v1/trial-7/c1"),
        ("https://host/api/v1/trial-7?cid=c2", "https://host/api/v1/trial-7/c2"),
        ("https://host/c1/v1", "https://host/c1/v1"),
        ("https://host/{correlation_id}/x/v1", "https://host/c1/x/v1"),
    ],
)
def test_the_correlation_id_is_in_the_path_of_a_proxy(given: str, expected: str) -> None:
    assert proxy_url(given, "c1") == expected


def test_a_provider_is_asked_with_its_own_key() -> None:
    found = endpoint(ANTHROPIC, None, "c1", {"ANTHROPIC_API_KEY": SecretStr("a"), "OPENAI_API_KEY": SecretStr("o")})
    assert (found.url, found.root) == ("https://api.anthropic.com/v1", "https://api.anthropic.com")
    assert (found.key.get_secret_value(), found.key_name) == ("a", "ANTHROPIC_API_KEY")


def test_a_providers_key_goes_to_no_proxy() -> None:
    keys = {"OPENAI_API_KEY": SecretStr("o")}
    assert endpoint(OPENAI, "http://proxy", "c1", keys).key.get_secret_value() != "o"
    keys["INFERENCE_API_KEY"] = SecretStr("p")
    assert endpoint(OPENAI, "http://proxy", "c1", keys).key.get_secret_value() == "p"


@pytest.mark.parametrize("keys", [{}, {"OPENAI_API_KEY": SecretStr("")}])
def test_a_missing_key_is_told(keys: dict[str, SecretStr]) -> None:
    with pytest.raises(InfrastructureFailure, match="set OPENAI_API_KEY, or give the policy an inference_url"):
        endpoint(OPENAI, None, "c1", keys)


def test_no_key_is_shown() -> None:
    assert "secret" not in repr(Endpoint("http://x/v1", SecretStr("secret"), "K", proxied=False))
