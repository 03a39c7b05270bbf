"""A headless Chromium, driven over the WebDriver protocol, for the tests of pages."""

from __future__ import annotations

import base64
import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import requests

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
"""Programs of Debian's packages chromium and chromium-driver; None if not installed."""

KEYS = {"left": "\ue012", "right": "\ue014", "escape": "\ue00c", "shift": "\ue008"}
"""Codes of special keys."""

PATIENCE = 60.0
"""Seconds to wait for the program or the page."""


class Browser:
    """A browser window; a context manager.

    Args:
        width: Of the window.
        height: Of the window.
        scale: Device pixels per CSS pixel.
    """

    def __init__(self, width: int, height: int, scale: float = 1.0) -> None:
        assert DRIVER
        assert CHROMIUM
        command = [DRIVER, "--port=0"]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        port = next(
            line.rpartition(" ")[2].strip(" .\n")
            for line in self._process.stdout
            if "started successfully on port" in line
        )
        flags = [
            *("headless=new", "no-sandbox", "disable-dev-shm-usage", "hide-scrollbars"),
            *("disable-gpu", "disable-background-networking"),
            f"force-device-scale-factor={scale}",
        ]
        options = {"binary": CHROMIUM, "args": [f"--{flag}" for flag in flags]}
        wanted = {
            "browserName": "chrome",
            "goog:chromeOptions": options,
            "goog:loggingPrefs": {"browser": "ALL"},
        }
        self._address = f"http://127.0.0.1:{port}"
        session = self._post("/session", {"capabilities": {"alwaysMatch": wanted}})
        self._address += f"/session/{session['sessionId']}"
        self.resize(width, height)

    def _post(self, path: str, content: dict[str, Any]) -> Any:
        answer = requests.post(f"{self._address}{path}", json=content, timeout=PATIENCE).json()
        if isinstance(answer["value"], dict) and "error" in answer["value"]:
            raise RuntimeError(answer["value"]["message"])
        return answer["value"]

    def resize(self, width: int, height: int) -> None:
        """Set the size of the page."""
        self._post(
            "/goog/cdp/execute",
            {
                "cmd": "Emulation.setDeviceMetricsOverride",
                "params": {
                    "width": width,
                    "height": height,
                    "deviceScaleFactor": 0,
                    "mobile": False,
                },
            },
        )

    def open(self, url: str) -> None:
        """Open a page."""
        self._post("/url", {"url": url})

    def run(self, script: str, *arguments: Any) -> Any:
        """The value that a script returns."""
        return self._post("/execute/sync", {"script": script, "args": list(arguments)})

    def wait(self, condition: str) -> None:
        """Wait until an expression of JavaScript is true."""
        end = time.monotonic() + PATIENCE
        while not self.run(f"return Boolean({condition})"):
            assert time.monotonic() < end, f"{condition} never became true; {self.log()}"
            time.sleep(0.05)

    def wait_for_map(self) -> None:
        """Wait until all tiles of the map are drawn."""
        self.wait("document.body.dataset.ready && window.decametre")
        self.run(
            "window.drawn = false;"
            "decametre.scene.map.once('rendercomplete', () => { window.drawn = true; });"
            "decametre.scene.map.render();"
        )
        self.wait("window.drawn")

    def keys(self, *keys: str, hold: bool = False) -> None:
        """Press keys one after the other; with `hold`, the last one stays down."""
        actions = []
        for number, key in enumerate(keys):
            code = KEYS.get(key, key)
            actions.append({"type": "keyDown", "value": code})
            if not hold or number < len(keys) - 1:
                actions.append({"type": "keyUp", "value": code})
        self._act({"type": "key", "id": "keyboard", "actions": actions})

    def release(self) -> None:
        """Release what is held."""
        requests.delete(f"{self._address}/actions", timeout=PATIENCE)

    def drag(self, path: Sequence[tuple[float, float]]) -> None:
        """Press the pointer at the first place, move along the others, and release it."""
        (x, y), *rest = [(round(x), round(y)) for x, y in path]
        move = {"type": "pointerMove", "duration": 50, "origin": "viewport"}
        actions: list[dict[str, Any]] = [{**move, "x": x, "y": y}]
        actions.append({"type": "pointerDown", "button": 0})
        actions += [{**move, "x": x, "y": y} for x, y in rest]
        actions.append({"type": "pointerUp", "button": 0})
        self._act({"type": "pointer", "id": "mouse", "actions": actions})

    def hover(self, x: float, y: float) -> None:
        """Move the pointer."""
        move = {"type": "pointerMove", "duration": 50, "origin": "viewport"}
        actions = [{**move, "x": round(x), "y": round(y)}]
        self._act({"type": "pointer", "id": "mouse", "actions": actions})

    def click(self, selector: str) -> None:
        """Click the first element of a CSS selector."""
        self.run("document.querySelector(arguments[0]).click()", selector)

    def _act(self, source: dict[str, Any]) -> None:
        self._post("/actions", {"actions": [source]})

    def screenshot(self, path: Path) -> None:
        """Save the page as PNG."""
        answer = requests.get(f"{self._address}/screenshot", timeout=PATIENCE).json()
        path.write_bytes(base64.b64decode(answer["value"]))

    def log(self) -> list[str]:
        """Messages of the page's console that are errors."""
        entries = self._post("/se/log", {"type": "browser"})
        return [each["message"] for each in entries if each["level"] == "SEVERE"]

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *error: object) -> None:
        requests.delete(self._address, timeout=PATIENCE)
        self._process.terminate()
        self._process.wait()
