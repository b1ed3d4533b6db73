"""The settings of one capture, checked before anything runs; knows neither BrainPy nor JAX.

They come from the arguments of ``capture()``, from ``BRAINPY_PROBE_*`` or from the shell command's
options: one table, ``ARGUMENTS``, has them all. Nothing else reads the environment.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import msgspec

from brainpy_probe.errors import BadSetting, UnknownDialect, remedy_of

__all__ = [
    "ARGUMENTS",
    "DEFAULT_OUT",
    "DIALECTS",
    "DUMPS",
    "VARIABLE",
    "Argument",
    "Data",
    "Dialect",
    "Dump",
    "Settings",
    "asks_for_strictness",
    "is_off",
    "is_on",
    "variable",
]

Dialect = Literal["stablehlo", "mhlo", "hlo"]
Data = Literal["none", "inputs", "full"]
Dump = Literal["text", "dot", "html", "proto"]

DIALECTS: tuple[Dialect, ...] = get_args(Dialect)
DATA: tuple[Data, ...] = get_args(Data)
DUMPS: tuple[Dump, ...] = get_args(Dump)
DEFAULT_OUT = "brainpy-probe"

VARIABLE = "BRAINPY_PROBE"
# How a switch is spelled, in any case. As the value of the variable they turn the probe off, or on
# with the default folder; brainpy_probe.pth knows the first, too.
_YES, _NO = ("1", "true", "yes", "on"), ("0", "false", "no", "off")


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
    portable : bool
        Lower the program once more without the kernels that only BrainPy has.
    profile : bool
        Measure how long each component of a program runs.
    trace_eager : bool
        Trace the step of a run that BrainPy does not compile.
    strict : bool
        Raise when the probe itself fails, instead of recording it.
    """

    out: str = DEFAULT_OUT
    dialects: tuple[Dialect, ...] = ("stablehlo",)
    xla_dump: tuple[Dump, ...] = ()
    data: Data = "inputs"
    portable: bool = False
    profile: bool = False
    trace_eager: bool = False
    strict: bool = False

    @classmethod
    def of_arguments(cls, **arguments: object) -> Settings:
        """Check the arguments of :func:`brainpy_probe.capture`.

        Raises
        ------
        UnknownDialect
            If a dialect is not one of :data:`DIALECTS`.
        BadSetting
            If another argument has a value that is not allowed.
        """
        checked = {name: ARGUMENTS[name].check(value) for name, value in arguments.items()}
        return cls(**{ARGUMENTS[name].field: value for name, value in checked.items()})

    @classmethod
    def of_words(cls, words: Mapping[str, str], spelled: Callable[[str], str]) -> Settings:
        """Read the arguments that were given as words.

        Parameters
        ----------
        words : dict
            A word for each argument that was given.
        spelled : callable
            How the user spells an argument of that name.

        Raises
        ------
        BadSetting
            If a word is not allowed.
        """
        arguments = {}
        for name, word in words.items():
            try:
                arguments[name] = ARGUMENTS[name].read(word)
                ARGUMENTS[name].check(arguments[name])
            except BadSetting as error:
                raise BadSetting(
                    f"{spelled(name)}={word!r}: {error.message}", error.remedy
                ) from None
        return cls.of_arguments(**arguments)

    @classmethod
    def of_environment(cls, environment: Mapping[str, str]) -> Settings | None:
        """Read the environment variables; None where ``BRAINPY_PROBE`` is off.

        Raises
        ------
        BadSetting
            If a value is not allowed, or a variable ``BRAINPY_PROBE_*`` is not known.
        """
        if is_off(environment.get(VARIABLE, "")):
            return None
        known = {variable(name): name for name in ARGUMENTS}
        unknown = sorted(
            name for name in environment if name.startswith(f"{VARIABLE}_") and name not in known
        )
        if unknown:
            raise BadSetting(
                f"The probe does not know {', '.join(unknown)}.", f"It knows {', '.join(known)}."
            )
        given = {known[name]: environment[name] for name in known if environment.get(name)}
        if is_on(given["out"]):
            del given["out"]
        return cls.of_words(given, variable)


def is_off(word: str) -> bool:
    """Whether a value of the variable ``BRAINPY_PROBE`` turns the probe off."""
    return word.lower() in ("", *_NO)


def is_on(word: str) -> bool:
    """Whether a value of the variable turns the probe on and names no folder."""
    return word.lower() in _YES


def variable(argument: str) -> str:
    """Return the name of an argument's environment variable."""
    return VARIABLE if argument == "out" else f"{VARIABLE}_{argument.upper()}"


def asks_for_strictness(environment: Mapping[str, str]) -> bool:
    """Whether the environment asks for strictness, whatever else is wrong with it."""
    return environment.get(variable("strict"), "").lower() in _YES


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
        str(existing).encode()  # the index of a capture names it, and is UTF-8
        while not existing.exists():
            existing = existing.parent
    except UnicodeEncodeError:
        raise BadSetting(
            f"out={folder!r} can't be a folder: its path is not UTF-8.",
            "Give a folder whose whole absolute path is; where the locale takes ASCII alone, set "
            "PYTHONUTF8=1.",
        ) from None
    except (OSError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or error
        remedy = remedy_of(error) or "Give another."
        raise BadSetting(f"out={folder!r} can't be a folder: {reason}.", remedy) from None
    if not existing.is_dir():
        raise BadSetting(
            f"out={folder!r} can't be a folder: {existing} is a file.", "Give another path."
        )
    return str(path)


def _words(given: object) -> list[object]:
    """Return what was given as one word, several with commas between, or an iterable of such.

    Words come in lower case, as they are known by.
    """
    if isinstance(given, str):
        return [word.strip().lower() for word in given.split(",")]
    if not isinstance(given, Iterable):
        return [given]
    return [word.strip().lower() if isinstance(word, str) else word for word in given]


def _dialects(dialect: str | Iterable[str]) -> tuple[Dialect, ...]:
    chosen: list[Dialect] = []
    for name in _words(dialect):
        known = next((dialect for dialect in DIALECTS if dialect == name), None)
        if known is None:
            raise UnknownDialect(name, DIALECTS)
        if known not in chosen:
            chosen.append(known)
    if not chosen:
        raise UnknownDialect(dialect, DIALECTS)
    return tuple(chosen)


def _dumps(xla_dump: bool | str | Iterable[str]) -> tuple[Dump, ...]:
    if isinstance(xla_dump, bool):
        return DUMPS if xla_dump else ()
    chosen = _words(xla_dump)
    if any(kind not in DUMPS for kind in chosen):
        raise BadSetting(
            f"xla_dump={xla_dump!r} is not allowed.",
            f"Allowed: {', '.join(DUMPS)}; one of them, several, or True for all.",
        )
    return tuple(dump for dump in DUMPS if dump in chosen)


def _data(data: str) -> Data:
    for known in DATA:
        if isinstance(data, str) and data.strip().lower() == known:
            return known
    raise BadSetting(f"data={data!r} is not allowed.", f"Allowed: {', '.join(DATA)}.")


def _flag(name: str) -> Callable[[object], bool]:
    def checked(value: object) -> bool:
        if not isinstance(value, bool):
            raise BadSetting(f"{name}={value!r} is not allowed.", "Allowed: True, False.")
        return value

    return checked


def _switch(word: str) -> bool:
    if word.lower() not in (*_YES, *_NO):
        allowed = ", ".join(word for pair in zip(_YES, _NO, strict=True) for word in pair)
        raise BadSetting("It is a switch.", f"Allowed: {allowed}.")
    return word.lower() in _YES


def _switch_or_words(word: str) -> bool | str:
    return _switch(word) if word.lower() in (*_YES, *_NO) else word


@dataclass(frozen=True)
class Argument:
    """An argument of ``capture()``, which is also a variable and an option of the shell command.

    Parameters
    ----------
    field : str
        The field of :class:`Settings` that holds it.
    check : callable
        Makes the field's value of the argument's, or raises :class:`BadSetting`.
    read : callable
        Makes the argument's value of a word from the environment or the shell.
    help : str
        What it means, for the shell command; how a word is written.
    form : str
        Whether an option takes a word, may come several times, or is a switch that takes none.
    """

    field: str
    check: Callable[[Any], Any]
    read: Callable[[str], object]
    help: str
    form: Literal["word", "words", "switch"] = "word"


ARGUMENTS: dict[str, Argument] = {
    "out": Argument(
        "out",
        _folder,
        str,
        f"The parent folder: each process makes a folder run-... of its own in it. Left out: "
        f"./{DEFAULT_OUT}.",
    ),
    "dialect": Argument(
        "dialects",
        _dialects,
        str,
        f"{', '.join(DIALECTS)}, or several with commas between.",
        form="words",
    ),
    "xla_dump": Argument(
        "xla_dump",
        _dumps,
        _switch_or_words,
        f"What XLA is to dump for each module: {', '.join(DUMPS)}, several with commas between, "
        "1 for all, 0 for none.",
        form="words",
    ),
    "data": Argument(
        "data",
        _data,
        str,
        "Which arrays are written: none, inputs (of the results their digests), or full.",
    ),
    "portable": Argument(
        "portable",
        _flag("portable"),
        _switch,
        "Write the program in plain StableHLO too, without the kernels that only BrainPy has.",
        form="switch",
    ),
    "profile": Argument(
        "profile",
        _flag("profile"),
        _switch,
        "Measure how long each component of the model runs: runs each program three times more.",
        form="switch",
    ),
    "trace_eager": Argument(
        "trace_eager",
        _flag("trace_eager"),
        _switch,
        "Trace the step of a run with jit=False: the model's Python runs once more for each new "
        "program.",
        form="switch",
    ),
    "strict": Argument(
        "strict",
        _flag("strict"),
        _switch,
        "Stop when the probe itself fails, where else it warns and goes on.",
        form="switch",
    ),
}
