"""`sonotrain jingles sample` and `table`."""

from __future__ import annotations

import argparse

from sonoconvert.errors import SonopaintError
from sonotrain.files.options import add_options, given


def fill_sample(parser: argparse.ArgumentParser) -> None:
    def run(arguments: argparse.Namespace) -> bool:
        import torch

        from sonopaint.models.jingles.file import read_jingle
        from sonotrain.data.pvt.build import PvtDataset
        from sonotrain.evaluation.jingles.measures import followed
        from sonotrain.evaluation.jingles.play import play, real_clips, write_all

        jingle = read_jingle(arguments.model)
        dataset = PvtDataset(arguments.data, jingle.space)
        numbers = dataset.held[: arguments.clips]
        if arguments.clips < 1 or len(numbers) < arguments.clips:
            raise SonopaintError(f"--clips must be from 1 to {len(dataset.held)}, the held-out melodies.")
        played = play(jingle, dataset, numbers, arguments.seed)
        write_all(played.clips, arguments.out, "played")
        pitch, velocity = dataset.pitch[numbers], dataset.velocity[numbers]
        rate = dataset.pitch.shape[1] / dataset.seconds
        space = jingle.representation(dataset.settings["codec"])
        real = real_clips(dataset, numbers)
        with torch.no_grad():
            through = [space.decode(space.encode(clip), None) for clip in real]
        for name, clips in (("played", played.clips), ("coded", through), ("recorded", real)):
            told = followed(clips, pitch, velocity, rate)
            print(
                f"{name:>9}: pitch within 50 cents {told.pitch:.0%} (octaves aside {told.octave:.0%}), "
                f"velocity {told.velocity:.2f}, rests {told.silence:.0f} dB below notes"
            )
        print(
            f"{len(numbers)} clips in {arguments.out}: {played.seconds:.1f} s of a processor, and "
            f"{played.decoding:.1f} s for decoding"
        )
        return True

    parser.add_argument("--model", required=True, help="a model of `sonotrain jingles train`")
    parser.add_argument("--data", default="runs/pvt", help="dataset (default: runs/pvt)")
    parser.add_argument("--clips", type=int, default=8, help="held-out melodies to play (default: 8)")
    parser.add_argument("--seed", type=int, default=0, help="of the noise (default: 0)")
    parser.add_argument("--out", default="runs/jingle-sounds", help="folder (default: runs/jingle-sounds)")
    parser.set_defaults(run=run, resumable=False)


def fill_table(parser: argparse.ArgumentParser) -> None:
    from sonotrain.evaluation.jingles.table import JingleTable

    def run(arguments: argparse.Namespace) -> bool:
        from sonotrain.evaluation.jingles.table import make_table

        print(make_table(arguments.out, JingleTable(**given(arguments, JingleTable))))
        return True

    parser.add_argument("--out", default="runs/jingle-table", help="folder (default: runs/jingle-table)")
    add_options(parser, JingleTable)
    parser.set_defaults(run=run, resumable=False)
