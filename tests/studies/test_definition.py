"""Study files: what they mean, and what is refused."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from rtp.errors import UserError
from rtp.studies.definition import combinations, read_study
from rtp.studies.plan import Plan, Search, make_run, option_arguments


def read(tmp_path: Path, content: dict[str, Any], size: str | None = "fast") -> Plan:
    (tmp_path / "base.yaml").touch()
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return read_study(path, size)


BASE = {"base": "base.yaml"}


def test_a_plan_has_the_settings_of_its_size(tmp_path: Path) -> None:
    content = {
        "seeds": [0, 1],
        "sizes": {
            "paper": BASE,
            "fast": BASE
            | {
                "seeds": [5],
                "options": {"trainer.max_steps": 2},
                "settings": {"a": {"y": 3}, "b": None, "c": {"x": 9}},
            },
        },
        "settings": {"a": {"x": 1, "y": 2}, "b": {}},
    }
    paper, fast = read(tmp_path, content, "paper"), read(tmp_path, content, "fast")
    assert (paper.study, paper.size, paper.seeds, paper.bases) == ("study", "paper", (0, 1), (tmp_path / "base.yaml",))
    assert paper.settings == {"a": {"x": 1, "y": 2}, "b": {}}
    assert (fast.size, fast.seeds, fast.options) == ("fast", (5,), {"trainer.max_steps": 2})
    assert fast.settings == {"a": {"x": 1, "y": 3}, "c": {"x": 9}}


def test_a_grid_is_all_combinations() -> None:
    settings = combinations({"T": {"1": {"t": 1}, "10": {"t": 10}}, "m": {"none": {"m": 0}, "full": {"m": 1}}})
    assert settings == {
        "T=1, m=none": {"t": 1, "m": 0},
        "T=1, m=full": {"t": 1, "m": 1},
        "T=10, m=none": {"t": 10, "m": 0},
        "T=10, m=full": {"t": 10, "m": 1},
    }


def test_a_size_changes_the_grid_and_settings_add_to_combinations(tmp_path: Path) -> None:
    content = {
        "seeds": [0],
        "sizes": {"fast": BASE | {"grid": {"T": {"1": None, "2": {"u": 5}, "3": {"t": 3}}}}},
        "grid": {"T": {"1": {"t": 1}, "2": {"t": 2}}, "m": {"full": {"m": 1}}},
        "settings": {"T=2, m=full": {"extra": True}},
    }
    assert read(tmp_path, content).settings == {
        "T=2, m=full": {"t": 2, "u": 5, "m": 1, "extra": True},
        "T=3, m=full": {"t": 3, "m": 1},
    }


def test_a_size_may_have_a_search_instead_of_settings(tmp_path: Path) -> None:
    search = {"axis": "K", "option": "model.memory.num_bases", "values": [2, 8]}
    plan = read(tmp_path, {"seeds": [0], "sizes": {"fast": BASE | {"search": search}}})
    assert plan.search == Search("K", "model.memory.num_bases", (2, 8))
    assert plan.search.setting(8) == "K=8"
    assert plan.settings == {}


def test_arguments_have_classes_before_what_these_take() -> None:
    options = {"model.memory.num_bases": 8, "model.augmentation": None, "model": "GradientMatching", "a.b": [1, "x"]}
    assert option_arguments(options) == [
        "--model=GradientMatching",
        "--model.augmentation=null",
        '--a.b=[1, "x"]',
        "--model.memory.num_bases=8",
    ]


def test_a_setting_may_have_a_configuration_file_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "learner.yaml").touch()
    content = {
        "seeds": [7],
        "seeded": ["data.seed"],
        "sizes": {"fast": BASE | {"options": {"data.tasks": 2}}},
        "settings": {"a": {"config": "learner.yaml", "model.rate": 0.1}, "b": {}},
    }
    plan = read(tmp_path, content)
    assert make_run(plan, "a", 7, Path("root")).arguments == [
        f"--config={tmp_path / 'base.yaml'}",
        f"--config={tmp_path / 'learner.yaml'}",  # before all options, or it would undo those of the size
        "--data.tasks=2",
        "--model.rate=0.1",
        "--seed_everything=7",
        "--data.seed=7",
        "--run_dir=root/study/fast/a/seed7",
    ]
    assert make_run(plan, "b", 7, Path("root")).changes == ["--data.tasks=2"]


def test_a_digest_is_of_what_a_run_is_made_of(tmp_path: Path) -> None:
    learner = tmp_path / "learner.yaml"
    content = {
        "seeds": [0, 1],
        "sizes": {"fast": BASE | {"options": {"x": 1}}},
        "settings": {"a": {"config": "learner.yaml", "y": 2}, "b": {"y": 2}},
    }

    def digest(change: dict[str, Any] | None = None, setting: str = "a", seed: int = 0, base: str = "z: 1") -> str:
        plan = read(tmp_path, content | (change or {}))
        (tmp_path / "base.yaml").write_text(base)
        return make_run(plan, setting, seed, Path("root")).digest

    learner.write_text("rate: 0.1")
    first = digest()
    assert re.fullmatch("[0-9a-f]{8}", first)
    assert first == digest(seed=1) == digest({"seeds": [7]}) == digest(base="# a comment\nz:   1")
    others = [
        digest(setting="b"),
        digest({"settings": {"a": {"config": "learner.yaml", "y": 3}}}),
        digest({"sizes": {"fast": BASE | {"options": {"x": 2}}}}),
        digest({"seeded": ["data.seed"]}),
        digest(base="z: 2"),
    ]
    learner.write_text("rate: 0.2")
    others.append(digest())
    assert len({first, *others}) == 7
    (tmp_path / "elsewhere").mkdir()
    learner.write_text("rate: 0.1")
    learner.rename(tmp_path / "elsewhere" / "learner.yaml")
    assert digest({"settings": {"a": {"config": "elsewhere/learner.yaml", "y": 2}}}) == first


@pytest.mark.parametrize(("text", "message"), [(b"a: [", "expected"), (b"\xff", "it is not text")])
def test_a_base_that_cannot_be_read_has_no_digest(tmp_path: Path, text: bytes, message: str) -> None:
    run = make_run(read(tmp_path, STUDY), "a", 0, Path("root"))
    (tmp_path / "base.yaml").write_bytes(text)
    with pytest.raises(UserError, match=rf"cannot read the configuration .*base.yaml' \(.*{message}"):
        assert run.digest


def test_evaluation_is_seeded_unless_the_file_says_what_is(tmp_path: Path) -> None:
    plan = read(tmp_path, {"seeds": [3], "sizes": {"fast": BASE}, "settings": {"a": {}}})
    assert "--evaluation.seed=3" in make_run(plan, "a", 3, Path("root")).arguments


STUDY = {"seeds": [0], "sizes": {"fast": BASE}, "settings": {"a": {}}}
SEARCH = {"axis": "K", "option": "x", "values": [1]}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"colour": 1}, "'colour' is not known; use seeds, settings, grid, sizes, seeded"),
        ({"sizes": {"fast": {}}}, "sizes.fast: the following arguments are required: base"),
        (
            {"sizes": {"fast": BASE | {"optoins": {}}}},
            "sizes.fast: 'optoins' is not known; use seeds, settings",
        ),
        ({"sizes": {"fast": {"base": "nowhere.yaml"}}}, "sizes.fast.base: there is no file .*nowhere.yaml"),
        ({"sizes": {"../out": BASE}}, "the name '../out' cannot name a folder"),
        ({"settings": {"a/b": {}}}, "the name 'a/b' cannot name a folder"),
        ({"settings": {"a": 3}}, "settings: expected dict"),
        ({"settings": {1: {}}}, "the name 1 is not text; put it in quotes"),
        ({"settings": {}}, "sizes.fast needs either settings, or a grid, or a search: it has none"),
        ({"sizes": {"fast": BASE | {"settings": {"b": None}}}}, "leaves out 'b', which is not there; there are a"),
        ({"sizes": {"fast": BASE | {"search": SEARCH}}}, "or a search: it has both"),
        (
            {"sizes": {"fast": BASE | {"search": SEARCH | {"values": [0]}}}},
            "sizes.fast: search.values: Not of type PositiveInt: 0",
        ),
        (
            {"sizes": {"fast": BASE | {"search": SEARCH | {"values": [2, 1]}}}},
            r"values is \[2, 1\]: list distinct whole",
        ),
        ({"seeds": None}, "has no seeds: list whole numbers from 0"),
        ({"seeds": [True]}, "seeds: Not of type NonNegativeInt: True"),
        ({"seeds": []}, "list distinct whole numbers from 0"),
        ({"seeds": [1, 1]}, "list distinct whole numbers from 0"),
        ({"seeded": "data.seed"}, "study.yaml: seeded: expected list, got data.seed"),
        ({"settings": {"a": {"config": "nowhere.yaml"}}}, "sizes.fast.a.config: there is no file .*nowhere.yaml"),
    ],
)
def test_an_error_is_one_line_with_its_place(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        read(tmp_path, STUDY | change)
    assert "\n" not in str(caught.value)


def test_no_size_is_chosen_for_the_user(tmp_path: Path) -> None:
    sizes = {"paper": BASE, "fast": BASE}
    with pytest.raises(UserError, match=r"^name one of the sizes of .*study.yaml with --size: paper, fast, or --fast$"):
        read(tmp_path, STUDY | {"sizes": sizes}, None)
    with pytest.raises(UserError, match=r"with --size: paper$"):
        read(tmp_path, STUDY | {"sizes": {"paper": BASE}}, None)


def test_an_unknown_size_is_named_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="has no size 'slow': use one of fast"):
        read(tmp_path, STUDY, "slow")


@pytest.mark.parametrize("text", ["a: [", "a: \x00"])
def test_a_file_that_is_not_yaml_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "study.yaml").write_text(text)
    with pytest.raises(UserError, match="cannot read the study file"):
        read_study(tmp_path / "study.yaml", "fast")


def test_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot read the study file .*No such file"):
        read_study(tmp_path / "study.yaml", "fast")
