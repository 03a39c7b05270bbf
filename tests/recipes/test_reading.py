import pytest
import yaml

from decametre.errors import RecipeError, UnknownNameError
from decametre.landcover.models.network import LandCoverNetwork
from decametre.recipes.reading import LandCoverRecipe, check_recipe, read_recipe, shipped_recipes
from decametre.superres.models.registry import shipped_cards
from decametre.superres.models.uncertainty import UncertaintyTrunk
from decametre.superres.training.recipe import UncertaintyRecipe
from decametre.superres.training.task import build_card

RECIPES = shipped_recipes()


def tree():
    return yaml.safe_load(RECIPES["native_2x"].read_text())


@pytest.mark.parametrize("name", RECIPES)
def test_a_shipped_recipe_is_valid_and_builds_its_network(name):
    recipe = read_recipe(name)
    assert recipe.name == name
    if isinstance(recipe, LandCoverRecipe):
        network = LandCoverNetwork(recipe.network.backbone, {10: recipe.network.bands}, 43)
        assert network.features == 2048
    elif isinstance(recipe, UncertaintyRecipe):
        assert recipe.network.model in shipped_cards()
        UncertaintyTrunk({10: 4, 20: 6}, **recipe.network.config)
    else:
        assert recipe.data.patch % build_card(recipe).alignment == 0


@pytest.mark.parametrize("name", [name for name in RECIPES if name in shipped_cards()])
def test_the_shipped_weights_are_of_the_shipped_recipe(name):
    card, shipped = build_card(read_recipe(name)), shipped_cards()[name]
    for part in ("architecture", "config", "bands_in", "margin", "alignment", "projection"):
        assert getattr(card, part) == getattr(shipped, part)


@pytest.mark.parametrize(
    ("place", "key", "nearest"),
    [
        ((), "optimisation", "mean optimization"),
        (("data",), "patches", "mean patch"),
        (("optimization",), "clipping", "mean clip"),
        (("optimization", "schedule"), "warm_up", "mean warmup"),
        (("optimization",), "optimiser", "mean optimizer"),
    ],
)
def test_an_unknown_key_is_an_error_with_the_nearest_correct_one(place, key, nearest):
    wrong = tree()
    branch = wrong
    for part in place:
        branch = branch[part]
    branch[key] = 1
    with pytest.raises(UnknownNameError) as error:
        check_recipe(wrong, "mine.yaml")
    assert "mine.yaml" in str(error.value)
    assert f"'{key}'" in str(error.value)
    assert ".".join(place) in str(error.value)
    assert nearest in str(error.value)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("optimization.steps", 0, "optimization.steps"),
        ("optimization.steps", "many", "'many'"),
        ("network.scale", 3, "network.scale"),
        ("data.kernels", ["gauss"], "'gauss'"),
        ("data.kernels", [], "data.kernels"),
        ("data.window", 700, "data.window"),
        ("optimization.schedule", {"rule": "linear", "rate": 1}, "optimization.schedule"),
        ("optimization.schedule", {"rule": "cosine"}, "optimization.schedule.rate"),
        # Steps are for cosine, shares of the steps for the linear rule.
        (
            "optimization.schedule",
            {"rule": "linear_warmup", "warmup": 5},
            "optimization.schedule.warmup: Input should be less than 1",
        ),
        (
            "optimization.schedule",
            {"rule": "linear_warmup", "milestones": [30, 60]},
            "optimization.schedule.milestones.0",
        ),
        ("name", "../up", "name"),
        (
            "optimization.steps",
            True,
            "optimization.steps: Input should be a number (YAML reads yes",
        ),
        ("optimization.clip", True, "optimization.clip"),
        ("optimization.schedule.rate", float("inf"), "optimization.schedule.rate"),
        ("optimization.betas", [0.9, 1.5], "optimization.betas.1"),
        ("optimization.optimizer", "adam", "optimization.optimizer: Input should be 'adamw'"),
        ("optimization.momentum", 0.9, "momentum: adamw does not use this key; sgd and lars do"),
        ("optimization.nesterov", True, "optimization.nesterov"),
        ("seed", 2**64, "seed"),
        ("data.train", "scenes/item.json", "data.train: Input should be a list"),
    ],
)
def test_a_wrong_value_is_one_line_with_place_and_value(key, value, message):
    with pytest.raises(RecipeError) as error:
        read_recipe("native_2x", {key: value})
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_what_an_optimizer_ignores_is_refused():
    sgd = {"optimization.optimizer": "sgd"}
    with pytest.raises(
        RecipeError, match=r"optimization\.betas: sgd does not use this key; adamw and lamb"
    ):
        read_recipe("native_2x", sgd | {"optimization.betas": [0.9, 0.99]})
    with pytest.raises(RecipeError, match=r"optimization\.nesterov: .* without momentum"):
        read_recipe("native_2x", sgd | {"optimization.nesterov": True})
    momentum = {"optimization.momentum": 0.9, "optimization.nesterov": True}
    assert read_recipe("native_2x", sgd | momentum).optimization.nesterov


@pytest.mark.parametrize("rule", ["linear_warmup", "polynomial"])
def test_every_rule_has_separate_keys(rule):
    with pytest.raises(UnknownNameError, match="mean reference_batch"):
        read_recipe("native_2x", {"optimization.schedule": {"rule": rule, "referenced_batch": 256}})


def test_numbers_that_yaml_reads_as_text():
    """`1e-4` without a dot is text in YAML 1.1."""
    recipe = read_recipe("native_2x", {"optimization.schedule": {"rule": "cosine", "rate": "1e-4"}})
    assert recipe.optimization.schedule.rate == 1e-4


def test_a_missing_key_is_named():
    wrong = tree()
    del wrong["optimization"]["batch"]
    with pytest.raises(RecipeError, match=r"optimization\.batch"):
        check_recipe(wrong, "mine.yaml")


def test_an_unknown_recipe_names_the_nearest():
    with pytest.raises(UnknownNameError, match="native_2x"):
        read_recipe("nativ_2x")
    with pytest.raises(RecipeError, match="no such file"):
        read_recipe("absent.yaml")


def test_invalid_recipe_files(tmp_path):
    path = tmp_path / "r.yaml"
    for text in ("[1, 2]", "a: [", "just words"):
        path.write_text(text)
        with pytest.raises(RecipeError, match=r"r\.yaml"):
            read_recipe(str(path))


def test_paths_are_relative_to_the_recipe_unless_changed(tmp_path):
    path = tmp_path / "r.yaml"
    content = tree()
    content["data"]["train"] = ["a/item.json", "https://example.org/item.json", "/b/item.json"]
    path.write_text(yaml.safe_dump(content))
    recipe = read_recipe(str(path), {"optimization.steps": 7}, validation=["c/*.json"])
    assert recipe.data.train == (
        str(tmp_path / "a/item.json"),
        "https://example.org/item.json",
        "/b/item.json",
    )
    assert recipe.data.validation == ("c/*.json",)
    assert recipe.optimization.steps == 7


def test_a_recipe_survives_json():
    recipe = read_recipe("native_2x")
    assert check_recipe(recipe.model_dump(mode="json"), "json") == recipe


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("network.bands", ["B02", "B13"], "network.bands: unknown band 'B13'; did you mean B12"),
        ("network.bands", [], "network.bands"),
        ("network.backbones", "resnet18", "mean backbone"),
        ("optimization.steps", 5, "'steps'"),
        ("data.patch", 5, "'patch'"),
        ("data.mixup.beta", 5, "known: alpha, form"),
        ("optimization.micro_batch", None, "merged requires optimization.micro_batch"),
        ("network.norm", "synchronised", "set optimization.micro_batch: null"),
        ("task", "land-cover", "mean landcover"),
    ],
)
def test_mistakes_in_a_recipe_of_land_cover(key, value, message):
    with pytest.raises((RecipeError, UnknownNameError)) as error:
        read_recipe("landcover_resnet50", {key: value})
    assert message in str(error.value)


def test_other_spellings_of_bands_are_accepted():
    recipe = read_recipe("landcover_resnet50", {"network.bands": ["b8a", "B2"]})
    assert recipe.network.bands == ("B02", "B8A")


def test_a_recipe_needs_a_task():
    with pytest.raises(RecipeError, match="task"):
        check_recipe({"name": "x"}, "mine.yaml")
