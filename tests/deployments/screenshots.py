"""Take the pictures of the documentation anew: `python -m tests.deployments.screenshots` (needs Chromium and Rust)."""

import json
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Page, expect

from tests.deployments.browser import RunForm, chromium, opened, ui_url
from tests.deployments.service import Person, Server, Service, rust

IMAGES = Path(__file__).parents[2] / "docs" / "images"
SETTLING = 10_000
"""Milliseconds; the graph of a run is drawn in an animation whose end nothing announces."""


def take_run(page: Page, person: Person, server: Server, image: Path) -> None:
    """A run in two sandboxes, finished, with its graph and the beginning of its log."""
    options = ("--agent", "gold", "--benchmark", "sample", "--sandboxes", "2")
    finished = person("flows", "run", *options, PREFECT_API_URL=server.api_url)
    if finished.code != 0:
        sys.exit(finished.output)
    (document,) = (person.folder / "results").glob("*/result.json")
    page.goto(f"{ui_url(server)}/runs/flow-run/{json.loads(document.read_text())['flow_run_id']}")
    expect(page.get_by_role("log")).to_contain_text("in 2 local sandboxes")
    expect(page.locator("canvas")).to_be_visible()
    page.wait_for_timeout(SETTLING)
    page.screenshot(path=image)


def take_form(page: Page, server: Server, image: Path) -> None:
    """Its upper part, down to the agent, which is chosen."""
    page.set_viewport_size({"width": 1400, "height": 1150})
    RunForm(page, server, "engine-bench/local").choose("agent", "gold")
    page.screenshot(path=image)


def main() -> None:
    program = chromium()
    if program is None:
        sys.exit("Error: there is no Chromium. Install Debian's package `chromium`.")
    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        person = Person(Path(folder), **rust())
        service = Service(person)
        try:
            with opened(program, Path(folder) / "profile") as page:
                take_run(page, person, service.server, IMAGES / "run.png")
                take_form(page, service.server, IMAGES / "form.png")
        finally:
            service.stop()


if __name__ == "__main__":
    main()
