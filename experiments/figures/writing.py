"""Pictures as files, written whole or not at all."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

from echelongym.envs.storage.files import write_bytes

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def write_picture(figure: Figure, path: Path, dots_per_inch: int) -> None:
    """Write a picture in the format that the name ends with.

    Raises
    ------
    CannotWrite
        If the disk is full, say; nothing is left behind.
    """
    content = io.BytesIO()
    figure.savefig(content, format=path.suffix[1:], dpi=dots_per_inch)
    write_bytes(content.getvalue(), path)
