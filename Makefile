# Two commands are enough: `make up` runs Cube on this machine, `make test` checks everything.
# Nothing but Python 3.11 or newer and its venv module is needed. ARGS= goes to the command: make up ARGS=--verbose

.POSIX:
.PHONY: help up test setup assets extras test-contracts bench-submit bench-jobs-list bench-devcluster bench-devcluster-soak bench-logs bench-dags bench-editor bench-schedules lint format clean

help:
	@echo 'make up               run Cube here: http://127.0.0.1:8000, or CUBE_PORT=8001, CUBE_DATA_DIR=~/cube'
	@echo 'make test             every check; ends with a summary of what passed, was skipped (why) or failed'
	@echo 'make setup            .venv with the pinned Python packages (again only when requirements change)'
	@echo 'make assets           the style sheet, fonts and icons of the pages'
	@echo 'make extras           PyTorch, for the distributed example on the built-in cluster (large)'
	@echo 'make test-contracts   the cluster contract on the fake, the devcluster and CUBE_TEST_KUBECONFIG'
	@echo 'make bench-submit     1,000 submissions by 8 clients against a Cube of its own (QUICK=1: a minute)'
	@echo 'make bench-jobs-list  the jobs list with 200,000 jobs (QUICK=1: a minute)'
	@echo 'make bench-devcluster the built-in cluster: pods, objects, watches, idle; -soak: 10,000 jobs (QUICK=1: a minute)'
	@echo 'make bench-logs       L1 to L12: exactness and speed of logs (QUICK=1: little of each; ONLY=L4,L6)'
	@echo 'make bench-dags       S7: a run of 3,000 tasks, 100 chains of 100, and the editor (QUICK=1: a tenth of the tasks)'
	@echo 'make bench-editor     a pipeline of 200 tasks in a browser: the longest task of the main thread'
	@echo 'make bench-schedules  S1 to S6, S8 to S12: schedules, beside others (QUICK=1: little of each; ONLY=S1,S5; REFERENCES=0)'
	@echo 'make lint | format    check, or fix, the style of the code'
	@echo 'make clean            remove what was built; keeps var/, your data'

up:
	@begun=$$(date +%s) && sh .ci/setup && sh .ci/assets && exec .venv/bin/python manage.py up --begun $$begun $(ARGS)

test:
	@sh .ci/setup tests/requirements.txt && sh .ci/assets && exec .venv/bin/python .ci/checks.py $(ARGS)

setup:
	@sh .ci/setup

assets: setup
	@sh .ci/assets

extras: setup
	@sh .ci/extras

test-contracts:
	@sh .ci/setup tests/requirements.txt && exec .venv/bin/python -m pytest tests/contracts -rs $(ARGS)

bench-submit:
	@sh .ci/setup tests/requirements.txt && sh .ci/assets && exec .venv/bin/python -m tests.bench.bench_submit $(ARGS)

bench-jobs-list:
	@sh .ci/setup tests/requirements.txt && exec .venv/bin/python -m tests.bench.bench_jobs_list $(ARGS)

bench-devcluster:
	@sh .ci/setup tests/requirements.txt && exec .venv/bin/python -m tests.bench.bench_devcluster $(ARGS)

bench-devcluster-soak:
	@sh .ci/setup tests/requirements.txt && SOAK=1 exec .venv/bin/python -m tests.bench.bench_devcluster $(ARGS)

bench-logs:
	@sh .ci/setup tests/requirements.txt && sh .ci/assets && exec .venv/bin/python -m tests.bench.bench_logs $(ARGS)

bench-dags:
	@sh .ci/setup tests/requirements.txt && sh .ci/assets && { .venv/bin/python -m tests.bench.bench_dags $(ARGS); dags=$$?; .venv/bin/python -m tests.bench.editor_page && exit $$dags; }

bench-editor:
	@sh .ci/setup tests/requirements.txt && sh .ci/assets && exec .venv/bin/python -m tests.bench.editor_page $(ARGS)

bench-schedules:
	@sh .ci/setup tests/requirements.txt && exec .venv/bin/python -m tests.bench.bench_schedules $(ARGS)

lint:
	@sh .ci/setup tests/requirements.txt && exec .venv/bin/python .ci/checks.py --only style types imports

format:
	@sh .ci/setup tests/requirements.txt && .venv/bin/ruff check --fix --quiet . && .venv/bin/ruff format .

clean:
	@if [ -L .venv ]; then rm -f .venv; else rm -rf .venv; fi
	@rm -rf node_modules static/vendor staticfiles test-results .mypy_cache .ruff_cache .pytest_cache
	@rm -rf .import_linter_cache .hypothesis
