"""Sonopaint Studio: the browser interface, from this computer to this computer."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import socket
import sys
from collections.abc import Sequence

# Before Gradio is imported: it must not call home.
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

import gradio as gr

from sonoconvert.errors import SonopaintError, flag, setting
from sonopaint_studio import found_again, guard, palette, theme
from sonopaint_studio.blend_tab import BlendTab
from sonopaint_studio.context import Context, model_bar
from sonopaint_studio.convert_tab import ConvertTab
from sonopaint_studio.dataset_tab import DatasetTab
from sonopaint_studio.edit_tab import EditTab
from sonopaint_studio.following import follow_model
from sonopaint_studio.generate_tab import GenerateTab
from sonopaint_studio.jingle_tab import JingleTab
from sonopaint_studio.library_tab import LibraryTab
from sonopaint_studio.match_tab import MatchTab
from sonopaint_studio.model_store import ModelStore
from sonopaint_studio.models_tab import ModelsTab
from sonopaint_studio.queue_panel import QueuePanel
from sonopaint_studio.saving import save_route
from sonopaint_studio.subject_tab import SubjectTab
from sonopaint_studio.train_tab import TrainTab
from sonopaint_studio.variations_tab import VariationsTab

logger = logging.getLogger(__name__)
PORT = 7865
PORTS_TRIED = 100
LOOKS_EVERY_S = 0.02  # for events of pages
_BARS = "M5 13v6M10 8v16M15 4v24M20 10v12M25 13.5v5"
_HALF_MOON = "M12 3a9 9 0 1 0 0 18zm0-2a11 11 0 1 1 0 22 11 11 0 0 1 0-22z"
BRAND = (
    f'<h1 class="sp-brand"><svg viewBox="0 0 32 32" aria-hidden="true"><path d="{_BARS}"/></svg>'
    "<strong>Sonopaint</strong><span>Studio</span></h1>"
)
SWITCH = (
    '<button id="theme-switch" type="button" title="Light or dark" aria-label="Light or dark">'
    f'<svg viewBox="0 0 24 24" aria-hidden="true"><path d="{_HALF_MOON}"/></svg></button>'
)


def build_app(context: Context | None = None) -> gr.Blocks:
    """All pages, wired. Start it with ``launch``, which brings theme, scripts and safety settings."""
    context = context or Context()
    generate, edit = GenerateTab(context), EditTab(context)
    variations, blend = VariationsTab(context), BlendTab(context)
    jingle, match = JingleTab(context), MatchTab(context)
    library, panel = LibraryTab(context), QueuePanel(context)
    convert, dataset = ConvertTab(context), DatasetTab(context)
    train, subject, models = TrainTab(context), SubjectTab(context), ModelsTab(context)
    with gr.Blocks(title="Sonopaint Studio", analytics_enabled=False, fill_width=True) as app:
        with gr.Row(elem_id="topbar"):
            gr.HTML(BRAND, apply_default_css=False, elem_id="brand", min_width=150)
            panel.build()
            bar = model_bar(context)
            gr.HTML(SWITCH, apply_default_css=False, elem_id="switch", min_width=32)
        with gr.Tabs(elem_id="pages") as tabs:
            with gr.Tab("Generate", id="generate"):
                generate.build(bar)
            with gr.Tab("Edit", id="edit"):
                edit.build(bar)
            with gr.Tab("Variations", id="variations"):
                variations.build(bar)
            with gr.Tab("Blend", id="blend"):
                blend.build()
            with gr.Tab("Jingle", id="jingle"):
                jingle.build()
            with gr.Tab("Match", id="match"):
                match.build()
            with gr.Tab("Library", id="library") as library_page:
                library.build()
            with gr.Tab("Convert", id="convert"):
                convert.build()
            with gr.Tab("Dataset", id="dataset") as dataset_page:
                dataset.build(bar, dataset_page)
            with gr.Tab("Train", id="train") as train_page:
                train.build(bar, train_page)
            with gr.Tab("Subject", id="subject") as subject_page:
                subject.build(bar, subject_page, tabs, generate)
            with gr.Tab("Models", id="models") as models_page:
                models.build(bar, models_page)
        edit.wire(bar, tabs, generate.results, library.cards, match.cards, blend.cards)
        blend.wire(tabs, generate.results, library.cards, match.cards)
        library.wire(library_page, tabs, bar, generate, dataset, subject)
        follow_model(context, bar, generate.knobs, edit.knobs, generate.prompt, generate.seconds)
        pages = (generate, edit, variations, blend, jingle, match, convert, dataset)
        resumes = [(page.resume, page.outputs) for page in pages] + [(train.estimating, train.estimated)]
        fields, knobs = [*generate.fields, *edit.fields], [generate.knobs, edit.knobs]
        found_again.wire(app, context, bar, fields, knobs, resumes, tabs)
        app.unload(context.sessions.leave_tab)
    app.queue(default_concurrency_limit=None)
    # Gradio looks for events a thousand times a second: a tenth of a core where nothing happens.
    app._queue.sleep_when_free = app._queue.progress_update_sleep_when_free = LOOKS_EVERY_S
    app.studio_context = context
    return app


def launch(
    app: gr.Blocks, *, host: str = "127.0.0.1", port: int = PORT, browser: bool = False, block: bool = True
) -> str:
    """Serve `app` and return its address. Only the sessions' own outputs can be fetched as files, and only
    Studio's own pages and programs of this computer (of any, where `host` lets them in) are answered."""
    context: Context = app.studio_context
    guard.fetch_nothing()
    os.environ["GRADIO_TEMP_DIR"] = str(context.sessions.uploads)
    _, address, _ = app.launch(
        server_name=host,
        server_port=port,
        inbrowser=browser,
        share=False,
        quiet=True,
        show_error=True,
        prevent_thread_lock=not block,
        allowed_paths=[str(context.sessions.outputs), str(context.library.root), str(palette.FOLDER)],
        blocked_paths=[str(context.sessions.uploads), str(context.library.hidden)],
        theme=theme.theme(),
        css=theme.css(),
        head=theme.head(),
        footer_links=[],
        ssr_mode=False,
        pwa=False,
        mcp_server=False,
        enable_monitoring=False,
        app_kwargs={
            **guard.app_options(host, port, context.sessions.uploads),
            "routes": [save_route([context.sessions.outputs, context.library.root])],
        },
    )
    return str(address)


def free_port(host: str, first: int) -> int:
    """`first`, or the next port that nobody uses. SonopaintError when there is none."""
    for port in range(first, min(first + PORTS_TRIED, 65536)):
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            try:
                probe.bind((host, port))
            except OSError:
                continue
            return port
    raise SonopaintError(f"No port from {first} on is free at {host}: choose another {setting('port')}.")


def main(argv: Sequence[str] | None = None) -> int:
    """The command line of Studio. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m sonopaint_studio", description=__doc__)
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen on (default: only this computer)"
    )
    parser.add_argument(
        "--port", type=int, default=PORT, help=f"port, or the next free one (default: {PORT})"
    )
    parser.add_argument("--no-browser", action="store_true", help="do not open the browser")
    parser.add_argument("--model", help="model to begin with: a name or a path")
    args = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    try:
        context = Context()
        if args.model:
            from sonopaint.models.info import describe, find_model

            model = find_model(args.model)
            describe(model)
            context = Context(store=ModelStore(extra=model), model=str(model))
        port = free_port(args.host, args.port)
    except SonopaintError as error:
        sys.stderr.write(f"{error.told(flag)}\n")
        return 2
    logger.info("Sonopaint Studio: http://%s:%d (stop it with Ctrl+C)", args.host, port)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # so that the files go then, too
    try:
        launch(build_app(context), host=args.host, port=port, browser=not args.no_browser)
    finally:
        context.close()
    return 0
