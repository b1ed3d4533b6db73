"""A capture folder is written whole or not at all, and nothing is written through a link."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

import brainpy_probe as probe
from brainpy_probe.format.atomic import append_at
from brainpy_probe.format.digests import digest_of
from brainpy_probe.format.folder import RunFolder
from tests.processes import file_size_limit, start_python

ROOT = Path(__file__).parents[2]


def test_a_write_that_fails_half_way_keeps_the_old_file(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.write("a/text", "kind", b"old")
    with file_size_limit(1000), pytest.raises(OSError, match="large"):
        folder.write("a/text", "kind", b"new" * 1000)
    assert [path.name for path in (folder.path / "a").iterdir()] == ["text"]
    assert (folder.path / "a/text").read_bytes() == b"old"


def test_a_write_whose_rename_fails_leaves_no_temporary_file(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    (folder.path / "taken").mkdir()
    with pytest.raises(OSError, match="taken"):
        folder.write("taken", "kind", b"content")
    assert [path.name for path in folder.path.iterdir()] == ["taken"]


@pytest.mark.parametrize("size", [0, 10, (1 << 20) + 3, 5 << 20])
def test_a_file_in_pieces_has_a_digest_as_a_whole_and_for_each(size: int, tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    pieces = [b"head", memoryview(os.urandom(size)), b"", os.urandom(7)]
    before = threading.active_count()
    written, each = folder.write_pieces("a/b", "data", pieces)
    assert threading.active_count() == before
    content = (folder.path / "a/b").read_bytes()
    assert content == b"".join(pieces)
    assert (written.size, written.digest) == (len(content), digest_of(content))
    assert each == [digest_of(piece) for piece in pieces]


def test_folders_made_in_one_second_are_different_ones(tmp_path: Path) -> None:
    folders = [RunFolder(tmp_path).path for _ in range(20)]
    assert len(set(folders)) == len(list(tmp_path.iterdir())) == 20


def test_processes_that_share_a_parent_lose_nothing(tmp_path: Path) -> None:
    # As if on several machines of one name with a common disk: every process is number 1.
    source = (
        "import os, sys; os.getpid = lambda: 1\n"
        "from brainpy_probe.format.folder import RunFolder\n"
        "for n in range(20):\n"
        "    RunFolder(sys.argv[1]).write('mine', 'kind', f'{sys.argv[2]}-{n}'.encode())\n"
    )
    parent = tmp_path / "not" / "there"
    processes = [start_python(source, parent, number) for number in range(8)]
    for process in processes:
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
    written = sorted(path.read_text() for path in parent.glob("run-*/mine"))
    assert written == sorted(f"{number}-{n}" for number in range(8) for n in range(20))


def test_a_folder_that_is_no_capture_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no capture in"):
        probe.load(tmp_path)


def test_a_line_is_written_where_the_last_whole_line_ends(tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    end = append_at(journal, 0, b"one\n")
    journal.write_bytes(b"one\na line that was cut")
    assert append_at(journal, end, b"two\n") == 8
    assert journal.read_bytes() == b"one\ntwo\n"
    with pytest.raises(FileNotFoundError, match="8 bytes"):
        append_at(journal, 9, b"three\n")
