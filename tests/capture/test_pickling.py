"""Patched functions and methods are pickled and copied like the originals."""

from __future__ import annotations

import copy
import functools
import pickle
from collections.abc import Callable, Iterator
from typing import Any

import brainpy as bp
import brainpy.math as bm
import jax
import pytest
import wrapt

import brainpy_probe as probe
from brainpy_probe.compat import jax_compiler
from tests.eras import DynamicalSystem


class Halving(DynamicalSystem):
    """A model whose method a test pickles."""

    def __init__(self) -> None:
        super().__init__()
        self.x = bm.Variable(bm.ones(3))

    def update(self) -> None:
        self.x.value = self.x * 0.5


class SubHalving(Halving):
    """A model that inherits its method."""


PATCHED: dict[str, Callable[[], Any]] = {
    "method": lambda: Halving.update,
    "inherited method": lambda: SubHalving.update,
    "predict": lambda: bp.DSRunner.predict,
    "scan": lambda: jax.lax.scan,
    "compile_or_get_cached": lambda: jax_compiler.take("compiler").compile_or_get_cached,
}
NAMES = pytest.mark.parametrize("name", PATCHED)


@pytest.fixture(scope="module", autouse=True)
def _opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep the original objects, then open a capture for the tests of this file."""
    plain = {name: get() for name, get in PATCHED.items()}
    globals()["PLAIN"] = plain
    with probe.capture(tmp_path_factory.mktemp("pickling"), data="none", strict=True):
        bp.DSRunner(SubHalving(), progress_bar=False).run(0.2)
        yield


@pytest.fixture(autouse=True)
def nothing_stays_patched() -> None:
    """Allow patches in this file, whose capture is open."""


@NAMES
@pytest.mark.parametrize("protocol", [2, pickle.HIGHEST_PROTOCOL])
def test_a_patched_function_is_pickled_by_its_name(name: str, protocol: int) -> None:
    patched = PATCHED[name]()
    content = pickle.dumps(patched, protocol)
    assert b"brainpy_probe" not in content
    loaded = pickle.loads(content)  # noqa: S301 - written here
    while isinstance(loaded, (wrapt.FunctionWrapper, wrapt.BoundFunctionWrapper)):
        loaded = loaded.__wrapped__
    assert loaded is globals()["PLAIN"][name]


@NAMES
def test_a_copy_of_a_patched_function_is_the_function(name: str) -> None:
    patched, plain = PATCHED[name](), globals()["PLAIN"][name]
    assert copy.copy(patched) is copy.deepcopy(patched) is plain
    (argument,) = copy.deepcopy(functools.partial(max, patched)).args
    assert argument is plain


def test_a_bound_method_is_copied_with_its_model() -> None:
    class Holder:
        method = Halving.update  # a patched function as the method of another class

    holder = Holder()
    copied = copy.deepcopy(holder.method)
    assert copied.__func__ is globals()["PLAIN"]["method"]
    assert type(copied.__self__) is Holder
    assert copied.__self__ is not holder
