"""A model server that says what a script tells it to, for testing agents without a provider.

It speaks three wire protocols, streamed and not: OpenAI's Responses and Chat Completions, and Anthropic's Messages. One
script serves all of them: its acts ("write this file", "run this command") become calls of the tools that the agent
offers. Which turn comes next follows from the conversation that a request carries, so retries and concurrent rollouts
are deterministic. Faults are acts, too.
"""

from tests.scripted_model.script import Act, Bash, Cut, Edit, Read, Refuse, Say, Script, Silence, Usage, Write
from tests.scripted_model.server import ScriptedModel, serving

__all__ = [
    "Act",
    "Bash",
    "Cut",
    "Edit",
    "Read",
    "Refuse",
    "Say",
    "Script",
    "ScriptedModel",
    "Silence",
    "Usage",
    "Write",
    "serving",
]
