"""Run All ends at a notebook's last cell: there it is told which cell failed, and why."""

import json
from pathlib import Path
from typing import Any


def tell_at_the_end(notebook: Path) -> None:
    """From now on, a skipped last code cell (and that of `stage.finish`) shows the failure that it was skipped for.

    The kernel answers queued cells after a failure with "aborted" and no output. In IPython's kernel only: without one,
    and when called again, nothing happens.
    """
    from IPython import get_ipython

    shell = get_ipython()
    kernel: Any = getattr(shell, "kernel", None)
    answer = getattr(kernel, "_send_abort_reply", None)
    if answer is None or getattr(answer, "tells", False):
        return
    last = last_code_cell(notebook)
    failures = []

    def remember(result) -> None:
        error = result.error_before_exec or result.error_in_exec
        if error:
            failures.append(
                f"not executed, because cell [{result.execution_count}] failed:\n{type(error).__name__}: {error}"
            )

    def tell(stream, message, idents) -> None:
        code = message["content"].get("code", "").strip()
        if failures and (code == last or "stage.finish(" in code):
            content = {"name": "stderr", "text": failures[-1] + "\n"}
            kernel.session.send(kernel.iopub_socket, "stream", content, parent=message, ident=kernel._topic("stream"))
        answer(stream, message, idents)

    tell.tells = True
    kernel._send_abort_reply = tell
    shell.events.register("post_run_cell", remember)


def last_code_cell(notebook: Path) -> str:
    """The source of a notebook's last code cell."""
    cells = json.loads(notebook.read_text())["cells"]
    return next("".join(cell["source"]) for cell in reversed(cells) if cell["cell_type"] == "code").strip()
