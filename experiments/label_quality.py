"""How good are multi-view labels? Their error on training clips against the truth, which nothing else here may use.

    OMP_NUM_THREADS=1 python experiments/label_quality.py DATA TEACHER PSEUDO [--pictures LARGER] [--clips 8]

Prints AbsRel (all, static, dynamic; median scaling of each image) as JSON: of the teacher's depth, of the prior's, of
the sweep before and after the prior's bounds, and of the kept and the dropped pixels. A student is trained only for
labels that are better.
"""

import json
from pathlib import Path

import click
import numpy as np
import torch

from ssmde_lib.data.layout import Clip, clip_folder, find_clips, read_pseudo_clip
from ssmde_lib.evaluation import evaluate, get_protocol
from ssmde_lib.evaluation.evaluator import Sample
from ssmde_lib.inference.clips import predict_clip, predict_motion, read_images
from ssmde_lib.labels.multi_view import label_clip, shrink
from ssmde_lib.networks import checkpoint


def report(name: str, samples: list[Sample]) -> None:
    """Print the errors of one kind of label."""
    summary = evaluate(samples, get_protocol("embedded")).summary()
    errors = {region: round(figures["abs_rel"], 4) for region, figures in summary.items()}
    print(json.dumps({"label": name} | errors), flush=True)


def labels_of(clip: Clip, larger: Clip, depth: torch.Tensor, T: torch.Tensor, prior: torch.Tensor) -> dict:
    """Depth of every frame by each kind of label, and the mask of the last."""
    images, K = read_images(larger), torch.from_numpy(larger.K).float()[None]
    label, free = (label_clip(images, depth, T, K, prior, bounded=b) for b in (True, False))
    bounded, mask = shrink(label.depth, label.mask, clip.size)
    return {"network": depth, "prior": prior, "sweep": free.depth, "label": bounded, "mask": mask}


@click.command()
@click.argument("data", type=click.Path(exists=True, path_type=Path))
@click.argument("teacher", type=click.Path(exists=True, path_type=Path))
@click.argument("pseudo", type=click.Path(exists=True, path_type=Path))
@click.option("--pictures", type=click.Path(exists=True, path_type=Path), help="the same clips at a higher resolution")
@click.option("--clips", default=8, show_default=True, help="so many of the training clips")
@click.option("--every", default=3, show_default=True, help="of the frames that are judged")
@torch.inference_mode()
def main(data: Path, teacher: Path, pseudo: Path, pictures: Path | None, clips: int, every: int) -> None:
    depth_net, pose_net = (checkpoint.load(teacher / f"{name}.safetensors") for name in ("depth", "pose"))
    samples: dict[str, list[Sample]] = {}
    kept: dict[str, list[float]] = {"kept": [], "dropped": []}
    for clip in find_clips(data, "train")[:clips]:
        larger = Clip(clip_folder(clip, pictures)) if pictures else clip
        T, prior = predict_motion(pose_net, clip, 1), read_pseudo_clip(clip, pseudo)[:, None]
        found = labels_of(clip, larger, predict_clip(depth_net, clip), T, prior)
        for i in clip.targets(1)[::every]:
            truth, dynamic = clip.depth(i), clip.dynamic_mask(i)
            for name, depth in found.items():
                if name != "mask":
                    frame = Sample(clip.name, clip.stem(i), depth[i, 0].numpy(), truth, dynamic)
                    samples.setdefault(name, []).append(frame)
            label, mask = found["label"][i, 0].numpy(), found["mask"][i, 0].numpy()
            known = (truth > 0.1) & (truth < 80)
            error = np.abs(label * np.median(truth[known] / label[known]) / np.where(known, truth, 1) - 1)
            for name, where in (("kept", known & mask), ("dropped", known & ~mask)):
                kept[name] += error[where].tolist()
    for name, frames in samples.items():
        report(name, frames)
    for name, errors in kept.items():
        share = len(errors) / sum(map(len, kept.values()))
        print(
            json.dumps({"pixels": name, "share": round(share, 4), "abs_rel": round(float(np.mean(errors or [0])), 4)})
        )


if __name__ == "__main__":
    main()
