# Everything from nothing: `make demo`, `make test`, `make fast`, `make peers`, `make lint`, `make bench`. Needs Python
# 3.11 to 3.13.
PYTHON ?= python3
VENV   ?= .venv
RUN     = $(VENV)/bin/python
# Two processes of one thread each: a thread of torch gains little on small networks. A file stays whole.
TESTS   = OMP_NUM_THREADS=1 $(RUN) -m pytest -n 2 --dist loadfile

.PHONY: demo test fast peers lint bench

demo: $(VENV)/run.done
	$(RUN) docs/demo.py

test: $(VENV)/test.done
	$(TESTS)

fast: $(VENV)/test.done
	$(TESTS) -m "not slow"

peers: $(VENV)/peers.done
	$(TESTS) tests/functions/test_libraries.py tests/functions/test_peers.py tests/runners/test_export.py

lint: $(VENV)/test.done
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

bench: $(VENV)/bench.done
	$(RUN) benchmarks/bench.py

$(VENV)/run.done: requirements.txt
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet -r requirements.txt
	touch $@

$(VENV)/test.done: $(VENV)/run.done tests/requirements.txt
	$(RUN) -m pip install --quiet -r tests/requirements.txt
	touch $@

$(VENV)/peers.done: $(VENV)/test.done tests/requirements-peers.txt
	$(RUN) -m pip install --quiet -r tests/requirements-peers.txt
	$(RUN) -m pip install --quiet --no-deps torchcfm==1.0.7 k-diffusion==0.1.1.post1
	touch $@

$(VENV)/bench.done: $(VENV)/run.done benchmarks/requirements.txt
	$(RUN) -m pip install --quiet -r benchmarks/requirements.txt
	touch $@
