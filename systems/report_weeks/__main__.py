"""`python -m systems.report_weeks`."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from systems.report_weeks import states
from systems.shared import commands
from systems.shared.errors import SystemFailure
from systems.shared.web.commands import serve_command

if TYPE_CHECKING:
    from systems.shared.web.server import Make

DAY = click.DateTime(["%Y-%m-%d"])
SERVICE_PORT = 8100
some_collections = click.argument("collections", nargs=-1, metavar="[COLLECTION]...")
one_collection = click.argument("collection", metavar="COLLECTION")


@click.group(context_settings=commands.SETTINGS)
def cli() -> None:
    """Weekly data collection with lineage. A COLLECTION is told by its id or its name."""


@cli.command()
@commands.url_option
@commands.size_options("weeks")
@commands.force_option
def before(url: str, rows: int, seed: int, force: bool) -> None:
    """Make the broken state, with the damage in it."""
    commands.make(url, states.before(rows, seed), force=force)


@cli.command()
@commands.url_option
@commands.force_option
def after(url: str, force: bool) -> None:
    """Make the repaired state in a fresh database."""
    commands.make(url, states.after(), force=force)


@cli.command()
def rules() -> None:
    """Print the rule file."""
    click.echo(commands.rules_text(__file__), nl=False)


# -- collections ----------------------------------------------------------------------------------


@cli.command()
@commands.url_option
@click.option("--name", required=True)
@click.option("--workflow", required=True, help="UUID of the workflow.")
@click.option("--instance", required=True, help="Instance that it runs on.")
@click.option("--start", type=DAY, required=True, help="First day.")
@click.option("--end", type=DAY, required=True, help="Last day.")
def create(
    url: str, name: str, workflow: str, instance: str, start: datetime, end: datetime
) -> None:
    """Create a collection with its weeks, and print its id. Twice is the same as once."""
    from pydantic import ValidationError

    from systems.report_weeks.commands import create as make
    from systems.report_weeks.commands import database
    from systems.report_weeks.models import NewCollection

    try:
        new = NewCollection(
            name=name,
            workflow_id=workflow,
            instance_id=instance,
            start_date=start.date(),
            end_date=end.date(),
        )
    except ValidationError as error:
        faults = (f"{'.'.join(map(str, e['loc']))} {e['msg']}" for e in error.errors())
        raise click.UsageError("; ".join(map(str.strip, faults))) from None
    with database(url) as engine:
        click.echo(make(engine, new))


@cli.command()
@some_collections
@commands.url_option
@click.option(
    "--service-url",
    envvar="WORKFLOW_SERVICE_URL",
    required=True,
    show_envvar=True,
    help="Root of the workflow service.",
)
@click.option(
    "--lease",
    type=click.FloatRange(0.2, 86_400),
    envvar="REPORT_WEEKS_LEASE_SECONDS",
    default=60.0,
    show_default=True,
    show_envvar=True,
    help="Seconds until a week of a runner that died is another's; renewed while it lives.",
)
@click.option(
    "--attempts",
    type=click.IntRange(1, 100),
    envvar="REPORT_WEEKS_RETRY_ATTEMPTS",
    default=3,
    show_default=True,
    show_envvar=True,
    help="Calls to the service for a week, until it has failed.",
)
@click.option(
    "--timeout",
    type=click.FloatRange(0.1, 86_400),
    default=300.0,
    show_default=True,
    help="Seconds that the service may take for an answer.",
)
@click.option("--naive", is_flag=True, help="The original, unsafe runner.")
def run(url: str, collections: tuple[str, ...], service_url: str, **how: Any) -> int:
    """Run collections, all unfinished ones unless some are named; with progress.

    Several may run at once, on one machine or many. Exit code 1: some weeks have failed, or
    the collection is paused.
    """
    from systems.report_weeks.commands import database
    from systems.report_weeks.commands import run as work
    from systems.report_weeks.store import Store

    if not service_url.startswith(("http://", "https://")):
        raise click.UsageError("--service-url must begin with http:// or https://")
    with database(url) as engine:
        store = Store(engine)
        found = [store.find(c) for c in collections] or store.unfinished()
        return work(engine, list(dict.fromkeys(found)), service_url, **how)


def _on_one(name: str, does: str, act: Callable[[Any, str], str]) -> None:
    @cli.command(name, help=does)
    @one_collection
    @commands.url_option
    def command(collection: str, url: str) -> None:
        from systems.report_weeks.commands import database
        from systems.report_weeks.store import NotNow, Store

        with database(url) as engine:
            store = Store(engine)
            try:
                click.echo(act(store, store.find(collection)))
            except NotNow as refused:
                raise _refusal(str(refused)) from None


def _refusal(text: str) -> SystemFailure:
    from systems.shared.errors import SystemRefusal

    return SystemRefusal(text)


_on_one("pause", "No further week is begun.", lambda s, c: str(s.pause(c)["status"]))
_on_one("resume", "Runners go on with it.", lambda s, c: str(s.resume(c)["status"]))
_on_one("retry", "Failed weeks are pending again.", lambda s, c: f"{s.retry_failed(c)} weeks")


@cli.command()
@some_collections
@commands.url_option
def status(collections: tuple[str, ...], url: str) -> None:
    """How collections stand: all of them, unless some are named."""
    from systems.report_weeks.commands import database, show

    with database(url) as engine:
        for line in show(engine, collections):
            click.echo(line)


# -- lineage --------------------------------------------------------------------------------------


def _date(value: datetime | None) -> date | None:
    return None if value is None else value.date()


@cli.command()
@commands.url_option
@click.option(
    "--since", type=DAY, help="Weeks completed since must say their execution.  [the rule file's]"
)
@click.option("--json", "as_json", is_flag=True, help="One JSON document on standard output.")
@click.option(
    "--html", type=click.Path(dir_okay=False, path_type=Path), help="Write a page with the chart."
)
def verify(url: str, since: datetime | None, as_json: bool, html: Path | None) -> int:
    """Look at the lineage: column, key, indexes, population, orphans, timings, sizes."""
    from systems.report_weeks.commands import verify as look

    return look(url, _date(since), as_json=as_json, html=html)


@cli.command("clear-tracking")
@commands.url_option
@click.option("--since", type=DAY, help="Of weeks created on this day (UTC) and later.")
@click.option("--undo", metavar="RUN", help="Bring back what a run has cleared.")
def clear_tracking(url: str, since: datetime | None, undo: str | None) -> int:
    """Forget which executions made the weeks since a day; what they were is kept."""
    from systems.report_weeks import tracking
    from systems.report_weeks.commands import database

    if (since is None) == (undo is None):
        raise click.UsageError("Either --since DATE or --undo RUN.")
    with database(url) as engine:
        if since is not None:
            done = tracking.clear(engine, since.date())
            click.echo(f"{done.rows} weeks cleared; run {done.run}")
            return 0
        back = tracking.undo(engine, str(undo))
    click.echo(f"{back.rows} weeks restored, {len(back.left_alone)} left alone")
    for week in back.left_alone:
        click.echo(f"left alone: week {week} was written since, or its execution is gone")
    return 1 if back.left_alone else 0


@cli.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=SERVICE_PORT,
    show_default=True,
    help="0 for any free one.",
)
@click.option("--fail-rate", type=click.FloatRange(0, 1), default=0.0, show_default=True)
@click.option("--no-id-rate", type=click.FloatRange(0, 1), default=0.0, show_default=True)
@click.option(
    "--latency",
    type=click.FloatRange(0, 3600),
    default=0.2,
    show_default=True,
    help="Seconds, on average.",
)
@click.option("--seed", type=int, default=1, show_default=True)
def service(host: str, port: int, **manner: Any) -> None:
    """Serve a local workflow service that is slow, fails, and omits ids at set rates."""
    from systems.report_weeks.workflow_service import Manner, make
    from systems.shared.web.server import listen

    listen(make(Manner(**manner)), host, port)


def _make() -> Make:
    from systems.report_weeks.app import make

    return make


cli.add_command(serve_command(_make, signed=False))

if __name__ == "__main__":
    commands.run(cli, "python -m systems.report_weeks")
