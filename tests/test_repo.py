"""The repository's own contract: packages, floors, links, device factories, profiles."""

import ast
import re
import subprocess
import sys
import tomllib
from importlib import import_module
from itertools import chain
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import ssmde_lib

ROOT = Path(__file__).resolve().parents[1]
MODULES = sorted((ROOT / "ssmde_lib").rglob("*.py"))
FOLDERS = ("ssmde_lib", "tests", "data_scripts", "benchmarks", "experiments")
PYTHON = [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "notebooks").glob("*.ipynb"))]
LAYERS = [  # a package imports only what stands before it
    "errors", "options", "files", "threads", "opencv", "devices", "geometry", "metrics",
    "networks", "losses",
    "data", "synthetic",
    "prior", "labels",
    "training", "evaluation", "inference",
    "pipeline", "ablation", "course",
    "display", "doctor", "cli",
]  # fmt: skip
IMPORTED_AS = {"PIL": "pillow", "cv2": "opencv-python", "yaml": "pyyaml"}


def imports(path: Path) -> set[str]:
    """Every module that a file imports, inside functions too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            package = path.relative_to(ROOT).parts[: -node.level] if node.level else ()
            base = ".".join([*package, *([node.module] if node.module else [])])
            found |= {f"{base}.{alias.name}" for alias in node.names}
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_package_imports_only_from_lower_layers(path):
    own = path.relative_to(ROOT / "ssmde_lib").parts[0].removesuffix(".py")
    if own == "__init__":
        assert not {name for name in imports(path) if name.startswith("ssmde_lib")}
        return
    others = {name.split(".")[1] for name in imports(path) if name.startswith("ssmde_lib.")} - {own}
    assert not (wrong := [other for other in others if LAYERS.index(other) > LAYERS.index(own)]), (
        f"{own} imports {wrong}"
    )


def test_every_import_is_a_declared_package():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = chain(project["dependencies"], *project["optional-dependencies"].values())
    declared = {canonicalize_name(Requirement(line).name) for line in lines}
    used = {name.split(".")[0] for path in [*MODULES, *(ROOT / "data_scripts").rglob("*.py")] for name in imports(path)}
    used -= {"ssmde_lib", "data_scripts", *sys.stdlib_module_names}
    assert {canonicalize_name(IMPORTED_AS.get(name, name)) for name in used} <= declared


@pytest.mark.parametrize(
    "page", [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))], ids=lambda path: path.name
)
def test_relative_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#\s]+)", re.sub(r"`[^`]*`", "", page.read_text())):
        if not re.match(r"https?:|mailto:", target):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


FACTORIES = {
    "zeros",
    "ones",
    "full",
    "empty",
    "arange",
    "linspace",
    "eye",
    "rand",
    "randn",
    "randint",
    "randperm",
    "tensor",
}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_tensor_factories_name_their_device(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and re.fullmatch(rf"torch\.({'|'.join(FACTORIES)})", ast.unparse(node.func)):
            assert "device" in {keyword.arg for keyword in node.keywords}, (
                f"{path.name}:{node.lineno}: {ast.unparse(node)}"
            )
        assert not (isinstance(node, ast.Attribute) and node.attr == "cuda" and ast.unparse(node.value) != "torch"), (
            path
        )


def test_importing_the_library_has_no_side_effects():
    """No threads, seeds, backends, warning filters or files: importing every module leaves all of them as they were."""
    modules = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in MODULES if path.name != "__init__.py"]
    program = f"""
import importlib, random, warnings
import numpy, torch, matplotlib, cv2, accelerate, jaxtyping, IPython
def state():
    return (torch.get_num_threads(), torch.initial_seed(), torch.get_default_dtype(), torch.backends.cudnn.benchmark,
            torch.backends.cudnn.deterministic, random.getstate(), numpy.random.get_state()[1].tolist(),
            cv2.getNumThreads(), dict.__getitem__(matplotlib.rcParams, "backend"), torch.is_grad_enabled())
before = state()
for name in {modules!r}:
    importlib.import_module(name)
assert state() == before
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_profiles_name_only_what_notebooks_declare():
    from ssmde_lib.pipeline.parameters import load_yaml, pipeline, profile_parameters, read_parameters

    notebooks = {path.stem: read_parameters(path) for path in (ROOT / "notebooks").glob("*.ipynb")}
    anywhere = {name for declared in notebooks.values() for name in declared}
    for path in sorted((ROOT / "configs").glob("*.yaml")):
        sections = load_yaml(path)
        sets = sections.pop("sets", {})
        for part in (sections, *sets.values()):
            assert set(part) - {"common"} <= set(pipeline(ROOT)) | set(notebooks), path
            assert set(part.get("common") or {}) <= anywhere, path
        for name in notebooks:
            for chosen in ("", *(f"-{chosen}" for chosen in sets)):
                profile_parameters(ROOT, path.stem + chosen, name)


# height, width, batch, frame step, depth range in metres: the family's published settings
RECIPES = {
    "kitti": (256, 832, 4, 1, 0.1, 80), "nyu": (256, 320, 8, 1, 0.1, 10), "ddad": (384, 640, 4, 1, 0.1, 200),
    "bonn": (256, 320, 8, 10, 0.1, 10), "tum": (256, 320, 8, 10, 0.1, 10),
}  # fmt: skip


@pytest.mark.parametrize("name", RECIPES)
def test_gpu_profile_holds_the_published_recipes(name):
    from ssmde_lib.evaluation import get_protocol
    from ssmde_lib.pipeline.parameters import profile_parameters

    height, width, batch, step, near, far = RECIPES[name]
    data = profile_parameters(ROOT, f"gpu-{name}", "01_data")
    assert (data["data_folder"], data["height"], data["width"]) == (f"data/{name}", height, width)
    for stage in ("04_pose_and_depth", "06_teacher", "08_student"):
        recipe = profile_parameters(ROOT, f"gpu-{name}", stage)
        assert (recipe["steps"], recipe["learning_rate"], recipe["batch_size"], recipe["frame_stride"]) == (
            100_000,
            1e-4,
            batch,
            step,
        )
        assert (recipe["layers"], recipe["width"], recipe["protocol_name"]) == (18, 64, name)
        assert (recipe["encoder"], recipe["precision"]) == ("efficientnet_lite0", "bf16")
    assert profile_parameters(ROOT, f"gpu-{name}", "07_multiview_mask")["frame_stride"] == step
    assert profile_parameters(ROOT, f"gpu-{name}", "09_benchmark")["protocol_name"] == name
    assert profile_parameters(ROOT, f"gpu-{name}", "02_pseudo_depth")["provider"] == "leres"
    protocol = get_protocol(name)
    assert (protocol.min_depth, protocol.max_depth) == (near, far)


def test_a_profile_alone_takes_its_first_set_and_a_wrong_set_names_the_nearest():
    from ssmde_lib.errors import UserError
    from ssmde_lib.pipeline.parameters import pipeline, profile_parameters

    assert all(
        profile_parameters(ROOT, "gpu", name) == profile_parameters(ROOT, "gpu-kitti", name) for name in pipeline(ROOT)
    )
    with pytest.raises(UserError, match="gpu.yaml has no set 'kiti': did you mean gpu-kitti?"):
        profile_parameters(ROOT, "gpu-kiti", "01_data")
    with pytest.raises(UserError, match="smoke.yaml has no set 'nyu'"):
        profile_parameters(ROOT, "smoke-nyu", "01_data")


def test_notebooks_are_output_free_and_the_tree_is_clean_of_data():
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    assert not [name for name in listed if name.endswith((".pkl", ".pth", ".pt", ".ckpt"))]
    assert not [name for name in listed if name.startswith("runs/")]


@pytest.mark.parametrize("command", [("check",), ("format", "--check")], ids=" ".join)
def test_ruff_is_content(command):
    done = subprocess.run(
        [sys.executable, "-m", "ruff", *command], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("path", PYTHON, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_functions_and_modules_are_short(path):
    source = path.read_text()
    functions = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef)]
    lengths = {function.name: function.end_lineno - function.lineno + 1 for function in functions}
    words = {function.name: len((ast.get_docstring(function) or "").splitlines()) for function in functions}
    assert not {name: length for name, length in lengths.items() if length - words[name] > 60}
    assert len(source.splitlines()) <= 350


def test_public_names():
    assert set(ssmde_lib.PUBLIC) == {"Predictor", "load_depth_network"}
    assert all(callable(getattr(ssmde_lib, name)) for name in ssmde_lib.PUBLIC)


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_documented_names_can_be_imported(page):
    """Every `from ssmde_lib… import …` in the README, the documentation and the notebooks."""
    text = page.read_text().replace("\\n", "\n")
    for module, names in re.findall(r"from (ssmde_lib[\w.]*) import (\([^)]*\)|[\w, ]+)", text):
        for name in re.findall(r"\w+", names.split(" as ")[0]):
            if not hasattr(import_module(module), name):
                import_module(f"{module}.{name}")
