"""Global options before and after the verb, help, version, examples, the package's names."""

from __future__ import annotations

import ast
import importlib
import re
import shlex
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

import onerow
from onerow.cli import Verbs, run
from onerow.cli import onerow as group
from tests.cli.conftest import plant
from tests.cli.shell import RULES, Shell, environment
from tests.support.sandbox import Sandbox

VERBS = (
    "init", "check", "plan", "apply", "status", "verify", "undo", "archive", "race", "spool", "demo",
)  # fmt: skip
ROOT = Path(__file__).parents[2]


def test_options_on_either_side(shell: Shell, sqlite_box: Sandbox) -> None:
    """--url, --rules and --json may stand before the verb or after it; the later one wins."""
    shell.rules(name="r.toml")
    url = ("--url", sqlite_box.url)
    first = shell("--json", *url, "--rules", "r.toml", "plan")
    assert first.code == 0
    assert shell("plan", "--rules", "r.toml", *url, "--json").json == first.json
    assert shell("--rules", "r.toml", "plan", *url, "--json").json == first.json
    assert shell("--url", "sqlite:///no.db", "plan", "--rules=r.toml", *url).code == 0
    assert "Plan " not in shell("--quiet", "plan", "--rules", "r.toml", *url).out


def test_quiet_keeps_errors(shell: Shell, sqlite_box: Sandbox) -> None:
    """--quiet says nothing but errors; the exit code tells."""
    shell.rules()
    call = shell("check", "--quiet", "--url", sqlite_box.url)
    assert (call.code, call.out, call.err) == (1, "", "")
    assert "Error: " in shell("check", "--quiet", "sqlite:///no.db").err


def test_no_colour_without_a_terminal(shell: Shell, sqlite_box: Sandbox) -> None:
    """What is piped has neither colours nor blanks at the ends of lines."""
    shell.rules()
    for verb in ("check", "plan", "apply", "status", "verify"):
        call = shell(verb, "--url", sqlite_box.url, env={"TERM": "xterm-256color"})
        assert "\x1b" not in call.out + call.err
        assert not [x for x in call.out.splitlines() if x != x.rstrip()]


def test_lines_are_whole_in_a_log(shell: Shell, sqlite_box: Sandbox) -> None:
    """A sentence stands in one line, for grep; COLUMNS=60 breaks it."""
    shell.rules()
    sentence = "archive and delete 5 surplus rows"
    url = ("--url", sqlite_box.url)
    assert re.search(f"Merge 5 groups.*{sentence}", shell("plan", *url).out)
    narrow = shell("plan", *url, env={"COLUMNS": "60"})
    assert max(map(len, narrow.out.splitlines())) <= 60
    assert sentence in narrow.words


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_other_encodings(shell: Shell, sqlite_box: Sandbox, encoding: str) -> None:
    """Names that the terminal cannot show are shown in another way; JSON stays JSON."""
    sqlite_box.execute("CREATE TABLE żółw (id integer PRIMARY KEY, ż text)")
    sqlite_box.execute("INSERT INTO żółw (ż) VALUES ('ł'), ('ł')")
    shell.rules("[[key]]\ntable = 'żółw'\ncolumns = ['ż']\n")
    env = {"PYTHONUTF8": "0", "PYTHONIOENCODING": encoding}
    text = shell("check", "--url", sqlite_box.url, env=env)
    assert text.code == 1
    assert r"\u017c" in text.out
    document = shell("check", "--json", "--url", sqlite_box.url, env=env)
    assert document.json["rules"][0]["samples"] == [{"ż": "ł"}]


# -- help ---------------------------------------------------------------------------------------


def test_version(shell: Shell) -> None:
    """`--version` says name and version; `python -m onerow` is the console script."""
    started = Shell(shell.folder)
    assert started("--version").out == f"onerow {onerow.__version__}\n"
    (script,) = (Path(sys.executable).parent.glob("onerow")) if _installed() else [None]
    if script is not None:
        done = subprocess.run([script, "--version"], capture_output=True, text=True, check=True)
        assert done.stdout == f"onerow {onerow.__version__}\n"


def _installed() -> bool:
    return (Path(sys.executable).parent / "onerow").exists()


def test_help(shell: Shell) -> None:
    """Every verb is in the overview with a sentence, in the order in which one uses them."""
    for words in ((), ("--help",), ("-h",)):
        call = shell(*words)
        assert call.code == 0
        found = [x.split()[0] for x in call.out.partition("Commands:")[2].splitlines() if x.strip()]
        assert tuple(found)[: len(VERBS)] == VERBS
        assert all(len(x.split()) > 3 for x in call.out.partition("Commands:")[2].splitlines()[1:])


def verbs() -> list[str]:
    assert isinstance(group, Verbs)
    return group.list_commands(None)  # type: ignore[arg-type]


def test_one_file_a_verb() -> None:
    """The package is the registry: a module without an underscore is a verb, and has no SQL."""
    folder = Path(onerow.__file__).parent / "cli"
    assert sorted(verbs()) == sorted(p.stem for p in folder.glob("[a-z]*.py"))
    for path in folder.glob("*.py"):
        strings = [
            n.value for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Constant)
        ]
        assert not [s for s in strings if re.search(r"\b(SELECT|UPDATE|DELETE) ", str(s))]


@pytest.mark.parametrize("verb", verbs())
def test_help_has_examples(shell: Shell, verb: str) -> None:
    """Help says what the verb does, the global options, and examples."""
    call = shell(verb, "--help")
    assert call.code == 0
    for part in ("Usage: onerow", "--url", "--rules", "--json", "Examples:", f"  onerow {verb}"):
        assert part in call.out, part


def examples() -> list[str]:
    """Every line of an `Examples` section, and every call named in a hint of the reports."""
    found = []
    for name in verbs():
        command = group.get_command(None, name)  # type: ignore[arg-type]
        found += [x for x in command.examples if name != "demo"]  # type: ignore[union-attr]
    return found


@pytest.mark.parametrize("example", examples())
def test_examples_run(shell: Shell, sqlite_url: str, example: str) -> None:
    """What help shows can be called, on a database of the test's."""
    box = plant(Sandbox(sqlite_url))
    shell.rules(f"[database]\nurl = '{box.url}'\n{RULES}")
    (shell.folder / "rules.toml").write_text("")
    (shell.folder / "migrations").mkdir()
    (shell.folder / "migrations" / "env.py").touch()
    (shell.folder / "spool").mkdir()
    (shell.folder / "shop").mkdir()
    (shell.folder / "shop" / "spool.py").write_text(
        "from onerow import Spool\nHANDLERS = {}\nspool = Spool('spool', HANDLERS)\n"
    )
    words = shlex.split(example)[1:]
    run_id = ""
    if words[0] in ("undo", "status", "verify", "archive"):
        run_id = shell("apply", "--json").json["run"]
    if "plan.json" in words and words[0] == "apply":
        shell("plan", "--out", "plan.json")
    if words[0] == "race":
        write_race(shell.folder, box.url)
    if words[0] == "init" and "--out" not in words:
        (shell.folder / "onerow.toml").unlink()
    words = [re.sub(r"^(postgresql|sqlite)://.*", box.url, w) for w in words]
    words = [re.sub(r"^\d{8}-\w{8}$", run_id, w) for w in words]
    with answering() as server:
        (shell.folder / "load.toml").write_text(LOAD.format(server=server, database=box.url))
        call = shell(*words)
    finds = words[0] == "check" or "signup_race.py" in example
    assert call.code == (1 if finds else 0), call.err


#: A scenario of the load mode against a server of the test's.
LOAD = """
url = "{server}"
clients = 2
rounds = 1
request = [{{ method = "POST", path = "/members", json = {{ email = "{{key}}" }} }}]
check = {{ database = "{database}", no_rows = "SELECT 1 WHERE 1 = 0" }}
"""


def write_race(folder: Path, url: str) -> None:
    """The file of the page on races, with an engine of its own."""
    page = (ROOT / "docs/races/index.md").read_text()
    code = page.partition("<!-- file: signup_race.py -->\n```python\n")[2].partition("```")[0]
    code += f"signup = dataclasses.replace(signup, engine=sa.create_engine({url!r}))\n"
    (folder / "signup_race.py").write_text(f"import dataclasses\n{code}")


class Created(BaseHTTPRequestHandler):
    """Answers every POST with 201."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(201)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Quiet."""


@contextmanager
def answering() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Created) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def test_demo_on_sqlite(shell: Shell) -> None:
    """The story is told to its end, in words on standard error and as a document."""
    call = shell("demo", "--engine", "sqlite", "--json")
    assert call.code == 0, call.err
    assert [s["engine"] for s in call.json["stories"]] == ["sqlite"]
    assert call.err
    assert not list(shell.folder.iterdir())


# -- the package --------------------------------------------------------------------------------


def test_public_names() -> None:
    """`__all__` is sorted, complete, and every name in it can be had and has a docstring."""
    assert onerow.__all__ == sorted(onerow.__all__)
    tree = ast.parse(Path(onerow.__file__).read_text())
    imported = {
        alias.asname for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)
        for alias in node.names if alias.asname
    }  # fmt: skip
    assert imported | {"__version__"} == set(onerow.__all__)
    for name in onerow.__all__:
        value = getattr(onerow, name)
        assert name == "__version__" or value.__doc__, name
    assert set(dir(onerow)) == set(onerow.__all__)
    with pytest.raises(AttributeError, match="no attribute 'upsrt'"):
        onerow.upsrt  # type: ignore[attr-defined]  # noqa: B018


def test_importing_is_cheap() -> None:
    """`import onerow` loads neither SQLAlchemy nor anything else of ours."""
    code = (
        "import sys, onerow; print([m for m in sys.modules"
        " if m.startswith(('onerow.', 'sqlalchemy', 'rich', 'click', 'pydantic'))])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]", done.stderr


def test_run_returns_the_code(capsys: pytest.CaptureFixture[str]) -> None:
    """A call from Python ends in a number, not in an exit."""
    assert run(["--version"]) == 0
    assert run(["nonsense"]) == 2
    assert "No such command" in capsys.readouterr().err
    assert importlib.import_module("onerow.__main__")
