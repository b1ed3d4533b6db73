"""Renders a lowered program as text in a dialect and proves the text; knows no BrainPy, no file.

Every text is parsed back by MLIR's or XLA's own parser before it is given out. MHLO and VHLO are
also led back to StableHLO, and XLA must make the same HLO of that as of what it came from.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from brainpy_probe.compat import bindings
from brainpy_probe.errors import CannotConvert, first_line
from brainpy_probe.format import component_names
from brainpy_probe.format.program_records import DialectCheck
from brainpy_probe.ir import identity, locations, mlir, portable
from brainpy_probe.ir.portable import remove_placement
from brainpy_probe.settings import Dialect

__all__ = ["Lowered", "Rendering", "converted"]


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
        The module that JAX lowered for us, and for no one else: it is cleaned, then copied.
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
        self.context = bindings.mlir_context()
        removed = remove_placement(self.source)
        if removed:
            self.notes.append(
                f"{removed} sharding constraints, which do nothing on one device, are left out."
            )
        self.tokens = _rename(self.source, self.name, self.arguments, self.results)
        self._parsed: locations.Renamed | None = None
        self.module, self.owners = self._named_by_component()

    @property
    def token_forms(self) -> list[tuple[tuple[int, ...], str]]:
        """Shape and element type of each token that leads main's arguments.

        A token is ``tensor<0xi1>`` on 0.4.13, and ``!stablehlo.token`` later.
        """
        types = mlir.argument_types(self.module)[: self.tokens]
        return [((0,), "bool") if kind == "tensor<0xi1>" else ((), "token") for kind in types]

    @functools.cached_property
    def operations(self) -> tuple[Any, ...]:
        """Its operations, at any depth, once nothing changes them any more."""
        return tuple(mlir.operations(self.module))

    @functools.cached_property
    def custom_calls(self) -> dict[str, list[Any]]:
        """Those that call what is not in the module, by target."""
        return mlir.custom_calls(self.operations)

    def _named_by_component(self) -> tuple[Any, set[str]]:
        """Copy the module; each op's location says whose it is, and nothing of files here.

        Returns
        -------
        module, owners
            The copy, and the components that it names.
        """
        try:
            made = locations.renamed(self.source, component_names.location, self.context)
        except Exception as error:
            self.notes.append(f"The ops do not say whose they are: {first_line(error)}")
            copy = bindings.parse_mlir(bindings.mlir_bytecode(self.source), self.context)
            return bindings.without_locations(copy), set()
        self._parsed = made
        return made.module, set(map(component_names.owner, made.names))

    @property
    def hlo_module(self) -> Any:
        """The HLO module that XLA makes of it."""
        return self._origin.hlo_module

    def expand_chlo(self) -> None:
        """Write CHLO's operations out in StableHLO, where this jaxlib has the pass for it."""
        self._parsed = None
        bindings.chlo_to_stablehlo(self.module)
        left = mlir.chlo(mlir.operations(self.module))
        if left:
            self.notes.append(f"This jaxlib can't write out in StableHLO: {', '.join(left)}.")

    def for_other_compilers(self) -> None:
        """Write what other compilers can't do in a way in which they can."""
        self._parsed = None
        portable.select_booleans(self.module)
        portable.double_running_sums(self.module)
        self.module.operation.verify()

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
        if any(map(mlir.is_callback, self.custom_calls)):
            self.notes.append(
                "The program has no portable bytecode: it calls back into this Python process."
            )
            return None
        module, origin = self.module, self._origin
        try:
            if self._chlo:
                module = self._copy()
                bindings.chlo_to_stablehlo(module)
                origin = identity.Compared(module)
            content = bindings.portable_bytecode(module)
            back = bindings.read_portable_bytecode(content, self.context)
        except Exception as error:
            self.notes.append(f"The program has no portable bytecode: {first_line(error)}")
            return None
        difference = origin.difference(identity.Compared(back))
        return Rendering(content, DialectCheck(parsed=not difference, detail=difference))

    @functools.cached_property
    def _origin(self) -> identity.Compared:
        """The program as every other form of it must be."""
        return identity.Compared(self.module, "" if self._parsed is None else self._parsed.bare)

    @functools.cached_property
    def _chlo(self) -> tuple[str, ...]:
        return mlir.chlo(self.operations)

    def _copy(self) -> Any:
        return bindings.parse_mlir(bindings.mlir_bytecode(self.module), self.context)

    def _stablehlo(self) -> Rendering:
        text = bindings.mlir_text(self.module, locations=True)
        # What prints as the text of which it was parsed needs no second proof.
        same = self._parsed is not None and text == self._parsed.text
        check = DialectCheck(parsed=True) if same else identity.reparse(text, self.context)
        return Rendering(text.encode(), check, self._chlo)

    def _mhlo(self) -> Rendering:
        module = self._copy()
        operations = identity.to_mhlo(module)
        text = bindings.mlir_text(module, locations=True)
        check = identity.reparse(text, self.context)
        back = bindings.parse_mlir(text, self.context)
        # Each operation has its counterpart, dead ones too, which no HLO tells of.
        difference = identity.first_difference(operations, identity.operation_counts(back))
        bindings.run_passes(back, "hlo-legalize-to-stablehlo")
        difference = difference or self._origin.difference(identity.Compared(back))
        return Rendering(
            text.encode(),
            DialectCheck(
                parsed=check.parsed,
                returns=not difference,
                detail=" ".join(filter(None, [check.detail, difference])),
            ),
            mlir.chlo(mlir.operations(module)),
        )

    def _hlo(self) -> Rendering:
        text = bindings.hlo_text(self.hlo_module)
        back = bindings.parse_hlo(text)
        difference = identity.first_difference(self._origin.hlo, bindings.hlo_canonical_text(back))
        return Rendering(text.encode(), DialectCheck(parsed=not difference, detail=difference))


def _rename(module: Any, name: str, arguments: Sequence[str], results: Sequence[str]) -> int:
    """Name the module, and ``main``'s arguments and results; return how many tokens lead them."""
    ir = bindings.take("mlir")
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


def converted(name: str, content: bytes, dialect: Dialect) -> str:
    """Return a module's text in a dialect, parsed back before it is returned.

    Parameters
    ----------
    name : str
        What the module is called, for errors.
    content : bytes
        MLIR bytecode of StableHLO, as JAX handed it to XLA.
    dialect : str
        ``stablehlo``, ``mhlo`` or ``hlo``.

    Raises
    ------
    CannotConvert
        If this jaxlib can't read the bytecode or write that dialect.
    """
    try:
        context = bindings.mlir_context()
        module = bindings.parse_mlir(content, context)
        if dialect == "hlo":
            hlo = bindings.hlo_of(module)
            text = bindings.hlo_text(hlo)
            back = bindings.hlo_canonical_text(bindings.parse_hlo(text))
            difference = identity.first_difference(bindings.hlo_canonical_text(hlo), back)
        else:
            if dialect == "mhlo":
                identity.to_mhlo(module)
            text = bindings.mlir_text(module)
            difference = identity.reparse(text, context).detail
    except Exception as error:
        raise _cannot_convert(name, dialect, first_line(error)) from error
    if difference:
        reason = f"its text is read back as another: {difference}"
        raise _cannot_convert(name, dialect, reason)
    return text


def _cannot_convert(name: str, dialect: Dialect, reason: str) -> CannotConvert:
    return CannotConvert(
        f"{name} can't be written in {dialect}: {reason}.",
        "Read the capture with the jaxlib that wrote it, or ask for another dialect.",
    )
