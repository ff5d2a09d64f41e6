"""The queue at the top of every page: what runs, what waits, how long it takes, how much memory is used."""

from __future__ import annotations

from typing import Any

import gradio as gr

from sonopaint_studio import widgets
from sonopaint_studio.context import Context
from sonopaint_studio.job_queue import Job
from sonopaint_studio.jobs import Failed, Finished, Running, duration
from sonopaint_studio.memory import used_bytes

_JS = "/* 'look' 'cancel' 'move' 'free' */ window.Sonopaint.mountQueue(element, { props, trigger, watch });"


class QueuePanel:
    """The list and what its buttons do."""

    def __init__(self, context: Context) -> None:
        self.context = context

    def value(self, request: gr.Request) -> dict[str, Any]:
        """What queue.js shows: jobs in their order, how many are this tab's, the memory, the model."""
        session, queue = self.context.sessions.of(request), self.context.queue
        jobs, waits = queue.jobs(), queue.waits_s()
        used = used_bytes()
        return {
            "jobs": [_row(job, waits.get(job.number), job.session is session) for job in jobs],
            "mine": sum(job.live and job.session is session for job in jobs),
            "memory": f"{used / 2**30:.1f} GB" if used else "",
            "model": self.context.store.loaded or "",
        }

    def cancel(self, request: gr.Request, event: gr.EventData) -> Any:
        self.context.queue.cancel(int(event.number))
        return self.value(request)

    def move(self, request: gr.Request, event: gr.EventData) -> Any:
        self.context.queue.move(int(event.number), int(event.places))
        return self.value(request)

    def free(self, request: gr.Request) -> Any:
        """Forget the loaded model and give its memory back, unless a job uses it."""
        self.context.store.free()
        return self.value(request)

    def build(self) -> None:
        """Lay it out and wire it."""
        panel = gr.HTML(
            value={"jobs": [], "mine": 0, "memory": "", "model": ""},
            html_template='<div class="sp-queue"></div>',
            js_on_load=_JS,
            elem_id="queue",
            apply_default_css=False,
            min_width=32,
        )
        panel.look(self.value, None, panel, **widgets.QUICK)
        for event, handler in ((panel.cancel, self.cancel), (panel.move, self.move), (panel.free, self.free)):
            event(handler, None, panel, **widgets.EVERY)


def _row(job: Job, left_s: float | None, mine: bool) -> dict[str, Any]:
    event = job.event
    state, said, done = "waits", "waits", 0.0
    if isinstance(event, Running) and not job.waiting:
        state, said, done = "runs", event.message, event.done
    elif isinstance(event, Finished):
        state, said, done = "done", f"done in {duration(event.took_s)}", 1.0
    elif isinstance(event, Failed):
        state, said = ("stopped", "stopped") if event.stopped else ("failed", event.sentence)
    left = f"{duration(left_s)} left" if left_s is not None and job.live else ""
    return {
        "number": job.number, "page": job.page, "title": job.title, "state": state, "said": said,
        "done": round(done, 3), "left": left, "mine": mine,
    }  # fmt: skip
