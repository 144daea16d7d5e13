"""One row per key, in a live database."""

from __future__ import annotations

__version__ = "0.1.0"
