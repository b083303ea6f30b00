"""A command of its own emulator: what it finds, how it ends."""

import json
import signal
import subprocess
import sys

EXECUTE = [sys.executable, "-m", "tests.daytona_emulator.execute"]


def test_the_command_finds_an_emulator_that_answers() -> None:
    program = (
        "import json, os, urllib.request\n"
        "url, key = os.environ['DAYTONA_API_URL'], os.environ['DAYTONA_API_KEY']\n"
        "request = urllib.request.Request(url + '/sandbox', headers={'Authorization': 'Bearer ' + key})\n"
        "print(urllib.request.urlopen(request).read().decode())"
    )
    done = subprocess.run([*EXECUTE, sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["items"] == []


def test_its_exit_code_is_the_commands() -> None:
    assert subprocess.run([*EXECUTE, "sh", "-c", "exit 7"], capture_output=True, check=False).returncode == 7


def test_a_request_to_end_is_the_commands_to_handle() -> None:
    program = "trap 'echo cleaned up; exit 3' TERM; echo ready; while :; do sleep 0.1; done"
    with subprocess.Popen([*EXECUTE, "sh", "-c", program], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGTERM)
        assert process.stdout.read() == "cleaned up\n"
    assert process.returncode == 3
