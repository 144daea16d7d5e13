"""`serve` and `token` of a system's command line. What they need is imported when they run."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click
from pydantic import BaseModel, ValidationError

from systems.shared.commands import url_option

if TYPE_CHECKING:
    from systems.shared.web.server import Make

DEFAULT_PORT = 8000


SIGNED = "ONEROW_JWT_SECRET must hold the secret that signs the tokens: 32 bytes or more."


def serve_command(make: Callable[[], Make], *, signed: bool = True) -> click.Command:
    """`serve`.

    Args:
        make: imports the system's application and returns its `make`.
        signed: one has to sign in.
    """

    @click.command(epilog=SIGNED if signed else None)
    @url_option
    @click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
    @click.option(
        "--port",
        type=click.IntRange(0, 65535),
        default=DEFAULT_PORT,
        show_default=True,
        help="0 for any free one.",
    )
    @click.option("--naive", is_flag=True, help="With the original, unsafe writers.")
    def serve(url: str, host: str, port: int, naive: bool) -> None:
        """Serve the application until SIGTERM or Ctrl-C."""
        from systems.shared.web.server import serve as run

        run(make(), url, host, port, naive, signed)

    return serve


def token_command(claims: Callable[[], type[BaseModel]]) -> click.Command:
    """`token`, with an option for each claim.

    Args:
        claims: imports and returns the model of the system's claims.
    """
    command = _TokenCommand("token", help="Print a token, to try the application with.")
    command.claims = claims
    return command


class _TokenCommand(click.Command):
    claims: Callable[[], type[BaseModel]]

    def get_params(self, context: click.Context) -> list[click.Parameter]:
        fields = self.claims().model_fields.items()
        options = [
            click.Option(
                [f"--{name.replace('_', '-')}"],
                required=field.is_required(),
                help=field.description or "",
            )
            for name, field in fields
        ]
        hours = click.Option(
            ["--hours"],
            type=click.FloatRange(min=0, min_open=True),
            default=8.0,
            show_default=True,
            help="It is good for so long.",
        )
        return [*options, hours, *super().get_params(context)]

    def invoke(self, context: click.Context) -> Any:
        from systems.shared.web.tokens import HOUR, Claims, Tokens

        given = dict(context.params)
        hours = given.pop("hours")
        try:
            claims = self.claims()(**{n: v for n, v in given.items() if v is not None})
        except ValidationError as error:
            told = "; ".join(f"--{e['loc'][0]}: {e['msg']}" for e in error.errors())
            raise click.UsageError(told, context) from None
        assert isinstance(claims, Claims)
        click.echo(Tokens.from_environment().mint(claims, hours * HOUR))
