"""Folders damaged at random from a seed: no command crashes, hangs or has a traceback.

``BRAINPY_PROBE_TEST_FOLDERS=2000 pytest tests/verify/test_fuzz.py`` runs as many folders
(default 30).
"""

from __future__ import annotations

import json
import os
import random
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from brainpy_probe.format.folder import MANIFEST
from tests.altering import alter, rewrite
from tests.commands import run

FOLDERS = int(os.environ.get("BRAINPY_PROBE_TEST_FOLDERS", "30"))
# How many folders a test has, and how many of them have commands run that start a process.
GROUP, RUN = 10, 1
SECONDS, GIGABYTES = 20, 0.45
VALUES = (
    None,
    True,
    -1,
    0,
    1,
    7,
    2**31,
    2**53 + 1,
    10**30,
    1e300,
    "",
    "x" * 3000,
    "\x1b[2J",
    [],
    {},
)
NUMBERS = ("0", "-1", "1", "7", "2147483647", "4294967296", "1000000000000", "9" * 30)


def _places(found: Any) -> list[tuple[Any, Any]]:
    """Return each place of a tree of JSON, as what holds it and its key."""
    keys = list(found) if isinstance(found, dict) else range(len(found))
    places = [(found, key) for key in keys]
    for key in keys:
        if isinstance(found[key], dict | list):
            places += _places(found[key])
    return places


def _manifest(folder: Path, chance: random.Random) -> None:
    def change(manifest: dict[str, Any]) -> None:
        for _ in range(chance.choice((1, 1, 3))):
            holder, key = chance.choice(
                [place for place in _places(manifest) if place[1] != "digest"]
            )
            how = chance.random()
            if how < 0.6:
                holder[key] = chance.choice(VALUES)
            elif how < 0.8:
                holder[key] = json.loads(json.dumps(chance.choice(_places(manifest))[0]))
            elif isinstance(holder, list):
                holder.append(holder[key])
            else:
                holder[f"{key}{chance.choice(('', '.a', chr(27)))}"] = holder.pop(key)

    alter(folder, change)


def _content(folder: Path, chance: random.Random) -> None:
    names = sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and path.name != MANIFEST
    )
    name = chance.choice(names)
    if name.endswith("vhlo.mlirbc") and chance.random() < 0.5:
        _drop_texts(folder)  # so that the bytecode is what is counted and run
    content = bytearray((folder / name).read_bytes())
    place = chance.randrange(len(content))
    how = chance.randrange(5)
    numbers = list(re.finditer(rb"(?<![\w%#@.])-?\d+(?![\w.])", content))
    ops = list(re.finditer(rb"stablehlo\.\w+", content))
    if how == 0 and name.endswith(("mlir", "txt")) and numbers:
        found = chance.choice(numbers)
        content[found.start() : found.end()] = chance.choice(NUMBERS).encode()
    elif how == 1 and ops:
        found, other = chance.choice(ops), chance.choice(ops)
        content[found.start() : found.end()] = other[0]
    elif how == 2:
        del content[place : place + chance.choice((1, 8, 64))]
    elif how == 3:
        content[place:place] = chance.randbytes(chance.choice((1, 8)))
    else:
        content[place] = chance.randrange(256)
    if chance.random() < 0.9:
        rewrite(folder, name, bytes(content))
    else:
        (folder / name).write_bytes(bytes(content))


def _drop_texts(folder: Path) -> None:
    def change(manifest: dict[str, Any]) -> None:
        for program in manifest["programs"]:
            program["files"] = [file for file in program["files"] if file["kind"] != "stablehlo"]

    alter(folder, change)


def _files(folder: Path, chance: random.Random) -> None:
    path = chance.choice([path for path in sorted(folder.rglob("*")) if path.is_file()])
    size = path.stat().st_size
    path.unlink()
    how = chance.randrange(5)
    if how == 0:
        path.symlink_to(chance.choice(("/etc/passwd", "/dev/zero", path.name, "..")))
    elif how == 1:
        os.mkfifo(path)
    elif how == 2:
        path.mkdir()
    elif how == 3:
        path.touch()
        os.truncate(path, chance.choice((size, 100 << 30)))


CHANGES: tuple[Callable[[Path, random.Random], None], ...] = (
    _manifest,
    _manifest,
    _content,
    _files,
)


def _command(*words: object) -> None:
    code, output = run(*words)
    assert code in (0, 1, 2), output


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("group", range(max(1, FOLDERS // GROUP)))
def test_a_damaged_folder_harms_no_reader(group: int, lif: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_text("as it was")
    for number in range(GROUP):
        chance = random.Random(1000 * group + number)  # noqa: S311 - a seed, no secret
        folder = shutil.copytree(lif, tmp_path / f"run-{number}")
        chance.choice(CHANGES)(folder, chance)
        _command("show", folder)
        if number < RUN or FOLDERS > 100:
            limits = ("--timeout", SECONDS, "--memory", GIGABYTES)
            costs = chance.choice((["costs"], ["costs"], ["costs", "--measure"]))
            for command in (costs, ["replay"], ["verify"]):
                _command(*command, *limits, folder)
        shutil.rmtree(folder)
    assert [path.name for path in tmp_path.iterdir()] == ["outside"]
    assert (outside / "file").read_text() == "as it was"
