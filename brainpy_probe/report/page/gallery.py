"""Writes pictures of XLA's graphs as one HTML file, with pan and zoom."""

from __future__ import annotations

import base64
import gzip
from collections.abc import Sequence

from brainpy_probe.quantities import size
from brainpy_probe.report.page.html import join, tag
from brainpy_probe.report.page.page import page_of, resource
from brainpy_probe.report.pictures.xla import Drawing

__all__ = ["gallery"]


def gallery(name: str, drawings: Sequence[Drawing]) -> str:
    """Return the gallery of a capture's pictures.

    Parameters
    ----------
    name : str
        The capture's name.
    drawings : sequence of Drawing
        The pictures. Those that could not be drawn are listed with the reason.
    """
    drawn = [drawing for drawing in drawings if drawing.content]
    failed = [drawing for drawing in drawings if not drawing.content]
    buttons = [
        tag(
            "button",
            f"{drawing.source.parent.parent.name}/{drawing.source.stem}",
            tag("small", f" {size(len(drawing.content))}"),
            type="button",
        )
        for drawing in drawn
    ]
    reasons = [
        tag("p", f"{drawing.source.name}: {drawing.problem}", class_="warn") for drawing in failed
    ]
    body = join(
        [
            tag(
                "div",
                tag("h4", name),
                tag("p", "drag and wheel, or arrow keys, +, - and 0", class_="note"),
                *buttons,
                *reasons,
                id="list",
            ),
            tag("div", id="view", tabindex=0, role="img", aria_label="the picture"),
        ]
    )
    data = [
        {
            "name": drawing.source.name,
            "type": "image/svg+xml" if drawing.form == "svg" else "image/png",
            "packed": base64.b64encode(gzip.compress(drawing.content, mtime=0)).decode(),
        }
        for drawing in drawn
    ]
    style = resource("page.css") + resource("gallery.css")
    return page_of(name, body, data, style, resource("gallery.js"), images="data:")
