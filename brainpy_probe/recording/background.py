"""Renders the program of a run in a thread, while XLA compiles the run.

At that time the jaxpr is complete, and the run's thread waits for XLA without holding Python's
global lock. The rendering thread ends before the run continues, so that it never runs at the same
time as the simulation's Python code.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

from brainpy_probe.compat import jax_tracing
from brainpy_probe.recording.calls import RunningCall
from brainpy_probe.recording.current import OWN_WORK
from brainpy_probe.recording.patches import ACTIVE
from brainpy_probe.user_warnings import warn

__all__ = ["rendering_ahead"]

# The name of the thread.
_NAME = "brainpy-probe"


@contextlib.contextmanager
def rendering_ahead(call: RunningCall | None, module: str) -> Iterator[None]:
    """Render the program of a call in a thread, which ends with the block.

    If no thread can be started, the program is rendered at the end of the call.

    Parameters
    ----------
    call : RunningCall or None
        The call for which XLA compiles a module in the block.
    module : str
        The module's name.
    """
    if call is None or not call.may_compile(module):
        yield
        return
    thread = threading.Thread(
        target=_render, args=(call, jax_tracing.trace_settings()), name=_NAME, daemon=True
    )
    try:
        thread.start()
    except RuntimeError:  # the interpreter exits, or the system has no more threads
        yield
        return
    try:
        yield
    finally:
        with call.own_work():
            thread.join()
            for ahead in call.ahead.values():
                for sentence in ahead.warnings:
                    warn(sentence)


def _render(call: RunningCall, settings: object) -> None:
    """Have each session render the program of a call, in this thread.

    This thread lacks settings of JAX that hold only in the run's thread (``jax.enable_x64`` as a
    context, a device). If there are any, the program is rendered at the end of the call.
    """
    with contextlib.suppress(Exception):  # the failure shows at the end of the call
        if jax_tracing.trace_settings() == settings:
            OWN_WORK.set(True)
            for session in ACTIVE.users:
                session.render_ahead(call)
