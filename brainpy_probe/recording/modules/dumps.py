"""XLA's dumps of one compilation, ordered by its own options and gathered; knows no capture."""

from __future__ import annotations

import copy
import re
import shutil
import tempfile
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from brainpy_probe.compat import jax_compiler

__all__ = ["DumpOrder", "discard", "gathered", "order"]

# XLA's option for each kind of file; what has none (LLVM IR, object files) is dumped along, the
# buffer assignment along with the text.
_OPTIONS = {
    "text": "xla_dump_hlo_as_text",
    "dot": "xla_dump_hlo_as_dot",
    "html": "xla_dump_hlo_as_html",
    "proto": "xla_dump_hlo_as_proto",
}
# How the files of each kind end (0.4.13 to 0.12.0). What ends otherwise comes with any of them.
_SUFFIXES = {
    "text": (".txt",),
    "dot": (".dot",),
    "html": (".html",),
    "proto": (".hlo.pb", "-report.pb"),
}


@dataclass(frozen=True)
class DumpOrder:
    """Options that make XLA dump one compilation into a folder.

    Attributes
    ----------
    options : CompileOptions
        A copy of the compilation's own options, for that compilation alone.
    folder : Path
        Where XLA writes.
    theirs : str
        The folder of the user's own ``XLA_FLAGS``, if they dump too.
    their_kinds : dict
        Whether these ask for each kind of file.
    their_modules : str
        The regular expression that says which modules they dump.
    """

    options: Any
    folder: Path
    theirs: str
    their_kinds: dict[str, bool]
    their_modules: str

    def share_with_user(self, module: str) -> None:
        """Copy to the user's own dump folder what their flags would have put there."""
        if not self.theirs or (self.their_modules and not re.search(self.their_modules, module)):
            return
        kinds = [kind for kind, asked in self.their_kinds.items() if asked]
        for source in gathered(self.folder, kinds):
            target = Path(self.theirs) / source.relative_to(self.folder)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)


def order(options: Any, kinds: Collection[str]) -> DumpOrder | str:
    """Copy a compilation's options and set XLA's dumps on the copy.

    By the time XLA's compile function is called, the persistent cache's key has been made of the
    original; the key is what it was.

    Returns
    -------
    DumpOrder or str
        The order, or the reason why there can be none.
    """
    copied = copy.deepcopy(options)
    given = jax_compiler.dump_settings(copied)
    theirs = str(given.get("xla_dump_to") or "")
    if theirs in ("-", "sponge"):
        return f"not dumped: XLA_FLAGS have XLA dump to {theirs!r}, which is left as it is"
    if "xla_dump_to" in jax_compiler.option_overrides(copied):
        return "not dumped: this module's own compiler_options say where XLA dumps"
    their_kinds = {kind: bool(given.get(name)) for kind, name in _OPTIONS.items()}
    their_kinds["text"] |= not any(their_kinds.values())  # as XLA does
    their_modules = str(given.get("xla_dump_hlo_module_re") or "")
    folder = Path(tempfile.mkdtemp(prefix="brainpy-probe-xla-"))
    wanted = {_OPTIONS[kind]: True for kind in kinds}
    jax_compiler.set_dump_settings(
        copied, {"xla_dump_to": str(folder), "xla_dump_hlo_module_re": "", **wanted}
    )
    return DumpOrder(copied, folder, theirs, their_kinds, their_modules)


def gathered(folder: Path, kinds: Collection[str]) -> Iterator[Path]:
    """Yield the files that XLA wrote, by name, as if these kinds alone had been asked for."""
    unwanted = tuple(s for kind, ends in _SUFFIXES.items() if kind not in kinds for s in ends)
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.name.endswith(unwanted):
            yield path


def discard(folder: Path | None) -> None:
    """Remove a folder into which XLA dumped, once each capture has its files."""
    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)
