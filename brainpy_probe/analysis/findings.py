"""What a capture tells that is worth doing something about; knows only records.

There is one finding for each cause and each class of models. Each remedy that is named here is run
in the tests and does what it says.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator

from msgspec.structs import replace

from brainpy_probe.analysis import compile_findings
from brainpy_probe.analysis.compile_findings import counted
from brainpy_probe.analysis.cost_findings import Finding, dominant
from brainpy_probe.format import component_names
from brainpy_probe.format.program_records import ProgramRecord
from brainpy_probe.format.records import CallRecord, Manifest

__all__ = ["Finding", "find"]

# What brainevent raises without numba (0.3.0: KernelCompilationError), or Python itself.
_WITHOUT_NUMBA = re.compile(r"No module named '?numba\b")


def find(manifest: Manifest) -> tuple[Finding, ...]:
    """Return the findings of a capture, the costliest kinds first."""
    finders: tuple[Callable[[Manifest], Iterator[Finding]], ...] = (
        _variable_lost,
        compile_findings.recompiled_identical,
        compile_findings.recompiled_shape,
        compile_findings.slow_compile,
        _dominant_component,
        _numba_missing,
        _jit_disabled,
        _opaque_custom_call,
        _host_callback,
        compile_findings.large_constants_inlined,
        compile_findings.cache_hit_no_dump,
    )
    return tuple(finding for finder in finders for finding in finder(manifest))


def _by_model(calls: Iterable[CallRecord]) -> dict[str, list[CallRecord]]:
    found: dict[str, list[CallRecord]] = {}
    for call in calls:
        found.setdefault(call.model, []).append(call)
    return found


def _programs_by_model(manifest: Manifest) -> dict[str, list[ProgramRecord]]:
    """Return the programs by the class of the model that first ran each."""
    ran: dict[int, str] = {}
    for call in manifest.calls:
        if call.program is not None:
            ran.setdefault(call.program, call.model)
    found: dict[str, list[ProgramRecord]] = {}
    for program in manifest.programs:
        found.setdefault(ran.get(program.index, program.name), []).append(program)
    return found


def _numbers(programs: Iterable[ProgramRecord]) -> tuple[int, ...]:
    return tuple(program.index for program in programs)


def _programs_of(calls: Iterable[CallRecord]) -> tuple[int, ...]:
    return tuple(sorted({call.program for call in calls if call.program is not None}))


def _said(programs: Iterable[ProgramRecord]) -> str:
    """Return programs by their numbers, in a sentence."""
    numbers = [str(program.index) for program in programs]
    return f"program{'s' * (len(numbers) > 1)} {', '.join(numbers)}"


def _variable_lost(manifest: Manifest) -> Iterator[Finding]:
    calls = [call for call in manifest.calls if call.lost_variables]
    for model, ran in _by_model(calls).items():
        names = sorted({name for call in ran for name in call.lost_variables})
        first = names[0]
        yield Finding(
            slug="variable-lost",
            sentence=(
                f"{model} makes a Variable of {', '.join(names)} while its step is traced: what is "
                "learned there is lost when the run has ended, and the next run of the model "
                "raises UnexpectedTracerError. It does so without the probe."
            ),
            remedy=(
                f"Make it a Variable before the first run: model.{first} = "
                f"brainpy.math.Variable(model.{first})."
            ),
            model=model,
            count=len(ran),
            programs=_programs_of(ran),
        )


def _dominant_component(manifest: Manifest) -> Iterator[Finding]:
    for model, programs in _programs_by_model(manifest).items():
        # What ran longest says it for the other runs of the model.
        longest = max(programs, key=lambda one: one.measured.loop if one.measured else 0.0)
        found = dominant(longest.components, longest.measured, links=longest.links)
        if found is not None:
            yield replace(found, model=model, programs=(longest.index,))


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
                f"{counted(len(failed), 'call', 'calls')} raised since numba is not installed: "
                "BrainPy's event-driven synapses need it on a CPU."
            ),
            remedy='pip install "brainpy[cpu]"',
        )


def _jit_disabled(manifest: Manifest) -> Iterator[Finding]:
    remedy = "Give the runner jit=True (the default), and leave JAX's jax_disable_jit off."
    if not manifest.settings.trace_eager:
        remedy += (
            " Or capture(trace_eager=True) traces the step of such a run and captures that: the "
            "model's Python then runs once more for each new program, and what it does to files, "
            "to iterators and generators in closures, to bytearrays, context variables, "
            "os.environ or attributes of functions is not undone."
        )
    eager = [call for call in manifest.calls if not call.jit and call.error is None]
    for model, calls in _by_model(eager).items():
        stepwise = any(call.program is not None for call in calls)
        what = "the capture has one step alone" if stepwise else "there is no program"
        seconds = sum(call.native.wall or 0.0 for call in calls)
        yield Finding(
            slug="jit-disabled",
            sentence=(
                f"{counted(len(calls), 'call', 'calls')} of {model} ran without jit, operation by "
                f"operation from Python ({seconds:.2f} s): {what}."
            ),
            remedy=remedy,
            model=model,
            count=len(calls),
            seconds=seconds,
            programs=_programs_of(calls),
        )


def _opaque_custom_call(manifest: Manifest) -> Iterator[Finding]:
    for model, programs in _programs_by_model(manifest).items():
        for event in (True, False):
            found: dict[str, set[str]] = {}
            within: list[ProgramRecord] = []
            for program in programs:
                calls = {
                    target: constants
                    for target, constants in _opaque_of(program).items()
                    if target.startswith("brainevent") == event
                }
                within += [program] if calls else []
                for target, constants in calls.items():
                    found.setdefault(target, set()).update(_computing(program, constants))
            if not found:
                continue
            parts = sorted({part for computing in found.values() for part in computing})
            whose = f" It computes {', '.join(parts)}." if parts else ""
            asked = manifest.settings.portable
            yield Finding(
                slug="opaque-custom-call",
                sentence=(
                    f"The code of {', '.join(sorted(found))} is not in {_said(within)} "
                    f"({model}){', nor in the portable form' if asked else ''}.{whose}"
                ),
                remedy=(
                    "capture(portable=True) writes the program in plain StableHLO as well; "
                    'brainevent.config.set_backend("cpu", "jax_raw") before the run has the run '
                    "itself go without, but clears all of JAX's caches."
                    if event and not asked
                    else "Another compiler must bring the code itself."
                ),
                model=model,
                count=len(within),
                programs=_numbers(within),
            )


def _opaque_of(program: ProgramRecord) -> dict[str, tuple[str, ...]]:
    """Return the opaque calls that there is no other form of, with the constants they take."""
    opaque = program.fidelity.custom_calls
    form = program.portable
    if form is None or not form.files:
        return opaque
    left = form.fidelity.custom_calls
    return {target: constants for target, constants in opaque.items() if target in left}


def _computing(program: ProgramRecord, constants: Iterable[str]) -> set[str]:
    """Return the components whose constants these are: the projection, if one holds them."""
    found = set()
    for constant in constants:
        name = (
            component_names.enclosing_component(constant, program.components)
            or constant.partition(".")[0]
        )
        above = name
        while above not in program.links and "." in above:
            above = above.rpartition(".")[0]
        chosen = above if above in program.links else name
        found.add(component_names.label(chosen, program.links))
    return found


def _host_callback(manifest: Manifest) -> Iterator[Finding]:
    kept = {program.index for program in manifest.programs if program.fidelity.host_callbacks}
    bars = [
        module
        for module in manifest.modules
        if module.call is not None
        and compile_findings.calls_back(module)
        and manifest.calls[module.call].program not in kept
    ]
    for model, modules in compile_findings.by_model(manifest, bars).items():
        yield Finding(
            slug="host-callback",
            sentence=(
                f"{counted(len(modules), 'module', 'modules')} of {model} "
                f"{'calls' if len(modules) == 1 else 'call'} back into Python to draw a progress "
                "bar, to hand over monitors or to check values; not every JAX keeps such a module "
                "in its persistent cache (0.10.2 does not, 0.12.0 does)."
            ),
            remedy=(
                "Give the runner progress_bar=False, and leave memory_efficient off; take "
                "bp.check.jit_error out of update(), and bp.check.turn_off() takes out the checks "
                "of BrainPy's delays."
            ),
            model=model,
            count=len(modules),
            programs=compile_findings.programs_of(manifest, modules),
        )
    for model, programs in _programs_by_model(manifest).items():
        within = [program for program in programs if program.fidelity.host_callbacks]
        if within:
            targets = sorted({t for program in within for t in program.fidelity.host_callbacks})
            yield Finding(
                slug="host-callback",
                sentence=(
                    f"{_said(within).capitalize()} ({model}) "
                    f"{'calls' if len(within) == 1 else 'call'} back into Python "
                    f"({', '.join(targets)}): {'it' if len(within) == 1 else 'they'} can't run "
                    "elsewhere."
                ),
                remedy="Take jax.debug.print and the like out of update().",
                model=model,
                count=len(within),
                programs=_numbers(within),
            )
