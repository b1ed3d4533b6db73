"""The pytest plugin: a run is compared with a stored snapshot."""

from __future__ import annotations

import importlib
import json
import tomllib
from pathlib import Path

import brainpy as bp
import pytest

from brainpy_probe.pytest import ProbeSnapshot

pytestmark = pytest.mark.every_stack


def _runner(current: float) -> bp.DSRunner:
    return bp.DSRunner(bp.neurons.LIF(3), inputs=("input", current), progress_bar=False)


def test_a_changed_model_fails_with_the_difference(tmp_path: Path) -> None:
    ProbeSnapshot(tmp_path, update=True)(_runner(20.5), "lif")
    stored = json.loads((tmp_path / "lif.json").read_text())
    assert stored["programs"][0]["record"]["identity"]
    ProbeSnapshot(tmp_path, update=False)(_runner(20.5), "lif")
    with pytest.raises(pytest.fail.Exception, match=r"other constants \(20.5 -> 25\)"):
        ProbeSnapshot(tmp_path, update=False)(lambda: _runner(25.0).run(1.0), "lif")


def test_a_missing_or_damaged_snapshot_fails(tmp_path: Path) -> None:
    snapshot = ProbeSnapshot(tmp_path, update=False)
    with pytest.raises(pytest.fail.Exception, match="Run pytest --probe-update"):
        snapshot(_runner(20.0), "lif")
    (tmp_path / "lif.json").write_text("{}x")
    with pytest.raises(pytest.fail.Exception, match="It is not a snapshot"):
        snapshot(_runner(20.0), "lif")
    with pytest.raises(pytest.fail.Exception, match="can't be the name of a snapshot"):
        snapshot(_runner(20.0), "../lif")
    (tmp_path / "none.json").write_text("{}")
    with pytest.raises(pytest.fail.Exception, match="The run has no program"):
        snapshot(lambda: None, "none")


def test_the_entry_point_names_a_plugin(request: pytest.FixtureRequest) -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    plugin = importlib.import_module(project["entry-points"]["pytest11"]["brainpy_probe"])
    assert plugin.ProbeSnapshot is ProbeSnapshot
    parser = pytest.Parser(_ispytest=True)
    plugin.pytest_addoption(parser)
    assert parser.parse(["--probe-update"]).probe_update is True
    if request.config.pluginmanager.has_plugin("brainpy_probe"):  # the package is installed
        snapshot = request.getfixturevalue("probe_snapshot")
        assert snapshot.folder == Path(__file__).parent / "probe_snapshots"
