# make demo: set up, then train and evaluate the embedded default.   make test: set up, then the tests.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
TEST_STAMP := $(VENV)/.installed-tests
.PHONY: demo test test-beam check clean

$(STAMP): setup.py constraints.txt
	@echo "== setting up $(VENV) (about a minute; once)"
	@$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11))" || { echo "mmrep needs Python >= 3.11: make PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev,trackers]"
	@touch $(STAMP)

$(TEST_STAMP): $(STAMP)
	@echo "== adding what the tests need besides"
	@$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev,trackers,medical,fast]"
	@touch $(TEST_STAMP)

demo: $(STAMP)
	@echo "== mmrep train configs/quickstart.py --workdir runs/quickstart"
	@$(BIN)/mmrep train configs/quickstart.py --workdir runs/quickstart

test: $(TEST_STAMP)
	@echo "== tests (units, references, end to end, an eighth of the slower arms)"
	@$(BIN)/ruff check .
	@$(BIN)/python -m pytest -q -n 2 --dist worksteal --durations=10

test-beam:
	@echo "== builders on Apache Beam, in .venv-beam: it wants older packages than constraints.txt"
	@$(PYTHON) -m venv .venv-beam
	@.venv-beam/bin/pip install --quiet --disable-pip-version-check -e ".[dev,medical,beam]"
	@.venv-beam/bin/python -m pytest -q tests/data/builders/test_base.py

check: $(TEST_STAMP)
	@echo "== adding trackers and launchers, which only these tests use"
	@$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev,trackers,medical,fast,wandb,mlflow,slurm,search]"
	@echo "== everything else: the slower arms that make test leaves out today"
	@$(BIN)/python -m pytest -q --durations=10 -n 2 --dist worksteal --rest
	@echo "== controls of the quickstart, shortened: shuffled pairs stay at chance, labels teach"
	@rm -rf runs/check_controls
	@$(BIN)/python -m experiments.quickstart_controls.controls --out runs/check_controls --total "100 steps"

clean:
	rm -rf $(VENV) .venv-beam runs
