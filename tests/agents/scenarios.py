"""What the real programs were recorded with, and are tried with: by name, scripts for a model."""

from collections.abc import Mapping

from tests.scripted_model import Bash, Cut, Refuse, Say, Script, Usage, Write

KEY = "the-key-of-the-provider"
MODEL = "scripted"
USAGE = Usage(input=1000, cached=200, output=50)
DONE = (
    (Say("I write the file."), Write("hello.txt", "Hello, world!\n")),
    (Bash("cat hello.txt; exit 3"),),
    (Say("Done."),),
)

_NOT_RECORDED = {
    # it makes its context shorter and goes on, here without end
    "opencode": {"too-long"},
}


def scenarios(agent: str) -> list[str]:
    """Those that are recorded of an agent."""
    return [name for name in SCENARIOS if name not in _NOT_RECORDED.get(agent, ())]


SCENARIOS: Mapping[str, Script] = {
    "done": Script(DONE, USAGE, KEY),
    "retried": Script(((Refuse(500, times=1), *DONE[0]), *DONE[1:]), USAGE, KEY),
    "key-refused": Script(DONE, USAGE, key="another-key"),
    "forbidden": Script([[Refuse(403, "This key may not use the model.")]]),
    "quota": Script([[Refuse(429, "You exceeded your current quota.", "insufficient_quota")]]),
    "no-such-model": Script([[Refuse(404, "The model scripted does not exist.", "model_not_found")]]),
    "too-long": Script([DONE[0], [Refuse(400, "prompt is too long: 300000 tokens", "context_length_exceeded")]]),
    "server-error": Script([[Refuse(500, "The server had an error.")]]),
    "cut": Script([[Cut(), *DONE[0]]], USAGE),
}
