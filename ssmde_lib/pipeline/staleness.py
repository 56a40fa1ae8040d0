"""Whether a finished stage can be reused: by its code cells, its parameters and the content of what it reads.

Modification times, comments, Markdown, outputs and exercises do not count: saving a notebook or solving an exercise
costs nothing.
"""

import ast
import hashlib
import json
import re
from pathlib import Path

from ssmde_lib.pipeline.parameters import notebook_path, pipeline, profile_values, runs_folder

EXECUTION = ("run", "profile", "retrain", "interactive")  # parameters of how and where to execute, not of what is made


def digest(value) -> str:
    """SHA-256 of a JSON-able value, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def content_digest(manifest: dict) -> str:
    """One hash of a finished stage's outputs, by name and content."""
    return digest({name: recorded["sha256"] for name, recorded in manifest["outputs"].items()})


def code_digest(path: Path) -> str:
    """One hash of a notebook's code, without parameters cell, exercises, skipped cells, comments and line breaks."""
    section, sources = "", []
    for cell in json.loads(path.read_text())["cells"]:
        source, tags = "".join(cell["source"]), cell["metadata"].get("tags", [])
        if cell["cell_type"] == "markdown":
            headings = re.findall(r"^## (.+)$", source, re.MULTILINE)
            section = headings[-1].strip() if headings else section
        elif section != "Exercises" and not {"parameters", "exercise", "skip-execution"} & set(tags):
            sources.append(source)
    return digest([normalised(source) for source in sources])


def normalised(source: str) -> str:
    """The code of a cell without its comments and layout; the text itself where it does not parse."""
    try:
        return ast.unparse(ast.parse(source))
    except SyntaxError:
        return source


def made_of(parameters: dict) -> dict:
    """The parameters on which the outputs depend."""
    return {name: value for name, value in parameters.items() if name not in EXECUTION}


def changes(record: dict, parameters: dict, upstream: dict[str, str]) -> list[str]:
    """In which parameters and upstream stages a record differs from those given, in words.

    A record is a manifest or that of an unfinished attempt.
    """
    before, now = made_of(record["parameters"]), made_of(parameters)
    found = [
        f"{name} was {before.get(name, 'not there')!r}, is {now.get(name, 'gone')!r}"
        for name in sorted(before.keys() | now)
        if before.get(name) != now.get(name)
    ]
    names = sorted(record["upstream"].keys() | upstream)
    return found + [f"{name} has changed" for name in names if record["upstream"].get(name) != upstream.get(name)]


def read_record(folder: Path) -> tuple[dict | None, bool]:
    """The record of what a stage folder holds and whether it is finished; (None, False) where that is nothing."""
    for name in ("attempt.json", "stage.json"):
        path = folder / name
        if path.is_file():
            try:
                record = json.loads(path.read_text())
                return (
                    ({"code": None} | record, name == "stage.json")
                    if {"parameters", "upstream"} <= set(record)
                    else (None, False)
                )
            except (ValueError, TypeError):
                return None, False
    return None, False


def stale_stages(root: Path, profile: str, run: str) -> dict[str, list[str]]:
    """The finished stages of a run that the profile's workflow executes again, each with the reasons.

    Among them are those that read one of them: they are reused where that has the same content again.
    """
    folder, found, contents = runs_folder(root) / run, {}, {}
    for name, upstream in pipeline(root).items():
        values = profile_values(root, profile, name)
        if not (folder / name / "stage.json").is_file():
            continue
        record, finished = read_record(folder / name)
        if record is None or not finished or "outputs" not in record:
            found[name] = ["it was begun again and not finished"]
            continue
        contents[name] = content_digest(record)
        read = {other: contents[other] for other in upstream if other in contents}
        reasons = changes(record, values, read)
        lost = [output for output in record["outputs"] if not (folder / name / output).is_file()]
        reasons += [f"{output} is missing" for output in lost[:1]]
        if record["code"] != code_digest(notebook_path(root, name)):
            reasons.append("its code has changed")
        reasons += [f"{other} is executed again" for other in upstream if other in found]
        if reasons:
            found[name] = reasons
    return found
