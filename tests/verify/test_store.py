"""The capture folder: atomic writes, no overwriting, and checked reads."""

from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

import brainpy_probe as probe
from brainpy_probe.errors import FolderRemoved
from brainpy_probe.format.folder import JOURNAL, MANIFEST, RunFolder
from brainpy_probe.format.manifest.records import Addition, Manifest
from brainpy_probe.format.reading import manifest_digest_matches, newest_run, read_manifest
from tests.altering import alter
from tests.networks import by_name
from tests.processes import file_size_limit, killed_capture, start_python

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> probe.Capture:
    """Return the capture of two runs that the block returned."""
    case = by_name("lif")
    runner = case.build()
    out = tmp_path_factory.mktemp("live")
    with probe.capture(out, dialect=["stablehlo", "mhlo", "hlo"], data="full") as cap:
        case.run(runner)
        case.run(runner)
    return cap


@pytest.fixture
def copy(live: probe.Capture, tmp_path: Path) -> Path:
    """Return a copy of the capture folder that a test can damage."""
    return shutil.copytree(live.path, tmp_path / live.path.name)


def _name_file(name: str) -> Callable[[dict[str, Any]], object]:
    return lambda manifest: manifest["programs"][0]["files"][0].update(path=name)


# --- Writing ----------------------------------------------------------------------------------


def test_a_killed_process_keeps_the_calls_that_had_ended() -> None:
    folder = killed_capture()
    loaded = probe.load(folder)
    assert [(call.model, call.steps, call.error) for call in loaded.calls] == [("LIF", 100, None)]
    assert loaded.text.startswith("module @LIF")
    assert not loaded.manifest.complete
    assert not list(folder.rglob(".*"))


def _unfinished(live: probe.Capture, parent: Path) -> tuple[RunFolder, Manifest]:
    """Return the folder of a process that was killed after the calls of a capture."""
    folder = RunFolder(parent)
    whole = replace(live.manifest, complete=False)
    initial = replace(whole, calls=(), programs=(), modules=())
    folder.write_manifest(initial)
    for call in whole.calls:
        folder.append(
            Addition(
                calls=(call,),
                programs=whole.programs if call.index == 0 else (),
                modules=tuple(module for module in whole.modules if module.call == call.index),
            )
        )
    return folder, whole


def test_a_manifest_and_its_journal_are_read_together(live: probe.Capture, tmp_path: Path) -> None:
    folder, whole = _unfinished(live, tmp_path)
    assert read_manifest(folder.path)[1] == whole
    assert manifest_digest_matches(folder.path)


def test_every_call_adds_the_same_size_to_the_journal(live: probe.Capture, tmp_path: Path) -> None:
    folder, whole = _unfinished(live, tmp_path)
    index = (folder.path / MANIFEST).read_bytes()
    lengths = []
    for number in range(len(whole.calls), 1000):
        before = (folder.path / JOURNAL).stat().st_size
        folder.append(Addition(calls=(replace(whole.calls[-1], index=number),)))
        lengths.append((folder.path / JOURNAL).stat().st_size - before)
    assert max(lengths) - min(lengths) <= 4, "more than the digits of the index"
    assert (folder.path / MANIFEST).read_bytes() == index
    assert len(read_manifest(folder.path)[1].calls) == 1000


def test_reading_a_journal_takes_linear_time(live: probe.Capture, tmp_path: Path) -> None:
    def seconds(lines: int) -> float:
        folder, whole = _unfinished(live, tmp_path)
        for number in range(len(whole.calls), lines):
            folder.append(Addition(calls=(replace(whole.calls[-1], index=number),)))
        start = time.process_time()
        assert len(probe.load(folder.path).calls) == lines
        return time.process_time() - start

    short, long = (min(seconds(lines) for _ in range(5)) for lines in (250, 2000))
    assert long < 24 * short  # quadratic time would take 64 times as long


def test_a_last_line_that_is_cut_off_is_ignored(live: probe.Capture, tmp_path: Path) -> None:
    folder, whole = _unfinished(live, tmp_path)
    content = (folder.path / JOURNAL).read_bytes()
    last = content.rindex(b"\n", 0, -1) + 1
    for length in (last, last + 1, len(content) - 1):
        (folder.path / JOURNAL).write_bytes(content[:length])
        read = read_manifest(folder.path)[1]
        assert read.calls == whole.calls[:-1]
        assert read.programs == whole.programs


def test_an_altered_journal_is_refused(live: probe.Capture, tmp_path: Path) -> None:
    folder, _ = _unfinished(live, tmp_path)
    journal = folder.path / JOURNAL
    content = journal.read_bytes()
    journal.write_bytes(content.replace(b'"runner":"DSRunner"', b'"runner":"DsRunner"'))
    assert not manifest_digest_matches(folder.path)
    journal.write_bytes(content.replace(b"{", b"(", 1))
    with pytest.raises(probe.DamagedCapture, match=JOURNAL):
        probe.load(folder.path)


def test_a_finished_capture_has_no_journal(live: probe.Capture, tmp_path: Path) -> None:
    folder, whole = _unfinished(live, tmp_path)
    journal = (folder.path / JOURNAL).read_bytes()
    with pytest.raises(FolderRemoved, match="Files in"):  # the folder has only the manifest
        folder.finish(Addition())
    assert not (folder.path / JOURNAL).exists()
    # If the process was killed between both steps, no call is read twice.
    (folder.path / JOURNAL).write_bytes(journal)
    assert read_manifest(folder.path)[1] == replace(whole, complete=True)


def test_a_line_without_room_on_disk_keeps_the_journal(live: probe.Capture, tmp_path: Path) -> None:
    folder, whole = _unfinished(live, tmp_path)
    before = (folder.path / JOURNAL).read_bytes()
    addition = Addition(calls=(replace(whole.calls[-1], index=len(whole.calls)),))
    with file_size_limit(len(before) + 10), pytest.raises(OSError, match=JOURNAL):
        folder.append(addition)
    assert (folder.path / JOURNAL).read_bytes() == before
    folder.append(addition)
    assert len(read_manifest(folder.path)[1].calls) == len(whole.calls) + 1


# --- Finding and reading ----------------------------------------------------------------------


def test_the_newest_run_is_the_last_with_a_manifest(live: probe.Capture, tmp_path: Path) -> None:
    assert newest_run(tmp_path) is None
    assert newest_run(tmp_path / "missing") is None
    first, second, _ = (RunFolder(tmp_path) for _ in range(3))
    first.write_manifest(live.manifest)
    second.write_manifest(live.manifest)
    assert newest_run(tmp_path) == second.path
    assert probe.load(tmp_path).path == second.path


@pytest.mark.parametrize("name", ["", MANIFEST])
def test_a_loaded_capture_equals_the_live_one(live: probe.Capture, name: str) -> None:
    loaded = probe.load(live.path / name)
    assert loaded.path == live.path
    assert loaded.manifest == live.manifest
    assert loaded.calls == live.calls
    assert loaded.programs == live.programs
    assert loaded.text == live.text
    assert str(loaded) == str(live)
    assert loaded.manifest.complete


def test_a_capture_loads_without_brainpy_and_jax(
    live: probe.Capture,
) -> None:
    source = (
        "import json, sys\n"
        "sys.modules['brainpy'] = sys.modules['jax'] = sys.modules['jaxlib'] = None\n"
        "import msgspec, brainpy_probe as probe\n"
        "cap = probe.load(sys.argv[1]); program = cap.programs[0]\n"
        "arrays = {n: str(a.dtype) for n, a in program.data('results').items()}\n"
        "print(json.dumps([msgspec.to_builtins(cap.manifest), arrays, str(cap),\n"
        "                  [program.text(d) for d in program.dialects]]))\n"
    )
    process = start_python(source, live.path)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    program = live.programs[0]
    written = json.loads((live.path / MANIFEST).read_text())
    assert re.fullmatch("[0-9a-f]{32}", written["digest"])
    assert json.loads(output) == [
        written | {"digest": ""},
        {name: str(array.dtype) for name, array in program.data("results").items()},
        str(live),
        [program.text(dialect) for dialect in ("stablehlo", "mhlo", "hlo")],
    ]


# --- Errors -----------------------------------------------------------------------------------


def test_a_manifest_that_is_cut_off_anywhere_is_refused(copy: Path) -> None:
    content = (copy / MANIFEST).read_bytes()
    for length in [*range(0, len(content), 101), len(content) - 1]:
        (copy / MANIFEST).write_bytes(content[:length])
        with pytest.raises(probe.DamagedCapture, match="can't be read"):
            probe.load(copy)


@pytest.mark.parametrize("content", [b"null", b"[]", b"\xff\xfe", b'{"format": 3}'])
def test_a_manifest_of_another_kind_is_refused(copy: Path, content: bytes) -> None:
    (copy / MANIFEST).write_bytes(content)
    with pytest.raises(probe.DamagedCapture, match=MANIFEST):
        probe.load(copy)


def test_a_later_version_is_refused_with_the_remedy(copy: Path) -> None:
    alter(copy, lambda manifest: manifest.update(version=99, novelty={}))
    with pytest.raises(probe.DamagedCapture, match="version 99") as error:
        probe.load(copy)
    assert "Update" in error.value.remedy


def test_another_format_is_refused(copy: Path) -> None:
    alter(copy, lambda manifest: manifest.update(format="someone/else"))
    with pytest.raises(probe.DamagedCapture, match="someone/else"):
        probe.load(copy)


@pytest.mark.parametrize(
    ("program", "fault"), [(1, "missing programs"), (-1, "Expected `int` >= 0")]
)
def test_a_call_of_a_missing_program_is_refused(copy: Path, program: int, fault: str) -> None:
    alter(copy, lambda manifest: manifest["calls"][1].update(program=program))
    with pytest.raises(probe.DamagedCapture, match=fault):
        probe.load(copy)


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a/../../b", "..\\x", "a\0b"])
def test_a_file_outside_the_folder_is_refused(copy: Path, name: str) -> None:
    alter(copy, _name_file(name))
    with pytest.raises(probe.DamagedCapture, match="a file outside its folder"):
        probe.load(copy)


def test_a_link_to_outside_the_folder_is_refused(copy: Path, tmp_path: Path) -> None:
    loaded = probe.load(copy)
    text = loaded.programs[0].paths["stablehlo"]
    text.rename(tmp_path / "outside")
    text.symlink_to(tmp_path / "outside")
    for found in (loaded, probe.load(copy)):
        with pytest.raises(probe.DamagedCapture, match="contains a symbolic link"):
            found.programs[0].text()


def test_a_moved_folder_can_be_read(live: probe.Capture, copy: Path) -> None:
    loaded = probe.load(copy)
    assert loaded.programs[0].paths["hlo"].is_relative_to(copy)
    assert loaded.text == live.text


@pytest.mark.parametrize("kind", ["stablehlo", "mhlo", "hlo", "data", "results"])
def test_an_altered_file_is_refused_when_read(copy: Path, kind: str) -> None:
    program = probe.load(copy).programs[0]
    content = program.paths[kind].read_bytes()
    program.paths[kind].write_bytes(content[:-2] + b"!" + content[-1:])
    with pytest.raises(probe.DamagedCapture, match="size or digest"):
        program.data(kind) if kind in ("data", "results") else program.text(kind)


@pytest.mark.parametrize("replacement", [None, "folder"])
def test_a_missing_file_is_refused_when_read(copy: Path, replacement: str | None) -> None:
    program = probe.load(copy).programs[0]
    program.paths["mhlo"].unlink()
    if replacement:
        program.paths["mhlo"].mkdir()
    with pytest.raises(probe.DamagedCapture, match="can't be read"):
        program.text("mhlo")
    assert program.text("stablehlo")
