"""The command line, `ssmde`: predict, evaluate, train, export, doctor, ablation, run, course, grade, slides,
book, pictures."""

import errno
import json
from contextlib import closing
from importlib import import_module
from pathlib import Path

import click

from ssmde_lib import opencv
from ssmde_lib.errors import UserError
from ssmde_lib.files import check_place, make_folder, write_json
from ssmde_lib.threads import limit_threads

NO_ACCESS = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.ELOOP)

# Commands import what they need themselves: `ssmde --help` must not wait for torch.


ELSEWHERE = {  # command: module and name
    "ablation": ("ssmde_lib.cli.ablation", "ablation"),
    "run": ("ssmde_lib.pipeline.execution", "run_command"),
    "course": ("ssmde_lib.course.commands", "course"),
    "grade": ("ssmde_lib.course.commands", "grade"),
    "slides": ("ssmde_lib.display.slides", "slides"),
    "book": ("ssmde_lib.display.book", "book"),
    "pictures": ("ssmde_lib.display.pictures", "pictures"),
}


class Commands(click.Group):
    """The commands below, and those that live beside what they do."""

    def list_commands(self, context: click.Context) -> list[str]:
        """All names, those of other modules included."""
        return sorted([*super().list_commands(context), *ELSEWHERE])

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        """The command, imported only when it is asked for."""
        if name in ELSEWHERE:
            module, command = ELSEWHERE[name]
            return getattr(import_module(module), command)
        return super().get_command(context, name)

    def invoke(self, context: click.Context):
        """Run the command; a file that the system does not let it read or write is one sentence."""
        try:
            return super().invoke(context)
        except OSError as error:
            if error.errno not in NO_ACCESS or not error.filename:
                raise
            raise UserError(
                f"{error.filename} cannot be read or written ({error.strerror}): "
                "choose another place, or change its permissions."
            ) from None


@click.group(cls=Commands)
@click.version_option(package_name="ssmde")
def main() -> None:
    """Depth from single pictures, learned without ground truth (SS-MDE)."""
    limit_threads()


device_option = click.option("--device", help="cpu, cuda or mps (default: the fastest present).")


@main.command()
@click.argument("source")
@click.option(
    "-o", "--out", required=True, type=click.Path(path_type=Path, file_okay=False), help="Folder to write to."
)
@click.option("--checkpoint", type=click.Path(path_type=Path), help="Weights (default: the prior dinov2_small).")
@click.option("--ply", is_flag=True, help="Also write coloured point clouds.")
@click.option(
    "--ply-stride",
    type=click.IntRange(1),
    help="Every so-manieth pixel of a row and column in the clouds (default: at most a million points each).",
)
@click.option(
    "--fov",
    type=click.FloatRange(1, 170),
    help="Horizontal field of view in degrees, for point clouds of pictures without a cam.txt "
    "(default: by EXIF, else 60 along the long side).",
)
@click.option("--batch", default=8, show_default=True, type=click.IntRange(1), help="Pictures at once.")
@click.option("--limit", type=click.IntRange(1), help="At most so many frames; a webcam runs until Ctrl-C without it.")
@device_option
def predict(
    source: str,
    out: Path,
    checkpoint: Path | None,
    ply: bool,
    ply_stride: int | None,
    fov: float | None,
    batch: int,
    limit: int | None,
    device: str | None,
) -> None:
    """Depth of SOURCE: an image, a folder of images, a video file or a webcam's number.

    Writes OUT/depth/NAME.png (16-bit), OUT/colour/NAME.png, with --ply OUT/cloud/NAME.ply, of a video also
    OUT/side_by_side.webm, and OUT/prediction.json, which names the network and the unit of the depth pictures.

    Without --checkpoint the prior dinov2_small predicts, of moving sources in its fast setting; where its package is
    missing, the bundled student.
    """
    opencv.require()  # what it lacks is told before any picture
    from tqdm import tqdm

    from ssmde_lib.inference.cameras import find_camera
    from ssmde_lib.inference.default import load_predictor
    from ssmde_lib.inference.sources import batches, open_source
    from ssmde_lib.inference.writers import PredictionWriter, check_output

    check_place(out)
    pictures = open_source(source, limit)
    check_output(out, pictures.origin)
    predictor, network = load_predictor(checkpoint, fast=pictures.moving, device=device)
    click.echo(f"depth by {network}")
    camera = find_camera(source, fov) if ply else None
    writer = PredictionWriter(out, pictures, predictor.max_depth, network, camera, ply_stride)
    broken = []
    with closing(writer), tqdm(total=pictures.count, unit="frame", mininterval=2, ncols=90) as bar:
        try:
            for group in batches(pictures.frames, batch):
                broken += [str(image.message) for _, image in group if isinstance(image, UserError)]
                images = [(name, image) for name, image in group if not isinstance(image, UserError)]
                if images:
                    writer.write(images, predictor)
                bar.update(len(group))
        except KeyboardInterrupt:
            click.echo("stopped; what was predicted so far is kept.")
    if broken:
        raise UserError(
            f"{len(broken)} of {writer.written + len(broken)} pictures failed, the others are in {out}: {broken[0]}"
        )
    if not writer.written:
        raise UserError(f"{source} gave no frames: check that it plays.")
    click.echo(f"{writer.written} depth maps in {out}")


@main.command()
@click.option(
    "--weights", required=True, multiple=True, type=click.Path(path_type=Path),
    help="Checkpoint to evaluate; may be given several times. Ours, Monodepth2's folder or SC-Depth's .ckpt.",
)  # fmt: skip
@click.option(
    "--data", required=True, type=click.Path(path_type=Path), help="Data set in the library's layout, or one clip."
)
@click.option(
    "--protocol",
    "protocol_name",
    default="embedded",
    show_default=True,
    help="embedded, kitti, nyu, ddad, bonn or tum.",
)
@click.option("--split", default="test", show_default=True)
@click.option("--alignment", help="Instead of the protocol's: none, median, least_squares or least_squares_inverse.")
@click.option("--flip", is_flag=True, help="Average with the mirrored picture's prediction.")
@click.option(
    "--baselines/--no-baselines", default=True, show_default=True, help="Also the constant and the training median."
)
@click.option("-o", "--out", type=click.Path(path_type=Path, dir_okay=False), help="JSON file for all records.")
@click.option("--batch", default=8, show_default=True, type=click.IntRange(1))
@device_option
def evaluate(weights, data, protocol_name, split, alignment, flip, baselines, out, batch, device) -> None:
    """Compare checkpoints with the truth of a data set, all in one table."""
    from dataclasses import replace

    from ssmde_lib.data.layout import find_clips
    from ssmde_lib.evaluation import comparison_table, constant, evaluate_clips, get_protocol, training_median
    from ssmde_lib.inference.predictor import Predictor

    if out:
        make_folder(out.parent)
    protocol = replace(get_protocol(protocol_name), flip_average=flip)
    if alignment:
        protocol = replace(protocol, alignment=alignment)
    clips = find_clips(data, split)
    predictors = {str(path): Predictor.load(path, device).at_network_size for path in weights}
    if baselines:
        predictors["constant"] = constant
        try:
            predictors["median of training depth"] = training_median(find_clips(data, "train"))
        except UserError as error:
            click.echo(f"without the median of training depth: {error}", err=True)
    results = {}
    for name, predictor in predictors.items():
        click.echo(f"evaluating {name} on {data} ({protocol.name})", err=True)
        results[name] = evaluate_clips(predictor, clips, protocol, batch=batch, progress=True)
    for region in next(iter(results.values())).regions():
        click.echo(comparison_table(results, region) + "\n")
    if out:
        write_json(out, {name: result.to_json() for name, result in results.items()})


@main.command()
@click.option("--data", required=True, type=click.Path(path_type=Path), help="Data set in the library's layout.")
@click.option(
    "-o",
    "--out",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for weights, log and state.",
)
@click.option("--pseudo", type=click.Path(path_type=Path), help="The prior's maps, such as runs/RUN/02_pseudo_depth.")
@click.option(
    "--labels", type=click.Path(path_type=Path), help="A teacher's filtered depth, such as runs/RUN/07_multiview_mask."
)
@click.option("--start", type=click.Path(path_type=Path), help="Folder of the networks to start from.")
@click.option("--seed", default=0, show_default=True)
@click.option(
    "--frame-stride",
    default=1,
    show_default=True,
    type=click.IntRange(1),
    help="Distance of the source frames to the target, in frames.",
)
@click.option(
    "--processes",
    default=1,
    show_default=True,
    type=click.IntRange(1),
    help="One a GPU; or start it by accelerate launch.",
)
@click.option(
    "-p",
    "--parameter",
    "given",
    type=(str, str),
    multiple=True,
    metavar="NAME VALUE",
    help="Field of Architecture, Losses or Schedule: architecture.width 64, losses.ranking 0.1, schedule.steps 100000.",
)
def train(data, out, pseudo, labels, start, seed, frame_stride, processes, given) -> None:
    """Train depth and motion without a notebook; interrupted, the same command goes on.

    On several machines: accelerate launch [options] -m ssmde_lib.cli train ...
    """
    from ssmde_lib.losses.config import Losses
    from ssmde_lib.networks.architecture import Architecture
    from ssmde_lib.pipeline.stages import check_finished, train_on
    from ssmde_lib.training.schedule import Schedule

    architecture, losses, schedule = group_options(
        {"architecture": Architecture, "losses": Losses, "schedule": Schedule}, given
    )
    make_folder(out)
    check_finished(out, seed, losses, schedule)
    log = train_on(
        processes,
        out,
        data,
        architecture,
        losses,
        schedule,
        seed=seed,
        frame_stride=frame_stride,
        pseudo=pseudo,
        labels=labels,
        start=start,
    )
    click.echo(f"{out}: {json.dumps(log[-1])}")


def group_options(groups: dict[str, type], given: tuple[tuple[str, str], ...]) -> list:
    """An instance of each dataclass, with the fields that `group.name value` pairs change."""
    from ssmde_lib.options import from_options
    from ssmde_lib.pipeline.parameters import Parameter

    options = {group: {} for group in groups}
    for key, text in given:
        group, _, name = key.partition(".")
        if group not in groups:
            raise UserError(
                f"unknown parameter {key!r}: begin with {' or '.join(f'{group}.' for group in groups)} "
                "(such as schedule.steps)."
            )
        default = getattr(groups[group], name, text)  # an unknown name is told by from_options
        options[group][name] = Parameter(key, type(default).__name__, default, "").parse(text)
    return [from_options(cls, options[group]) for group, cls in groups.items()]


@main.command()
@click.option("--checkpoint", type=click.Path(path_type=Path), help="Weights (default: the bundled student).")
@click.option("--onnx", "path", required=True, type=click.Path(path_type=Path, dir_okay=False), help="File to write.")
@click.option("--size", type=(int, int), help="HEIGHT WIDTH of the images (default: the checkpoint's).")
def export(checkpoint: Path | None, path: Path, size: tuple[int, int] | None) -> None:
    """Write a depth network as ONNX (float RGB b 3 h w in [0, 1] to depth b 1 h w) and check it in onnxruntime."""
    from ssmde_lib.inference.export import export_onnx
    from ssmde_lib.inference.predictor import BUNDLED_STUDENT, Predictor

    make_folder(path.parent)
    predictor = Predictor.load(checkpoint or BUNDLED_STUDENT, "cpu")
    error = export_onnx(predictor, path, size)
    if error > 1e-3:
        raise UserError(
            f"{path} differs from PyTorch by {error:.1e}: do not use it; "
            "report the versions that `ssmde doctor` prints."
        )
    click.echo(f"{path}: depth equals PyTorch's within {error:.1e} (relative), batch size free")


@main.command()
@click.option("--json", "as_json", is_flag=True, help="The facts as JSON.")
def doctor(as_json: bool) -> None:
    """What is installed and present: packages, cores, GPUs, bf16, weights, runs, data."""
    from ssmde_lib.doctor import examine, report

    facts = examine(Path.cwd())
    click.echo(json.dumps(facts, indent=2) if as_json else report(facts))
