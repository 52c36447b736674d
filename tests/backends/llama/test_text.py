from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from lmcot_cli.backends.llama.text import StopText

# Few letters, so that stop strings occur; of one to four bytes, so that cuts fall inside characters.
TEXTS = st.text(alphabet="abé猫🙂\n", max_size=30)
STOPS = st.lists(st.text(alphabet="abé猫🙂\n", min_size=1, max_size=4), max_size=3)
CUTS = st.lists(st.integers(0, 120), max_size=20)


def cut_up(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    return [data[begin:end] for begin, end in pairwise(edges)]


def feed(pieces: list[bytes], stop: list[str]) -> tuple[str, int | None]:
    """Feed pieces until the text is complete; return it, and how many that took (None: it met no stop)."""
    text = StopText(stop)
    for count, piece in enumerate(pieces, 1):
        if text.add(piece):
            return text.text, count
    return text.text, None


@given(text=TEXTS, cuts=CUTS)
def test_pieces_join_to_the_text_however_it_is_cut(text: str, cuts: list[int]) -> None:
    assert feed(cut_up(text.encode(), cuts), []) == (text, None)


@given(text=TEXTS, cuts=CUTS, stop=STOPS)
def test_the_text_ends_before_the_first_stop_string(text: str, cuts: list[int], stop: list[str]) -> None:
    pieces = cut_up(text.encode(), cuts)
    expected: tuple[str, int | None] = (text, None)
    for count in range(1, len(pieces) + 1):
        so_far = b"".join(pieces[:count]).decode(errors="ignore")
        found = [so_far.index(string) for string in stop if string in so_far]
        if found:
            expected = (so_far[: min(found)], count)
            break
    assert feed(pieces, stop) == expected


@given(data=st.binary(max_size=40), cuts=CUTS)
def test_any_bytes_make_the_same_text_however_they_are_cut(data: bytes, cuts: list[int]) -> None:
    assert feed(cut_up(data, cuts), [])[0] == feed([data], [])[0]


def test_an_unfinished_character_is_left_out() -> None:
    assert feed([b"caf", b"\xc3"], []) == ("caf", None)


def test_bytes_that_are_no_character_are_replaced() -> None:
    assert feed([b"a\xff", b"b"], []) == ("a\N{REPLACEMENT CHARACTER}b", None)


def test_an_empty_stop_string_stops_nothing() -> None:
    assert feed([b"abc"], [""]) == ("abc", None)


def test_whoever_reads_the_text_may_end_it_where_a_line_ends() -> None:
    asked: list[str] = []

    def enough(text: str) -> bool:
        asked.append(text)
        return "Gdynia" in text

    text = StopText(enough=enough)

    assert [text.add(piece) for piece in (b"Port:", b"\n", b"Gdy", b"nia", b".\n\n")] == [False] * 4 + [True]
    assert asked == ["Port:\n", "Port:\nGdynia.\n\n"]
