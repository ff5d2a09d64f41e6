"""The queue: jobs go on without a page, come one after the other, are moved, cancelled and found again."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from sonopaint_studio.job_queue import ENDED_KEPT, PAINTING
from sonopaint_studio.jobs import Failed, Finished, Running, status_html

TAB = "0123456789abcdef" * 2


@pytest.fixture
def gate() -> threading.Event:
    return threading.Event()


def held(gate: threading.Event, value: Any = None) -> Callable[[Any], Any]:
    """Work that reports until the gate opens."""

    def work(report: Any) -> Any:
        while not gate.wait(0.01):
            report(1, 4, "working")
        return value

    return work


def wait_for(true: Callable[[], Any]) -> None:
    end = time.monotonic() + 20
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_jobs_wait_for_each_other_and_are_told_in_order(context: Any, tab: Any, gate: Any) -> None:
    queue, session = context.queue, context.sessions.of(tab())
    order: list[str] = []
    queue.add(session, "generate", "first", held(gate, "first"), lane=PAINTING)
    for name in ("second", "third"):
        queue.add(session, "generate", name, lambda report, name=name: order.append(name), lane=PAINTING)
    other = queue.add(context.sessions.of(tab("b")), "convert", "files", lambda report: "beside")
    wait_for(lambda: not other.live)  # another page's lane does not wait
    events = queue.follow(session, "generate")
    assert next(events).message.endswith("2 more in the queue")
    assert order == []
    gate.set()
    ends = [event for event in events if isinstance(event, Finished)]
    assert len(ends) == 3 and ends[0].value == "first" and order == ["second", "third"]
    assert session.working == 0 and list(queue.follow(session, "generate")) == []


def test_a_job_goes_on_when_its_page_goes_and_is_found_again(context: Any, tab: Any, gate: Any) -> None:
    session = context.sessions.found_again(tab("before"), TAB)
    context.queue.add(session, "edit", "repaint", held(gate, 42), lane=PAINTING)
    page = context.queue.follow(session, "edit")
    next(page)
    page.close()
    context.sessions.leave_tab(tab("before"))
    again = context.sessions.found_again(tab("after"), TAB)
    assert again is session and context.sessions.of(tab("after")) is session
    events = context.queue.follow(again, "edit")
    assert isinstance(next(events), Running)
    gate.set()
    assert list(events)[-1].value == 42


def test_a_page_that_asked_too_early_finds_its_tab(context: Any, tab: Any) -> None:
    session = context.sessions.found_again(tab("before"), TAB)
    early = context.sessions.of(tab("after"))
    assert early is not session
    assert context.sessions.found_again(tab("after"), TAB) is session
    assert context.sessions.of(tab("after")) is session and not early.folder.exists()
    assert context.sessions.found_again(tab("stranger"), "guess") is not session


def test_files_stay_while_a_job_needs_them(
    context: Any, tab: Any, gate: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sonopaint_studio.session.KEPT_AFTER_LEAVING_S", 0.0)
    session = context.sessions.of(tab("a"))
    context.queue.add(session, "edit", "long", held(gate))
    context.sessions.leave_tab(tab("a"))
    context.sessions.of(tab("b"))
    assert session.folder.exists()
    gate.set()
    wait_for(lambda: session.working == 0)
    context.sessions.of(tab("b"))
    assert not session.folder.exists()


def test_waiting_jobs_are_moved_and_taken_out(context: Any, tab: Any, gate: Any) -> None:
    queue, session, order = context.queue, context.sessions.of(tab()), []
    running = queue.add(session, "generate", "now", held(gate), lane=PAINTING)
    wait_for(lambda: not running.waiting)
    waiting = [
        queue.add(session, "generate", name, lambda report, name=name: order.append(name), lane=PAINTING)
        for name in "abcd"
    ]
    queue.move(waiting[3].number, -2)  # a d b c
    queue.move(waiting[0].number, 1)  # d a b c
    queue.move(running.number, 3)  # what runs stays
    queue.cancel(waiting[1].number)
    assert isinstance(waiting[1].event, Failed) and waiting[1].event.stopped
    gate.set()
    list(queue.follow(session, "generate"))
    assert order == ["d", "a", "c"]


def test_stop_ends_what_runs_and_the_next_begins(context: Any, tab: Any, gate: Any) -> None:
    queue, session = context.queue, context.sessions.of(tab())
    first = queue.add(session, "generate", "endless", held(gate), lane=PAINTING)
    queue.add(session, "generate", "next", lambda report: "made", lane=PAINTING)
    wait_for(lambda: not first.waiting)
    queue.stop(session, "generate")
    ends = [e for e in queue.follow(session, "generate") if not isinstance(e, Running)]
    assert ends[0] == Failed("Stopped.", stopped=True) and ends[1].value == "made"


def test_time_left_of_those_that_wait(context: Any, tab: Any, gate: Any) -> None:
    queue, session = context.queue, context.sessions.of(tab())
    queue.add(session, "generate", "measured", lambda report: time.sleep(0.2), lane=PAINTING, size=2.0)
    list(queue.follow(session, "generate"))
    running = queue.add(session, "generate", "runs", held(gate), lane=PAINTING, size=1.0)
    first = queue.add(session, "generate", "waits", lambda report: None, lane=PAINTING, size=10.0)
    unknown = queue.add(session, "edit", "who knows", lambda report: None, lane=PAINTING)
    wait_for(lambda: not running.waiting)
    running.event = Running("working", 0.5, 7.0)
    told = queue.waits_s()
    assert told[running.number] == 7.0 and 8.0 <= told[first.number] < 12.0
    assert unknown.number not in told
    gate.set()


def test_ended_jobs_are_forgotten_in_time(context: Any, tab: Any) -> None:
    session = context.sessions.of(tab())
    for number in range(ENDED_KEPT + 5):
        context.queue.add(session, "convert", str(number), lambda report: None)
    wait_for(lambda: session.working == 0)
    assert [job.title for job in context.queue.jobs()] == [str(n) for n in range(5, ENDED_KEPT + 5)]


def test_surprises_become_a_sentence(context: Any, tab: Any) -> None:
    def broken(report: Any) -> None:
        raise RuntimeError("<b>tensor</b> shapes differ")

    session = context.sessions.of(tab())
    context.queue.add(session, "edit", "breaks", broken)
    last = list(context.queue.follow(session, "edit"))[-1]
    assert isinstance(last, Failed) and "Something went wrong" in last.sentence
    assert "<b>" not in status_html(last)


def test_fields_come_back_as_they_fit() -> None:
    import gradio as gr

    from sonopaint_studio.found_again import restored

    fields = [gr.Textbox(), gr.Slider(1, 8), gr.Dropdown(["euler", "ddim"]), gr.Checkbox(), gr.Number()]

    def values(told: str) -> list[Any]:
        return [None if isinstance(value, dict) else value for value in restored(fields, told)]

    assert values('["rain", 4, "ddim", true, 7.5]') == ["rain", 4, "ddim", True, 7.5]
    assert values('[3, 9, "rm -rf", "yes", "x"]') == [None] * 5
    assert values('["rain"]') == values("not json") == values("") == [None] * 5


def test_two_clicks_make_two_sounds(context: Any, tab: Any) -> None:
    """The second click adds to the queue; the last page that looks hears of both."""
    from sonopaint_studio.generate_tab import GenerateTab

    page, request, knobs = GenerateTab(context), tab(), (7, False, 1, 3.0, "euler")
    model = str(context.store.models()[0].path)
    clicks = [
        page.generate(request, model, "", "", "", 1, 1, 1, text, "", 1.0, 1, "full", -23, *knobs, "", True)
        for text in ("a dog", "a cat")
    ]
    for click in clicks:
        next(click)
    list(clicks[1]), list(clicks[0])
    session = context.sessions.of(request)
    assert [sound.title for sound in session.sounds.values()] == ["a dog", "a cat"]
    [shown] = list(page.resume(request))
    assert [card["title"] for card in shown[1]["cards"]] == ["a cat", "a dog"]
    [other] = list(page.resume(SimpleNamespace(session_hash="other")))
    assert other[1]["cards"] == []  # another tab's page is its own; what was asked for is known everywhere
    assert [prompt for _, prompt in other[4]["choices"][:3]] == ["", "a cat", "a dog"]
