"""Renders a lowered program as text in each dialect, and checks the text.

Every text is parsed back by MLIR's or XLA's own parser before it is returned. MHLO and VHLO are
also converted back to StableHLO, from which XLA must make the same HLO as from the original.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from brainpy_probe.compat import bindings
from brainpy_probe.errors import CannotConvert, first_line
from brainpy_probe.format import component_names
from brainpy_probe.format.manifest.program_records import DialectCheck
from brainpy_probe.ir import identity, locations, mlir, portable
from brainpy_probe.ir.placement import placement_of, remove_placement, shardings
from brainpy_probe.settings import Dialect

if TYPE_CHECKING:
    from brainpy_probe.compat.bindings import HloModule, MlirModule, MlirOperation

__all__ = ["Lowered", "Rendering", "convert"]


@dataclass(frozen=True)
class Rendering:
    """A program in one dialect, and the result of its check."""

    content: bytes
    check: DialectCheck
    chlo: tuple[str, ...] = ()


@dataclass
class Lowered:
    """A program as a StableHLO module with named arguments and without source locations.

    Parameters
    ----------
    source : ir.Module
        A module that JAX lowered for this purpose only: it is changed, then copied.
    name : str
        The module's new name.
    arguments, results : sequences of str
        Names such as ``state['E.V']``, stored as attributes ``jax.arg_info`` and
        ``jax.result_info`` of each argument and result of ``main``.
    training : bool
        Whether ops of a gradient are labelled as the backward pass.
    platform : str
        JAX's name of the platform for which JAX lowered it.
    one_device : bool
        Whether the placement of arrays is removed, so that the program runs on one device.
    """

    source: MlirModule
    name: str
    arguments: Sequence[str]
    results: Sequence[str]
    training: bool = False
    platform: str = ""
    one_device: bool = False
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.context = bindings.mlir_context()
        if self.one_device or placement_of(self.source, self.platform).devices == 1:
            removed = remove_placement(self.source)
            if removed:
                self.notes.append(
                    f"{removed} sharding constraints were removed: they have no effect on one "
                    "device."
                )
        self.placement = placement_of(self.source, self.platform)
        self.argument_shardings, self.result_shardings = shardings(self.source)
        self.tokens = _rename(self.source, self.name, self.arguments, self.results)
        self._parsed: locations.RenamedModule | None = None
        self.module, self.owners = self._label_ops()

    @property
    def token_types(self) -> list[tuple[tuple[int, ...], str]]:
        """Shape and dtype of each token; tokens come first among main's arguments.

        A token is ``tensor<0xi1>`` on 0.4.13, and ``!stablehlo.token`` later.
        """
        types = mlir.argument_types(self.module)[: self.tokens]
        return [((0,), "bool") if name == "tensor<0xi1>" else ((), "token") for name in types]

    @functools.cached_property
    def operations(self) -> tuple[MlirOperation, ...]:
        """All operations at any depth; cached, so the module must not change after first use."""
        return tuple(mlir.operations(self.module))

    @functools.cached_property
    def custom_calls(self) -> dict[str, list[MlirOperation]]:
        """The custom calls whose code is not in the module, by target."""
        return mlir.custom_calls(self.operations)

    def _label_ops(self) -> tuple[MlirModule, set[str]]:
        """Copy the module, and set the location of each op to the name of its component.

        Returns
        -------
        module, owners
            The copy, and the names of the components in it.
        """
        try:
            rename = functools.partial(component_names.location, training=self.training)
            copy = locations.rename_locations(self.source, rename, self.context)
        except Exception as error:
            self.notes.append(f"The ops are not labelled with their component: {first_line(error)}")
            unlabelled = bindings.parse_mlir(bindings.mlir_bytecode(self.source), self.context)
            return bindings.without_locations(unlabelled), set()
        self._parsed = copy
        return copy.module, set(map(component_names.owner, copy.names))

    @property
    def hlo_module(self) -> HloModule:
        """The program as XLA's HLO module."""
        return self._origin.hlo_module

    def expand_chlo(self) -> None:
        """Decompose CHLO operations to StableHLO, if this jaxlib has the pass for it."""
        self._parsed = None
        bindings.chlo_to_stablehlo(self.module)
        remaining = mlir.chlo_operations(mlir.operations(self.module))
        if remaining:
            self.notes.append(f"This jaxlib can't decompose {', '.join(remaining)} to StableHLO.")

    def make_portable(self) -> None:
        """Replace patterns that other compilers do not support or compile slowly."""
        self._parsed = None
        portable.replace_boolean_converts(self.module)
        portable.replace_running_sums(self.module)
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
        """Return the program as VHLO bytecode, checked by reading it back; None if not possible."""
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
                origin = identity.ComparableModule(module)
            content = bindings.portable_bytecode(module)
            back = bindings.read_portable_bytecode(content, self.context)
        except Exception as error:
            self.notes.append(f"The program has no portable bytecode: {first_line(error)}")
            return None
        difference = origin.difference(identity.ComparableModule(back))
        return Rendering(content, DialectCheck(parsed=not difference, detail=difference))

    @functools.cached_property
    def _origin(self) -> identity.ComparableModule:
        """The program, for comparison with texts that were converted back to StableHLO."""
        text = "" if self._parsed is None else self._parsed.bare
        return identity.ComparableModule(self.module, text)

    @functools.cached_property
    def _chlo(self) -> tuple[str, ...]:
        return mlir.chlo_operations(self.operations)

    def _copy(self) -> MlirModule:
        return bindings.parse_mlir(bindings.mlir_bytecode(self.module), self.context)

    def _stablehlo(self) -> Rendering:
        text = bindings.mlir_text(self.module, locations=True)
        # A module that prints the text it was parsed from needs no second parse.
        same = self._parsed is not None and text == self._parsed.text
        check = DialectCheck(parsed=True) if same else identity.reparse(text, self.context)
        return Rendering(text.encode(), check, self._chlo)

    def _mhlo(self) -> Rendering:
        module = self._copy()
        operations = identity.to_mhlo(module)
        text = bindings.mlir_text(module, locations=True)
        check = identity.reparse(text, self.context)
        back = bindings.parse_mlir(text, self.context)
        # HLO contains no dead operations: compare the counts of all operations too.
        difference = identity.first_difference(operations, identity.operation_counts(back))
        bindings.run_passes(back, "hlo-legalize-to-stablehlo")
        difference = difference or self._origin.difference(identity.ComparableModule(back))
        return Rendering(
            text.encode(),
            DialectCheck(
                parsed=check.parsed,
                returns=not difference,
                detail=" ".join(filter(None, [check.detail, difference])),
            ),
            mlir.chlo_operations(mlir.operations(module)),
        )

    def _hlo(self) -> Rendering:
        text = bindings.hlo_text(self.hlo_module)
        back = bindings.parse_hlo(text)
        difference = identity.first_difference(self._origin.hlo, identity.canonical_hlo(back))
        return Rendering(text.encode(), DialectCheck(parsed=not difference, detail=difference))


def _rename(module: MlirModule, name: str, arguments: Sequence[str], results: Sequence[str]) -> int:
    """Name the module, its arguments and results; return the number of leading tokens."""
    ir = bindings.take("mlir")
    main = mlir.main(module)
    with module.context:
        module.operation.attributes["sym_name"] = ir.StringAttr.get(name)
        function = ir.FunctionType(ir.TypeAttr(main.operation.attributes["function_type"]).value)
        tokens = len(function.inputs) - len(arguments)
        if tokens < 0 or len(function.results) - len(results) != tokens:
            raise ValueError(
                f"main has {len(function.inputs)} arguments and {len(function.results)} results, "
                f"but {len(arguments)} and {len(results)} names were given"
            )
        for kind, info, names in (
            ("arg_attrs", "jax.arg_info", arguments),
            ("res_attrs", "jax.result_info", results),
        ):
            attributes = main.operation.attributes
            count = tokens + len(names)
            old = (
                list(ir.ArrayAttr(attributes[kind]))
                if kind in attributes
                else [ir.DictAttr.get({})] * count
            )
            new = []
            for position in range(count):
                entries = {entry.name: entry.attr for entry in ir.DictAttr(old[position])}
                entries.pop("jax.result_info", None)
                label = names[position - tokens] if position >= tokens else f"token[{position}]"
                new.append(ir.DictAttr.get({**entries, info: ir.StringAttr.get(label)}))
            attributes[kind] = ir.ArrayAttr.get(new)
    return tokens


def convert(name: str, content: bytes, dialect: Dialect) -> str:
    """Return a module's text in a dialect, after parsing it back.

    Parameters
    ----------
    name : str
        The module's name in error messages.
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
            back = identity.canonical_hlo(bindings.parse_hlo(text))
            difference = identity.first_difference(identity.canonical_hlo(hlo), back)
        else:
            if dialect == "mhlo":
                identity.to_mhlo(module)
            text = bindings.mlir_text(module)
            difference = identity.reparse(text, context).detail
    except Exception as error:
        raise _cannot_convert(name, dialect, first_line(error)) from error
    if difference:
        reason = f"its text, parsed back, is a different program: {difference}"
        raise _cannot_convert(name, dialect, reason)
    return text


def _cannot_convert(name: str, dialect: Dialect, reason: str) -> CannotConvert:
    return CannotConvert(
        f"{name} can't be written in {dialect}: {reason}.",
        "Read the capture with the jaxlib that wrote it, or ask for another dialect.",
    )
