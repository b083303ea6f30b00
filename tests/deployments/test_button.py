"""The button: the Run form that Prefect makes of the parameters, and what its run looks like, in a real browser."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest
from playwright.sync_api import Locator, Page, expect

from flows.parameters import Parameters
from tests.deployments.browser import RunForm, chromium, opened
from tests.deployments.service import Server

pytestmark = pytest.mark.slow

DEPLOYMENT = "engine-bench/local"
STEPS = ("provision", "upload", "install", "start", "health", "eval", "cleanup")


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Page]:
    program = chromium()
    if program is None:
        pytest.skip("needs Chromium: install Debian's package `chromium`")
    with opened(program, tmp_path / "profile") as page:
        yield page


@pytest.fixture
def form(page: Page, server: Server) -> RunForm:
    return RunForm(page, server, DEPLOYMENT)


def is_green(badge: Locator) -> bool:
    colour = str(badge.evaluate("badge => getComputedStyle(badge).backgroundColor"))
    red, green, blue = (int(part) for part in re.findall(r"\d+", colour)[:3])
    return green > max(red, blue)


def test_each_parameter_has_its_description_and_a_widget_with_its_default(form: RunForm) -> None:
    for name, field in Parameters.model_fields.items():
        expect(form.field(name)).to_contain_text(str(field.description))
        if get_args(field.annotation) and isinstance(field.default, str):
            expect(form.choice(name)).to_have_text(field.default)
        elif isinstance(field.default, bool):
            expect(form.widget(name).get_by_role("switch")).to_be_checked(checked=field.default)
        elif isinstance(field.default, int):
            expect(form.widget(name).get_by_role("spinbutton")).to_have_value(str(field.default))
        elif isinstance(field.default, str):
            expect(form.widget(name).get_by_role("textbox")).to_have_value(field.default)
        else:
            expect(form.widget(name)).to_contain_text("No items in this list")
            expect(form.widget(name).get_by_role("button", name="Add item")).to_be_visible()


def test_enums_are_drop_downs_of_their_values(form: RunForm) -> None:
    enums = {name: list(get_args(form_field.annotation)) for name, form_field in Parameters.model_fields.items()}
    offered = {name: form.options(name) for name in ("backend", "benchmark", "agent")}
    assert offered == {name: enums[name] for name in offered}


def test_nothing_needs_json(form: RunForm) -> None:
    """The editor of Prefect is CodeMirror, which it falls back to for what it has no widget for."""
    expect(form.field("resume")).to_be_visible()
    expect(form.page.locator(".cm-editor")).to_have_count(0)


def test_what_is_filled_in_runs_and_its_seven_steps_turn_green(form: RunForm, server: Server) -> None:
    form.choose("benchmark", "hello-world")
    form.choose("agent", "gold")
    run = form.press_run()
    assert server.ended(run.run)["type"] == "COMPLETED"
    run.show_steps()
    for step in STEPS:
        badge = run.completed(step)
        expect(badge).to_be_visible()
        assert is_green(badge), step
    expect(run.page.get_by_text("local · gold · hello-world · 1 seed").first).to_be_visible()
