"""Renders a lowered program as text in a dialect and proves the text; knows no BrainPy, no file.

Every text is parsed back by MLIR's or XLA's own parser before it is given out. MHLO and VHLO are
also led back to StableHLO, and XLA must make the same HLO of that as of what it came from.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from brainpy_probe.errors import first_line
from brainpy_probe.live import mlir, seams
from brainpy_probe.records import DialectCheck
from brainpy_probe.settings import Dialect

__all__ = ["Lowered", "Rendering"]


@dataclass(frozen=True)
class Rendering:
    """A program in one dialect, and how far that was proved."""

    content: bytes
    check: DialectCheck
    chlo: tuple[str, ...] = ()


@dataclass
class Lowered:
    """A program as a StableHLO module of our own, named and cleaned.

    Parameters
    ----------
    source : ir.Module
        The module that JAX lowered; it is copied, not changed.
    name : str
        The module's new name.
    arguments, results : sequences of str
        Names such as ``state['E.V']``, put beside each argument and result of ``main`` as
        ``jax.arg_info`` and ``jax.result_info``.
    """

    source: Any
    name: str
    arguments: Sequence[str]
    results: Sequence[str]
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.context = seams.mlir_context()
        self.module = seams.parse_mlir(seams.mlir_bytecode(self.source), self.context)
        removed = _remove_empty_sharding(self.module)
        if removed:
            self.notes.append(
                f"{removed} sharding constraints on an empty mesh, which do nothing, are left out."
            )
        self.tokens = _rename(self.module, self.name, self.arguments, self.results)
        self.module.operation.verify()

    def expand_chlo(self) -> None:
        """Write CHLO's operations out in StableHLO, where this jaxlib has the pass for it."""
        seams.chlo_to_stablehlo(self.module)
        left = mlir.chlo(self.module)
        if left:
            self.notes.append(f"This jaxlib can't write out in StableHLO: {', '.join(left)}.")

    def render(self, dialect: Dialect) -> Rendering:
        """Render the program in a dialect."""
        renderers: dict[Dialect, Callable[[], Rendering]] = {
            "stablehlo": self._stablehlo,
            "mhlo": self._mhlo,
            "hlo": self._hlo,
        }
        return renderers[dialect]()

    def bytecode(self) -> Rendering | None:
        """Return the program as VHLO bytecode, proved by reading it back; None if it can't be."""
        if any(map(mlir.is_callback, mlir.custom_calls(self.module))):
            self.notes.append(
                "The program has no portable bytecode: it calls back into this Python process."
            )
            return None
        module = self._copy()
        try:
            seams.chlo_to_stablehlo(module)
            origin = _Compared.of(module)
            content = seams.portable_bytecode(seams.without_locations(module))
            back = seams.read_portable_bytecode(content, self.context)
        except Exception as error:
            self.notes.append(f"The program has no portable bytecode: {first_line(error)}")
            return None
        difference = origin.difference(_Compared.of(back))
        return Rendering(content, DialectCheck(parsed=not difference, detail=difference))

    def _copy(self) -> Any:
        return seams.parse_mlir(seams.mlir_bytecode(self.module), self.context)

    def _stablehlo(self) -> Rendering:
        text = seams.mlir_text(self.module)
        return Rendering(text.encode(), _reparse(text), mlir.chlo(self.module))

    def _mhlo(self) -> Rendering:
        module = self._copy()
        operations = _operations(module)
        seams.run_passes(module, "stablehlo-legalize-to-hlo")
        # CHLO by XLA's own rules: what has an operation in MHLO (erf, top_k) keeps it. Only if
        # there is any, since this pass folds constants as well on 0.4.13 and 0.4.23; and not before
        # the other, since it can't pass by a loop that carries StableHLO's tokens.
        if mlir.chlo(module):
            seams.run_passes(module, "func.func(chlo-legalize-to-hlo)")
            operations = _operations(module)
            seams.run_passes(module, "stablehlo-legalize-to-hlo")
        text = seams.mlir_text(module)
        check = _reparse(text)
        back = seams.parse_mlir(text, self.context)
        # Each operation has its counterpart, dead ones too, which no HLO tells of.
        difference = _difference(operations, _operations(back))
        seams.run_passes(back, "hlo-legalize-to-stablehlo")
        difference = difference or _Compared.of(self.module).difference(_Compared.of(back))
        return Rendering(
            text.encode(),
            DialectCheck(
                parsed=check.parsed,
                returns=not difference,
                detail=" ".join(filter(None, [check.detail, difference])),
            ),
            mlir.chlo(module),
        )

    def _hlo(self) -> Rendering:
        module = seams.hlo_of(self.module)
        text = seams.hlo_text(module)
        back = seams.parse_hlo(text)
        difference = _difference(seams.hlo_canonical_text(module), seams.hlo_canonical_text(back))
        return Rendering(text.encode(), DialectCheck(parsed=not difference, detail=difference))


@dataclass(frozen=True)
class _Compared:
    """What tells one StableHLO module from another.

    Not its text: what CHLO was does not come back, passes fold constants (0.4.13, 0.4.23),
    attributes with their default value get lost, and JAX spells typed custom calls unlike MHLO.
    The HLO that XLA makes of two modules of one program is the same, backend configs included;
    what HLO knows nothing of, the names of main's arguments and results, stands beside it.
    """

    signature: str
    hlo: str

    @classmethod
    def of(cls, module: Any) -> _Compared:
        return cls(_signature(module), seams.hlo_canonical_text(seams.hlo_of(module)))

    def difference(self, other: _Compared) -> str:
        return _difference(self.signature, other.signature) or _difference(self.hlo, other.hlo)


def _reparse(text: str) -> DialectCheck:
    """Parse MLIR text in a context of its own and compare what that prints."""
    again = seams.mlir_text(seams.parse_mlir(text, seams.mlir_context()))
    difference = _difference(text, again)
    return DialectCheck(parsed=not difference, detail=difference)


def _difference(left: str, right: str) -> str:
    """Return the first line in which two texts differ, or nothing."""
    if left == right:
        return ""
    pairs = zip(left.splitlines(), right.splitlines(), strict=False)
    for number, (one, other) in enumerate(pairs, 1):
        if one != other:
            return f"line {number} differs: {one.strip()[:200]!r} and {other.strip()[:200]!r}"
    return "one text is longer than the other"


def _rename(module: Any, name: str, arguments: Sequence[str], results: Sequence[str]) -> int:
    """Name the module, and ``main``'s arguments and results; return how many tokens lead them."""
    ir = seams.take("mlir")
    main = mlir.main(module)
    with module.context:
        module.operation.attributes["sym_name"] = ir.StringAttr.get(name)
        function = ir.FunctionType(ir.TypeAttr(main.operation.attributes["function_type"]).value)
        tokens = len(function.inputs) - len(arguments)
        if tokens < 0 or len(function.results) - len(results) != tokens:
            raise ValueError(
                f"main has {len(function.inputs)} arguments and {len(function.results)} results, "
                f"but {len(arguments)} and {len(results)} have names"
            )
        for kind, info, names in (
            ("arg_attrs", "jax.arg_info", arguments),
            ("res_attrs", "jax.result_info", results),
        ):
            given = main.operation.attributes
            count = tokens + len(names)
            old = (
                list(ir.ArrayAttr(given[kind])) if kind in given else [ir.DictAttr.get({})] * count
            )
            new = []
            for position in range(count):
                entries = {entry.name: entry.attr for entry in ir.DictAttr(old[position])}
                entries.pop("jax.result_info", None)
                label = names[position - tokens] if position >= tokens else f"token[{position}]"
                new.append(ir.DictAttr.get({**entries, info: ir.StringAttr.get(label)}))
            given[kind] = ir.ArrayAttr.get(new)
    return tokens


def _remove_empty_sharding(module: Any) -> int:
    """Take out Shardy's constraints on a mesh without devices: they are identities.

    brainstate's random state brings them in, and no compiler but XLA knows the dialect.
    """
    meshes = {
        mlir.string(one.attributes["sym_name"]): one
        for one in mlir.operations(module)
        if one.name == "sdy.mesh"
    }
    empty = {name for name, one in meshes.items() if str(one.attributes["mesh"]) == _EMPTY_MESH}
    constraints = [
        one
        for one in mlir.operations(module)
        if one.name == "sdy.sharding_constraint"
        and any(f"@{name}," in str(one.attributes["sharding"]) for name in empty)
    ]
    for one in constraints:
        one.results[0].replace_all_uses_with(one.operands[0])
        one.erase()
    text = seams.mlir_text(module)
    for name in empty:
        if len(re.findall(rf"@{re.escape(name)}\b", text)) == 1:
            meshes[name].erase()
    return len(constraints)


_EMPTY_MESH = "#sdy.mesh<[]>"


def _signature(module: Any) -> str:
    """Print main's type, and the names and attributes of its arguments and results."""
    attributes = mlir.main(module).operation.attributes
    kinds = ("function_type", "arg_attrs", "res_attrs")
    return "\n".join(str(attributes[kind]) for kind in kinds if kind in attributes)


def _operations(module: Any) -> str:
    """Print the number of operations by name, whatever their dialect."""
    counted = Counter(one.name.partition(".")[2] for one in mlir.operations(module))
    return "\n".join(f"{name} {counted[name]}" for name in sorted(counted))
