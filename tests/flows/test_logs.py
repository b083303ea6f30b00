"""What a run says, and who is not there to hear it."""

import logging
import os

import pytest
from prefect.logging.handlers import PrefectConsoleHandler

from flows.logs import outlive_listeners


def test_a_run_goes_on_where_nobody_reads_what_it_prints(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as nobody_listens:
        handler = PrefectConsoleHandler(stream=nobody_listens)
        monkeypatch.setattr(logging.getLogger("prefect"), "handlers", [handler])
        outlive_listeners()
        for line in ("one", "two"):
            handler.emit(logging.LogRecord("prefect", logging.INFO, __file__, 1, line, None, None))
        with pytest.raises(BrokenPipeError):
            nobody_listens.flush()
        os.dup2(os.open(os.devnull, os.O_WRONLY), writing)
