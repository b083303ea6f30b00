"""What using synth-ai leaves of this process, looked at from processes of their own."""

import subprocess
import sys
from pathlib import Path

USES_EVAL_JOB = """
import asyncio, builtins, logging, os, signal, sys
from pydantic import SecretStr
from core.errors import EngineBenchError
from evals.client import EvalClient
from evals.models import EvalRequest, Policy

def state():
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    return (sys.stdout, sys.stderr, builtins.print, handlers, dict(os.environ), logging.getLogger().handlers)

before = state()
request = EvalRequest(
    task_app_url="http://127.0.0.1:9", task_app_api_key=SecretStr("key"), run_id="r", benchmark="b", seeds=[0],
    policy=Policy(agent="gold"),
)
try:
    asyncio.run(EvalClient("http://127.0.0.1:9", SecretStr("key")).run(request))
except EngineBenchError as error:
    print(type(error).__name__)
assert "synth_ai.sdk.eval" in sys.modules
assert state() == before
"""


def _run(code: str, home: Path) -> str:
    environment = {"HOME": str(home), "PATH": "/usr/bin:/bin"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_eval_job_leaves_the_process_and_the_home_folder_as_they_were(tmp_path: Path) -> None:
    assert _run(USES_EVAL_JOB, tmp_path) == "EvalServiceUnavailable"
    assert list(tmp_path.iterdir()) == []


def test_what_is_imported_is_light(tmp_path: Path) -> None:
    code = "import sys, evals.client, evals.service; print({'synth_ai', 'fastapi', 'uvicorn'} & set(sys.modules))"
    assert _run(code, tmp_path) == "set()"
