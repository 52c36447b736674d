import tracemalloc
from typing import Any

from lmcot_cli.datasets.row import Columns, Paragraph, Row
from lmcot_cli.errors import RowError
from lmcot_cli.pipeline.held import held_bytes
from lmcot_cli.pipeline.result import Sample
from lmcot_cli.pipeline.waves import Drawn


def made(number: int, paragraphs: int, extra: dict[str, Any]) -> tuple[Row, Drawn]:
    context = tuple(
        Paragraph(f"t{number} {one}", tuple(f"{number} {one} {i} " + "x" * 100 for i in range(5)))
        for one in range(paragraphs)
    )
    row = Row(f"q{number}", f"{number}?", context, (), None, None, number, extra=Columns(extra))
    samples = tuple(Sample(f"{number} because {i} " * 10, f"{number} {i}", None, 9, i) for i in range(3))
    return row, Drawn(samples)


def test_what_is_reckoned_is_near_what_is_held() -> None:
    for paragraphs, extra in ((0, {}), (10, {}), (2, {"notes": "é" * 5000})):
        tracemalloc.start()
        held = [
            made(number, paragraphs, {name: text[:] + str(number) for name, text in extra.items()})
            for number in range(200)
        ]
        taken = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        reckoned = sum(held_bytes(row, drawn) for row, drawn in held)
        assert 0.7 * taken < reckoned < 3 * taken


def test_an_error_holds_little() -> None:
    row, _ = made(0, 0, {})
    assert held_bytes(row, RowError("no")) < 3000
