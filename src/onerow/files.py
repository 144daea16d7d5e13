"""Writing the files that one is told to write."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from onerow.errors import InputError


def write_file(path: Path, text: str) -> None:
    """Write a file whole or not at all. Raises InputError when it cannot be written."""
    try:
        number, part = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with open(number, "w", encoding="utf-8") as file:
                file.write(text)
            # mkstemp's files are for their owner alone; a plan is for reviewers too.
            os.chmod(part, 0o666 & ~_umask())
            os.replace(part, path)
        except BaseException:
            os.unlink(part)
            raise
    except OSError as error:
        raise InputError(f"The file {str(path)!r} cannot be written: {error.strerror}.") from error


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
