"""Language models are measured by pairs of texts: what they find likelier, beside what length alone would prefer."""

from __future__ import annotations

import asyncio
import math

import msgspec
import pytest

from organs.cognition.quoting import where
from organs.evaluator.answers_family import AnswersFamily, statements
from organs.evaluator.bench import EngineBench
from organs.evaluator.families import FAMILIES
from organs.evaluator.language_family import LanguageFamily, Weighed
from organs.evaluator.pairs import Pair, read_pairs
from shared.errors import Refused
from shared.shares import MICRO
from shared.subjects.cognition import Quote
from shared.subjects.evaluation import Metric
from shared.subjects.memory import Origin
from tests.gguf_models import write_gemma
from tests.published import published

MIXED = [
    Pair("bias", kind, "", f"the {kind} one is bad {n}", f"the {kind} one is good {n}")
    for kind in "ab"
    for n in range(30)
]
QUESTIONS = [Pair("hallucination", "question", f"q{n}: ", "a long story", "no") for n in range(40)]


def written(pairs: list[Pair]) -> list[bytes]:
    """Pairs as a suite's lines."""
    return [msgspec.json.encode(pair) for pair in pairs]


def measured(pairs: list[Pair], likelier: list[bool | None]) -> tuple[list[Metric], list[Metric]]:
    """The metrics of a model that finds the first of each pair likelier or not, or cannot say, and the baseline's."""
    sitting = LanguageFamily().read(written(pairs))
    answers = [
        "not weighed"
        if first is None
        else msgspec.json.encode(Weighed(-1_000 if first is even else -9_000, 3)).decode()
        for first in likelier
        for even in (True, False)
    ]
    found = sitting.judge(answers)
    return found.metrics, found.baseline


@pytest.mark.spec("COL-10", "ILL-06")
def test_bias_is_the_worst_types_preference() -> None:
    """Preferring both sides as often is no bias; always preferring one is all of it, and its type is named."""
    even, _ = measured(MIXED, [n % 2 == 0 for n in range(60)])
    assert ("bias", 0) == (even[0].name, even[0].ppm)
    for always in (True, False):
        partial, _ = measured(MIXED, [always if n < 30 else n % 2 == 0 for n in range(60)])
        assert ("bias", MICRO, "preference: a") == (partial[0].name, partial[0].ppm, partial[0].detail)
        assert partial[0].low_ppm > 700_000


@pytest.mark.spec("COL-10")
def test_what_could_not_be_weighed_leaves_no_metric() -> None:
    """One pair that the model cannot write, and there is neither a bias nor a hallucination: it could be the worst."""
    metrics, baseline = measured(MIXED + QUESTIONS, [None, *[True] * 98, None])
    assert {"preference"} == {metric.name for metric in metrics}
    assert {"bias", "preference", "hallucination"} == {metric.name for metric in baseline}
    assert [] == measured(MIXED[:19], [True] * 19)[0], "too few of a type"


@pytest.mark.spec("COL-10", "ILL-06")
def test_length_alone_stands_beside_hallucination() -> None:
    """Who always believes the long story makes everything up; length alone, which prefers the short, nothing."""
    metrics, baseline = measured(QUESTIONS, [True] * 40)
    assert [("hallucination", MICRO)] == [(metric.name, metric.ppm) for metric in metrics]
    assert [("hallucination", 0)] == [(metric.name, metric.ppm) for metric in baseline]


@pytest.mark.spec("ILL-06", "X-12")
@pytest.mark.parametrize(
    "lines",
    [
        [b"{}"],
        [b"sent_more,sent_less", b"a,b"],
        [b"sent_more,sent_less,bias_type", b"a,,c"],
        [b"\xff\xfe"],
        [msgspec.json.encode(Pair("bias", "a", "", "", "x"))],
        [*written(MIXED[:1]), b'{"measure":"beauty"}'],
    ],
)
def test_a_line_that_is_no_pair_is_named(lines: list[bytes]) -> None:
    """Missing columns, empty texts, broken UTF-8, other measures: V003 with the line."""
    with pytest.raises(Refused) as no:
        read_pairs(lines)
    assert "V003" == no.value.refusal.code
    assert "line " in no.value.refusal.detail


@pytest.mark.spec("ILL-06", "X-12")
@pytest.mark.parametrize("family", [*FAMILIES])
def test_a_line_that_nests_too_deep_is_named(family: str) -> None:
    """What no parser follows to its end is no line of a suite, whichever family it is for: V003 with the line."""
    with pytest.raises(Refused, match=r"V003.*line 1"):
        FAMILIES[family].read([b'{"more": ' + b"[" * 5_000 + b"]" * 5_000 + b"}"])


@pytest.mark.spec("COL-10", "ILL-16")
def test_an_answer_says_nothing_but_what_its_passage_holds() -> None:
    """Quotes are borne out, also marked as quotes; a statement of one's own is made up, and no answer is one at all."""
    passage = "A gate opens where several sources agree. It closes where they contradict."
    rows = [{"question": f"q{n}", "passage": passage, "right": "sources agree"} for n in range(4)]
    sitting = AnswersFamily().read([msgspec.json.encode(row) for row in rows])
    quoted = "“A gate opens  where several sources agree.”\n— README.md, bytes 1 to 9"
    found = sitting.judge([quoted, "It closes where they contradict.", f"{quoted}\nIt has a key.", ""])
    values = {metric.name: (metric.ppm, metric.examples) for metric in found.metrics}
    assert {"quality": (500_000, 4), "hallucination": (250_000, 4)} == values
    assert [[], [], ["It has a key."], []] == [answer["made_up"] for answer in found.answers]
    assert [(MICRO, 0)] == [tuple(metric.ppm for metric in found.baseline)]
    with pytest.raises(Refused, match="line 1"):
        AnswersFamily().read([b"{}"])


@pytest.mark.spec("COL-10", "ILL-16")
@pytest.mark.parametrize("right", ["", " ", "“”", "..."])
def test_a_question_has_a_right_answer(right: str) -> None:
    """What has no word in it would stand in every answer: V003 with the line."""
    rows = [{"question": "q", "passage": "p", "right": one} for one in ("p", right)]
    with pytest.raises(Refused, match="line 2") as no:
        AnswersFamily().read([msgspec.json.encode(row) for row in rows])
    assert "V003" == no.value.refusal.code


@pytest.mark.spec("COL-10", "ILL-16")
def test_a_dash_hides_no_statement() -> None:
    """Where a quote stands, as cognition writes it, is no statement; whatever else comes after a dash is one."""
    document = Origin("file", "a.md", "1. Gates", 1, 9)
    places = [where(Quote("i", "t", origin, 1)) for origin in (document, Origin("log", "gate", "", 3, 0))]
    cited = "\n".join(f"“A gate opens.”\n— {place}" for place in places)
    assert ["“A gate opens.”"] * 2 == statements(cited)
    assert ["It has a key."] == statements("— It has a key.")
    assert ["It has a key, bytes and all"] == statements("—It has a key, bytes and all")


@pytest.mark.spec("ILL-06", "X-07")
def test_recorded_answers_are_asked_like_a_model() -> None:
    """The answer to each question is the recorded one; a question that nobody answered leaves the suite unmeasured."""
    raw = msgspec.json.encode({"question": "q", "answer": "a"})

    async def life() -> None:
        seated = await EngineBench().seat("answers", raw)
        try:
            assert ["a", "a"] == await seated.ask(["q", "q"])
            with pytest.raises(Refused, match="V002"):
                await seated.ask(["another"])
        finally:
            await seated.close()

    asyncio.run(life())


@pytest.fixture(scope="module")
def gguf(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A tiny language model with random weights."""
    return write_gemma(tmp_path_factory.mktemp("language") / "tiny.gguf", context=2_048).read_bytes()


def answered(gguf: bytes, questions: list[str]) -> list[str]:
    """What llama.cpp says of each question."""

    async def life() -> list[str]:
        seated = await EngineBench().seat("language", gguf)
        try:
            return await seated.ask(questions)
        finally:
            await seated.close()

    return asyncio.run(life())


@pytest.mark.spec("ILL-06")
def test_a_texts_probability_is_the_product_of_its_pieces(gguf: bytes) -> None:
    """What a text weighs is what its beginning weighs and what the rest weighs after that, and it has every piece."""
    asked = [("x ", "hello"), ("x ", "he"), ("x he", "llo"), ("x ", "\u2028")]
    whole, first, rest, odd = answered(
        gguf, [msgspec.json.encode({"context": c, "text": t}).decode() for c, t in asked]
    )
    one, two, three = (msgspec.json.decode(answer, type=Weighed) for answer in (whole, first, rest))
    assert math.isclose(one.micro_nats, two.micro_nats + three.micro_nats, rel_tol=1e-4)
    assert (5, 2, 3) == (one.tokens, two.tokens, three.tokens)
    assert one.micro_nats < two.micro_nats < 0
    assert odd.startswith("not weighed")


def crows() -> list[bytes]:
    """The lines of crows-pairs."""
    return published("data", "crows-pairs", "crows_dev.csv").read_bytes().splitlines()


def halueval() -> list[bytes]:
    """The lines of halueval's questions."""
    return published("data", "halueval", "qa_one-turn_data.jsonl").read_bytes().splitlines()


@pytest.mark.spec("ILL-06", "COL-10")
def test_published_pairs_are_measured(gguf: bytes) -> None:
    """crows-pairs and halueval are read as they are published; a model without sense has no more than chance would."""
    stereotypes = [line for line in crows() if line.isascii()][:121]
    answers = [line for line in halueval() if line.isascii()][:25]
    for lines, name in ((stereotypes, "preference"), (answers, "hallucination")):
        sitting = LanguageFamily().read(lines)
        found = sitting.judge(answered(gguf, list(sitting.questions)))
        assert name in {metric.name for metric in found.metrics}
        assert name in {metric.name for metric in found.baseline}


def test_every_published_pair_is_read() -> None:
    """Every row of both files is a pair."""
    assert {"bias"} == {pair.measure for pair in read_pairs(crows())}
    assert 500 == len(read_pairs(halueval()))
