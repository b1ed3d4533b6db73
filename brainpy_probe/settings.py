"""The settings of one capture, checked before anything runs; knows neither BrainPy nor JAX."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Literal, get_args

import msgspec

from brainpy_probe.errors import BadSetting, UnknownDialect

__all__ = ["DIALECTS", "DUMPS", "Data", "Dialect", "Dump", "Settings"]

Dialect = Literal["stablehlo", "mhlo", "hlo"]
Data = Literal["none", "inputs", "full"]
Dump = Literal["text", "dot", "html", "proto"]

DIALECTS: tuple[Dialect, ...] = get_args(Dialect)
DATA: tuple[Data, ...] = get_args(Data)
DUMPS: tuple[Dump, ...] = get_args(Dump)
DEFAULT_OUT = "brainpy-probe"


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What one capture is to collect.

    Attributes
    ----------
    out : str
        The parent folder of the capture folder.
    dialects : tuple of str
        The dialects to write, the first one being that of ``Capture.text``.
    xla_dump : tuple of str
        What XLA is to dump for each module that is compiled; empty for nothing.
    data : str
        ``"none"``, ``"inputs"`` or ``"full"``: which arrays are written beside the texts.
    strict : bool
        Raise when the probe itself fails, instead of recording it.
    """

    out: str = DEFAULT_OUT
    dialects: tuple[Dialect, ...] = ("stablehlo",)
    xla_dump: tuple[Dump, ...] = ()
    data: Data = "inputs"
    strict: bool = False

    @classmethod
    def of_arguments(
        cls,
        out: str | os.PathLike[str] | None,
        dialect: str | Iterable[str],
        xla_dump: bool | str | Iterable[str],
        data: str,
        strict: bool,
    ) -> Settings:
        """Check the arguments of :func:`brainpy_probe.capture`.

        Raises
        ------
        UnknownDialect
            If a dialect is not one of :data:`DIALECTS`.
        BadSetting
            If another argument has a value that is not allowed.
        """
        return cls(
            out=_folder(out),
            dialects=_dialects(dialect),
            xla_dump=_dumps(xla_dump),
            data=_data(data),
            strict=_flag("strict", strict),
        )


def _folder(out: str | os.PathLike[str] | None) -> str:
    if out is None:
        return DEFAULT_OUT
    try:
        folder = os.fspath(out)
    except TypeError:
        folder = None
    if not isinstance(folder, str) or not folder.strip() or "\0" in folder:
        raise BadSetting(f"out={out!r} is not a folder's path.", "Give a str or a path-like.")
    try:
        path = Path(folder).expanduser()
        existing = path.absolute()
        while not existing.exists():
            existing = existing.parent
    except (OSError, RuntimeError) as error:
        raise BadSetting(f"out={folder!r} can't be a folder: {error}.", "Give another.") from None
    if not existing.is_dir():
        raise BadSetting(
            f"out={folder!r} can't be a folder: {existing} is a file.", "Give another path."
        )
    return str(path)


def _dialects(dialect: str | Iterable[str]) -> tuple[Dialect, ...]:
    asked = [dialect] if isinstance(dialect, str) else dialect
    if not isinstance(asked, Iterable):
        raise UnknownDialect(dialect, DIALECTS)
    chosen: list[Dialect] = []
    for one in asked:
        known = next((dialect for dialect in DIALECTS if dialect == one), None)
        if known is None:
            raise UnknownDialect(one, DIALECTS)
        if known not in chosen:
            chosen.append(known)
    if not chosen:
        raise UnknownDialect(dialect, DIALECTS)
    return tuple(chosen)


def _dumps(xla_dump: bool | str | Iterable[str]) -> tuple[Dump, ...]:
    if isinstance(xla_dump, bool):
        return DUMPS if xla_dump else ()
    asked = [xla_dump] if isinstance(xla_dump, str) else xla_dump
    chosen = list(asked) if isinstance(asked, Iterable) else [asked]
    if any(one not in DUMPS for one in chosen):
        raise BadSetting(
            f"xla_dump={xla_dump!r} is not allowed.",
            f"Allowed: {', '.join(DUMPS)}; one of them, several in a list, or True for all.",
        )
    return tuple(dump for dump in DUMPS if dump in chosen)


def _data(data: str) -> Data:
    for known in DATA:
        if data == known:
            return known
    raise BadSetting(f"data={data!r} is not allowed.", f"Allowed: {', '.join(DATA)}.")


def _flag(name: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise BadSetting(f"{name}={value!r} is not allowed.", "Allowed: True, False.")
    return value
