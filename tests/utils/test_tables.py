"""Text for the terminal."""

from rtp.utils.tables import printable, text_table


def test_words_are_aligned_left_and_numbers_right() -> None:
    assert text_table(("name", "n"), [("a", "10"), ("longer", "1")], words=1).splitlines() == [
        "name     n",
        "------  --",
        "a       10",
        "longer   1",
    ]


def test_what_moves_a_terminal_s_cursor_is_replaced() -> None:
    assert printable("caf\u00e9\x1b[2J\n") == "caf\u00e9?[2J?"
