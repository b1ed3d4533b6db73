"""What a capture tells that is worth doing something about; knows only records.

Each remedy that is named here is run in the tests and does what it says.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from brainpy_probe.dominance import Finding, dominant
from brainpy_probe.records import Manifest, ModuleRecord, Timing

__all__ = ["Finding", "find", "lost_seconds"]

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
# What brainevent raises without numba (0.3.0: KernelCompilationError), or Python itself.
_WITHOUT_NUMBA = re.compile(r"No module named '?numba\b")


def find(manifest: Manifest) -> tuple[Finding, ...]:
    """Return the findings of a capture, the costliest kinds first."""
    finders: tuple[Callable[[Manifest], Iterator[Finding]], ...] = (
        _recompiled_identical,
        _recompiled_shape,
        _slow_compile,
        _dominant_component,
        _numba_missing,
        _jit_disabled,
        _opaque_custom_call,
        _host_callback,
        _large_constants_inlined,
        _cache_hit_no_dump,
    )
    return tuple(finding for finder in finders for finding in finder(manifest))


def lost_seconds(manifest: Manifest) -> Timing:
    """Return the seconds, by phase, that went into compiling identical modules again."""
    again = _recompiled(manifest, "same")
    trace, lower, compiled = (
        sum(getattr(module.seconds, phase) for module in again)
        for phase in ("trace", "lower", "compile")
    )
    wall = trace + lower + compiled
    return Timing(trace=trace, lower=lower, compile=compiled, wall=wall)


def _for_calls(manifest: Manifest) -> list[ModuleRecord]:
    return [module for module in manifest.modules if module.call is not None]


def _recompiled(manifest: Manifest, reason: str) -> list[ModuleRecord]:
    return [
        module
        for module in _for_calls(manifest)
        if module.reason == reason and module.origin == "compiled"
    ]


def _recompiled_identical(manifest: Manifest) -> Iterator[Finding]:
    again = _recompiled(manifest, "same")
    if not again:
        return
    lost = lost_seconds(manifest)
    called_back = any(_calls_back(module) for module in again)
    bar = (
        " Give the runner progress_bar=False as well: not every JAX keeps a module that calls "
        "back into Python (0.10.2 does not, 0.12.0 does)."
        if called_back
        else ""
    )
    each, one = (
        ("on every run()", "One longer run() in place of several")
        if _at_least(manifest, "brainpy", _LOOP_PER_RUN_SINCE)
        else ("for every runner", "One runner in place of several alike")
    )
    yield Finding(
        slug="recompiled-identical",
        sentence=(
            f"{_count(len(again), 'module was', 'modules were')} compiled again though nothing "
            f"had changed: {lost.compile:.2f} s of compiling, {lost.trace + lost.lower:.2f} s of "
            f"tracing and lowering. BrainPy builds a new function {each}."
        ),
        remedy=(
            f"JAX's persistent cache makes the second compilation a hit: {_cache(manifest)}.{bar}"
            if _has_cache(manifest)
            else f"{one} compiles once. {_NO_CACHE}"
        ),
    )


def _recompiled_shape(manifest: Manifest) -> Iterator[Finding]:
    again = _recompiled(manifest, "shape")
    if again:
        seconds = sum(module.seconds.compile for module in again)
        yield Finding(
            slug="recompiled-shape",
            sentence=(
                f"{_count(len(again), 'module was', 'modules were')} compiled again for another "
                f"shape, {seconds:.2f} s: {again[-1].name}. {again[-1].why}"
            ),
            remedy=(
                "Let all runs have one duration and one batch size, splitting a long run into "
                "equal ones; with JAX's persistent cache only the first compiles: "
                f"{_cache(manifest)}."
                if _has_cache(manifest)
                else f"Let all runs have one duration and one batch size. {_NO_CACHE}"
            ),
        )


def _slow_compile(manifest: Manifest) -> Iterator[Finding]:
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
    for module in _for_calls(manifest):
        wall = manifest.calls[module.call or 0].native.wall
        slow = module.seconds.compile
        if module.origin == "compiled" and slow >= max(SLOW_SECONDS, SLOW_SHARE * wall):
            yield Finding(
                slug="slow-compile",
                sentence=(
                    f"XLA compiled {module.name} of call {module.call} for {slow:.2f} s, "
                    f"{100 * slow / max(wall, slow):.0f} % of the call."
                ),
                remedy=remedy,
            )


def _dominant_component(manifest: Manifest) -> Iterator[Finding]:
    for program in manifest.programs:
        found = dominant(program.components, program.measured)
        if found is not None:
            yield found


def _numba_missing(manifest: Manifest) -> Iterator[Finding]:
    failed = [
        call.index
        for call in manifest.calls
        if call.error is not None and _WITHOUT_NUMBA.search(call.error.message)
    ]
    if failed:
        yield Finding(
            slug="numba-missing",
            sentence=(
                f"{_count(len(failed), 'call', 'calls')} raised since numba is not installed: "
                "BrainPy's event-driven synapses need it on a CPU."
            ),
            remedy='pip install "brainpy[cpu]"',
        )


def _jit_disabled(manifest: Manifest) -> Iterator[Finding]:
    calls = [call for call in manifest.calls if not call.jit and call.error is None]
    if not calls:
        return
    stepwise = any(call.program is not None for call in calls)
    what = "the capture has one step alone" if stepwise else "there is no program"
    remedy = "Give the runner jit=True (the default), and leave JAX's jax_disable_jit off."
    if not manifest.settings.trace_eager:
        remedy += (
            " Or capture(trace_eager=True) traces the step of such a run and captures that: the "
            "model's Python then runs once more for each new program, and what it does to files, "
            "to iterators and generators in closures, to bytearrays, context variables, "
            "os.environ or attributes of functions is not undone."
        )
    yield Finding(
        slug="jit-disabled",
        sentence=(
            f"{_count(len(calls), 'call', 'calls')} ran without jit, operation by operation "
            f"from Python ({max(call.native.wall for call in calls):.2f} s): {what}."
        ),
        remedy=remedy,
    )


def _opaque_custom_call(manifest: Manifest) -> Iterator[Finding]:
    for program in manifest.programs:
        for target, constants in program.fidelity.custom_calls.items():
            parts = sorted({name.partition(".")[0] for name in constants})
            whose = f" It computes {', '.join(parts)}." if parts else ""
            event = target.startswith("brainevent")
            yield Finding(
                slug="opaque-custom-call",
                sentence=(
                    f"The code of {target} is not in program {program.index} "
                    f"({program.name}).{whose}"
                ),
                remedy=(
                    "capture(portable=True) writes the program in plain StableHLO as well; "
                    'brainevent.config.set_backend("cpu", "jax_raw") before the run has the run '
                    "itself go without, but clears all of JAX's caches."
                    if event
                    else "Another compiler must bring the code itself."
                ),
            )


def _host_callback(manifest: Manifest) -> Iterator[Finding]:
    called = {module.call for module in _for_calls(manifest) if _calls_back(module)}
    kept = {program.index for program in manifest.programs if program.fidelity.host_callbacks}
    bars = [c for c in manifest.calls if c.index in called and c.program not in kept]
    if bars:
        yield Finding(
            slug="host-callback",
            sentence=(
                f"{_count(len(bars), 'run calls', 'runs call')} back into Python to draw a "
                "progress bar, to hand over monitors or to check values; not every JAX keeps such "
                "a module in its persistent cache (0.10.2 does not, 0.12.0 does)."
            ),
            remedy=(
                "Give the runner progress_bar=False, and leave memory_efficient off; take "
                "bp.check.jit_error out of update(), and bp.check.turn_off() takes out the checks "
                "of BrainPy's delays."
            ),
        )
    for program in manifest.programs:
        if program.fidelity.host_callbacks:
            yield Finding(
                slug="host-callback",
                sentence=(
                    f"Program {program.index} ({program.name}) calls back into Python "
                    f"({', '.join(program.fidelity.host_callbacks)}): it can't run elsewhere."
                ),
                remedy="Take jax.debug.print and the like out of update().",
            )


def _large_constants_inlined(manifest: Manifest) -> Iterator[Finding]:
    told = "" if _at_least(manifest, "brainpy", _LOOP_PER_RUN_SINCE) else "(dyn_vars=...)"
    for module in manifest.modules:
        if module.large_constants >= LARGE_CONSTANTS:
            yield Finding(
                slug="large-constants-inlined",
                sentence=(
                    f"{module.name} has {module.large_constants / (1 << 20):.1f} MiB of constants "
                    "in its code, which XLA folds and copies with each compilation."
                ),
                remedy=(
                    "Hand the array to the compiled function as an argument; or hold it as "
                    f"brainpy.math.Variable and compile with brainpy.math.jit{told}, which does "
                    "that (jax.jit keeps whatever a function closes over as a constant)."
                ),
            )


def _cache_hit_no_dump(manifest: Manifest) -> Iterator[Finding]:
    if not manifest.settings.xla_dump:
        return
    hits = [module for module in _for_calls(manifest) if module.origin == "cache"]
    if hits:
        yield Finding(
            slug="cache-hit-no-dump",
            sentence=(
                f"{_count(len(hits), 'module', 'modules')} came from JAX's persistent cache "
                f"({', '.join(sorted({one.name for one in hits}))}): nothing was compiled, so "
                "that XLA dumped nothing."
            ),
            remedy=(
                'jax.config.update("jax_enable_compilation_cache", False) at the start of the '
                "script: once JAX has compiled anything it is too late."
            ),
        )


def _has_cache(manifest: Manifest) -> bool:
    """Whether JAX's persistent cache takes the programs of the backend that ran."""
    return manifest.environment.backend != "cpu" or _at_least(manifest, "jax", _CPU_CACHE_SINCE)


def _cache(manifest: Manifest) -> str:
    """Say how JAX's persistent cache is turned on."""
    folder = (
        'jax.config.update("jax_compilation_cache_dir", FOLDER)'
        if _at_least(manifest, "jax", _CACHE_SETTING_SINCE)
        else "jax.experimental.compilation_cache.compilation_cache.initialize_cache(FOLDER)"
    )
    return (
        f'{folder} and jax.config.update("jax_persistent_cache_min_compile_time_secs", 0) '
        "before the first run"
    )


def _by_ids(manifest: Manifest) -> bool:
    """Whether the order of a loop's Variables is another one in each process."""
    return _at_least(manifest, "brainpy", _LOOP_PER_RUN_SINCE) and not _at_least(
        manifest, "brainpy", _STATES_SINCE
    )


def _at_least(manifest: Manifest, package: str, version: tuple[int, ...]) -> bool:
    """Whether a package was of this version or a later one, or of none that is known."""
    numbers = re.findall(r"\d+", manifest.environment.versions.get(package, ""))
    return not numbers or tuple(map(int, numbers[: len(version)])) >= version


def _calls_back(module: ModuleRecord) -> bool:
    return any("callback" in target.lower() for target in module.custom_calls)


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"
