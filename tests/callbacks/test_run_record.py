"""The flattening of settings; files and checkpoints of a run are seen in tests/test_cli.py."""

from rtp.runs.checkpoints import flat_settings


def test_settings_are_dotted_names_with_plain_values() -> None:
    config = {
        "seed_everything": 3,
        "model": {
            "class_path": "rtp.modules.MemoryDistillation",
            "init_args": {
                "memory": {"class_path": "rtp.modules.PixelMemory", "init_args": {"images_per_class": 0.5}},
                "augmentation": None,
                "slots_per_class": 32,
            },
        },
        "data": {"class_path": "rtp.datamodules.MNIST", "init_args": {"root": "/some/where.d"}},
        "evaluation": {"baselines": False, "architectures": ["ConvNet", "MLP"]},
        "trainer": {"max_steps": 5},
    }
    assert flat_settings(config) == {
        "seed_everything": 3,
        "model": "MemoryDistillation",
        "model.memory": "PixelMemory",
        "model.memory.images_per_class": 0.5,
        "model.slots_per_class": 32,
        "data": "MNIST",
        "data.root": "/some/where.d",
        "evaluation.baselines": False,
        "evaluation.architectures": "ConvNet, MLP",
    }
