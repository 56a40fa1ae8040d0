"""How long each notebook of a finished run took, and all of them together, from the manifests, as JSON.

python benchmarks/tutorial.py runs/laptop
"""

import json
from datetime import datetime, timedelta
from pathlib import Path

import click


@click.command()
@click.argument("run", type=click.Path(exists=True, file_okay=False, path_type=Path))
def main(run: Path) -> None:
    manifests = [json.loads(path.read_text()) for path in sorted(run.glob("*/stage.json"))]
    starts = [datetime.fromisoformat(manifest["started"]) for manifest in manifests]
    ends = [start + timedelta(seconds=m["wall_seconds"]) for start, m in zip(starts, manifests, strict=True)]
    minutes = {manifest["stage"]: round(manifest["wall_seconds"] / 60, 1) for manifest in manifests}
    print(json.dumps({"minutes": minutes, "all": round((max(ends) - min(starts)).total_seconds() / 60, 1)}, indent=1))


if __name__ == "__main__":
    main()
