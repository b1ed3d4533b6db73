"""The shell command ``brainpy-probe``: parses options, calls the package, prints results."""

from brainpy_probe.cli import running, reading, drawing, explaining, costing, proving  # isort: skip  in the order of --help
from brainpy_probe.cli.shell import app

__all__ = ["app", "costing", "drawing", "explaining", "proving", "reading", "running"]
