"""Studio's look: colours and type for Gradio's theme, and the page's own script and style sheet."""

from __future__ import annotations

from pathlib import Path

import gradio as gr

import sonoconvert

ASSETS = Path(__file__).parent / "assets"
SHARED = Path(sonoconvert.__file__).parent / "web"  # what all hosts' pages draw spectrograms with
SCRIPTS = (
    SHARED / "dom.js",
    ASSETS / "studio.js",
    SHARED / "spectrogram.js",
    SHARED / "region_editor.js",
    SHARED / "curve_lanes.js",
    ASSETS / "saving.js",
    ASSETS / "compare.js",
    ASSETS / "palette.js",
    ASSETS / "recorder.js",
    ASSETS / "editor.js",
    ASSETS / "cards.js",
    ASSETS / "dropzone.js",
    ASSETS / "captions.js",
    ASSETS / "curves.js",
    ASSETS / "roll.js",
    ASSETS / "knobs.js",
    ASSETS / "queue.js",
)
# System fonts only: the page never asks another machine for anything.
SANS = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "Noto Sans", "DejaVu Sans", "sans-serif")
MONO = ("ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "DejaVu Sans Mono", "monospace")

# name: (light, dark). The style sheet uses the same names as --sp-<name>.
COLOURS: dict[str, tuple[str, str]] = {
    "ground": ("#f4f2ee", "#121118"),
    "panel": ("#fffefb", "#1a1922"),
    "raised": ("#f7f5f0", "#23212d"),
    "field": ("#ffffff", "#15141c"),
    "line": ("#e0dcd3", "#302e3b"),
    "strong-line": ("#c9c3b7", "#45424f"),
    "ink": ("#1e1b29", "#eceaf3"),
    "quiet": ("#676272", "#a09cae"),
    "paint": ("#087569", "#3ad6c0"),
    "paint-hover": ("#076259", "#62e3d1"),
    "paint-soft": ("#dcefec", "#173532"),
    "on-paint": ("#ffffff", "#06231f"),
    "danger": ("#b3381f", "#ff8d72"),
    "danger-soft": ("#fbe9e3", "#3a1f1b"),
}


def theme() -> gr.themes.Base:
    """The Gradio theme; every colour has a light and a dark value."""

    def both(name: str, colour: str) -> dict[str, str]:
        light, dark = COLOURS[colour]
        return {name: light, f"{name}_dark": dark}

    colours: dict[str, str] = {}
    for name, colour in {
        "body_background_fill": "ground",
        "body_text_color": "ink",
        "body_text_color_subdued": "quiet",
        "background_fill_primary": "panel",
        "background_fill_secondary": "raised",
        "border_color_primary": "line",
        "border_color_accent": "paint",
        "border_color_accent_subdued": "paint",
        "color_accent_soft": "paint-soft",
        "link_text_color": "paint",
        "link_text_color_hover": "paint-hover",
        "link_text_color_active": "paint-hover",
        "link_text_color_visited": "paint",
        "block_background_fill": "panel",
        "block_border_color": "line",
        "block_label_background_fill": "panel",
        "block_label_text_color": "quiet",
        "block_title_text_color": "quiet",
        "block_info_text_color": "quiet",
        "panel_background_fill": "panel",
        "panel_border_color": "line",
        "accordion_text_color": "ink",
        "input_background_fill": "field",
        "input_background_fill_focus": "field",
        "input_border_color": "strong-line",
        "input_border_color_hover": "quiet",
        "input_border_color_focus": "paint",
        "input_placeholder_color": "quiet",
        "loader_color": "paint",
        "slider_color": "paint",
        "checkbox_background_color": "field",
        "checkbox_background_color_selected": "paint",
        "checkbox_border_color": "strong-line",
        "checkbox_border_color_selected": "paint",
        "checkbox_border_color_focus": "paint",
        "checkbox_label_background_fill": "raised",
        "checkbox_label_background_fill_hover": "paint-soft",
        "checkbox_label_background_fill_selected": "paint-soft",
        "checkbox_label_border_color": "line",
        "checkbox_label_border_color_selected": "paint",
        "checkbox_label_text_color": "ink",
        "checkbox_label_text_color_selected": "ink",
        "button_primary_background_fill": "paint",
        "button_primary_background_fill_hover": "paint-hover",
        "button_primary_border_color": "paint",
        "button_primary_border_color_hover": "paint-hover",
        "button_primary_text_color": "on-paint",
        "button_primary_text_color_hover": "on-paint",
        "button_secondary_background_fill": "raised",
        "button_secondary_background_fill_hover": "paint-soft",
        "button_secondary_border_color": "strong-line",
        "button_secondary_border_color_hover": "paint",
        "button_secondary_text_color": "ink",
        "button_secondary_text_color_hover": "ink",
        "button_cancel_background_fill": "danger-soft",
        "button_cancel_background_fill_hover": "danger-soft",
        "button_cancel_border_color": "danger",
        "button_cancel_border_color_hover": "danger",
        "button_cancel_text_color": "danger",
        "button_cancel_text_color_hover": "danger",
        "error_background_fill": "danger-soft",
        "error_border_color": "danger",
        "error_text_color": "danger",
    }.items():
        colours |= both(name, colour)
    accent = gr.themes.Color(*["#087569"] * 11)
    base = gr.themes.Base(
        primary_hue=accent,
        neutral_hue="stone",
        spacing_size="sm",
        radius_size="sm",
        text_size="sm",
        font=list(SANS),
        font_mono=list(MONO),
    )
    return base.set(
        **colours,
        block_shadow="none",
        block_border_width="0px",
        block_padding="0px",
        block_radius="8px",
        container_radius="8px",
        input_radius="7px",
        input_border_width="1px",
        input_shadow="none",
        input_shadow_focus="0 0 0 3px var(--sp-focus)",
        input_padding="7px 10px",
        layout_gap="12px",
        form_gap_width="0px",
        block_title_text_weight="500",
        block_label_text_weight="500",
        button_large_radius="8px",
        button_medium_radius="7px",
        button_small_radius="7px",
        button_large_text_weight="600",
        button_medium_text_weight="500",
        button_border_width="1px",
        button_primary_shadow="none",
        button_secondary_shadow="none",
        shadow_drop="none",
        checkbox_label_shadow="none",
    )


def head() -> str:
    """Scripts and style for the page's <head>, nothing from another machine."""
    light = "".join(f"--sp-{name}:{pair[0]};" for name, pair in COLOURS.items())
    dark = "".join(f"--sp-{name}:{pair[1]};" for name, pair in COLOURS.items())
    scripts = "".join(f"<script>{path.read_text(encoding='utf-8')}</script>" for path in SCRIPTS)
    return f"<style>:root{{{light}}}.dark{{{dark}}}</style>{scripts}"


def css() -> str:
    return (ASSETS / "style.css").read_text(encoding="utf-8")
