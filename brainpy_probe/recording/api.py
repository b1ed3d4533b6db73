"""The context manager ``capture()``: checks its arguments, and opens and closes a session."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import TYPE_CHECKING

from brainpy_probe.errors import BadSetting, CannotWrite
from brainpy_probe.reader.capture import Capture
from brainpy_probe.settings import Settings

if TYPE_CHECKING:
    from brainpy_probe.recording.sessions.session import Session

__all__ = ["CaptureScope", "capture"]


def capture(
    out: str | os.PathLike[str] | None = None,
    *,
    dialect: str | Iterable[str] = "stablehlo",
    xla_dump: bool | str | Iterable[str] = (),
    data: str = "inputs",
    portable: bool = False,
    step: bool = False,
    profile: bool = False,
    trace_eager: bool = False,
    strict: bool = False,
) -> CaptureScope:
    """Capture the whole program of every predict call in a ``with`` block.

    Parameters
    ----------
    out : str or path, optional
        The parent folder. Each capture makes its own folder ``run-...`` in it, and overwrites
        nothing. Default: ``brainpy-probe`` in the working directory.
    dialect : str or iterable of str
        ``"stablehlo"``, ``"mhlo"``, ``"hlo"``, or several of them.
    xla_dump : str, iterable of str or bool
        The files that XLA dumps for each module compiled in the block: ``"text"``, ``"dot"``,
        ``"html"``, ``"proto"``, several of them, or True for all. XLA also writes buffer
        assignment, LLVM IR and object files, depending on the backend.
    data : str
        The arrays that are stored: ``"none"``; ``"inputs"`` (constants, initial state and inputs,
        and digests of the results); or ``"full"`` (the results too).
    portable : bool
        Also lower each program, from the same trace, without the kernels that only BrainPy has, for
        other compilers. :attr:`Program.portable` has the result. BrainPy's backends, JAX's caches
        and the native run are not affected.
    step : bool
        Also write the program of one step of each loop, from the same trace:
        ``step(constants, state, inputs) -> {outputs, monitors, state}``. It has no number of steps,
        and is for compilers that run the loop themselves. :attr:`Program.step` has the result.
    profile : bool
        Measure the run time of each component of the model. After a program's first run, a copy of
        it is compiled and runs three times on the same arrays, the last time under XLA's profiler.
        :attr:`Program.measured` has the seconds. The native run is not affected.
    trace_eager : bool
        Trace the step of a run that BrainPy does not compile (``jit=False``, or JAX's
        ``jax_disable_jit``), and capture it as the run's program. For this, the step's Python code
        runs once more before the run, for each new program. The probe then undoes its effects on
        Variables, random states, attributes, containers, NumPy arrays, globals and closure cells of
        the model's functions. It cannot undo effects on iterators and generators in closures,
        tuples or slots, on a ``bytearray``, an ``array.array``, a file or a file descriptor, on
        context variables, on ``os.environ``, and on attributes of functions.
    strict : bool
        Raise a :class:`ProbeError` after the run if the probe itself fails. Otherwise a failure
        becomes a warning and a record.

    Returns
    -------
    CaptureScope
        A context manager that returns a :class:`Capture`.

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
            step=step,
            profile=profile,
            trace_eager=trace_eager,
            strict=strict,
        )
    )


class CaptureScope:
    """The context manager of one capture, made by :func:`capture`. It can be used only once."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._session: Session | None = None
        self._stop_waiting: Callable[[], None] = lambda: None

    def __enter__(self) -> Capture:
        """Open the capture.

        Raises
        ------
        PrivateNameMissing
            If BrainPy (or brainstate) or JAX is missing, or its version is not supported.
        CannotWrite
            If the capture folder can't be made or written. It is an OSError.
        """
        # Imported here, because importing brainpy_probe must import neither jax nor brainpy.
        from brainpy_probe.compat import versions
        from brainpy_probe.recording import hooks
        from brainpy_probe.recording.modules import phase_events
        from brainpy_probe.recording.patches import ACTIVE
        from brainpy_probe.recording.sessions.session import Session

        if self._session is not None:
            raise BadSetting("This capture was used before.", "Call capture() for each block.")
        versions.resolve()
        phase_events.install_listeners()
        patches = hooks.patches()
        try:
            session = self._session = Session(self._settings)
        except OSError as error:
            raise CannotWrite(self._settings.out, error) from error
        try:
            ACTIVE.enter(session, patches)
        except BaseException:
            session.discard()
            raise
        self._stop_waiting = hooks.patch_when_imported(hooks.patches, session.report_failure)
        return session.capture

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the capture and restore every patched attribute.

        Raises
        ------
        ProbeError
            With ``strict=True``, if the manifest can't be written, and the block itself has raised
            no exception.
        """
        if self._session is None:
            return
        from brainpy_probe.recording import lifecycle
        from brainpy_probe.recording.patches import ACTIVE

        self._stop_waiting()
        lifecycle.end_abandoned()
        try:
            ACTIVE.leave(self._session)
        finally:
            problem = self._session.close()
        if problem is not None and error is None:
            raise problem
