"""Folders with random damage from a seed: no command crashes, hangs or prints a traceback.

``BRAINPY_PROBE_TEST_FOLDERS=2000 pytest tests/verify/test_fuzz.py`` tests 2000 folders (default
30).
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
# The number of folders per test, and for how many of them the test runs commands in processes.
FOLDERS_PER_TEST, FOLDERS_WITH_PROCESSES = 10, 1
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


def _nodes(tree: Any) -> list[tuple[Any, Any]]:
    """Return each node of a JSON tree, as its container and its key."""
    keys = list(tree) if isinstance(tree, dict) else range(len(tree))
    nodes = [(tree, key) for key in keys]
    for key in keys:
        if isinstance(tree[key], dict | list):
            nodes += _nodes(tree[key])
    return nodes


def _damage_manifest(folder: Path, rng: random.Random) -> None:
    def change(manifest: dict[str, Any]) -> None:
        for _ in range(rng.choice((1, 1, 3))):
            holder, key = rng.choice([node for node in _nodes(manifest) if node[1] != "digest"])
            how = rng.random()
            if how < 0.6:
                holder[key] = rng.choice(VALUES)
            elif how < 0.8:
                holder[key] = json.loads(json.dumps(rng.choice(_nodes(manifest))[0]))
            elif isinstance(holder, list):
                holder.append(holder[key])
            else:
                holder[f"{key}{rng.choice(('', '.a', chr(27)))}"] = holder.pop(key)

    alter(folder, change)


def _damage_content(folder: Path, rng: random.Random) -> None:
    names = sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and path.name != MANIFEST
    )
    name = rng.choice(names)
    if name.endswith("vhlo.mlirbc") and rng.random() < 0.5:
        _drop_texts(folder)  # so that commands read the bytecode
    content = bytearray((folder / name).read_bytes())
    position = rng.randrange(len(content))
    how = rng.randrange(5)
    numbers = list(re.finditer(rb"(?<![\w%#@.])-?\d+(?![\w.])", content))
    ops = list(re.finditer(rb"stablehlo\.\w+", content))
    if how == 0 and name.endswith(("mlir", "txt")) and numbers:
        found = rng.choice(numbers)
        content[found.start() : found.end()] = rng.choice(NUMBERS).encode()
    elif how == 1 and ops:
        found, other = rng.choice(ops), rng.choice(ops)
        content[found.start() : found.end()] = other[0]
    elif how == 2:
        del content[position : position + rng.choice((1, 8, 64))]
    elif how == 3:
        content[position:position] = rng.randbytes(rng.choice((1, 8)))
    else:
        content[position] = rng.randrange(256)
    if rng.random() < 0.9:
        rewrite(folder, name, bytes(content))
    else:
        (folder / name).write_bytes(bytes(content))


def _drop_texts(folder: Path) -> None:
    def change(manifest: dict[str, Any]) -> None:
        for program in manifest["programs"]:
            program["files"] = [file for file in program["files"] if file["kind"] != "stablehlo"]

    alter(folder, change)


def _damage_file(folder: Path, rng: random.Random) -> None:
    path = rng.choice([path for path in sorted(folder.rglob("*")) if path.is_file()])
    size = path.stat().st_size
    path.unlink()
    how = rng.randrange(5)
    if how == 0:
        path.symlink_to(rng.choice(("/etc/passwd", "/dev/zero", path.name, "..")))
    elif how == 1:
        os.mkfifo(path)
    elif how == 2:
        path.mkdir()
    elif how == 3:
        path.touch()
        os.truncate(path, rng.choice((size, 100 << 30)))


DAMAGES: tuple[Callable[[Path, random.Random], None], ...] = (
    _damage_manifest,
    _damage_manifest,
    _damage_content,
    _damage_file,
)


def _command(*words: object) -> None:
    code, output = run(*words)
    assert code in (0, 1, 2), output


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("group", range(max(1, FOLDERS // FOLDERS_PER_TEST)))
def test_no_command_crashes_on_a_damaged_folder(group: int, lif: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_text("unchanged")
    for number in range(FOLDERS_PER_TEST):
        rng = random.Random(1000 * group + number)  # noqa: S311 - a seed, no secret
        folder = shutil.copytree(lif, tmp_path / f"run-{number}")
        rng.choice(DAMAGES)(folder, rng)
        _command("show", folder)
        if number < FOLDERS_WITH_PROCESSES or FOLDERS > 100:
            limits = ("--timeout", SECONDS, "--memory", GIGABYTES)
            costs = rng.choice((["costs"], ["costs"], ["costs", "--measure"]))
            for command in (costs, ["replay"], ["verify"]):
                _command(*command, *limits, folder)
        shutil.rmtree(folder)
    assert [path.name for path in tmp_path.iterdir()] == ["outside"]
    assert (outside / "file").read_text() == "unchanged"
