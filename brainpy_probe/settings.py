"""Settings of a capture, checked before anything runs.

Settings come from the arguments of ``capture()``, from ``BRAINPY_PROBE_*`` environment variables,
or from the options of the shell command. The table ``ARGUMENTS`` defines all of them.
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
# Spellings of a boolean, in any case. As values of BRAINPY_PROBE, _FALSE turns the probe off,
# and _TRUE turns it on with the default folder. brainpy_probe.pth also contains _FALSE.
_TRUE, _FALSE = ("1", "true", "yes", "on"), ("0", "false", "no", "off")


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """The settings of a capture: what it collects, and where.

    Attributes
    ----------
    out : str
        The parent folder of the capture folder.
    dialects : tuple of str
        The dialects to write. ``Capture.text`` has the first one.
    xla_dump : tuple of str
        The kinds of files that XLA dumps for each module that it compiles; empty for none.
    data : str
        The arrays to write: ``"none"``, ``"inputs"`` or ``"full"``.
    portable : bool
        Also lower each program without the kernels that only BrainPy has.
    step : bool
        Also write the program of one step of each loop.
    profile : bool
        Measure the run time of each component of a program.
    trace_eager : bool
        Trace the step of a run that BrainPy does not compile.
    strict : bool
        Raise when the probe itself fails, instead of recording the failure.
    """

    out: str = DEFAULT_OUT
    dialects: tuple[Dialect, ...] = ("stablehlo",)
    xla_dump: tuple[Dump, ...] = ()
    data: Data = "inputs"
    portable: bool = False
    step: bool = False
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
        """Parse arguments given as strings.

        Parameters
        ----------
        words : dict
            The string for each argument.
        spelled : callable
            Returns the user's spelling of an argument, given its name.

        Raises
        ------
        BadSetting
            If a string is not allowed.
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
        """Read the environment variables; return None if ``BRAINPY_PROBE`` is off.

        Raises
        ------
        BadSetting
            If a value is not allowed, or a variable ``BRAINPY_PROBE_*`` is unknown.
        """
        if is_off(environment.get(VARIABLE, "")):
            return None
        known = {variable(name): name for name in ARGUMENTS}
        unknown = sorted(
            name for name in environment if name.startswith(f"{VARIABLE}_") and name not in known
        )
        if unknown:
            raise BadSetting(
                f"Unknown environment variable {', '.join(unknown)}.",
                f"Allowed: {', '.join(known)}.",
            )
        words = {known[name]: environment[name] for name in known if environment.get(name)}
        if is_on(words["out"]):
            del words["out"]
        return cls.of_words(words, variable)


def is_off(word: str) -> bool:
    """Return whether a value of the variable ``BRAINPY_PROBE`` turns the probe off."""
    return word.lower() in ("", *_FALSE)


def is_on(word: str) -> bool:
    """Return whether a value of ``BRAINPY_PROBE`` turns the probe on without naming a folder."""
    return word.lower() in _TRUE


def variable(argument: str) -> str:
    """Return the name of an argument's environment variable."""
    return VARIABLE if argument == "out" else f"{VARIABLE}_{argument.upper()}"


def asks_for_strictness(environment: Mapping[str, str]) -> bool:
    """Return whether the environment asks for ``strict``, even if other variables are invalid."""
    return environment.get(variable("strict"), "").lower() in _TRUE


def _folder(out: str | os.PathLike[str] | None) -> str:
    """Check the argument ``out``; return the folder as a string."""
    if out is None:
        return DEFAULT_OUT
    try:
        folder = os.fspath(out)
    except TypeError:
        folder = None
    if not isinstance(folder, str) or not folder.strip() or "\0" in folder:
        raise BadSetting(f"out={out!r} is not a path.", "Give a non-empty str or os.PathLike.")
    try:
        path = Path(folder).expanduser()
        existing = path.absolute()
        str(existing).encode()  # the manifest contains the path, and is UTF-8
        while not existing.exists():
            existing = existing.parent
    except UnicodeEncodeError:
        raise BadSetting(
            f"out={folder!r} can't be a folder: its path is not UTF-8.",
            "Give a folder whose absolute path is UTF-8. In a locale that supports only ASCII, set "
            "PYTHONUTF8=1.",
        ) from None
    except (OSError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or error
        remedy = remedy_of(error) or "Give another path."
        raise BadSetting(f"out={folder!r} can't be a folder: {reason}.", remedy) from None
    if not existing.is_dir():
        raise BadSetting(
            f"out={folder!r} can't be a folder: {existing} is a file.", "Give another path."
        )
    return str(path)


def _words(value: object) -> list[object]:
    """Split a comma-separated string, or list an iterable; strings become lower case."""
    if isinstance(value, str):
        return [word.strip().lower() for word in value.split(",")]
    if not isinstance(value, Iterable):
        return [value]
    return [word.strip().lower() if isinstance(word, str) else word for word in value]


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
            f"Allowed: one or several of {', '.join(DUMPS)}, or True for all.",
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


def _boolean(word: str) -> bool:
    if word.lower() not in (*_TRUE, *_FALSE):
        allowed = ", ".join(word for pair in zip(_TRUE, _FALSE, strict=True) for word in pair)
        raise BadSetting("expected a boolean.", f"Allowed: {allowed}.")
    return word.lower() in _TRUE


def _boolean_or_words(word: str) -> bool | str:
    return _boolean(word) if word.lower() in (*_TRUE, *_FALSE) else word


@dataclass(frozen=True)
class Argument:
    """An argument of ``capture()``, which is also an environment variable and a command option.

    Parameters
    ----------
    field : str
        The field of :class:`Settings` that holds it.
    check : callable
        Converts the argument's value to the field's, or raises :class:`BadSetting`.
    read : callable
        Converts a string from the environment or the shell to the argument's value.
        Converts a string from the environment or the shell to the argument's value.
    help : str
        Help text of the option.
    form : str
        Kind of the option: ``word`` takes a string, ``words`` may be repeated, ``switch`` takes no
        value.
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
        f"Parent folder: each process creates its own folder run-... in it. Default: "
        f"./{DEFAULT_OUT}.",
    ),
    "dialect": Argument(
        "dialects",
        _dialects,
        str,
        f"{', '.join(DIALECTS)}, or several separated by commas.",
        form="words",
    ),
    "xla_dump": Argument(
        "xla_dump",
        _dumps,
        _boolean_or_words,
        f"Files that XLA dumps for each module: {', '.join(DUMPS)}, or several separated by "
        "commas; 1 for all, 0 for none.",
        form="words",
    ),
    "data": Argument(
        "data",
        _data,
        str,
        "The arrays to write: none, inputs (and digests of the results), or full.",
    ),
    "portable": Argument(
        "portable",
        _flag("portable"),
        _boolean,
        "Also write the program in plain StableHLO, without the kernels that only BrainPy has.",
        form="switch",
    ),
    "step": Argument(
        "step",
        _flag("step"),
        _boolean,
        "Also write the program of one step of each run, for use in your own loop.",
        form="switch",
    ),
    "profile": Argument(
        "profile",
        _flag("profile"),
        _boolean,
        "Measure the run time of each component. Each program runs three more times.",
        form="switch",
    ),
    "trace_eager": Argument(
        "trace_eager",
        _flag("trace_eager"),
        _boolean,
        "Trace the step of a run with jit=False. The model's Python runs once more for each new "
        "program.",
        form="switch",
    ),
    "strict": Argument(
        "strict",
        _flag("strict"),
        _boolean,
        "Raise an error when the probe itself fails, instead of warning and continuing.",
        form="switch",
    ),
}
