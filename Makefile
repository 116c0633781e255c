# Everything runs in .venv, which is made on first use: with uv if there is one, else with the newest Python here.
PYTHON := .venv/bin/python
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help demo test lint format chaos mutations bench clean

help: ## Say what there is to make
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## See workflows survive a killed worker, on nothing but this machine
	@tests/setup/venv
	@$(PYTHON) examples/demo.py $(ARGS)

test: ## Run all tests; gets redis-server and rabbitmq-server if they are missing (ARGS="-k name" for some)
	@tests/setup/servers
	@tests/setup/venv dev
	@$(PYTHON) -m pytest --numprocesses 4 --dist worksteal $(ARGS)

lint: ## Check style, types and import rules
	@tests/setup/venv dev
	@$(PYTHON) -m pytest --quiet tests/typing $(ARGS)

format: ## Rewrite the code in the house's format
	@tests/setup/venv dev
	@$(PYTHON) -m ruff check --quiet --fix-only .
	@$(PYTHON) -m ruff format .

chaos: ## Kill, stop, cut off and restart everything while orders run, and check every promise (MINUTES=5 SEED=7 EXECUTIONS=10000 ARGS=...)
	@tests/setup/servers
	@tests/setup/venv dev
	@$(PYTHON) -m tests.faults $(if $(MINUTES),--minutes $(MINUTES)) $(if $(SEED),--seed $(SEED)) $(if $(EXECUTIONS),--executions $(EXECUTIONS)) $(ARGS)

mutations: ## Switch off one mechanism after the other in a copy of the tree, and see that a test notices (ARGS="fence" for some)
	@tests/setup/servers
	@tests/setup/venv dev
	@$(PYTHON) -m tests.faults.mutating $(ARGS)

bench: ## Measure replay, executions a second (embedded, in tests, on private Redis and RabbitMQ), and schedules
	@tests/setup/servers
	@tests/setup/venv dev
	@$(PYTHON) benchmarks/replay.py
	@$(PYTHON) benchmarks/throughput.py
	@$(PYTHON) benchmarks/testing.py
	@$(PYTHON) -m tests.setup.with_servers $(PYTHON) benchmarks/throughput.py
	@$(PYTHON) -m tests.setup.with_servers $(PYTHON) benchmarks/schedules.py

clean: ## Remove what was built, cached and installed here
	rm -rf .venv dist build .runner .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
