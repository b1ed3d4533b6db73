"""The context manager: checks its arguments, opens a session, closes it; does nothing else."""

from __future__ import annotations

import os
from collections.abc import Iterable
from types import TracebackType
from typing import TYPE_CHECKING

from brainpy_probe.errors import BadSetting, CannotWrite
from brainpy_probe.reader.capture import Capture
from brainpy_probe.settings import Settings

if TYPE_CHECKING:
    from brainpy_probe.recording.session import Session

__all__ = ["CaptureScope", "capture"]


def capture(
    out: str | os.PathLike[str] | None = None,
    *,
    dialect: str | Iterable[str] = "stablehlo",
    xla_dump: bool | str | Iterable[str] = (),
    data: str = "inputs",
    portable: bool = False,
    profile: bool = False,
    trace_eager: bool = False,
    strict: bool = False,
) -> CaptureScope:
    """Capture the whole program of every predict call in a ``with`` block.

    Parameters
    ----------
    out : str or path, optional
        The parent folder; each capture makes a folder ``run-...`` of its own in it and never
        overwrites one. Default: ``brainpy-probe`` in the working directory.
    dialect : str or iterable of str
        ``"stablehlo"``, ``"mhlo"``, ``"hlo"``, or several of them.
    xla_dump : str, iterable of str or bool
        What XLA is to dump for each module that is compiled in the block: ``"text"``, ``"dot"``,
        ``"html"``, ``"proto"``, several of them, or True for all; buffer assignment, LLVM IR and
        object files come along where XLA writes them.
    data : str
        Which arrays are written beside the texts: ``"none"``; ``"inputs"`` (constants, initial
        state and inputs; of the results their digests); or ``"full"`` (the results too).
    portable : bool
        Lower each program once more, from the same trace, without the kernels that only BrainPy
        has, for compilers that have never heard of them; :attr:`Program.portable` has that form.
        BrainPy's backends, JAX's caches and the native run are left alone.
    profile : bool
        Measure how long each component of the model runs: after a program's first run, a copy of it
        is compiled, runs on the same arrays three times more, the last time under XLA's profiler;
        :attr:`Program.measured` has the seconds. The native run is left alone.
    trace_eager : bool
        Trace the step of a run that BrainPy does not compile (``jit=False``, or JAX's
        ``jax_disable_jit``), and capture that as its program. Such a run has no program of its
        own: the step's Python runs once more, before the run, for each new program. Its effects
        are then undone where the probe can reach them: Variables, random states, attributes,
        containers, NumPy arrays, globals and closure cells of the model's functions. It can't undo
        what was drawn from iterators and generators in closures, tuples or slots, what was written
        to a ``bytearray``, an ``array.array``, a file or a file descriptor, nor changes of context
        variables, of ``os.environ`` and of attributes of functions.
    strict : bool
        Raise a :class:`ProbeError` after the run when the probe itself fails, where otherwise the
        failure becomes a warning and a record.

    Returns
    -------
    CaptureScope
        A context manager that gives a :class:`Capture`.

    Raises
    ------
    UnknownDialect
        If a dialect is not one of those above.
    BadSetting
        If another argument has a value that is not allowed.

    Examples
    --------
    >>> with probe.capture("einet-probe", dialect="mhlo") as cap:
    ...     runner.run(1000.0)
    >>> print(cap)
    """
    return CaptureScope(
        Settings.of_arguments(
            out=out,
            dialect=dialect,
            xla_dump=xla_dump,
            data=data,
            portable=portable,
            profile=profile,
            trace_eager=trace_eager,
            strict=strict,
        )
    )


class CaptureScope:
    """The ``with`` block of one capture; made by :func:`capture`, used once."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._session: Session | None = None

    def __enter__(self) -> Capture:
        """Open the capture.

        Raises
        ------
        PrivateNameMissing
            If BrainPy or JAX is missing, or of a version that the probe can't work with.
        CannotWrite
            If the capture folder can't be made or written; it is an OSError.
        """
        # Late, since importing brainpy_probe must import neither jax nor brainpy.
        from brainpy_probe.compat import versions
        from brainpy_probe.recording import hooks
        from brainpy_probe.recording.modules import phase_events
        from brainpy_probe.recording.patches import LEDGER
        from brainpy_probe.recording.session import Session

        if self._session is not None:
            raise BadSetting("This capture was used already.", "Call capture() for each block.")
        versions.resolve()
        phase_events.install_listeners()
        patches = hooks.patches()
        try:
            session = self._session = Session(self._settings)
        except OSError as error:
            raise CannotWrite(self._settings.out, error) from error
        try:
            LEDGER.enter(session, patches)
        except BaseException:
            session.discard()
            raise
        return session.capture

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the capture and put every patched attribute back.

        Raises
        ------
        ProbeError
            With ``strict=True``, if the manifest can't be written; never over the block's own
            exception.
        """
        from brainpy_probe.recording.patches import LEDGER

        if self._session is None:
            return
        try:
            LEDGER.leave(self._session)
        finally:
            problem = self._session.close()
        if problem is not None and error is None:
            raise problem
