"""Where the extension hangs in the host: one function for each callback, which imports what it needs.

Loading the extension at the host's start costs these few lines; everything else is imported when it is used.
"""

from __future__ import annotations

import importlib.util
import logging
import sys
from typing import Any

from modules import script_callbacks

logger = logging.getLogger(__name__)

# What install.py adds to the host, and started with --skip-install it may not have.
REQUIRED = ("soundfile", "soxr", "scipy")


def register() -> bool:
    """Tell the host which functions to call. It forgets them itself when it reloads.

    Without its packages the extension stays out, because a script that fails would take the host down.
    """
    if missing := [name for name in REQUIRED if importlib.util.find_spec(name) is None]:
        logger.error(
            "Sonopaint is left out, because the packages %s are missing: start the WebUI without "
            "--skip-install and --skip-prepare-environment, or run pip install %s in its environment.",
            ", ".join(missing),
            " ".join(missing),
        )
        return False
    script_callbacks.on_ui_settings(on_ui_settings)
    script_callbacks.on_app_started(on_app_started)
    script_callbacks.on_ui_tabs(on_ui_tabs)
    script_callbacks.on_before_ui(on_before_ui)
    script_callbacks.on_after_component(on_after_component)
    script_callbacks.on_before_image_saved(on_before_image_saved)
    script_callbacks.on_cfg_denoiser(on_cfg_denoiser)
    script_callbacks.on_cfg_denoised(on_cfg_denoised)
    script_callbacks.on_script_unloaded(on_script_unloaded)
    return True


def on_ui_settings() -> None:
    from sonopaint_webui.settings import add_settings

    add_settings()


def on_app_started(demo: Any, app: Any) -> None:
    from sonopaint_webui.api import add_routes

    add_routes(app)


def on_before_ui() -> None:
    from sonopaint_webui.axes import add_axes
    from sonopaint_webui.one_step_sampler import add_sampler

    add_sampler()
    add_axes()


def on_after_component(component: Any, **options: Any) -> None:
    elem_id = options.get("elem_id") or ""
    if elem_id.startswith("pnginfo_") or elem_id == "extras_tab":
        from sonopaint_webui.tab.sending import on_after_component

        on_after_component(component, elem_id)


def on_before_image_saved(params: Any) -> None:
    if getattr(params.p, "sonopaint_sound", None) is not None:
        params.pnginfo.update(params.p.sonopaint_sound.text_of(params.image))


def on_cfg_denoiser(params: Any) -> None:
    if curves := sys.modules.get("sonopaint_webui.curves"):  # loaded where curves are asked for
        curves.on_cfg_denoiser(params)


def on_cfg_denoised(params: Any) -> None:
    if curves := sys.modules.get("sonopaint_webui.curves"):
        curves.on_cfg_denoised(params)


def on_script_unloaded() -> None:
    from sonopaint_webui.axes import remove_axes
    from sonopaint_webui.one_step_sampler import remove_sampler

    remove_sampler()
    remove_axes()


def on_ui_tabs() -> Any:
    from sonopaint_webui.tab import build

    return build()
