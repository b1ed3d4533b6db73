"""verify passes an unaltered capture, and names the file and the fault of any other."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import load_file, save
from typer.testing import CliRunner

import brainpy_probe as probe
from brainpy_probe.cli import app
from brainpy_probe.format.folder import MANIFEST
from brainpy_probe.format.reading import manifest_digest_matches, read_manifest
from brainpy_probe.verify.api import Verification, verify
from brainpy_probe.verify.checks import Check
from brainpy_probe.verify.files import check_files
from tests.altering import alter, files, flip, rewrite
from tests.networks import by_name
from tests.processes import ROOT, killed_capture
from tests.replaying import DIALECTS, captured, captured_calling_back, captured_with

LIF = "programs/000-LIF"
TEXTS = {
    "stablehlo": "program.stablehlo.mlir",
    "mhlo": "program.mhlo.mlir",
    "hlo": "program.hlo.txt",
    "vhlo": "program.vhlo.mlirbc",
}

Manifest = dict[str, Any]


@pytest.fixture(scope="module")
def complete_capture() -> Path:
    """Return a capture of a network in all dialects, with all arrays and a portable program."""
    return captured_with("lif", dialect=DIALECTS, data="full", portable=True).path


@pytest.fixture(scope="module")
def other() -> probe.Program:
    """Return the program of another network, in all dialects."""
    return captured("izhikevich").program


@pytest.fixture(scope="module")
def dumped() -> Path:
    """Return a capture with XLA's dumps."""
    return captured_with("lif", xla_dump="text").path


@pytest.fixture
def copy(complete_capture: Path, tmp_path: Path) -> Path:
    """Return a copy of the capture that a test can damage."""
    return shutil.copytree(complete_capture, tmp_path / complete_capture.name)


def _run(*words: object) -> Any:
    return CliRunner().invoke(app, ["verify", *map(str, words)])


def _faults(verified: Verification) -> list[str]:
    """Return a line for each failed check, and assert that the verdict agrees with them."""
    failed = [check for check in verified.checks if check.outcome == "failed"]
    assert verified.passed == (not failed)
    return [_line(check) for check in failed]


def _line(check: Check) -> str:
    return f"{check.subject} | {check.name} | {check.reason}"


def _assert_faults(folder: Path, *expected: tuple[str, ...]) -> None:
    """Assert that for each tuple of words, one fault contains all of them."""
    faults = _faults(verify(folder, limits=None))
    for words in expected:
        assert any(all(word in fault for word in words) for fault in faults), (words, faults)


# --- Captures that pass -------------------------------------------------------------------------


@pytest.mark.every_stack
def test_an_unaltered_capture_passes(complete_capture: Path) -> None:
    brief = _run(complete_capture)
    assert brief.exit_code == 0, brief.stdout
    assert brief.stdout.startswith(f"verified: {complete_capture}\n")
    assert len(brief.stdout.splitlines()) <= 8
    done = _run(complete_capture, "--all")
    lines = done.stdout.splitlines()
    printed = {" ".join(re.split(r"  +", line)[:3]) for line in lines}
    assert not [line for line in lines if line.startswith(("failed", "undecided"))]
    for subject in ("program 0", "program 0, portable"):
        kinds = [f"{kind} parses" for kind in TEXTS] + [f"{kind} is the same" for kind in TEXTS][1:]
        for name in (*kinds, "dialects", "nothing elided", "signature", "custom calls", "replay"):
            assert f"passed {subject} {name}" in printed, (subject, name)
    for name in ("stablehlo parses", "mlirbc parses", "hlo parses", "nothing elided"):
        assert f"passed modules {name}" in printed
    assert re.search(r"program 0 +replay +\d+ results, bit for bit the simulation's", done.stdout)
    assert re.search(r"checks: (\d+ noted, )?\d+ passed$", lines[1])


def test_the_verify_command_prints_json(complete_capture: Path) -> None:
    done = _run(complete_capture, "--json")
    assert done.exit_code == 0
    found = json.loads(done.stdout)
    assert found["path"] == str(complete_capture)
    assert found["passed"] is True
    assert {frozenset(check) for check in found["checks"]} == {
        frozenset({"subject", "name", "outcome", "reason"})
    }
    newest = json.loads(
        _run(complete_capture.parent, "--json").stdout
    )  # the parent folder's newest run
    assert newest["path"] == str(complete_capture)


def test_verify_needs_neither_brainpy_nor_jax(complete_capture: Path, tmp_path: Path) -> None:
    """The process that verify starts does not need them either."""
    for name in ("brainpy", "jax", "brainstate", "brainevent"):
        (tmp_path / f"{name}.py").write_text("raise ImportError('not installed')")
    done = subprocess.run(
        [sys.executable, "-m", "brainpy_probe", "verify", "--all", str(complete_capture)],
        env={**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"program 0 +replay +\d+ results, bit for bit", done.stdout)


def test_without_jaxlib_only_the_files_are_checked(complete_capture: Path) -> None:
    source = (
        "import sys; sys.modules['jaxlib'] = sys.modules['jax'] = None\n"
        "from brainpy_probe.verify.api import verify\n"
        "for check in verify(sys.argv[1]).checks: print(check.outcome, check.name, check.reason)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", source, str(complete_capture)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    *others, last = done.stdout.splitlines()
    assert last.startswith("failed parse and replay jaxlib is not installed: pip install jaxlib==")
    assert all(line.startswith("passed") for line in others)


def test_a_missing_iree_is_an_error_with_the_command(
    complete_capture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "iree"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "iree", None)
    done = _run(complete_capture, "--with", "iree")
    assert done.exit_code == 1
    assert "iree.compiler and iree.runtime can't be imported" in done.stderr
    assert "pip install 'brainpy-probe[iree]'" in done.stderr


def test_a_script_without_a_main_guard_can_call_verify(
    complete_capture: Path, tmp_path: Path
) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import sys\nfrom brainpy_probe.verify.api import verify\n"
        "print('once', verify(sys.argv[1]).passed)\n"
    )
    done = subprocess.run(
        [sys.executable, str(script), str(complete_capture)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "once True\n"


def test_a_file_that_no_record_names_is_noted(copy: Path) -> None:
    (copy / "notes.txt").write_text("mine")
    found = list(check_files(copy, read_manifest(copy)[1]))
    assert [check.outcome for check in found] == ["passed", "noted"]
    assert "notes.txt" in found[1].reason


def test_an_unfinished_capture_passes_with_a_note() -> None:
    verified = verify(killed_capture(), limits=None)
    assert _faults(verified) == []
    (noted,) = (check for check in verified.checks if check.outcome == "noted")
    assert "did not end" in noted.reason
    assert any(check.name == "replay" for check in verified.checks)


# --- Undecided checks -----------------------------------------------------------------------------


def _undecided(folder: Path) -> dict[str, str]:
    verified = verify(folder, limits=None)
    assert _faults(verified) == []
    return {check.name: check.reason for check in verified.checks if check.outcome == "undecided"}


def test_a_capture_without_arrays_has_undecided_checks(out: Path) -> None:
    case = by_name("lif")
    with probe.capture(out, dialect="hlo", data="none", strict=True) as cap:
        case.run(case.build())
    undecided = _undecided(cap.path)
    assert undecided.keys() == {"arrays", "equations", "replay"}
    assert "data='none'" in undecided["arrays"]
    assert _run(cap.path).exit_code == 0


def test_a_program_that_calls_back_cannot_be_replayed() -> None:
    undecided = _undecided(captured_calling_back().path)
    assert undecided.keys() == {"equations", "replay"}
    assert "calls back" in undecided["replay"]


# --- Damage ---------------------------------------------------------------------------------------


def test_a_flipped_byte_is_found_in_every_file(copy: Path) -> None:
    manifest = read_manifest(copy)[1]
    names = files(copy)
    assert {Path(name).suffix for name in names} >= {".mlir", ".txt", ".mlirbc", ".safetensors"}
    for name in names:
        content = (copy / name).read_bytes()
        flip(copy / name)
        faults = [check for check in check_files(copy, manifest) if check.outcome == "failed"]
        assert [check.reason for check in faults] == [f"{name} was changed: its digest differs"]
        (copy / name).write_bytes(content)


def test_every_flipped_file_is_named_and_the_exit_code_is_1(dumped: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(dumped, tmp_path / dumped.name)
    names = files(copy)
    assert sum("/xla/" in name for name in names) > 2
    for number, name in enumerate(names):
        flip(copy / name, 0 if number % 2 else -1)
    done = _run(copy)
    assert done.exit_code == 1
    for name in names:
        assert f"{name} was changed: its digest differs" in done.stdout


def test_a_flipped_byte_anywhere_in_the_manifest_is_found(copy: Path) -> None:
    content = (copy / MANIFEST).read_bytes()
    readable = 0
    for position in range(0, len(content), 401):
        for bit in (0, 3, 5):
            flip(copy / MANIFEST, position, bit)
            with pytest.raises(probe.DamagedCapture, match=MANIFEST):
                probe.load(copy)
            try:
                read_manifest(copy, check_digest=False)
            except probe.DamagedCapture:
                pass
            else:
                readable += 1
                assert not manifest_digest_matches(copy)
            (copy / MANIFEST).write_bytes(content)
    assert readable
    assert probe.load(copy)


@pytest.mark.parametrize("words", ["verify", "replay", "show"])
def test_white_space_in_the_manifest_changes_its_digest(copy: Path, words: str) -> None:
    text = (copy / MANIFEST).read_text()
    (copy / MANIFEST).write_text(text.replace('"complete": true', '"complete":  true'))
    done = CliRunner().invoke(app, [words, str(copy)])
    assert done.exit_code == 1
    assert MANIFEST in done.stdout + done.stderr
    assert "digest" in done.stdout + done.stderr


def test_a_truncated_manifest_fails(copy: Path) -> None:
    (copy / MANIFEST).write_bytes((copy / MANIFEST).read_bytes()[:-100])
    done = _run(copy)
    assert done.exit_code == 1
    assert done.stdout.startswith(f"FAILED: {copy}")
    assert re.search(
        rf"failed +manifest +can be read +{re.escape(str(copy / MANIFEST))}", done.stdout
    )


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def _fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    ("damage", "fault"),
    [
        (_truncate, "bytes instead of"),
        (lambda path: path.write_bytes(b""), "has 0 bytes instead of"),
        (lambda path: path.rename(path.with_name("other")), "/other has its content"),
        (Path.unlink, "is missing"),
        (_folder, "is not a regular file"),
        (_fifo, "is not a regular file"),
        (lambda path: path.write_bytes(path.read_bytes()[::-1]), "its digest differs"),
    ],
    ids=["truncated", "emptied", "renamed", "missing", "folder", "pipe", "reversed"],
)
@pytest.mark.parametrize("name", [f"{LIF}/{TEXTS['stablehlo']}", f"{LIF}/data.safetensors"])
def test_a_damaged_file_is_named_with_its_fault(
    damage: Callable[[Path], object], fault: str, name: str, copy: Path
) -> None:
    damage(copy / name)
    verified = verify(copy, limits=None)
    faults = _faults(verified)
    assert any(f"files | size and digest | {name} {fault}" in line or
               (name in line and fault in line) for line in faults), faults  # fmt: skip
    assert any("program 0 | replay" in line and name in line for line in faults), faults
    with pytest.raises(probe.DamagedCapture, match=Path(name).name):
        probe.load(copy).programs[0].replay()


@pytest.mark.parametrize("kind", TEXTS)
def test_swapped_files_are_named(kind: str, copy: Path) -> None:
    native, portable = (copy / LIF / TEXTS[kind], copy / LIF / "portable" / TEXTS[kind])
    content = native.read_bytes()
    native.write_bytes(portable.read_bytes())
    portable.write_bytes(content)
    if native.read_bytes() != portable.read_bytes():
        _assert_faults(
            copy, ("files", f"{LIF}/{TEXTS[kind]}"), ("files", f"{LIF}/portable/{TEXTS[kind]}")
        )


# --- Alterations with matching digests ------------------------------------------------------------


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a/../../b", "", ".", "a\\b"])
def test_a_file_outside_the_folder_is_named(name: str, copy: Path) -> None:
    (copy / "loop").symlink_to("loop")
    alter(copy, lambda manifest: manifest["programs"][0]["files"][0].update(path=name))
    _assert_faults(copy, ("manifest", "names a file outside its folder", repr(name)))
    with pytest.raises(probe.DamagedCapture, match="outside its folder"):
        probe.load(copy)


@pytest.mark.parametrize("name", ["loop", "loop/x", "link/x", "x" * 300])
def test_a_path_without_a_regular_file_is_a_fault(name: str, copy: Path, tmp_path: Path) -> None:
    (copy / "link").symlink_to(tmp_path)
    (copy / "loop").symlink_to("loop")
    alter(copy, lambda manifest: manifest["programs"][0]["files"][0].update(path=name))
    _assert_faults(copy, (name,))


def test_an_array_in_a_file_outside_is_named(copy: Path) -> None:
    alter(copy, lambda manifest: _argument(manifest, "V").update(file="../x"))
    _assert_faults(copy, ("manifest", "a file that the program does not list: '../x'"))
    with pytest.raises(probe.DamagedCapture, match=r"\.\./x"):
        probe.load(copy)


def _argument(manifest: Manifest, name: str, group: str = "arguments") -> Manifest:
    (found,) = (spec for spec in manifest["programs"][0][group] if spec["name"] == name)
    return found  # type: ignore[no-any-return]


@pytest.mark.parametrize("change", [{"shape": [4, 5]}, {"dtype": "int32"}], ids=str)
def test_a_wrong_shape_in_the_manifest_is_named(change: Any, copy: Path) -> None:
    alter(copy, lambda manifest: _argument(manifest, "V").update(change))
    _assert_faults(
        copy,
        ("program 0 | arrays", f"{LIF}/data.safetensors", "'state/V'", "shape"),
        ("program 0 | signature", f"{LIF}/program.", "state['V']"),
    )
    with pytest.raises(probe.DamagedCapture, match=r"data\.safetensors.*state/V"):
        probe.load(copy).programs[0].replay()


@pytest.mark.parametrize("dtype", ["object", "", "U8", "f4,f4", "number"])
def test_a_malformed_dtype_is_refused(dtype: str, copy: Path) -> None:
    alter(copy, lambda manifest: _argument(manifest, "V").update(dtype=dtype))
    _assert_faults(copy, ("manifest | can be read", MANIFEST, ".dtype"))


@pytest.mark.parametrize("dtype", ["float33", "token"])
def test_an_unknown_dtype_is_named(dtype: str, copy: Path) -> None:
    alter(copy, lambda manifest: _argument(manifest, "V").update(dtype=dtype))
    _assert_faults(
        copy,
        ("program 0 | arrays", MANIFEST, f"unknown dtype {dtype!r}"),
        ("program 0 | signature",),
    )


def _arrays(copy: Path) -> dict[str, Any]:
    return load_file(copy / LIF / "data.safetensors")


def test_a_wrong_shape_of_an_array_in_a_file_is_named(copy: Path) -> None:
    arrays = _arrays(copy)
    arrays["state/V"] = arrays["state/V"].reshape(4, 5)
    rewrite(copy, f"{LIF}/data.safetensors", save(arrays))
    _assert_faults(
        copy, ("program 0 | arrays", f"{LIF}/data.safetensors", "'state/V'", "(4, 5)", "(20,)")
    )
    with pytest.raises(probe.DamagedCapture, match=r"data\.safetensors.*\(4, 5\)"):
        probe.load(copy).programs[0].replay()


def test_an_array_with_other_values_is_named(copy: Path) -> None:
    arrays = _arrays(copy)
    arrays["state/V"] = arrays["state/V"] + 1
    rewrite(copy, f"{LIF}/data.safetensors", save(arrays))
    _assert_faults(
        copy, ("program 0 | arrays", f"{LIF}/data.safetensors", "'state/V'", "digest differs")
    )


def test_a_missing_array_is_named(copy: Path) -> None:
    arrays = _arrays(copy)
    del arrays["state/V"]
    rewrite(copy, f"{LIF}/data.safetensors", save(arrays))
    _assert_faults(
        copy, ("program 0 | arrays", f"{LIF}/data.safetensors", "has no array 'state/V'")
    )


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[:-9],
        lambda content: content[:4],
        lambda content: b"\xff" * 8 + content[8:],
        lambda content: content.replace(b'"F32"', b'"F99"'),
        lambda content: content.replace(b'"F32"', b'"F4" '),
    ],
)
def test_a_damaged_file_of_arrays_is_named(damage: Callable[[bytes], bytes], copy: Path) -> None:
    name = f"{LIF}/data.safetensors"
    rewrite(copy, name, damage((copy / name).read_bytes()))
    _assert_faults(copy, ("program 0 | arrays", name, "not a safetensors file"))
    with pytest.raises(probe.DamagedCapture, match=r"data\.safetensors"):
        probe.load(copy).programs[0].replay()


def test_swapped_arrays_are_found_by_the_results(copy: Path) -> None:
    """The arguments have one type, so that the results differ but the signature does not."""
    arrays = _arrays(copy)
    v, current = "state/V", "state/input"
    assert arrays[v].shape == arrays[current].shape
    arrays[v], arrays[current] = arrays[current], arrays[v]
    rewrite(copy, f"{LIF}/data.safetensors", save(arrays))

    def swap(manifest: Manifest) -> None:
        first, second = _argument(manifest, "V"), _argument(manifest, "input")
        first["digest"], second["digest"] = second["digest"], first["digest"]

    alter(copy, swap)
    _assert_faults(copy, ("program 0 | replay", "other bits than the simulation's in"))


def test_swapped_arguments_in_the_manifest_are_named(copy: Path) -> None:
    def swap(manifest: Manifest) -> None:
        arguments = manifest["programs"][0]["arguments"]
        first, second = (n for n, spec in enumerate(arguments) if spec["name"] in ("V", "input"))
        arguments[first], arguments[second] = arguments[second], arguments[first]

    alter(copy, swap)
    _assert_faults(
        copy, ("program 0 | signature", f"{LIF}/program.", "state['V']", "state['input']")
    )


@pytest.mark.parametrize("kind", TEXTS)
def test_a_text_of_another_program_is_named(kind: str, copy: Path, other: probe.Program) -> None:
    name = f"{LIF}/{TEXTS[kind]}"
    rewrite(copy, name, other.paths[kind].read_bytes())
    _assert_faults(copy, ("program 0 | ", name))


@pytest.mark.parametrize("kind", ["stablehlo", "mhlo", "hlo"])
def test_a_text_with_another_constant_is_named(kind: str, copy: Path) -> None:
    """The signature and the operations are the same, but one constant differs."""
    name = f"{LIF}/{TEXTS[kind]}"
    content = (copy / name).read_bytes()
    if kind != "hlo":
        other, count = re.subn(rb"dense<2\.0+e\+01>", b"dense<2.100000e+01>", content, count=1)
    else:
        other, count = re.subn(rb"constant\(20\)", b"constant(21)", content, count=1)
    assert count == 1
    rewrite(copy, name, other)
    _assert_faults(copy, (f"program 0 | {kind} is the same", name))


@pytest.mark.parametrize(
    ("kind", "pattern", "elided"),
    [
        ("stablehlo", rb"dense<[^>]*> : tensor<f32>", b"dense_resource<__elided__> : tensor<f32>"),
        ("mhlo", rb"dense<[^>]*> : tensor<f32>", b"dense_resource<__elided__> : tensor<f32>"),
        ("hlo", rb"constant\([-.e+\d]+\)", b"constant({...})"),
    ],
)
@pytest.mark.every_stack
def test_a_constant_that_is_left_out_is_named(
    kind: str, pattern: bytes, elided: bytes, copy: Path
) -> None:
    name = f"{LIF}/{TEXTS[kind]}"
    content, count = re.subn(pattern, elided, (copy / name).read_bytes(), count=1)
    assert count == 1
    rewrite(copy, name, content)
    _assert_faults(copy, ("program 0 | nothing elided", name))


def test_a_missing_portable_program_is_named(copy: Path) -> None:
    alter(copy, lambda manifest: manifest["programs"][0].update(portable=None))
    _assert_faults(copy, ("program 0, portable | dialects", "requested"))


@pytest.mark.parametrize("kind", DIALECTS)
def test_a_missing_dialect_is_named(kind: str, copy: Path) -> None:
    def drop(manifest: Manifest) -> None:
        portable = manifest["programs"][0]["portable"]
        portable["files"] = [file for file in portable["files"] if file["kind"] != kind]

    alter(copy, drop)
    _assert_faults(copy, ("program 0, portable | dialects", f"no text in {kind}"))


def test_another_digest_of_a_result_is_named(copy: Path) -> None:
    def change(manifest: Manifest) -> None:
        manifest["programs"][0]["results"][0]["digest"] = "0" * 32

    alter(copy, change)
    _assert_faults(copy, ("program 0 | arrays", f"{LIF}/results.safetensors"))


def test_a_module_with_an_altered_text_is_named(copy: Path) -> None:
    names = [file for file in files(copy) if re.match(r"modules/.*stablehlo\.mlir", file)]
    for name in names:
        content = (copy / name).read_text()
        rewrite(copy, name, content.replace("stablehlo.add ", "stablehlo.subtract ").encode())
    _assert_faults(copy, ("module", "stablehlo is the same", "modules/"))


@pytest.mark.every_stack
def test_a_text_that_crashes_its_reader_is_a_fault(copy: Path) -> None:
    """XLA of jaxlib 0.4.13 aborts on HLO with undefined operands; later versions raise an error."""
    name = f"{LIF}/{TEXTS['hlo']}"
    content, count = re.subn(
        rb"\bmultiply\(\S+ ", b"multiply(nothing, ", (copy / name).read_bytes()
    )
    if not count:
        content = re.sub(rb"add\([^)]*\)", b"add(nothing, nothing)", (copy / name).read_bytes())
    rewrite(copy, name, content)
    done = _run(copy)
    assert done.exit_code == 1
    (fault,) = (line for line in done.stdout.splitlines() if line.startswith("failed"))
    assert name in fault
    everything = _run(copy, "--all").stdout
    for subject, check in (("program 0, portable", "hlo parses"), ("modules", "hlo parses"),
                           ("program 0", "replay"), ("program 0, portable", "replay")):  # fmt: skip
        assert re.search(rf"passed +{subject} +{check}", everything)
