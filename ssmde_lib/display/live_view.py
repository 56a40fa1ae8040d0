"""A training watched while it runs: loss terms, validation errors, the depth of one fixed frame, and the time left.

    log = train_network(…, watch=LiveView(image, steps))

In JupyterLab the figure is replaced in place every few seconds; a headless run keeps its last state.
"""

import time

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ssmde_lib.display.figures import MASK_COLOURS, colourise, picture
from ssmde_lib.inference.predictor import Predictor
from ssmde_lib.networks.depth_and_pose import DepthAndPose

ABOUT_IT = ("step", "seconds")  # what a record of the log holds beside loss terms and validation errors


class LiveView:
    """A display of a training, called by the loop after every step with the model, the log and the steps done.

    Args:
        image: the fixed frame, `h w 3` uint8.
        steps: of the whole training.
        every: seconds between two updates.
    """

    def __init__(self, image: np.ndarray, steps: int, every: float = 4.0):
        self.image, self.steps, self.every = image, steps, every
        self.handle = None
        self.began = self.drawn = time.monotonic()
        self.first = None

    def __call__(self, model: DepthAndPose, log: list[dict], done: int) -> None:
        """Redraw the view after `done` steps, at most every few seconds."""
        now = time.monotonic()
        if self.first is None or done <= self.first:  # the first step, and that of another round
            self.first, self.began = done - 1, self.drawn
        if now - self.drawn < self.every and self.handle and done < self.steps:
            return
        self.drawn = now
        training = model.training
        depth = Predictor(model.depth_net.eval())(self.image[None])[0]
        model.train(training)
        left = (now - self.began) / (done - self.first) * (self.steps - done)
        self.update(draw(self.image, depth, log, f"step {done} of {self.steps}{time_left(left)}"))

    def update(self, figure: Figure) -> None:
        """Show the figure in place of the one before."""
        from IPython.display import display

        alt = "loss terms and validation errors against the training step, and the depth of one frame beside its image"
        data, metadata = picture(figure, alt)
        if self.handle:
            self.handle.update(data, raw=True, metadata=metadata)
        else:
            self.handle = display(data, raw=True, metadata=metadata, display_id=True)


def draw(image: np.ndarray, depth: np.ndarray, log: list[dict], title: str) -> Figure:
    """The state of a training as a figure: curves on the left, the frame and its depth on the right."""
    names = {name: name.startswith("val_") for record in log for name in record if name not in ABOUT_IT}
    terms, errors = ([name for name in names if names[name] is validated] for validated in (False, True))
    plots = ["terms", "errors"] if errors else ["terms"]
    figure, axes = plt.subplot_mosaic(
        [[*plots, "image"], [*plots, "depth"]],
        figsize=(9, 3.2),
        width_ratios=[3] * len(plots) + [4],
        layout="constrained",
    )
    curves(axes["terms"], log, terms, "loss terms", "log")  # they differ by orders of magnitude
    if errors:
        curves(axes["errors"], log, errors, "validation AbsRel", "linear")
    for name, picture_shown in (("image", image), ("depth", colourise(depth))):
        axes[name].imshow(picture_shown, interpolation="nearest")
        axes[name].set(xticks=[], yticks=[])
        axes[name].set_ylabel(name, fontsize=9)
    figure.suptitle(title, fontsize=10)
    return figure


def curves(axis: Axes, log: list[dict], names: list[str], title: str, scale: str) -> None:
    """Values of the log against the step."""
    for name, colour in zip(names, MASK_COLOURS, strict=False):
        points = [(record["step"], record[name]) for record in log if record.get(name, 0) > 0]
        if points:
            axis.plot(*zip(*points, strict=True), marker=".", color=colour, label=name.removeprefix("val_"))
    axis.set_title(title, fontsize=10)
    axis.set_xlabel("step", fontsize=9)
    axis.tick_params(labelsize=9)
    if axis.lines:
        axis.set_yscale(scale)
        axis.legend(frameon=False, fontsize=9, ncols=2, loc="upper center", bbox_to_anchor=(0.5, -0.2))


def time_left(seconds: float) -> str:
    """The rest of a training in words; empty in the last second."""
    if seconds < 1:
        return ""
    return f", {seconds:.0f} s left" if seconds < 90 else f", {seconds / 60:.0f} min left"
