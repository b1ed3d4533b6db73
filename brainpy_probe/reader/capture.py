"""The user's view of a capture, while it is open or loaded from disk."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from brainpy_probe.analysis.finding import Finding
from brainpy_probe.analysis.findings import find
from brainpy_probe.characters import visible
from brainpy_probe.errors import ProbeError
from brainpy_probe.format.index import Index
from brainpy_probe.format.manifest.records import Manifest
from brainpy_probe.format.reading import find_run, read_manifest
from brainpy_probe.reader.call import PredictCall
from brainpy_probe.reader.module import CompiledModule
from brainpy_probe.reader.program import Program
from brainpy_probe.showing import Listed, Shown, for_stdout

if TYPE_CHECKING:
    from brainpy_probe.analysis.ranks import Ranks

__all__ = ["Capture", "load"]


class Capture(Shown):
    """The calls, programs, modules and findings that one ``with`` block captured.

    :func:`brainpy_probe.capture` returns it while it is being filled, :func:`load` reads it from
    disk.

    Attributes
    ----------
    path : Path
        The capture folder.
    """

    def __init__(self, path: Path, index: Manifest | Index) -> None:
        self.path = path
        self._index = index if isinstance(index, Index) else Index(index)

    @property
    def manifest(self) -> Manifest:
        """The records of the capture as they are at this moment."""
        return self._index.manifest

    @property
    def programs(self) -> Listed[Program]:
        """The distinct programs, in the order in which they first ran."""
        manifest = self.manifest
        return Listed(
            Program(self.path, record, manifest.environment) for record in manifest.programs
        )

    @property
    def calls(self) -> Listed[PredictCall]:
        """The predict calls, in the order of their ends."""
        manifest = self.manifest  # read once, because another thread may add to it
        programs = [
            Program(self.path, record, manifest.environment) for record in manifest.programs
        ]
        modules: dict[int, list[CompiledModule]] = {}
        for module in manifest.modules:
            if module.call is not None:
                modules.setdefault(module.call, []).append(CompiledModule(self.path, module))
        return Listed(
            PredictCall(
                record,
                None if record.program is None else programs[record.program],
                tuple(modules.get(record.index, ())),
            )
            for record in manifest.calls
        )

    @property
    def modules(self) -> Listed[CompiledModule]:
        """The modules that JAX compiled or read from its cache, in the order of their ends."""
        return Listed(CompiledModule(self.path, record) for record in self.manifest.modules)

    @property
    def dump_paths(self) -> tuple[Path, ...]:
        """The files that XLA dumped."""
        return tuple(path for module in self.modules for path in module.dump_paths)

    @property
    def findings(self) -> Listed[Finding]:
        """Facts on which the user may want to act, each with figures and a remedy."""
        return Listed(find(self.manifest))

    @property
    def ranks(self) -> Ranks | None:
        """The captures of all processes of a distributed run, compared; None for one process.

        These captures are in the same parent folder and belong to the same ``jax.distributed``
        session.
        """
        from brainpy_probe.reader.ranks import ranks_of

        return ranks_of(self.path, self.manifest)

    @property
    def text(self) -> str:
        """The text of the last program that ran, in the first requested dialect.

        Raises
        ------
        ProbeError
            If the capture has no program.
        """
        for call in reversed(self.calls):
            if call.program is not None:
                return call.program.text()
        raise ProbeError(f"{self.path} has no program: {self._why_no_program()}.")

    def _why_no_program(self) -> str:
        calls = self.manifest.calls
        failed = [call.failure or call.error for call in calls]
        reasons = [f"{failure.kind}: {failure.message}" for failure in failed if failure]
        if any(not call.jit for call in calls):
            reasons += [
                f"{finding.sentence} {finding.remedy}".rstrip(".")
                for finding in self.findings
                if finding.slug == "jit-disabled"
            ]
        if calls or not self.manifest.complete:
            return "; ".join(reasons) or "no call was recorded"
        return "no model was run in the block"

    def __repr__(self) -> str:
        return f"<Capture {visible(self.path.name)}: {len(self.manifest.calls)} calls>"

    def report(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        open: bool = False,  # noqa: A002
        programs: Sequence[int] | None = None,
    ) -> Path:
        """Write a report for a browser: one HTML file, which loads nothing else.

        It needs jaxlib. Programs are read, and compiled for their optimised HLO, in worker
        processes.

        Parameters
        ----------
        path : str or path, optional
            The file. By default ``NAME.html`` in the current folder, with the capture's name.
        open : bool
            Whether to open it in a browser.
        programs : sequence of int, optional
            The numbers of the programs to describe. By default, the programs whose calls took the
            most time, as long as the page keeps a sensible size; the page lists the others.

        Returns
        -------
        Path
            The file.

        Raises
        ------
        BadSetting
            If the path is a folder, or the capture has no such program.
        """
        from brainpy_probe.report.api import report

        return report(self, path, opens=open, programs=programs)

    def details(self) -> str:
        """Return the whole content of the manifest: each call, program, module and finding."""
        from brainpy_probe.report.text.details import details
        from brainpy_probe.report.text.summary import as_plain_text

        return for_stdout(as_plain_text(details(self.path, self.manifest)))


def load(path: str | os.PathLike[str]) -> Capture:
    """Read a capture folder. This needs neither BrainPy nor JAX.

    Parameters
    ----------
    path : str or path
        A folder ``run-...``, its ``manifest.json``, or a folder of captures, of which the newest is
        read.

    Returns
    -------
    Capture
        The records of the capture.

    Raises
    ------
    FileNotFoundError
        If there is no capture.
    DamagedCapture
        If the manifest is truncated, was changed, has a later format version, or names files
        outside of its folder.
    """
    return Capture(*read_manifest(find_run(path)))
