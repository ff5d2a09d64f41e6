"""The actions of the tab and of the API: from Arguments and a clip to Results, on the host's model."""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import logging
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sonoconvert.edits.region import Region, load_brush
from sonoconvert.errors import Cancelled, SonopaintError
from sonoconvert.files.clip import Clip
from sonoconvert.progress import shares
from sonopaint.models.info import event_lead
from sonopaint.models.one_step import on_student
from sonopaint.tasks import Edit, generate, interpolate, loop
from sonopaint.tasks.progress import Progress
from sonopaint.tasks.result import Result
from sonopaint.tasks.settings import PaintSettings
from sonopaint.variations.mel import MelVariator
from sonopaint.variations.protocol import Ask, Candidate, Keep
from sonopaint_webui import host, infotext
from sonopaint_webui.arguments import (
    CURVES,
    FOLLOWING,
    MAX_SEED,
    ON_A_CLIP,
    WHOLE,
    Arguments,
    read_boxes,
)
from sonopaint_webui.host_painter import HostPainter

if TYPE_CHECKING:
    from sonoconvert.curves.curves import Curves

logger = logging.getLogger(__name__)

HEAL_OFFER = (
    "Without words the model paints what it likes; Heal repairs what is marked from what is around it."
)

Work = Callable[..., list[Result]]


def run(arguments: Arguments, clip: Clip | None, task_id: str | None = None) -> Iterator[tuple[Result, str]]:
    """Yield (result, the host's infotext) of each sound as it is made; waits for the host's turn.

    Interrupt ends the batch with what is there, Skip goes on with the next one; Cancelled where nothing is
    there at all. Raises SonopaintError for what can't be made.
    """
    arguments = arguments.seeded()
    if arguments.action in ON_A_CLIP and clip is None and arguments.action != "loop":
        raise SonopaintError("There is no sound yet: load one, or record one.")
    work = _work(arguments, clip)
    curves = asked_of(arguments, clip)
    host.check_names(arguments.sampler, arguments.scheduler, arguments.styles)
    made = 0
    with host.queued(task_id) as state:
        painter = painter_for(arguments)
        curves = _let_follow(painter, arguments, curves)
        if clip is not None and (arguments.choose or arguments.keep):
            for result, text in variations(arguments, clip, painter, _telling(state), curves):
                yield _stamped(result, arguments, list(painter.comments)), text
            return
        count = 1 if arguments.action == "interpolate" else arguments.count
        state.job_count = count
        for index in range(count):
            settings = _settings(arguments, index)
            painter.about = infotext.written(arguments, index)
            try:
                results = work(painter, settings=settings, progress=_telling(state))
                results = _brought(results, arguments, curves)
            except Cancelled as stopped:
                if str(stopped) == "skipped":
                    state.skipped = False
                    continue
                break
            made += len(results)
            # One for each step of an interpolation; its last result is all of them. Else the last pass's.
            texts = (
                [*painter.infotexts, *painter.infotexts[:1]] if len(results) > 1 else painter.infotexts[-1:]
            )
            if arguments.heal:
                texts = [""] * len(results)  # the host painted nothing
            comments = list(painter.comments)
            painter.infotexts.clear()
            painter.comments.clear()
            for result, text in zip(results, texts, strict=False):
                yield _stamped(result, arguments, comments), text
    if not made:
        raise Cancelled("Stopped before there was a sound.")


def asked_of(arguments: Arguments, clip: Clip | None) -> Curves | None:
    """The curves that the arguments ask for, if any."""
    if arguments.action not in FOLLOWING or arguments.heal:
        return None
    if not any(getattr(arguments, name) for name in ("curves", *CURVES)):
        return None
    from sonopaint_webui.curves import asked

    return asked(arguments, clip.duration_s if clip is not None else arguments.seconds or None)


def _brought(results: list[Result], arguments: Arguments, curves: Curves | None) -> list[Result]:
    """Whole sounds brought to their curves, where that is wanted; parts stay as they were painted."""
    if curves is None or not arguments.exact or arguments.action not in WHOLE:
        return results
    from sonopaint.tasks.following import exactly

    return [exactly(result, curves) for result in results]


def _let_follow(painter: HostPainter, arguments: Arguments, curves: Curves | None) -> Curves | None:
    """The curves as the painter follows them from now on."""
    if curves is None:
        return None
    from sonopaint.painters.following import in_register
    from sonopaint_webui.curves import following

    curves = in_register(curves, painter.knowledge, arguments.prompt)
    painter.following = following(curves, arguments.action, host.chosen_checkpoint(), arguments.exact)
    return curves


def painter_for(arguments: Arguments) -> HostPainter:
    """The painter of the loaded checkpoint, or of a one-step file, for these arguments."""
    checkpoint, path = "", None
    words = [arguments.prompt, arguments.to_prompt, arguments.left_prompt, arguments.right_prompt]
    if arguments.action == "one-step" and arguments.student:
        student = host.find_student(arguments.student)
        words.append(_loras_of(student))
        if student.kind == "checkpoint":
            checkpoint, path = student.name, student.path
    host.loaded_model()
    fmt = host.format_of("\n".join(words), arguments.format, path)
    return HostPainter(
        fmt,
        fill=arguments.fill,
        scheduler=arguments.scheduler if arguments.scheduler != "Automatic" else "",
        styles=arguments.styles,
        checkpoint=checkpoint,
        lead=event_lead(path or host.chosen_checkpoint(), fmt),
    )


def _settings(arguments: Arguments, index: int) -> PaintSettings:
    settings = arguments.settings(index)
    if arguments.action != "one-step":
        return settings
    loras = _loras_of(host.find_student(arguments.student)) if arguments.student else ""
    prompt = f"{settings.prompt} {loras}" if loras else settings.prompt
    return dataclasses.replace(
        settings, prompt=prompt, steps=1, guidance_scale=1.0, sampler=host.ONE_STEP_SAMPLER
    )


def _loras_of(student: host.Student) -> str:
    """The prompt's part that loads a one-step LoRA, and the student below it."""
    if student.kind != "lora":
        return ""
    below = on_student(student.name, host.header_of(student.path))
    names = [*(below[:1] if below else ()), student.path.stem]
    return " ".join(f"<lora:{name}:1>" for name in names)


def _work(arguments: Arguments, clip: Clip | None) -> Work:
    """The engine's task with everything but painter, settings and progress."""
    action, seconds = arguments.action, arguments.seconds or None
    if action == "interpolate":
        return partial(_interpolate, arguments)
    if action in ("generate", "one-step"):
        return partial(generate, seconds=seconds)
    if action == "loop" and clip is None:  # without a sound a new loop is made
        return partial(loop, clip=None, seconds=seconds)
    assert clip is not None
    if arguments.heal:
        return partial(_heal, read_region(arguments), clip)
    edit = Edit(
        "extend" if action == "outpaint" else action,
        region=read_region(arguments) if action == "inpaint" else None,
        left_s=arguments.left,
        right_s=arguments.right,
        left_prompt=arguments.left_prompt or None,
        right_prompt=arguments.right_prompt or None,
        seam_s=arguments.seam,
    )
    return partial(edit.paint, clip=clip)


def read_region(arguments: Arguments) -> Region:
    """Where to paint. Raises SonopaintError for boxes and brushes that are none."""
    given = arguments.region or {}
    boxes = read_boxes(given)
    return Region(boxes, _brush(given.get("brush") or ""), arguments.feather, arguments.invert)


def _brush(encoded: str) -> Any:
    """The mask of a PNG in base64: white and opaque is painted."""
    if not encoded:
        return None
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "brush.png")
        path.write_bytes(from_base64(encoded, "brush"))
        return load_brush(path)


def from_base64(text: str, name: str) -> bytes:
    """The bytes of base64 or of a data URL. Raises SonopaintError where it is damaged."""
    try:
        return base64.b64decode(text.rpartition(",")[2] if text.startswith("data:") else text, validate=True)
    except ValueError as error:
        raise SonopaintError(f"{name} must be a file in base64; this can't be decoded.") from error


def _interpolate(
    arguments: Arguments, painter: HostPainter, settings: PaintSettings, progress: Progress
) -> list[Result]:
    to = dataclasses.replace(settings, prompt=arguments.to_prompt, seed=arguments.to_seed)
    seconds = arguments.seconds or None
    return interpolate(painter, settings, to, arguments.clips, seconds=seconds, progress=progress)


def _heal(
    region: Region, clip: Clip, painter: HostPainter, settings: PaintSettings, progress: Progress
) -> list[Result]:
    """What is marked, repaired without the host's model; the picture is in its format."""
    from sonoconvert.conversion.convert import encode
    from sonopaint.heal.heal import HealSettings, heal
    from sonopaint.heal.marks import marks_of

    marks = marks_of(region, clip, painter.format)
    done = heal(
        clip,
        marks,
        HealSettings(seed=settings.seed % 2**32),
        progress=shares(progress, "Healing"),
    )
    told = {"task": "heal", "seed": settings.seed, "notes": done.said}
    return [Result.of(done.clip, encode(done.clip, painter.format), told)]


def variations(
    arguments: Arguments, clip: Clip, painter: HostPainter, progress: Progress, curves: Curves | None = None
) -> Iterator[tuple[Result, str]]:
    """(result, infotext) of each variation that keeps of the clip what it should, and was chosen where asked.

    Interrupt and Skip end the making; Cancelled where nothing is there then.
    """
    from sonoconvert.conversion.convert import encode
    from sonopaint.variations.make import Maker

    keep = Keep.of(arguments.keep)
    ask = Ask(arguments.prompt, arguments.count, arguments.strength, arguments.seed, keep=keep)
    variator = HostVariator(arguments, painter, curves)
    maker = Maker(variator, clip, ask, choose=arguments.choose)
    with contextlib.suppress(Cancelled):
        maker.make(progress)
    chosen = maker.choose_again()
    if not maker.made:
        raise Cancelled("Stopped before there was a sound.")
    if not chosen:
        raise SonopaintError(maker.notes(chosen)[0])
    for one in chosen:
        settings = one.settings | {"figures": one.figures, "notes": maker.said(chosen)}
        yield Result.of(one.clip, encode(one.clip, painter.format), settings), variator.infotexts[one.seed]


class HostVariator(MelVariator):
    """The host's model as a back-end of variations; keeps the host's infotext of each seed."""

    def __init__(self, arguments: Arguments, painter: HostPainter, curves: Curves | None = None) -> None:
        super().__init__(painter, arguments.settings(), "host", curves=curves, exact=arguments.exact)
        self.arguments, self.host, self.infotexts = arguments, painter, dict[int, str]()

    def candidates(
        self, reference: Clip, ask: Ask, seeds: Sequence[int], progress: Progress | None = None
    ) -> Iterator[Candidate]:
        """See Variator."""
        for seed in seeds:
            one = dataclasses.replace(self.arguments, seed=seed % (MAX_SEED + 1), choose=False)
            self.host.about = infotext.written(one)
            for candidate in super().candidates(reference, ask, [seed], progress):
                self.infotexts[seed] = self.host.infotexts[-1]
                yield candidate


def notes_of(settings: Mapping[str, Any]) -> list[str]:
    """What is to be said beside a result: of its prompt, of its making, by the host."""
    return [note for note in (settings.get("unknown", ""), *settings.get("notes", [])) if note]


def _stamped(result: Result, arguments: Arguments, comments: list[str]) -> Result:
    """The result with the arguments inside, from which the page can repeat it, and the host's comments."""
    about = arguments.to_dict()
    if isinstance(about.get("region"), dict) and about["region"].get("brush"):
        about["region"] = {**about["region"], "brush": "(drawn)"}
    settings = {**result.settings, "webui": about}
    curves = asked_of(arguments, result.clip)
    if curves is not None:
        settings["curves"] = curves.to_dict()
    if arguments.action == "inpaint" and not arguments.prompt.strip() and not arguments.heal:
        comments = [*comments, HEAL_OFFER]
    if comments:
        settings["notes"] = [*settings.get("notes", []), *comments]
    return Result.of(result.clip, result.picture, settings)


def _telling(state: Any) -> Progress:
    """Tells the host's progress bar, and stops between windows where somebody asked for it."""

    def tell(step: int, total: int, message: str) -> None:
        state.textinfo = message
        host.stop_if_asked()
        if state.skipped:
            raise Cancelled("skipped")

    return tell
