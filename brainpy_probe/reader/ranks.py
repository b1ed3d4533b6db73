"""Finds the captures of the other processes of a distributed run."""

from __future__ import annotations

from pathlib import Path

from brainpy_probe.analysis.ranks import Ranks, compare_ranks
from brainpy_probe.errors import DamagedCapture
from brainpy_probe.format.manifest.records import Manifest
from brainpy_probe.format.reading import read_manifest

__all__ = ["ranks_of"]


def ranks_of(path: Path, manifest: Manifest) -> Ranks | None:
    """Return a comparison of the captures of one distributed run, one for each process.

    These captures are in the same folder, and belong to the same session of ``jax.distributed``.
    Damaged captures are left out.

    Parameters
    ----------
    path : Path
        The folder of one of the captures.
    manifest : Manifest
        Its records.

    Returns
    -------
    Ranks or None
        None if the run had only one process, or its session is not known.
    """
    own = manifest.environment.rank
    if own is None or not own.session:
        return None
    found = {own.index: (path.name, manifest)}
    for folder in path.parent.glob("run-*-rank*"):
        try:
            _, other = read_manifest(folder)
        except (OSError, DamagedCapture):
            continue
        rank = other.environment.rank
        if rank is not None and (rank.session, rank.capture) == (own.session, own.capture):
            found.setdefault(rank.index, (folder.name, other))
    return compare_ranks([found[index] for index in sorted(found)])
