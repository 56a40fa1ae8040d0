"""Where notebooks, profiles and runs lie, and the parameters that a notebook declares and a profile overrides."""

import ast
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ssmde_lib.errors import UserError
from ssmde_lib.options import nearest

KINDS = {"int": int, "float": float, "str": str, "bool": bool}


def find_root(start: Path | None = None) -> Path:
    """Root of the repository: the nearest folder, from `start` (or here) upwards, with notebooks/pipeline.yaml."""
    start = Path(start or Path.cwd()).resolve()
    for folder in (start, *start.parents):
        if (folder / "notebooks" / "pipeline.yaml").is_file():
            return folder
    raise UserError(f"{start} is not inside the tutorial's repository: change to its root or to notebooks/.")


def runs_folder(root: Path) -> Path:
    """Where runs lie: `<root>/runs`, or the environment variable SSMDE_RUNS."""
    return Path(os.environ.get("SSMDE_RUNS") or root / "runs").resolve()


def load_yaml(path: Path) -> dict:
    """The mapping in a YAML file; UserError where there is none."""
    import yaml

    if not path.is_file():
        raise UserError(f"{path} does not exist.")
    try:
        return yaml.safe_load(path.read_text()) or {}
    except yaml.YAMLError as error:
        raise UserError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from None


def pipeline(root: Path) -> dict[str, list[str]]:
    """Every stage in reading order with the stages that it reads."""
    return load_yaml(root / "notebooks" / "pipeline.yaml")


def appendix(root: Path) -> dict[str, list[str]]:
    """The appendix notebooks, which `make tutorial` leaves out, with the stages that they read."""
    path = root / "notebooks" / "appendix.yaml"
    return load_yaml(path) if path.is_file() else {}


@dataclass(frozen=True)
class Parameter:
    """One line of a notebook's parameters cell: `name: kind = default  # comment`."""

    name: str
    kind: str
    default: int | float | str | bool
    comment: str

    def check(self, value):
        """The value itself, an int made float where a float is declared; UserError for any other type."""
        if type(value) is KINDS[self.kind]:
            return value
        if self.kind == "float" and type(value) is int:
            return float(value)
        hint = ""
        number = re.fullmatch(r"([+-]?\d+)(\.\d*)?e([+-])?(\d+)", str(value).lower())
        if self.kind == "float" and number:
            whole, decimals, sign, exponent = number.groups()
            hint = f": YAML reads it as text; write {whole}{decimals or '.0'}e{sign or '+'}{exponent}"
        raise UserError(f"parameter {self.name} must be {self.kind}, not {value!r} ({type(value).__name__}){hint}.")

    def parse(self, text: str):
        """The value that a command-line text stands for."""
        try:
            return {"true": True, "false": False}[text.lower()] if self.kind == "bool" else KINDS[self.kind](text)
        except (KeyError, ValueError):
            raise UserError(f"parameter {self.name} must be {self.kind}, not {text!r}.") from None


def notebook_path(root: Path, name: str) -> Path:
    """Path of a notebook by its name; UserError with the nearest one otherwise."""
    path = root / "notebooks" / f"{name}.ipynb"
    if not path.is_file():
        known = sorted(file.stem for file in path.parent.glob("*.ipynb"))
        raise UserError(
            f"there is no notebook {name!r}" + (f": did you mean {nearest(name, known)!r}?" if known else ".")
        )
    return path


def read_parameters(path: Path) -> dict[str, Parameter]:
    """The declared parameters of a notebook, by name, read from its one cell tagged `parameters`."""
    cells = json.loads(path.read_text())["cells"]
    sources = ["".join(cell["source"]) for cell in cells if "parameters" in cell["metadata"].get("tags", [])]
    if len(sources) != 1:
        raise UserError(f"{path} must have exactly one cell tagged 'parameters', not {len(sources)}.")
    lines = sources[0].splitlines()
    declared = {}
    for node in ast.parse(sources[0]).body:
        if not (
            isinstance(node, ast.AnnAssign)
            and isinstance(node.target, ast.Name)
            and ast.unparse(node.annotation) in KINDS
            and node.value
        ):
            raise UserError(
                f"{path}: line {node.lineno} of the parameters cell must read "
                "'name: int|float|str|bool = value  # comment'."
            )
        name, kind = node.target.id, ast.unparse(node.annotation)
        last = lines[(node.end_lineno or node.lineno) - 1].encode()
        comment = last[node.end_col_offset :].decode().strip().lstrip("# ")
        declared[name] = Parameter(
            name, kind, Parameter(name, kind, 0, "").check(ast.literal_eval(node.value)), comment
        )
    return declared


def check_names(names, declared: dict[str, Parameter], where: str) -> None:
    """UserError for the first name that is not declared; it names the nearest one."""
    for name in names:
        if name not in declared:
            raise UserError(f"{where} has no parameter {name!r}: did you mean {nearest(name, list(declared))!r}?")


def injected_names(namespace: dict) -> list[str]:
    """Names that Papermill injected: those of the executed cell that begins with its mark."""
    cells = [source for source in namespace.get("In", []) if source.startswith("# Parameters\n")]
    nodes = [node for source in cells for node in ast.parse(source).body if isinstance(node, ast.Assign)]
    return [target.id for node in nodes for target in node.targets if isinstance(target, ast.Name)]


def profile_parameters(root: Path, profile: str, name: str) -> dict:
    """Overrides of one notebook in a profile.

    Its own section has precedence over those keys of `common` that it declares, a set's over both.

    Profile `gpu` stands in `configs/gpu.yaml`; `gpu-nyu` adds its set `nyu`; a profile with `sets` alone takes the
    first of them.
    """
    path, chosen = profile_file(root, profile)
    declared, sections = read_parameters(notebook_path(root, name)), load_yaml(path)
    sets = sections.get("sets") or {}
    if chosen and chosen not in sets:
        raise UserError(
            f"{path.name} has no set {chosen!r}"
            + (f": did you mean {path.stem}-{nearest(chosen, list(sets))}?" if sets else ".")
        )
    overrides = {}
    for part in (sections, sets[chosen or next(iter(sets))] if sets else {}):
        own = part.get(name) or {}
        check_names(own, declared, f"{path.name}: {name}")
        overrides |= {key: value for key, value in (part.get("common") or {}).items() if key in declared} | own
    return {key: declared[key].check(value) for key, value in overrides.items()}


def profile_file(root: Path, profile: str) -> tuple[Path, str]:
    """The file of a profile and the name of the set that it asks for, if any."""
    stem, _, chosen = profile.partition("-")
    path = root / "configs" / f"{stem}.yaml"
    if not path.is_file():
        known = sorted(file.stem for file in path.parent.glob("*.yaml"))
        raise UserError(f"there is no profile {profile!r}: did you mean {nearest(stem, known)!r}?")
    return path, chosen


def profile_values(root: Path, profile: str, name: str) -> dict:
    """The values of all parameters of a notebook in a profile."""
    declared = read_parameters(notebook_path(root, name))
    return {key: parameter.default for key, parameter in declared.items()} | profile_parameters(root, profile, name)


def resolve_parameters(root: Path, name: str, namespace: dict) -> dict:
    """The checked parameters of a notebook that is being executed, the settings of its `profile` among them.

    Those replace what stands in the parameters cell, but not what Papermill injected. Without a `run` of its own it
    takes the profile's name. All are put into `namespace`, the notebook's `globals()`.
    """
    declared, injected = read_parameters(notebook_path(root, name)), injected_names(namespace)
    check_names(injected, declared, name)
    missing = [key for key in declared if key not in namespace]
    if missing:
        raise UserError(f"parameter {missing[0]} is not set: execute the parameters cell first.")
    given: dict[str, Any] = {key: parameter.check(namespace[key]) for key, parameter in declared.items()}
    if "profile" in declared:
        settings = profile_parameters(root, given["profile"], name)
        changed = {key: value for key, value in settings.items() if key not in injected and value != given[key]}
        if changed:
            print(f"profile {given['profile']}: " + ", ".join(f"{key} = {value!r}" for key, value in changed.items()))
        given |= changed
        given["run"] = given["run"] or given["profile"]
    if not re.fullmatch(r"\w[\w.-]*(/\w[\w.-]*)*", given["run"]):
        raise UserError(f"parameter run must be a plain folder name or a path of such, not {given['run']!r}.")
    namespace.update(given)
    return given
