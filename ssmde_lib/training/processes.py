"""A training in several processes of one machine, one a GPU."""

import socket
import uuid
from collections.abc import Callable
from typing import Any

import torch
from accelerate import notebook_launcher
from torch.distributed.elastic.multiprocessing import errors
from torch.distributed.elastic.multiprocessing.api import SignalException

from ssmde_lib.errors import UserError


def launch(function: Callable[[], object], processes: int) -> None:
    """Call `function` in several processes of this machine, one a GPU, through accelerate's `notebook_launcher`.

    A UserError of theirs is raised here.

    They are forks of this process, in which nothing may have used a GPU or an Accelerator before.
    """
    if 0 < torch.cuda.device_count() < processes:
        raise UserError(
            f"processes is {processes}, but this machine has {torch.cuda.device_count()} GPUs: "
            "ask for no more than these."
        )

    @errors.record  # leaves the error's message for the parent
    def one_process() -> None:
        torch.set_num_threads(1)  # OpenMP does not survive a fork
        function()

    try:
        # On a free port two trainings of one machine never meet; not by c10d, which asks for the machine's own name.
        notebook_launcher(one_process, (), processes, use_port=str(free_port()), rdzv_id=uuid.uuid4().hex)
    except SignalException:
        raise UserError("stopped by a signal, the state is saved: run the stage again to go on.") from None
    except errors.ChildFailedError as error:
        rank, failure = error.get_first_failure()
        message: Any = failure.message  # a dict, where the process could still tell
        said = message["message"] if isinstance(message, dict) else message
        kind, _, sentence = said.partition(": ")
        if kind == "UserError":
            raise UserError(sentence) from None
        if failure.exitcode < 0:
            raise UserError(
                f"process {rank} of the training was lost ({said}): run the stage again; "
                "it goes on from its last checkpoint."
            ) from None
        raise


def free_port() -> int:
    """A port of this machine that nobody listens to."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]
