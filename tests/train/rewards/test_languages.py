"""One small world in six languages of five scripts, as paragraphs without anything that only English has."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from lmcot_cli.datasets.row import Paragraph, Row
from lmcot_train.rewards.aspects import EQUAL_WEIGHTS, score_aspects, weighted_mean
from lmcot_train.rewards.chain import read_chain
from lmcot_train.rewards.penalties import unsupported


@dataclass(frozen=True, slots=True)
class World:
    """A film, its director, her place of birth; somebody else, born elsewhere.

    Attributes:
        question: Where was the film's director born?
        context: Title and text of each paragraph: the film, the director, the other person.
        gold, wrong: The rationale, and the same with the other person's birthplace.
        answer, other: The place, and the other person's.
    """

    question: str
    context: tuple[tuple[str, str], ...]
    gold: str
    wrong: str
    answer: str
    other: str


WORLDS = {
    "German": World(
        "Wo wurde die Regisseurin von Stiller Fluss geboren?",
        (
            (
                "Stiller Fluss",
                "Stiller Fluss ist ein Film von Anna Moor. Er kam am 3. Mai 1990 in die Kinos.",
            ),
            ("Anna Moor", "Anna Moor wurde in Oslo geboren. Sie lebt z. B. in Bergen."),
            ("Karl Stein", "Karl Stein wurde in Rom geboren. Er lebt in Turin."),
        ),
        "Stiller Fluss ist ein Film von Anna Moor. Anna Moor wurde in Oslo geboren.",
        "Stiller Fluss ist ein Film von Anna Moor. Anna Moor wurde in Rom geboren.",
        "Oslo",
        "Rom",
    ),
    "Russian": World(
        "Где родилась режиссёр фильма «Тихая река»?",
        (
            ("Тихая река", "Фильм «Тихая река» сняла Анна Мур. Он вышел в 1990 г. в Осло."),
            ("Анна Мур", "Анна Мур родилась в Бергене. Она живёт в Турку."),
            ("Карл Стоун", "Карл Стоун родился в Риме. Он живёт в Турине."),
        ),
        "Фильм «Тихая река» сняла Анна Мур. Анна Мур родилась в Бергене.",
        "Фильм «Тихая река» сняла Анна Мур. Анна Мур родилась в Риме.",
        "в Бергене",
        "в Риме",
    ),
    "Arabic": World(
        "أين ولدت مخرجة فيلم النهر الصامت؟",
        (
            ("النهر الصامت", "أخرجت آن مور فيلم النهر الصامت. عرض الفيلم عام 1990."),
            ("آن مور", "ولدت آن مور في أوسلو. تعيش آن مور في بيرغن."),
            ("كارل ستون", "ولد كارل ستون في روما. يعيش كارل ستون في تورينو."),
        ),
        "أخرجت آن مور فيلم النهر الصامت. ولدت آن مور في أوسلو.",
        "أخرجت آن مور فيلم النهر الصامت. ولدت آن مور في روما.",
        "أوسلو",
        "روما",
    ),
    "Chinese": World(
        "《寂静的河流》的导演出生在哪里？",
        (
            ("寂静的河流", "《寂静的河流》由安·摩尔执导。影片于1990年上映。"),
            ("安·摩尔", "安·摩尔出生在奥斯陆。她住在卑尔根。"),
            ("卡尔·斯通", "卡尔·斯通出生在罗马。他住在都灵。"),
        ),
        "《寂静的河流》由安·摩尔执导。安·摩尔出生在奥斯陆。",
        "《寂静的河流》由安·摩尔执导。安·摩尔出生在罗马。",
        "奥斯陆",
        "罗马",
    ),
    "Japanese": World(
        "映画「静かな川」の監督はどこで生まれましたか？",
        (
            ("静かな川", "「静かな川」はアン・ムーアが監督した映画である。1990年に公開された。"),
            ("アン・ムーア", "アン・ムーアはオスロで生まれた。彼女はベルゲンに住んでいる。"),
            ("カール・ストーン", "カール・ストーンはローマで生まれた。彼はトリノに住んでいる。"),
        ),
        "「静かな川」はアン・ムーアが監督した映画である。アン・ムーアはオスロで生まれた。",
        "「静かな川」はアン・ムーアが監督した映画である。アン・ムーアはローマで生まれた。",
        "オスロ",
        "ローマ",
    ),
    "Thai": World(
        "ผู้กำกับภาพยนตร์แม่น้ำเงียบเกิดที่ไหน",
        (
            ("แม่น้ำเงียบ", "แม่น้ำเงียบกำกับโดยแอนมัวร์\nภาพยนตร์ออกฉายในปี 1990"),
            ("แอนมัวร์", "แอนมัวร์เกิดที่ออสโล\nเธออาศัยอยู่ที่เบอร์เกน"),
            ("คาร์ลสโตน", "คาร์ลสโตนเกิดที่โรม\nเขาอาศัยอยู่ที่ตูริน"),
        ),
        "แม่น้ำเงียบกำกับโดยแอนมัวร์\nแอนมัวร์เกิดที่ออสโล",
        "แม่น้ำเงียบกำกับโดยแอนมัวร์\nแอนมัวร์เกิดที่โรม",
        "ออสโล",
        "โรม",
    ),
}


def row_of(world: World) -> Row:
    context = tuple(Paragraph(title, (text,)) for title, text in world.context)
    return Row("1", world.question, context, (world.answer,), None, None, 1)


def mean(world: World, text: str, answer: str) -> float:
    return weighted_mean(score_aspects(read_chain(row_of(world), text, answer)), EQUAL_WEIGHTS)


@pytest.fixture(params=WORLDS)
def world(request: pytest.FixtureRequest) -> World:
    return WORLDS[request.param]


def test_a_true_rationale_is_borne_out_over_both_hops(world: World) -> None:
    chain = read_chain(row_of(world), world.gold, world.answer)
    scores = score_aspects(chain)
    assert len(chain.statements) == 2
    assert scores["factuality"] == scores["logicality"] == scores["consistency"] == 1.0
    assert unsupported(chain) == 0.0


def test_a_place_of_birth_of_somebody_else_is_noticed(world: World) -> None:
    chain = read_chain(row_of(world), world.wrong, world.other)
    assert score_aspects(chain)["factuality"] <= 0.7
    assert unsupported(chain) >= 0.7
    assert mean(world, world.gold, world.answer) > mean(world, world.wrong, world.other) + 0.1


def test_a_bare_answer_is_worth_little(world: World) -> None:
    assert mean(world, world.answer, world.answer) < 0.4
    assert mean(world, world.gold, world.answer) > 0.9
