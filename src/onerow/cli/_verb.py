"""What all commands have in common: the global options on either side of the verb, and examples."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from onerow.cli._output import Output
from onerow.errors import RuleFileError, UrlError

if TYPE_CHECKING:
    from onerow.database import Database
    from onerow.rulefile import Rules

DEFAULT_RULES = "onerow.toml"
GLOBAL = ("url", "rules", "json", "quiet", "no_color")


def global_options() -> list[click.Parameter]:
    """The options that stand before or after the verb. What stands after it wins."""
    return [
        click.Option(["--url"], metavar="URL", help="Database: postgresql://… or sqlite:///FILE."),
        click.Option(["--rules"], metavar="FILE", help=f"Rule file.  [default: {DEFAULT_RULES}]"),
        click.Option(["--json"], is_flag=True, help="One JSON document on standard output."),
        click.Option(["--quiet"], is_flag=True, help="Errors only."),
        click.Option(["--no-color"], is_flag=True, help="No colours; NO_COLOR=1 says the same."),
    ]


class Shared:
    """The global options of one call, and what follows from them."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        self.url: str | None = options["url"]
        self.rule_file: str | None = options["rules"]
        self.no_color: bool = options["no_color"]
        self.output = Output(
            json=options["json"], quiet=options["quiet"], no_color=options["no_color"]
        )

    @cached_property
    def rules(self) -> Rules:
        """The rule file. Raises RuleFileError when it is not there."""
        from onerow import api

        return api.load_rules(self.rule_file or DEFAULT_RULES)

    @cached_property
    def rules_if_any(self) -> Rules | None:
        """The rule file, None when none was named and there is none by the default name."""
        if self.rule_file is None and not Path(DEFAULT_RULES).exists():
            return None
        return self.rules

    @cached_property
    def database(self) -> Database:
        """The database that is meant, by --url or by the rule file.

        Raises:
            UrlError: neither names one.
        """
        from onerow import api

        given = self.rules_if_any
        if self.url is None and (given is None or not given.url):
            raise UrlError(
                "No database URL.",
                hint="Give --url URL, or write url under [database] in "
                f"{self.rule_file or DEFAULT_RULES}.",
            )
        return api.open_database(self.url, given)

    @property
    def database_without_rules(self) -> Database:
        """The database of the URL given: there is no rule file yet, or it is to be replaced."""
        from onerow import api

        if self.url is None:
            raise UrlError("No database URL.", hint="`onerow init URL` takes it.")
        return api.open_database(self.url)

    def take_url(self, url: str | None) -> None:
        """A URL given as the command's argument."""
        if url is None:
            return
        if self.url not in (None, url):
            raise click.UsageError("The URL as an argument and --url are two different ones.")
        self.url = url

    def need_rules(self) -> Rules:
        """The rule file, for verbs that can do nothing without.

        Raises:
            RuleFileError: it is not there.
            UrlError: it is not there, and there is no URL either.
        """
        if self.rules_if_any is None and self.url is None:
            raise RuleFileError(
                f"There is no rule file {DEFAULT_RULES!r}, and no database URL.",
                hint="`onerow init URL` looks at a database and writes the file.",
            )
        return self.rules


class Verb(click.Command):
    """A command with the global options; its function is given a `Shared` first."""

    def __init__(self, *args: Any, examples: Iterable[str] = (), **options: Any) -> None:
        super().__init__(*args, **options)
        self.examples = tuple(examples)
        self.params += global_options()

    def invoke(self, ctx: click.Context) -> Any:
        own = {name: ctx.params.pop(name) for name in GLOBAL}
        shared = Shared({name: value or _before(ctx, name, value) for name, value in own.items()})
        ctx.params = {"shared": shared, **ctx.params}
        return super().invoke(ctx)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        _write_examples(formatter, self.examples)


def _before(ctx: click.Context, name: str, default: Any) -> Any:
    """A global option that stands before the verb; what stands nearest to it wins."""
    while ctx.parent is not None:
        ctx = ctx.parent
        if ctx.params.get(name):
            return ctx.params[name]
    return default


class VerbGroup(click.Group):
    """A verb that has verbs of its own; the global options may stand after it as well."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.params += global_options()

    @property
    def examples(self) -> tuple[str, ...]:
        return tuple(e for c in self.commands.values() if isinstance(c, Verb) for e in c.examples)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        _write_examples(formatter, self.examples)


def _write_examples(formatter: click.HelpFormatter, examples: Iterable[str]) -> None:
    with formatter.section("Examples"):
        formatter.write_text("\b\n" + "\n".join(examples))


def verb(*examples: str) -> Callable[[Callable[..., int]], Verb]:
    """Makes a command of a function that takes a `Shared` and returns the exit code."""

    def decorate(function: Callable[..., int]) -> Verb:
        made = click.command(cls=Verb, examples=examples)(function)
        assert isinstance(made, Verb)
        return made

    return decorate
