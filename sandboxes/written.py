"""Files as text in an image definition: a build context would need object storage."""

import base64
import shlex
from collections.abc import Iterator

_LINE = 60_000
"""Characters of one piece; Docker refuses lines from 65,535 on."""


def writing(path: str, content: bytes) -> Iterator[str]:
    """Shell commands that write a file, each short enough for a line of a Dockerfile. The folder must be there."""
    text = base64.b64encode(content).decode()
    encoded = shlex.quote(f"{path}.b64")
    for start in range(0, len(text), _LINE):
        yield f"echo {text[start : start + _LINE]} >> {encoded}"
    yield f"base64 -d {encoded} > {shlex.quote(path)} && rm {encoded}"
