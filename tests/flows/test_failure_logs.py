"""What the Prefect UI shows of a run that went wrong, from a run of the command line on a real server."""

import logging
import re
from pathlib import Path

import httpx

from flows import failure_logs, prefect_artifacts
from flows.run_folder import RunFolder
from tests.flows.conftest import CommandLine
from tests.flows.test_document import document_of


def artifact(api: httpx.Client, address: str) -> str:
    """The text behind a link of the summary."""
    found = api.get(f"artifacts/{address.rpartition('/')[2]}").raise_for_status().json()
    return str(found["data"])


def summary(api: httpx.Client, flow_run: str) -> str:
    wanted = {"flow_run_id": {"any_": [flow_run]}, "key": {"like_": "summary-"}}
    (found,) = api.post("artifacts/filter", json={"artifacts": wanted}).raise_for_status().json()
    return str(found["data"])


def test_a_rollout_that_failed_is_linked_to_the_end_of_its_log(
    command_line: CommandLine, prefect_api: httpx.Client
) -> None:
    talkative = f"seq 1 {2 * failure_logs.TAIL}"
    what = ("--agent", "command", "--agent-command", talkative, "--benchmark", "hello-world", "--attempts", "2")
    finished = command_line("run", *what, "--json")
    assert finished.code == 0, finished.stderr
    flow_run = finished.document["flow_run_id"]

    rows = re.findall(
        r"\| hello-world \| \d \| 0\.000 \|.*\[log\]\((\S+/artifacts/artifact/\S+)\)", summary(prefect_api, flow_run)
    )
    assert len(rows) == 2
    for address in rows:
        text = artifact(prefect_api, address)
        assert re.search(rf"^ +{2 * failure_logs.TAIL}$", text, re.MULTILINE)
        assert not re.search("^ +1$", text, re.MULTILINE)
    run = prefect_api.get(f"flow_runs/{flow_run}").json()
    assert run["name"] == "local · command · hello-world · 1 seed · 2 attempts"
    assert {"local", "command", "hello-world"} <= set(run["tags"])


async def test_a_sandbox_that_failed_is_linked_to_its_log(
    in_process: None, prefect_api: httpx.Client, tmp_path: Path
) -> None:
    result = document_of([[None]])
    folder = RunFolder(tmp_path, result.run)
    folder.write_log("eb-1-install", "no such package")
    logs = await failure_logs.publish_failure_logs(result, folder, "sample-local")
    assert "no such package" in artifact(prefect_api, logs.sandboxes["eb-1-install"])
    assert f"[eb-1-install]({logs.sandboxes['eb-1-install']})" in prefect_artifacts.markdown(result, folder, logs)


def test_the_log_of_a_run_that_failed_has_one_line_for_each_event(
    command_line: CommandLine, prefect_api: httpx.Client
) -> None:
    attempts = 7  # tells the run from others
    wrong = command_line("run", "--daytona", "--agent", "gold", "--attempts", str(attempts))  # and there is no key
    assert wrong.code == 1
    wanted = {"flow_runs": {"name": {"like_": f"{attempts} attempts"}}}
    (run,) = prefect_api.post("flow_runs/filter", json=wanted).raise_for_status().json()
    logs = prefect_api.post("logs/filter", json={"logs": {"flow_run_id": {"any_": [run["id"]]}}}).json()
    errors = [log["message"] for log in logs if log["level"] >= logging.ERROR]
    assert any("DAYTONA_API_KEY" in message for message in errors)
    assert not [message for message in errors if "\n" in message]
