"""Writing of capture folders: atomic files, digests, and processes that share a parent."""

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


def test_a_write_that_fails_midway_keeps_the_old_file(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.write("a/text", "kind", b"old")
    with file_size_limit(1000), pytest.raises(OSError, match="large"):
        folder.write("a/text", "kind", b"new" * 1000)
    assert [path.name for path in (folder.path / "a").iterdir()] == ["text"]
    assert (folder.path / "a/text").read_bytes() == b"old"


def test_a_failed_rename_leaves_no_temporary_file(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    (folder.path / "taken").mkdir()
    with pytest.raises(OSError, match="taken"):
        folder.write("taken", "kind", b"content")
    assert [path.name for path in folder.path.iterdir()] == ["taken"]


@pytest.mark.parametrize("size", [0, 10, (1 << 20) + 3, 5 << 20])
def test_a_file_of_pieces_has_a_digest_for_each_and_for_all(size: int, tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    pieces = [b"head", memoryview(os.urandom(size)), b"", os.urandom(7)]
    before = threading.active_count()
    written, each = folder.write_pieces("a/b", "data", pieces)
    assert threading.active_count() == before
    content = (folder.path / "a/b").read_bytes()
    assert content == b"".join(pieces)
    assert (written.size, written.digest) == (len(content), digest_of(content))
    assert each == [digest_of(piece) for piece in pieces]


def test_folders_created_in_one_second_have_other_names(tmp_path: Path) -> None:
    folders = [RunFolder(tmp_path).path for _ in range(20)]
    assert len(set(folders)) == len(list(tmp_path.iterdir())) == 20


def test_processes_that_share_a_parent_lose_nothing(tmp_path: Path) -> None:
    # Every process has the id 1, as on several machines of one name with a shared disk.
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


def test_a_folder_without_a_capture_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no capture in"):
        probe.load(tmp_path)


def test_a_line_replaces_a_truncated_last_line(tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    end = append_at(journal, 0, b"one\n")
    journal.write_bytes(b"one\na line that was cut")
    assert append_at(journal, end, b"two\n") == 8
    assert journal.read_bytes() == b"one\ntwo\n"
    with pytest.raises(FileNotFoundError, match="8 bytes"):
        append_at(journal, 9, b"three\n")
