"""Makes the pictures of the documentation from real captures, with a headless Chromium.

    python -m docs.pictures

It captures EINet (20,000 neurons, 10,000 steps), with and without ``profile=True``, and the script
of the page about recompilation. Chromium must be installed (Debian: chromium).
"""

from __future__ import annotations

import base64
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import brainpy as bp
from rich.text import Text

import brainpy_probe as probe
from brainpy_probe.output import Output
from brainpy_probe.report.api import picture
from brainpy_probe.report.text.summary import summary
from examples.einet import EINet
from tests.report.browser import Browser

PICTURES = Path(__file__).parent / "pictures"
RECOMPILATION = Path(__file__).parent / "guide" / "recompilation.md"
# The pictures are shown at about this width.
WIDTH = 1000
# Around an element.
_MARGIN = 8


def main() -> None:
    """Make all pictures."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        plain = _einet(folder / "plain", profile=False)
        (PICTURES / "model.svg").write_bytes(picture(plain.programs[0], "svg"))
        (PICTURES / "terminal.svg").write_text(_terminal(plain))
        einet = _einet(folder / "einet", profile=True).report(folder / "einet.html")
        recompiled = _recompiled(folder).report(folder / "recompiled.html")
        with Browser(WIDTH, 900) as browser:
            _open(browser, einet)
            _write(browser, "report.png", "#programs > *", height=798)
            _write(browser, "costs.png", "section.costs")
            _open(browser, recompiled)
            _write(browser, "recompiled.png", "#calls")
        # Three texts side by side.
        with Browser(1400, 900) as browser:
            _open(browser, einet)
            line = "current.panes.eq.text.lines.findIndex((line) => line.includes('E2E.output ='))"
            browser.get(f"current.choose('eq', {line}, null)")
            browser.wait("current.panes.hlo.chosen.size > 0")
            _write(browser, "explanation.png", "section.texts", height=530)


def _einet(folder: Path, *, profile: bool) -> probe.Capture:
    bp.math.random.seed(1)
    inputs = [("E.input", 20.0), ("I.input", 20.0)]
    runner = bp.DSRunner(EINet(), inputs=inputs, monitors=["E.spike"])
    with probe.capture(folder, dialect=["mhlo", "hlo"], profile=profile) as cap:
        runner.run(1000.0)
    return cap


def _recompiled(folder: Path) -> probe.Capture:
    """Run the script of the page in a process of its own."""
    (script,) = re.findall(
        r"^<!-- file recompiled.py -->\n```python\n(.*?)^```$",
        RECOMPILATION.read_text(),
        re.MULTILINE | re.DOTALL,
    )
    (folder / "recompiled.py").write_text(script)
    subprocess.run([sys.executable, "recompiled.py"], cwd=folder, check=True)
    (run,) = (folder / "recompiled").glob("run-*")
    return probe.load(run)


def _terminal(cap: probe.Capture) -> str:
    """Return what ``brainpy-probe show`` prints, as SVG."""
    with Path("/dev/null").open("w") as nowhere:
        console = Output(record=True, width=80, force_terminal=True, file=nowhere)
        console.print(Text("$ brainpy-probe show", style="bold"))
        console.print(summary(Path("/home/you/einet") / cap.path.name, cap.manifest))
    text = console.export_svg(title="brainpy-probe", unique_id="terminal")
    # The font comes from the network, and is not needed.
    text = re.sub(r"@font-face \{.*?\}\s*", "", text, flags=re.DOTALL)
    return text.replace("Fira Code, monospace", "monospace")


def _open(browser: Browser, file: Path) -> None:
    browser.open(file.as_uri())
    browser.wait("parts.length > 0")
    browser.get("current.load()")


def _write(browser: Browser, name: str, selector: str, *, height: int | None = None) -> None:
    """Write a picture of the first element that a selector finds."""
    box = browser.get(
        f"(() => {{const b = document.querySelector({selector!r}).getBoundingClientRect();"
        " return {x: b.x + scrollX, y: b.y + scrollY, width: b.width, height: b.height}})()"
    )
    clip = {
        "x": max(box["x"] - _MARGIN, 0),
        "y": max(box["y"] - _MARGIN, 0),
        "width": box["width"] + 2 * _MARGIN,
        "height": min(box["height"] + 2 * _MARGIN, height or 10_000),
        "scale": 1,
    }
    answer = browser.call("Page.captureScreenshot", clip=clip, captureBeyondViewport=True)
    (PICTURES / name).write_bytes(base64.b64decode(answer["data"]))


if __name__ == "__main__":
    main()
