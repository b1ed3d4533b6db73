"""Patches of a class go in and come out exactly, whoever else patches it."""

from __future__ import annotations

from typing import Any, cast

import pytest
import wrapt

from brainpy_probe.recording.patches import ActiveRecorders, Patch

SEEN: list[str] = []


class Target:
    """A class to be patched."""

    def method(self, x: int) -> int:
        return x + 1

    @classmethod
    def of_class(cls, x: int) -> str:
        return f"{cls.__name__} {x}"

    @staticmethod
    def alone(x: int) -> int:
        return -x


class Heir(Target):
    """A class that inherits what is to be patched."""


@pytest.fixture(autouse=True)
def _targets_stay_as_they_are() -> Any:
    SEEN.clear()
    before = [dict(vars(cls)) for cls in (Target, Heir)]
    yield
    assert [dict(vars(cls)) for cls in (Target, Heir)] == before


def _note(wrapped: Any, _: Any, args: Any, kwargs: Any) -> Any:
    SEEN.append(wrapped.__name__)
    return wrapped(*args, **kwargs)


def _others(wrapped: Any, _: Any, args: Any, kwargs: Any) -> Any:
    SEEN.append("other")
    return wrapped(*args, **kwargs)


METHOD = Patch(Target, "method", _note)


ALL = [Patch(Target, name, _note) for name in ("method", "of_class", "alone")]


def test_a_later_user_brings_what_is_not_in_yet() -> None:
    before = dict(vars(Target))
    active, one, other = ActiveRecorders(), object(), object()
    active.enter(one, ALL[:1])
    active.enter(other, ALL)
    assert (Target().method(1), Target.alone(3)) == (2, -3)
    assert SEEN == ["method", "alone"], "and each is in but once"
    with pytest.raises(AttributeError):
        active.extend([Patch(Heir, "method", _note), Patch(Heir, "absent", _note)])
    assert "method" not in vars(Heir), "all of them or none"
    active.leave(other)
    assert Target.alone(3) == -3
    assert SEEN == ["method", "alone", "alone"]
    active.leave(one)
    assert dict(vars(Target)) == before


def test_the_last_user_puts_the_very_same_objects_back() -> None:
    before = dict(vars(Target))
    active, one, other = ActiveRecorders(), object(), object()
    active.enter(one, ALL)
    active.enter(other, ALL)
    assert (Target().method(1), Target.of_class(2), Target.alone(3)) == (2, "Target 2", -3)
    assert (Heir().method(1), Heir.of_class(2), Heir().alone(3)) == (2, "Heir 2", -3)
    assert SEEN == ["method", "of_class", "alone"] * 2, "each call is seen once for all users"
    active.leave(one)
    assert active.users == (other,)
    assert Target().method(1) == 2
    assert SEEN[6:] == ["method"]
    active.leave(other)
    after = dict(vars(Target))
    assert list(after) == list(before)
    assert all(after[name] is before[name] for name in before)
    assert Target().method(1) == 2
    assert SEEN[7:] == []


def test_users_are_distinguished_by_identity() -> None:
    active, one, other = ActiveRecorders(), [1], [1]
    active.enter(one, [METHOD])
    active.enter(other, [METHOD])
    active.leave(other)
    assert len(active.users) == 1
    assert active.users[0] is one
    active.leave(one)


def test_an_inherited_attribute_is_inherited_again_afterwards() -> None:
    active = ActiveRecorders()
    active.enter(0, [Patch(Heir, "method", _note)])
    assert Heir().method(1) == Target().method(1) == 2
    assert SEEN == ["method"], "the base class is left alone"
    active.leave(0)
    assert "method" not in vars(Heir)
    assert Heir().method(1) == 2


@pytest.mark.parametrize(
    "second", [Patch(int, "bit_length", _note), Patch(Heir, "not_there", _note)], ids=["int", "no"]
)
def test_a_patch_that_fails_takes_the_earlier_ones_out_again(second: Patch) -> None:
    original = vars(Target)["method"]
    active = ActiveRecorders()
    with pytest.raises((TypeError, AttributeError)):
        active.enter(0, [METHOD, second])
    assert vars(Target)["method"] is original
    assert active.users == ()
    active.enter(0, [METHOD])
    Target().method(1)
    assert SEEN == ["method"]
    active.leave(0)


def test_another_tools_wrapper_over_ours_stays() -> None:
    original = vars(Target)["method"]
    active = ActiveRecorders()
    try:
        active.enter(0, [METHOD])
        wrapt.wrap_function_wrapper(Target, "method", _others)
        theirs = vars(Target)["method"]
        active.leave(0)
        assert vars(Target)["method"] is theirs
        for user in (1, 2):
            SEEN.clear()
            active.enter(user, [METHOD])
            assert Target().method(1) == 2
            assert SEEN == ["other", "method"], "ours lies beneath theirs, once"
            active.leave(user)
            assert vars(Target)["method"] is theirs
        cast("Any", Target).method = theirs.__wrapped__
        active.enter(3, [METHOD])
        active.leave(3)
        assert vars(Target)["method"] is original
    finally:
        cast("Any", Target).method = original


def test_a_tool_may_put_the_original_back_itself() -> None:
    original = vars(Target)["method"]
    active = ActiveRecorders()
    active.enter(0, [METHOD])
    cast("Any", Target).method = original
    active.leave(0)
    assert vars(Target)["method"] is original
    active.enter(1, [METHOD])
    Target().method(1)
    assert SEEN == ["method"]
    active.leave(1)
