"""An Alembic environment's folder: its heads are read, and revisions are put into it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onerow.emit.alembic import Revision
from onerow.errors import InputError

if TYPE_CHECKING:
    from alembic.script import ScriptDirectory


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What was put into a folder, and what was there already."""

    new: tuple[Path, ...] = ()
    there: tuple[Path, ...] = ()


def open_environment(folder: Path) -> ScriptDirectory:
    """An Alembic environment: the folder with env.py, or one with an alembic.ini that names it.

    Raises:
        InputError: there is none, Alembic is not installed, or its revisions cannot be read.
    """
    try:
        from alembic.config import Config
        from alembic.script import ScriptDirectory
    except ImportError:
        raise InputError(
            "Alembic is not installed.", hint="`pip install 'onerow[alembic]'` brings it."
        ) from None
    place = folder.parent if folder.name == "versions" else folder
    for ini in (place / "alembic.ini", place.parent / "alembic.ini"):
        if ini.is_file():
            config = Config(str(ini))
            named = config.get_main_option("script_location")
            if named and (ini.parent == place or _is_same(named, ini.parent, place)):
                if not Path(named).is_absolute():
                    config.set_main_option("script_location", str(ini.parent / named))
                return ScriptDirectory.from_config(config)
    if not (place / "env.py").is_file():
        raise InputError(
            f"{str(folder)!r} is no Alembic environment: it has neither env.py nor alembic.ini.",
            hint="`alembic init DIR` makes one.",
        )
    return ScriptDirectory(str(place))


def _is_same(named: str, base: Path, place: Path) -> bool:
    return (base / named).resolve() == place.resolve()


def place_of(script: ScriptDirectory) -> Path:
    """Where new revisions go."""
    return Path(script.versions)


def write(
    script: ScriptDirectory, made: Sequence[Revision], head: str | None, save: Any
) -> Written:
    """Put revisions behind the head; those that are there stay as they are.

    Args:
        head: what the first one comes after; the one head there is when None.
        save: writes a file whole or not at all.

    Raises:
        InputError: several heads and none chosen, or the chosen one is not there.
    """
    known = _known(script)
    place = place_of(script)
    there = tuple(place / r.name for r in made if r.id in known)
    missing = [r for r in made if r.id not in known]
    if not missing:
        return Written(there=there)
    down = made[len(there) - 1].id if there else _head(script, known, head)
    new = []
    place.mkdir(exist_ok=True)
    for revision in missing:
        save(place / revision.name, revision.after(down))
        new.append(place / revision.name)
        down = revision.id
    return Written(new=tuple(new), there=there)


def _known(script: ScriptDirectory) -> set[str]:
    try:
        return {r.revision for r in script.walk_revisions()}
    except Exception as error:  # a user's revision may raise whatever it likes
        raise InputError(f"The revisions in {script.dir} cannot be read: {error}.") from error


def _head(script: ScriptDirectory, known: set[str], chosen: str | None) -> str | None:
    if chosen is not None:
        if chosen not in known:
            raise InputError(f"There is no revision {chosen!r} in {script.dir}.")
        return chosen
    heads = script.get_heads()
    if len(heads) > 1:
        raise InputError(
            f"{script.dir} has {len(heads)} heads: {', '.join(sorted(heads))}.",
            hint="Name the one to go on from with --alembic-head REV, or `alembic merge heads`.",
        )
    return heads[0] if heads else None
