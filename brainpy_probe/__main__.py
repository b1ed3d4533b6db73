"""``python -m brainpy_probe``: the shell command, for when its script is not on the PATH."""

from brainpy_probe.cli import app

if __name__ == "__main__":
    app(prog_name="brainpy-probe")
