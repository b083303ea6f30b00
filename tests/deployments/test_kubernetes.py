"""The work pool's job template: every placeholder has a variable, and every variable is used."""

import json
import re
from typing import Any

import pytest

from deployments.pull import ROOT
from tests.deployments.service import Server

TEMPLATE: dict[str, Any] = json.loads((ROOT / "deployments" / "kubernetes-job-template.json").read_text())


def test_placeholders_and_variables_are_the_same():
    placeholders = set(re.findall(r"\{\{ (\w+) \}\}", json.dumps(TEMPLATE["job_configuration"])))
    assert placeholders == set(TEMPLATE["variables"]["properties"])


def test_each_variable_can_be_filled_in_from_the_form():
    for variable in TEMPLATE["variables"]["properties"].values():
        assert variable["title"]
        assert variable["description"]


@pytest.mark.slow
def test_a_server_takes_it(server: Server):
    pool = server.post("work_pools/", name="on-kubernetes", type="kubernetes", base_job_template=TEMPLATE)
    try:
        assert pool["base_job_template"] == TEMPLATE
    finally:
        server.http.delete("work_pools/on-kubernetes").raise_for_status()
