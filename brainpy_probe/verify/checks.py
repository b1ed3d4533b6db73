"""The record of one check."""

from __future__ import annotations

from typing import Literal

import msgspec

__all__ = ["Check", "Outcome", "failed", "noted", "passed", "undecided"]

Outcome = Literal["passed", "failed", "noted", "undecided"]


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One check and its outcome.

    Attributes
    ----------
    subject : str
        The object of the check: ``files``, ``program 0``, ``program 0, portable``, ``module 3``.
    name : str
        The check.
    outcome : str
        ``passed``; ``failed``; ``noted``: a remark, not a fault; ``undecided``: this capture does
        not contain enough to decide.
    reason : str
        The result in words; for a fault, the file.
    """

    subject: str
    name: str
    outcome: Outcome
    reason: str


def passed(subject: str, name: str, reason: str) -> Check:
    """Return a check that passed."""
    return Check(subject=subject, name=name, outcome="passed", reason=reason)


def failed(subject: str, name: str, reason: str) -> Check:
    """Return a check that failed."""
    return Check(subject=subject, name=name, outcome="failed", reason=reason)


def noted(subject: str, name: str, reason: str) -> Check:
    """Return a remark."""
    return Check(subject=subject, name=name, outcome="noted", reason=reason)


def undecided(subject: str, name: str, reason: str) -> Check:
    """Return a check that could not be decided."""
    return Check(subject=subject, name=name, outcome="undecided", reason=reason)
