"""Opens pages in headless Chromium and says what a reader would see; spoken to over a pipe, so that no port is needed.

https://chromedevtools.github.io/devtools-protocol/ describes the messages; over a pipe they end in a NUL byte.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
)

MEASURE = """(() => {
  const root = document.documentElement;
  const shown = one => { const box = one.getBoundingClientRect(); return [box.width, box.height]; };
  const ids = [...document.querySelectorAll("[id]")].map(one => one.id);
  // What is wider than the window has to be in a box that scrolls.
  const inBox = one => one.closest(".wide, .drawing, .code") !== null;
  const beyond = [...document.body.querySelectorAll("*")].filter(one => {
    const box = one.getBoundingClientRect();
    return box.width > 0 && !inBox(one) && !one.closest("svg") && !one.matches(".skip") && box.right > innerWidth + 0.5;
  });
  return {
    scroll_width: root.scrollWidth,
    client_width: root.clientWidth,
    drawings: [...document.querySelectorAll("figure svg, img")].map(shown),
    drawings_empty: [...document.querySelectorAll("figure svg")].filter(
      one => !one.getBBox().width || !one.querySelector("title").textContent.trim()).length,
    links_lost: [...document.querySelectorAll("a[href^='#']")].filter(
      one => document.getElementById(one.getAttribute("href").slice(1)) === null).length,
    uses_lost: [...document.querySelectorAll("use")].filter(
      one => document.getElementById(one.getAttribute("href").slice(1)) === null).length,
    ids_twice: ids.length - new Set(ids).size,
    beyond: beyond.map(one => one.outerHTML.slice(0, 80)),
    headings: [...document.querySelectorAll("h1, h2")].map(one => one.textContent),
    text: document.body.innerText,
    papers: [...document.querySelectorAll("figure svg path")].map(one => getComputedStyle(one).fill),
    background: getComputedStyle(document.body).backgroundColor,
    untold: [...document.querySelectorAll("table")].filter(one => !one.caption || !one.caption.textContent).length,
  };
})()"""


def find() -> str | None:
    """Return the browser; None if there is none."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


@dataclass
class Seen:
    """A page as it was laid out.

    `complaints` is what it logged, `asked` every address that it wanted beside its own, `measured` what `MEASURE` says.
    """

    complaints: list[str]
    asked: list[str]
    measured: dict[str, Any]
    picture: bytes


class Browser:
    """One Chromium and one tab of it."""

    def __init__(self, read: int, write: int) -> None:
        self.read, self.write = read, write
        self.rest = b""
        self.number = 0
        self.events: list[dict[str, Any]] = []
        self.session: str | None = None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Log", "Runtime"):
            self.call(f"{domain}.enable")

    def receive(self) -> dict[str, Any]:
        while b"\0" not in self.rest:
            more = os.read(self.read, 1 << 20)
            assert more, "the browser went away"
            self.rest += more
        message, self.rest = self.rest.split(b"\0", 1)
        found: dict[str, Any] = json.loads(message)
        return found

    def call(self, method: str, **parameters: object) -> dict[str, Any]:
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters}
        if self.session is not None:
            message["sessionId"] = self.session
        os.write(self.write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self.receive()
            if answer.get("id") == self.number:
                assert "error" not in answer, answer
                result: dict[str, Any] = answer["result"]
                return result
            self.events.append(answer)

    def see(self, file: Path, width: int, *, dark: bool = False, media: str = "screen") -> Seen:
        """Open a file in a window of a width, or as it would be printed that wide."""
        own = file.resolve().as_uri()
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", media=media, features=[scheme])
        self.events.clear()
        self.call("Page.navigate", url=own)
        while not any(event.get("method") == "Page.loadEventFired" for event in self.events):
            self.events.append(self.receive())
        measured = self.call("Runtime.evaluate", expression=MEASURE, returnByValue=True)["result"]["value"]
        picture = self.call("Page.captureScreenshot", format="png")["data"]
        complaints, asked = [], []
        for event in self.events:
            told = event.get("params", {})
            if event.get("method") == "Log.entryAdded":
                complaints.append(told["entry"]["text"])
            elif event.get("method") in ("Runtime.consoleAPICalled", "Runtime.exceptionThrown"):
                complaints.append(str(told))
            elif event.get("method") == "Network.requestWillBeSent" and told["request"]["url"] != own:
                asked.append(told["request"]["url"])
        return Seen(complaints, asked, measured, base64.b64decode(picture))


@contextmanager
def opened(profile: Path) -> Iterator[Browser]:
    """Start the browser with a profile folder of its own, and end it."""
    program = find()
    assert program is not None
    their_read, our_write = os.pipe()
    our_read, their_write = os.pipe()
    # The browser reads from 3 and writes to 4, whatever these pipes are called here.
    command = ["bash", "-c", f'exec "$@" 3<&{their_read} 4>&{their_write}', "browser", program, *FLAGS]
    process = subprocess.Popen(
        [*command, f"--user-data-dir={profile}", "about:blank"],
        pass_fds=(their_read, their_write),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(their_read)
    os.close(their_write)
    try:
        yield Browser(our_read, our_write)
    finally:
        process.terminate()
        process.wait(30)
        os.close(our_read)
        os.close(our_write)
