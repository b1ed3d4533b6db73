"""Patches of a class are applied and removed exactly, even if another tool patches it."""

from __future__ import annotations

from typing import Any, cast

import pytest
import wrapt

from brainpy_probe.recording.patches import ActiveRecorders, Patch

SEEN: list[str] = []


class Target:
    """A class that the tests patch."""

    def method(self, x: int) -> int:
        return x + 1

    @classmethod
    def of_class(cls, x: int) -> str:
        return f"{cls.__name__} {x}"

    @staticmethod
    def alone(x: int) -> int:
        return -x


class Subclass(Target):
    """A class that inherits the patched attributes."""


@pytest.fixture(autouse=True)
def _targets_are_restored() -> Any:
    SEEN.clear()
    before = [dict(vars(cls)) for cls in (Target, Subclass)]
    yield
    assert [dict(vars(cls)) for cls in (Target, Subclass)] == before


def _record_call(wrapped: Any, _: Any, args: Any, kwargs: Any) -> Any:
    SEEN.append(wrapped.__name__)
    return wrapped(*args, **kwargs)


def _other_wrapper(wrapped: Any, _: Any, args: Any, kwargs: Any) -> Any:
    SEEN.append("other")
    return wrapped(*args, **kwargs)


METHOD = Patch(Target, "method", _record_call)


ALL = [Patch(Target, name, _record_call) for name in ("method", "of_class", "alone")]


def test_a_later_user_adds_missing_patches() -> None:
    before = dict(vars(Target))
    active, first, second = ActiveRecorders(), object(), object()
    active.enter(first, ALL[:1])
    active.enter(second, ALL)
    assert (Target().method(1), Target.alone(3)) == (2, -3)
    assert SEEN == ["method", "alone"], "a patch was applied twice"
    with pytest.raises(AttributeError):
        active.extend(
            [Patch(Subclass, "method", _record_call), Patch(Subclass, "absent", _record_call)]
        )
    assert "method" not in vars(Subclass), "a part of the patches was applied"
    active.leave(second)
    assert Target.alone(3) == -3
    assert SEEN == ["method", "alone", "alone"]
    active.leave(first)
    assert dict(vars(Target)) == before


def test_the_last_user_restores_the_same_objects() -> None:
    before = dict(vars(Target))
    active, first, second = ActiveRecorders(), object(), object()
    active.enter(first, ALL)
    active.enter(second, ALL)
    assert (Target().method(1), Target.of_class(2), Target.alone(3)) == (2, "Target 2", -3)
    assert (Subclass().method(1), Subclass.of_class(2), Subclass().alone(3)) == (
        2,
        "Subclass 2",
        -3,
    )
    assert SEEN == ["method", "of_class", "alone"] * 2, "a call was recorded once per user"
    active.leave(first)
    assert active.users == (second,)
    assert Target().method(1) == 2
    assert SEEN[6:] == ["method"]
    active.leave(second)
    after = dict(vars(Target))
    assert list(after) == list(before)
    assert all(after[name] is before[name] for name in before)
    assert Target().method(1) == 2
    assert SEEN[7:] == []


def test_users_are_distinguished_by_identity() -> None:
    active, first, second = ActiveRecorders(), [1], [1]
    active.enter(first, [METHOD])
    active.enter(second, [METHOD])
    active.leave(second)
    assert len(active.users) == 1
    assert active.users[0] is first
    active.leave(first)


def test_a_patched_inherited_attribute_is_inherited_again() -> None:
    active = ActiveRecorders()
    active.enter(0, [Patch(Subclass, "method", _record_call)])
    assert Subclass().method(1) == Target().method(1) == 2
    assert SEEN == ["method"], "the base class was patched"
    active.leave(0)
    assert "method" not in vars(Subclass)
    assert Subclass().method(1) == 2


@pytest.mark.parametrize(
    "second",
    [Patch(int, "bit_length", _record_call), Patch(Subclass, "not_there", _record_call)],
    ids=["int", "no"],
)
def test_a_failing_patch_removes_the_earlier_ones(second: Patch) -> None:
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
        wrapt.wrap_function_wrapper(Target, "method", _other_wrapper)
        other = vars(Target)["method"]
        active.leave(0)
        assert vars(Target)["method"] is other
        for user in (1, 2):
            SEEN.clear()
            active.enter(user, [METHOD])
            assert Target().method(1) == 2
            assert SEEN == ["other", "method"], (
                "our wrapper is not below the other one, or there twice"
            )
            active.leave(user)
            assert vars(Target)["method"] is other
        cast("Any", Target).method = other.__wrapped__
        active.enter(3, [METHOD])
        active.leave(3)
        assert vars(Target)["method"] is original
    finally:
        cast("Any", Target).method = original


def test_another_tool_can_restore_the_original() -> None:
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
