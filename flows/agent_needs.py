"""What the agent of a run needs, settled before a sandbox is paid for: a model, a key, its program."""

from collections.abc import Mapping

from pydantic import SecretStr

from core.errors import ConfigurationError
from core.settings import Settings
from flows.parameters import Parameters
from task_app.agents import AGENTS
from task_app.agents.cli import Cli
from task_app.agents.cli_agent import CliAgent
from task_app.agents.inference import PROXY_KEY
from task_app.agents.programs import find, find_tool
from task_app.errors import InfrastructureFailure


def agent_environment(parameters: Parameters, settings: Settings) -> Mapping[str, SecretStr]:
    """What the task app is told for this agent: the one key that it needs, and where its program is.

    Raises:
        ConfigurationError: the agent lacks a model, a key, a command, or (on this machine) its program.
    """
    if parameters.rescore:
        return {}
    agent = AGENTS[parameters.agent]
    if parameters.agent == "command":
        if not parameters.agent_command:
            raise ConfigurationError("Agent command needs --agent-command, the program to run.")
        return settings.agent_keys()
    if not isinstance(agent, CliAgent):
        return {}
    return _key(agent.cli, parameters, settings) | _program(agent.cli, parameters, settings)


def asked_provider(parameters: Parameters) -> str | None:
    """Name of the model provider that the rollouts ask, `proxy` behind an inference URL; None where none is known."""
    agent = AGENTS[parameters.agent]
    if parameters.rescore or agent.uses_reference or parameters.agent == "noop":
        return None
    if parameters.inference_url:
        return "proxy"
    return agent.cli.provider(parameters.model or None).name if isinstance(agent, CliAgent) else None


def agent_tools(parameters: Parameters) -> tuple[str, ...]:
    """The programs that a fresh machine must be given for this agent, as `Backend.install` takes them."""
    agent = AGENTS[parameters.agent]
    if parameters.rescore or parameters.backend == "local" or not isinstance(agent, CliAgent):
        return ()
    program = agent.cli.program
    return (f"{program.name}=npm:{program.package}@{program.version}", *(tool.name for tool in agent.cli.tools))


def _key(cli: Cli, parameters: Parameters, settings: Settings) -> dict[str, SecretStr]:
    try:
        provider = cli.provider(parameters.model or None)
    except InfrastructureFailure as failure:
        raise ConfigurationError(str(failure)) from failure
    wanted = PROXY_KEY if parameters.inference_url else provider.key
    key = settings.agent_keys().get(wanted)
    if key is None and not parameters.inference_url:
        raise ConfigurationError(
            f"Agent {parameters.agent} has no key for {provider.name}. Set {wanted}, or give --inference-url."
        )
    return {wanted: key} if key else {}


def _program(cli: Cli, parameters: Parameters, settings: Settings) -> dict[str, SecretStr]:
    if parameters.backend != "local" or parameters.task_app_url:
        return {}
    variable = cli.program.variable
    named = settings.agent_programs().get(variable)
    try:
        program = find(cli.program, named)
        for tool in cli.tools:
            find_tool(tool, beside=program.path)
    except InfrastructureFailure as failure:
        raise ConfigurationError(str(failure)) from failure
    return {variable: SecretStr(named)} if named else {}
