"""The frame of the systems' stories: `python -m systems demo [NAME]`.

A system with a story has a module `story` with `TITLE` and `tell(stage)`. A stage is an empty
database of our own, a folder, a screen, and servers that end with the story.
"""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from rich.console import Console

from onerow.demo.screen import Screen
from onerow.testing import NoServer, postgres
from systems.shared.errors import SystemFailure

SECRET = "ONEROW_JWT_SECRET"
ROOT = Path(__file__).parents[2]
PATIENCE = 30.0


class StoryFailed(SystemFailure):
    """Something did not turn out as the story says."""

    exit_code = 1


@dataclass(slots=True)
class Stage:
    """Where a story is told.

    Attributes:
        system: whose story.
        url: of an empty database.
        folder: for rule files and mappings.
        secret: that signs the tokens.
    """

    system: str
    url: str
    folder: Path
    screen: Screen
    secret: str
    chapters: int = 0

    def chapter(self, title: str, command: str = "") -> None:
        self.chapters += 1
        self.screen.chapter(self.chapters, title, command)

    def prove(self, fact: object, sentence: str) -> None:
        """Say it, if it is so.

        Raises:
            StoryFailed: it is not.
        """
        if not fact:
            self.screen.failed(sentence)
            raise StoryFailed(f"The story of {self.system} did not go as it says.")
        self.screen.proven(sentence)

    @contextmanager
    def server(self, *words: str, env: Mapping[str, str] | None = None) -> Iterator[str]:
        """The system's server in a process of its own; its address."""
        command = [sys.executable, "-m", f"systems.{self.system}", "serve", "--port", "0"]
        log = self.folder / f"server{self.chapters}.log"
        with log.open("w") as out:
            process = subprocess.Popen(
                [*command, "--url", self.url, *words],
                cwd=ROOT,
                env={**os.environ, SECRET: self.secret, **(env or {})},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
            )
            try:
                yield _address(process, log)
            finally:
                process.terminate()
                process.wait(PATIENCE)


def _address(process: subprocess.Popen[bytes], log: Path) -> str:
    end = time.monotonic() + PATIENCE
    while process.poll() is None and time.monotonic() < end:
        for line in log.read_text().splitlines():
            if line.startswith("Listening on "):
                return line.removeprefix("Listening on ")
        time.sleep(0.05)
    process.kill()
    raise StoryFailed(f"The server does not listen: {log.read_text().strip()}")


def have_stories(names: Sequence[str]) -> list[str]:
    """Those systems that have a story."""
    return [n for n in names if find_spec(f"systems.{n}.story") is not None]


def tell(names: Sequence[str], engine: str, out: Console) -> None:
    """Tell the stories of some systems, each on a database of its own, which is gone at the end.

    Raises:
        StoryFailed: something was not as a story says.
        SystemFailure: it could not be told.
    """
    with ExitStack() as stack:
        url_of = _databases(engine, stack)
        for name in names:
            story = import_module(f"systems.{name}.story")
            began = time.monotonic()
            with tempfile.TemporaryDirectory(prefix="onerow-story-") as folder:
                screen = Screen(out)
                out.print()
                screen.title(story.TITLE)
                url = url_of(name, Path(folder))
                story.tell(Stage(name, url, Path(folder), screen, secrets.token_hex(32)))
            out.print()
            screen.proven(f"{name}, on {engine}: told in {time.monotonic() - began:.1f} s.")


_UrlOf = Callable[[str, Path], str]


def _databases(engine: str, stack: ExitStack) -> _UrlOf:
    if engine == "sqlite":
        return lambda name, folder: f"sqlite:///{folder / name}.sqlite3"
    try:
        server = stack.enter_context(postgres())
    except NoServer as error:
        raise SystemFailure(f"{error.message} `--engine sqlite` needs none.") from error

    def url_of(name: str, _folder: Path) -> str:
        server.create_database(name)
        # Through the socket there is no password in the address.
        return server.socket_url.replace("/postgres?", f"/{name}?")

    return url_of
