"""The viewer in pages of another host, in a real browser."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.async_api import Browser, Page

from tests.scripts.pages import (
    CHROMIUM,
    MISSING,
    Cable,
    Panel,
    Shown,
    browser,
    opened,
    panel,
    until,
)
from tests.scripts.site import Run, Site, open_site

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason=MISSING)

TEXT = "[1/4] Checking\nfound tar\n[2/4] Fetching\nWARN: slow\n[3/4] Unpacking\n"
LINES = TEXT.splitlines()


@dataclass
class Desk:
    """A server with a script, a panel that may use it, and a browser."""

    site: Site
    panel: Panel
    browser: Browser

    async def running(self) -> Run:
        return await self.site.running("nginx", version="1.2")

    def viewer(self, task_id: str, *, server: str | None = None) -> str:
        return self.panel.viewer(
            server=server or self.site.url, task_id=task_id, token=self.site.token
        )


@pytest.fixture(scope="module")
async def desk(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Desk]:
    directory = tmp_path_factory.mktemp("desk")
    with panel() as pages:
        async with (
            open_site(directory, allowed_origins=[pages.origin]) as site,
            browser() as chromium,
        ):
            await site.script("nginx", name="Nginx", parameters=[{"name": "PORT"}])
            yield Desk(site, pages, chromium)


async def ended(page: Page, lines: int, word: str = "Succeeded") -> Shown:
    """The viewer with so many lines once the task has ended; lines are drawn a frame later."""
    return await until(page, lambda now: word in now.state and len(now.lines) >= lines)


async def test_lines_progress_and_the_end_are_shown_live(desk: Desk) -> None:
    run = await desk.running()
    async with opened(desk.browser, desk.viewer(run.task_id)) as seen:
        waiting = await until(seen.page, lambda now: now.connection == "● live")
        assert waiting.lines == []
        await run.write(TEXT)
        half = await until(seen.page, lambda now: len(now.lines) == len(LINES))
        assert half.lines == LINES
        assert half.numbers == [1, 2, 3, 4, 5]
        assert half.state == "▸ Running"
        assert (half.step, half.progress) == ("Step 3 of 4 · Unpacking", "50")
        await run.write("[4/4] Done\n")
        await run.finish()
        done = await ended(seen.page, 6)
        assert done.lines == [*LINES, "[4/4] Done"]
        assert (done.progress, done.connection) == ("100", "")
        assert "Succeeded" in done.spoken
    assert seen.complaints == []


async def test_a_failure_is_shown_with_its_exit_code(desk: Desk) -> None:
    run = await desk.running()
    await run.write(TEXT)
    await run.finish(3, "exit code 3")
    async with opened(desk.browser, desk.viewer(run.task_id)) as seen:
        failed = await ended(seen.page, 5, "exit code")
        assert failed.state == "✕ Failed · exit code 3"
        assert (failed.lines, failed.progress) == (LINES, "50")
    assert seen.complaints == []


async def test_output_is_never_read_as_html(desk: Desk) -> None:
    hostile = [
        "<img src=x onerror=window.hacked=1>",
        "<script>window.hacked=1</script>",
        "</span></div><iframe srcdoc='<script>parent.hacked=1</script>'>",
        "&lt;b&gt; &amp; \"quotes\" 'and' `more`",
        "[1/2] <b onmouseover=window.hacked=1>step</b>",
    ]
    run = await desk.running()
    await run.write("\n".join(hostile) + "\n")
    await run.finish()
    async with opened(desk.browser, desk.viewer(run.task_id)) as seen:
        shown = await ended(seen.page, len(hostile))
        assert shown.lines == hostile
        assert "<b onmouseover" in shown.step
        count = await seen.page.evaluate(
            "document.querySelector('sluice-log').shadowRoot"
            ".querySelectorAll('img, script, iframe, b').length"
        )
        assert count == 0
        assert await seen.page.evaluate("window.hacked") is None
    assert seen.complaints == []


async def test_colours_are_drawn_and_other_escapes_are_not_shown(desk: Desk) -> None:
    run = await desk.running()
    await run.write(
        "\x1b[1;31mred\x1b[0m plain \x1b[38;5;200mpink\x1b[m\n"
        "\x1b]8;;http://x\x07link\x1b]8;;\x07\x1b[2K\x1b[1Gend\x07\n"
        "10%\r55%\r99%\n"
    )
    await run.finish()
    async with opened(desk.browser, desk.viewer(run.task_id)) as seen:
        shown = await until(seen.page, lambda now: len(now.lines) == 3)
        assert shown.lines == ["red plain pink", "linkend", "99%"]
        weight, colour, plain = await seen.page.evaluate(
            "(() => { const root = document.querySelector('sluice-log').shadowRoot;"
            " const red = getComputedStyle(root.querySelector('.text .bold'));"
            " const line = getComputedStyle(root.querySelector('.text'));"
            " return [red.fontWeight, red.color, line.color]; })()"
        )
        assert weight == "700"
        assert colour != plain
    assert seen.complaints == []


async def test_a_lost_connection_costs_no_line_and_doubles_none(desk: Desk) -> None:
    run = await desk.running()
    port = urlsplit(desk.site.url).port
    assert port is not None
    async with Cable(port).plugged() as cable:
        address = desk.viewer(run.task_id, server=cable.url)
        async with opened(desk.browser, address) as seen:
            await run.write("before\n")
            await until(seen.page, lambda now: now.lines == ["before"])
            cable.pull()
            await run.write("while it is away\n")
            away = await until(seen.page, lambda now: "reconnecting" in now.connection)
            assert away.lines == ["before"]
            cable.plug()
            await until(seen.page, lambda now: now.connection == "● live")
            await run.write("after\n")
            await run.finish()
            done = await ended(seen.page, 3)
            assert done.lines == ["before", "while it is away", "after"]
            assert done.numbers == [1, 2, 3]


async def test_without_websockets_it_reads_the_history(tmp_path: Path) -> None:
    with panel() as pages:
        async with (
            open_site(
                tmp_path, allowed_origins=[pages.origin], log_realtime_enabled=False
            ) as site,
            browser() as chromium,
        ):
            await site.script("nginx")
            run = await site.running("nginx")
            await run.write(TEXT)
            address = pages.viewer(
                server=site.url, task_id=run.task_id, token=site.token
            )
            async with opened(chromium, address) as seen:
                shown = await until(seen.page, lambda now: now.lines == LINES)
                shown = await until(seen.page, lambda now: "read" in now.connection)
                await run.write("[4/4] Done\n")
                await run.finish(0)
                done = await ended(seen.page, 6)
                assert done.lines == [*LINES, "[4/4] Done"]
                assert (shown.progress, done.progress) == ("50", "100")


async def numbers_are_consecutive(page: Page) -> tuple[int, int]:
    """First and last number shown; each stands beside its own line."""
    shown = await until(page, lambda now: bool(now.numbers))
    first, last = shown.numbers[0], shown.numbers[-1]
    assert shown.numbers == list(range(first, last + 1))
    assert shown.lines == [f"line {number}" for number in shown.numbers]
    return first, last


async def test_a_long_log_stays_small_in_the_page(desk: Desk) -> None:
    count = 100_000
    run = await desk.running()
    for begin in range(0, count, 4000):
        lines = (f"line {number + 1}" for number in range(begin, begin + 4000))
        await run.write("\n".join(lines) + "\n")
    async with opened(desk.browser, desk.viewer(run.task_id)) as seen:
        page = seen.page
        await until(page, lambda now: now.numbers[-1:] == [count])
        first, last = await numbers_are_consecutive(page)
        assert last - first < 1000

        # more comes live: the window moves on and stays bounded
        more = 12_000
        lines = (f"line {number + 1}" for number in range(count, count + more))
        await run.write("\n".join(lines) + "\n")
        await until(page, lambda now: now.numbers[-1:] == [count + more])
        first, last = await numbers_are_consecutive(page)
        assert 1000 < last - first < 5000

        # further back
        log = page.locator("sluice-log").locator("[role=log]")
        await log.evaluate("log => { log.scrollTop = 0; }")
        begin_of_window = first
        button = page.get_by_role("button", name="Show earlier lines")
        await button.click()
        await until(page, lambda now: now.numbers[0] == first - 1000)
        first, before = await numbers_are_consecutive(page)
        assert before - first < 5000

        # so far back that the end is no longer in the page, and on to it again
        for back in (2000, 3000):
            await log.evaluate("log => { log.scrollTop = 0; }")
            await button.click()
            wanted = begin_of_window - back
            await until(page, lambda now, at=wanted: now.numbers[0] == at)  # type: ignore[misc]
            await numbers_are_consecutive(page)
        far = await until(page, lambda now: len(now.numbers) == 5000)
        end = far.numbers[-1]
        assert end < count + more
        while end < count + more:
            await log.evaluate("log => { log.scrollTop = log.scrollHeight - 900; }")
            await log.evaluate("log => { log.scrollTop = log.scrollHeight; }")
            wanted = end
            await until(page, lambda now, at=wanted: now.numbers[-1] > at)  # type: ignore[misc]
            first, end = await numbers_are_consecutive(page)
            assert end - first < 5000
        await log.evaluate("log => { log.scrollTop = 0; }")
        await until(page, lambda now: bool(now.newer))

        # what comes now is counted, not followed
        await run.write(f"line {count + more + 1}\nline {count + more + 2}\n")
        told = await until(page, lambda now: now.newer == "2 new lines ↓")
        assert told.numbers[0] == first, "the reader who looks back is left alone"
        await page.get_by_role("button", name="2 new lines").click()
        await until(page, lambda now: now.numbers[-1:] == [count + more + 2])
        await numbers_are_consecutive(page)
        assert (await until(page, lambda now: not now.newer)).newer == ""
    await run.finish()
    assert seen.complaints == []


async def test_the_reader_who_looks_back_is_left_alone(desk: Desk) -> None:
    run = await desk.running()
    await run.write("".join(f"line {number}\n" for number in range(1, 301)))
    async with opened(desk.browser, desk.viewer(run.task_id)) as seen:
        await until(seen.page, lambda now: len(now.lines) == 300)
        log = seen.page.locator("sluice-log").locator("[role=log]")
        await log.evaluate("log => { log.scrollTop = 900; }")
        await until(seen.page, lambda now: bool(now.newer))
        await run.write("line 301\n")
        await until(seen.page, lambda now: now.newer == "1 new lines ↓")
        assert await log.evaluate("log => log.scrollTop") == 900
        await log.evaluate("log => { log.scrollTop = log.scrollHeight; }")
        await until(seen.page, lambda now: not now.newer)
    await run.finish()


async def test_a_page_can_start_a_script_and_show_it(desk: Desk) -> None:
    script = f"window.manager = new InstallManager({{token: {json.dumps(desk.site.token)}}});"
    address = desk.panel.page(
        '<div id="here">old</div>', server=desk.site.url, script=script
    )
    async with opened(desk.browser, address) as seen:
        task_id = await seen.page.evaluate(
            "manager.startInstall({key: 'nginx', version: '1.2', port: '80'},"
            " {container: 'here'})"
        )
        run = await desk.site.agent.take(task_id)
        assert run.script.environment == {"PORT": "80", "VERSION": "1.2"}
        await run.write(TEXT)
        await run.finish()
        done = await ended(seen.page, 5)
        assert done.lines == LINES
        refused = await seen.page.evaluate(
            "manager.startInstall({key: 'nginx', colour: 'red'})"
            ".catch((error) => [error.status, error.message, error.problem.errors])"
        )
        assert refused[0] == 422
        assert "colour" in refused[1]
        assert refused[2][0]["field"] == "colour"
        gone = await seen.page.evaluate(
            "manager.startInstall({key: 'nginx'}, {container: 'nowhere'})"
            ".catch((error) => error.message)"
        )
        assert gone == "There is no element nowhere in this page."


async def test_a_viewer_by_script_asks_for_its_token_each_time(desk: Desk) -> None:
    run = await desk.running()
    await run.write(TEXT)
    script = (
        "window.asked = 0; window.ended = null;"
        "document.addEventListener('sluice-end', (e) => { window.ended = e.detail; });"
        f"window.viewer = new InstallLogViewer('{run.task_id}', 'here', {{ tokenProvider:"
        " async () => { window.asked++; return '" + desk.site.token + "'; } });"
    )
    address = desk.panel.page(
        '<div id="here"></div>', server=desk.site.url, script=script
    )
    async with opened(desk.browser, address) as seen:
        await until(seen.page, lambda now: now.connection == "● live")
        assert await seen.page.evaluate("window.asked") >= 3
        html = await seen.page.content()
        assert desk.site.token not in html.replace(script, "")
        await run.finish()
        await until(seen.page, lambda now: "Succeeded" in now.state)
        ended = await seen.page.evaluate("window.ended")
        assert (ended["taskId"], ended["status"]) == (run.task_id, "success")
        await seen.page.evaluate("viewer.close()")
        assert await seen.page.locator("sluice-log").count() == 0


@pytest.mark.parametrize(
    ("token", "words"),
    [("slu_unknown", "The token is unknown"), (None, "There is no task task-none")],
)
async def test_what_the_server_refuses_stands_in_the_page(
    desk: Desk, token: str | None, words: str
) -> None:
    address = desk.panel.viewer(
        server=desk.site.url, task_id="task-none", token=token or desk.site.token
    )
    async with opened(desk.browser, address) as seen:
        shown = await until(seen.page, lambda now: bool(now.notice))
        assert shown.notice.startswith(words)
        assert shown.state == "✕ Not available"


async def test_a_removed_log_says_so_and_how_it_ended(desk: Desk) -> None:
    run = await desk.running()
    await run.write(TEXT)
    await run.finish()
    await desk.site.sealed(run.task_id)
    await desk.site.retire(run.task_id)
    async with opened(desk.browser, desk.viewer(run.task_id)) as seen:
        shown = await until(seen.page, lambda now: bool(now.notice))
        assert "log_retention_days" in shown.notice
        assert shown.state == "✓ Succeeded"


async def test_it_is_read_by_those_who_do_not_see_it(desk: Desk) -> None:
    run = await desk.running()
    await run.write(TEXT + "ERROR: bad\n")
    async with opened(desk.browser, desk.viewer(run.task_id)) as seen:
        page = seen.page
        await until(page, lambda now: len(now.lines) == 6)
        log = page.get_by_role("log", name="Output")
        assert "error: ERROR: bad" in (await log.text_content() or "")
        bar = page.get_by_role("progressbar", name="Progress")
        assert await bar.get_attribute("aria-valuemax") == "100"
        assert await bar.get_attribute("aria-valuenow") == "50"
        spoken = await page.get_by_role("status").text_content()
        assert spoken == "Running. Step 3 of 4 · Unpacking"
        await log.focus()
        assert (
            await page.evaluate(
                "document.querySelector('sluice-log').shadowRoot.activeElement.role"
            )
            == "log"
        )
    await run.finish()


async def test_light_and_dark_follow_the_page_or_what_is_asked(desk: Desk) -> None:
    run = await desk.running()
    await run.finish()

    async def surface(more: str, *, dark: bool) -> str:
        address = desk.panel.viewer(
            server=desk.site.url,
            task_id=run.task_id,
            token=desk.site.token,
            more=more,
        )
        async with opened(desk.browser, address, dark=dark) as seen:
            await until(seen.page, lambda now: "Succeeded" in now.state)
            return str(
                await seen.page.evaluate(
                    "getComputedStyle(document.querySelector('sluice-log')"
                    ".shadowRoot.querySelector('.frame')).backgroundColor"
                )
            )

    light = await surface("", dark=False)
    dark = await surface("", dark=True)
    assert light != dark
    assert await surface('theme="dark"', dark=False) == dark
    assert await surface('theme="light"', dark=True) == light


async def test_another_task_takes_the_place_of_the_first(desk: Desk) -> None:
    one, two = await desk.running(), await desk.running()
    await one.write("of the first\n")
    await two.write("of the second\n")
    async with opened(desk.browser, desk.viewer(one.task_id)) as seen:
        await until(seen.page, lambda now: now.lines == ["of the first"])
        await seen.page.evaluate(
            f"document.querySelector('sluice-log').taskId = '{two.task_id}'"
        )
        await until(seen.page, lambda now: now.lines == ["of the second"])
        await one.write("too late\n")
        await two.write("more\n")
        shown = await until(seen.page, lambda now: len(now.lines) == 2)
        await asyncio.sleep(0.2)
        assert shown.lines == ["of the second", "more"]
    await one.finish()
    await two.finish()
