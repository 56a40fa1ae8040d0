"""What is installed and present on this machine, in a dict and in words."""

import os
import platform
from pathlib import Path

import pooch
import torch

from ssmde_lib import opencv
from ssmde_lib.errors import UserError
from ssmde_lib.files import WEIGHTS
from ssmde_lib.networks.checkpoint import read_record
from ssmde_lib.pipeline.manifest import version
from ssmde_lib.threads import cores

PACKAGES = {
    "needed": (
        "torch",
        "numpy",
        "opencv-python",
        "matplotlib",
        "jupyterlab",
        "papermill",
        "snakemake",
        "accelerate",
        "safetensors",
    ),
    "optional": ("onnx", "onnxruntime", "evo", "kornia", "torchmetrics", "transformers", "pytest", "ruff"),
}


def examine(root: Path, weights: Path = WEIGHTS) -> dict:
    """Facts about packages, processor, accelerators, and the contents of `root`.

    `root` is the repository, or another folder with `runs` and `data`.
    """
    return {
        "python": platform.python_version(),
        "packages": {kind: {name: version(name) for name in names} for kind, names in PACKAGES.items()},
        "processor": {
            "cores": cores(),
            "torch threads": torch.get_num_threads(),
            "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "not set"),
            "bf16": processor_has_bf16(),
        },
        "accelerators": accelerators(),
        "weights": {path.name: describe_weights(path) for path in sorted(weights.glob("*.safetensors"))}
        | downloaded_weights(),
        "runs": {
            path.name: sorted(p.parent.name for p in path.glob("*/stage.json"))
            for path in sorted((root / "runs").glob("*"))
        },
        "data": describe_data(root / "data"),
    }


def processor_has_bf16() -> bool | None:
    """Whether this CPU computes in bfloat16 (without it autocast is many times slower than float32).

    None where it cannot be told.
    """
    cpuinfo = Path("/proc/cpuinfo")
    return (
        any(flag in cpuinfo.read_text() for flag in ("avx512_bf16", "amx_bf16", " bf16")) if cpuinfo.is_file() else None
    )


def accelerators() -> list[dict]:
    """Name and memory of every GPU."""
    found = []
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        bf16 = properties.major >= 8
        found.append({"name": properties.name, "memory GiB": round(properties.total_memory / 2**30, 1), "bf16": bf16})
    if torch.backends.mps.is_available():
        found.append({"name": "Apple GPU (mps)", "bf16": None})
    return found


def describe_weights(path: Path) -> str:
    """Size of a checkpoint, and what its record says of it."""
    size = f"{path.stat().st_size / 1e6:.1f} MB"
    try:
        record = read_record(path)
    except (UserError, KeyError, TypeError):
        return f"{size}, no readable training record"
    return f"{size}, trained at {'x'.join(map(str, record['size']))}" if "size" in record else size


def downloaded_weights() -> dict[str, str]:
    """Weights of others, such as LeReS's, in the user's cache."""
    found = sorted(Path(pooch.os_cache("ssmde")).glob("*.pth"))
    return {path.name: f"{path.stat().st_size / 1e6:.1f} MB, downloaded to {path.parent}" for path in found}


def describe_data(folder: Path) -> dict[str, str]:
    """Prepared data sets below `data/`: how many clips each split holds."""
    return {
        path.name: ", ".join(
            f"{split.name} {sum(1 for clip in split.iterdir() if clip.is_dir())}"
            for split in sorted(path.iterdir())
            if split.is_dir()
        )
        for path in sorted(folder.glob("*"))
        if path.is_dir()
    }


def report(facts: dict) -> str:
    """The facts in lines, and after them advice where something is missing or slow."""
    lines = [f"Python {facts['python']}"]
    for kind, packages in facts["packages"].items():
        lines.append(
            f"packages ({kind}): " + ", ".join(f"{name} {number or 'MISSING'}" for name, number in packages.items())
        )
    lines.append("processor: " + ", ".join(f"{key} {value}" for key, value in facts["processor"].items()))
    gpus = [", ".join(f"{key} {value}" for key, value in gpu.items()) for gpu in facts["accelerators"]]
    lines.append("accelerators: " + ("; ".join(gpus) or "none"))
    for what in ("weights", "runs", "data"):
        listed = [
            f"  {name}: {', '.join(about) if isinstance(about, list) else about}" for name, about in facts[what].items()
        ]
        lines += [f"{what}:", *listed] if listed else [f"{what}: none"]
    return "\n".join(lines + [f"advice: {sentence}" for sentence in advice(facts)])


def advice(facts: dict) -> list[str]:
    """One sentence for every problem among the facts, with the way out."""
    missing = [name for name, number in facts["packages"]["needed"].items() if number is None]
    sentences = [f"install {', '.join(missing)} (make tutorial does)."] if missing else []
    if "student.safetensors" not in facts["weights"]:
        sentences.append(
            f"{WEIGHTS}/student.safetensors is missing: run the notebooks up to 08_student, or give --checkpoint."
        )
    try:
        opencv.require()
    except UserError as error:
        sentences.append(error.message)
    return sentences
