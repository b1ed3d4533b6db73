"""XLA's dumps: the files that XLA's flags give for a module, and no other files."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

import brainpy_probe as probe
from brainpy_probe.compat.jax_compiler import dump_settings
from brainpy_probe.recording.modules import dumps
from tests.networks import LOOP_MODULES
from tests.processes import run_script
from tests.xla import get_compile_options

DUMPING = """
import contextlib, json, os, sys
from pathlib import Path
import jax, numpy as np
import brainpy_probe as probe
from tests.networks import by_name
user_folder, out, probed = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
def before(x): return x + 11
def after(x): return x + 12
jax.jit(before)(np.ones(2))
case = by_name("lif")
runner = case.build()
with probe.capture(out, xla_dump=True, strict=True) if probed else contextlib.nullcontext() as cap:
    case.run(runner)
jax.jit(after)(np.ones(2))
ours = [str(p.relative_to(cap.path)) for p in cap.dump_paths] if probed else []
found = [p.relative_to(user_folder).as_posix() for p in user_folder.rglob("*") if p.is_file()]
ir = sorted(os.listdir(user_folder.parent / "ir"))
print(json.dumps({"capture": ours, "user": found, "ir": ir}))
"""
LOOP = f"(?:{'|'.join(LOOP_MODULES)})"
FLAGS = " ".join(f"--xla_dump_hlo_as_{kind}" for kind in ("text", "dot", "html", "proto"))


def test_a_dump_request_keeps_the_options_of_jax() -> None:
    options = get_compile_options(num_replicas=1, num_partitions=1)
    before = dump_settings(options)
    request = dumps.request(options, {"dot"})
    assert isinstance(request, dumps.DumpRequest)
    dumps.discard(request.folder)
    assert dump_settings(options) == before


def _dumped(parent: Path, probed: str) -> dict[str, list[str]]:
    (parent / "ir").mkdir(parents=True)
    user_folder = parent / "user"
    found: dict[str, list[str]] = run_script(
        DUMPING,
        user_folder,
        parent / "out",
        probed,
        XLA_FLAGS=f"--xla_dump_to={user_folder} {FLAGS}",
        JAX_DUMP_IR_TO=str(parent / "ir"),
    )
    return found


@pytest.fixture(scope="module")
def with_flags(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, list[str]]]:
    """Return the files of XLA_FLAGS and JAX_DUMP_IR_TO, without and with the probe."""
    parent = tmp_path_factory.mktemp("flags")
    return {"plain": _dumped(parent / "plain", ""), "probed": _dumped(parent / "probed", "yes")}


def _suffixes(names: list[str], module: str = LOOP) -> set[str]:
    """Return the kinds of a module's files, without numbers and names of kernels."""
    kinds = set()
    for name in names:
        found = re.search(rf"module_\d+\.{module}(\.|/)(.*)$", name)
        if found:
            kind = re.sub(r"^obj-file\..*\.o$", "obj-file.KERNEL.o", found[2])
            kinds.add(re.sub(r"^.*\.(ir-(?:no|with)-opt\.ll)$", r"KERNEL.\1", kind))
    return kinds


def _of_loop(names: list[str]) -> list[str]:
    return [name for name in names if re.search(LOOP, name)]


def test_a_capture_has_every_kind_of_file_that_flags_give(with_flags: Any) -> None:
    kinds = _suffixes(with_flags["probed"]["capture"])
    assert kinds == _suffixes(with_flags["plain"]["user"])
    assert {
        "before_optimizations.txt",
        "before_optimizations.dot",
        "before_optimizations.html",
        "before_optimizations.hlo.pb",
        "cpu_after_optimizations.txt",
        "cpu_after_optimizations-buffer-assignment.txt",
    } <= kinds
    assert kinds & {"obj-file.KERNEL.o", "o"}


def test_the_users_own_flags_give_the_same_files(with_flags: Any) -> None:
    plain, probed = with_flags["plain"]["user"], with_flags["probed"]["user"]
    assert _suffixes(probed) == _suffixes(plain)
    for module in ("jit_before", "jit_after"):
        assert _suffixes(probed, module) == _suffixes(plain, module) != set()
    assert len(_of_loop(probed)) == len(_of_loop(plain))


def test_jax_dump_ir_to_gives_the_same_files(with_flags: Any) -> None:
    plain, probed = with_flags["plain"]["ir"], with_flags["probed"]["ir"]
    assert len(_of_loop(probed)) == len(_of_loop(plain)) > 0


def test_a_module_outside_the_block_has_no_dump(with_flags: Any) -> None:
    assert not [n for n in with_flags["probed"]["capture"] if "jit_before" in n or "jit_after" in n]


@pytest.mark.parametrize(
    ("kind", "suffix"), [("text", ".txt"), ("dot", ".dot"), ("html", ".html"), ("proto", ".pb")]
)
def test_xla_dump_selects_a_single_kind_of_file(out: Path, kind: str, suffix: str) -> None:
    with probe.capture(out, xla_dump=kind, strict=True) as cap:
        jax.jit(lambda x: x * 5)(np.ones(3, np.float32))
    found = [p for p in cap.dump_paths if ".before_optimizations" in p.name]
    assert any(path.name.endswith(suffix) for path in found)
    suffixes = {"dot": ".dot", "html": ".html", "proto": ".pb", "text": ".txt"}
    unwanted = tuple(s for other, s in suffixes.items() if other not in (kind, "text"))
    assert not [path for path in found if path.name.endswith(unwanted)]


def test_dumps_are_in_the_folder_of_their_module_only(
    out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with probe.capture(out, xla_dump=True, strict=True) as cap:
        jax.jit(lambda x: x * 6)(np.ones(3, np.float32))
    module = cap.modules[-1]
    folder = module.paths["hlo"].parent / "xla"
    assert module.dump_paths
    assert all(path.is_file() and path.is_relative_to(folder) for path in module.dump_paths)
    assert sorted(p for p in folder.rglob("*") if p.is_file()) == sorted(module.dump_paths)
    assert list(tmp_path.glob("brainpy-probe-xla-*")) == []


def test_a_capture_has_no_dumps_by_default(out: Path) -> None:
    with probe.capture(out, strict=True) as cap:
        jax.jit(lambda x: x * 8)(np.ones(3, np.float32))
    assert cap.dump_paths == ()


@pytest.mark.parametrize("fast", [True, False])
def test_other_compiler_options_of_the_user_are_kept(out: Path, fast: bool) -> None:
    lowered = jax.jit(lambda x: x * 9).lower(np.ones(3, np.float32))
    with probe.capture(out, xla_dump="text", strict=True) as cap:
        lowered.compile(compiler_options={"xla_cpu_enable_fast_math": fast})
    # XLA writes its options (from JAX 0.10 on), or LLVM IR (up to 0.10), or both.
    written = {
        path.name.rpartition(".")[2]: path.read_text() for path in _option_files(cap.dump_paths)
    }
    assert written
    if "debug_options" in written:
        assert ("xla_cpu_enable_fast_math: true" in written["debug_options"]) == fast
    else:
        assert ("fmul reassoc" in written["ll"]) == fast


def _option_files(paths: tuple[Path, ...]) -> list[Path]:
    return [path for path in paths if path.name.endswith((".debug_options", "ir-no-opt.ll"))]


def test_dumps_by_the_users_compiler_options_are_kept(out: Path, tmp_path: Path) -> None:
    lowered = jax.jit(lambda x: x * 10).lower(np.ones(3, np.float32))
    with probe.capture(out, xla_dump="text", strict=True) as cap:
        lowered.compile(compiler_options={"xla_dump_to": str(tmp_path / "user")})
    assert cap.dump_paths == ()
    (note,) = cap.modules[-1].record.notes
    assert note == "not dumped: this module's own compiler_options say where XLA dumps"
    assert list((tmp_path / "user").iterdir())


DUMPING_WITH_FILTER = """
import contextlib, json, os, sys
import jax, numpy as np
import brainpy_probe as probe
user_folder, out, probed = sys.argv[1:]
def wanted(x): return x * 3
def unwanted(x): return x * 4
capture = probe.capture(out, xla_dump=["html", "text"], strict=True)
with capture if probed else contextlib.nullcontext() as cap:
    jax.jit(wanted)(np.ones(2)), jax.jit(unwanted)(np.ones(2))
ours = [path.name for path in cap.dump_paths] if probed else []
print(json.dumps({"capture": ours, "user": sorted(os.listdir(user_folder))}))
"""


def test_the_users_flags_are_parsed_as_xla_parses_them(tmp_path: Path) -> None:
    found = {}
    for probed in ("", "yes"):
        user_folder = tmp_path / f'a "quoted" folder{probed}'
        flags = [f"--xla_dump_to='{user_folder}'", "--xla_dump_hlo_module_re='jit_wan.*d'"]
        (tmp_path / "flags").write_text("\n".join([*flags, "--xla_dump_hlo_as_dot"]))
        found[probed] = run_script(
            DUMPING_WITH_FILTER,
            user_folder,
            tmp_path / "out",
            probed,
            XLA_FLAGS=str(tmp_path / "flags"),
        )
    # Only files: XLA of JAX 0.10.2 creates a folder for each module that the pattern excludes too.
    kinds = {
        probed: {*re.findall(r"jit_\w*wanted\.\S*", " ".join(dumped["user"]))}
        for probed, dumped in found.items()
    }
    assert kinds["yes"] == kinds[""]
    assert any(kind.startswith("jit_wanted.") for kind in kinds[""])
    assert not any(kind.startswith("jit_unwanted.") for kind in kinds[""])
    assert any(kind.endswith(".dot") for kind in kinds[""])
    assert not any(kind.endswith((".html", ".txt")) for kind in kinds[""])
    dumped = {name.split(".")[1] for name in found["yes"]["capture"] if name.endswith(".html")}
    assert {"jit_wanted", "jit_unwanted"} <= dumped
