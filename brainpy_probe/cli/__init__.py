"""The shell command: turns words into calls and results into lines; does nothing else."""

from brainpy_probe.cli import running, reading, costing, proving  # isort: skip  in the order of --help
from brainpy_probe.cli.shell import app

__all__ = ["app", "costing", "proving", "reading", "running"]
