"""The components in the names of locations."""

from __future__ import annotations

from brainpy_probe.format import component_names


def test_a_component_called_by_another_keeps_its_own_name() -> None:
    outer = "jit(scan)/while/body/~Net/~E/~E2E.syn/jit(_where)/select_n"
    assert component_names.owner(outer) == "E2E.syn"
    assert component_names.location(outer) == "~E2E.syn/select_n"
    assert component_names.location("jit(f)/while/body/~Net/transpose(~Net)/~E/mul") == "~E/mul"
    assert component_names.location("jit(f)/while/body/dynamic_update_slice") == (
        f"~{component_names.MONITORS}/dynamic_update_slice"
    )
    assert component_names.location("jit(f)/jit(main)/while/body/add[a=(1,)]") == "while/body/add"
