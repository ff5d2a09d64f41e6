"""The command line of `sonotrain base export`."""

from __future__ import annotations

import argparse

from sonotrain.files.options import add_device


def fill_export(parser: argparse.ArgumentParser) -> None:
    """The arguments of `sonotrain base export`."""

    def run(arguments: argparse.Namespace) -> bool:
        if arguments.model and not arguments.decoder:
            parser.error("--model needs --decoder, the run whose decoder it gets")
        from sonotrain.trainers.mini.export import export, export_decoder

        out = arguments.out
        if arguments.model:
            export_decoder(arguments.model, arguments.decoder, out, force=arguments.force)
        else:
            export(arguments.run_folder, out, decoder=arguments.decoder, force=arguments.force)
        print(f"{out} holds the model; judge it with: sonotrain base evaluate --model {out}")
        return True

    parser.add_argument("--run", dest="run_folder", default="runs/diffusion", help="a finished diffusion run")
    parser.add_argument("--decoder", metavar="RUN", help="a VAE run made with --decoder-of, for its decoder")
    parser.add_argument(
        "--model",
        metavar="FOLDER",
        help="in place of --run: a model that gets the decoder and stays as it is",
    )
    parser.add_argument("--out", default="weights/mini", help="folder to write (default: weights/mini)")
    parser.add_argument("--force", action="store_true", help="replace a model that is there")
    add_device(parser)
    parser.set_defaults(run=run, resumable=False)
