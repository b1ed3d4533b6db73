"""Renders the program of a run while XLA compiles it, in a thread.

The jaxpr is complete by then, and the run's own thread waits for XLA without Python's lock. The
thread is gone before that one goes on: it never runs while the simulation's Python does.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

from brainpy_probe.compat import jax_tracing
from brainpy_probe.recording.calls import OWN_WORK, RunningCall
from brainpy_probe.recording.patches import LEDGER

__all__ = ["rendering_ahead"]

# The name of the thread.
_NAME = "brainpy-probe"


@contextlib.contextmanager
def rendering_ahead(call: RunningCall | None, module: str) -> Iterator[None]:
    """Render the program of a call in a thread, which has ended when the block has.

    Without a thread nothing is lost: what is not rendered by the end of the call is rendered then.

    Parameters
    ----------
    call : RunningCall or None
        The call for which XLA compiles a module in the block.
    module : str
        The module's name.
    """
    if call is None or not call.compiles(module):
        yield
        return
    thread = threading.Thread(
        target=_render, args=(call, jax_tracing.trace_settings()), name=_NAME, daemon=True
    )
    try:
        thread.start()
    except RuntimeError:  # the interpreter is ending, or the system has no more threads
        yield
        return
    try:
        yield
    finally:
        with call.noting():
            thread.join()


def _render(call: RunningCall, settings: object) -> None:
    """Have each session render the program of a call.

    A setting of JAX's that holds in the run's thread alone (``jax.enable_x64`` as a context, a
    device) does not hold in this one: then the program is rendered at the end of the call.
    """
    with contextlib.suppress(Exception):  # rendered at the end of the call, where it is recorded
        if jax_tracing.trace_settings() == settings:
            OWN_WORK.set(True)
            for session in LEDGER.users:
                session.compiles(call)
