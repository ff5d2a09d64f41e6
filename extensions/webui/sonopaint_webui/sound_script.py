"""The accordion "Sound" in txt2img and img2img: each picture of a run becomes a sound beside it."""

from __future__ import annotations

import logging
from typing import Any

from modules import scripts

logger = logging.getLogger(__name__)


# The script's arguments, which are fields of SoundOptions; what else it has comes from the settings.
CONTROLS = ("enabled", "format", "audio_format")


class SoundScript(scripts.Script):
    """Lifecycle only: the controls are in `sound_ui`, the work is in `sound_run`."""

    def __init__(self) -> None:
        super().__init__()
        self.parts: dict[str, Any] = {}
        for tab in ("txt2img", "img2img"):
            for part in ("width", "height", "prompt"):
                self.on_after_component(self._remember(part), elem_id=f"{tab}_{part}")
            self.on_before_component(self._panel, elem_id=f"html_info_{tab}")
            self.on_after_component(self._connect, elem_id=f"generation_info_{tab}")

    def title(self) -> str:
        return "Sonopaint"

    def show(self, is_img2img: bool) -> Any:
        return scripts.AlwaysVisible

    def ui(self, is_img2img: bool) -> list[Any]:
        from sonopaint_webui import sound_ui

        controls = sound_ui.controls(self.elem_id)
        self.parts |= controls
        self.infotext_fields = sound_ui.infotext_fields(controls)
        self.paste_field_names = list(sound_ui.PASTED.values())
        return [controls[name] for name in CONTROLS]

    def process(self, p: Any, *arguments: Any) -> None:
        """Before painting, when the model is loaded and the prompts are known."""
        from sonoconvert.errors import SonopaintError
        from sonopaint_webui.names import said
        from sonopaint_webui.sound_run import SoundOptions, SoundRun

        p.sonopaint_sound, p.sonopaint_note = None, ""
        try:
            changes = getattr(p, "sonopaint_axes", {})  # of an X/Y/Z plot
            given = dict(zip(CONTROLS, arguments, strict=False))
            options = SoundOptions.of(**{**given, **changes})
            if not options.enabled:
                return
            p.sonopaint_sound = SoundRun.of(p, options)
        except SonopaintError as error:
            p.sonopaint_note = said(error)
            p.comment(said(error))
            logger.warning("%s", error)
            return
        # A new one: the cells of an X/Y/Z plot share theirs.
        p.extra_generation_params = {**p.extra_generation_params, **options.infotext()}

    def postprocess_image_after_composite(self, p: Any, pp: Any, *arguments: Any) -> None:
        """For every finished picture, and for nothing else: grids and masks don't come here."""
        if run := getattr(p, "sonopaint_sound", None):
            run.add(pp.image)

    def postprocess(self, p: Any, processed: Any, *arguments: Any) -> None:
        """When all pictures are painted and saved."""
        if run := getattr(p, "sonopaint_sound", None):
            run.finish(processed)
        elif note := getattr(p, "sonopaint_note", ""):  # the API does not show the page's comments
            told = {**processed.extra_generation_params, "Sonopaint note": note}
            processed.extra_generation_params = told

    def _remember(self, part: str) -> Any:
        def remember(on: Any) -> None:
            self.parts[part] = on.component

        return remember

    def _panel(self, on: Any) -> None:
        from sonopaint_webui import sound_ui

        self.parts["panel"] = sound_ui.panel(self.tabname)

    def _connect(self, on: Any) -> None:
        from sonopaint_webui import sound_ui

        sound_ui.connect(self.parts, on.component)
