"""A module that JAX compiled during a capture: its texts, its times, and why it was compiled."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from brainpy_probe.characters import in_one_line
from brainpy_probe.errors import BadSetting, DamagedCapture, UnknownDialect
from brainpy_probe.format.manifest.common_records import Timing
from brainpy_probe.format.manifest.records import ModuleRecord, Reason
from brainpy_probe.format.reading import read_file, read_text
from brainpy_probe.reader.requests import Conversion, ask_conversion
from brainpy_probe.reader.worker import Limits
from brainpy_probe.settings import DIALECTS
from brainpy_probe.showing import Shown

__all__ = ["CompiledModule"]


@dataclass(frozen=True, repr=False)
class CompiledModule(Shown):
    """A module that JAX compiled, or read from its persistent cache, in the block.

    :meth:`convert` parses the module's bytecode with jaxlib. It does so in a worker process within
    :attr:`limits`, because damaged bytecode may end the process that parses it.

    Attributes
    ----------
    record : ModuleRecord
        The module's entry in the manifest.
    limits : Limits or None
        The limits of the worker process; None to use the calling process.
    """

    _folder: Path
    record: ModuleRecord
    limits: Limits | None = field(default_factory=Limits)

    def __repr__(self) -> str:
        return f"<CompiledModule {self.record.index}: {in_one_line(self.name)}, {self.reason}>"

    def within(self, limits: Limits | None) -> CompiledModule:
        """Return the same module with other limits, as :meth:`Program.within` does.

        Parameters
        ----------
        limits : Limits or None
            The limits; None to parse the bytecode in the calling process.
        """
        return CompiledModule(self._folder, self.record, limits)

    @property
    def name(self) -> str:
        """JAX's name for it."""
        return self.record.name

    @property
    def fingerprint(self) -> str:
        """Equal for modules with equal content."""
        return self.record.fingerprint

    @property
    def call(self) -> int | None:
        """The number of the predict call during which it was compiled; None outside of any call."""
        return self.record.call

    @property
    def timing(self) -> Timing:
        """Seconds of tracing, lowering and compiling."""
        return self.record.seconds

    @property
    def from_cache(self) -> bool:
        """Whether it came from JAX's persistent cache."""
        return self.record.origin == "cache"

    @property
    def reason(self) -> Reason:
        """Why it was compiled, as a slug."""
        return self.record.reason

    @property
    def why(self) -> str:
        """Why it was compiled, as a sentence."""
        return self.record.why

    @property
    def paths(self) -> dict[str, Path]:
        """Its IR files by kind: ``stablehlo``, ``mlirbc``, ``hlo``."""
        files = self.record.files
        return {file.kind: self._folder / file.path for file in files if file.kind != "xla"}

    @property
    def dump_paths(self) -> tuple[Path, ...]:
        """The files that XLA dumped for it."""
        files = self.record.files
        return tuple(self._folder / file.path for file in files if file.kind == "xla")

    def text(self, kind: str = "hlo") -> str:
        """Return a text: ``"hlo"``, the optimised HLO, or ``"stablehlo"``, for human readers.

        Raises
        ------
        BadSetting
            If there is no such text.
        DamagedCapture
            If the file is missing or was changed.
        """
        for file in self.record.files:
            if file.kind == kind and kind in ("hlo", "stablehlo"):
                return read_text(self._folder, file)
        raise BadSetting(f"{self.name} has no text {kind!r}.", "Allowed: hlo, stablehlo.")

    def convert(self, dialect: str = "stablehlo") -> str:
        """Return the complete module that JAX passed to XLA, in a dialect; needs jaxlib.

        It is converted from the bytecode in the capture, before optimisation. The optimised HLO is
        ``text("hlo")``.

        Parameters
        ----------
        dialect : str
            ``"stablehlo"``, ``"mhlo"`` or ``"hlo"``.

        Raises
        ------
        UnknownDialect
            If the dialect does not exist.
        DamagedCapture
            If the bytecode is missing or was changed.
        CannotConvert
            If this jaxlib can't read the bytecode or write that dialect.
        Stopped
            If it reaches a limit of time or memory, or ends its process.
        """
        from brainpy_probe.ir.dialects import convert

        chosen = next((known for known in DIALECTS if known == dialect), None)
        if chosen is None:
            raise UnknownDialect(dialect, DIALECTS)
        content = next((file for file in self.record.files if file.kind == "mlirbc"), None)
        if content is None:
            raise DamagedCapture(f"The capture has no bytecode of {self.name}.", "Capture again.")
        if self.limits is not None:
            task = Conversion(folder=str(self._folder), record=self.record, dialect=chosen)
            return ask_conversion(task, self.limits)
        return convert(self.name, read_file(self._folder, content), chosen)
