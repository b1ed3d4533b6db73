"""Prints terms as LaTeX."""

from __future__ import annotations

import re

from brainpy_probe.analysis.explanation.printing.text import (
    ATOM,
    OR,
    PRODUCT,
    SIGN,
    SUM,
    Printer,
)
from brainpy_probe.analysis.explanation.terms import Term

__all__ = ["LatexPrinter", "escape", "latex_name"]

_FUNCTIONS = {"exp", "log", "sin", "cos", "tan", "tanh", "max", "min"}
_COMPARISONS = {"LT": "<", "LE": r"\le", "GT": ">", "GE": r"\ge", "EQ": "=", "NE": r"\ne"}
_SPECIAL = {
    "\\": r"\backslash ", "{": r"\{", "}": r"\}", "_": r"\_", "#": r"\#", "%": r"\%", "&": r"\&",
    "$": r"\$", "^": r"\hat{\ }", "~": r"\sim ",
}  # fmt: skip


def escape(text: str) -> str:
    """Escape a text for a LaTeX formula, so that it contains no LaTeX commands."""
    return "".join(_SPECIAL.get(character, character) for character in text)


def latex_name(name: str) -> str:
    r"""Return a name as LaTeX: ``V'_{\mathrm{E}}`` for ``E.V'``."""
    name, primed, _ = name.partition("'")
    owner, _, attribute = name.rpartition(".")
    letter = escape(attribute) if len(attribute) == 1 else rf"\mathrm{{{escape(attribute)}}}"
    index = rf"_{{\mathrm{{{escape(owner)}}}}}" if owner else ""
    return f"{letter}{primed}{index}"


class LatexPrinter(Printer):
    """Prints terms as LaTeX; see :class:`.text.Printer`."""

    def name(self, name: str) -> str:
        """Print a name."""
        return latex_name(name)

    def parenthesised(self, text: str) -> str:
        """Print parentheses around an expression."""
        return rf"\left({text}\right)"

    def applied(self, name: str, arguments: list[str]) -> str:
        """Print a function of arguments."""
        shown = f"\\{name}" if name in _FUNCTIONS else rf"\operatorname{{{escape(name)}}}"
        inner = ", ".join(re.sub(r"(?<!\\)_(?=[a-z]+=)", r"\\_", text) for text in arguments)
        return rf"{shown}\left({inner}\right)"

    def product(self, factors: list[tuple[Term, int]]) -> str:
        """Print a product of powers."""
        return r" \cdot ".join(
            self.reference(factor, PRODUCT if not place else SIGN)
            if power == 1
            else self.power(factor, str(power))
            for place, (factor, power) in enumerate(factors)
        )

    def power(self, base: Term, exponent: str) -> str:
        """Print a power."""
        return f"{{{self.reference(base, ATOM)}}}^{{{exponent}}}"

    def cases(self, condition: Term, then: Term, otherwise: Term) -> str:
        """Print a choice between two values."""
        return (
            rf"\begin{{cases}}{self.reference(then)} & \text{{if }} {self.reference(condition, OR)}"
            rf" \\ {self.reference(otherwise)} & \text{{otherwise}}\end{{cases}}"
        )

    def _divide(self, term: Term) -> tuple[str, int]:
        left, right = term.operands
        return rf"\frac{{{self.reference(left)}}}{{{self.reference(right)}}}", ATOM

    def _compare(self, term: Term) -> tuple[str, int]:
        left, right = term.operands
        sign = _COMPARISONS[term.attributes["comparison_direction"]]
        return f"{self.reference(left, SUM)} {sign} {self.reference(right, SUM)}", 4

    def _logic(self, term: Term, word: str, bits: str, precedence: int) -> tuple[str, int]:
        left, right = term.operands
        if term.dtype != "bool":
            return super()._logic(term, word, rf"\mathbin{{\mathtt{{{escape(bits)}}}}}", precedence)
        signs = {"and": r"\land", "or": r"\lor", "xor": r"\oplus"}
        pair = self.reference(left, precedence), self.reference(right, precedence + 1)
        return f"{pair[0]} {signs[word]} {pair[1]}", precedence

    def _not(self, term: Term) -> tuple[str, int]:
        return rf"\lnot {self.reference(term.operands[0], 3)}", 3

    def _dot_general(self, term: Term) -> tuple[str, int]:
        text, precedence = super()._dot_general(term)
        return text.replace(" @ ", " "), precedence
