"""Drives JupyterLab in a real browser, as a user would; run by the Python that has Playwright.

usage: lab_in_browser.py SCENARIO URL TOKEN FOLDER

Prints what it saw as JSON and leaves pictures in FOLDER. It asserts nothing: test_jupyterlab.py
does. Chromium is the system's.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, sync_playwright

FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage",
]  # fmt: skip
PATIENCE = 60_000  # ms
PLOT = "import matplotlib.pyplot as plt\n_ = plt.plot([1, 3, 2])"
STEPS = "def double(n):\n    result = 2 * n\n    return result\n\nprint(double(21))"


class Lab:
    """A page with JupyterLab."""

    def __init__(self, page: Page, url: str, token: str, folder: Path) -> None:
        self.page, self.url, self.token, self.folder = page, url, token, folder
        page.set_default_timeout(PATIENCE)
        self.seen: dict[str, Any] = {}

    def open(self, path: str = "/lab", query: str = "reset&") -> None:
        self.page.goto(f"{self.url}{path}?{query}token={self.token}")

    def picture(self, name: str) -> None:
        self.page.screenshot(path=self.folder / f"{name}.png")

    def card(self, text: str) -> Any:
        return self.page.locator('.jp-LauncherCard[data-category="Notebook"]').filter(has_text=text)

    def wait_idle(self) -> None:
        # The toolbar's indicator says idle before there is a kernel; this one does not.
        self.page.locator("#jp-main-statusbar").get_by_text("| Idle").wait_for()

    def new_notebook(self, text: str) -> None:
        self.card(text).click()
        self.page.locator(".jp-Notebook .cm-content").first.wait_for()
        self.wait_idle()

    def write(self, code: str) -> Any:
        """Put code into the last cell; the cell."""
        cell = self.page.locator(".jp-CodeCell").last
        cell.locator(".cm-content").click()
        self.page.keyboard.insert_text(code)
        return cell

    def run(self, code: str) -> Any:
        """Run code in the last cell; the cell's output area."""
        cell = self.page.locator(".jp-CodeCell").nth(self.cells() - 1)
        self.write(code)
        self.page.keyboard.press("Shift+Enter")
        return cell.locator(".jp-OutputArea")

    def cells(self) -> int:
        return int(self.page.locator(".jp-CodeCell").count())

    def text_of(self, output: Any, expected: str) -> str:
        output.get_by_text(expected).first.wait_for()
        return str(output.inner_text())

    def restart(self) -> None:
        self.page.locator('[data-command="notebook:restart-kernel"]').first.click()
        self.page.locator(".jp-Dialog .jp-mod-accept").click()


def work(lab: Lab) -> None:
    """Launcher, run, plot, interrupt, restart."""
    lab.open()
    card = lab.card("Tools")
    card.wait_for()
    icon = card.locator("img")
    icon.wait_for()
    lab.seen["icon"] = icon.get_attribute("src")
    lab.seen["icon_width"] = icon.evaluate("image => image.naturalWidth")
    lab.picture("launcher")
    lab.new_notebook("Tools")
    output = lab.run("x = 6\nprint(open('/etc/lpmx-image').read(), x * 7)")
    lab.seen["run"] = lab.text_of(output, "42")
    plot = lab.run(PLOT).locator("img")
    plot.wait_for()
    lab.seen["plot"] = (plot.get_attribute("src") or "")[:22]
    lab.picture("plot")
    output = lab.run("print('it runs')\nimport time; time.sleep(600)")
    lab.text_of(output, "it runs")
    lab.page.locator('[data-command="notebook:interrupt-kernel"]').first.click()
    lab.seen["interrupt"] = lab.text_of(output, "KeyboardInterrupt")
    lab.wait_idle()
    lab.restart()
    lab.wait_idle()
    lab.seen["restart"] = lab.text_of(lab.run("print(globals().get('x', 'fresh'))"), "fresh")


def debug(lab: Lab) -> None:
    """A breakpoint stops a cell, shows its variables and lets it go on."""
    page = lab.page
    lab.open()
    lab.new_notebook("Tools")
    page.locator(".jp-DebuggerBugButton button, button.jp-DebuggerBugButton").first.click()
    page.locator(".jp-DebuggerSidebar, .jp-Debugger").first.wait_for()
    cell = lab.write(STEPS)
    gutter = cell.locator(".cm-gutter.cm-breakpoint-gutter .cm-gutterElement")
    gutter.nth(1).wait_for(state="attached")
    line = cell.locator(".cm-line").filter(has_text="result = 2")
    box, side = line.bounding_box(), cell.locator(".cm-gutter.cm-breakpoint-gutter").bounding_box()
    page.mouse.click(side["x"] + side["width"] / 2, box["y"] + box["height"] / 2)
    cell.locator(".cm-breakpoint-icon >> visible=true").first.wait_for()
    cell.locator(".cm-content").click()
    page.keyboard.press("Shift+Enter")
    frame = page.locator(".jp-DebuggerCallstackFrame").filter(has_text="double")
    frame.wait_for()
    lab.seen["frame"] = frame.inner_text()
    lab.picture("debugger")
    page.locator('[data-command="debugger:continue"]').first.click()
    lab.seen["printed"] = lab.text_of(page.locator(".jp-CodeCell").first, "42")


def fail(lab: Lab) -> None:
    """A start that cannot work."""
    lab.open()
    lab.card("Broken").click()
    dialog = lab.page.locator(".jp-Dialog").filter(has_text="Error")
    dialog.wait_for()
    lab.seen["dialog"] = dialog.inner_text()
    lab.picture("failing-start")


def fail_restart(lab: Lab) -> None:
    """A restart that cannot work, after the file that `FOLDER/before-restart` tells to be gone."""
    lab.open()
    lab.new_notebook("Tools")
    lab.text_of(lab.run("print('before')"), "before")
    (lab.folder / "now-break-it").touch()
    while not (lab.folder / "broken").exists():
        lab.page.wait_for_timeout(100)
    lab.restart()
    lab.page.wait_for_timeout(1000)
    lab.wait_idle()
    lab.seen["message"] = lab.text_of(lab.run("print('after')"), "What to do")
    lab.picture("failing-restart")


def keep(lab: Lab) -> None:
    """Leave a variable in a kernel that is to outlive the server."""
    lab.open()
    lab.new_notebook("Keeper")
    lab.text_of(lab.run("x = 40 + 2; print('kept')"), "kept")
    lab.page.keyboard.press("Control+s")
    lab.page.wait_for_timeout(1000)


def find_again(lab: Lab) -> None:
    """Open the notebook of `keep` at another server."""
    lab.open("/lab/tree/Untitled.ipynb")
    lab.wait_idle()
    lab.page.locator(".jp-CodeCell").last.locator(".cm-content").click()
    output = lab.run("print('found', x)")
    lab.seen["found"] = lab.text_of(output, "found 42")


def main() -> None:
    scenario, url, token, folder = sys.argv[1:]
    with sync_playwright() as playwright:
        program = shutil.which("chromium")
        browser = playwright.chromium.launch(executable_path=program, args=FLAGS)
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        lab = Lab(page, url, token, Path(folder))
        try:
            globals()[scenario](lab)
        except BaseException:
            lab.picture(f"lost-in-{scenario}")
            raise
        finally:
            browser.close()
    print(json.dumps(lab.seen))


if __name__ == "__main__":
    main()
