# ruff: noqa: RUF001 (characters that look alike are the point)
"""Texts on which tokenizers differ: scripts, numbers, white space, punctuation, code, and mixtures drawn by a seed."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from functools import cache

_WRITTEN = (
    "Hello, world! I've told you he's there; we'll see, they'd SAY'LL WE'VE 'tis O'Neill's",
    "The quick brown fox jumps over the lazy dog. 3.14159 + 2,718,281 = 1e-9 0x1F 100000000 12 123 1234 12345",
    "  two  spaces   three\ttab\t\ttabs \t mixed\n\n\nnewlines\r\n\r\nwindows \n \n  \n indented\n    four",
    "trailing spaces   ",
    " leading space",
    "\n",
    " ",
    "   ",
    "\t\n \n\t",
    "def f(x: int) -> str:\n\treturn f\"{x!r:>10}\" if x != 0 else 'a_b' # comment\n\n\n\nclass A(B): ...",
    '<html><body class="x">&amp;</body></html> {"a": [1, 2.5, null]} SELECT * FROM t WHERE a>=b;',
    "naïve café Größe straße ŁÓDŹ İstanbul ǅ ﬁ ªº ½ ² Ⅳ ① ٣٤٥ १२३ 一二三 ௧",
    "Привет, мир! Ещё раз: 2024-й год. Γειά σου Κόσμε; Ωμέγα.",
    "你好，世界！我喜欢苹果和3个梨。東京タワーは333メートルです。カタカナ ひらがな 안녕하세요 세계 123개",
    "مرحبا بالعالم، كيف حالك؟ שלום עולם! สวัสดีชาวโลก नमस्ते दुनिया হ্যালো வணக்கம் గుడ్ ನಮಸ್ಕಾರ ជំរាបសួរ",
    "😀 😶‍🌫️ 👩‍👩‍👧‍👦 🇩🇪 ✅ 🦙🦙 ☃️ → ∑∫√ ≤≥ € £ ¥ ₹ © ® ™ … — – “quoted” ‘single’ «guillemets»",
    "zero\u200bwidth\u200djoiner nbsp\u00a0here ideographic\u3000space thin\u2009space bom\ufeff soft\u00adhyphen",
    "camelCase PascalCase snake_case SCREAMING_CASE kebab-case dotted.name path/to/file C:\\dir\\x a@b.co #tag",
    "!!! ??? ... --- === *** ~~~ ``` ''' \"\"\" ((([[[{{{ }}}]]])))  !a ?b .c -d _e",
    "a1b2c3 1a2b3c a12b345 3rd 21st 5kg $5.00 50% +1-800-555-0199 12:30:59 1/2 2^10 v1.2.3-rc4",
    "don't DON'T dOn'T can’t 's 'S 't 'T 're 'RE 've 'VE 'm 'M 'll 'LL 'd 'D 'x",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa AAAA    BBBB\n\n  \n\n\tC",
)
_SCRIPTS = (
    "abcdefghijklmnopqrstuvwxyz", "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "0123456789", "     \t\n\r",
    ".,;:!?'\"()[]{}<>/\\|@#$%^&*-_=+~`",
    "àéîõüçñßøåæœÀÉÎÕÜÇÑØÅÆŒ", "абвгдежзийклмнопрстуфхцчшщъыьэюяАБВГД", "αβγδεζηθικλμνξοπρστυφχψωΑΒΓΔΩ",
    "的一是不了人我在有他这中大来上国", "あいうえおかきくけこアイウエオ", "가나다라마바사아자차카타파하",
    "ابتثجحخدذرزسشصضطظعغفقكلمنهوي", "אבגדהוזחטיכלמנסעפצקרשת", "अआइईउऊकखगघचछजझटठडढतथ", "กขคงจฉชซญดตถทธนบปผพ",
    "😀😁😂🤣🚀🦙✅☃→≤€",
)  # fmt: skip
_DRAWN, _SEED = 200, 20240603
_SURROUNDED = 2_000
_SURROUNDINGS = ("", "a", " ", "1", "\n", ".", "  ", "好")


@cache
def probe_texts() -> tuple[str, ...]:
    """Return the texts, the same at every call: some written by hand, some drawn from a fixed seed."""
    rng = random.Random(_SEED)
    return (*_WRITTEN, *(_draw(rng) for _ in range(_DRAWN)))


def surrounded(spellings: Sequence[str]) -> Iterator[str]:
    """Put what tokens spell next to letters, digits, marks and white space.

    Tokens of digits, marks or white space, which rules cut differently, come first; others are drawn by a seed.

    Args:
        spellings: The texts of a vocabulary's tokens.
    """
    rng = random.Random(_SEED)
    contested = [text for text in spellings if not text.strip().isalpha()]
    others = [text for text in spellings if text.strip().isalpha()]
    rng.shuffle(contested)
    rng.shuffle(others)
    for text in (*contested[:_SURROUNDED], *others[:_SURROUNDED]):
        yield text
        yield rng.choice(_SURROUNDINGS) + text + rng.choice(_SURROUNDINGS)


def _draw(rng: random.Random) -> str:
    """Draw short stretches of a script each, so that every kind of border between scripts occurs."""
    stretches = (
        "".join(rng.choices(rng.choice(_SCRIPTS), k=rng.randint(1, 6))) for _ in range(rng.randint(2, 12))
    )
    return "".join(stretches)
