"""An evaluation of land cover as human-readable tables, and as machine-readable JSON and CSV."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from decametre.io import tables as io_tables
from decametre.io.tables import Table, number
from decametre.landcover.evaluation.results import RATES, ClassifierScores, LandCoverEvaluation
from decametre.landcover.metrics.confusion import NONE
from decametre.landcover.metrics.scores import AVERAGES, Rates
from decametre.landcover.metrics.thresholds import FIXED, GLOBAL, Thresholds, record
from decametre.version import __version__

DECIMALS = 4


def tables(evaluation: LandCoverEvaluation) -> list[Table]:
    """The tables in order."""
    return [
        averages(evaluation),
        f1_per_class(evaluation),
        *(per_class(evaluation, model) for model in evaluation.models),
    ]


def text(evaluation: LandCoverEvaluation) -> str:
    """All tables with their explanation, and notes on what they exclude."""
    parts = [_samples(evaluation), *(table.markdown() for table in tables(evaluation))]
    return "\n\n".join([*parts, "\n".join(f"* {note}" for note in _notes(evaluation))])


def markdown(evaluation: LandCoverEvaluation) -> str:
    """The text as a Markdown file, with the command that repeats the evaluation and the figures."""
    return (
        f"# Land cover\n\n```\n{evaluation.command}\n```\n\n{text(evaluation)}\n\n"
        "![F1 and support of each class](figures/per_class.png)\n\n"
        "![Which classes are taken for which](figures/confusion.png)\n"
    )


def averages(evaluation: LandCoverEvaluation) -> Table:
    """Precision, recall and F1 over all classes, as in Table 2 of Sedona et al. (2019)."""
    rows = [
        [name, model.label, *_cells(model.scores.averages[name])]
        for name in AVERAGES
        for model in evaluation.models
    ]
    return Table(
        "All classes. AP of macro is the mean average precision (mAP).",
        ["average", "model", *RATES.values()],
        rows,
        names=2,
    )


def f1_per_class(evaluation: LandCoverEvaluation) -> Table:
    """Support, and F1 of each model, as in Table 3 of Sedona et al. (2019)."""
    labels = [model.label for model in evaluation.models]
    rows = [
        [name, str(support)]
        + [number(model.scores.classes[at].rates.f1, DECIMALS) for model in evaluation.models]
        for at, (name, support) in enumerate(
            zip(evaluation.class_names, evaluation.support, strict=True)
        )
    ]
    return Table("F1 per class", ["class", "support", *(f"F1 ({x})" for x in labels)], rows)


def per_class(evaluation: LandCoverEvaluation, model: ClassifierScores) -> Table:
    """All scores of one model."""
    rows = [
        [
            name,
            str(one.support),
            str(one.predicted),
            number(one.threshold, DECIMALS),
            *_cells(one.rates),
        ]
        for name, one in zip(evaluation.class_names, model.scores.classes, strict=True)
    ]
    return Table(
        f"{model.label}: {_rule(model.thresholds)}",
        ["class", "support", "predicted", "threshold", *RATES.values()],
        rows,
    )


def document(evaluation: LandCoverEvaluation) -> dict[str, Any]:
    """All scores as a JSON document."""
    names = evaluation.class_names
    return {
        "command": evaluation.command,
        "software": {"decametre": __version__, "numpy": np.__version__},
        "store": evaluation.store,
        "split": evaluation.split,
        "nomenclature": evaluation.nomenclature,
        "class_names": list(names),
        "samples": evaluation.samples,
        "samples_without_class": evaluation.unlabelled,
        "classes_without_support": list(evaluation.without_support),
        "models": {
            model.label: {
                "model": model.model,
                "checksum_sha256": model.checksum,
                "thresholds": record(model.thresholds, names),
                "averages": {name: asdict(one) for name, one in model.scores.averages.items()},
                "classes_never_predicted": list(evaluation.never_predicted(model)),
                "classes": {
                    name: {"support": one.support, "predicted": one.predicted, **asdict(one.rates)}
                    for name, one in zip(names, model.scores.classes, strict=True)
                },
                "confusion": {
                    "definition": "Krstinic et al. 2020, doi:10.5121/csit.2020.100801",
                    "rows_true_columns_predicted": [*names, NONE],
                    "values": model.confusion.tolist(),
                },
            }
            for model in evaluation.models
        },
    }


def json_text(evaluation: LandCoverEvaluation) -> str:
    """All scores as JSON."""
    return io_tables.json_text(document(evaluation))


def csv_text(evaluation: LandCoverEvaluation) -> str:
    """All scores as CSV, one per line; the scope is `average` or `class`."""
    return io_tables.csv_text(("model", "scope", "name", "metric", "value"), evaluation.records())


def _samples(evaluation: LandCoverEvaluation) -> str:
    """Explanation above the tables."""
    return (
        f"{evaluation.samples} patches of split '{evaluation.split}' of {evaluation.store}, "
        f"{len(evaluation.class_names)} classes ({evaluation.nomenclature})."
    )


def _notes(evaluation: LandCoverEvaluation) -> list[str]:
    """Notes on what the averages exclude, and what they count as 0."""
    missing = evaluation.without_support
    notes = [
        f"{_listed(missing)} without a patch: excluded from macro and weighted averages."
        if missing
        else "Every class has support: none is excluded from the averages over classes."
    ]
    if number_of := evaluation.unlabelled:
        notes.append(
            f"{number_of} patch{'es' * (number_of != 1)} without a class: excluded from the "
            "averages over samples."
        )
    for model in evaluation.models:
        if silent := evaluation.never_predicted(model):
            notes.append(
                f"{model.label} never predicts {_listed(silent)}: precision and F1 count as 0."
            )
        if untuned := model.thresholds.untuned:
            names = [evaluation.class_names[at] for at in untuned]
            notes.append(
                f"{model.label} has the threshold 0.5 for {_listed(names)}: nothing to tune on."
            )
    return notes


def _listed(names: Sequence[str]) -> str:
    """Number and names of classes."""
    return f"{len(names)} class{'es' * (len(names) != 1)} ({'; '.join(names)})"


def _rule(thresholds: Thresholds) -> str:
    """How the thresholds were chosen."""
    value = number(thresholds.values[0], DECIMALS)
    if thresholds.rule == FIXED:
        return f"threshold {value}, fixed"
    if thresholds.rule == GLOBAL:
        return f"threshold {value}, tuned for micro F1 on the validation split"
    return "thresholds tuned for the F1 of each class on the validation split"


def _cells(rates: Rates) -> list[str]:
    return [number(getattr(rates, metric), DECIMALS) for metric in RATES]
