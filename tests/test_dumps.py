"""XLA's dumps: all that its flags would give for a module, and nothing besides."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

import brainpy_probe as probe
from tests.eras import LOOP_MODULE, SINCE_2_7
from tests.processes import told_by

DUMPING = """
import contextlib, json, os, sys
from pathlib import Path
import jax, numpy as np
import brainpy_probe as probe
from tests.networks import by_name
theirs, out, probed = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
def before(x): return x + 11
def after(x): return x + 12
jax.jit(before)(np.ones(2))
case = by_name("einet")
runner = case.build()
with probe.capture(out, xla_dump=True, strict=True) if probed else contextlib.nullcontext() as cap:
    case.run(runner)
jax.jit(after)(np.ones(2))
ours = [str(p.relative_to(cap.path)) for p in cap.dump_paths] if probed else []
found = [p.relative_to(theirs).as_posix() for p in theirs.rglob("*") if p.is_file()]
ir = sorted(os.listdir(theirs.parent / "ir"))
print(json.dumps({"ours": ours, "theirs": found, "ir": ir}))
"""
FLAGS = " ".join(f"--xla_dump_hlo_as_{kind}" for kind in ("text", "dot", "html", "proto"))


def _dumped(parent: Path, probed: str) -> dict[str, list[str]]:
    (parent / "ir").mkdir(parents=True)
    theirs = parent / "theirs"
    found: dict[str, list[str]] = told_by(
        DUMPING,
        theirs,
        parent / "out",
        probed,
        XLA_FLAGS=f"--xla_dump_to={theirs} {FLAGS}",
        JAX_DUMP_IR_TO=str(parent / "ir"),
    )
    return found


@pytest.fixture(scope="module")
def with_flags(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, list[str]]]:
    """Return what XLA_FLAGS and JAX_DUMP_IR_TO give, alone and with the probe beside them."""
    parent = tmp_path_factory.mktemp("flags")
    return {"alone": _dumped(parent / "alone", ""), "beside": _dumped(parent / "beside", "yes")}


def _suffixes(names: list[str], module: str = LOOP_MODULE) -> set[str]:
    """Return the kinds of a module's files: numbers and the names of kernels left out."""
    kinds = set()
    for name in names:
        found = re.search(rf"module_\d+\.{module}(\.|/)(.*)$", name)
        if found:
            kind = re.sub(r"^obj-file\..*\.o$", "obj-file.KERNEL.o", found[2])
            kinds.add(re.sub(r"^.*\.(ir-(?:no|with)-opt\.ll)$", r"KERNEL.\1", kind))
    return kinds


def test_every_kind_of_file_that_the_flags_give_is_there(with_flags: Any) -> None:
    ours = _suffixes(with_flags["beside"]["ours"])
    assert ours == _suffixes(with_flags["alone"]["theirs"])
    assert {
        "before_optimizations.txt",
        "before_optimizations.dot",
        "before_optimizations.html",
        "before_optimizations.hlo.pb",
        "cpu_after_optimizations.txt",
        "cpu_after_optimizations-buffer-assignment.txt",
        "obj-file.KERNEL.o" if SINCE_2_7 else "o",  # XLA of JAX 0.4 makes one object a module
    } <= ours


def test_the_users_own_flags_still_give_what_they_gave(with_flags: Any) -> None:
    alone, beside = with_flags["alone"]["theirs"], with_flags["beside"]["theirs"]
    assert _suffixes(beside) == _suffixes(alone)
    for module in ("jit_before", "jit_after"):
        assert _suffixes(beside, module) == _suffixes(alone, module) != set()
    assert sum(LOOP_MODULE in name for name in beside) == sum(LOOP_MODULE in name for name in alone)


def test_jax_dump_ir_to_still_gives_what_it_gave(with_flags: Any) -> None:
    alone, beside = with_flags["alone"]["ir"], with_flags["beside"]["ir"]
    assert sum(LOOP_MODULE in name for name in beside) == sum(LOOP_MODULE in name for name in alone)
    assert any(LOOP_MODULE in name for name in beside)


def test_nothing_is_dumped_for_a_module_outside_the_block(with_flags: Any) -> None:
    assert not [n for n in with_flags["beside"]["ours"] if "jit_before" in n or "jit_after" in n]


@pytest.mark.parametrize(
    ("asked", "suffix"), [("text", ".txt"), ("dot", ".dot"), ("html", ".html"), ("proto", ".pb")]
)
def test_a_single_kind_can_be_asked_for(out: Path, asked: str, suffix: str) -> None:
    with probe.capture(out, xla_dump=asked, strict=True) as cap:
        jax.jit(lambda x: x * 5)(np.ones(3, np.float32))
    found = [p for p in cap.dump_paths if ".before_optimizations" in p.name]
    assert any(path.name.endswith(suffix) for path in found)
    allowed = {"dot": ".dot", "html": ".html", "proto": ".pb", "text": ".txt"}
    unasked = tuple(s for kind, s in allowed.items() if kind not in (asked, "text"))
    assert not [path for path in found if path.name.endswith(unasked)]


def test_the_files_lie_with_their_module_and_nowhere_else(out: Path) -> None:
    with probe.capture(out, xla_dump=True, strict=True) as cap:
        jax.jit(lambda x: x * 6)(np.ones(3, np.float32))
    module = cap.modules[-1]
    folder = module.paths["hlo"].parent / "xla"
    assert module.dump_paths
    assert all(path.is_file() and path.is_relative_to(folder) for path in module.dump_paths)
    assert sorted(p for p in folder.rglob("*") if p.is_file()) == sorted(module.dump_paths)
    assert list(cap.path.glob(".xla-*")) == []


def test_nothing_is_dumped_unasked(out: Path) -> None:
    with probe.capture(out, strict=True) as cap:
        jax.jit(lambda x: x * 8)(np.ones(3, np.float32))
    assert cap.dump_paths == ()


def test_other_options_of_the_user_are_respected(out: Path) -> None:
    options = {"xla_dump_hlo_pass_re": ".*", "xla_backend_optimization_level": 1}
    lowered = jax.jit(lambda x: x * 9).lower(np.ones(3, np.float32))
    with probe.capture(out, xla_dump="text", strict=True) as cap:
        lowered.compile(compiler_options=options)
    passes = [path.name for path in cap.dump_paths if ".after_pipeline-start." in path.name]
    assert len(passes) > 3, "one file for each of XLA's pipelines"
    written = [path for path in cap.dump_paths if path.name.endswith(".debug_options")]
    assert bool(written) == SINCE_2_7, "XLA of JAX 0.4 does not write its options"
    for path in written:
        assert "xla_backend_optimization_level: 1" in path.read_text()
