"""Drives a headless Chromium with its debugging protocol, without a driver package."""

from __future__ import annotations

import base64
import json
import os
import shutil
import socket
import struct
import subprocess
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any, Self

__all__ = ["CHROMIUM", "Browser"]

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


class _Socket:
    """A WebSocket connection to the browser (RFC 6455), for text messages only."""

    def __init__(self, url: str) -> None:
        host, _, path = url.removeprefix("ws://").partition("/")
        name, _, port = host.partition(":")
        self.socket = socket.create_connection((name, int(port)), 30)
        key = base64.b64encode(os.urandom(16)).decode()
        self.socket.sendall(
            f"GET /{path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\n"
            "Sec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += self._exactly(1)

    def send(self, text: str) -> None:
        """Send a text message."""
        content, mask = text.encode(), os.urandom(4)
        size = len(content)
        if size < 126:
            head = bytes([0x81, 0x80 | size])
        elif size < 1 << 16:
            head = bytes([0x81, 0x80 | 126]) + struct.pack(">H", size)
        else:
            head = bytes([0x81, 0x80 | 127]) + struct.pack(">Q", size)
        masked = bytes(byte ^ mask[n % 4] for n, byte in enumerate(content))
        self.socket.sendall(head + mask + masked)

    def receive(self) -> str:
        """Return the next text message."""
        content = b""
        while True:
            first, second = self._exactly(2)
            size = second & 127
            if size == 126:
                (size,) = struct.unpack(">H", self._exactly(2))
            elif size == 127:
                (size,) = struct.unpack(">Q", self._exactly(8))
            part = self._exactly(size)
            if first & 15 in (0, 1):
                content += part
                if first & 128:
                    return content.decode()

    def _exactly(self, count: int) -> bytes:
        content = b""
        while len(content) < count:
            part = self.socket.recv(count - len(content))
            if not part:
                raise EOFError("the browser closed the connection")
            content += part
        return content


class Browser:
    """A page in a headless browser.

    Attributes
    ----------
    console : list of str
        The console output of the page, and its uncaught exceptions.
    requests : list of str
        The URLs that the page loaded.
    """

    def __init__(self, width: int = 1400, height: int = 900) -> None:
        self.console: list[str] = []
        self.requests: list[str] = []
        self._calls = 0
        self._profile = tempfile.mkdtemp()
        words = ["--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0"]
        words += [f"--user-data-dir={self._profile}", "about:blank"]
        assert CHROMIUM is not None
        self._process = subprocess.Popen(
            [CHROMIUM, *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        file = Path(self._profile) / "DevToolsActivePort"
        self._wait(lambda: file.exists() and file.read_text().count("\n") > 0)
        port = file.read_text().split()[0]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/json") as answer:
            pages = json.load(answer)
        (url,) = (page["webSocketDebuggerUrl"] for page in pages if page["type"] == "page")
        self._socket = _Socket(url)
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=1, mobile=False,
        )  # fmt: skip

    def call(self, method: str, **parameters: Any) -> Any:
        """Call a method of the protocol."""
        self._calls += 1
        message = {"id": self._calls, "method": method, "params": parameters}
        self._socket.send(json.dumps(message))
        while True:
            answer = json.loads(self._socket.receive())
            if answer.get("id") == self._calls:
                return answer.get("result", {})
            self._record_event(answer.get("method"), answer.get("params", {}))

    def _record_event(self, event: str, values: dict[str, Any]) -> None:
        if event == "Runtime.exceptionThrown":
            self.console.append(json.dumps(values["exceptionDetails"]))
        elif event == "Runtime.consoleAPICalled":
            self.console.append(json.dumps(values["args"]))
        elif event == "Log.entryAdded":
            self.console.append(values["entry"]["text"])
        elif event == "Network.requestWillBeSent":
            self.requests.append(values["request"]["url"])

    def open(self, url: str) -> None:
        """Open a page, and wait until it has loaded."""
        self.call("Page.navigate", url=url)
        self.wait("document.readyState === 'complete'")

    def get(self, expression: str) -> Any:
        """Return the value of an expression; a promise is awaited."""
        answer = self.call(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def wait(self, expression: str) -> None:
        """Wait until an expression is true."""
        self._wait(lambda: self.get(expression))

    def _wait(self, ready: Any) -> None:
        end = time.monotonic() + 30
        while not ready():
            assert time.monotonic() < end, "the browser was not ready within 30 s"
            time.sleep(0.02)

    def press(self, key: str) -> None:
        """Press a key."""
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key)

    def screenshot(self, path: Path) -> None:
        """Write a picture of the visible part of the page."""
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot")["data"]))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait()
        shutil.rmtree(self._profile, ignore_errors=True)
