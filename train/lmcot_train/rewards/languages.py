"""Word lists of the rewards: function words, pronouns, cues of conclusions.

The lists are complete for English, hold the commonest words of German, Russian, Arabic, Chinese, Japanese and Thai, and
nothing of other languages. They leave out words that mean something else in English (German "war", "die", "also").
"""

from __future__ import annotations


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


FUNCTION_WORDS = _words("""
a about above according after again against all also although am an and any are around as at be because been before
    being below between both but by can could did do does doing down during each either few finally first for from
    further given had has have having he hence her here hers him his how however i if in into is it its itself just
    me more most my next no nor not of off on once only or other our out over own same second she should since so
    some such than that the their them then there therefore these they this those through thus to too under until up
    upon very was we were what when where whereas which while who whom whose why will with would you your
aber als am auf aus bei das dass dem den der des durch ein eine einem einen einer eines er es für hat ihr ihre ist im
    mit nach oder sich sie sind sein seine und unter vom von vor wer wie wird wo wurde wurden zu zum zur über
а был была были было в во где для до его ее её и из или их к как какой какая какое когда кто на не о он она они оно от
    по при с со так то у что это этот эта является
أن أو إلى الذي التي عن على في كان كانت لا ما متى من هذا هذه هل هو هي و أين قد تم
的 了 是 在 和 与 由 于 也 他 她 它 他们 她们 这 那 其 被 为 以 及 位于 什么 谁 哪里 哪 个 一 一个 有 年 月 日 吗 所
の は が を に で と も た て し する した され れ た です ます である だ な い る この その 彼 彼女 それ これ いる ある
    から まで や へ どこ 誰 何 いつ か さ
ที่ และ ใน ของ เป็น คือ โดย ได้ ให้ จาก กับ ว่า มี นี้ นั้น เขา เธอ มัน ซึ่ง อยู่ ถูก ไป มา ใคร อะไร ไหน ไหม
""")

PRONOUNS = _words("""
he she it they his her its their this these
er sie es sein seine ihr ihre
он она оно они его её ее их
هو هي
他 她 它 他们 她们 其 彼 彼女 それ
เขา เธอ มัน
""")
"""A sentence that begins with one is about something named before."""

CONCLUSIONS = _words("""
so therefore thus hence consequently than both neither either same different answer not
deshalb daher somit folglich beide antwort nicht
поэтому следовательно значит оба обе ответ не
لذلك إذن كلا كلاهما الجواب الإجابة ليس
因此 所以 都 答案 不 不是 したがって よって 答え 両方
ดังนั้น คำตอบ ทั้งสอง ไม่
""")
"""A sentence with one may follow from those before it."""

BE = _words("is was are were ist wurde 是")

NEGATIONS = _words("""
not no never neither nor isn't wasn't aren't weren't
nicht kein keine nie
не нет никогда
ليس لا
不 没有 不是 ない
ไม่
""")

ABBREVIATIONS = _words("""
dr mr mrs ms st jr sr no vs prof gen col lt rev
hr fr nr bzw ca
г гг ул им
""")
"""Words whose full stop does not end a sentence, besides single letters and the like of "z.B"."""
