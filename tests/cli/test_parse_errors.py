"""Condensed messages; tests/test_cli.py sees them come out of real command lines."""

from rtp.cli.parse_errors import one_line


def test_the_place_and_the_fault_are_kept_and_the_alternatives_dropped() -> None:
    message = """Parser key "model":
  Does not validate against any of the Union subtypes
  Subtypes: [<class 'A'>, <class 'NoneType'>]
  Errors:
    - Problem with given class_path 'rtp.modules.unroll.base.HigherUnroll':
        Parser key "num_steps":
          Expected a <class 'int'>. Got value: many
    - Expected a <class 'NoneType'>
  Given value type: <class 'dict'>
  Given value: {'class_path': 'HigherUnroll'}"""
    assert one_line(message) == "model.num_steps: expected int, got many"


def test_other_messages_are_joined_into_one_line() -> None:
    assert one_line("Problems parsing config: a\n  b\n") == "Problems parsing config: a b"
