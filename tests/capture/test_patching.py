"""Patches go in and come out exactly, whoever else patches the same attribute."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import brainpy as bp
import brainpy.math as bm
import jax
import pytest
import wrapt

import brainpy_probe as probe
from brainpy_probe.recording import hooks
from brainpy_probe.recording.patches import LEDGER, Ledger, Patch
from brainpy_probe.recording.session import Session
from brainpy_probe.settings import Settings
from tests.eras import SINCE_2_4, DynamicalSystem, jit
from tests.networks import by_name
from tests.watching import PATCHED

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


# --- on classes of our own --------------------------------------------------------------------


def test_a_later_user_brings_what_is_not_in_yet() -> None:
    before = dict(vars(Target))
    ledger, one, other = Ledger(), object(), object()
    ledger.enter(one, ALL[:1])
    ledger.enter(other, ALL)
    assert (Target().method(1), Target.alone(3)) == (2, -3)
    assert SEEN == ["method", "alone"], "and each is in but once"
    with pytest.raises(AttributeError):
        ledger.extend([Patch(Heir, "method", _note), Patch(Heir, "absent", _note)])
    assert "method" not in vars(Heir), "all of them or none"
    ledger.leave(other)
    assert Target.alone(3) == -3
    assert SEEN == ["method", "alone", "alone"]
    ledger.leave(one)
    assert dict(vars(Target)) == before


def test_the_last_user_puts_the_very_same_objects_back() -> None:
    before = dict(vars(Target))
    ledger, one, other = Ledger(), object(), object()
    ledger.enter(one, ALL)
    ledger.enter(other, ALL)
    assert (Target().method(1), Target.of_class(2), Target.alone(3)) == (2, "Target 2", -3)
    assert (Heir().method(1), Heir.of_class(2), Heir().alone(3)) == (2, "Heir 2", -3)
    assert SEEN == ["method", "of_class", "alone"] * 2, "each call is seen once for all users"
    ledger.leave(one)
    assert ledger.users == (other,)
    assert Target().method(1) == 2
    assert SEEN[6:] == ["method"]
    ledger.leave(other)
    after = dict(vars(Target))
    assert list(after) == list(before)
    assert all(after[name] is before[name] for name in before)
    assert Target().method(1) == 2
    assert SEEN[7:] == []


def test_users_are_told_apart_by_identity() -> None:
    ledger, one, other = Ledger(), [1], [1]
    ledger.enter(one, [METHOD])
    ledger.enter(other, [METHOD])
    ledger.leave(other)
    assert len(ledger.users) == 1
    assert ledger.users[0] is one
    ledger.leave(one)


def test_an_inherited_attribute_is_inherited_again_afterwards() -> None:
    ledger = Ledger()
    ledger.enter(0, [Patch(Heir, "method", _note)])
    assert Heir().method(1) == Target().method(1) == 2
    assert SEEN == ["method"], "the base class is left alone"
    ledger.leave(0)
    assert "method" not in vars(Heir)
    assert Heir().method(1) == 2


@pytest.mark.parametrize(
    "second", [Patch(int, "bit_length", _note), Patch(Heir, "not_there", _note)], ids=["int", "no"]
)
def test_a_patch_that_fails_takes_the_earlier_ones_out_again(second: Patch) -> None:
    original = vars(Target)["method"]
    ledger = Ledger()
    with pytest.raises((TypeError, AttributeError)):
        ledger.enter(0, [METHOD, second])
    assert vars(Target)["method"] is original
    assert ledger.users == ()
    ledger.enter(0, [METHOD])
    Target().method(1)
    assert SEEN == ["method"]
    ledger.leave(0)


def test_another_tools_wrapper_over_ours_stays_and_ours_serves_again() -> None:
    original = vars(Target)["method"]
    ledger = Ledger()
    try:
        ledger.enter(0, [METHOD])
        wrapt.wrap_function_wrapper(Target, "method", _others)
        theirs = vars(Target)["method"]
        ledger.leave(0)
        assert vars(Target)["method"] is theirs
        for user in (1, 2):
            SEEN.clear()
            ledger.enter(user, [METHOD])
            assert Target().method(1) == 2
            assert SEEN == ["other", "method"], "ours lies beneath theirs, once"
            ledger.leave(user)
            assert vars(Target)["method"] is theirs
        cast("Any", Target).method = theirs.__wrapped__
        ledger.enter(3, [METHOD])
        ledger.leave(3)
        assert vars(Target)["method"] is original
    finally:
        cast("Any", Target).method = original


def test_a_tool_that_puts_the_original_back_itself_is_left_its_way() -> None:
    original = vars(Target)["method"]
    ledger = Ledger()
    ledger.enter(0, [METHOD])
    cast("Any", Target).method = original
    ledger.leave(0)
    assert vars(Target)["method"] is original
    ledger.enter(1, [METHOD])
    Target().method(1)
    assert SEEN == ["method"]
    ledger.leave(1)


# --- on this stack ----------------------------------------------------------------------------


def test_all_that_a_capture_patches_is_watched_in_every_test() -> None:
    """The list that tests watch is written by hand; what the probe patches must be in it."""
    watched = [(id(owner), name) for owner, name in PATCHED]
    # Runners that test modules define are watched as they come.
    ours = [
        patch
        for patch in hooks.patches()
        if not getattr(patch.owner, "__module__", "").startswith("tests.test_")
    ]
    assert ours
    for patch in ours:
        assert (id(patch.owner), patch.name) in watched, f"{patch.owner!r}.{patch.name}"


def test_all_that_is_watched_exists_once() -> None:
    assert len({(id(owner), name) for owner, name in PATCHED}) == len(PATCHED)
    for owner, name in PATCHED:
        assert name in vars(owner)


# --- on BrainPy -------------------------------------------------------------------------------


class Counter(DynamicalSystem):
    """A model that counts its steps."""

    def __init__(self) -> None:
        super().__init__()
        self.n = bm.Variable(bm.zeros(2))

    def update(self) -> Any:
        self.n.value = self.n + 1.0
        return self.n.value


class Loner(bp.DSRunner):
    """A runner that runs the model in its own way."""

    def predict(self, *_: Any, **__: Any) -> Any:
        # A loop of BrainPy 2.3 must be told its Variables; its runners compile it as a whole.
        given = {} if SINCE_2_4 else {"dyn_vars": self.target.vars()}

        def loop() -> Any:
            return bm.for_loop(lambda _: self.target(), bm.arange(7), **given)

        return loop() if SINCE_2_4 else jit(loop, self.target)()


def _count(out: Path, runs: int, runner: bp.DSRunner) -> None:
    with probe.capture(out, strict=True) as cap:
        for _ in range(runs):
            runner.run(0.5)
    assert [call.model for call in cap.calls] == ["Counter"] * runs


def test_each_of_several_open_captures_sees_the_calls_of_its_block(tmp_path: Path) -> None:
    runner = bp.DSRunner(Counter(), progress_bar=False)
    with probe.capture(tmp_path / "outer", strict=True) as outer:
        runner.run(0.5)
        with probe.capture(tmp_path / "inner", strict=True) as inner:
            runner.run(0.8)
        runner.run(0.4)
    assert [call.steps for call in outer.calls] == [5, 8, 4]
    assert [call.steps for call in inner.calls] == [8]
    assert outer.calls[1].digests == inner.calls[0].digests


def test_an_exception_in_the_block_goes_through_and_the_patches_go(out: Path) -> None:
    runner = bp.DSRunner(Counter(), progress_bar=False)
    original = vars(bp.DSRunner)["predict"]
    error = KeyError("the user's own")
    scope = probe.capture(out)

    def block() -> None:
        with scope:
            assert vars(bp.DSRunner)["predict"] is not original
            runner.run(0.5)
            raise error

    with pytest.raises(KeyError) as raised:
        block()
    assert raised.value is error
    assert vars(bp.DSRunner)["predict"] is original
    (folder,) = out.iterdir()
    loaded = probe.load(folder)
    assert loaded.manifest.complete
    assert [call.error for call in loaded.calls] == [None]


def _lose_the_folder(parent: Path, error: Exception | None) -> bool:
    """Put a file where the capture's folder was, in the block; then the disk might be full too."""
    with probe.capture(parent / "captures"):
        (parent / "captures").rename(parent / "elsewhere")
        (parent / "captures").write_text("mine")
        if error is not None:
            raise error
    return True


def test_a_folder_lost_in_the_block_never_stops_the_block(tmp_path: Path) -> None:
    assert _lose_the_folder(tmp_path, None)


def test_a_folder_lost_in_the_block_never_hides_an_exception(tmp_path: Path) -> None:
    error = KeyError("the user's own")
    with pytest.raises(KeyError) as raised:
        _lose_the_folder(tmp_path, error)
    assert raised.value is error


def test_a_subclass_that_never_calls_super_is_seen(out: Path) -> None:
    runner = Loner(Counter(), progress_bar=False)
    with probe.capture(out, strict=True) as cap:
        runner.run(0.5)
    (call,) = cap.calls
    assert (call.record.runner, call.model) == ("Loner", "Counter")
    assert call.program is not None
    assert call.program.kind == "loop"


def test_without_its_hooks_the_probe_sees_nothing(out: Path) -> None:
    """Shows that the tests which count calls fail when the hook is missing."""
    case = by_name("lif")
    runner = case.build()
    session = Session(Settings.of_arguments(out=out, strict=True))
    LEDGER.enter(session, [])
    case.run(runner)
    LEDGER.leave(session)
    session.close()
    assert session.capture.calls == ()
    with pytest.raises(probe.ProbeError, match="no runner's predict was called"):
        _ = session.capture.text


def test_a_wrapper_laid_over_ours_in_a_capture_does_no_harm(out: Path) -> None:
    original = vars(bp.DSRunner)["predict"]
    runner = bp.DSRunner(Counter(), progress_bar=False)
    try:
        with probe.capture(out, strict=True) as first:
            wrapt.wrap_function_wrapper(bp.DSRunner, "predict", _others)
            theirs = vars(bp.DSRunner)["predict"]
            runner.run(0.5)
        assert vars(bp.DSRunner)["predict"] is theirs
        runner.run(0.5)
        assert len(first.calls) == 1, "ours is idle"
        _count(out, 2, runner)
        assert vars(bp.DSRunner)["predict"] is theirs
        assert SEEN == ["other"] * 4, "theirs goes on"
        cast("Any", bp.DSRunner).predict = theirs.__wrapped__
        _count(out, 1, runner)
        assert vars(bp.DSRunner)["predict"] is original
    finally:
        cast("Any", bp.DSRunner).predict = original


def test_a_tool_around_scan_needs_no_signature(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    native = jax.lax.scan
    seen: list[Any] = []

    def scan(*args: Any, **kwargs: Any) -> Any:
        seen.append(args)
        return native(*args, **kwargs)

    case = by_name("lif")
    with monkeypatch.context() as patched:
        patched.setattr(jax.lax, "scan", scan)
        runner = case.build()
        with probe.capture(out, strict=True) as cap:
            case.run(runner)
    assert seen
    assert [call.failure for call in cap.calls] == [None]
    assert "func.func public @main" in cap.text
