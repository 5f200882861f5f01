"""English against pronunciations as CMUdict prints them, and the reading of what no dictionary has."""

from __future__ import annotations

import subprocess
import sys

import pytest

from unison.errors import UnisonError
from unison.text import frontend
from unison.text.arpabet import VOWELS
from unison.text.english import dictionary, pronounce, spell
from unison.text.letters import letter_to_sound


def read(text: str) -> str:
    """Symbols without the boundaries and brackets, pauses as their number."""
    symbols = frontend("english").symbols(text)
    assert symbols[0] == symbols[-1] == "<sos/eos>"
    return " ".join(symbol.strip("[]").replace("engsp", "") for symbol in symbols[1:-1])


def test_symbols_are_bracketed_between_boundaries() -> None:
    assert frontend("english").symbols("zero") == ["<sos/eos>", "[Z]", "[IH1]", "[R]", "[OW0]", "<sos/eos>"]


# From the printed dictionary.
PRINTED = {
    "one": "W AH1 N", "two": "T UW1", "three": "TH R IY1", "four": "F AO1 R", "five": "F AY1 V",
    "six": "S IH1 K S",
    "seven": "S EH1 V AH0 N", "eight": "EY1 T", "nine": "N AY1 N", "hello": "HH AH0 L OW1",
    "the": "DH AH0",    "pleasure": "P L EH1 ZH ER0", "boy": "B OY1", "judge": "JH AH1 JH",
    "don't": "D OW1 N T", "o'clock": "AH0 K L AA1 K",
}  # fmt: skip


@pytest.mark.parametrize(("word", "phones"), PRINTED.items())
def test_known_words_are_read_as_the_dictionary_prints_them(word: str, phones: str) -> None:
    assert read(word) == phones
    assert read(word.capitalize()) == phones


def test_breaks_follow_words_and_punctuation() -> None:
    assert read("one two") == "W AH1 N 1 T UW1"
    assert read("one, two") == read("one: two") == read("one — two") == read("one (two)") == "W AH1 N 2 T UW1"
    assert read("one. two") == read("one?! two") == "W AH1 N 4 T UW1"
    assert read("one-two") == "W AH1 N 1 T UW1"
    assert read('  "One" ‘two’! ') == "W AH1 N 1 T UW1"


def test_commas_colons_apostrophes_and_numbers_together() -> None:
    assert read("Hello, world: it's 5 o'clock") == ("HH AH0 L OW1 2 W ER1 L D 2 IH1 T S 1 F AY1 V 1 AH0 K L AA1 K")


@pytest.mark.parametrize(
    ("word", "phones"),
    [
        ("TTS", "T IY1 T IY1 EH1 S"),
        ("GPU", "JH IY1 P IY1 Y UW1"),
        ("NASA", "N AE1 S AH0"),
        ("U.S.", "Y UW1 EH1 S"),
        ("Mr.", "M IH1 S T ER0"),
        ("café", "K AH0 F EY1"),
    ],
)
def test_capitals_are_spelled_unless_they_are_a_word(word: str, phones: str) -> None:
    assert read(word) == phones


@pytest.mark.parametrize(
    ("word", "phones"),
    [
        ("wizard's", "W IH1 Z ER0 D Z"),
        ("vacuums'", "V AE1 K Y UW0 M Z"),
        ("ostrich's", "AO1 S T R IH0 CH IH0 Z"),
        ("giraffe's", "JH ER0 AE1 F S"),
        ("skateboarded", "S K EY1 T B AO2 R D IH0 D"),
    ],
)
def test_endings_on_known_words(word: str, phones: str) -> None:
    assert read(word) == phones


def test_compounds_of_known_words() -> None:
    assert "lamplantern" not in dictionary()
    assert read("lamplantern") == "L AE1 M P L AE2 N T ER0 N"


# Words that no dictionary has, as a reader of English says them (stress left out where it is arguable).
@pytest.mark.parametrize(
    ("word", "phones"),
    [
        ("blick", "B L IH K"), ("snape", "S N EY P"), ("throam", "TH R OW M"), ("cheesh", "CH IY SH"),
        ("phlump", "F L AH M P"), ("gration", "G R EY SH AH N"), ("wug", "W AH G"), ("spight", "S P AY T"),
        ("knofe", "N OW F"), ("tadge", "T AE JH"),
    ],
)  # fmt: skip
def test_letters_to_sounds(word: str, phones: str) -> None:
    assert [phone.rstrip("012") for phone in letter_to_sound(word)] == phones.split()


def test_letters_to_sounds_come_near_the_dictionary() -> None:
    """Every 200th word of the dictionary without looking it up: stress aside, few phones are wrong."""
    words = [word for word in dictionary() if word.isalpha() and word.isascii()][::200]
    wrong = total = 0
    for word in words:
        expected = [phone.rstrip("012") for phone in dictionary()[word].split()]
        wrong += _distance(expected, [phone.rstrip("012") for phone in letter_to_sound(word)])
        total += len(expected)
    assert len(words) > 500
    assert wrong / total < 0.22


def test_every_spelling_gets_one_stressed_vowel() -> None:
    known = {phone for phones in dictionary().values() for phone in phones.split()}
    for word in ("q", "zzz", "brrgh", "x" * 30, "aeiouy", "strengthlessnesses", "mcxyzzy", "e", "y", "gh"):
        phones = letter_to_sound(word)
        assert set(phones) <= known, word
        assert sum(phone.endswith("1") for phone in phones) == 1, word
        assert any(phone[:-1] in VOWELS for phone in phones), word


def test_every_letter_has_a_name() -> None:
    assert all(spell(letter) for letter in "abcdefghijklmnopqrstuvwxyz")
    assert pronounce("XQZ") == (*spell("x"), *spell("q"), *spell("z"))


def test_unreadable_characters_are_left_out_and_named_once_each() -> None:
    found = frontend("english").read("one 你ж two 你")
    assert found.skipped == ["你", "ж"]
    assert found.symbols == frontend("english").symbols("one two")
    assert "'你' (U+4F60), 'ж' (U+0436)" in found.warnings[0]


@pytest.mark.parametrize("text", ["", "  ", "...", "'"])
def test_nothing_to_read(text: str) -> None:
    with pytest.raises(UnisonError, match="nothing to read"):
        frontend("english").symbols(text)


def test_importing_loads_no_dictionary() -> None:
    heavy = ("cmudict", "pypinyin", "rjieba", "pycrfsuite", "torch")
    code = f"import sys, unison.text; print([m for m in {heavy} if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def _distance(a: list[str], b: list[str]) -> int:
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        above, row = row, [i]
        for j, y in enumerate(b, 1):
            row.append(min(above[j] + 1, row[-1] + 1, above[j - 1] + (x != y)))
    return row[-1]


# Each is what a speaker of American English says.
@pytest.mark.parametrize(
    ("text", "word", "phones"),
    [
        ("I read the book yesterday.", "read", "R EH1 D"), ("I will read it.", "read", "R IY1 D"),
        ("He has never read it.", "read", "R EH1 D"), ("Did you read that?", "read", "R IY1 D"),
        ("She reads a lot.", "reads", "R IY1 D Z"), ("The pipe is made of lead.", "lead", "L EH1 D"),
        ("Who will lead the team?", "lead", "L IY1 D"), ("They live here.", "live", "L IH1 V"),
        ("This is a live concert.", "live", "L AY1 V"), ("Our lives changed.", "lives", "L AY1 V Z"),
        ("Please close the door.", "close", "K L OW1 Z"), ("He stood close to me.", "close", "K L OW1 S"),
        ("A tear ran down.", "tear", "T IH1 R"), ("Do not tear the paper.", "tear", "T EH1 R"),
        ("The wind is strong.", "wind", "W IH1 N D"), ("Please record the song.", "record", "R IH0 K AO1 R D"),
        ("He broke the record.", "record", "R EH1 K ER0 D"), ("World records fall.", "records", "R EH1 K ER0 D Z"),
        ("I object to this.", "object", "AH0 B JH EH1 K T"), ("The object is red.", "object", "AA1 B JH EH0 K T"),
        ("We present a plan.", "present", "P R IY0 Z EH1 N T"), ("He is present.", "present", "P R EH1 Z AH0 N T"),
        ("The use of force", "use", "Y UW1 S"), ("You can use it.", "use", "Y UW1 Z"),
        ("I used to swim.", "used", "Y UW1 S T"), ("It was used to cut wood.", "used", "Y UW1 Z D"),
        ("a minute detail", "minute", "M AY0 N UW1 T"), ("Wait a minute.", "minute", "M IH1 N AH0 T"),
        ("the Polish table", "Polish", "P OW1 L IH0 SH"), ("They refuse to go.", "refuse", "R IH0 F Y UW1 Z"),
        ("separate parts", "separate", "S EH1 P R AH0 T"), ("Separate them!", "Separate", "S EH1 P ER0 EY2 T"),
        ("the apple", "the", "DH IY0"), ("the dog", "the", "DH AH0"),
        ("unhappyish", "unhappyish", "AH0 N HH AE1 P IY0 IH2 SH"),
    ],
)  # fmt: skip
def test_heteronyms(text: str, word: str, phones: str) -> None:
    found = next(said for said in frontend("english").read(text).words if said.text == word)
    assert " ".join(symbol.strip("[]") for symbol in found.symbols) == phones


def test_letters_are_one_word_and_a_is_an_article() -> None:
    assert [word.text for word in frontend("english").read("an F B I agent and a dog").words][1] == "F B I"
    assert read("A dog") == "AH0 1 D AO1 G"
    assert read("plan B") == "P L AE1 N 1 B IY1"
