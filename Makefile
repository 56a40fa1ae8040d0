# make tutorial [PROFILE=smoke|laptop|kitti_drive|gpu-kitti|gpu-nyu|...]   all notebooks in order, then an HTML index of them and of the results
# make lab | test | ablation                 JupyterLab | the tests | the ablation grid
# Needs Python 3.11 and make; everything is installed into .venv. CORES and PYTHON can be set likewise, and CLUSTER=slurm|kubernetes
# submits every rule as a job (workflow/profiles).

PROFILE ?= laptop
CORES ?= 2
PYTHON ?= python3.11
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export OMP_NUM_THREADS := 1
RUNS := $(or $(SSMDE_RUNS),$(CURDIR)/runs)
WHERE := $(if $(CLUSTER),--workflow-profile workflow/profiles/$(CLUSTER),--cores $(CORES))
SNAKEMAKE := snakemake $(WHERE) --rerun-incomplete --rerun-triggers mtime params input --config profile=$(PROFILE)
.PHONY: tutorial lab test ablation

tutorial: .venv/installed
	$(SNAKEMAKE)
	@echo "The executed notebooks and the results: $(RUNS)/$(PROFILE)/index.html"

lab: .venv/installed
	jupyter lab notebooks

# On the CPU everywhere: what a test compares must not depend on the machine.
test: .venv/installed
	CUDA_VISIBLE_DEVICES= pytest -n 2 --dist loadfile

ablation: .venv/installed
	$(SNAKEMAKE) --snakefile workflow/ablation.smk --keep-going
	@echo "The tables: results/ablation/$(PROFILE); the executed notebooks: $(RUNS)/ablation/$(PROFILE)/notebooks"

.venv/installed: requirements.lock pyproject.toml
	$(PYTHON) -m venv .venv
	pip install --quiet --no-deps --requirement requirements.lock
	pip install --quiet --no-deps --editable .
	touch $@
