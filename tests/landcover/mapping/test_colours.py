from decametre.landcover.mapping.colours import CORINE, colours_of
from decametre.landcover.patches.nomenclature import BIGEARTHNET19, CORINE43, Nomenclature


def test_published_classes_have_the_colours_of_corine():
    assert tuple(CORINE) == CORINE43.classes
    assert colours_of(CORINE43) == list(CORINE.values())
    nineteen = dict(zip(BIGEARTHNET19.classes, colours_of(BIGEARTHNET19), strict=True))
    assert nineteen["Mixed forest"] == (77, 255, 0)
    assert nineteen["Arable land"] == CORINE["Non-irrigated arable land"]
    assert nineteen["Inland waters"] == CORINE["Water courses"]


def test_no_two_classes_look_alike():
    mine = Nomenclature("mine", tuple(f"class {number}" for number in range(60)))
    for nomenclature in (CORINE43, BIGEARTHNET19, mine):
        colours = colours_of(nomenclature)
        assert len(set(colours)) == len(colours) == len(nomenclature.classes)
        assert all(0 <= part <= 255 for colour in colours for part in colour)
