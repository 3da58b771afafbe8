"""Which language a short text is in, by the small words that every text of a language is full of.

It knows a few languages and says `und` for the rest: for other scripts, for texts too short to tell, and where two
languages are equally likely. What a source says of a post's language counts more than this.
"""

from __future__ import annotations

import re
from typing import Final

UNDETERMINED: Final = "und"
#: The commonest words of each, the informal spellings of English with them, without what several share.
WORDS: Final[dict[str, frozenset[str]]] = {
    language: frozenset(words.split())
    for language, words in {
        "en": (
            "the and to of is that it you for was with are this be have not but they his her she what all my your "
            "when there their would will from just like get got out if about who been how them some can't don't dont "
            "cant i'm im ain't aint it's its that's thats you're youre u ur lol omg wtf yo bro yall y'all gonna wanna "
            "gotta know think want need make made because cause could should why where which than then now never "
            "always still too only ever even really every good bad right people day time see look go going come say "
            "said tell let thing things more one two how's he's she's we're they're i'll i'd i've didn't doesn't won't "
            "isn't wasn't him our us we do does did has had were an by at on or so up no as me he i a in these those "
            "into over after before again off down here through while any each other same own most such very first "
            "back new best better much many please thanks thank lmao love hate girl boy man guy guys nothing something "
            "someone everyone anything though until little old big next last keep feel little wish hope"
        ),
        "de": (
            "der die das und ist nicht ich du wir ihr sie ein eine einen einem einer mit auf für von zu im den dem "
            "des auch sich wie aber oder wenn dann noch nur schon hat haben wird werden sind war mir dir mich dich "
            "kein keine sehr mehr über unter nach aus bei bis zum zur was warum heute jetzt hier immer wieder gut "
            "habe hast bin bist es als so man mal ja nein doch weil dass daß diese dieser dieses alle alles"
        ),
        "fr": (
            "le la les un une des et est que qui dans pour pas ne je tu il elle nous vous ils elles sur avec ce cette "
            "ces au aux du de mais ou où donc plus très bien tout tous fait être avoir suis es sont était j'ai c'est "
            "n'est d'un d'une qu'il qu'on mon ma mes ton ta tes son sa ses leur moi toi lui y en se si comme même "
            "aussi encore toujours jamais rien quand pourquoi parce merci oui non"
        ),
        "es": (
            "el la los las un una unos unas y es que en de del por para con no se lo le su sus mi mis tu tus al como "
            "más pero muy ya todo todos esta este esto ese esa está están estoy soy eres somos son fue era ser hay "
            "hoy cuando porque qué quién donde también nada siempre nunca bien sin sobre yo él ella nosotros ellos si "
            "sí me te gracias así aquí ahora"
        ),
        "it": (
            "il lo la gli le un una uno e è che di del della dei delle nel nella per con non si mi ti ci vi ma più "
            "anche come questo questa quello quella sono sei siamo era essere ho hai ha abbiamo hanno fare fatto se "
            "cosa chi quando perché dove molto tutto tutti sempre mai bene io tu lui lei noi voi loro al alla dal "
            "dalla sul sulla da grazie oggi ancora già solo"
        ),
        "pt": (
            "o os as um uma uns umas e é que de do da dos das em no na nos nas por para com não se mais mas muito já "
            "também como quando porque onde quem eu tu ele ela nós vocês você eles elas meu minha seu sua isso isto "
            "esse essa está estão sou foi era ser ter tem tinha há hoje sempre nunca bem só ao à pra pro até sem "
            "sobre aqui agora obrigado"
        ),
        "nl": (
            "de het een en is niet ik jij je u hij zij wij we jullie ze dat die dit deze van op aan met voor naar uit "
            "bij te er maar ook als dan nog wel geen zijn was heb heeft hebben wordt worden kan moet zal wat wie waar "
            "waarom veel meer al alles altijd nooit nu hier daar om over onder tot mijn jouw haar hun goed"
        ),
    }.items()
}
_ANY: Final = frozenset[str]().union(*WORDS.values())
_EACH: Final = tuple(WORDS.items())
#: Letters beyond Latin, Greek to Han and further.
_FOREIGN: Final = re.compile("[\u0370-\u1dbf\u1f00-\u1fff\u2c80-\u2dff\u3040-\ud7ff\uf900-\ufaff\ufb1d-\ufefe]")


def language_of(text: str, said: str | None) -> str:
    """Return the language of a text: what its source says, without region, or else what its words say."""
    if said:
        plain = said.replace("_", "-").partition("-")[0].lower()
        if plain != UNDETERMINED:
            return plain
    return detected(text)


def detected(text: str) -> str:
    """Return the language that most of a text's small words belong to, `und` where none or two do."""
    if not text.isascii() and _is_foreign_script(text):
        return UNDETERMINED
    words = _ANY.intersection(text.lower().replace("\u2019", "'").split())
    best, language = 0, UNDETERMINED
    for one, known in _EACH:
        hits = len(words & known)
        if hits > best:
            best, language = hits, one
        elif hits == best:
            language = UNDETERMINED
    return language


def _is_foreign_script(text: str) -> bool:
    """Say whether at least half of the letters are no Latin ones."""
    foreign = len(_FOREIGN.findall(text))
    return foreign > 0 and 2 * foreign >= sum(letter.isalpha() for letter in text)
