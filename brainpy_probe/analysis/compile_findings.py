"""Findings about compilations: recompiled modules, slow ones, and what they contain."""

from __future__ import annotations

from collections.abc import Iterator

from brainpy_probe.analysis.compile_causes import causes, summed
from brainpy_probe.analysis.finding import (
    Finding,
    at_least,
    call_of,
    count_phrase,
    modules_by_model,
    programs_of_modules,
    seconds_phrase,
)
from brainpy_probe.format.manifest.common_records import Timing
from brainpy_probe.format.manifest.records import Manifest, ModuleRecord

__all__ = [
    "cache_hit_no_dump",
    "host_callback",
    "large_constants_inlined",
    "lost_seconds",
    "quick_compiles",
    "recompiled_identical",
    "recompiled_outside",
    "recompiled_shape",
    "slow_compile",
]

# A compilation is slow if it takes this many seconds and this share of its call's time.
SLOW_SECONDS = 1.0
SLOW_SHARE = 0.5
# Least number of modules of one line for a finding, if they took SLOW_SECONDS in total.
MANY_MODULES = 10
LARGE_CONSTANTS = 1 << 20

_NO_CACHE = "This JAX's persistent cache does not support CPU programs; JAX 0.4.28 and later do."
# The first JAX whose persistent cache keeps CPU programs: _src/compiler.py, supported_platforms.
_CPU_CACHE_SINCE = (0, 4, 28)
# The first tested JAX with the setting for the cache's folder (0.4.13 lacks it): _src/config.py.
_CACHE_SETTING_SINCE = (0, 4, 23)
# Before the first of these versions, BrainPy keeps the jitted function of a runner's loop. From the
# first to the second, it orders a loop's Variables by their ids.
_LOOP_PER_RUN_SINCE = (2, 4)
_STATES_SINCE = (2, 7)

# --- Recompilations -------------------------------------------------------------------------------


def _modules_of_calls(manifest: Manifest) -> list[ModuleRecord]:
    return [module for module in manifest.modules if module.call is not None]


def _recompiled(manifest: Manifest, reason: str) -> list[ModuleRecord]:
    """Return the modules that were compiled again in another call, for a reason.

    Modules that one call compiles several times, operation by operation, are not included.
    """
    found = []
    for module in _modules_of_calls(manifest):
        if module.reason == reason and module.origin == "compiled" and module.after is not None:
            before = manifest.modules[module.after]
            if before.call is not None and before.call != module.call:
                found.append(module)
    return found


def _is_of_same_model(manifest: Manifest, module: ModuleRecord) -> bool:
    """Return whether a module and the one it is compared with belong to the same model object."""
    now = call_of(manifest, module)
    before = None if module.after is None else call_of(manifest, manifest.modules[module.after])
    return now is not None and before is not None and now.model_number == before.model_number


def lost_seconds(manifest: Manifest) -> Timing:
    """Return the seconds, by phase, spent on compiling identical modules again."""
    return summed(_recompiled(manifest, "same"))


def recompiled_identical(manifest: Manifest) -> Iterator[Finding]:
    """Find identical modules that were compiled again."""
    each, once = (
        ("on every run()", "One longer run() instead of several")
        if at_least(manifest, "brainpy", _LOOP_PER_RUN_SINCE)
        else ("for every runner", "One runner instead of several equal ones")
    )
    for model, again in modules_by_model(manifest, _recompiled(manifest, "same")).items():
        lost = summed(again)
        phases = [s for s in (lost.trace, lost.lower) if s is not None]
        before = f", {sum(phases):.2f} s of tracing and lowering" if len(phases) == 2 else ""
        progress_bar = (
            " Also give the runner progress_bar=False: not every JAX caches a module that calls "
            "back into Python (0.10.2 does not, 0.12.0 does)."
            if any(map(_calls_back, again))
            else ""
        )
        yield Finding(
            slug="recompiled-identical",
            sentence=(
                f"{count_phrase(len(again), 'module', 'modules')} of {model} "
                f"{'was' if len(again) == 1 else 'were'} compiled again though nothing had "
                f"changed: {seconds_phrase(lost.compile)} of compiling{before}. BrainPy creates a "
                f"new function {each}."
            ),
            remedy=(
                "With JAX's persistent cache the second compilation is a cache hit: "
                f"{_cache_settings(manifest)}.{progress_bar}"
                if _has_cache(manifest)
                else f"{once} compiles once. {_NO_CACHE}"
            ),
            model=model,
            count=len(again),
            seconds=lost.wall,
            programs=programs_of_modules(manifest, again),
        )


def recompiled_outside(manifest: Manifest) -> Iterator[Finding]:
    """Find lines that led to identical modules again and again, outside of the calls."""
    for cause in causes(manifest):
        if cause.reason != "same" or not cause.place or cause.quick >= MANY_MODULES:
            continue
        modules = (manifest.modules[number] for number in cause.modules)
        again = [m for m in modules if m.call is None and m.origin == "compiled"]
        spent = summed(again).compile or 0.0
        if len(again) < MANY_MODULES or spent < SLOW_SECONDS:
            continue
        yield Finding(
            slug="recompiled-outside",
            sentence=(
                f"{cause.place} led to {len(again)} modules outside of the calls that XLA compiled "
                f"again in {spent:.2f} s though nothing had changed."
            ),
            remedy=(
                "A function that is made and jitted once is compiled once."
                + (
                    " With JAX's persistent cache the second compilation is a cache hit: "
                    f"{_cache_settings(manifest)}."
                    if _has_cache(manifest)
                    else f" {_NO_CACHE}"
                )
            ),
            count=len(again),
            seconds=summed(again).wall,
        )


def recompiled_shape(manifest: Manifest) -> Iterator[Finding]:
    """Find modules of the same model object that were compiled again for another shape."""
    again = [
        module for module in _recompiled(manifest, "shape") if _is_of_same_model(manifest, module)
    ]
    for model, modules in modules_by_model(manifest, again).items():
        seconds = summed(modules).compile
        yield Finding(
            slug="recompiled-shape",
            sentence=(
                f"{count_phrase(len(modules), 'module', 'modules')} of {model} "
                f"{'was' if len(modules) == 1 else 'were'} compiled again for another shape, "
                f"{seconds_phrase(seconds)}: {modules[-1].name}. {modules[-1].why}"
            ),
            remedy=(
                "Use the same duration and batch size for all runs, and split a long run into "
                "equal parts; with JAX's persistent cache only the first one is compiled: "
                f"{_cache_settings(manifest)}."
                if _has_cache(manifest)
                else f"Use the same duration and batch size for all runs. {_NO_CACHE}"
            ),
            model=model,
            count=len(modules),
            seconds=seconds,
            programs=programs_of_modules(manifest, modules),
        )


def slow_compile(manifest: Manifest) -> Iterator[Finding]:
    """Find modules whose compilation takes more than a second and half of their call's time."""
    if not _has_cache(manifest):
        remedy = _NO_CACHE
    elif _orders_by_ids(manifest):
        remedy = (
            "Run the same runner again in this process. This BrainPy orders a loop's Variables by "
            "their ids (2.4 to 2.6 do), so that each process compiles another program. With JAX's "
            f"persistent cache only the first run compiles: {_cache_settings(manifest)}."
        )
    else:
        remedy = (
            "The next process that runs the same program does not compile it with JAX's "
            f"persistent cache: {_cache_settings(manifest)}."
        )

    def is_slow(module: ModuleRecord) -> bool:
        call = call_of(manifest, module)
        wall = 0.0 if call is None else call.native.wall or 0.0
        taken = module.seconds.compile or 0.0
        return module.origin == "compiled" and taken >= max(SLOW_SECONDS, SLOW_SHARE * wall)

    slow = filter(is_slow, _modules_of_calls(manifest))
    for model, modules in modules_by_model(manifest, slow).items():
        seconds = summed(modules).compile or 0.0
        calls = {module.call: call_of(manifest, module) for module in modules}
        wall = sum(call.native.wall or 0.0 for call in calls.values() if call is not None)
        compiled = (
            f"{modules[0].name} of call {modules[0].call}"
            if len(modules) == 1
            else f"{len(modules)} modules in {len(calls)} calls"
        )
        yield Finding(
            slug="slow-compile",
            sentence=(
                f"XLA compiled {compiled} of {model} for {seconds:.2f} s, "
                f"{100 * seconds / max(wall, seconds):.0f} % of "
                f"{'the call' if len(calls) == 1 else 'these calls'}."
            ),
            remedy=remedy,
            model=model,
            count=len(modules),
            seconds=seconds,
            programs=programs_of_modules(manifest, modules),
        )


# --- Content of a module --------------------------------------------------------------------------


def host_callback(manifest: Manifest) -> Iterator[Finding]:
    """Find modules whose callbacks into Python are not part of the captured program."""
    with_callbacks = {
        program.index for program in manifest.programs if program.fidelity.host_callbacks
    }
    affected = [
        module
        for module in manifest.modules
        if module.call is not None
        and _calls_back(module)
        and manifest.calls[module.call].program not in with_callbacks
    ]
    for model, modules in modules_by_model(manifest, affected).items():
        yield Finding(
            slug="host-callback",
            sentence=(
                f"{count_phrase(len(modules), 'module', 'modules')} of {model} "
                f"{'calls' if len(modules) == 1 else 'call'} back into Python to draw a progress "
                "bar, to pass monitors or to check values. Not every JAX keeps such a module in "
                "its persistent cache (0.10.2 does not, 0.12.0 does)."
            ),
            remedy=(
                "Give the runner progress_bar=False, and do not set memory_efficient. Remove "
                "bp.check.jit_error from update(); bp.check.turn_off() removes the checks of "
                "BrainPy's delays."
            ),
            model=model,
            count=len(modules),
            programs=programs_of_modules(manifest, modules),
        )


def large_constants_inlined(manifest: Manifest) -> Iterator[Finding]:
    """Find modules that contain large constants; one finding for each module name."""
    arguments = "" if at_least(manifest, "brainpy", _LOOP_PER_RUN_SINCE) else "(dyn_vars=...)"
    large = [module for module in manifest.modules if module.large_constants >= LARGE_CONSTANTS]
    for model, of_model in modules_by_model(manifest, large).items():
        by_name: dict[str, list[ModuleRecord]] = {}
        for module in of_model:
            by_name.setdefault(module.name, []).append(module)
        for name, modules in by_name.items():
            size = max(module.large_constants for module in modules)
            times = "" if len(modules) == 1 else f" ({len(modules)} times)"
            yield Finding(
                slug="large-constants-inlined",
                sentence=(
                    f"{name} has {size / (1 << 20):.1f} MiB of constants in its code, which XLA "
                    f"folds and copies in each compilation{times}."
                ),
                remedy=(
                    "Pass the array to the compiled function as an argument. Or keep it in a "
                    f"brainpy.math.Variable and compile with brainpy.math.jit{arguments}, which "
                    "passes it (jax.jit inlines arrays that a function closes over)."
                ),
                model=model,
                count=len(modules),
                seconds=summed(modules).compile,
                programs=programs_of_modules(manifest, modules),
            )


def cache_hit_no_dump(manifest: Manifest) -> Iterator[Finding]:
    """Find modules for which XLA dumped nothing because they came from JAX's persistent cache."""
    if not manifest.settings.xla_dump:
        return
    hits = [module for module in _modules_of_calls(manifest) if module.origin == "cache"]
    for model, modules in modules_by_model(manifest, hits).items():
        names = sorted({module.name for module in modules})
        yield Finding(
            slug="cache-hit-no-dump",
            sentence=(
                f"{count_phrase(len(modules), 'module', 'modules')} of {model} came from JAX's "
                f"persistent cache ({', '.join(names)}). XLA compiled nothing, and dumped nothing."
            ),
            remedy=(
                'Call jax.config.update("jax_enable_compilation_cache", False) at the start of the '
                "script. It has no effect after JAX has compiled anything."
            ),
            model=model,
            count=len(modules),
            programs=programs_of_modules(manifest, modules),
        )


def quick_compiles(manifest: Manifest) -> Iterator[Finding]:
    """Find lines that lead to many modules which the persistent cache does not keep."""
    for cause in causes(manifest):
        spent = cause.seconds.compile or 0.0
        if cause.quick < MANY_MODULES or spent < SLOW_SECONDS or not cause.place:
            continue
        yield Finding(
            slug="quick-compiles",
            sentence=(
                f"{cause.place} led to {cause.quick} modules that XLA compiled in {spent:.2f} s "
                "together, each too quickly for JAX's persistent cache to keep it. Every process "
                "compiles them again."
            ),
            remedy=(
                f"Make one function of these operations, and compile it: jax.jit({cause.function})."
                ' Or call jax.config.update("jax_persistent_cache_min_compile_time_secs", 0).'
            ),
            count=cause.quick,
            seconds=spent,
        )


def _has_cache(manifest: Manifest) -> bool:
    """Return whether JAX's persistent cache supports the backend of the run."""
    return manifest.environment.backend != "cpu" or at_least(manifest, "jax", _CPU_CACHE_SINCE)


def _cache_settings(manifest: Manifest) -> str:
    """Return the calls that turn JAX's persistent cache on, as a phrase."""
    folder = (
        'jax.config.update("jax_compilation_cache_dir", FOLDER)'
        if at_least(manifest, "jax", _CACHE_SETTING_SINCE)
        else "jax.experimental.compilation_cache.compilation_cache.initialize_cache(FOLDER)"
    )
    return (
        f'{folder} and jax.config.update("jax_persistent_cache_min_compile_time_secs", 0) '
        "before the first run"
    )


def _orders_by_ids(manifest: Manifest) -> bool:
    """Return whether the order of a loop's Variables differs between processes."""
    return at_least(manifest, "brainpy", _LOOP_PER_RUN_SINCE) and not at_least(
        manifest, "brainpy", _STATES_SINCE
    )


def _calls_back(module: ModuleRecord) -> bool:
    return any("callback" in target.lower() for target in module.custom_calls)
