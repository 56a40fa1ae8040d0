"""How threads wait for each other."""

import os


def wait_patiently() -> None:
    """Let idle OpenMP threads sleep instead of spin, unless the user has chosen: only before torch is imported does it count.

    Beside another busy process spinning threads take the core from the very thread that they wait for: steps of 0.7 s took a minute.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
