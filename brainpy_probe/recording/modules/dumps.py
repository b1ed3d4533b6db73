"""Requests XLA's dumps of one compilation through its options, and finds the dumped files."""

from __future__ import annotations

import copy
import re
import shutil
import tempfile
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from brainpy_probe.compat import jax_compiler
from brainpy_probe.compat.types import CompileOptions

__all__ = ["DumpRequest", "discard", "dumped_files", "request"]

# XLA's option for each kind of file. Other files (LLVM IR, object files) have no option: XLA writes
# them with any kind, and writes the buffer assignment with the text.
_OPTIONS = {
    "text": "xla_dump_hlo_as_text",
    "dot": "xla_dump_hlo_as_dot",
    "html": "xla_dump_hlo_as_html",
    "proto": "xla_dump_hlo_as_proto",
}
# The suffixes of the files of each kind (0.4.13 to 0.12.0). Files with other suffixes have no kind.
_SUFFIXES = {
    "text": (".txt",),
    "dot": (".dot",),
    "html": (".html",),
    "proto": (".hlo.pb", "-report.pb"),
}


@dataclass(frozen=True)
class DumpRequest:
    """Compile options that make XLA dump one compilation into a folder.

    Attributes
    ----------
    options : CompileOptions
        A copy of the compilation's options, used for that compilation alone.
    folder : Path
        The folder into which XLA dumps.
    user_folder : str
        The dump folder of the user's own ``XLA_FLAGS``; empty if they request no dumps.
    user_kinds : dict
        For each kind of file, whether the user's flags request it.
    user_modules : str
        The regular expression of the user's flags for the names of the modules to dump.
    """

    options: CompileOptions
    folder: Path
    user_folder: str
    user_kinds: dict[str, bool]
    user_modules: str

    def copy_to_user_folder(self, module: str) -> None:
        """Copy the files that the user's own ``XLA_FLAGS`` request to the user's folder."""
        if not self.user_folder or (self.user_modules and not re.search(self.user_modules, module)):
            return
        kinds = [kind for kind, requested in self.user_kinds.items() if requested]
        for source in dumped_files(self.folder, kinds):
            target = Path(self.user_folder) / source.relative_to(self.folder)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)


def request(options: CompileOptions, kinds: Collection[str]) -> DumpRequest | str:
    """Copy a compilation's options and enable XLA's dumps in the copy.

    JAX computes the key of the persistent cache from the original options, before it calls XLA's
    compile function. Therefore the key stays the same.

    Returns
    -------
    DumpRequest or str
        The request, or the reason why the module cannot be dumped.
    """
    copied = copy.deepcopy(options)
    settings = jax_compiler.dump_settings(copied)
    user_folder = str(settings.get("xla_dump_to") or "")
    if user_folder in ("-", "sponge"):
        return f"not dumped: XLA_FLAGS have XLA dump to {user_folder!r}, which is left as it is"
    if "xla_dump_to" in jax_compiler.option_overrides(copied):
        return "not dumped: this module's own compiler_options say where XLA dumps"
    user_kinds = {kind: bool(settings.get(name)) for kind, name in _OPTIONS.items()}
    user_kinds["text"] |= not any(user_kinds.values())  # XLA's own default
    user_modules = str(settings.get("xla_dump_hlo_module_re") or "")
    folder = Path(tempfile.mkdtemp(prefix="brainpy-probe-xla-"))
    wanted = {_OPTIONS[kind]: True for kind in kinds}
    jax_compiler.set_dump_settings(
        copied, {"xla_dump_to": str(folder), "xla_dump_hlo_module_re": "", **wanted}
    )
    return DumpRequest(copied, folder, user_folder, user_kinds, user_modules)


def dumped_files(folder: Path, kinds: Collection[str]) -> Iterator[Path]:
    """Yield the files that XLA writes for the given kinds, sorted by name."""
    unwanted = tuple(s for kind, ends in _SUFFIXES.items() if kind not in kinds for s in ends)
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.name.endswith(unwanted):
            yield path


def discard(folder: Path | None) -> None:
    """Remove a folder of XLA's dumps, after each capture has copied its files."""
    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)
