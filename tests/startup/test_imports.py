"""The imports of the package, and its silence by default."""

from __future__ import annotations

import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
from loguru import logger

import brainpy_probe as probe
from tests.networks import by_name
from tests.processes import run_script

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "brainpy_probe"


def test_importing_the_package_imports_neither_jax_nor_brainpy() -> None:
    source = (
        "import sys, brainpy_probe\n"
        "brainpy_probe.capture('x')\n"
        "print(sorted({name.partition('.')[0] for name in sys.modules}))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", source], cwd=ROOT, capture_output=True, text=True, check=True
    )
    imported = done.stdout
    assert "'brainpy_probe'" in imported
    assert "'msgspec'" in imported
    for name in ("jax", "jaxlib", "brainpy", "brainstate"):
        assert f"'{name}'" not in imported


def test_public_names_are_imported_on_first_use() -> None:
    source = (
        "import sys, brainpy_probe as probe\n"
        "before = set(sys.modules)\n"
        "assert 'msgspec' not in before and 'brainpy_probe.format.folder' not in before\n"
        "assert set(probe.__all__) <= set(dir(probe))\n"
        "from brainpy_probe import Timing, load\n"
        "assert probe.load is load and vars(probe)['load'] is load\n"
        "assert 'brainpy_probe.format.folder' in sys.modules\n"
        "try:\n"
        "    probe.nonsense\n"
        "except AttributeError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", source], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "module 'brainpy_probe' has no attribute 'nonsense'\n"


def test_the_unit_tests_pass_without_jax_and_brainpy() -> None:
    source = (
        "import sys, pytest\n"
        "sys.modules.update(dict.fromkeys(('jax', 'brainpy', 'brainstate')))\n"
        "sys.exit(pytest.main(['-q', '-p', 'no:cacheprovider', 'tests/unit']))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", source], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


def test_every_public_name_exists() -> None:
    assert sorted(probe.__all__) == probe.__all__
    assert all(getattr(probe, name) is not None for name in probe.__all__)
    assert probe.__version__ == metadata.version("brainpy-probe")


def _modules_containing(private: str) -> set[str]:
    modules = {path.relative_to(PACKAGE).as_posix(): path for path in PACKAGE.rglob("*.py")}
    return {name for name, path in modules.items() if private in path.read_text()}


@pytest.mark.parametrize(
    "private",
    ["jax._src", "_mlir_libs", "jaxlib._jax", "jaxlib._hlo", "xla_extension", "xla_client"],
)
def test_private_names_are_only_in_compat(private: str) -> None:
    modules = _modules_containing(private)
    assert modules
    assert {Path(name).parent.as_posix() for name in modules} == {"compat"}


def test_the_import_contracts_are_kept() -> None:
    command = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([command], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert " 0 broken" in done.stdout
    assert " 0 kept" not in done.stdout


def test_the_log_is_silent_until_it_is_enabled(
    out: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    case = by_name("lif")
    runner = case.build()
    case.run(runner)
    capfd.readouterr()
    messages: list[str] = []
    sink = logger.add(messages.append, format="{message}")
    try:
        with probe.capture(out) as cap:
            case.run(runner)
        assert messages == []
        assert capfd.readouterr() == ("", "")
        logger.enable("brainpy_probe")
        with probe.capture(out):
            case.run(runner)
        assert any("LIF" in message for message in messages)
    finally:
        logger.disable("brainpy_probe")
        logger.remove(sink)
    assert len(cap.calls) == 1


COMPILING = """
import json, jax, brainpy
compiled = []
jax.monitoring.register_event_duration_secs_listener(
    lambda event, _, **__: compiled.append(event) if "backend_compile" in event else None
)
import brainpy_probe as probe, sys
with probe.capture(sys.argv[1]):
    pass
print(json.dumps(len(compiled)))
"""


def test_an_empty_capture_compiles_nothing(out: Path) -> None:
    assert run_script(COMPILING, out) == 0
