"""What JAX has set up in this process: ``jax.distributed``, and the folder of CUDA."""

from __future__ import annotations

import contextlib
import uuid

from brainpy_probe.compat.lookup import NAMES, PrivateName, take
from brainpy_probe.errors import PrivateNameMissing

__all__ = ["cuda_folder", "session"]

NAMES.update(
    {
        "distributed": PrivateName(
            "the state of jax.distributed",
            ("jax._src.distributed:global_state",),
            "jax 0.4.13, 0.4.23, 0.4.30, 0.10.2, 0.12.0: client, which has key_value_set and "
            "blocking_key_value_get",
            optional=True,
        ),
        "cuda": PrivateName(
            "the folder of CUDA's compiler and libraries",
            ("jax._src.lib:cuda_path",),
            "jax 0.4.13, 0.4.23, 0.4.30, 0.10.2, 0.12.0: a path or None. JAX passes it to XLA as "
            "xla_gpu_cuda_data_dir (_src/compiler.py: get_compile_options)",
            optional=True,
        ),
    }
)

_KEY = "brainpy_probe/session"
_MILLISECONDS = 2_000


def session() -> str:
    """Return a name shared by all processes of one ``jax.distributed`` program; empty without one.

    The first process that asks stores the name at the coordinator. No process waits for another.
    """
    try:
        client = take("distributed").client
    except PrivateNameMissing:
        return ""
    if client is None:
        return ""
    try:
        with contextlib.suppress(Exception):  # another process has set it
            client.key_value_set(_KEY, uuid.uuid4().hex)
        return str(client.blocking_key_value_get(_KEY, _MILLISECONDS))
    except Exception:  # the coordinator does not answer
        return ""


def cuda_folder() -> str:
    """Return the folder of CUDA's compiler and libraries that JAX passes to XLA; empty if none."""
    try:
        return str(take("cuda") or "")
    except PrivateNameMissing:
        return ""
