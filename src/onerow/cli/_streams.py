"""Standard output and error that outlive their reader.

`onerow apply 2>&1 | head` must not end a change in the middle because nobody reads any more: what
is written to a closed pipe is lost without a word, and the work goes on.
"""

from __future__ import annotations

import os
from typing import Any, TextIO


class Patient:
    """A text stream whose reader may go away. It has what rich asks of a file."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            # A name that the terminal's encoding lacks must not keep the rest from being read.
            reconfigure(errors="backslashreplace")

    @property
    def encoding(self) -> str:
        return self.stream.encoding or "utf-8"

    def write(self, text: str) -> int:
        try:
            return self.stream.write(text)
        except BrokenPipeError:
            self._let_go()
            return len(text)

    def flush(self) -> None:
        try:
            self.stream.flush()
        except BrokenPipeError:
            self._let_go()

    def _let_go(self) -> None:
        # What is buffered goes there too, so the interpreter's last flush succeeds.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self.stream.fileno())
        os.close(nowhere)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)
