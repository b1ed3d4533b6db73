"""The captures of the processes of jax.distributed are combined."""

from __future__ import annotations

import os
import shutil
import socket
from itertools import filterfalse
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import brainpy_probe as probe
from brainpy_probe.verify.api import verify
from tests.altering import alter
from tests.commands import run
from tests.eras import SINCE_2_7
from tests.processes import run_script
from tests.sharing import made_once

pytestmark = [
    pytest.mark.every_stack,
    pytest.mark.xdist_group("ranks"),
    pytest.mark.skipif(not SINCE_2_7, reason="up to JAX 0.4.30 a CPU has no other processes"),
]

RANKS = 4

# The processes are forks, so that only one imports BrainPy's packages. In each, the first capture
# has a state that spans all processes, and the second one a network of this process only.
_RANKS = """
import json, os, sys
import numpy as np
address, out, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
rank, others = 0, []
for number in range(1, count):
    other = os.fork()
    if not other:
        rank, others = number, []
        break
    others.append(other)
import jax, jax.numpy as jnp
jax.distributed.initialize(address, num_processes=count, process_id=rank)
import brainpy as bp, brainpy.math as bm, brainpy_probe as probe
from jax.sharding import Mesh, NamedSharding, PartitionSpec
class Net(bp.DynamicalSystem):
    def __init__(self, start):
        super().__init__()
        self.x = bm.Variable(start)
    def update(self):
        self.x.value = jnp.tanh(bm.as_jax(self.x) * 0.9)
start = np.linspace(-1.0, 1.0, 8, dtype=np.float32)
place = NamedSharding(Mesh(np.array(jax.devices()), ("n",)), PartitionSpec("n"))
whole = jax.make_array_from_callback((8,), place, lambda part: start[part])
runner = bp.DSRunner(Net(whole), progress_bar=False)
with probe.capture(out, data="full", portable=True, strict=True) as cap:
    runner.run(1.0)
runner = bp.DSRunner(Net(jnp.asarray(start + rank)), monitors=["x"], progress_bar=False)
with probe.capture(out, data="full", strict=True):
    runner.run(1.0)
    if rank == 1:
        jax.jit(lambda x: x * 3.5)(np.ones(3))
if rank:
    os._exit(0)
for other in others:
    os.waitpid(other, 0)
print(json.dumps([str(cap.path), [note for call in cap.calls for note in call.record.notes]]))
sys.stdout.flush()
os._exit(0)
"""


def _captured(folder: Path) -> Any:
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    flags = os.environ["XLA_FLAGS"]
    return [str(folder), *run_script(_RANKS, address, folder, str(RANKS), XLA_FLAGS=flags)]


def _folder() -> Path:
    return Path(made_once("ranks", _captured)[0])


def _second(capture: probe.Capture) -> bool:
    rank = capture.manifest.environment.rank
    return rank is not None and rank.capture == 1


def test_all_ranks_are_one_run_of_one_program() -> None:
    captures = list(filter(_second, map(probe.load, _folder().glob("run-*"))))
    assert len(captures) == RANKS
    for capture in captures:
        ranks = capture.ranks
        assert ranks is not None
        assert {times.name for times in ranks.times} == {each.path.name for each in captures}
        assert [times.rank for times in ranks.times] == list(range(RANKS))
        assert (ranks.count, ranks.missing) == (RANKS, ())
        (program,) = ranks.programs
        assert program.ranks == tuple(range(RANKS))
        assert program.identity == capture.programs[0].record.identity
        assert ranks.slowest in ranks.times
        own = capture.manifest.environment.rank
        assert own is not None
        assert f"-rank{own.index}" in capture.path.name
    assert len({capture.programs[0].record.identity for capture in captures}) == 1
    assert len({tuple(c.programs[0].data()["state/x"]) for c in captures}) == RANKS


def test_show_puts_the_ranks_of_a_folder_in_one_table() -> None:
    _, shown = run("show", _folder())
    assert "4 of 4 ranks of one run" in shown
    assert "Net: the same program on 4 of 4 ranks." in shown
    assert "jit__lambda: compiled by rank 1 only" in shown
    assert "The slowest is rank" in shown
    first = next(_folder().glob("run-*-rank0*"))
    assert "rank 0 of 4" in run("show", first)[1]


def test_the_parts_of_all_ranks_are_the_arrays_of_the_run(tmp_path: Path) -> None:
    captures = list(filterfalse(_second, map(probe.load, _folder().glob("run-*"))))
    whole = {}
    for kind in ("data", "results"):
        array = whole[kind] = np.full(8, np.nan, np.float32)
        for capture in captures:
            ((start,), part) = next(iter(capture.programs[0].parts(kind)["state/x"].items()))
            assert part.shape == (8 // RANKS,)
            array[start : start + len(part)] = part
    (program,) = captures[0].programs
    with pytest.raises(probe.BadSetting, match="no arrays 'other'"):
        program.parts("other")
    assert "this one has x[" in str(program)
    replayed = program.replay(overrides={"state/x": whole["data"]})
    assert replayed.results["state/x"].tobytes() == whole["results"].tobytes()

    copy = shutil.copytree(captures[0].path, tmp_path / "copy")
    alter(copy, lambda m: m["programs"][0]["arguments"][0]["parts"][0].update(start=[7]))
    with pytest.raises(probe.ProbeError, match="a part from"):
        probe.load(copy)


def test_a_state_that_spans_ranks_has_a_program_and_no_values() -> None:
    _, path, notes = made_once("ranks", _captured)
    (note,) = notes
    assert note.startswith("Each process has only a part of x, and records only that part.")
    (program,) = probe.load(path).programs
    state = {spec.path: spec for spec in program.arguments}["state/x"]
    assert (state.file, state.digest, state.sharding) == ("", "", '<@mesh, [{"n"}]>')
    assert "state/x" not in program.data()
    assert program.fidelity.placement.devices == RANKS
    verified = verify(path)
    assert [check for check in verified.checks if check.outcome == "failed"] == []
