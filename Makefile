# Everything a person types. `make eval` is the main job; each target sets up what it needs first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: eval eval-daytona serve deploy test test-service test-faults test-scale-out test-agents agents check format bench lock clean

eval: $(READY)
	@$(BIN)/engine-bench run --local --agent gold --benchmark sample

# The same in a Daytona sandbox, with Daytona's API emulated on this machine: no account, the real SDK.
eval-daytona: $(READY)
	@$(BIN)/python -m tests.daytona_emulator.execute $(BIN)/engine-bench run --daytona --agent gold --benchmark sample

# A Prefect server with its UI, all deployments and a worker on this machine, until Ctrl-C.
serve: $(READY)
	@exec $(BIN)/python -m deployments.serve

# The same deployments on the server that PREFECT_API_URL names.
deploy: $(READY)
	@$(BIN)/python -m deployments.register

test: $(READY)
	$(BIN)/pytest --numprocesses=logical --maxprocesses=4 --dist=loadfile

# The real agents (1 GB from npm, into a folder that git ignores) against a scripted model: on this machine with no network,
# then in the emulator as a sandbox's install step gets them.
test-agents: $(READY) agents
	$(BIN)/python -m tests.agents.real.quarantine $(filter-out %/check_emulator.py,$(wildcard tests/agents/real/check_*.py))
	$(BIN)/pytest tests/agents/real/check_emulator.py

agents: .agents/.ready

.agents/.ready: tests/agents/npm/package.json
	@mkdir -p .agents && cp $< .agents/
	npm install --prefix .agents --no-package-lock --no-audit --no-fund
	@touch $@

# What takes minutes: faults of a whole service; and PostgreSQL, Redis (Debian's packages) and two workers.
test-service: $(READY)
	$(BIN)/pytest -m slow

# Each fault at each step on each backend; prints the table of docs/reliability.md.
test-faults: $(READY)
	$(BIN)/python -m tests.faults

test-scale-out: $(READY)
	$(BIN)/pytest -m scale_out

check: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(READY)
	$(BIN)/python -m tests.bench

# The environment, from the hash-pinned lock file alone. uv comes first (itself hash-pinned): it installs the rest in seconds.
$(READY): requirements/lock.txt requirements/bootstrap.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "engine-bench needs Python 3.11 or newer; '$(PYTHON)' is older. Try: make PYTHON=python3.12" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/bootstrap.txt
	@$(BIN)/uv pip sync --quiet --python $(BIN)/python --require-hashes --compile-bytecode requirements/lock.txt
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $@

# Pins anew. No index address is written, so the files hold on any mirror.
COMPILE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --no-header --no-annotate
lock:
	$(COMPILE) pyproject.toml --extra dev -o requirements/lock.txt
	$(COMPILE) requirements/bootstrap.in -o requirements/bootstrap.txt
	$(COMPILE) task_app/requirements.in -o task_app/requirements.txt

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache
