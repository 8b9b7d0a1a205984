"""The snapshot: read only when something changed, drawn in place, and no error is silent."""

import asyncio
import time
from types import SimpleNamespace

import pytest

from nextpyp_nb.views.pieces import Banner, guarded
from nextpyp_nb.views.state import LiveState
from nextpyp_nb.views.widgets.presence import Presence


class Counter:
    def __init__(self):
        self.now, self.reads, self.error = 0, 0, None

    def version(self):
        if self.error:
            raise self.error
        return self.now

    def read(self):
        self.reads += 1
        return self.now


@pytest.fixture
def counter():
    return Counter()


@pytest.fixture
def live(counter):
    return LiveState(counter.read, counter.version, period=0.01)


def test_reads_and_draws_only_what_changed(counter, live):
    drawn = []
    live.subscribe(drawn.append)
    assert [live.refresh() for _ in range(3)] == [True, False, False]
    counter.now = 7
    assert live.refresh()
    assert drawn == [0, 7]
    assert counter.reads == 2


def test_a_late_subscriber_sees_the_state_at_once_and_can_leave(counter, live):
    live.refresh()
    drawn = []
    leave = live.subscribe(drawn.append)
    leave()
    leave()
    counter.now = 1
    live.refresh()
    assert drawn == [0]


def test_a_poll_that_fails_shows_once_and_clears_when_it_works(counter, live):
    counter.error = OSError("the disk is gone")
    live.refresh()
    assert "the disk is gone" in live.banner.message.value
    assert "nb-hidden" not in live.banner._dom_classes
    counter.error = None
    live.refresh()
    assert "nb-hidden" in live.banner._dom_classes


def test_a_panel_that_cannot_draw_says_so_and_does_not_stop_the_others(counter, live):
    drawn = []
    live.subscribe(lambda _: 1 / 0)
    live.subscribe(drawn.append)
    live.refresh()
    assert drawn == [0]
    assert "ZeroDivisionError" in live.banner.message.value


def test_a_raising_callback_shows_on_the_page():
    class Panel:
        banner = Banner()

        @guarded
        def clicked(self):
            raise RuntimeError("<b>broken</b>")

    Panel().clicked()
    assert "&lt;b&gt;broken" in Panel.banner.message.value
    assert "nb-hidden" not in Panel.banner._dom_classes


def test_a_notice_never_hides_an_error():
    banner = Banner()
    banner.show(ValueError("wrong"))
    banner.tell("all is well")
    assert "wrong" in banner.message.value
    banner.clear()
    banner.tell("all is well")
    assert banner.message.value == "all is well"


def test_commands_show_what_the_runner_answers(live):
    receipt = SimpleNamespace(wait=lambda timeout: SimpleNamespace(ok=False, message="bob may not stop this"))
    live.do(lambda: receipt, lambda _: pytest.fail("refused"), doing="Stop")
    assert "Stop: bob may not stop this" in live.banner.message.value
    live.banner.clear()
    live.do(lambda: 1 / 0, doing="Stop")
    assert "ZeroDivisionError" in live.banner.message.value


def test_follows_on_the_event_loop_and_rests_while_nobody_looks(counter):
    async def follow():
        presence = Presence(patience=0.15)
        live = LiveState(counter.read, counter.version, presence=presence, period=0.01)
        live.start()

        async def change(wait):
            counter.now += 1
            await asyncio.sleep(wait)
            return live.snapshot == counter.now

        assert await change(0.1)
        await asyncio.sleep(0.3)
        assert not await change(0.1)
        presence.beat = time.time()
        assert await change(0.1)
        live.close()
        presence.beat += 1
        assert not await change(0.1)

    asyncio.run(follow())


def test_a_command_runs_beside_the_loop(counter):
    async def command():
        live = LiveState(counter.read, counter.version)
        answers = []
        live.do(lambda: time.sleep(0.1) or "done", answers.append)
        assert answers == []
        await asyncio.sleep(0.3)
        assert answers == ["done"]

    asyncio.run(command())
