"""Explanations of small programs in this file."""

from __future__ import annotations

import numpy as np
import pytest

from brainpy_probe.analysis.evaluation.evaluator import Evaluator
from brainpy_probe.analysis.explanation.explain import explain, step_of
from brainpy_probe.analysis.explanation.hashing import identity
from brainpy_probe.analysis.explanation.records import Explanation
from brainpy_probe.format.manifest.program_records import Fidelity, ProgramRecord, Role, TensorSpec


def _record(names: tuple[str, ...] = ("x",), dtype: str = "float32") -> ProgramRecord:
    def spec(name: str, role: Role) -> TensorSpec:
        return TensorSpec(name=name, role=role, shape=(4,), dtype=dtype, nbytes=16)

    states = tuple(spec(name, "state") for name in names)
    return ProgramRecord(
        index=0, name="M", kind="step", fingerprint="", arguments=states, results=states,
        fidelity=Fidelity(), files=(), components={"M": "M"},
    )  # fmt: skip


def _program(body: str, types: str = "tensor<4xf32>", names: str = "%x") -> bytes:
    arguments = ", ".join(f"{name}: {types}" for name in names.split())
    results = ", ".join([types] * len(names.split()))
    return (
        f"module @M {{\n  func.func public @main({arguments}) -> ({results}) {{\n{body}\n  }}\n}}\n"
    ).encode()


def _explain(body: str, dtype: str = "float32") -> Explanation:
    element = {"float32": "f32", "int32": "i32"}[dtype]
    return explain(_record(dtype=dtype), _program(body, f"tensor<4x{element}>"), lines=True)


_CONSTANT = "    %{name} = stablehlo.constant dense<{value}> : tensor<4x{element}>\n"


def _constant(name: str, value: str, element: str = "f32") -> str:
    return _CONSTANT.format(name=name, value=value, element=element)


def test_an_equation_has_the_lines_of_its_ops() -> None:
    body = _constant("c", "2.5") + (
        "    %0 = stablehlo.multiply %c, %x : tensor<4xf32>\n    return %0 : tensor<4xf32>"
    )
    (equation,) = _explain(body).equations.values()
    assert (equation.name, equation.text) == ("x'", "2.5 * x")
    assert [op.line for op in equation.operations] == [4]


def test_a_product_with_minus_one_is_a_negation() -> None:
    for operands in ("%c, %x", "%x, %c"):
        line = f"    %0 = stablehlo.multiply {operands} : tensor<4xf32>\n"
        body = _constant("c", "-1.0") + line + "    return %0 : tensor<4xf32>"
        (equation,) = _explain(body).equations.values()
        assert equation.text == "-x"


def test_a_deep_expression_is_split() -> None:
    before = ["%x", *(f"%{n}" for n in range(600))]
    lines = [f"    %{n} = stablehlo.tanh {before[n]} : tensor<4xf32>" for n in range(600)]
    explanation = _explain("\n".join([*lines, "    return %599 : tensor<4xf32>"]))
    assert 10 < len(explanation.equations) < 20
    assert max(len(e.text) for e in explanation.equations.values()) < 300
    added = [f"    %{n} = stablehlo.add {before[n]}, %x : tensor<4xf32>" for n in range(600)]
    explanation = _explain("\n".join([*added, "    return %599 : tensor<4xf32>"]))
    assert explanation.equations["x'"].text.count("+ x") == 600


@pytest.mark.parametrize("divisor", ["7", "-7"])
def test_a_shifted_remainder_is_a_modulo(divisor: str) -> None:
    body = (
        _constant("d", divisor, "i32")
        + _constant("z", "0", "i32")
        + (
            "    %r = stablehlo.remainder %x, %d : tensor<4xi32>\n"
            "    %n = stablehlo.compare LT, %r, %z"
            " : (tensor<4xi32>, tensor<4xi32>) -> tensor<4xi1>\n"
            "    %m = stablehlo.add %r, %d : tensor<4xi32>\n"
            "    %0 = stablehlo.select %n, %m, %r : tensor<4xi1>, tensor<4xi32>\n"
            "    return %0 : tensor<4xi32>"
        )
    )
    explanation = _explain(body, "int32")
    texts = " ".join(equation.text for equation in explanation.equations.values())
    assert ("mod(x, 7)" in texts) == (divisor == "7")
    record = _record(dtype="int32")
    step = step_of(record, _program(body, "tensor<4xi32>"))
    x = np.array([-8, -1, 0, 9], np.int32)
    value = Evaluator(record, {id(step.arguments[0]): x}).value(step.results[0].term)
    remainder = np.fmod(x, int(divisor))
    assert (value == np.where(remainder < 0, remainder + int(divisor), remainder)).all()


def test_the_identity_depends_on_the_order_of_operands() -> None:
    record = _record(("x", "y"))

    def identity_of(body: str) -> str:
        content = _program(body, names="%x %y")
        return identity(record, step_of(record, content))

    subtracted = "    %0 = stablehlo.subtract {}, {} : tensor<4xf32>\n    return %0, %y : {}"
    added = subtracted.replace("subtract", "add")
    types = "tensor<4xf32>, tensor<4xf32>"
    a, b = (
        identity_of(subtracted.format("%x", "%y", types)),
        identity_of(subtracted.format("%y", "%x", types)),
    )
    assert a != b
    assert identity_of(added.format("%x", "%y", types)) == identity_of(
        added.format("%y", "%x", types)
    )
    swapped = added.format("%x", "%y", types).replace("return %0, %y", "return %y, %0")
    assert identity_of(swapped) != identity_of(added.format("%x", "%y", types))
    renamed = subtracted.format("%x", "%y", types).replace("%0", "%other")
    assert identity_of(renamed) == a


def test_constants_print_as_decimals_and_compute_as_floats() -> None:
    body = (
        _constant("a", "1.000000e-01")
        + _constant("b", "5.000000e+00")
        + (
            "    %q = stablehlo.divide %a, %b : tensor<4xf32>\n"
            "    %0 = stablehlo.multiply %q, %x : tensor<4xf32>\n"
            "    return %0 : tensor<4xf32>"
        )
    )
    explanation = _explain(body)
    assert explanation.equations["x'"].text == "0.02 * x"
    assert explanation.notes[0].endswith("own precision: 1.")
    step = step_of(_record(), _program(body))
    arguments = {id(step.arguments[0]): np.ones(4, np.float32)}
    value = Evaluator(_record(), arguments).value(step.results[0].term)
    assert (value == np.float32(0.1) / np.float32(5)).all()
