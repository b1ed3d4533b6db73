"""Patches are applied and removed exactly, even if another tool patches the same attribute."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, cast

import brainpy as bp
import brainpy.math as bm
import jax
import pytest
import wrapt

import brainpy_probe as probe
from brainpy_probe.recording import hooks
from brainpy_probe.recording.patches import ACTIVE
from brainpy_probe.recording.sessions.session import Session
from brainpy_probe.settings import Settings
from tests.eras import SINCE_2_4, DynamicalSystem, jit
from tests.networks import by_name
from tests.watching import PATCHED

SEEN: list[str] = []


def _other_wrapper(wrapped: Any, _: Any, args: Any, kwargs: Any) -> Any:
    SEEN.append("other")
    return wrapped(*args, **kwargs)


# --- The list of patches ----------------------------------------------------------------------


def test_every_patch_of_a_capture_is_checked_in_every_test() -> None:
    """The list in `tests.watching` is written by hand; it must have each patch of the probe."""
    watched = [(id(owner), name) for owner, name in PATCHED]
    # The list leaves out runners that test modules define: each test checks all runner classes.
    patches = [
        patch
        for patch in hooks.patches()
        if not re.match(r"tests\.\w+\.test_", getattr(patch.owner, "__module__", ""))
    ]
    assert patches
    for patch in patches:
        assert (id(patch.owner), patch.name) in watched, f"{patch.owner!r}.{patch.name}"


def test_every_checked_attribute_exists_once() -> None:
    assert len({(id(owner), name) for owner, name in PATCHED}) == len(PATCHED)
    for owner, name in PATCHED:
        assert hasattr(owner, name)


# --- Captures ---------------------------------------------------------------------------------


class Counter(DynamicalSystem):
    """A model that counts its steps."""

    def __init__(self) -> None:
        super().__init__()
        self.n = bm.Variable(bm.zeros(2))

    def update(self) -> Any:
        self.n.value = self.n + 1.0
        return self.n.value


class OwnLoop(bp.DSRunner):
    """A runner with its own loop, which never calls super()."""

    def predict(self, *_: Any, **__: Any) -> Any:
        # A loop of BrainPy 2.3 takes its Variables as an argument; its runners jit the whole loop.
        variables = {} if SINCE_2_4 else {"dyn_vars": self.target.vars()}

        def loop() -> Any:
            return bm.for_loop(lambda _: self.target(), bm.arange(7), **variables)

        return loop() if SINCE_2_4 else jit(loop, self.target)()


def _assert_calls(out: Path, runs: int, runner: bp.DSRunner) -> None:
    with probe.capture(out, strict=True) as cap:
        for _ in range(runs):
            runner.run(0.5)
    assert [call.model for call in cap.calls] == ["Counter"] * runs


def test_nested_captures_record_the_calls_of_their_blocks(tmp_path: Path) -> None:
    runner = bp.DSRunner(Counter(), progress_bar=False)
    with probe.capture(tmp_path / "outer", strict=True) as outer:
        runner.run(0.5)
        with probe.capture(tmp_path / "inner", strict=True) as inner:
            runner.run(0.8)
        runner.run(0.4)
    assert [call.steps for call in outer.calls] == [5, 8, 4]
    assert [call.steps for call in inner.calls] == [8]
    assert outer.calls[1].digests == inner.calls[0].digests


def test_an_exception_in_the_block_removes_the_patches(out: Path) -> None:
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
    """In the block, move the capture's folder away and put a file in its place."""
    with probe.capture(parent / "captures"):
        (parent / "captures").rename(parent / "elsewhere")
        (parent / "captures").write_text("mine")
        if error is not None:
            raise error
    return True


def test_a_capture_that_cannot_begin_leaves_no_folder(
    out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def enter(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(ACTIVE, "enter", enter)
    with pytest.raises(KeyboardInterrupt), probe.capture(out):
        pass
    assert list(out.iterdir()) == []


def test_a_lost_folder_does_not_stop_the_block(tmp_path: Path) -> None:
    assert _lose_the_folder(tmp_path, None)


def test_a_lost_folder_hides_no_exception_of_the_block(tmp_path: Path) -> None:
    error = KeyError("the user's own")
    with pytest.raises(KeyError) as raised:
        _lose_the_folder(tmp_path, error)
    assert raised.value is error


def test_a_runner_that_never_calls_super_is_recorded(out: Path) -> None:
    runner = OwnLoop(Counter(), progress_bar=False)
    with probe.capture(out, strict=True) as cap:
        runner.run(0.5)
    (call,) = cap.calls
    assert (call.record.runner, call.model) == ("OwnLoop", "Counter")
    assert call.program is not None
    assert call.program.kind == "loop"


def test_a_session_without_hooks_records_nothing(out: Path) -> None:
    """Shows that tests which count calls would fail if the hook were missing."""
    case = by_name("lif")
    runner = case.build()
    session = Session(Settings.of_arguments(out=out, strict=True))
    ACTIVE.enter(session, [])
    case.run(runner)
    ACTIVE.leave(session)
    session.close()
    assert session.capture.calls == ()
    with pytest.raises(probe.ProbeError, match="no model was run"):
        _ = session.capture.text


def test_another_tools_wrapper_over_ours_keeps_working(out: Path) -> None:
    SEEN.clear()
    original = vars(bp.DSRunner)["predict"]
    runner = bp.DSRunner(Counter(), progress_bar=False)
    try:
        with probe.capture(out, strict=True) as first:
            wrapt.wrap_function_wrapper(bp.DSRunner, "predict", _other_wrapper)
            other = vars(bp.DSRunner)["predict"]
            runner.run(0.5)
        assert vars(bp.DSRunner)["predict"] is other
        runner.run(0.5)
        assert len(first.calls) == 1, "our wrapper recorded a call outside of the block"
        _assert_calls(out, 2, runner)
        assert vars(bp.DSRunner)["predict"] is other
        assert SEEN == ["other"] * 4, "the other wrapper stopped"
        cast("Any", bp.DSRunner).predict = other.__wrapped__
        _assert_calls(out, 1, runner)
        assert vars(bp.DSRunner)["predict"] is original
    finally:
        cast("Any", bp.DSRunner).predict = original


def test_a_wrapper_of_scan_needs_no_signature(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
