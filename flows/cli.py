"""The command line, `engine-bench`. Prefect is imported only where a flow runs, so that help and lists are instant."""

import sys
from importlib.metadata import version
from typing import Annotated

from cyclopts import App, CycloptsError, Parameter
from rich.console import Console
from rich.text import Text

from core.errors import EngineBenchError
from core.settings import Settings
from flows import benchmarks_cli, catalogue, doctor, doctor_agents, exit_codes, matrix_cli, snapshots_cli
from flows.parameters import Parameters
from flows.server import LocalServer


class UsageError(EngineBenchError):
    """The options contradict each other."""


app = App(
    name="engine-bench",
    help="Scores coding agents on EngineBench.",
    help_epilogue="Exit codes: 0 all rollouts scored, 1 the run failed, 2 wrong usage, 3 below --min-reward, "
    "130 interrupted, 143 terminated.",
    version=version("engine-bench"),
)
server = App(name="server", help="The local Prefect server, which `run` starts where PREFECT_API_URL names no other.")
app.command(server)
app.command(snapshots_cli.app)
app.command(matrix_cli.matrix)
app.command(benchmarks_cli.verify)
app.command(benchmarks_cli.fetch)
app.command(benchmarks_cli.cache_app)


@app.command
def run(
    *,
    parameters: Annotated[Parameters, Parameter(name="*", negative="")] = Parameters(),  # noqa: B008
    local: Annotated[bool, Parameter(negative="")] = False,
    daytona: Annotated[bool, Parameter(negative="")] = False,
    min_reward: float | None = None,
    json: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Run one eval and show its results.

    Parameters
    ----------
    local
        Short for `--backend local`.
    daytona
        Short for `--backend daytona`.
    min_reward
        Exit with 3 if the mean reward is below this.
    json
        Print the result document, and nothing else, on stdout.
    """
    if local and daytona:
        raise UsageError("--local and --daytona exclude each other. Give one of them.")
    if local or daytona:
        parameters = parameters.model_copy(update={"backend": "local" if local else "daytona"})
    from flows import runner  # noqa: PLC0415 - brings Prefect along, which takes a second to import

    return runner.run(parameters, min_reward=min_reward, as_json=json)


@app.command
def resume(
    run: str,
    *,
    rescore: Annotated[bool, Parameter(negative="")] = False,
    min_reward: float | None = None,
    json: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Continue an interrupted run with the parameters that it had: only what has no score is run.

    Parameters
    ----------
    run
        Name of the run (its folder under results/), its id, or the beginning of either.
    rescore
        Run no agent: grade again what the run's agents wrote, as a run of its own. The old scores stay.
    min_reward
        Exit with 3 if the mean reward is below this.
    json
        Print the result document, and nothing else, on stdout.
    """
    from flows import runner  # noqa: PLC0415 - brings Prefect along, which takes a second to import

    parameters = Parameters(rescore=run) if rescore else Parameters(resume=run)
    return runner.run(parameters, min_reward=min_reward, as_json=json)


@app.command
def show(run: str = "latest", instance: str | None = None, /) -> None:
    """Show a run's rollouts, or what the agent did on one instance: its turns, the diff, the tests.

    Parameters
    ----------
    run
        Name of the run (its folder under results/), or the beginning of it.
    instance
        Id of an instance.
    """
    from flows.show import show as render  # noqa: PLC0415 - brings the syntax highlighter along

    Console().print(render(run, instance, Settings()))


@app.command(name="list")
def list_(*, benchmark: str | None = None, path: str = "") -> None:
    """List benchmarks and agents, or the instances of one benchmark.

    Parameters
    ----------
    benchmark
        Show this benchmark's instances.
    path
        Folder of the benchmark, for `harbor` and `engine-bench`.
    """
    settings = Settings()
    Console().print(catalogue.instances(benchmark, settings, path) if benchmark else catalogue.overview(settings))


@app.command(name="open")
def open_(*, browser: bool = True) -> None:
    """Show the addresses of the Prefect UI, and open the last run in the browser.

    Parameters
    ----------
    browser
        Open a browser; `--no-browser` only shows the addresses.
    """
    from flows.open_ui import show_addresses  # noqa: PLC0415 - brings Prefect along, which takes a second to import

    show_addresses(Settings(), browser=browser)


@app.command(name="doctor")
def doctor_(*, json: Annotated[bool, Parameter(negative="")] = False) -> int:
    """Check what each backend and agent needs, and tell how to get what is missing.

    Parameters
    ----------
    json
        Print the checks as JSON.
    """
    settings = Settings()
    return doctor.report(settings, doctor_agents.agent_checks(settings), as_json=json)


@server.command
def start() -> None:
    """Start the local Prefect server, or find the one that runs."""
    record = LocalServer(Settings()).ensure(announce=Console(stderr=True).print)
    Console().print(f"Prefect UI: {record.ui_url}")


@server.command
def status() -> int:
    """Show whether the local Prefect server runs; exits with 1 if not."""
    local = LocalServer(Settings())
    state, record = local.state()
    where = f" at {record.ui_url} (pid {record.pid}, log {local.log})" if record else ""
    Console().print(f"The local Prefect server is {state}{where}", highlight=False, soft_wrap=True)
    return 0 if state == "running" else exit_codes.FAILED


@server.command
def stop() -> None:
    """Stop the local Prefect server; its history is kept."""
    record = LocalServer(Settings()).stop()
    Console().print(f"Stopped the server at {record.ui_url}" if record else "No local server runs", highlight=False)


def main() -> None:
    """Entry point of the console script: one clear line for each error, and the right exit code."""
    errors = Console(stderr=True)
    try:
        code = app(result_action="return_value", exit_on_error=False, error_console=errors)
    except CycloptsError:
        sys.exit(exit_codes.USAGE)
    except EngineBenchError as error:
        errors.print("[red]Error:[/]", Text(str(error)), soft_wrap=True)
        sys.exit(exit_codes.USAGE if isinstance(error, UsageError) else exit_codes.FAILED)
    except KeyboardInterrupt:
        sys.exit(exit_codes.INTERRUPTED)
    sys.exit(code or 0)
