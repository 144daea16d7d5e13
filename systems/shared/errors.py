"""What a command of a system says when it cannot do what it was asked."""

from __future__ import annotations


class SystemFailure(Exception):
    """Could not run."""

    exit_code = 2


class SystemRefusal(SystemFailure):
    """It could run, and must not."""

    exit_code = 1
