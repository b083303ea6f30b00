"""compose.yaml, which takes a container engine to run: it has to start, with the same settings, what was tried."""

from typing import Any

import pytest
from ruamel.yaml import YAML

from core.settings import Settings
from deployments.pull import ROOT
from tests.deployments import test_scale_out

FILE: dict[str, Any] = YAML(typ="safe").load(ROOT / "deployments" / "compose.yaml")
SERVICES: dict[str, dict[str, Any]] = FILE["services"]

ADDRESS = {"PREFECT_UI_URL"}
"""Where a browser outside finds the server; by hand it is where it listens."""


@pytest.mark.parametrize(
    ("service", "command"),
    [
        ("server", test_scale_out.API),
        ("services", test_scale_out.BACKGROUND),
        ("worker", ("python", "-m", *test_scale_out.WORKER)),
        ("register", ("python", "-m", *test_scale_out.REGISTER)),
    ],
)
def test_a_service_runs_what_was_tried(service: str, command: tuple[str, ...]):
    (where, said) = ("--host", "0.0.0.0"), tuple(SERVICES[service]["command"])
    assert tuple(word for word in said if word not in where) == command


@pytest.mark.parametrize("service", ["server", "services"])
def test_the_server_has_the_settings_that_were_tried(service: str):
    tried = test_scale_out.scaled_out("postgresql+asyncpg://somewhere", "redis://somewhere")
    set_here = SERVICES[service]["environment"]
    assert set_here.keys() - ADDRESS == tried.keys()
    for name, value in tried.items():
        assert set_here[name].partition("://")[0] == value.partition("://")[0], name


@pytest.mark.parametrize("service", ["worker", "register"])
def test_a_worker_is_told_nothing_that_nobody_reads(service: str):
    fields = Settings.model_fields.items()
    read = {str(field.validation_alias or f"ENGINE_BENCH_{name.upper()}") for name, field in fields}
    assert SERVICES[service]["environment"].keys() <= read | ADDRESS | {"PREFECT_API_URL"}


def test_what_it_waits_for_and_mounts_is_there():
    for name, service in SERVICES.items():
        for needed, condition in service.get("depends_on", {}).items():
            assert "healthcheck" in SERVICES[needed], (name, condition)
        mounts = [volume.partition(":")[0] for volume in service.get("volumes", [])]
        assert set(mounts) <= FILE["volumes"].keys(), name
        assert {config["source"] for config in service.get("configs", [])} <= FILE["configs"].keys()


def test_its_images_can_be_built():
    builds = [service["build"] for service in SERVICES.values() if "build" in service]
    assert builds
    for build in builds:
        context = (ROOT / "deployments" / build["context"]).resolve()
        assert (context / build["dockerfile"]).is_file()


def test_two_workers_share_one_secret_and_one_results_store():
    worker = SERVICES["worker"]
    assert worker["deploy"]["replicas"] == 2
    assert f"data:{worker['environment']['ENGINE_BENCH_DATA_DIR']}" in worker["volumes"]
    assert worker["environment"]["ENGINE_BENCH_STORE_URL"].startswith("postgresql+asyncpg://")
