# make demo      answer examples/questions.jsonl with the embedded pair and score the answers
# make test      run the tests
# make check     lint, formatting, types
# make format    format the code
# make docs      write docs/cli.md anew
# make fuzz      fuzz every parser of untrusted input: SECONDS=60 for each, TARGETS="rows answers" for some
# make pair      train the embedded pair from scratch (about four hours on two cores)
# make measure   measure the embedded pair: the score table of the README (minutes)
#
# Each target installs what it needs into .venv; a second call is instant.
# Another interpreter: make PYTHON=python3.12 demo

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

# GCC 12 compiles llama.cpp's code for AMX wrongly: the first product of matrices ends the process. A wheel that pip
# remembers from an earlier build may hold that code, so none is taken.
NO_AMX := $(shell grep -qs amx_tile /proc/cpuinfo && echo "-mno-amx-tile -mno-amx-int8 -mno-amx-bf16")

# Leaves llama.cpp's multimodal library out of the build: text models run the same without it.
export CMAKE_ARGS ?= -DLLAVA_BUILD=OFF $(if $(NO_AMX),"-DCMAKE_C_FLAGS=$(NO_AMX)" "-DCMAKE_CXX_FLAGS=$(NO_AMX)")

SECONDS ?= 60

.DEFAULT_GOAL := help
.PHONY: help demo test check format docs fuzz pair measure clean

help:
	@sed -n 's/^# \(make [a-z]* .*\)/\1/p' Makefile

# After installation nothing here needs the network; HF_HUB_OFFLINE makes sure that nothing uses it.
demo: $(VENV)/base.stamp
	@mkdir -p runs
	@HF_HUB_OFFLINE=1 $(BIN)/lmcot answer examples/questions.jsonl -o runs/demo.jsonl --overwrite
	@$(BIN)/python examples/show_answers.py runs/demo.jsonl
	@$(BIN)/lmcot eval runs/demo.jsonl

test: $(VENV)/dev.stamp
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto $(PYTEST_ARGS)

check: $(VENV)/dev.stamp
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy --strict

format: $(VENV)/dev.stamp
	@$(BIN)/ruff check --fix
	@$(BIN)/ruff format

docs: $(VENV)/base.stamp
	@$(BIN)/python docs/write_cli.py > docs/cli.md

fuzz: $(VENV)/fuzz.stamp
	@$(BIN)/python -m tests.fuzz --seconds $(SECONDS) $(TARGETS)

# The large LM from nothing; then the small one by the whole pipeline, with the large one as its teacher and judge.
pair: runs/large/model.gguf
	@$(BIN)/lmcot export runs/large --role large --quantize q8_0 -o runs/large/export
	@BIN=$(BIN) LARGE=runs/large/export/large.q8_0.gguf bash examples/train_pair.sh
	@$(BIN)/python tools/install_pair.py runs/pair/refined.gguf runs/large/export/large.q8_0.gguf
	@echo "Measure it and bring the scores of CARD.md up to date: make measure" >&2

runs/large/model.gguf: $(VENV)/dev.stamp
	@$(BIN)/python -m tools.pretrain large -o runs/large --minutes 43

# The figures of CARD.md and README.md, from the pair that is installed.
measure: $(VENV)/dev.stamp
	@BIN=$(BIN) bash examples/measure_pair.sh

clean:
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis

$(VENV)/python.stamp:
	@command -v $(PYTHON) >/dev/null || { \
		echo "error: there is no $(PYTHON) here; install Python 3.11 or newer, or name one: make PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "error: $$($(PYTHON) --version) is too old; lmcot needs 3.11 or newer: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { \
		echo "error: $(PYTHON) cannot make a virtual environment; on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	@touch $@

$(VENV)/llama.stamp: $(VENV)/python.stamp constraints.txt
	@$(BIN)/python -c 'import llama_cpp' 2>/dev/null || \
		echo "Installing llama-cpp-python; where it has to be compiled that takes about five minutes, once." >&2
	@$(INSTALL) $(if $(NO_AMX),--no-cache-dir) llama-cpp-python || { \
		command -v c++ >/dev/null || command -v g++ >/dev/null || command -v clang++ >/dev/null || \
		echo "error: llama-cpp-python is compiled here and there is no C++ compiler; on Debian and Ubuntu: apt install g++" >&2; \
		exit 1; }
	@touch $@

$(VENV)/base.stamp: $(VENV)/llama.stamp pyproject.toml
	@$(INSTALL) --editable .
	@touch $@

$(VENV)/dev.stamp: $(VENV)/base.stamp
	@echo "Installing what the tests and the training need (torch among them)." >&2
	@$(INSTALL) --editable '.[train,export,dev]'
	@touch $@

$(VENV)/fuzz.stamp: $(VENV)/dev.stamp
	@$(INSTALL) --editable '.[fuzz]'
	@touch $@
