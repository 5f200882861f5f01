"""Letter-to-sound rules: a pronunciation for any English spelling, often the right one.

Each rule is (letters, what stands before, what follows, phones); the first rule that fits at a place is
taken and its letters are consumed. Contexts are regular expressions over the word's spelling. Vowels come
without stress marks, :func:`_stress` sets them afterwards.
"""

from __future__ import annotations

import re
from functools import lru_cache

VOWELS = {"AA", "AE", "AH", "AO", "AW", "AY", "EH", "ER", "EY", "IH", "IY", "OW", "OY", "UH", "UW"}

_C = "[bcdfghjklmnpqrstvwxz]"  # a consonant letter
_MAGIC_E = f"{_C}(?:e$|es$|ed$|er$|ing$|ely$)"  # makes the vowel before it long
_OPEN = f"{_C}[aeiouy]"

_RULES: dict[str, list[tuple[str, str, str, str]]] = {
    "a": [
        ("augh", "", "", "AO"), ("au", "", "", "AO"), ("aw", "", "", "AO"), ("air", "", "", "EH R"),
        ("ai", "", "", "EY"), ("ay", "", "", "EY"), ("are", "", "$", "EH R"), ("alk", "", "", "AO K"),
        ("all", "", "(?:s|ed|$)", "AO L"), ("a", "[^q]w", "[rt]", "AO"), ("arr", "", "", "AE R"),
        ("ar", "w", "", "AO R"), ("ar", "..", "(?:s|d|$)", "ER"), ("ar", "", "[^aeiou]|$", "AA R"),
        ("able", "..", "$", "AH B AH L"), ("ation", "", "", "EY SH AH N"), ("age", "..", "$", "IH JH"),
        ("aste", "", "", "EY S T"), ("a", "", _MAGIC_E, "EY"), ("a", "", "(?:ti|ci|si)[oaeu]", "EY"),
        ("a", "..", "$", "AH"), ("a", "^", "$", "EY"), ("al", "..", "$", "AH L"), ("an", "..", "$", "AH N"),
        ("a", "", "", "AE"),
    ],
    "b": [("bb", "", "", "B"), ("b", "m", "$", ""), ("b", "", "", "B")],
    "c": [
        ("cch", "", "", "K"), ("ch", "", "[lr]", "K"), ("ch", "s", "", "K"), ("ch", "", "", "CH"),
        ("ck", "", "", "K"), ("cqu", "", "", "K W"), ("cc", "", "[eiy]", "K S"), ("cc", "", "", "K"),
        ("c", "", "i[aou]", "SH"), ("c", "s", "[eiy]", ""), ("c", "", "[eiy]", "S"), ("c", "", "", "K"),
    ],
    "d": [("dge", "", "", "JH"), ("dg", "", "[iy]", "JH"), ("dd", "", "", "D"), ("d", "", "", "D")],
    "e": [
        ("eau", "", "", "OW"), ("ear", "", f"{_C}", "ER"), ("ear", "", "", "IH R"), ("eer", "", "", "IH R"),
        ("ee", "", "", "IY"), ("ead", "", "$", "EH D"), ("ea", "", "", "IY"), ("eigh", "", "", "EY"),
        ("ei", "c", "", "IY"), ("ei", "", "", "AY"), ("eur", "", "", "ER"), ("eu", "", "", "UW"),
        ("ew", "[rljd]", "", "UW"), ("ew", "", "", "Y UW"), ("ey", ".", "$", "IY"), ("ey", "", "", "EY"),
        ("err", "", "[aeiouy]", "EH R"), ("ere", "", "$", "IH R"), ("er", "^", "[aeiou]", "EH R"),
        ("er", ".", "[aeiou]", "EH R"), ("er", "", "", "ER"), ("ed", "[td]", "$", "IH D"),
        ("ed", "[aeiouy].*[pkfshx]", "$", "T"), ("ed", "[aeiouy].*", "$", "D"),
        ("es", "(?:s|z|x|ch|sh|[cg])", "$", "IH Z"), ("e", "[aeiouy].*", "s$", ""),
        ("ely", "[aeiouy].*", "$", "L IY"), ("e", "[aeiouy].*", "(?:ment|ful|less|ness)", ""),
        ("e", "[aeiouy].*[lt]", "$", ""), ("e", "[aeiouy].*", "$", ""),
        ("e", "^(?:[bcdfghjklmnpqrstvwxz]*)", "$", "IY"), ("en", "..", "$", "AH N"),
        ("el", "..", "$", "AH L"), ("ent", "..", "", "AH N T"), ("ence", "..", "", "AH N S"),
        ("e", "", f"{_C}e$", "IY"), ("e", "^[dprb]", _OPEN, "IH"), ("e", "", "", "EH"),
    ],
    "f": [("ff", "", "", "F"), ("f", "", "", "F")],
    "g": [
        ("gh", "^", "", "G"), ("gh", "[aeiou]", "(?:t|$|s)", ""), ("gh", "", "", "G"), ("gn", "^", "", "N"),
        ("gn", "", "(?:$|s|ed)", "N"), ("gg", "", "", "G"), ("gu", "", "[ei]", "G"),
        ("g", "^", "[i](?:[rvgl])", "G"), ("g", "^", "et", "G"), ("g", "", "[eiy]", "JH"),
        ("g", "", "", "G"),
    ],
    "h": [
        ("h", "^", "", "HH"), ("h", "[aeiou]", "[aeiouy]", "HH"), ("h", "[bdmnrslwkgt]", "[aeiouy]", "HH"),
        ("h", "", "", ""),
    ],
    "i": [
        ("igh", "", "", "AY"), ("ign", "", "(?:$|s|ed|ing|er)", "AY N"), ("ild", "", "$", "AY L D"),
        ("ind", "^.{0,2}", "$", "AY N D"), ("ier", "", "$", "IY ER"), ("ies", "[aeiouy].*", "$", "IY Z"),
        ("ied", "[aeiouy].*", "$", "IY D"), ("ies", "", "$", "AY Z"), ("ied", "", "$", "AY D"),
        ("ie", "^.{0,2}", "$", "AY"), ("ie", "", "$", "IY"), ("ie", "", "[vfl]", "IY"),
        ("io", "[aeiou].*[nlrv]", "", "IY OW"), ("ious", "[ctx]", "", "AH S"), ("ious", "", "", "IY AH S"),
        ("ire", "", "$", "AY ER"), ("ir", "", "[aeiou]", "IH R"), ("ir", "", "", "ER"),
        ("ique", "", "$", "IY K"), ("ine", "...", "$", "IY N"), ("ive", "..", "$", "IH V"),
        ("ite", "", "$", "AY T"), ("iz", "..", "e", "AY Z"), ("ise", "", "$", "AY Z"),
        ("ism", "", "$", "IH Z AH M"), ("i", "[cst]", "[aeou]", ""), ("i", "", _MAGIC_E, "AY"),
        ("i", "", "a", "AY"), ("i", "", "[aeou]", "IY"), ("i", ".", "$", "IY"), ("i", "^", "$", "AY"),
        ("i", "", "", "IH"),
    ],
    "j": [("j", "", "", "JH")],
    "k": [("kn", "^", "", "N"), ("kk", "", "", "K"), ("kh", "", "", "K"), ("k", "", "", "K")],
    "l": [
        ("le", f"{_C}", "$", "AH L"), ("le", f"{_C}", "s$", "AH L"), ("ll", "", "", "L"),
        ("l", "[ao]", "[km]", ""), ("l", "", "", "L"),
    ],
    "m": [("mm", "", "", "M"), ("mn", "", "$", "M"), ("mc", "^", "[^aeiou]", "M AH K"), ("m", "", "", "M")],
    "n": [
        ("ng", "", "$", "NG"), ("ng", "", "(?:s|ed|ing|er)$", "NG"), ("ng", "", "[eiy]", "N JH"),
        ("ng", "", "", "NG G"), ("nn", "", "", "N"), ("n", "", "(?:k|x|c[^eiyh])", "NG"),
        ("n", "", "", "N"),
    ],
    "o": [
        ("ough", "", "t", "AO"), ("ough", "", "", "OW"), ("oul", "", "d", "UH"), ("ous", "", "$", "AH S"),
        ("ouble", "", "", "AH B AH L"), ("our", "", "", "AO R"), ("ou", "", "", "AW"),
        ("ook", "", "", "UH K"), ("oor", "", "", "AO R"), ("oo", "", "", "UW"), ("oar", "", "", "AO R"),
        ("oa", "", "", "OW"), ("oi", "", "", "OY"), ("oy", "", "", "OY"), ("oe", "", "", "OW"),
        ("ow", "", "[nl]$", "AW"), ("ow", "^.?", "$", "AW"), ("ow", "", "", "OW"), ("ore", "", "$", "AO R"),
        ("or", "w", "", "ER"), ("or", "..", "$", "ER"), ("or", "", "", "AO R"), ("old", "", "", "OW L D"),
        ("ost", "^.", "$", "OW S T"), ("olk", "", "", "OW K"), ("on", "..", "$", "AH N"),
        ("om", "..", "$", "AH M"), ("o", "", "(?:ti|ci|si)[oaeu]", "OW"), ("o", "", _MAGIC_E, "OW"),
        ("o", "", "$", "OW"), ("os", "..", "$", "OW S"),
        ("o", "^(?:[bcdfghjklmnpqrstvwxz]*)", "[bcdfghjklmnpqrstvwz][aeiouy]", "OW"), ("o", "", "", "AA"),
    ],
    "p": [
        ("ph", "", "", "F"), ("pp", "", "", "P"), ("ps", "^", "", "S"), ("pn", "^", "", "N"),
        ("p", "", "", "P"),
    ],
    "q": [("que", "", "$", "K"), ("qu", "", "", "K W"), ("q", "", "", "K")],
    "r": [("rrh", "", "", "R"), ("rh", "^", "", "R"), ("rr", "", "", "R"), ("r", "", "", "R")],
    "s": [
        ("sch", "^", "", "SH"), ("sh", "", "", "SH"), ("sion", "[aeiour]", "", "ZH AH N"),
        ("ssion", "", "", "SH AH N"), ("sion", "", "", "SH AH N"), ("sure", "[aeiou]", "$", "ZH ER"),
        ("ss", "", "", "S"), ("s", "[aeiou]", "[eiy]$", "Z"), ("s", "[aeiou]", "(?:e|es|ed|ing)$", "Z"),
        ("s", "(?:[bdglmnrvwy]|[aeo]e|ie|[^aeiouscxzh]e)", "$", "Z"), ("s", "", "m$", "Z AH"),
        ("s", "", "", "S"),
    ],
    "t": [
        ("tch", "", "", "CH"), ("tion", "s", "", "CH AH N"), ("tion", "", "", "SH AH N"),
        ("tial", "", "", "SH AH L"), ("tient", "", "", "SH AH N T"), ("ture", "", "$", "CH ER"),
        ("the", "[aeiou]", "$", "DH"), ("ther", "", "", "DH ER"), ("th", "", "", "TH"), ("tt", "", "", "T"),
        ("t", "", "", "T"),
    ],
    "u": [
        ("uy", "", "", "AY"), ("ui", "[rljs]", "", "UW"), ("ure", "..", "$", "ER"), ("urr", "", "", "ER"),
        ("ur", "", "[aeiou]", "UH R"), ("ur", "", "", "ER"), ("u", "[gq]", "[aei]", "W"),
        ("ue", "[rljs]", "$", "UW"), ("ue", "", "$", "Y UW"), ("u", "[rljsd]", _MAGIC_E, "UW"),
        ("u", "", _MAGIC_E, "Y UW"), ("u", "^", "n[ir]", "Y UW"), ("us", "..", "$", "AH S"),
        ("um", "..", "$", "AH M"), ("u", "[bcfhmp]", _OPEN, "Y UW"), ("u", "", _OPEN, "UW"),
        ("u", "", "$", "UW"), ("u", "[bpf]", "(?:ll|sh)", "UH"), ("u", "", "", "AH"),
    ],
    "v": [("vv", "", "", "V"), ("v", "", "", "V")],
    "w": [
        ("wh", "", "o", "HH"), ("wh", "", "", "W"), ("wr", "^", "", "R"), ("w", "", "[^aeiouyh]|$", ""),
        ("w", "", "", "W"),
    ],
    "x": [("x", "^", "", "Z"), ("x", "e", "[aeiou]", "G Z"), ("x", "", "", "K S")],
    "y": [
        ("y", "^", "[aeiou]", "Y"), ("y", "[aeiou]", "[aeiou]", "Y"), ("y", "^.?.?", "$", "AY"),
        ("y", "", "$", "IY"), ("y", "", _MAGIC_E, "AY"), ("y", "^.?.?", _OPEN, "AY"), ("y", "", "", "IH"),
    ],
    "z": [("zz", "", "", "Z"), ("z", "", "", "Z")],
}  # fmt: skip

_COMPILED = {
    letter: [
        (letters, re.compile(f"(?:{before})$"), re.compile(after), phones.split())
        for letters, before, after, phones in rules
    ]
    for letter, rules in _RULES.items()
}
# Endings that draw the stress to the syllable before them.
_STRESS_BEFORE = re.compile(r"(?:[tsc]ion|[tc]ial|ic|ical|ity|[tc]ious|ian|ia|io|graphy|logy|ify|eous|ual)s?$")
_UNSTRESSED_PREFIX = re.compile(
    r"^(?:a(?=[bcdfglnpst]{2})|be|de|re|ex|en|em|in|im|un|con|com|dis|mis|pre|pro|per|sub)(?=[a-z]{3})"
)


@lru_cache(maxsize=8192)
def letter_to_sound(word: str) -> tuple[str, ...]:
    """ARPAbet phones with stress marks for a word in letters a-z; never empty."""
    word = word.lower()
    phones: list[str] = []
    place = 0
    while place < len(word):
        for letters, before, after, sounds in _COMPILED[word[place]]:
            end = place + len(letters)
            if word.startswith(letters, place) and before.search(word[:place]) and after.match(word[end:]):
                phones += sounds
                place = end
                break
    if not any(phone in VOWELS for phone in phones):
        phones = ["AH", *phones]
    return tuple(_stress(phones, word))


def _stress(phones: list[str], word: str) -> list[str]:
    """Primary stress on one vowel: before certain endings, behind a prefix, else early in the word."""
    places = [index for index, phone in enumerate(phones) if phone in VOWELS]
    count = len(places)
    if _STRESS_BEFORE.search(word) and count > 1:
        stressed = max(count - 2 - bool(re.search(r"(?:ity|ical|graphy|logy|ify|ia|io|eous|ual|ian)s?$", word)), 0)
    elif count == 2:
        stressed = 1 if _UNSTRESSED_PREFIX.match(word) else 0
    else:
        stressed = 1 if count > 2 and _UNSTRESSED_PREFIX.match(word) else max(count - 3, 0)
    marked = list(phones)
    for number, index in enumerate(places):
        marked[index] += "1" if number == stressed else "0"
    return marked
