# Triptych's verbs. `make help` lists them; the first one used installs the pinned dependencies into .venv.
# PYTHON=/path/to/python3 chooses the interpreter; ARGS='...' adds arguments to dvc, pytest or the report.
# TORCH_INDEX=URL takes the pinned release of torch from a package index of PyTorch's own builds, as that for CPUs alone.

.DEFAULT_GOAL := help
.PHONY: repro test bench bench-peers report clean help

INSTALLED := .venv/.installed
INSTALLED_FROM := $(shell cat .venv/.installed 2>/dev/null)
TORCH_INDEX ?= $(INSTALLED_FROM)
RUN := PATH="$(CURDIR)/.venv/bin:$$PATH"

repro: $(INSTALLED)  ## run the whole pipeline on params.yaml; ends with the verdicts and the report's path
	@$(RUN) triptych profile check
	@$(RUN) dvc repro $(ARGS)
	@$(RUN) triptych report

test: $(INSTALLED)  ## linters, unit tests and the smoke profile through DVC in a fresh checkout
	@$(RUN) ruff check .
	@$(RUN) ruff format --check .
	@$(RUN) pytest -n auto --dist loadfile --no-loadscope-reorder $(ARGS)

bench: $(INSTALLED)  ## time the train steps and the data generator on this machine, in images/s
	@$(RUN) pytest tests/benchmarks --benchmark-enable --benchmark-sort=name \
		--benchmark-columns=min,median,iqr,rounds $(ARGS)

bench-peers: $(INSTALLED)  ## ours beside lightly, plain PyTorch and two of diffusion, 6 minutes (installs them into .venv)
	@$(RUN) python -m pip install -qq --no-input --disable-pip-version-check -e '.[peers]'
	@$(RUN) python -m benchmarks.peers $(ARGS)

report: $(INSTALLED)  ## print the results so far and where the report page is
	@$(RUN) triptych report $(ARGS)

clean:  ## remove tool caches, checkpoints and rendered plots; keeps .venv, results and DVC's cache
	@for path in checkpoints dvc_plots .benchmarks .pytest_cache .ruff_cache build dist; do \
		if [ -e "$$path" ]; then rm -rf "$$path" && echo "removed $$path"; fi; \
	done
	@find src stages tests -type d -name __pycache__ -prune -exec rm -rf {} + && echo "removed byte code"
	@echo "kept .venv, data, models, metrics, plots and .dvc/cache"

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' Makefile

# A shim may exist and yet fail when called, and Debian splits ensurepip off: so each candidate is tried, not looked up.
PYTHONS := $(if $(PYTHON),"$(PYTHON)",python3.13 python3.12 python3.11 python3)
USABLE := import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))

# What a build of torch brings along. The index of that build has what it needs of these; the lock's hashes are those of
# the default build alone.
TORCH_AND_ITS_OWN := torch|torchvision|triton|cuda-[a-z-]+|nvidia-[a-z0-9-]+
TORCH := $(shell awk '/^(torch|torchvision)==/ { print $$1 }' requirements.lock 2>/dev/null)
PIP_INSTALL := .venv/bin/python -m pip install -qq --no-input --disable-pip-version-check

# Another build of torch goes into a new .venv: the same release counts as installed, whatever its build.
.PHONY: reinstall
ifneq ($(TORCH_INDEX),$(INSTALLED_FROM))
$(INSTALLED): reinstall
endif
reinstall:
	@if [ -e $(INSTALLED) ]; then rm -rf .venv; fi

$(INSTALLED): requirements.lock pyproject.toml
	@chosen=; for candidate in $(PYTHONS); do \
		if "$$candidate" -c '$(USABLE)' >/dev/null 2>&1; then chosen=$$candidate; break; fi; \
	done; \
	if ! .venv/bin/python -c '$(USABLE); import pip' >/dev/null 2>&1; then \
		if [ -z "$$chosen" ]; then \
			echo "error: no Python 3.11 or newer with venv and ensurepip among: $(subst ",,$(PYTHONS));" \
				"install one (Debian: python3-venv) or name it: make PYTHON=/path/to/python3" >&2; \
			exit 2; \
		fi; \
		"$$chosen" -m venv --clear .venv || exit 2; \
	fi
ifeq ($(TORCH_INDEX),)
	@echo "installing the pinned dependencies into .venv: once, 2 to 15 minutes by the network, 6 GB on Linux"
	@$(PIP_INSTALL) --require-hashes -r requirements.lock
else
	@echo "installing the pinned dependencies into .venv: once; torch from $(TORCH_INDEX)"
	@awk '/^[a-z]/ { own = /^($(TORCH_AND_ITS_OWN))==/ } !own' requirements.lock > .venv/without_torch.lock
	@$(PIP_INSTALL) --require-hashes --no-deps -r .venv/without_torch.lock
	@$(PIP_INSTALL) --index-url "$(TORCH_INDEX)" $(TORCH)
endif
	@$(PIP_INSTALL) --no-deps --no-build-isolation -e .
	@echo "$(TORCH_INDEX)" > $@
