"""The published nomenclatures and their mapping, against a published list and real labels."""

import csv
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from decametre.errors import PatchError, UnknownNameError
from decametre.landcover.patches.nomenclature import (
    BIGEARTHNET19,
    CORINE43,
    CORINE43_TO_19,
    Nomenclature,
    match_labels,
    to_nineteen,
)
from tests.landcover.bigearthnet.archives import DATA


@pytest.fixture(scope="module")
def published():
    with (Path(__file__).parent / "data" / "classes.csv").open() as file:
        return list(csv.DictReader(file))


def test_the_43_classes_are_the_published_ones_in_the_order_of_their_codes(published):
    assert [row["code"] for row in published] == sorted(row["code"] for row in published)
    assert CORINE43.classes == tuple(row["class of 43"] for row in published)


def test_the_mapping_is_the_published_one(published):
    assert {row["class of 43"]: row["class of 19"] or None for row in published} == CORINE43_TO_19
    assert sum(new is None for new in CORINE43_TO_19.values()) == 11


def test_the_19_classes_come_in_the_order_in_which_the_43_lead_to_them(published):
    """The published order follows CORINE's but for one class: 333 joins 321."""
    assert BIGEARTHNET19.classes == tuple(
        dict.fromkeys(row["class of 19"] for row in published if row["class of 19"])
    )


def test_the_published_order_of_the_19_is_no_alphabetical_one():
    assert BIGEARTHNET19.classes.index("Marine waters") == 18
    assert BIGEARTHNET19.classes.index("Urban fabric") == 0
    assert BIGEARTHNET19.classes.index("Agro-forestry areas") == 7


def test_real_labels_of_v1_become_the_real_labels_of_v2():
    rows = pq.read_table(DATA / "v2" / "metadata.parquet").to_pylist()
    of_v2 = {row["s2v1_name"]: set(row["labels"]) for row in rows}
    for folder in (DATA / "v1").iterdir():
        labels = json.loads((folder / f"{folder.name}_labels_metadata.json").read_text())["labels"]
        assert set(to_nineteen(labels)) == of_v2[folder.name]


def test_labels_without_a_class_of_the_19_vanish():
    assert to_nineteen(["Airports", "Burnt areas"]) == ()
    assert to_nineteen(["Sea and ocean", "Airports", "Estuaries"]) == ("Marine waters",)


def test_labels_to_a_row_and_back():
    row = BIGEARTHNET19.row(["Marine waters", "Urban fabric"])
    assert row.dtype == np.uint8
    assert row.tolist() == [1, *[0] * 17, 1]
    assert BIGEARTHNET19.labels(row) == ("Urban fabric", "Marine waters")


@pytest.mark.parametrize(
    ("given", "near"),
    [("Peat bogs", "Peatbogs"), ("Transitional woodland-shrub", "woodland/shrub")],
)
def test_an_unknown_label_is_refused_with_the_nearest(given, near):
    with pytest.raises(UnknownNameError, match=near):
        CORINE43.row([given])
    with pytest.raises(UnknownNameError, match=near):
        to_nineteen([given])


def test_a_published_name_with_other_classes_is_refused():
    swapped = (*BIGEARTHNET19.classes[:-2], "Marine waters", "Inland waters")
    with pytest.raises(PatchError, match="class 17 is 'Marine waters', not 'Inland waters'"):
        Nomenclature("bigearthnet19", swapped)
    with pytest.raises(PatchError, match="class 18 is 'none'"):
        Nomenclature("bigearthnet19", BIGEARTHNET19.classes[:-1])
    with pytest.raises(PatchError, match="class 19 is 'More', not 'none'"):
        Nomenclature("bigearthnet19", (*BIGEARTHNET19.classes, "More"))


def test_an_own_nomenclature_is_free_but_names_each_class_once():
    assert Nomenclature("rules", ("water", "snow")).row(["snow"]).tolist() == [0, 1]
    with pytest.raises(PatchError, match="twice"):
        Nomenclature("rules", ("water", "water"))


def test_the_documented_table_is_the_mapping(published):
    docs = (Path(__file__).parents[3] / "docs" / "patches.md").read_text()
    for place, row in enumerate(published):
        old, new = row["class of 43"], row["class of 19"]
        at = BIGEARTHNET19.classes.index(new) if new else ""
        assert f"| {place} | {row['code']} | {old} | {at} | {new or 'none'} |\n" in docs


def test_labels_match_whatever_their_case_and_spaces():
    assert match_labels(["pastures ", "Urban  fabric", "Pastures"], "grid") == {
        "pastures ": "Pastures",
        "Urban  fabric": "Urban fabric",
        "Pastures": "Pastures",
    }
    assert match_labels(["forest", "Forest", "Water "], "grid") == {
        "forest": "Forest",
        "Forest": "Forest",
        "Water ": "Water",
    }


def test_a_misspelled_label_among_published_ones_is_refused_with_the_nearest():
    with pytest.raises(UnknownNameError, match=r"class in grid 'Arable lnad'; .*Arable land"):
        match_labels(["Pastures", "Arable lnad"], "grid")
    assert match_labels(["Pasture", "Crops"], "grid") == {"Pasture": "Pasture", "Crops": "Crops"}
