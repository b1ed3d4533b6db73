"""Sessions: each stack of BrainPy and JAX (nox -s stack-2022), deliberate faults, linters."""

from __future__ import annotations

import os

import nox

nox.needs_version = ">=2024.4.15"
nox.options.default_venv_backend = "uv"
nox.options.error_on_missing_interpreters = True
# A stack is tested on an interpreter that is here, or not at all.
nox.options.download_python = "never"
os.environ["UV_PYTHON_DOWNLOADS"] = "never"
# The tests start hundreds of interpreters: without bytecode each compiles BrainPy and JAX anew.
os.environ["UV_COMPILE_BYTECODE"] = "1"
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# The stacks, each with its Python. Their versions stand in .ci/stacks/NAME.txt.
PYTHONS = {
    "2022": "3.11",
    "2023": "3.11",
    "2024": "3.11",
    "py311": "3.11",
    "latest": "3.13",
}

# What BrainPy needs for its event-driven synapses on a CPU: an extra from 2.7 on, and before that
# requirements of the stack. IREE takes 400 MB of disk: it is tested where each program has a form
# without BrainPy's kernels, which is from 2.7 on.
EXTRAS = {"py311": "cpu,graph,iree,test", "latest": "cpu,graph,iree,test"}

# What the README's test command runs, and no stack again, for the time it takes: the benchmarks are
# the same on each; that two builds of a network run alike, each test of what the probe leaves
# untouched finds out as well.
ONCE = [
    "--ignore=tests/docs/test_benchmarks.py",
    "--deselect=tests/capture/test_networks.py::test_two_builds_leave_the_same_in_each_of_three_runs",
]
# How interpreters are started depends on the Python alone: that of these stacks is the command's.
STARTED = {name: ["--ignore=tests/startup/test_launch.py"] for name in ("2022", "2023", "2024")}


def _stack(name: str) -> None:
    """Make the session of a stack: a fresh environment, the tests, and what they ran on."""

    @nox.session(name=f"stack-{name}", python=PYTHONS[name])
    def stack(session: nox.Session) -> None:
        versions = f".ci/stacks/{name}.txt"
        package = f".[{EXTRAS.get(name, 'graph,test')}]"
        session.install("-r", versions, package)
        session.run("python", ".ci/ran_on.py", versions)
        # Two processes: most of the time goes into compiling, a thread each.
        chosen = session.posargs or ["-n", "2", *ONCE, *STARTED.get(name, [])]
        session.run("python", "-m", "pytest", *chosen, env={"JAX_PLATFORMS": "cpu"})


for _name in PYTHONS:
    _stack(_name)


@nox.session(python=PYTHONS["latest"])
def mutants(session: nox.Session) -> None:
    """Put deliberate faults into the package: each must make a test fail. Words choose some."""
    session.install("-r", ".ci/stacks/latest.txt", f".[{EXTRAS['latest']}]")
    session.run("python", "-m", "tests.mutants", *session.posargs)


@nox.session(python=PYTHONS["latest"])
def lint(session: nox.Session) -> None:
    """Check style, types and layers."""
    # No test starts interpreters here.
    session.install("-r", ".ci/stacks/latest.txt", ".[dev]", env={"UV_COMPILE_BYTECODE": "0"})
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("mypy")
    session.run("lint-imports")
