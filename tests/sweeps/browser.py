"""A headless Chromium for tests, through its DevTools protocol: a page, real clicks and keys, screenshots. Standard library only."""

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
from typing import Any

KEYS = {"Enter": 13, "Escape": 27, "Tab": 9, "ArrowUp": 38, "ArrowDown": 40, "ArrowRight": 39, "ArrowLeft": 37, " ": 32}


def find_chromium() -> str | None:
    """The path of a Chromium or Chrome, None where there is none."""
    names = ("chromium", "chromium-browser", "google-chrome", "chrome", "google-chrome-stable")
    return next((path for path in map(shutil.which, names) if path), None)


class Browser:
    """with Browser() as b: b.open(path); b.click("button"); b.js("document.title"). errors: what the page threw or logged as one."""

    def __init__(self, width: int = 1280, height: int = 900):
        self.size, self.number, self.errors, self.folder = (width, height), 0, [], tempfile.mkdtemp(prefix="mmrep-browser-")

    def __enter__(self) -> "Browser":
        flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0", "--no-first-run", "--disable-extensions",
                 "--disable-background-networking", "--disable-dev-shm-usage", f"--user-data-dir={self.folder}",
                 f"--window-size={self.size[0]},{self.size[1]}", "about:blank"]
        self.process = subprocess.Popen([find_chromium(), *flags], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            self._connect()
        except BaseException:
            self.__exit__()
            raise
        for domain in ("Page", "Runtime", "Log"):
            self.send(f"{domain}.enable")
        self.resize(*self.size)
        return self

    def __exit__(self, *_: Any) -> None:
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _connect(self, seconds: float = 30) -> None:
        """The page's WebSocket: the port is told in a file, the handshake is a GET."""
        file, deadline = Path(self.folder, "DevToolsActivePort"), time.monotonic() + seconds
        while not (file.is_file() and file.read_text().strip()):
            if time.monotonic() > deadline or self.process.poll() is not None:
                raise RuntimeError(f"Chromium did not start within {seconds:.0f} s (exit status {self.process.poll()})")
            time.sleep(0.05)
        port = int(file.read_text().split()[0])
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        targets = json.load(opener.open(f"http://127.0.0.1:{port}/json/list", timeout=seconds))
        path = next(t["webSocketDebuggerUrl"] for t in targets if t["type"] == "page").split(str(port), 1)[1]
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=seconds)
        key = base64.b64encode(os.urandom(16)).decode()
        self.socket.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode())
        self.stream = self.socket.makefile("rb")
        while self.stream.readline().strip():
            pass

    def send(self, method: str, **params: Any) -> dict:
        """Call a method of the protocol and return its result; what happens meanwhile is kept in `errors`. Raises RuntimeError."""
        self.number += 1
        text = json.dumps({"id": self.number, "method": method, "params": params}).encode()
        size = struct.pack(">BBQ", 0x81, 0x80 | 127, len(text)) + b"\0\0\0\0"  # a client must mask; a mask of zeros changes nothing
        self.socket.sendall(size + text)
        while True:
            message = json.loads(self._receive())
            if message.get("method") == "Runtime.exceptionThrown":
                details = message["params"]["exceptionDetails"]
                self.errors.append(details.get("exception", {}).get("description", details["text"]))
            if message.get("method") == "Log.entryAdded" and message["params"]["entry"]["level"] == "error":
                self.errors.append(message["params"]["entry"]["text"])
            if message.get("id") == self.number:
                if "error" in message:
                    raise RuntimeError(f"{method}: {message['error']['message']}")
                return message["result"]

    def _receive(self) -> bytes:
        """One message, of as many frames as it takes."""
        parts = b""
        while True:
            first, size = self.stream.read(2)
            size &= 127
            if size > 125:
                size = int.from_bytes(self.stream.read(2 if size == 126 else 8), "big")
            parts += self.stream.read(size)
            if first & 0x80:
                return parts

    def open(self, path: Path) -> None:
        """Open a file and wait until it is loaded and painted."""
        self.send("Page.navigate", url=Path(path).resolve().as_uri())
        self.wait("document.readyState === 'complete' && performance.getEntriesByType('paint').length > 0 && location.protocol === 'file:'")

    def wait(self, condition: str, seconds: float = 15) -> None:
        deadline = time.monotonic() + seconds
        while not self.js(condition):
            if time.monotonic() > deadline:
                raise TimeoutError(f"never true: {condition}")
            time.sleep(0.03)

    def js(self, expression: str) -> Any:
        """The value of an expression in the page. Raises RuntimeError for what it throws."""
        result = self.send("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in result:
            raise RuntimeError(f"{expression}: {result['exceptionDetails'].get('exception', {}).get('description')}")
        return result["result"].get("value")

    def place(self, selector: str, at: tuple[float, float] = (0.5, 0.5)) -> tuple[float, float]:
        """A point of an element, scrolled into sight. Raises LookupError where it is not drawn."""
        box = self.js(f"""(() => {{ const e = document.querySelector({json.dumps(selector)}); if (!e) return null;
            e.scrollIntoView({{block: "center", behavior: "instant"}}); const b = e.getBoundingClientRect();
            return b.width + b.height ? [b.left + b.width * {at[0]}, b.top + b.height * {at[1]}] : null }})()""")
        if box is None:
            raise LookupError(f"{selector} is not in sight")
        return tuple(box)

    def mouse(self, kind: str, x: float, y: float, down: bool = False) -> None:
        self.send("Input.dispatchMouseEvent", type=f"mouse{kind}", x=x, y=y, button="none" if kind == "Moved" and not down else "left",
                  buttons=int(down), clickCount=int(kind != "Moved"))

    def click(self, selector: str, at: tuple[float, float] = (0.5, 0.5)) -> None:
        x, y = self.place(selector, at)
        self.mouse("Moved", x, y)
        self.mouse("Pressed", x, y, True)
        self.mouse("Released", x, y)

    def hover(self, selector: str, at: tuple[float, float] = (0.5, 0.5)) -> None:
        self.mouse("Moved", *self.place(selector, at))

    def drag(self, selector: str, start: tuple[float, float], end: tuple[float, float]) -> None:
        """From one point of an element to another, in steps."""
        (x0, y0), (x1, y1) = self.place(selector, start), self.place(selector, end)
        self.mouse("Moved", x0, y0)
        self.mouse("Pressed", x0, y0, True)
        for f in (0.25, 0.5, 0.75, 1.0):
            self.mouse("Moved", x0 + f * (x1 - x0), y0 + f * (y1 - y0), True)
        self.mouse("Released", x1, y1)

    def key(self, name: str, shift: bool = False) -> None:
        text = {"Enter": "\r", " ": " "}.get(name)
        more = {"text": text} if text else {}
        for kind in ("keyDown", "keyUp"):
            self.send("Input.dispatchKeyEvent", type=kind, key=name, code=name, windowsVirtualKeyCode=KEYS[name], modifiers=8 * shift,
                      **(more if kind == "keyDown" else {}))

    def type(self, text: str) -> None:
        self.send("Input.insertText", text=text)

    def resize(self, width: int, height: int) -> None:
        self.send("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def shot(self, path: Path) -> None:
        """Save what is in sight as PNG."""
        Path(path).write_bytes(base64.b64decode(self.send("Page.captureScreenshot", format="png")["data"]))
