"""The zoo itself, without the probe: the same each time, and complete but for what is said."""

from __future__ import annotations

from typing import Any

import brainpy.math as bm
import pytest

from tests import watching
from tests.networks import ABSENT, NETWORKS, SEED, UNSTABLE_NAMES, Case, by_name

ALL = NETWORKS + UNSTABLE_NAMES


@pytest.mark.parametrize("case", ALL, ids=lambda case: case.name)
def test_two_builds_leave_the_same_in_each_of_three_runs(case: Case) -> None:
    one, other = _three_runs(case), _three_runs(case)
    for number, (left, expected) in enumerate(zip(one, other, strict=True)):
        watching.assert_same_left(case, left, expected, number)
    assert one[0] != one[1] or case.name == "bpff-trainer-predict", "a run leaves nothing behind"


def _three_runs(case: Case) -> list[dict[str, Any]]:
    runner = case.build()
    return [watching.run(case, runner).left for _ in range(3)]


def test_names_are_those_of_one_build_alone_only_where_that_is_said() -> None:
    for case in UNSTABLE_NAMES:
        runners = [case.build(), case.build()]
        one, other = [set(runner.target.vars(method="relative")) for runner in runners]
        assert one != other, case.name


def test_every_case_runs_or_is_said_to_be_absent() -> None:
    names = [case.name for case in ALL]
    assert len(set(names)) == len(names)
    assert not set(names) & set(ABSENT)
    assert len(names) + len(ABSENT) == 36
    assert all(by_name(name).name == name for name in [*names, *ABSENT])
    with pytest.raises(KeyError):
        by_name("no-such-case")


@pytest.mark.parametrize("name", ABSENT or ["none"])
def test_what_is_said_to_be_absent_can_not_be_run(name: str) -> None:
    if name == "none":
        assert not ABSENT
        return
    case = by_name(name)
    with pytest.raises(AttributeError):
        case.run(case.build())
    bm.random.seed(SEED)
