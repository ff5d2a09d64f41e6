"""The page "Sonopaint" of the WebUI: one file for each kind of sub-tab."""

from __future__ import annotations

from typing import Any

import gradio as gr


def build() -> list[tuple[Any, str, str]]:
    """Called by the host while it builds its page: [(page, title, id)]."""
    from sonopaint_webui.tab import convert
    from sonopaint_webui.tab.panel import PANELS, Panel
    from sonopaint_webui.tab.sending import wire_sending
    from sonopaint_webui.tab.start import Start
    from sonopaint_webui.tab.train import TITLES, TrainPanel

    with gr.Blocks(analytics_enabled=False) as page:
        start = Start()
        with gr.Tabs(elem_id="sonopaint_tabs", selected="generate") as tabs:
            panels = []
            for action, title in PANELS.items():
                with gr.Tab(title, id=action, elem_id=f"sonopaint_tab_{action.replace('-', '_')}"):
                    panels.append(Panel(action).build())
            with gr.Tab("Audio → Image", id="audio-to-image", elem_id="sonopaint_tab_audio_to_image"):
                convert.build_audio_to_image()
            with gr.Tab("Image → Audio", id="image-to-audio", elem_id="sonopaint_tab_image_to_audio"):
                convert.build_image_to_audio()
            trains = []
            for command, title in TITLES.items():
                with gr.Tab(title, id=f"train-{command}", elem_id=f"sonopaint_tab_train_{command}"):
                    trains.append(TrainPanel(command).build())
        start.wire(panels)
        for train in trains:
            train.wire(tabs, start.chosen, panels)
        wire_sending(tabs, panels)
    for component in page.blocks.values():
        # The host keeps defaults by label, so that one sub-tab's would become all the others'.
        component.do_not_save_to_config = True
    return [(page, "Sonopaint", "sonopaint")]
