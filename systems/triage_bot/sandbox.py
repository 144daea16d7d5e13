"""`sandbox`: the bot, a stand-in for Slack, and a page on which a stranger plays a team."""

from __future__ import annotations

import secrets
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from zoneinfo import ZoneInfo

import click
import uvicorn
from fastapi import FastAPI

from onerow import Retry
from systems.shared.address import open_engine
from systems.shared.errors import SystemFailure
from systems.shared.fixtures import build as build_state
from systems.shared.web.application import THREADS, Serving
from systems.shared.web.tokens import LEAST_BYTES, Tokens
from systems.triage_bot import app, states, team
from systems.triage_bot.rotation import Team
from systems.triage_bot.schema import DISCIPLINES
from systems.triage_bot.settings import Settings, Slack
from systems.triage_bot.testing.play import Play
from systems.triage_bot.testing.server import add_page, make_slack
from systems.triage_bot.testing.workspace import Workspace

ADMIN = "UADMIN001"
CHANNEL, ADMIN_CHANNEL, GROUP = "CTRIAGE", "CADMINS", "STRIAGE"
PATIENCE = 15.0  #: seconds for a server to end


@dataclass(frozen=True, slots=True)
class Sandbox:
    """Both servers at work.

    Attributes:
        page: its address.
        bot: the bot's address.
    """

    page: str
    bot: str
    workspace: Workspace
    play: Play


def settings(spool: Path, *, suffix: str = "") -> Settings:
    return Settings(
        spool=spool,
        zone=ZoneInfo("America/Los_Angeles"),
        retry=Retry(attempts=3),
        admins=(ADMIN,),
        channel=CHANNEL,
        admin_channel=ADMIN_CHANNEL,
        group=GROUP,
        suffix=suffix,
    )


def workspace_of(people: Team | None = None) -> Workspace:
    """A workspace with the team's people, an administrator, and two channels."""
    known = {p.slack_id: p.name for p in people.people} if people else _people()
    return Workspace(
        f"xoxb-{secrets.token_hex(12)}",
        {**known, ADMIN: "Ada, administrator"},
        {CHANNEL: "triage", ADMIN_CHANNEL: "triage-admins"},
    )


def _people() -> dict[str, str]:
    many = range(team.ROSTER * len(DISCIPLINES))
    return {team.slack_id(n): team.name_of(n) for n in many}


@contextmanager
def playing(
    url: str, given: Settings, *, port: int = 0, naive: bool = False, clock: app.Clock = app.now
) -> Iterator[Sandbox]:
    """Both servers over a database that is there."""
    with ExitStack() as stack:
        page = stack.enter_context(socket.create_server(("127.0.0.1", port), backlog=256))
        bot = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=256))
        workspace = workspace_of()
        here, there = _address(page), _address(bot)
        slack = Slack(secrets.token_hex(16), workspace.token, f"{here}/api/")
        play = Play(workspace, there + app.EVENTS, here, slack.signing_secret)
        front = make_slack(workspace)
        add_page(front, play)
        engine = open_engine(url, connections=THREADS)
        stack.callback(engine.dispose)
        tokens = Tokens(secrets.token_hex(LEAST_BYTES))
        serving = Serving(engine=engine, tokens=tokens, naive=naive)
        back = app.build(serving, given, slack, clock=clock, every=0.1)
        stack.enter_context(_in_thread(front, page))
        stack.enter_context(_in_thread(back, bot))
        yield Sandbox(here, there, workspace, play)


def _address(listener: socket.socket) -> str:
    return f"http://127.0.0.1:{listener.getsockname()[1]}"


@contextmanager
def _in_thread(served: FastAPI, listener: socket.socket) -> Iterator[None]:
    server = uvicorn.Server(uvicorn.Config(served, log_config=None, access_log=False))
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    try:
        while not server.started:
            if not thread.is_alive():
                raise SystemFailure("A server of the sandbox does not start; its log says why.")
            time.sleep(0.01)
        yield
    finally:
        server.should_exit = True
        thread.join(PATIENCE)


def run(url: str | None, port: int) -> None:
    """Serve until Ctrl-C.

    Args:
        url: of a database in the repaired state; a new file without one.
        port: of the page.
    """
    with tempfile.TemporaryDirectory(prefix="triage-sandbox-") as folder:
        if url is None:
            url = f"sqlite:///{folder}/triage.db"
            build_state(url, states.after())
        with playing(url, settings(Path(folder) / "spool"), port=port) as found:
            click.echo(f"Open {found.page} and play a sprint; README.md has the steps.")
            click.echo(f"The bot is at {found.bot}: /health, /metrics. Ctrl-C ends both.")
            with _until_interrupted():
                threading.Event().wait()


@contextmanager
def _until_interrupted() -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        click.echo("Ended.")
