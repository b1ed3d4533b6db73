"""What a capture tells of its compilations that is worth knowing; knows only records."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from brainpy_probe.analysis.cost_findings import Finding
from brainpy_probe.format.common_records import Timing
from brainpy_probe.format.records import CallRecord, Manifest, ModuleRecord

__all__ = [
    "at_least",
    "by_model",
    "cache_hit_no_dump",
    "calls_back",
    "counted",
    "large_constants_inlined",
    "lost_seconds",
    "programs_of",
    "recompiled_identical",
    "recompiled_shape",
    "seconds_said",
    "slow_compile",
]

# A compilation that takes at least so many seconds, and half of its call's time, is slow.
SLOW_SECONDS = 1.0
SLOW_SHARE = 0.5
LARGE_CONSTANTS = 1 << 20

_NO_CACHE = "This JAX keeps no CPU programs in its persistent cache; from 0.4.28 on it does."
# The first JAX whose persistent cache takes CPU programs: _src/compiler.py, supported_platforms.
_CPU_CACHE_SINCE = (0, 4, 28)
# A JAX that has the setting for the cache's folder (0.4.13 has not): _src/config.py.
_CACHE_SETTING_SINCE = (0, 4, 23)
# BrainPy keeps the jitted function that holds a runner's loop before the first of these, orders
# what a loop is given by the Variables' ids from the first until the second.
_LOOP_PER_RUN_SINCE = (2, 4)
_STATES_SINCE = (2, 7)

# --- Which model ----------------------------------------------------------------------------------


def by_model(manifest: Manifest, modules: Iterable[ModuleRecord]) -> dict[str, list[ModuleRecord]]:
    """Return modules by the class of the model whose calls had them compiled."""
    found: dict[str, list[ModuleRecord]] = {}
    for module in modules:
        call = _call_of(manifest, module)
        found.setdefault("" if call is None else call.model, []).append(module)
    return found


def _call_of(manifest: Manifest, module: ModuleRecord) -> CallRecord | None:
    return None if module.call is None else manifest.calls[module.call]


def _for_calls(manifest: Manifest) -> list[ModuleRecord]:
    return [module for module in manifest.modules if module.call is not None]


def _recompiled(manifest: Manifest, reason: str) -> list[ModuleRecord]:
    """Return the modules that were compiled again for a reason, after another call's.

    What JAX compiles within one call, operation by operation, BrainPy does not compile again.
    """
    found = []
    for module in _for_calls(manifest):
        if module.reason == reason and module.origin == "compiled" and module.after is not None:
            before = manifest.modules[module.after]
            if before.call is not None and before.call != module.call:
                found.append(module)
    return found


def _is_of_same_model(manifest: Manifest, module: ModuleRecord) -> bool:
    """Whether a module and the one that it is compared with are of one and the same object."""
    now = _call_of(manifest, module)
    before = None if module.after is None else _call_of(manifest, manifest.modules[module.after])
    return now is not None and before is not None and now.model_number == before.model_number


def programs_of(manifest: Manifest, modules: Iterable[ModuleRecord]) -> tuple[int, ...]:
    """Return the programs of the calls for which modules were compiled."""
    calls = [_call_of(manifest, module) for module in modules]
    return tuple(sorted({c.program for c in calls if c is not None and c.program is not None}))


# --- Compiled again -------------------------------------------------------------------------------


def lost_seconds(manifest: Manifest) -> Timing:
    """Return the seconds, by phase, that went into compiling identical modules again."""
    return _summed(_recompiled(manifest, "same"))


def _summed(modules: Iterable[ModuleRecord]) -> Timing:
    """Return the seconds of modules together; None for a phase that was not measured of all."""
    sums: dict[str, float | None] = {}
    for name in ("trace", "lower", "compile", "numba", "wall"):
        values = [getattr(module.seconds, name) for module in modules]
        sums[name] = None if None in values else sum(values)
    return Timing(**sums)


def recompiled_identical(manifest: Manifest) -> Iterator[Finding]:
    """Find identical modules that were compiled again."""
    each, one = (
        ("on every run()", "One longer run() in place of several")
        if at_least(manifest, "brainpy", _LOOP_PER_RUN_SINCE)
        else ("for every runner", "One runner in place of several alike")
    )
    for model, again in by_model(manifest, _recompiled(manifest, "same")).items():
        lost = _summed(again)
        made = [s for s in (lost.trace, lost.lower) if s is not None]
        before = f", {sum(made):.2f} s of tracing and lowering" if len(made) == 2 else ""
        bar = (
            " Give the runner progress_bar=False as well: not every JAX keeps a module that calls "
            "back into Python (0.10.2 does not, 0.12.0 does)."
            if any(map(calls_back, again))
            else ""
        )
        yield Finding(
            slug="recompiled-identical",
            sentence=(
                f"{counted(len(again), 'module', 'modules')} of {model} "
                f"{'was' if len(again) == 1 else 'were'} compiled again though nothing had "
                f"changed: {seconds_said(lost.compile)} of compiling{before}. BrainPy builds a new "
                f"function {each}."
            ),
            remedy=(
                "JAX's persistent cache makes the second compilation a hit: "
                f"{_cache(manifest)}.{bar}"
                if _has_cache(manifest)
                else f"{one} compiles once. {_NO_CACHE}"
            ),
            model=model,
            count=len(again),
            seconds=lost.wall,
            programs=programs_of(manifest, again),
        )


def recompiled_shape(manifest: Manifest) -> Iterator[Finding]:
    """Find modules that were compiled again for another shape: of one model, not of another."""
    again = [
        module for module in _recompiled(manifest, "shape") if _is_of_same_model(manifest, module)
    ]
    for model, modules in by_model(manifest, again).items():
        seconds = _summed(modules).compile
        yield Finding(
            slug="recompiled-shape",
            sentence=(
                f"{counted(len(modules), 'module', 'modules')} of {model} "
                f"{'was' if len(modules) == 1 else 'were'} compiled again for another shape, "
                f"{seconds_said(seconds)}: {modules[-1].name}. {modules[-1].why}"
            ),
            remedy=(
                "Let all runs have one duration and one batch size, splitting a long run into "
                "equal ones; with JAX's persistent cache only the first compiles: "
                f"{_cache(manifest)}."
                if _has_cache(manifest)
                else f"Let all runs have one duration and one batch size. {_NO_CACHE}"
            ),
            model=model,
            count=len(modules),
            seconds=seconds,
            programs=programs_of(manifest, modules),
        )


def slow_compile(manifest: Manifest) -> Iterator[Finding]:
    """Find what takes XLA more than a second, and more than half of its call."""
    if not _has_cache(manifest):
        remedy = _NO_CACHE
    elif _by_ids(manifest):
        remedy = (
            "Run the same runner again in this process, not in another: this BrainPy orders a "
            "loop's Variables by their ids (2.4 to 2.6 do), so that each process makes another "
            f"program. With JAX's persistent cache only the first run compiles: {_cache(manifest)}."
        )
    else:
        remedy = (
            "The next process that runs the same program need not compile it, with JAX's "
            f"persistent cache: {_cache(manifest)}."
        )

    def is_slow(module: ModuleRecord) -> bool:
        call = _call_of(manifest, module)
        whole = 0.0 if call is None else call.native.wall or 0.0
        taken = module.seconds.compile or 0.0
        return module.origin == "compiled" and taken >= max(SLOW_SECONDS, SLOW_SHARE * whole)

    for model, modules in by_model(manifest, filter(is_slow, _for_calls(manifest))).items():
        seconds = _summed(modules).compile or 0.0
        calls = {module.call: _call_of(manifest, module) for module in modules}
        whole = sum(call.native.wall or 0.0 for call in calls.values() if call is not None)
        what = (
            f"{modules[0].name} of call {modules[0].call}"
            if len(modules) == 1
            else f"{len(modules)} modules in {len(calls)} calls"
        )
        yield Finding(
            slug="slow-compile",
            sentence=(
                f"XLA compiled {what} of {model} for {seconds:.2f} s, "
                f"{100 * seconds / max(whole, seconds):.0f} % of "
                f"{'the call' if len(calls) == 1 else 'these calls'}."
            ),
            remedy=remedy,
            model=model,
            count=len(modules),
            seconds=seconds,
            programs=programs_of(manifest, modules),
        )


# --- What is in a module --------------------------------------------------------------------------


def large_constants_inlined(manifest: Manifest) -> Iterator[Finding]:
    """Find modules with large constants in their code; one compiled again is found once."""
    told = "" if at_least(manifest, "brainpy", _LOOP_PER_RUN_SINCE) else "(dyn_vars=...)"
    large = [module for module in manifest.modules if module.large_constants >= LARGE_CONSTANTS]
    for model, of_model in by_model(manifest, large).items():
        by_name: dict[str, list[ModuleRecord]] = {}
        for module in of_model:
            by_name.setdefault(module.name, []).append(module)
        for name, modules in by_name.items():
            size = max(module.large_constants for module in modules)
            often = "" if len(modules) == 1 else f" ({len(modules)} times)"
            yield Finding(
                slug="large-constants-inlined",
                sentence=(
                    f"{name} has {size / (1 << 20):.1f} MiB of constants in its code, which XLA "
                    f"folds and copies with each compilation{often}."
                ),
                remedy=(
                    "Hand the array to the compiled function as an argument; or hold it as "
                    f"brainpy.math.Variable and compile with brainpy.math.jit{told}, which does "
                    "that (jax.jit keeps whatever a function closes over as a constant)."
                ),
                model=model,
                count=len(modules),
                seconds=_summed(modules).compile,
                programs=programs_of(manifest, modules),
            )


def cache_hit_no_dump(manifest: Manifest) -> Iterator[Finding]:
    """Find modules of which XLA was to dump files and that were in JAX's persistent cache."""
    if not manifest.settings.xla_dump:
        return
    hits = [module for module in _for_calls(manifest) if module.origin == "cache"]
    for model, modules in by_model(manifest, hits).items():
        yield Finding(
            slug="cache-hit-no-dump",
            sentence=(
                f"{counted(len(modules), 'module', 'modules')} of {model} came from JAX's "
                f"persistent cache ({', '.join(sorted({one.name for one in modules}))}): nothing "
                "was compiled, so that XLA dumped nothing."
            ),
            remedy=(
                'jax.config.update("jax_enable_compilation_cache", False) at the start of the '
                "script: once JAX has compiled anything it is too late."
            ),
            model=model,
            count=len(modules),
            programs=programs_of(manifest, modules),
        )


def _has_cache(manifest: Manifest) -> bool:
    """Whether JAX's persistent cache takes the programs of the backend that ran."""
    return manifest.environment.backend != "cpu" or at_least(manifest, "jax", _CPU_CACHE_SINCE)


def _cache(manifest: Manifest) -> str:
    """Say how JAX's persistent cache is turned on."""
    folder = (
        'jax.config.update("jax_compilation_cache_dir", FOLDER)'
        if at_least(manifest, "jax", _CACHE_SETTING_SINCE)
        else "jax.experimental.compilation_cache.compilation_cache.initialize_cache(FOLDER)"
    )
    return (
        f'{folder} and jax.config.update("jax_persistent_cache_min_compile_time_secs", 0) '
        "before the first run"
    )


def _by_ids(manifest: Manifest) -> bool:
    """Whether the order of a loop's Variables is another one in each process."""
    return at_least(manifest, "brainpy", _LOOP_PER_RUN_SINCE) and not at_least(
        manifest, "brainpy", _STATES_SINCE
    )


def at_least(manifest: Manifest, package: str, version: tuple[int, ...]) -> bool:
    """Whether a package was of this version or a later one, or of none that is known."""
    numbers = re.findall(r"\d+", manifest.environment.versions.get(package, ""))
    return not numbers or tuple(map(int, numbers[: len(version)])) >= version


def calls_back(module: ModuleRecord) -> bool:
    """Whether a module calls back into Python."""
    return any("callback" in target.lower() for target in module.custom_calls)


def seconds_said(seconds: float | None) -> str:
    """Return seconds for a sentence."""
    return "an unknown time" if seconds is None else f"{seconds:.2f} s"


def counted(number: int, one: str, many: str) -> str:
    """Return a number with its noun."""
    return f"{number} {one if number == 1 else many}"
