"""Writes the pages that follow from the code: the commands, and the records of a manifest.

    python -m docs.generated

A test compares the pages with what this would write.
"""

from __future__ import annotations

import ast
import html
import importlib
import inspect
import pkgutil
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import msgspec
import typer

from brainpy_probe.cli import app
from brainpy_probe.format import manifest as manifest_package
from brainpy_probe.format.manifest import common_records, records
from brainpy_probe.settings import Settings

__all__ = ["PAGES"]

REFERENCE = Path(__file__).parent / "reference"
COMMANDS = """\
# Commands

RUN is a capture folder, or a folder that contains captures. Without RUN, a command takes the newest
capture below `./brainpy-probe`. `python -m brainpy_probe` is the same command.
`--install-completion` installs completion for the shell, which also completes captures and
dialects.

Work that takes more than two seconds shows its progress on stderr, if that is a terminal. Colours
and width are the terminal's (`NO_COLOR`, `COLUMNS`). Exit codes: 0, success; 1, the operation
failed, a check did not pass, or two captures differ; 2, wrong usage.
"""
RECORDS = """\
# Records of the manifest

Fields with a default may be missing. [The capture format](format.md) says how the records belong
together.

## Values
"""
MODULES = [
    importlib.import_module(f"{manifest_package.__name__}.{found.name}")
    for found in pkgutil.iter_modules(manifest_package.__path__)
    if found.name.endswith("records")
]
# The types of fields that restrict a type of JSON.
VALUES = {
    name: value
    for module in MODULES
    for name, value in vars(module).items()
    if hasattr(value, "__metadata__") and not name.startswith("_")
}
PYTHON_TO_JSON = {
    "str": "string",
    "int": "integer",
    "float": "number",
    "bool": "boolean",
    "None": "null",
    "Parameter": "null, boolean, number, string, [AbstractArray](#abstractarray), or an array of "
    "these",
}
RECORD_CLASSES: dict[str, type] = {"Settings": Settings} | {
    name: value
    for module in MODULES
    for name, value in vars(module).items()
    if inspect.isclass(value)
    and issubclass(value, common_records.Record)
    and value.__module__ == module.__name__
    and value is not common_records.Record
}
# What the field of each record means if its docstring does not describe it.
INDEX = "Its position in the manifest's list, from 0."


# --- Commands -------------------------------------------------------------------------------------


def commands() -> str:
    """Return the page of the commands."""
    group: Any = typer.main.get_command(app)
    parts = [COMMANDS]
    for name, command in group.commands.items():
        usage = [_usage(parameter) for parameter in command.params if _is_argument(parameter)]
        parts.append(f"## {name}\n\n`{' '.join(['brainpy-probe', name, '[OPTIONS]', *usage])}`\n")
        help_text = re.sub(r"(?<!\n)\n(?!\n)", " ", textwrap.dedent(command.help)).strip()
        help_text = re.sub(r"^brainpy-probe .*$", r"`\g<0>`", help_text, flags=re.MULTILINE)
        help_text = re.sub(r"BRAINPY_PROBE=1 .*$", r"`\g<0>`", help_text, flags=re.MULTILINE)
        parts.append(_escaped(help_text) + "\n")
        rows = [_row(parameter) for parameter in command.params if parameter.name != "help"]
        parts.append("\n".join(["| | |", "|---|---|", *rows]) + "\n")
    return "\n".join(parts)


def _is_argument(parameter: Any) -> bool:
    return bool(parameter.param_type_name == "argument")


def _usage(parameter: Any) -> str:
    name = parameter.metavar or parameter.name.upper()
    return name if parameter.required or name.startswith("[") else f"[{name}]"


def _row(parameter: Any) -> str:
    if _is_argument(parameter):
        label = parameter.metavar or parameter.name.upper()
    else:
        value = "" if parameter.is_flag else f" {parameter.metavar or parameter.name.upper()}"
        label = ", ".join(f"{option}{value}" for option in parameter.opts)
    text = _escaped(parameter.help or "")
    shown = isinstance(parameter.default, int | float) and not isinstance(parameter.default, bool)
    if shown and not _is_argument(parameter):
        text += f" Default: {parameter.default:g}."
    return f"| `{label}` | {text} |"


# --- Records --------------------------------------------------------------------------------------


def format_records() -> str:
    """Return the page of the manifest's records."""
    parts = [RECORDS, "| type | JSON |\n|---|---|"]
    for name, value in VALUES.items():
        base, meta = get_args(value)
        kind = PYTHON_TO_JSON.get(getattr(base, "__name__", ""), "array of `NonNegativeInt`")
        parts.append(f"| `{name}` | {kind}{_limits(meta)} |")
    for cls in _reachable(records.Manifest, {}) | _reachable(records.Addition, {}):
        parts.append(f"\n## {cls.__name__}\n\n{_summary(cls)}\n")
        parts.append("| field | JSON | default | |\n|---|---|---|---|")
        meanings = dict(_meanings(cls))
        for field in msgspec.structs.fields(cls):
            annotation = _annotation(cls, field.name)
            meaning = _escaped(meanings.get(field.name, INDEX if field.name == "index" else ""))
            parts.append(
                f"| `{field.name}` | {_json(annotation)} | {_default(field)} | {meaning} |"
            )
    return "\n".join(parts) + "\n"


def _reachable(cls: type, found: dict[type, None]) -> dict[type, None]:
    """Return a record and those that it holds, each before those that it holds."""
    if cls not in found:
        found[cls] = None
        for field in msgspec.structs.fields(cls):
            for word in re.findall(r"\w+", _annotation(cls, field.name)):
                word = "AbstractArray" if word == "Parameter" else word
                if word in RECORD_CLASSES:
                    _reachable(RECORD_CLASSES[word], found)
    return found


def _limits(meta: msgspec.Meta) -> str:
    if meta.pattern is not None:
        # In a table, Markdown's dialects disagree about "|" within backticks.
        pattern = html.escape(meta.pattern).replace("|", "&#124;")
        return f" that matches <code>{pattern}</code>"
    if meta.max_length is not None:
        return f" of at most {meta.max_length} elements"
    return f" from {_bound(meta.ge)} to {_bound(meta.le)}"


def _bound(number: float | None) -> str:
    if isinstance(number, int) and abs(number).bit_count() == 1 and abs(number) > 1:
        return f"{'-' if number < 0 else ''}2^{abs(number).bit_length() - 1}"
    return f"{number:g}"


def _annotation(cls: type, field: str) -> str:
    for base in cls.__mro__:
        if field in inspect.get_annotations(base):
            return str(inspect.get_annotations(base)[field])
    raise KeyError(field)


def _json(annotation: str) -> str:
    """Return a type of Python as JSON has it."""
    return _kind(ast.parse(annotation, mode="eval").body)


def _kind(node: ast.expr) -> str:
    if isinstance(node, ast.BinOp):
        return f"{_kind(node.left)} or {_kind(node.right)}"
    if isinstance(node, ast.Subscript):
        base = ast.unparse(node.value)
        inner = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        if base == "dict":
            return f"object of {_kind(inner[1])}"
        if base == "tuple" and isinstance(inner[-1], ast.Constant):
            return f"array of {_kind(inner[0])}"
        if base == "tuple":
            return f"[{', '.join(map(_kind, inner))}]"
        return _kind(inner[0])  # Annotated
    name = ast.unparse(node)
    for module in (*MODULES, inspect.getmodule(Settings)):
        literal = getattr(module, name, None)
        if getattr(literal, "__origin__", None) is not None and "Literal" in str(literal):
            return "one of " + ", ".join(f"`{word}`" for word in get_args(literal))
    if name in RECORD_CLASSES:
        return f"[{name}](#{name.lower()})"
    return PYTHON_TO_JSON.get(name, f"`{name}`")


def _default(field: msgspec.structs.FieldInfo) -> str:
    default = field.default
    if default is msgspec.NODEFAULT:
        factory = field.default_factory
        if factory is msgspec.NODEFAULT:
            return "required"
        default = factory()
    if isinstance(default, msgspec.Struct):
        return "empty"
    return f"`{msgspec.json.encode(default).decode()}`"


def _summary(cls: type) -> str:
    summary = (inspect.getdoc(cls) or "").split("\n\n")[0].replace("\n", " ")
    return re.sub(r"\bNone\b", "null", _escaped(summary))


def _meanings(cls: type) -> Iterator[tuple[str, str]]:
    """Yield the fields that the docstrings of a record and of its bases describe."""
    for base in reversed(cls.__mro__):
        text = inspect.cleandoc(base.__dict__.get("__doc__") or "")
        section = text.partition("Attributes\n----------\n")[2]
        for names, body in re.findall(
            r"^(\w[\w, ]*) : .*\n((?:    .*\n?|\n(?=    ))+)", section, re.M
        ):
            for name in names.split(", "):
                yield name, re.sub(r"\bNone\b", "null", " ".join(body.split()))


def _escaped(text: str) -> str:
    """Return text of a docstring as Markdown for a table."""
    text = re.sub(r":\w+:`~?([^`]+)`", r"`\1`", text).replace("``", "`")
    return text.replace("|", "\\|")


PAGES = {"commands.md": commands, "format-records.md": format_records}

if __name__ == "__main__":
    for name, make in PAGES.items():
        (REFERENCE / name).write_text(make())
