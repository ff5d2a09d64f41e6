"""Writes an evaluation as JSON, Markdown and confusion matrix, and into the model's card."""

from __future__ import annotations

from pathlib import Path

from sonoconvert.errors import SonopaintError
from sonotrain.evaluation.evaluate import Evaluation, as_markdown, evaluate
from sonotrain.evaluation.metrics import confusion
from sonotrain.evaluation.plots import save_confusion
from sonotrain.files.json_files import write_json


def evaluate_and_report(
    plan: Evaluation, out: str | Path, device: str = "auto", *, card: bool = False
) -> str:
    """Evaluates and writes evaluation.json, evaluation.md and confusion.png into `out`; returns the Markdown.

    `card` also puts the table into the model folder's README.md.
    """
    from sonotrain.trainers.mini.export import quote_evaluation

    readme = Path(plan.model) / "README.md"
    if card and not readme.is_file():
        raise SonopaintError(f"{plan.model} has no README.md to put the evaluation into; leave --card away.")
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    result = evaluate(plan, device)
    table = as_markdown(result)
    write_json(folder / "evaluation.json", result)
    (folder / "evaluation.md").write_text(table, encoding="utf-8")
    heard = confusion(result["guesses"], result["labels"])
    save_confusion(heard, folder / "confusion.png", f"Top-1 {result['top1']:.1%}")
    if card:
        quote_evaluation(readme, table)
    return table
