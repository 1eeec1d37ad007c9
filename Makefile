# `make help` lists the targets. The first target that needs them installs the pinned dependencies into .venv.
# PYTHON=/path/to/python3 chooses the interpreter; ARGS='...' adds arguments to `triptych repro`, pytest or the report.
# JOBS=n runs n stages at once; without it, as many as there are cores.
# TORCH_INDEX=URL installs the pinned release of torch from another package index, such as PyTorch's index of CPU builds.

.DEFAULT_GOAL := help
.PHONY: repro full collapse test bench bench-peers report clean help

INSTALLED := .venv/.installed
INSTALLED_FROM := $(shell cat .venv/.installed 2>/dev/null)
TORCH_INDEX ?= $(INSTALLED_FROM)
RUN := PATH="$(CURDIR)/.venv/bin:$$PATH"

repro: $(INSTALLED)  ## run the whole pipeline on params.yaml; print the verdicts and the path of the report page
	@$(RUN) triptych profile check
	@$(RUN) triptych repro $(if $(JOBS),--jobs $(JOBS)) $(ARGS)
	@$(RUN) triptych report

# The shell restores params.yaml on any exit, also after an error or Ctrl-C.
full: $(INSTALLED)  ## run the profile full, with the rivals, into docs/full; then return to params.yaml and its results
	@export $(RUN); kept=$$(mktemp) && cp params.yaml "$$kept" || exit 1; \
	trap 'cp "$$kept" params.yaml && rm "$$kept" && echo "params.yaml is restored"' EXIT; \
	trap 'exit 130' HUP INT TERM; \
	triptych profile use full && triptych repro $(ARGS) && triptych report && triptych archive docs/full
	@$(RUN) triptych profile clean
	@$(RUN) triptych repro

# One stage at a time, whose seeds train on all cores: two stages at once would leave a core idle in the end.
collapse: $(INSTALLED)  ## train SimSiam with and without stop-gradient; print a verdict and draw plots/collapse.png
	@$(RUN) triptych repro --jobs 1 $(ARGS) evaluate_ssl@simsiam evaluate_ssl@no_stop_gradient
	@$(RUN) triptych collapse

test: $(INSTALLED)  ## run linters, the type checker, the tests and the smoke profile through DVC in a fresh clone
	@$(RUN) ruff check .
	@$(RUN) ruff format --check .
	@$(RUN) mypy
	@$(RUN) pytest -n auto --dist loadfile --no-loadscope-reorder $(ARGS)

bench: $(INSTALLED)  ## time the training steps and the data generator on this machine, in images/s
	@$(RUN) pytest tests/benchmarks --benchmark-enable --benchmark-sort=name \
		--benchmark-columns=min,median,iqr,rounds $(ARGS)

bench-peers: $(INSTALLED)  ## compare with lightly, plain PyTorch and two diffusion libraries, 6 minutes (installs them into .venv)
	@$(RUN) python -m pip install -qq --no-input --disable-pip-version-check -e '.[peers]'
	@$(RUN) python -m benchmarks.peers $(ARGS)

report: $(INSTALLED)  ## print the results so far and the path of the report page
	@$(RUN) triptych report $(ARGS)

clean:  ## remove tool caches, checkpoints and rendered plots; keep .venv, results and DVC's cache
	@for path in checkpoints logs dvc_plots .benchmarks .pytest_cache .ruff_cache .mypy_cache build dist; do \
		if [ -e "$$path" ]; then rm -rf "$$path" && echo "removed $$path"; fi; \
	done
	@find src stages tests -type d -name __pycache__ -prune -exec rm -rf {} + && echo "removed bytecode"
	@echo "kept .venv, data, models, metrics, plots and .dvc/cache"

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' Makefile

# Each candidate is run, not only looked up: a shim may exist and fail, and Debian packages ensurepip separately.
PYTHONS := $(if $(PYTHON),"$(PYTHON)",python3.13 python3.12 python3.11 python3)
USABLE := import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))

# Packages that come with a build of torch. Another build's index has its own versions of them; the hashes in the lock
# are those of the default build only.
TORCH_AND_ITS_OWN := torch|torchvision|triton|cuda-[a-z-]+|nvidia-[a-z0-9-]+
TORCH := $(shell awk '/^(torch|torchvision)==/ { print $$1 }' requirements.lock 2>/dev/null)
PIP_INSTALL := .venv/bin/python -m pip install -qq --no-input --disable-pip-version-check

# Another build of torch needs a new .venv: pip takes the same release for installed, whatever its build.
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
	@echo "installing the pinned dependencies into .venv (once; 2 to 15 minutes depending on the network, 6 GB on Linux)"
	@$(PIP_INSTALL) --require-hashes -r requirements.lock
else
	@echo "installing the pinned dependencies into .venv (once); torch from $(TORCH_INDEX)"
	@awk '/^[a-z]/ { own = /^($(TORCH_AND_ITS_OWN))==/ } !own' requirements.lock > .venv/without_torch.lock
	@$(PIP_INSTALL) --require-hashes --no-deps -r .venv/without_torch.lock
	@$(PIP_INSTALL) --index-url "$(TORCH_INDEX)" $(TORCH)
endif
	@$(PIP_INSTALL) --no-deps --no-build-isolation -e .
	@echo "$(TORCH_INDEX)" > $@
