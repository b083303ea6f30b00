"""An act of a script as a call of whichever tools an agent offers."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from tests.scripted_model.script import Bash, Edit, Read, Write

Kind = Literal["function", "custom"]
Tools = Mapping[str, Kind]
"""Names of the offered tools; a custom one takes free text instead of JSON arguments."""


@dataclass(frozen=True)
class Call:
    tool: str
    arguments: dict[str, object] | str
    """Text for a custom tool."""

    @property
    def json(self) -> str:
        return json.dumps(self.arguments)


def call(act: Write | Edit | Read | Bash, tools: Tools, folder: str | None) -> Call:
    """The call that performs an act.

    Args:
        folder: what relative paths are relative to, for tools that want absolute ones.

    Raises:
        LookupError: no offered tool can do it.
    """
    if tools.get("exec") == "custom":
        return _in_code(call(act, _CODE_MODE, folder))
    if isinstance(act, Bash):
        return _shell(act.command, tools)
    path = act.path if folder is None else os.path.join(folder, act.path)
    if isinstance(act, Read):
        return _first(tools, {"Read": {"file_path": path}, "read": {"filePath": path}}) or _shell(
            f"cat '{act.path}'", tools
        )
    if isinstance(act, Write):
        arguments = {
            "Write": {"file_path": path, "content": act.content},
            "write": {"filePath": path, "content": act.content},
        }
        return _first(tools, arguments) or _patch(_added(act), tools) or _shell(_heredoc(act), tools)
    arguments = {
        "Edit": {"file_path": path, "old_string": act.old, "new_string": act.new},
        "edit": {"filePath": path, "oldString": act.old, "newString": act.new},
    }
    found = _first(tools, arguments) or _patch(_updated(act), tools)
    if found is None:
        raise LookupError(f"None of the tools {sorted(tools)} can edit a file.")
    return found


_CODE_MODE: Tools = {"exec_command": "function", "apply_patch": "custom"}
"""What codex offers within its code mode, whose only tool runs JavaScript."""


def _in_code(inner: Call) -> Call:
    return Call("exec", f"const result = await tools.{inner.tool}({inner.json});\ntext(result);")


def _shell(command: str, tools: Tools) -> Call:
    described: dict[str, object] = {"command": command, "description": "scripted"}
    arguments: dict[str, dict[str, object]] = {
        "exec_command": {"cmd": command, "yield_time_ms": 30_000},
        "shell_command": {"command": command},
        "shell": {"command": ["bash", "-lc", command]},
        "Bash": described,
        "bash": described,
    }
    found = _first(tools, arguments)
    if found is None:
        raise LookupError(f"None of the tools {sorted(tools)} runs a command.")
    return found


def _first(tools: Tools, arguments: Mapping[str, Mapping[str, object]]) -> Call | None:
    return next((Call(name, dict(given)) for name, given in arguments.items() if name in tools), None)


def _patch(text: str, tools: Tools) -> Call | None:
    if "apply_patch" not in tools:
        return None
    return Call("apply_patch", text if tools["apply_patch"] == "custom" else {"patchText": text})


def _added(act: Write) -> str:
    return f"*** Begin Patch\n*** Add File: {act.path}\n{_prefixed('+', act.content)}*** End Patch"


def _updated(act: Edit) -> str:
    """Patches work on whole lines, so the texts of the act must be whole lines, too."""
    change = _prefixed("-", act.old) + _prefixed("+", act.new)
    return f"*** Begin Patch\n*** Update File: {act.path}\n@@\n{change}*** End Patch"


def _prefixed(sign: str, text: str) -> str:
    return "".join(f"{sign}{line}\n" for line in text.splitlines())


def _heredoc(act: Write) -> str:
    end = "" if act.content.endswith("\n") else "\n"
    return f"cat > '{act.path}' <<'END_OF_SCRIPTED_FILE'\n{act.content}{end}END_OF_SCRIPTED_FILE"
