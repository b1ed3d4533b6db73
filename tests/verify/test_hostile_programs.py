"""Malicious programs: the command that reads or runs them survives and names the program."""

from __future__ import annotations

import math
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import brainpy_probe as probe
from brainpy_probe.format.digests import digest_of
from brainpy_probe.ir.executables import profiler
from brainpy_probe.verify.api import verify
from tests.altering import alter, rewrite
from tests.commands import assert_error
from tests.eras import SINCE_2_7
from tests.networks import by_name
from tests.verify.test_fuzz import FOLDERS

BYTECODE = "programs/000-LIF/program.vhlo.mlirbc"
SCALAR = "tensor<f32>"

ZERO = "%0 = stablehlo.constant dense<0.0> : tensor<f32>"
ENDLESS = f"""
    {ZERO}
    %1 = stablehlo.while(%a = %0) : tensor<f32>
     cond {{
      %t = stablehlo.constant dense<true> : tensor<i1>
      stablehlo.return %t : tensor<i1>
    }} do {{
      %n = stablehlo.cosine %a : tensor<f32>
      stablehlo.return %n : tensor<f32>
    }}
    return %1 : tensor<f32>"""
CALLBACK = f"""
    {ZERO}
    %1 = stablehlo.custom_call @xla_ffi_python_cpu_callback(%0) : (tensor<f32>) -> tensor<f32>
    return %1 : tensor<f32>"""
TWO_RESULTS = f"{ZERO} return %0, %0 : tensor<f32>, tensor<f32>"
LARGE = "tensor<2000000000xf32>"


def _with_program(
    folder: Path,
    body: str,
    result: str = SCALAR,
    shape: tuple[int, ...] = (),
    functions: str = "",
    calls: tuple[str, ...] = (),
) -> Path:
    """Replace a capture's program by one with no arguments and one result."""
    content = (
        f"module @LIF {{\n{functions}\nfunc.func public @main() -> {result} {{ {body}\n}}\n}}\n"
    ).encode()
    record = probe.load(folder).programs[0].record
    (text,) = [file.path for file in record.files if file.kind == "stablehlo"]
    (folder / text).write_bytes(content)
    spec = {"name": "x", "role": "state", "shape": shape, "dtype": "float32"}
    spec["nbytes"] = 4 * math.prod(shape)
    file = {"path": text, "kind": "stablehlo", "size": len(content), "digest": digest_of(content)}

    def change(manifest: dict[str, Any]) -> None:
        program = manifest["programs"][0]
        program.update(arguments=[], results=[spec], files=[file])
        program["fidelity"]["custom_calls"] = dict.fromkeys(calls, ())

    alter(folder, change)
    return folder


# --- Limits -------------------------------------------------------------------------------------


def test_a_program_that_never_ends_is_stopped(copy: Path) -> None:
    limits = probe.Limits(seconds=3)
    program = probe.load(_with_program(copy, ENDLESS)).programs[0].within(limits)
    message = "LIF did not end within 3 s and was stopped"
    with ThreadPoolExecutor() as threads:
        running = [threads.submit(program.replay)]
        if profiler.can_profile():
            running.append(threads.submit(program.measure))
        verified = threads.submit(verify, copy, limits=limits)
        for future in running:
            with pytest.raises(probe.Stopped, match=message):
                future.result()
    (replayed,) = [check for check in verified.result().checks if check.name == "replay"]
    assert replayed.outcome == "undecided"
    assert "did not end within 3 s" in replayed.reason
    assert program.costs.step.transcendentals == 1  # costs need no run


REPLAYING = """
import brainpy_probe as probe, sys
print("started", flush=True)
probe.load(sys.argv[1]).programs[0].replay()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lists children in /proc")
def test_a_worker_ends_with_its_parent_process(copy: Path) -> None:
    _with_program(copy, ENDLESS)
    parent = subprocess.Popen([sys.executable, "-c", REPLAYING, str(copy)], stdout=subprocess.PIPE)
    with parent:
        assert parent.stdout is not None
        parent.stdout.readline()
        children = Path(f"/proc/{parent.pid}/task/{parent.pid}/children")
        _wait_until(lambda: bool(children.read_text().strip()))
        worker = int(children.read_text())
        parent.kill()
    _wait_until(lambda: not _runs(worker))


def _wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def _runs(process: int) -> bool:
    try:
        return ") Z " not in Path(f"/proc/{process}/stat").read_text()
    except FileNotFoundError:
        return False


def _doubling(depth: int) -> str:
    """Return functions, each of which calls the previous one twice."""
    head = "(%a: tensor<f32>) -> tensor<f32>"
    functions = [f"func.func private @f0{head} {{ return %a : tensor<f32> }}"]
    functions += [
        f"func.func private @f{number}{head} {{\n"
        f"%0 = call @f{number - 1}(%a) : (tensor<f32>) -> tensor<f32>\n"
        f"%1 = call @f{number - 1}(%0) : (tensor<f32>) -> tensor<f32>\n"
        "return %1 : tensor<f32> }"
        for number in range(1, depth + 1)
    ]
    return "\n".join(functions)


def test_exponentially_many_calls_are_stopped(copy: Path) -> None:
    body = f"{ZERO} %1 = call @f40(%0) : (tensor<f32>) -> tensor<f32> return %1 : tensor<f32>"
    _with_program(copy, body, functions=_doubling(40))
    assert_error(
        "costs of LIF did not end within 1 s and was stopped", "costs", "--timeout", 1, copy
    )


@pytest.mark.parametrize("op", ["iota dim = 0", "constant dense<1.5>"])
def test_a_program_that_needs_too_much_memory_is_stopped(op: str, copy: Path) -> None:
    body = f"%0 = stablehlo.{op} : {LARGE} return %0 : {LARGE}"
    _with_program(copy, body, LARGE, (2_000_000_000,))
    assert_error("more memory than its limit of 1.00 GB", "replay", "--memory", 1, copy)


def test_the_memory_of_a_gpus_program_is_watched(copy: Path) -> None:
    body = f"%0 = stablehlo.constant dense<1.5> : {LARGE} return %0 : {LARGE}"
    _with_program(copy, body, LARGE, (2_000_000_000,))

    def change(manifest: dict[str, Any]) -> None:
        manifest["programs"][0]["fidelity"]["placement"] = {"platform": "cuda"}

    alter(copy, change)
    assert_error("more memory than its limit of 1.00 GB", "replay", "--memory", 1, copy)


# --- Programs that crash their process ----------------------------------------------------------


def _regions(depth: int) -> str:
    """Return nested stablehlo.if ops."""
    opening = [f'%r{number} = "stablehlo.if"(%p) ({{' for number in range(depth)]
    closing = [
        "}, { stablehlo.return %0 : tensor<f32> }) : (tensor<i1>) -> tensor<f32>\n"
        f"{'stablehlo.' if number else ''}return %r{number} : tensor<f32>"
        for number in reversed(range(depth))
    ]
    predicate = "%p = stablehlo.constant dense<true> : tensor<i1>"
    return "\n".join([ZERO, predicate, *opening, "stablehlo.return %0 : tensor<f32>", *closing])


def _tuples(depth: int) -> str:
    kind = "tuple<" * depth + "tensor<f32>" + ">" * depth
    return f"{ZERO}\n%1 = stablehlo.tuple %0 : {kind}\nreturn %0 : tensor<f32>"


RECURSIVE_FUNCTION = "func.func private @f(%a: tensor<f32>) -> tensor<f32> {"
RECURSIVE_FUNCTION += "%0 = call @f(%a) : (tensor<f32>) -> tensor<f32> return %0 : tensor<f32> }"
DEEP: dict[str, Callable[[Path], Path]] = {
    "regions": lambda folder: _with_program(folder, _regions(20_000)),
    "types": lambda folder: _with_program(folder, _tuples(50_000)),
    "a recursive function": lambda folder: _with_program(
        folder,
        f"{ZERO} %1 = call @f(%0) : (tensor<f32>) -> tensor<f32> return %1 : tensor<f32>",
        functions=RECURSIVE_FUNCTION,
    ),
}


@pytest.mark.parametrize("kind", DEEP)
def test_a_deeply_nested_program_crashes_no_command(kind: str, copy: Path) -> None:
    assert_error("LIF", "costs", DEEP[kind](copy))


def test_a_program_that_ends_its_reader_fails_verification(copy: Path) -> None:
    checks = verify(DEEP["types"](copy)).checks
    failed = [check.reason for check in checks if check.outcome == "failed"]
    assert any("ended the process" in reason for reason in failed)


# LAPACK's LU function, called with too few operands, and with a result or size that is too small.
if SINCE_2_7:
    LU, OPTIONS = "lapack_sgetrf_ffi", "mhlo.backend_config = {}"
    OPERANDS = {"few": "()", "small": "(%a)"}
else:
    LU, OPTIONS = "lapack_sgetrf", "api_version = 2 : i32"
    OPERANDS = {"few": "(%a)", "small": "(%b, %m, %m, %a)"}
TYPES = {"%a": "tensor<90x90xf32>", "%b": "tensor<i32>", "%m": "tensor<i32>"}


@pytest.mark.parametrize("fault", OPERANDS)
def test_lapack_with_wrong_operands_crashes_no_command(fault: str, copy: Path) -> None:
    operands = OPERANDS[fault]
    types = ", ".join(TYPES[name] for name in operands.strip("()").split(", ") if name)
    body = f"""
    %a = stablehlo.constant dense<1.0> : tensor<90x90xf32>
    %b = stablehlo.constant dense<1> : tensor<i32>
    %m = stablehlo.constant dense<9000> : tensor<i32>
    %1:3 = stablehlo.custom_call @{LU}{operands} {{{OPTIONS}}}
      : ({types}) -> (tensor<1x1xf32>, tensor<1xi32>, tensor<1xi32>)
    return %1#0 : tensor<1x1xf32>"""
    assert_error("LIF", "replay", _with_program(copy, body, "tensor<1x1xf32>", (1, 1), calls=(LU,)))


# The operands of brainevent's kernel for a sparse product, its index type, and the error message.
KERNEL = {
    "count": ("(%w)", "tensor<33xi32>", "not enough arguments"),
    "ranks": ("(%w, %i, %i, %s)", "tensor<33x1xi32>", "EINet failed"),
}


@pytest.mark.skipif(FOLDERS <= 100, reason="one of the longer tests: numba compiles the kernel")
@pytest.mark.skipif(not SINCE_2_7, reason="BrainPy uses the kernels of brainevent since 2.7")
@pytest.mark.parametrize("fault", KERNEL)
def test_a_kernel_with_wrong_operands_crashes_no_command(fault: str, tmp_path: Path) -> None:
    case = by_name("einet")
    runner = case.build()
    with probe.capture(tmp_path, strict=True) as cap:
        case.run(runner)
    (kernel,) = cap.programs[0].fidelity.custom_calls
    operands, indices, message = KERNEL[fault]
    types = {"%w": "tensor<1xf32>", "%i": indices, "%s": "tensor<32xi1>"}
    operand_types = ", ".join(types[name] for name in operands.strip("()").split(", "))
    body = f"""
    %w = stablehlo.constant dense<1.0> : tensor<1xf32>
    %i = stablehlo.constant dense<1> : {indices}
    %s = stablehlo.constant dense<true> : tensor<32xi1>
    %1 = stablehlo.custom_call @{kernel}{operands} {{mhlo.backend_config = {{}}}}
      : ({operand_types}) -> tensor<32xf32>
    return %1 : tensor<32xf32>"""
    assert_error(
        message, "replay", _with_program(cap.path, body, "tensor<32xf32>", (32,), calls=(kernel,))
    )


@pytest.mark.parametrize("command", ["costs", "replay", "measure"])
def test_damaged_bytecode_crashes_no_command(command: str, copy: Path) -> None:
    content = (copy / BYTECODE).read_bytes()
    half = len(content) // 2
    rewrite(copy, BYTECODE, content[:half] + content[half + 8 :])

    def change(manifest: dict[str, Any]) -> None:
        program = manifest["programs"][0]
        program["files"] = [file for file in program["files"] if file["kind"] != "stablehlo"]

    alter(copy, change)
    if command != "measure":
        assert_error("LIF", command, copy)
        return
    with pytest.raises(probe.ProbeError, match="LIF"):
        probe.load(copy).programs[0].measure()


def test_a_damaged_module_is_converted_in_another_process(copy: Path) -> None:
    module = probe.load(copy).modules[0]
    path = module.paths["mlirbc"].relative_to(copy).as_posix()
    content = (copy / path).read_bytes()
    rewrite(copy, path, content[:200] + bytes(8) + content[208:])
    module = probe.load(copy).modules[0]
    with pytest.raises((probe.CannotConvert, probe.Stopped), match=module.name):
        module.convert()


# --- Programs that contradict the manifest ------------------------------------------------------


def test_a_call_that_is_not_in_the_manifest_does_not_run(copy: Path) -> None:
    program = probe.load(_with_program(copy, CALLBACK)).programs[0]
    with pytest.raises(probe.CannotReplay, match="xla_ffi_python_cpu_callback, which the manifest"):
        program.within(None).replay()


def test_results_that_contradict_the_manifest_are_an_error(copy: Path) -> None:
    _with_program(copy, TWO_RESULTS, "(tensor<f32>, tensor<f32>)")
    assert_error("LIF", "replay", copy)


# --- Valid programs -----------------------------------------------------------------------------


def test_a_task_gives_the_same_in_another_process(lif: Path) -> None:
    program = probe.load(lif).programs[0]
    assert program.costs == program.within(None).costs
    in_worker, in_process = program.replay(repeat=2), program.within(None).replay(repeat=2)
    assert len(in_worker.run_seconds) == 2
    assert in_worker.compared == in_process.compared
    assert {name: array.tobytes() for name, array in in_worker.results.items()} == {
        name: array.tobytes() for name, array in in_process.results.items()
    }


@pytest.mark.parametrize("limit", ["--timeout", "--memory"])
def test_a_limit_of_zero_is_refused(limit: str, lif: Path) -> None:
    assert_error("is not allowed", "replay", limit, 0, lif, exit_code=2)
