import pytest
from pydantic import SecretStr, ValidationError

from core.errors import ConfigurationError
from core.settings import Settings
from sandboxes import open_backend
from sandboxes.base import Sandbox, SandboxSpec, env_file


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "a/b", "/etc", "A", "-x", "a b", "a\n", "é", "x" * 64])
def test_names_that_could_mean_more_than_a_name_are_refused(name):
    with pytest.raises(ValidationError):
        SandboxSpec(name=name, run_id="r", lane=0)
    with pytest.raises(ValidationError):
        Sandbox(backend="any", name=name, id="x", workdir="/x")


def test_an_environment_file_holds_values_as_they_are():
    values = {"PLAIN": "x", "QUOTED": "\"a\" 'b'", "SIGNS": " a=b # $c \\ \t", "EMPTY": "", "ACCENT": "é"}
    text = env_file({name: SecretStr(value) for name, value in values.items()})
    assert dict(line.split("=", 1) for line in text.splitlines()) == values


def test_an_unknown_backend_is_answered_with_those_there_are():
    with pytest.raises(ConfigurationError, match=r"'moon'.*local"):
        open_backend("moon", Settings())
