"""prefect.yaml as it is written: Prefect takes unknown keys and parameters without a word, so that is checked here."""

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from prefect.cli.deploy._models import (
    ConcurrencyLimitSpec,
    DeploymentConfig,
    PrefectYamlModel,
    RawScheduleConfig,
    WorkPoolConfig,
)
from prefect.client.schemas.schedules import CronSchedule
from prefect.flows import Flow, load_flow_from_entrypoint
from pydantic import BaseModel
from ruamel.yaml import YAML

from deployments.pull import ROOT
from deployments.work_pool import QUEUES, WORK_POOL

FILE: dict[str, Any] = YAML(typ="safe").load(ROOT / "prefect.yaml")
DEPLOYMENTS: list[dict[str, Any]] = FILE["deployments"]
ANCHORS = {"definitions"}
"""Holds YAML anchors; Prefect does not read it."""

each = pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=lambda deployment: deployment["name"])


def known(model: type[BaseModel]) -> set[str]:
    return set(model.model_fields) | {field.alias for field in model.model_fields.values() if field.alias}


def flow_of(deployment: dict[str, Any]) -> Flow[Any, Any]:
    return load_flow_from_entrypoint(str(ROOT / deployment["entrypoint"]))


def unknown_keys(file: dict[str, Any]) -> Iterator[str]:
    yield from file.keys() - known(PrefectYamlModel) - ANCHORS
    for deployment in file["deployments"]:
        yield from deployment.keys() - known(DeploymentConfig)
        yield from deployment["work_pool"].keys() - known(WorkPoolConfig)
        yield from deployment.get("concurrency_limit", {}).keys() - known(ConcurrencyLimitSpec)
        for schedule in deployment["schedules"]:
            yield from schedule.keys() - known(RawScheduleConfig)


def test_every_key_is_one_that_prefect_reads():
    assert list(unknown_keys(FILE)) == []


def test_a_wrong_key_would_be_noticed():
    misspelt = {**DEPLOYMENTS[0], "enforce_parameters_schema": True, "schedules": [{"cron": "* * * * *", "tz": "UTC"}]}
    assert set(unknown_keys({"deployments": [misspelt], "deployment": []})) == {
        "deployment",
        "enforce_parameters_schema",
        "tz",
    }


def test_the_deployments_are_these():
    names = [f"{flow_of(deployment).name}/{deployment['name']}" for deployment in DEPLOYMENTS]
    assert names == [
        "engine-bench/local",
        "engine-bench/daytona",
        "engine-bench/nightly",
        "engine-bench-matrix/local",
        "engine-bench-matrix/daytona",
        "sweep-sandboxes/hourly",
    ]


@each
def test_its_parameters_are_those_of_its_flow(deployment):
    flow = flow_of(deployment)
    assert deployment["parameters"].keys() <= flow.parameters.properties.keys()
    flow.validate_parameters(deployment["parameters"])
    assert deployment["enforce_parameter_schema"] is True


@each
def test_its_queue_has_a_limit(deployment):
    assert deployment["work_pool"]["name"] == WORK_POOL
    assert deployment["work_pool"]["work_queue_name"] in QUEUES


@each
def test_its_runs_send_heartbeats_often_enough(deployment):
    heartbeat = float(deployment["work_pool"]["job_variables"]["env"]["PREFECT_FLOWS_HEARTBEAT_FREQUENCY"])
    (automation,) = [
        automation
        for automation in YAML(typ="safe").load(ROOT / "deployments" / "automations.yaml")
        if "heartbeat" in automation["name"]
    ]
    assert 2 * heartbeat < automation["trigger"]["within"]


@each
def test_its_schedules_name_a_time_zone(deployment):
    for schedule in deployment["schedules"]:
        assert CronSchedule(cron=schedule["cron"], timezone=schedule["timezone"])
        assert ZoneInfo(schedule["timezone"])


def test_the_nightly_takes_all_seeds_in_the_cloud_and_is_never_doubled():
    (nightly,) = [deployment for deployment in DEPLOYMENTS if deployment["name"] == "nightly"]
    assert {"backend": "daytona", "seeds": 0}.items() <= nightly["parameters"].items()
    assert nightly["concurrency_limit"] == {"limit": 1, "collision_strategy": "CANCEL_NEW"}
    assert len(nightly["schedules"]) == 1


def test_the_pull_step_is_in_the_wheel():
    """A worker imports it from what is installed."""
    packages = tomllib.loads(Path(ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert {"deployments", "flows"} <= set(packages["packages"])
    assert FILE["pull"] == [{"deployments.pull.installed_code": {}}]
