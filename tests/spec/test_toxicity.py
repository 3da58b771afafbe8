"""How toxic a text is: what every scorer holds, what words say, what a learned model corrects, and how well."""

from __future__ import annotations

import pickle
from functools import cache

import numpy as np
import pytest
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load, save

from cells.toxicity_cell import (
    NoScorer,
    ReferenceScorer,
    Scorer,
    ToxicityCell,
    default_scorer,
    load_scorer,
    promoted_scorer,
)
from shared.errors import Damaged, Refused
from shared.fairness import Counts, balanced_accuracy_ppm, false_positive_rate_difference
from shared.subjects.toxicity import ToxicityRequest, ToxicityResponse, ToxicityWave
from shared.toxicity.learned import BUCKETS, MAX_TOXICITY_BYTES
from shared.toxicity.lexicon import LEXICON, LEXICON_DIGEST, checked
from shared.toxicity.measures import KEEP_PPM, LEAST_TEXTS, auc_ppm, outcome
from shared.toxicity.odds import odds_micro, share_ppm
from shared.toxicity.training import train_toxicity
from shared.toxicity.words import PASSAGE_CHARS, passages, words
from tests.labelled import made_up, other_kinds, real_posts, stereotypes

HARMLESS = "I will whatever skill harmony whatever"
ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=300)


@cache
def learned() -> bytes:
    """A small model's file."""
    return train_toxicity(made_up(), {}, 1, 100).weights


def digest_of(raw: bytes) -> str:
    """The digest that names bytes."""
    return blake3(raw).hexdigest()


SCORERS = {
    "words": default_scorer,
    "learned": lambda: load_scorer(learned(), digest_of(learned())),
    "reference": ReferenceScorer,
    "none": NoScorer,
}


@pytest.fixture(scope="module", params=SCORERS)
def scorer(request: pytest.FixtureRequest) -> Scorer:
    """One scorer of each kind."""
    return SCORERS[request.param]()


# What every scorer holds


@pytest.mark.spec("COL-02")
@given(texts=st.lists(ANY_TEXT, max_size=4))
def test_any_text_has_one_score(scorer: Scorer, texts: list[str]) -> None:
    """Whatever the texts, each has a share in millionths, the same alone, among others, and asked again."""
    found = scorer.scores(texts)
    assert len(texts) == len(found)
    assert [int] * len(texts) == [type(score) for score in found]
    assert [] == [score for score in found if score not in range(1_000_001)]
    assert found == [score for text in texts for score in scorer.scores([text])]
    assert found[::-1] == scorer.scores(texts[::-1])


@pytest.mark.spec("COL-02", "X-12")
@pytest.mark.parametrize("text", ["word " * 2_000_000, "f" * 10_000_000, "a$!" * 3_000_000, "&#1;" * 2_500_000])
def test_ten_megabytes_are_a_text_too(scorer: Scorer, text: str) -> None:
    """A text of ten million characters has a score like any other, also where it is one word."""
    [score] = scorer.scores([text])
    assert score <= KEEP_PPM


@pytest.mark.spec("COL-02")
@pytest.mark.parametrize("text", ["", " ", "\n\t", "…", "👋👋", "\ud800", "@somebody", "https://example.org/fuck"])
def test_what_has_no_words_is_not_toxic(scorer: Scorer, text: str) -> None:
    """Of nothing, of signs, of a name and of an address nothing is said."""
    assert [0] == scorer.scores([text])


@pytest.mark.spec("COL-02")
def test_a_name_says_which_model_it_is() -> None:
    """What a default or a learned scorer is called ends in the digest of its file; another file, another name."""
    assert f"words 1.0.0 {LEXICON_DIGEST}" == default_scorer().name
    assert f"learned 1 {digest_of(learned())}" == load_scorer(learned(), digest_of(learned())).name
    assert "" == NoScorer().name


# What words say


@pytest.mark.spec("COL-02")
def test_the_reference_finds_words_inside_words() -> None:
    """The source's rule scores as it was measured there, and drops what is harmless; the default keeps that."""
    texts = ["hate kill", "I hate this violent attack", HARMLESS]
    assert [300_000, 450_000, 450_000] == ReferenceScorer().scores(texts)
    assert [0] == default_scorer().scores([HARMLESS])


@pytest.mark.spec("COL-02")
@pytest.mark.parametrize(
    "text",
    [
        "what a bitch",
        "WHAT A BITCH!!!",
        "what a b!tch",
        "what a b1tch",
        "what a b*tch",
        "what a biiiiiiitch",
        "what a b i t c h",
        "what a b.i.t.c.h, really",
        "what a bítch",
        "what a b\u200bitch",
        "what a bitсh",  # with a Cyrillic с
        "what a ｂｉｔｃｈ",
        "what a &#98;itch",
        "some_b1tch_again",
        f"{'much is said here. ' * 100}what a bitch{' and more is said' * 100}",
    ],
)
def test_a_word_is_found_however_it_is_hidden(text: str) -> None:
    """Case, signs and digits for letters, letters drawn out, spelt, accented or from another script hide no word."""
    assert [850_000] == default_scorer().scores([text])


@pytest.mark.spec("COL-02")
@pytest.mark.parametrize(
    "text",
    [
        "the class passes an assessment",
        "Scunthorpe, Essex and Penistone",
        "kill -9 $$; kill -15 $$; killall -9 cocktail",
        "Dick Cheney spoke",
        "that is a stupid bug",
        "the tower of Babel",
        "shitake",
    ],
)
def test_what_only_looks_like_a_word_is_kept(text: str) -> None:
    """A word inside another, a name, a command and one mild word are no reason to drop a text."""
    assert default_scorer().scores([text])[0] <= KEEP_PPM


@pytest.mark.spec("COL-02")
def test_an_insult_says_more_to_somebody() -> None:
    """The same word is kept where nobody is spoken to, and dropped where somebody is."""
    assert [150_000, 350_000] == default_scorer().scores(["what a stupid idea, stupid", "you are stupid"])


@pytest.mark.spec("COL-02")
def test_another_lexicon_is_not_read() -> None:
    """A lexicon with one more line is not the one that was shipped, and is refused with both digests."""
    raw = LEXICON.read_bytes()
    assert LEXICON_DIGEST == checked(raw, LEXICON_DIGEST).digest
    with pytest.raises(Damaged, match=LEXICON_DIGEST):
        checked(raw + b"100000: politics\n", LEXICON_DIGEST)


@pytest.mark.spec("COL-02")
@given(ANY_TEXT)
def test_passages_are_the_text(text: str) -> None:
    """The passages of a text are the text, and none is longer than a thousand characters."""
    long = text * 40
    found = list(passages(long))
    assert long == "".join(found)
    assert max(map(len, found)) <= PASSAGE_CHARS


def test_addresses_are_no_words() -> None:
    """Neither the name of an account nor an address is among the words, so nothing ever learns them."""
    assert ["rt", "look", "at", "mail", "x"] == words(
        "RT @Some_Body: look at https://a.example/b?c=d www.d.example mail x"
    )


# Log odds in whole numbers


@pytest.mark.spec("COL-02")
def test_odds_and_shares_are_each_others_inverse() -> None:
    """The share of a share's log odds is that share to a ten-thousandth; shares never fall, and end at 0 and 1."""
    for share in range(20_000, 980_001, 1_000):
        assert abs(share - share_ppm(odds_micro(share))) < 100
    found = [share_ppm(place * 1_000) for place in range(-20_000, 20_001, 7)]
    assert sorted(found) == found
    assert (0, 500_000, 1_000_000) == (found[0], share_ppm(0), found[-1])


# A learned model's file


@pytest.mark.spec("COL-02", "ILL-05")
def test_only_a_model_is_loaded() -> None:
    """Flipped bits, a pickle, other tensors, another lexicon, numbers out of bounds, an oversize file: none is read."""
    raw = learned()
    tensors = load(raw)
    wrong = {
        "flipped": raw[:-1] + bytes([raw[-1] ^ 1]),
        "pickled": pickle.dumps({"weights": [1, 2, 3]}),
        "empty": b"",
        "other shape": save(tensors | {"weights": np.zeros(BUCKETS - 1, np.int16)}),
        "other lexicon": save(tensors | {"lexicon": np.zeros(32, np.uint8)}),
        "other version": save(tensors | {"numbers": np.array([2, 0, 0, 1])}),
        "out of bounds": save(tensors | {"numbers": np.array([1, 1 << 62, 0, 1])}),
        "oversize": raw + bytes(MAX_TOXICITY_BYTES),
    }
    for what, bad in wrong.items():
        digest = digest_of(raw if what == "flipped" else bad)
        with pytest.raises(Refused) as refused:
            load_scorer(bad, digest)
        assert "F002" == refused.value.refusal.code, what


@pytest.mark.spec("COL-02", "ILL-07")
def test_only_what_is_promoted_takes_the_default_s_place() -> None:
    """A model that is not in force is refused by name; the one in force is loaded."""
    raw, digest = learned(), digest_of(learned())
    assert f"learned 1 {digest}" == promoted_scorer(raw, digest, digest).name
    for in_force in ("", "0" * 64):
        with pytest.raises(Refused, match="N006"):
            promoted_scorer(raw, digest, in_force)


# The cell


@pytest.mark.spec("COL-02")
@given(ANY_TEXT)
@settings(max_examples=30)
def test_the_cell_says_score_and_model(text: str) -> None:
    """Any text has an answer with score and model and a wave as sure as the score, which tells nothing of the text."""
    cell = ToxicityCell(default_scorer())
    wave, answer = cell.on_request(ToxicityRequest(text))
    [score] = default_scorer().scores([text])
    assert ToxicityResponse(score, score <= KEEP_PPM, default_scorer().name) == answer
    said = "toxic" if score > KEEP_PPM else "not toxic"
    assert ToxicityWave("toxicity", score, f"{said}, score {score} of 1000000", cell.cost_ulf) == wave


# How well


@pytest.mark.spec("COL-02")
def test_the_default_on_labelled_posts() -> None:
    """Measured: 95.4 % of the toxic posts dropped, 94.2 % of the clean ones kept, precision 0.988, AUC 0.968."""
    posts = real_posts()
    scores, labels = default_scorer().scores([text for text, _ in posts]), [toxic for _, toxic in posts]
    found = outcome(scores, labels)
    assert (14_480, 2_908) == (found.wanted, found.unwanted)
    assert found.true_positive * 100 >= 95 * found.wanted
    assert found.true_negative * 100 >= 94 * found.unwanted
    assert found.true_positive * 1_000 >= 985 * found.selected
    assert auc_ppm(scores, labels) >= 965_000
    reference = outcome(ReferenceScorer().scores([text for text, _ in posts]), labels)
    assert reference.true_positive * 100 < reference.wanted


@pytest.mark.spec("COL-02")
def test_the_default_keeps_text_of_other_kinds() -> None:
    """Questions, commands, CPython's reference and answers are kept, all but one in a thousand; of stereotypes 99 %."""
    for kind, texts in other_kinds().items():
        dropped = sum(score > KEEP_PPM for score in default_scorer().scores(texts))
        assert dropped * 1_000 <= len(texts) * (10 if kind == "stereotypes" else 1), kind


@pytest.mark.spec("COL-02", "COL-10")
def test_the_default_treats_groups_alike() -> None:
    """The share of stereotype sentences that is dropped differs between nine kinds of people by less than 0.06."""
    rows = [(row["bias_type"], row[side]) for row in stereotypes() for side in ("sent_more", "sent_less")]
    scores = default_scorer().scores([text for _, text in rows])
    groups: dict[str, Counts] = {}
    for (group, _), score in zip(rows, scores, strict=True):
        groups[group] = groups.get(group, Counts()) + Counts.one(selected=score > KEEP_PPM, wanted=False)
    found = false_positive_rate_difference(groups, LEAST_TEXTS)
    assert found is not None
    assert found.ppm < 60_000


@pytest.mark.spec("COL-02")
def test_a_model_of_ours_ranks_better() -> None:
    """Trained on four fifths of the posts, ours ranks the last fifth better than the default, which drops as well.

    Measured: AUC 0.985 to 0.968; at the keep-threshold both are right on 94.7 to 95.0 % of either kind.
    """
    posts = real_posts()
    judged = [post for post in posts if digest_of(post[0].encode())[0] in "012"]
    trained = train_toxicity([post for post in posts if digest_of(post[0].encode())[0] not in "012"], {}, 7, 1_000)
    ours = load_scorer(trained.weights, digest_of(trained.weights))
    texts, labels = [text for text, _ in judged], [toxic for _, toxic in judged]
    scores, before = ours.scores(texts), default_scorer().scores(texts)
    assert auc_ppm(scores, labels) > auc_ppm(before, labels) + 10_000
    found, found_before = (balanced_accuracy_ppm(outcome(said, labels)) for said in (scores, before))
    assert found is not None
    assert found_before is not None
    assert found > found_before - 10_000
    for kind, others in other_kinds().items():
        dropped = sum(score > KEEP_PPM for score in ours.scores(others))
        assert dropped * 1_000 <= len(others) * (10 if kind == "stereotypes" else 1), kind


def test_counts_before_shares() -> None:
    """A post is dropped above the threshold, kept at it; no share is told where nothing was counted."""
    assert Counts(1, 1, 1, 1) == outcome([300_001, 300_000, 900_000, 0], [True, True, False, False])
    assert balanced_accuracy_ppm(Counts()) is None
    assert 500_000 == balanced_accuracy_ppm(Counts(1, 1, 1, 1))
    assert 875_000 == auc_ppm([5, 7, 5, 1], [True, True, False, False])
