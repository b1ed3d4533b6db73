"""Executes the tutorial notebooks in examples/, and keeps their outputs.

    python -m docs.notebooks

It needs ipykernel, nbclient and uv. Each notebook runs in a temporary folder, and installs this
clone where it installs brainpy-probe. What differs from machine to machine is replaced: the folder,
the name of the machine and the time in a capture's name.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from importlib import import_module
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "examples").glob("*.ipynb"))
_SECONDS = 120
_RUN = re.compile(r"run-\d+T\d+Z-[\w.-]+?-\d+\b")


def main() -> None:
    """Execute all notebooks in place."""
    nbformat = import_module("nbformat")
    for file in NOTEBOOKS:
        with tempfile.TemporaryDirectory() as folder:
            nbformat.write(executed(file, Path(folder)), file)
        print(file.name)


def executed(file: Path, folder: Path) -> Any:
    """Return a notebook with the outputs of a run in a folder."""
    nbformat, nbclient = import_module("nbformat"), import_module("nbclient")
    notebook = nbformat.read(file, as_version=4)
    # The commands that a notebook calls are those of this environment. tqdm, which BrainPy imports,
    # warns where there is no ipywidgets.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    env = os.environ | {"PATH": path, "PYTHONWARNINGS": "ignore:IProgress not found"}
    if any("uv pip install" in cell.source for cell in notebook.cells):
        env |= _installs_this_clone(folder)
    nbclient.NotebookClient(
        notebook,
        timeout=_SECONDS,
        record_timing=False,
        coalesce_streams=True,
        resources={"metadata": {"path": str(folder)}},
    ).execute(env=env)
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            if "text" in output:
                text = output["text"].replace(str(folder), "/home/you")
                output["text"] = _RUN.sub("run-20260101T120000Z-host-1", text)
    for unstable in ("version", "codemirror_mode"):
        notebook.metadata.get("language_info", {}).pop(unstable, None)
    return notebook


def _installs_this_clone(folder: Path) -> dict[str, str]:
    """Return variables with which uv takes brainpy-probe from this clone."""
    # A wheel, because uv keeps what it built from a folder until pyproject.toml changes.
    build = ("uv", "build", "--quiet", "--wheel", "--out-dir", str(folder / "wheel"), str(ROOT))
    subprocess.run(build, check=True)  # noqa: S603
    (wheel,) = (folder / "wheel").glob("*.whl")
    constraint = folder / "wheel" / "constraint.txt"
    constraint.write_text(f"brainpy-probe @ {wheel.as_uri()}\n")
    # Each environment imports once: to compile all of JAX beforehand takes longer.
    return {"UV_CONSTRAINT": str(constraint), "UV_COMPILE_BYTECODE": "0"}


def printed(cell: Any) -> str:
    """Return the text of a cell's outputs; of a picture, the words in it."""
    texts = []
    for output in cell.outputs:
        data = output.get("data", {})
        picture = " ".join(re.findall(r">([^<>]+)</text>", data.get("image/svg+xml", "")))
        texts.append(output.get("text") or picture or data.get("text/plain", ""))
    return "".join(texts)


if __name__ == "__main__":
    main()
