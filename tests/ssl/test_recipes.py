"""A variant's recipe is what all share, under its method's, under its own; what is wrong is named where it stands."""

import copy
from pathlib import Path

import pytest

from triptych.core.errors import InputError
from triptych.core.schema import validate
from triptych.params import check_recipes
from triptych.ssl.methods import simsiam
from triptych.ssl.shared import recipes as methods
from triptych.ssl.shared.params import SSLParams, SSLRecipe
from triptych.ssl.shared.recipes import recipe

PATH = Path("params.yaml")
VIEWS = {
    "crop_scale": [0.2, 1.0], "crop_ratio": [0.75, 1.3333], "flip": 0.0, "jitter": 0.8, "brightness": 0.4,
    "contrast": 0.4, "saturation": 0.4, "hue": 0.5, "grey": 0.5, "blur": 0.0, "blur_sigma": [0.1, 2.0],
    "solarize": 0.0, "invert": 0.5, "rotation": 0.0, "heavy": {"operations": 0, "magnitude": 9.0},
}  # fmt: skip
BACKBONE = {"name": "small_resnet", "width": 8, "blocks": [1, 1], "stem_stride": 2, "standardise": True}
TRAINING = {
    "epochs": 6,
    "batch_size": 64,
    "optimiser": {"name": "sgd", "learning_rate": 0.1, "momentum": 0.9, "weight_decay": 0.001},
    "schedule": {"name": "cosine", "warmup_steps": 0},
    "gradient_clip": 0.0,
    "ema_halflife_images": 0,
}
STUDY = {
    "shared": {"seeds": 4, "snapshot_every": 2, "backbone": BACKBONE, "views": VIEWS},
    "methods": {
        "simsiam": {
            "projector_hidden": [64],
            "projector_dim": 64,
            "predictor": "mlp",
            "predictor_hidden": 16,
            "stop_gradient": True,
            "symmetric": True,
            "momentum": 0.0,
            "training": TRAINING,
        }
    },
    "variants": {"simsiam": {"method": "simsiam"}, "mine": {"method": "simsiam"}},
}
ADAM = {"name": "adamw", "learning_rate": 0.001, "betas": [0.9, 0.999], "weight_decay": 0.01}
NO_KEY = object()


def changed(**values: object) -> dict:
    """STUDY with values at dotted keys, their dots written as `__`; NO_KEY removes one."""
    tree = copy.deepcopy(STUDY)
    for key, value in values.items():
        *sections, last = key.split("__")
        section = tree
        for name in sections:
            section = section.setdefault(name, {})
        if value is NO_KEY:
            del section[last]
        else:
            section[last] = value
    return tree


def study(**values: object) -> SSLParams:
    return validate(SSLParams, changed(**values), "ssl", PATH)


def refusal(**values: object) -> str:
    with pytest.raises(InputError) as caught:
        check_recipes(study(**values), PATH)
    message = str(caught.value)
    assert message.startswith("params.yaml: ") and "\n" not in message
    return message.removeprefix("params.yaml: ")


def own(**overrides: object) -> SSLRecipe:
    """The recipe of a variant with these overrides."""
    return recipe(study(**{f"variants__mine__{key}": value for key, value in overrides.items()}), "mine")


# --- Layers ---


def test_a_variant_of_its_method_alone_is_the_methods_recipe_over_what_all_share():
    made = own()
    assert isinstance(made, simsiam.Recipe)
    training = {"training": STUDY["methods"]["simsiam"]["training"] | {"workers": 1}}
    assert made.model_dump() == STUDY["shared"] | STUDY["methods"]["simsiam"] | training
    assert made == recipe(study(), "simsiam")


def test_a_variant_overrides_any_key_at_any_depth_and_leaves_the_rest():
    base = recipe(study(), "simsiam").model_dump()
    for overrides in (
        {"predictor": "none"},
        {"seeds": 1},
        {"training": base["training"] | {"batch_size": 256}},
        {"views": base["views"] | {"crop_scale": [0.1, 0.5]}},
        {"training": base["training"] | {"optimiser": base["training"]["optimiser"] | {"momentum": 0.5}}},
    ):
        assert own(**overrides).model_dump() == base | overrides
    assert own(training__batch_size=256).training.batch_size == 256
    assert own(training__batch_size=256).training.epochs == 6
    assert own(views={"flip": 0.5}).views.model_dump() == VIEWS | {"flip": 0.5}


def test_a_section_of_another_name_takes_the_place_whole():
    assert own(training={"optimiser": ADAM}).training.optimiser.model_dump() == ADAM
    assert own(backbone={"name": "resnet18"}).backbone.model_dump() == {"name": "resnet18"}


def test_the_variant_wins_over_the_method_and_the_method_over_what_all_share():
    layers = study(methods__simsiam__seeds=2, methods__simsiam__views={"flip": 0.5}, variants__mine__seeds=1)
    assert recipe(layers, "simsiam").seeds == 2 and recipe(layers, "simsiam").views.flip == 0.5
    assert recipe(layers, "mine").seeds == 1 and recipe(layers, "mine").views.flip == 0.5


def test_weights_are_kept_after_the_first_epoch_every_few_and_the_last():
    for every, epochs, kept in [(3, 8, (1, 3, 6, 8)), (5, 1, (1,)), (2, 4, (1, 2, 4)), (1, 3, (1, 2, 3))]:
        assert own(snapshot_every=every, training__epochs=epochs).snapshot_epochs == kept


def test_a_mistake_in_another_variant_does_not_stop_this_one():
    assert recipe(study(variants__mine__predictor="large"), "simsiam").predictor == "mlp"


# --- Methods ---


def test_every_file_of_methods_is_a_method_by_its_name():
    assert "simsiam" in methods.names()
    for name in methods.names():
        module = methods.method(name)
        assert issubclass(module.Recipe, SSLRecipe) and callable(module.build) and module.__doc__, name


# --- What is wrong is named where it stands ---


def test_what_is_wrong_is_named_in_the_layer_that_holds_it():
    mine, method = "ssl.variants.mine", "ssl.methods.simsiam"
    for key, value, says in [
        (
            "variants__mine__predictr",
            "none",
            f"unknown key '{mine}.predictr'; did you mean 'predictor'? (expected one of",
        ),
        (
            "variants__mine__training__batchsize",
            8,
            f"'{mine}.training.batchsize'; did you mean 'batch_size'?",
        ),
        ("variants__mine__views__crop_scal", 1, f"unknown key '{mine}.views.crop_scal'; did you mean 'crop_scale'?"),
        (
            "variants__mine__predictor",
            "large",
            f"'{mine}.predictor' is 'large': expected one of mlp, none, fixed_random",
        ),
        ("variants__mine__snapshot_every", 0, f"'{mine}.snapshot_every' is 0: input should be greater"),
        ("variants__mine__training__batch_size", 1, f"'{mine}.training.batch_size' is 1: input should be greater"),
        ("variants__mine__training__optimiser__learning_rate", -1, f"'{mine}.training.optimiser.learning_rate' is -1"),
        ("variants__mine__training", 5, f"'{mine}.training' is 5: expected a section with keys and values"),
        ("variants__mine__projector_dim", None, f"'{mine}.projector_dim' is None: input should be a valid integer"),
        ("variants__mine__views__crop_scale", [0.8, 0.2], f"'{mine}.views.crop_scale' is [0.8, 0.2]: must be [low"),
        ("variants__mine__backbone", {"name": "resnet19"}, f"'{mine}.backbone.name' is 'resnet19'"),
        # A section that the variant replaces whole must be whole there.
        (
            "variants__mine__training__optimiser",
            {"name": "adamw"},
            f"'{mine}.training.optimiser.learning_rate' is",
        ),
        ("methods__simsiam__predictor", "large", f"'{method}.predictor' is 'large'"),
        ("methods__simsiam__training__batch_size", 1, f"'{method}.training.batch_size' is 1"),
        ("methods__simsiam__projector_dim", NO_KEY, f"key '{method}.projector_dim' is missing"),
        ("methods__simsiam__training", NO_KEY, f"key '{method}.training' is missing"),
        (
            "methods__simsiam__training__optimiser__momentum",
            NO_KEY,
            f"'{method}.training.optimiser.momentum' is",
        ),
        ("shared__snapshot_every", 0, "'ssl.shared.snapshot_every' is 0"),
        ("shared__seeds", NO_KEY, "key 'ssl.shared.seeds' is missing"),
        ("shared__views__hue", 0.6, "'ssl.shared.views.hue' is 0.6"),
        ("shared__predictor", "none", "unknown key 'ssl.shared.predictor'"),
        # Methods and variants.
        ("methods__simsim", {}, "unknown key 'ssl.methods.simsim'; did you mean 'simsiam'?"),
        ("methods__simsiam", NO_KEY, "key 'ssl.methods.simsiam' is missing"),
        ("variants__mine__method", "simsim", f"'{mine}.method': unknown method 'simsim'; did you mean 'simsiam'?"),
        ("variants__mine", {}, f"key '{mine}.method' is missing"),
        ("variants__mine", None, f"'{mine}' is None: expected a section with keys and values"),
        ("variants__Mine", {"method": "simsiam"}, "'ssl.variants.Mine' is 'Mine': string should match pattern"),
        ("variants__simsiam", NO_KEY, "'ssl': variants must include simsiam, the baseline of all comparisons"),
    ]:
        message = refusal(**{key: value})
        assert says in message, f"{key}: {message}"


def test_a_methods_recipe_is_checked_without_any_variant_of_it(monkeypatch):
    monkeypatch.setattr(methods, "names", lambda: ["other", "simsiam"])
    monkeypatch.setattr(methods, "method", lambda name: simsiam)
    other = STUDY["methods"]["simsiam"] | {"symetric": True}
    assert "unknown key 'ssl.methods.other.symetric'; did you mean 'symmetric'?" in refusal(methods__other=other)


def test_an_unknown_variant_is_told_the_nearest():
    with pytest.raises(InputError, match=r"'ssl\.variants' has no 'mien'; did you mean 'mine'\?"):
        recipe(study(), "mien")
