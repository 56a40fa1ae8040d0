# make tutorial [PROFILE=smoke|laptop|kitti_drive|gpu-kitti|gpu-nyu|...]   all notebooks in order, then a book of them
# make lab | test | lint | types | ablation   JupyterLab | the tests | static checks in seconds | pyright | the ablation grid
# make test-browser                           JupyterLab and the pages of a run in Chromium, 15 minutes
# make test-cluster                          tutorial and ablation as jobs of a SLURM cluster on this machine, as root on Debian
# make gpu-check | wheels                    what a GPU does in nine minutes | packages to carry to one without a network
# make course | slides                       three editions of the notebooks as zips | four decks with the figures of PROFILE's run
# make lock | test-fresh                      for maintainers: pin new versions | install and test in empty Debian systems
#
# The first of them installs everything into .venv, by the newest of PYTHON that is there and has its venv module. Choices for that:
# TORCH=cpu (PyTorch's CPU build, 3 GB less on Linux), OPENCV=headless (no graphical system libraries). To change TORCH later: rm -r .venv
# CORES can be set likewise, and CLUSTER=slurm|kubernetes submits every rule as a job (workflow/profiles).

PROFILE ?= laptop
CORES ?= 2
PYTHON ?= python3.13 python3.12 python3.11 python3
OPENCV ?= $(patsubst .venv/%,%,$(wildcard .venv/headless))
SYSTEM_PATH := $(PATH)
$(if $(filter-out cpu,$(TORCH)),$(error TORCH=$(TORCH) is unknown: say TORCH=cpu, or nothing for the build that suits this machine))
$(if $(filter-out headless,$(OPENCV)),$(error OPENCV=$(OPENCV) is unknown: say OPENCV=headless, or nothing for opencv-python))
export PATH := $(CURDIR)/.venv/bin:$(PATH)
# Programs keep caches and settings in the home folder; where it cannot be written (clusters, containers), in .venv.
export HOME := $(or $(shell test -w "$(HOME)" && echo "$(HOME)"),$(shell mkdir -p .venv/home)$(CURDIR)/.venv/home)
export OMP_NUM_THREADS := 1
RUNS := $(or $(SSMDE_RUNS),$(CURDIR)/runs)
WHERE := $(if $(CLUSTER),--workflow-profile workflow/profiles/$(CLUSTER),--cores $(CORES))
SNAKEMAKE := snakemake $(WHERE) --rerun-incomplete --rerun-triggers mtime params --config profile=$(PROFILE)
INSTALLED := .venv/installed .venv/dinov2 $(addprefix .venv/,$(OPENCV))
.PHONY: book tutorial lab test test-browser test-cluster gpu-check wheels lint types ablation course slides lock test-fresh

tutorial: $(INSTALLED)
	$(SNAKEMAKE)
	@echo "The executed notebooks and the results: $(RUNS)/$(PROFILE)/book/index.html"

# From the root, so that the executed copies under runs/ can be opened too. What Lab saves enters git without outputs.
# No language server: Lab would find the type checker's, which opens a dialog when a notebook is opened a second time.
INFO := codemirror_mode file_extension mimetype nbconvert_exporter pygments_lexer version
lab: $(INSTALLED)
	-git config filter.nbstripout.clean '"$(CURDIR)/.venv/bin/nbstripout" --keep-id --extra-keys "$(INFO:%=metadata.language_info.%)"'
	jupyter lab --LanguageServerManager.autodetect=False --ServerApp.root_dir="$(CURDIR)" --LabApp.default_url=/lab/tree/notebooks/00_start_here.ipynb

# On the CPU everywhere: what a test compares must not depend on the machine.
test: lint types .venv/oracles
	CUDA_VISIBLE_DEVICES= pytest -n 2 --dist loadfile

# Chromium is Debian's; where there is none and it cannot be installed, the tests are skipped and say so.
test-browser: $(INSTALLED)
	@command -v chromium chromium-browser google-chrome >/dev/null || apt-get install --yes --quiet chromium || true
	pytest -m browser --capture=no --durations=0 tests/browser

# A cluster of one node, with more cores and memory than there are and a GPU that computes nothing.
test-cluster: $(INSTALLED)
	@command -v slurmctld >/dev/null || apt-get install --yes --quiet slurm-wlm munge || true
	pytest -m cluster --capture=no --durations=0 tests/cluster

# By the Python that is there: the machine may have neither a network nor .venv (docs/performance.md).
gpu-check:
	python3 benchmarks/gpu_check.py --out $(or $(OUT),runs/gpu_check) $(PARTS:%=--part %)

wheels: $(INSTALLED)
	python benchmarks/gpu_wheels.py $(CLIP:%=--clip %)

lint: $(INSTALLED)
	ruff check --quiet
	ruff format --check --quiet

types: $(INSTALLED)
	basedpyright

ablation: $(INSTALLED)
	$(SNAKEMAKE) --snakefile workflow/ablation.smk --keep-going
	@echo "The tables: results/ablation/$(PROFILE); the executed notebooks: $(RUNS)/ablation/$(PROFILE)/notebooks"

book: $(INSTALLED)
	ssmde book $(RUNS)/$(PROFILE)

course: $(INSTALLED)
	ssmde course --out dist/course

slides: $(INSTALLED)
	ssmde slides $(RUNS)/$(PROFILE) --out dist/slides

# Two files pin the same versions, since pip checks hashes of all packages or of none, and torch can have none: its build (CUDA, CPU) and
# its accelerator libraries are the machine's. So all but torch comes from requirements/all.txt, checked; requirements.lock adds torch
# with what that build needs, and is what plain `pip install -r requirements.lock` reads.
CHECKED := pip install --quiet --no-deps --require-hashes --requirement
.venv/installed: requirements.lock requirements/all.txt pyproject.toml
	@found=$$(PATH='$(SYSTEM_PATH)'; for python in $(PYTHON); do \
		$$python -c 'import sys, ensurepip, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && command -v $$python && break; done) || \
		{ echo 'No Python from 3.11 on with its venv module (looked for: $(PYTHON)): install one ("apt install python3-venv" on Debian and' \
		'Ubuntu, "brew install python@3.13" on macOS), or name another by make PYTHON=/path/to/python.' >&2; exit 1; }; \
	echo "installing into .venv with $$found" && $$found -m venv .venv
	$(CHECKED) requirements/all.txt
	$(if $(TORCH),pip install --quiet --no-deps --index-url https://download.pytorch.org/whl/cpu "$$(grep ^torch== requirements.lock)")
	pip install --quiet --requirement requirements.lock
	pip install --quiet --no-deps --editable .
	touch $@

# What an ordinary machine would install, and the commands above in empty Debian systems: needs root and debootstrap.
RELEASES ?= bookworm trixie
test-fresh: .venv/installed
	python tests/fresh/resolve.py
	tests/fresh/run.sh $(RELEASES)

# Without what they ask for: their network or weights alone are used.
.venv/oracles: $(INSTALLED)
.venv/oracles .venv/dinov2: .venv/%: requirements/%.txt .venv/installed
	$(CHECKED) $<
	touch $@

.venv/headless: requirements/headless.txt .venv/installed
	pip uninstall --quiet --yes opencv-python
	$(CHECKED) $<
	touch $@

# What is pinned stays as long as it suits: `make lock UPGRADE=--upgrade` takes the newest of all.
UV := .venv/uv/bin/uv
PIN := $(UV) pip compile --quiet --universal --python-version 3.11.0 --fork-strategy fewest --custom-compile-command 'make lock' $(UPGRADE)
PIN_HASHED := $(PIN) --no-deps --generate-hashes
lock: $(UV)
	$(PIN) pyproject.toml --all-extras --output-file requirements.lock
	$(PIN_HASHED) requirements.lock --no-emit-package torch --output-file requirements/all.txt
	sed -n 's/^opencv-python==/opencv-python-headless==/p' requirements.lock | $(PIN_HASHED) - --output-file requirements/headless.txt
	$(PIN_HASHED) --group dinov2 --output-file requirements/dinov2.txt
	$(PIN_HASHED) --group oracles --output-file requirements/oracles.txt

$(UV): | .venv/installed
	python -m venv .venv/uv
	.venv/uv/bin/pip install --quiet uv==0.13.9
