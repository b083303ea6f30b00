"""The Prefect UI as a person sees it, in headless Chromium: the Run form of a deployment, and the page of a run.

It is the UI that a new browser is led to. Prefect keeps its former one beside it.
"""

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path

from playwright.sync_api import Locator, Page, expect, sync_playwright

from tests.deployments.service import PATIENCE, Server

PRESSES = 3
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def chromium() -> str | None:
    """The browser of this machine, None where there is none."""
    return shutil.which("chromium")


def ui_url(server: Server) -> str:
    return f"{server.api_url.removesuffix('/api')}/v2"


@contextmanager
def opened(program: str, profile: Path) -> Iterator[Page]:
    """An empty page of 1400 x 900 in a browser with a new profile.

    Args:
        program: path of Chromium.
        profile: a folder for its settings and cache.
    """
    expect.set_options(timeout=PATIENCE * 1000)
    with sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            profile, executable_path=program, args=FLAGS, viewport={"width": 1400, "height": 900}
        )
        context.set_default_timeout(PATIENCE * 1000)
        try:
            yield context.new_page()
        finally:
            context.close()


class RunForm:
    """The form behind a deployment's Run button."""

    def __init__(self, page: Page, server: Server, deployment: str) -> None:
        self.page = page
        self._server = server
        self.run = page.get_by_role("button", name="Submit")
        page.goto(f"{ui_url(server)}/deployments/deployment/{server.deployment(deployment)['id']}/run")
        expect(self.run).to_be_visible()

    def field(self, name: str) -> Locator:
        """A parameter's label, description and widget: the innermost element that holds them all."""
        label = self.page.get_by_text(f"{name} (Optional)", exact=True)
        return self.page.locator("div").filter(has=label).filter(has=self.page.get_by_role("group")).last

    def widget(self, name: str) -> Locator:
        """What the parameter is set with."""
        return self.field(name).get_by_role("group")

    def choice(self, name: str) -> Locator:
        """The button of a drop-down, which shows what is chosen."""
        return self.widget(name).get_by_role("button", name=f"Select {name}")

    def options(self, name: str) -> list[str]:
        """What a drop-down offers."""
        self.choice(name).click()
        options = self.page.get_by_role("option")
        expect(options.first).to_be_visible()
        names = options.all_inner_texts()
        self.page.keyboard.press("Escape")
        self._closed()
        return names

    def choose(self, name: str, option: str) -> None:
        self.choice(name).click()
        self.page.get_by_role("option", name=option, exact=True).click()
        self._closed()
        expect(self.choice(name)).to_have_text(option)

    def _closed(self) -> None:
        """A drop-down that still fades away takes the next one with it."""
        expect(self.page.get_by_role("option")).to_have_count(0)

    def press_run(self) -> "RunPage":
        """Press the button and go to the run's page. The UI offers a link to it, but only for a few seconds.

        Once more, as a person would, where the server says that its database is busy.
        """
        for _ in range(PRESSES):
            with self.page.expect_response(re.compile(r"/create_flow_run$")) as created:
                self.run.click()
            answer = created.value
            if answer.status != HTTPStatus.SERVICE_UNAVAILABLE:
                break
        assert answer.ok, answer.text()
        return RunPage(self.page, self._server, str(answer.json()["id"]))


class RunPage:
    """The page of a run."""

    def __init__(self, page: Page, server: Server, run: str) -> None:
        self.page = page
        self.run = run
        """The flow run's id."""
        self._url = f"{ui_url(server)}/runs/flow-run/{run}"
        page.goto(self._url)

    def show_steps(self) -> None:
        """Load the list of steps: a page that was opened before its run began is not always refreshed by the UI."""
        self.page.goto(f"{self._url}?tab=TaskRuns")

    def completed(self, step: str) -> Locator:
        """The badge that says so, of a step of lane 1."""
        link = self.page.get_by_role("link", name=f"{step} · lane 1", exact=True)
        badge = self.page.get_by_text("Completed", exact=True)
        return self.page.get_by_role("listitem").filter(has=link).filter(has=badge).get_by_text("Completed", exact=True)
