"""Output that is code elsewhere is shown by the viewer as the text that it is."""

from pathlib import Path

import pytest

from tests.scripts.pages import CHROMIUM, MISSING, browser, opened, panel, until
from tests.scripts.site import open_site
from tests.support.hostile import HIDDEN, PAGE, TERMINAL

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason=MISSING)

STEPS = 40
FOREIGN = (
    "script, img, svg, iframe, object, embed, a, form, style + style, link, meta, base"
)


async def test_nothing_of_a_script_s_output_runs(tmp_path: Path) -> None:
    lines = [*PAGE, *TERMINAL, *HIDDEN]
    steps = [f"[{number}/{STEPS}] {PAGE[number]}" for number in range(1, STEPS)]
    asked: list[str] = []
    dialogs: list[str] = []
    with panel() as pages:
        async with (
            open_site(tmp_path, allowed_origins=[pages.origin]) as site,
            browser() as chromium,
        ):
            await site.script("hostile", name="<img src=x onerror=window.hacked=1>")
            run = await site.running("hostile")
            address = pages.viewer(
                server=site.url, task_id=run.task_id, token=site.token
            )
            async with opened(chromium, address) as seen:
                seen.page.on("request", lambda request: asked.append(request.url))
                seen.page.on("dialog", lambda dialog: dialogs.append(dialog.message))
                title = await seen.page.title()
                await run.write("\n".join([*lines, *steps, "the last line"]) + "\n")
                await until(seen.page, lambda now: now.lines[-1:] == ["the last line"])
                await run.finish(3, f"{PAGE[0]} {TERMINAL[0]}")
                shown = await until(seen.page, lambda now: "exit code" in now.state)
                count = await seen.page.evaluate(
                    "(foreign) => document.querySelector('sluice-log').shadowRoot"
                    ".querySelectorAll(foreign).length",
                    FOREIGN,
                )
                assert count == 0
                assert await seen.page.evaluate("window.hacked") is None
                assert await seen.page.evaluate("({}).hacked") is None
                assert await seen.page.evaluate("location.href") == address
                assert await seen.page.title() == title
                assert steps[-1] in shown.lines
                assert shown.step.endswith(PAGE[STEPS - 1])
            assert dialogs == []
            assert all(url.startswith((site.url, pages.origin)) for url in asked), asked
            assert seen.complaints == []
