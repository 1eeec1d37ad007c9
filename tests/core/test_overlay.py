"""Merging of nested mappings."""

from triptych.core.schema import overlaid

BASE = {"epochs": 15, "optimiser": {"name": "sgd", "learning_rate": 0.1, "momentum": 0.9}, "views": {"flip": 0.0}}


def test_mappings_merge_at_any_depth_and_values_are_replaced():
    overlay = {"epochs": 3, "optimiser": {"learning_rate": 0.2}, "views": {"hue": 0.1}, "seeds": 2}
    assert overlaid(BASE, overlay) == {
        "epochs": 3,
        "optimiser": {"name": "sgd", "learning_rate": 0.2, "momentum": 0.9},
        "views": {"flip": 0.0, "hue": 0.1},
        "seeds": 2,
    }
    assert BASE["epochs"] == 15 and BASE["optimiser"]["learning_rate"] == 0.1 and BASE["views"] == {"flip": 0.0}


def test_a_mapping_with_another_name_replaces_the_whole_mapping():
    assert overlaid(BASE, {"optimiser": {"name": "adam"}})["optimiser"] == {"name": "adam"}
    assert overlaid(BASE, {"optimiser": {"name": "sgd"}}) == BASE


def test_a_value_and_a_mapping_replace_each_other():
    assert overlaid(BASE, {"views": None})["views"] is None
    assert overlaid(BASE, {"epochs": {"name": "few"}})["epochs"] == {"name": "few"}
