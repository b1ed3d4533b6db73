"""Malicious files and manifests: commands refuse them with one error line, or escape them."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import brainpy_probe as probe
from brainpy_probe.format.atomic import abandoned_files
from brainpy_probe.format.digests import with_digest
from brainpy_probe.format.folder import JOURNAL, MANIFEST, RunFolder
from brainpy_probe.verify.api import verify
from tests.altering import alter, rewrite
from tests.commands import CONTROL_CHARACTERS, assert_error, run

TEXT = "programs/000-LIF/program.stablehlo.mlir"
DATA = "programs/000-LIF/data.safetensors"
ESCAPE = "\x1b]0;title\x07\x1b[2J\u202e"

Manifest = dict[str, Any]


# --- Files --------------------------------------------------------------------------------------


def _link(path: Path, target: str = "/etc/passwd") -> None:
    path.unlink()
    path.symlink_to(target)


def _pipe(path: Path) -> None:
    path.unlink(missing_ok=True)
    os.mkfifo(path)


def _sparse(path: Path, size: int = 100 << 30) -> None:
    path.touch()
    os.truncate(path, size)


def _mark_incomplete(folder: Path) -> None:
    alter(folder, lambda manifest: manifest.update(complete=False))


INDICES: dict[str, tuple[Callable[[Path], object], str]] = {
    "link": (
        lambda p: _link(p / MANIFEST),
        "manifest.json can't be read: its path contains a symbolic link",
    ),
    "pipe": (
        lambda p: _pipe(p / MANIFEST),
        "manifest.json can't be read: it is not a regular file",
    ),
    "sparse": (lambda p: _sparse(p / MANIFEST), "contains a zero byte"),
    "empty": (lambda p: (p / MANIFEST).write_bytes(b""), "can't be read"),
    "not UTF-8": (lambda p: (p / MANIFEST).write_bytes(b'{"format": "\xff"}'), "can't be read"),
    "nested": (lambda p: (p / MANIFEST).write_bytes(b"[" * 100_000), "can't be read"),
    "byte order mark": (
        lambda p: (p / MANIFEST).write_bytes(b"\xef\xbb\xbf" + (p / MANIFEST).read_bytes()),
        "can't be read",
    ),
    "trailing data": (
        lambda p: (p / MANIFEST).write_bytes((p / MANIFEST).read_bytes() + b"{}"),
        "can't be read",
    ),
    "one digit changed": (
        lambda p: (p / MANIFEST).write_bytes(
            (p / MANIFEST).read_bytes().replace(b'"pid": ', b'"pid": 1')
        ),
        "was changed after it was written",
    ),
    "sparse journal": (
        lambda p: (_mark_incomplete(p), _sparse(p / JOURNAL)),
        "contains a zero byte",
    ),
    "linked journal": (
        lambda p: (_mark_incomplete(p), (p / JOURNAL).symlink_to("/dev/zero")),
        "journal.jsonl can't be read: its path contains a symbolic link",
    ),
    "journal with a gap": (
        lambda p: (
            _mark_incomplete(p),
            (p / JOURNAL).write_bytes(
                with_digest(
                    b'{"modules":[{"index":99,"name":"m","fingerprint":"","call":null,'
                    b'"thread":"","backend":"cpu","origin":"compiled","seconds":{},'
                    b'"arguments":[],"reason":"first","why":""}],"digest":""}'
                )
                + b"\n"
            ),
        ),
        "modules are missing",
    ),
}


@pytest.mark.parametrize("fault", INDICES)
def test_a_damaged_index_is_refused(fault: str, copy: Path) -> None:
    change, message = INDICES[fault]
    change(copy)
    assert_error(message, "show", copy)


def test_a_manifest_that_is_a_folder_is_no_capture(copy: Path) -> None:
    (copy / MANIFEST).unlink()
    (copy / MANIFEST).mkdir()
    assert_error("is not a capture", "show", copy)


FILES: dict[str, tuple[Callable[[Path], object], str]] = {
    "link": (lambda p: _link(p / TEXT), "its path contains a symbolic link"),
    "link to itself": (
        lambda p: _link(p / TEXT, "program.stablehlo.mlir"),
        "its path contains a symbolic link",
    ),
    "pipe": (lambda p: _pipe(p / TEXT), "it is not a regular file"),
    "sparse": (lambda p: _sparse(p / TEXT), f"{100 << 30} bytes instead of"),
    "linked folder": (
        lambda p: (
            (p / "programs").rename(p.parent / "others"),
            (p / "programs").symlink_to(p.parent / "others"),
        ),
        "its path contains a symbolic link",
    ),
    "not UTF-8": (lambda p: rewrite(p, TEXT, b"module { // \xff\n}"), "is not UTF-8 (byte 12)"),
}


@pytest.mark.parametrize("fault", FILES)
def test_a_file_of_the_wrong_kind_is_named(fault: str, copy: Path) -> None:
    change, message = FILES[fault]
    change(copy)
    with pytest.raises(probe.DamagedCapture, match=re.escape(message)) as error:
        probe.load(copy).programs[0].text()
    assert TEXT in str(error.value)


def test_a_file_larger_than_memory_is_refused(copy: Path) -> None:
    _sparse(copy / DATA, 1 << 43)
    alter(
        copy,
        lambda manifest: [
            file.update(size=1 << 43)
            for file in manifest["programs"][0]["files"]
            if file["path"] == DATA
        ],
    )
    with pytest.raises(probe.DamagedCapture, match=f"{DATA} does not fit into memory"):
        probe.load(copy).programs[0].data()


def test_a_temporary_file_of_a_killed_capture_is_ignored(copy: Path) -> None:
    (copy / "programs" / ".program.hlo.txt.4194999.tmp").write_text("half")
    checks = [check for check in verify(copy, limits=None).checks if check.name == "nothing else"]
    assert [check.outcome for check in checks] == ["passed"]


def test_doctor_lists_temporary_files_of_dead_processes(tmp_path: Path) -> None:
    names = [".a.txt.4194999.tmp", f".b.txt.{os.getpid()}.tmp", ".c.tmp"]
    for name in names:
        (tmp_path / name).touch()
    assert abandoned_files(tmp_path) == [tmp_path / names[0]]


def test_nothing_is_written_through_a_link(tmp_path: Path) -> None:
    folder, outside = RunFolder(tmp_path / "out"), tmp_path / "outside"
    outside.mkdir()
    folder.write("programs/a", "hlo", b"1")
    (folder.path / "programs").rename(tmp_path / "moved")
    (folder.path / "programs").symlink_to(outside)
    with pytest.raises(NotADirectoryError, match="it is a symbolic link"):
        folder.write("programs/b", "hlo", b"1")
    assert not list(outside.iterdir())


# --- Manifests ----------------------------------------------------------------------------------


def _program(manifest: Manifest) -> Manifest:
    return manifest["programs"][0]  # type: ignore[no-any-return]


def _argument(manifest: Manifest) -> Manifest:
    return _program(manifest)["arguments"][0]  # type: ignore[no-any-return]


def _path(path: str) -> Callable[[Manifest], object]:
    return lambda manifest: _program(manifest)["files"][0].update(path=path)


def _measured(loop: float) -> Manifest:
    part = {"component": "LIF", "seconds": 1.0}
    return {"steps": 1, "seconds": 1.0, "profiled": 1.0, "loop": loop, "components": [part]}


MANIFESTS: dict[str, tuple[Callable[[Manifest], object], str]] = {
    "path to the parent": (_path("../x"), "outside its folder: '../x'"),
    "absolute path": (_path("/etc/passwd"), "outside its folder"),
    "path with a parent in its middle": (_path("a/../../b"), "outside its folder"),
    "path with a zero byte": (_path("a\0b"), "outside its folder"),
    "Windows path": (_path("..\\x"), "outside its folder"),
    "path of 5,000 characters": (_path("x" * 5000), "outside its folder"),
    "empty path": (_path(""), "outside its folder"),
    "two files of a kind": (
        lambda m: _program(m)["files"].append(dict(_program(m)["files"][0])),
        "has two files of the kind",
    ),
    "one path with two digests": (
        lambda m: m["modules"][0]["files"].append(
            {**_program(m)["files"][0], "kind": "xla", "digest": "0" * 32}
        ),
        "with different sizes or digests",
    ),
    "no digest": (lambda m: _program(m)["files"][0].update(digest=""), "has no digest for"),
    "malformed digest": (
        lambda m: _program(m)["files"][0].update(digest="0" * 32 + "\n"),
        "files[0].digest",
    ),
    "unknown kind of file": (lambda m: _program(m)["files"][0].update(kind="exe"), "files[0].kind"),
    "large number": (lambda m: m["modules"][0].update(large_constants=10**400), "can't be read"),
    "larger than 2**53": (
        lambda m: m["modules"][0].update(large_constants=2**60),
        "modules[0].large_constants",
    ),
    "negative size": (lambda m: _program(m)["files"][0].update(size=-1), "files[0].size"),
    "a missing program": (lambda m: m["calls"][0].update(program=7), "refer to missing"),
    "a missing call": (lambda m: m["modules"][0].update(call=7), "refer to missing"),
    "a missing index": (lambda m: m["calls"][0].update(index=2), "calls are missing"),
    "a loop without time": (
        lambda m: _program(m).update(measured=_measured(0.0)),
        "a loop of 0 s",
    ),
    "negative seconds": (
        lambda m: _program(m).update(measured=_measured(-1.0)),
        "measured.loop",
    ),
    "bytes that do not fit the shape": (lambda m: _argument(m).update(nbytes=1), "1 bytes; "),
    "huge shape": (lambda m: _argument(m).update(shape=[2**53] * 64), " bytes; "),
    "negative shape": (lambda m: _argument(m).update(shape=[-20]), "arguments[0].shape[0]"),
    "shape of 65 dimensions": (lambda m: _argument(m).update(shape=[1] * 65), "arguments[0].shape"),
    "an object dtype": (lambda m: _argument(m).update(dtype="object"), "arguments[0].dtype"),
    "a duplicate argument": (
        lambda m: _program(m)["arguments"].append(dict(_argument(m))),
        "twice",
    ),
    "an unlisted file": (
        lambda m: _argument(m).update(file="x/y", entry="z", digest="0" * 32),
        "a file that the program does not list",
    ),
    "later version": (lambda m: m.update(version=99), "Update brainpy-probe"),
    "version as a word": (lambda m: m.update(version="1"), "$.version"),
    "a cycle of components": (
        lambda m: _program(m).update(components={"a.b": "A", "a": "B"}),
        "its components form a cycle",
    ),
    "escapes in an unknown field": (
        lambda m: m.update({ESCAPE: 1}),
        "unknown field `␛]0;title␇␛[2J",
    ),
    "markup in an unknown field": (lambda m: m.update({"[/x]": 1}), "unknown field `[/x]`"),
    "nested lists": (
        lambda m: m["calls"][0].update(notes=[[[]] * 1000] * 1000),
        "calls[0].notes",
    ),
    "nested lists in a kernel's parameters": (
        lambda m: _program(m).update(
            kernels=[{"name": "k", "arguments": [], "parameters": {"a": [[[[]]]]}}]
        ),
        "kernels[0].parameters[...]",
    ),
}


@pytest.mark.parametrize("fault", MANIFESTS)
def test_a_manifest_that_contradicts_itself_is_refused(fault: str, copy: Path) -> None:
    change, message = MANIFESTS[fault]
    alter(copy, change)
    assert_error(message, "show", copy)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"calls": [', '"calls": [], "calls": [', "has the key 'calls' twice"),
        ('"dt": 0.1', '"dt": NaN', "can't be read"),
        ('"dt": 0.1', '"dt": 1e400', "can't be read"),
        ('"i0": 0', f'"i0": {"9" * 5000}', "can't be read"),
        ('"thread": "', r'"thread": "\ud800', "can't be read"),
    ],
    ids=["duplicate key", "NaN", "infinity", "5,000 digits", "lone surrogate"],
)
def test_ambiguous_json_is_refused(old: str, new: str, message: str, copy: Path) -> None:
    text = (copy / MANIFEST).read_text()
    assert old in text
    (copy / MANIFEST).write_bytes(
        with_digest(
            re.sub(r'"digest": "\w*"\n}$', '"digest": ""\n}', text.replace(old, new, 1)).encode()
        )
    )
    assert_error(message, "show", copy)


# --- Output -------------------------------------------------------------------------------------


def _add_control_characters(manifest: Manifest) -> None:
    failure = {"kind": ESCAPE, "message": f"[/x]{ESCAPE}\nerror: forged", "traceback": ""}
    manifest["calls"][0].update(model=f"[/x]{ESCAPE}", notes=[ESCAPE], error=failure)
    manifest["modules"][0].update(name=f"[red]{ESCAPE}", call=0)
    _program(manifest).update(name=f"[/x]{ESCAPE}", unmeasured=ESCAPE)
    _program(manifest)["fidelity"]["notes"] = [ESCAPE]


def test_texts_of_a_capture_send_nothing_to_a_terminal(copy: Path) -> None:
    alter(copy, _add_control_characters)
    folder = copy.rename(copy.parent / "results[old]")
    cap = probe.load(folder)
    summary = str(cap)
    code, output = run("show", folder)
    assert code == 0
    html = cap._repr_html_()
    for text in (summary, output, html, run("show", "--json", folder)[1]):
        assert not CONTROL_CHARACTERS.search(text)
    for text in (summary, output, html):
        assert "[/x]␛]0;title" in text
        assert "results[old]" in text
    assert "\nerror: forged" not in output


def test_an_error_has_no_control_character(tmp_path: Path) -> None:
    folder = tmp_path / f"x{ESCAPE}"
    folder.mkdir()
    (folder / MANIFEST).write_text("{")
    with pytest.raises(probe.DamagedCapture) as error:
        probe.load(folder)
    assert not CONTROL_CHARACTERS.search(str(error.value))
