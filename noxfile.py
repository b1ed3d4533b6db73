"""Sessions: each stack of BrainPy and JAX (stack-2022), mutants, coverage, docs, lint."""

from __future__ import annotations

import os
from pathlib import Path

import nox

nox.needs_version = ">=2024.4.15"
nox.options.default_venv_backend = "uv"
nox.options.error_on_missing_interpreters = True
# A stack is tested on an interpreter that is here, or not at all.
nox.options.download_python = "never"
os.environ["UV_PYTHON_DOWNLOADS"] = "never"
# The tests start hundreds of interpreters: without bytecode each compiles BrainPy and JAX again.
os.environ["UV_COMPILE_BYTECODE"] = "1"
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# The stacks, each with its Python. Their versions stand in .ci/stacks/NAME.txt.
PYTHONS = {
    "2022": "3.11",
    "2023": "3.11",
    "2024": "3.11",
    "py311": "3.11",
    "latest": "3.13",
    "ecosystem": "3.13",
}

# What BrainPy needs for its event-driven synapses on a CPU: an extra from 2.7 on, and before that
# requirements of the stack. IREE takes 400 MB of disk: it is tested where each program has a form
# without BrainPy's kernels, which is from 2.7 on.
EXTRAS = {
    "py311": "cpu,graph,iree,test",
    "latest": "cpu,graph,iree,test",
    "ecosystem": "cpu,test",
}

# Old stacks run the tests of what BrainPy and JAX can make different: capturing, tracing, the
# dialects, replay, costs. The command's tables, damaged folders, pages and benchmarks read files or
# start interpreters, which the README's test command and the newest stack try.
OLD = ("2022", "2023", "2024")
# The stack "ecosystem" is "latest" with the packages that build on brainstate: it runs the tests of
# these alone.
ECOSYSTEM = ["tests/ecosystem", "tests/startup/test_brainstate_alone.py"]
# What executes a notebook.
JUPYTER = ("ipykernel", "nbclient")
# The benchmarks are the same on each stack, so that the README's test command alone runs them.
ONCE = ["--ignore=tests/docs/test_benchmarks.py"]


def _stack(name: str) -> None:
    """Make the session of a stack: a fresh environment, the tests, and what they ran on."""

    @nox.session(name=f"stack-{name}", python=PYTHONS[name])
    def stack(session: nox.Session) -> None:
        versions = f".ci/stacks/{name}.txt"
        package = f".[{EXTRAS.get(name, 'graph,test')}]"
        session.install("-r", versions, package)
        session.run("python", ".ci/ran_on.py", versions)
        # Two processes: most of the time goes into compiling, a thread each. What the tests of a
        # file share is made once, so that they stay together.
        chosen = ["-m", "every_stack"] if name in OLD else ONCE
        chosen = ECOSYSTEM if name == "ecosystem" else chosen
        chosen = session.posargs or ["-n", "2", "--dist", "loadfile", *chosen]
        # With LLVM's optimisations, unlike the README's test command: tests/conftest.py.
        env = {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": ""}
        session.run("python", "-m", "pytest", *chosen, env=env)


for _name in PYTHONS:
    _stack(_name)
# The others are for those who ask for them: nox -s mutants.
nox.options.sessions = ["lint", "docs", *(f"stack-{name}" for name in PYTHONS)]


@nox.session(python=PYTHONS["2022"])
def lowest(session: nox.Session) -> None:
    """Capture EINet, and run the unit tests, on the lowest versions that the package allows."""
    versions = ".ci/stacks/2022.txt"
    session.install("--resolution", "lowest-direct", "--constraint", versions, ".")
    session.install("-r", versions, ".[test]")
    folder = session.create_tmp()
    session.run(
        *("python", "examples/einet_2022.py", "--scale", "0.1", "--duration", "100"),
        env={"JAX_PLATFORMS": "cpu", "BRAINPY_PROBE": folder, "BRAINPY_PROBE_STRICT": "1"},
    )
    session.run("brainpy-probe", "show", folder)
    session.run("brainpy-probe", "verify", folder)
    session.run("python", "-m", "pytest", "tests/unit", env={"JAX_PLATFORMS": "cpu"})


@nox.session(python=PYTHONS["latest"])
def mutants(session: nox.Session) -> None:
    """Put deliberate faults into the package: each must make a test fail. Words choose some."""
    session.install("-r", ".ci/stacks/latest.txt", f".[{EXTRAS['latest']}]")
    session.run("python", "-m", "tests.mutants", *session.posargs)


@nox.session(python=PYTHONS["latest"])
def coverage(session: nox.Session) -> None:
    """Measure which lines and branches the tests run, in the processes that they start too."""
    session.install("-r", ".ci/stacks/latest.txt", f".[{EXTRAS['latest']}]", "coverage>=7.10")
    session.env["JAX_PLATFORMS"] = "cpu"
    session.run(
        "coverage", "run", "-m", "pytest", "-n", "2", "--dist", "loadfile", *session.posargs
    )
    session.run("coverage", "combine", "-q")
    session.run("coverage", "report")


@nox.session(python=PYTHONS["latest"])
def browser(session: nox.Session) -> None:
    """Open reports in a headless Chromium (Debian: chromium), and capture a notebook's cell."""
    session.install("-r", ".ci/stacks/latest.txt", f".[{EXTRAS['latest']}]", *JUPYTER)
    words = ("-m", "browser", "tests/report", *session.posargs)
    session.run("python", "-m", "pytest", *words, env={"JAX_PLATFORMS": "cpu"})


@nox.session(python=PYTHONS["latest"])
def notebooks(session: nox.Session) -> None:
    """Execute the notebooks in examples/: they must print the outputs that they hold."""
    session.install("-r", ".ci/stacks/latest.txt", ".[cpu,test]", *JUPYTER, "uv")
    words = ("-m", "browser", "tests/docs/test_notebooks.py", *session.posargs)
    session.run("python", "-m", "pytest", *words, env={"JAX_PLATFORMS": "cpu"})


@nox.session(python=PYTHONS["latest"])
def docs(session: nox.Session) -> None:
    """Build the site in site/: each link and each anchor must resolve."""
    packages = nox.project.load_toml("pyproject.toml")["project"]["optional-dependencies"]["docs"]
    session.install(*packages)
    # Material announces its successor on each build.
    env = {"NO_MKDOCS_2_WARNING": "1", "PYTHONWARNINGS": "ignore::SyntaxWarning"}
    session.run("mkdocs", "build", "--strict", *session.posargs, env=env)


@nox.session(python=PYTHONS["latest"])
def lint(session: nox.Session) -> None:
    """Check style, types, layers, and GitHub's workflows."""
    # No test starts interpreters here.
    session.install("-r", ".ci/stacks/latest.txt", ".[dev]", env={"UV_COMPILE_BYTECODE": "0"})
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("mypy")
    session.run("lint-imports")
    workflows = [str(file) for file in sorted(Path(".github/workflows").glob("*.yml"))]
    session.run("check-jsonschema", "--builtin-schema", "vendor.github-workflows", *workflows)
    session.run("zizmor", "--offline", "--quiet", ".github")
