"""The explanation of a program: the update of each state as an expression."""

from __future__ import annotations

import json

import pytest

from tests import eras
from tests.commands import assert_error, run
from tests.networks import NETWORKS
from tests.replaying import captured

pytestmark = pytest.mark.every_stack


def test_lif_reads_as_the_textbook_equation() -> None:
    explanation = captured("lif").program.within(None).explain()
    found = {name: equation.text for name, equation in explanation.equations.items()}
    assert found["V'"] == "-5 if spike' else V_1"
    assert found["spike'"] == "V_1 >= 20"
    if eras.SINCE_2_4:  # before 2.4, a group without a refractory period lacks this state
        assert found["V_1"].startswith("V if t - t_last_spike <= 0 else V + ")
        assert found["V_1"].endswith(" * ((-V + input + 20.5) / 10)")
        assert found["t_last_spike'"] == "t if spike' else t_last_spike"
    else:
        assert found["input'"] == "20.5"
        assert found["V_1"].endswith(" * ((-V + 20.5) / 10)")


def test_an_output_names_the_state_that_it_is_added_to() -> None:
    explanation = captured("einet").program.within(None).explain()
    components = {component.name: component for component in explanation.components}
    (equation,) = components["I2E.output"].equations
    assert equation.text.endswith(" * (-80 - E.V)")
    # Up to 2.3 the current is added to a state, which the step does not clear.
    assert components["I2E.output"].goes_to == (("E.V_1",) if eras.SINCE_2_4 else ("E.input'",))
    assert len(str(explanation).splitlines()) < (60 if eras.SINCE_2_7 else 65)


@pytest.mark.parametrize("name", [case.name for case in NETWORKS])
def test_every_state_has_an_equation(name: str) -> None:
    program = captured(name).program.within(None)
    updated = {e.state for e in program.explain().equations.values() if e.kind == "state"}
    assert updated == {spec.name for spec in program.results if spec.role == "state"}


def test_operations_are_lines_of_the_text() -> None:
    program = captured("einet").program.within(None)
    lines = program.text("stablehlo").splitlines()
    equation = program.explain().equations["E.V_1"]
    own = [lines[op.line - 1] for op in equation.operations if op.component == "E"]
    assert len(own) > 5
    assert all("stablehlo." in line for line in own)
    assert any('loc("~E/' in line for line in own)


def test_random_draws_are_functions_of_a_key() -> None:
    equations = captured("poisson").program.within(None).explain().equations
    assert "_uniform(" in equations["source.spike'"].text
    assert not any("<<" in equation.text for equation in equations.values())


def test_the_command_prints_one_component_or_json() -> None:
    path = captured("einet").path
    code, page = run("explain", path, "--component", "I")
    assert code == 0
    assert "I: LIF" in page
    assert "E: LIF" not in page
    code, printed = run("explain", path, "--json")
    assert json.loads(printed)["explanation"]["name"] == "EINet"
    assert_error(
        "has no component 'nowhere'", "explain", path, "--component", "nowhere", exit_code=2
    )


@pytest.mark.skipif(not eras.SINCE_2_7, reason="brainevent's kernels came with 2.7")
def test_a_kernel_with_a_definition_is_printed_by_name() -> None:
    explanation = captured("einet").program.within(None).explain()
    text = explanation.equations["E2E.comm"].text
    assert text == "csr_matvec(0.6, E2E.comm.indices, E2E.comm.indptr, E.spike)"
    assert not explanation.opaque
