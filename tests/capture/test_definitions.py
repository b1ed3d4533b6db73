"""The model's definition in a capture: classes, derivatives and parameters."""

from __future__ import annotations

import brainpy as bp
import msgspec

from brainpy_probe.recording.model import sources
from brainpy_probe.recording.model.definitions import read_definition
from tests.replaying import captured


def test_a_group_has_an_equation_derivative_and_parameters() -> None:
    definition = captured("lif").program.record.definition
    assert definition is not None
    assert not definition.notes
    cls = definition.class_of("LIF")
    assert cls is not None
    assert cls.name.endswith("LIF")
    assert r"\frac{dV}{dt}" in cls.math[0]
    (derivative,) = definition.derivatives_of("LIF")
    assert derivative.variables == ("V",)
    assert (derivative.method, derivative.dt) == ("ExponentialEuler", 0.1)
    (returned,) = derivative.source
    assert returned.startswith("return (-V + self.V_rest + self.R * I")
    values = {p.name: p.value for p in definition.components["LIF"].parameters}
    assert (values["tau"], values["V_th"]) == (10.0, 20.0)
    assert "site-packages" not in msgspec.json.encode(definition).decode()


def test_components_of_a_class_share_their_derivative() -> None:
    definition = captured("einet").program.record.definition
    assert definition is not None
    assert len(definition.derivatives) == 2
    assert definition.components["E"].cls == definition.components["I"].cls
    assert definition.derivatives_of("E") == definition.derivatives_of("I")


def test_two_lambdas_in_one_line_have_their_own_source() -> None:
    first, second = (lambda x: x + 1), (lambda x: -x)
    assert sources.statements(first) == ("return x + 1",)
    assert sources.statements(second) == ("return -x",)


def test_a_derivative_without_source_is_noted() -> None:
    dx = eval("lambda x, t: -x")  # noqa: S307
    group = bp.neurons.LIF(2)
    group.integral = bp.odeint(dx, method="euler")
    definition = read_definition([("A", lambda: group)])
    assert definition.derivatives_of("A")[0].source == ()
    assert "source of the derivative of x" in definition.notes[0]
