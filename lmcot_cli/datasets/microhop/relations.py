"""The relations of the invented world, and how they are stated and asked in English.

In a phrasing, `{s}` is the subject (name or pronoun), `{p}` its possessive (`Silent Harbor's`, `Its`) and `{o}` the
object. Rationales use the first phrasing. In nouns and questions `{x}` is the subject: a name, or a
description such as `the director of Silent Harbor`.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Relation:
    """A functional relation: a subject has at most one object."""

    name: str
    subject: str
    object: str
    phrasings: tuple[str, ...]
    noun: str
    questions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Inference:
    """A relation that follows from two others, asked by its own name (`paternal grandfather`)."""

    first: str
    second: str
    questions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SubjectComparison:
    """How two subjects are compared by the value of a relation: which is `first`, which `last`, are they the `same`."""

    relation: str
    first: str
    last: str
    same: str
    bridged: str  # the comparison inside "Which film has the director who ..."


def _relations(*rows: tuple[str, str, str, tuple[str, ...], str, tuple[str, ...]]) -> dict[str, Relation]:
    return {row[0]: Relation(*row) for row in rows}


RELATIONS = _relations(
    ("birthplace", "person", "city",
     ("{s} was born in {o}.", "{p} place of birth is {o}.", "{s} came into the world in the city of {o}."),
     "the birthplace of {x}", ("Where was {x} born?", "In which city was {x} born?")),
    ("birth year", "person", "year",
     ("{s} was born in the year {o}.", "{p} year of birth is {o}.", "{s} came into the world in {o}."),
     "the birth year of {x}", ("When was {x} born?", "In which year was {x} born?")),
    ("employer", "person", "company",
     ("{s} works for {o}.", "{p} employer is {o}.", "{s} has long been employed by {o}."),
     "the employer of {x}", ("Which company does {x} work for?", "Who employs {x}?")),
    ("alma mater", "person", "university",
     ("{s} studied at {o}.", "{p} alma mater is {o}.", "{s} holds a degree from {o}."),
     "the alma mater of {x}", ("Where did {x} study?", "Which university did {x} attend?")),
    ("spouse", "person", "person",
     ("{s} is married to {o}.", "{p} spouse is {o}.", "{s} later married {o}."),
     "the spouse of {x}", ("Who is {x} married to?", "Who is the spouse of {x}?")),
    ("mother", "person", "person",
     ("{p} mother is {o}.", "{s} is a child of the mother {o}.", "{s} was raised by a mother named {o}."),
     "the mother of {x}", ("Who is the mother of {x}?", "Whose child is {x} on the mother's side?")),
    ("father", "person", "person",
     ("{p} father is {o}.", "{s} is a child of the father {o}.", "{s} was raised by a father named {o}."),
     "the father of {x}", ("Who is the father of {x}?", "Whose child is {x} on the father's side?")),
    ("profession", "person", "profession",
     ("{s} is a {o}.", "{p} profession is {o}.", "{s} earns a living as a {o}."),
     "the profession of {x}", ("What is the profession of {x}?", "What does {x} do for a living?")),
    ("director", "film", "person",
     ("{s} was directed by {o}.", "{p} director is {o}.", "{s} is a film by the director {o}."),
     "the director of {x}", ("Who directed {x}?", "Who is the director of {x}?")),
    ("star", "film", "person",
     ("{s} stars {o}.", "{p} leading role went to {o}.", "{s} is carried by the lead actor {o}."),
     "the star of {x}", ("Who stars in {x}?", "Who played the leading role in {x}?")),
    ("producer", "film", "company",
     ("{s} was produced by {o}.", "{p} producer is {o}.", "{s} was financed and produced by {o}."),
     "the producer of {x}", ("Which company produced {x}?", "Who is the producer of {x}?")),
    ("release year", "film", "year",
     ("{s} was released in {o}.", "{p} release year is {o}.", "{s} first reached cinemas in {o}."),
     "the release year of {x}", ("When was {x} released?", "In which year was {x} released?")),
    ("author", "book", "person",
     ("{s} was written by {o}.", "{p} author is {o}.", "{s} is a book by the writer {o}."),
     "the author of {x}", ("Who wrote {x}?", "Who is the author of {x}?")),
    ("publisher", "book", "company",
     ("{s} was published by {o}.", "{p} publisher is {o}.", "{s} appeared under the imprint of {o}."),
     "the publisher of {x}", ("Which company published {x}?", "Who is the publisher of {x}?")),
    ("publication year", "book", "year",
     ("{s} was published in {o}.", "{p} year of publication is {o}.", "{s} first came out in {o}."),
     "the publication year of {x}", ("When was {x} published?", "In which year was {x} published?")),
    ("performer", "album", "band",
     ("{s} was recorded by {o}.", "{p} performer is {o}.", "{s} is an album by the band {o}."),
     "the performer of {x}", ("Which band recorded {x}?", "Who is the performer of {x}?")),
    ("label", "album", "company",
     ("{s} was issued by {o}.", "{p} label is {o}.", "{s} reached the shops through {o}."),
     "the label of {x}", ("Which company issued {x}?", "What is the label of {x}?")),
    ("album year", "album", "year",
     ("{s} was recorded in {o}.", "{p} year of recording is {o}.", "{s} was taped in the spring of {o}."),
     "the recording year of {x}", ("When was {x} recorded?", "In which year was {x} recorded?")),
    ("singer", "band", "person",
     ("{s} is fronted by {o}.", "{p} singer is {o}.", "{s} performs with the vocalist {o}."),
     "the singer of {x}", ("Who is the singer of {x}?", "Who fronts {x}?")),
    ("origin", "band", "city",
     ("{s} was formed in {o}.", "{p} home is {o}.", "{s} comes from the city of {o}."),
     "the home city of {x}", ("Where was {x} formed?", "Which city does {x} come from?")),
    ("formation year", "band", "year",
     ("{s} was formed in the year {o}.", "{p} first concert was in {o}.", "{s} got together in {o}."),
     "the formation year of {x}", ("When was {x} formed?", "In which year was {x} formed?")),
    ("headquarters", "company", "city",
     ("{s} is based in {o}.", "{p} headquarters are in {o}.", "{s} runs its business from {o}."),
     "the headquarters of {x}", ("Where is {x} based?", "In which city is {x} based?")),
    ("founder", "company", "person",
     ("{s} was founded by {o}.", "{p} founder is {o}.", "{s} was started by the entrepreneur {o}."),
     "the founder of {x}", ("Who founded {x}?", "Who is the founder of {x}?")),
    ("founding year", "company", "year",
     ("{s} was founded in {o}.", "{p} founding year is {o}.", "{s} opened for business in {o}."),
     "the founding year of {x}", ("When was {x} founded?", "In which year was {x} founded?")),
    ("campus", "university", "city",
     ("{s} is located in {o}.", "{p} campus is in {o}.", "{s} teaches in the city of {o}."),
     "the campus city of {x}", ("Where is {x} located?", "In which city is {x} located?")),
    ("rector", "university", "person",
     ("{s} is led by {o}.", "{p} rector is {o}.", "{s} elected as its rector {o}."),
     "the rector of {x}", ("Who leads {x}?", "Who is the rector of {x}?")),
    ("opening year", "university", "year",
     ("{s} was established in {o}.", "{p} first year was {o}.", "{s} admitted students from {o}."),
     "the opening year of {x}", ("When was {x} established?", "In which year was {x} established?")),
    ("site", "museum", "city",
     ("{s} stands in {o}.", "{p} site is in {o}.", "{s} welcomes visitors in {o}."),
     "the site of {x}", ("Where does {x} stand?", "In which city does {x} stand?")),
    ("architect", "museum", "person",
     ("{s} was designed by {o}.", "{p} architect is {o}.", "{s} follows the plans of {o}."),
     "the architect of {x}", ("Who designed {x}?", "Who is the architect of {x}?")),
    ("completion year", "museum", "year",
     ("{s} was completed in {o}.", "{p} year of completion is {o}.", "{s} was finished in {o}."),
     "the completion year of {x}", ("When was {x} completed?", "In which year was {x} completed?")),
    ("country", "city", "country",
     ("{s} lies in {o}.", "{p} country is {o}.", "{s} is a city of {o}."),
     "the country of {x}", ("Which country does {x} lie in?", "In which country is {x}?")),
    ("mayor", "city", "person",
     ("{s} is governed by {o}.", "{p} mayor is {o}.", "{s} chose as its mayor {o}."),
     "the mayor of {x}", ("Who governs {x}?", "Who is the mayor of {x}?")),
    ("capital", "country", "city",
     ("{p} capital is {o}.", "{s} is ruled from its capital {o}.", "{s} has its government in {o}."),
     "the capital of {x}", ("What is the capital of {x}?", "Which city is the capital of {x}?")),
    ("language", "country", "language",
     ("{p} language is {o}.", "{s} is home to speakers of {o}.", "{s} made its official language {o}."),
     "the language of {x}", ("What is the language of {x}?", "Which language is spoken in {x}?")),
    ("currency", "country", "currency",
     ("{p} currency is the {o}.", "{s} pays with the {o}.", "{s} mints its own money, the {o}."),
     "the currency of {x}", ("What is the currency of {x}?", "What money is used in {x}?")),
)  # fmt: skip

INFERENCES = (
    Inference("father", "father", ("Who is the paternal grandfather of {x}?",)),
    Inference("father", "mother", ("Who is the paternal grandmother of {x}?",)),
    Inference("mother", "father", ("Who is the maternal grandfather of {x}?",)),
    Inference("mother", "mother", ("Who is the maternal grandmother of {x}?",)),
    Inference("spouse", "father", ("Who is the father-in-law of {x}?",)),
    Inference("spouse", "mother", ("Who is the mother-in-law of {x}?",)),
    Inference("birthplace", "country", ("In which country was {x} born?",)),
    Inference("headquarters", "country", ("In which country is {x} based?",)),
    Inference("campus", "country", ("In which country is {x} located?",)),
    Inference("site", "country", ("In which country does {x} stand?",)),
    Inference("origin", "country", ("In which country was {x} formed?",)),
)

COMPARISONS = {
    comparison.relation: comparison
    for comparison in (
        SubjectComparison("birth year", "Who was born first, {a} or {b}?", "Who was born later, {a} or {b}?",
                   "Were {a} and {b} born in the same year?", "who was born {order}"),
        SubjectComparison("release year", "Which film was released first, {a} or {b}?",
                   "Which film was released later, {a} or {b}?", "Were {a} and {b} released in the same year?", ""),
        SubjectComparison("publication year", "Which book was published first, {a} or {b}?",
                   "Which book was published later, {a} or {b}?", "Were {a} and {b} published in the same year?", ""),
        SubjectComparison("album year", "Which album was recorded first, {a} or {b}?",
                   "Which album was recorded later, {a} or {b}?", "Were {a} and {b} recorded in the same year?", ""),
        SubjectComparison("formation year", "Which band was formed first, {a} or {b}?",
                   "Which band was formed later, {a} or {b}?", "Were {a} and {b} formed in the same year?",
                   "that was formed {order}"),
        SubjectComparison("founding year", "Which company was founded first, {a} or {b}?",
                   "Which company was founded later, {a} or {b}?", "Were {a} and {b} founded in the same year?",
                   "that was founded {order}"),
        SubjectComparison("opening year", "Which university was established first, {a} or {b}?",
                   "Which university was established later, {a} or {b}?",
                   "Were {a} and {b} established in the same year?", "that was established {order}"),
        SubjectComparison("completion year", "Which building was completed first, {a} or {b}?",
                   "Which building was completed later, {a} or {b}?",
                   "Were {a} and {b} completed in the same year?", ""),
    )
}  # fmt: skip

# Yes/no questions about two subjects that have one thing in common, or not.
SAME = {
    "birthplace": "Were {a} and {b} born in the same city?",
    "employer": "Do {a} and {b} work for the same company?",
    "alma mater": "Did {a} and {b} study at the same place?",
    "director": "Do {a} and {b} have the same director?",
    "author": "Were {a} and {b} written by the same person?",
    "headquarters": "Are {a} and {b} based in the same city?",
    "site": "Do {a} and {b} stand in the same city?",
    "campus": "Are {a} and {b} located in the same city?",
    "country": "Do {a} and {b} lie in the same country?",
}


def relations_of(kind: str) -> list[Relation]:
    """Return the relations whose subject is of a kind, in the table's order."""
    return [relation for relation in RELATIONS.values() if relation.subject == kind]
