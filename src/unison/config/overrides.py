"""The command line before Hydra reads it: free text is quoted, and what may not be set is refused."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Container, Iterable, Mapping, Sequence
from fnmatch import fnmatchcase

from unison.config.validate import nearest
from unison.errors import UnisonError

_DATA_TEXTS = ("raw", "speaker", "licence", "source", "style.prompt")
PREPARE_TEXTS = (
    *("outputs", "style.path", "text.lexicon"),
    *(f"data.{name}" for name in _DATA_TEXTS),
    *(f"data.corpora.*.{name}" for name in _DATA_TEXTS),
)
"""Of a preparation, the keys whose values arrive as typed; * stands for anything."""
TRAIN_TEXTS = (
    *PREPARE_TEXTS,
    *("name", "resume", "init_from", "vocoder_from", "speakers.donor", "speakers.replay", "model.bert"),
)
"""Of a training."""

_FLAGS = (
    *(
        "help",
        "hydra-help",
        "version",
        "cfg",
        "resolve",
        "package",
        "run",
        "multirun",
        "shell-completion",
        "config-path",
    ),
    *("config-name", "config-dir", "experimental-rerun", "info"),
)
"""Hydra's own."""
_CORPORA = "data.corpora"
_WORDS = re.compile(r"[^\[\]{}(),:]*[^\x00-\x7f\[\]{}(),:][^\[\]{}(),:]*")
"""What lies between brackets, commas and colons, and has a letter beyond ASCII."""
_OVERRIDE = re.compile(r"(?P<prefix>\+{0,2})(?P<key>[^=+~\s-][^=]*)=(?P<value>.*)", re.DOTALL)


def quote_free_text(argv: Iterable[str], keys: Iterable[str]) -> list[str]:
    """`argv` with the values of `keys` quoted, so that each arrives in the config exactly as it was typed.

    Hydra's grammar gives meaning to commas, braces, brackets, quotes, equal signs, backslashes, and OmegaConf
    to `${…}`; a text has none of that. Under `-m` a quoted value is one value, never a list of jobs.
    `key=`, `+key=` and `++key=` are all covered; an empty value is an empty string. In `keys`, * stands for anything.

    Raises UnisonError for the one text that a config can't hold, `???`.
    """
    free = tuple(keys)
    quoted: list[str] = []
    for argument in argv:
        match = _OVERRIDE.fullmatch(argument)
        if match and any(fnmatchcase(match["key"], key) for key in free):
            if match["value"] == "???":
                problem = "the config reads ??? as 'no value given'; write something else"
                raise UnisonError(f"{match['key']}=???: {problem}")
            argument = f"{match['prefix']}{match['key']}={_quote(match['value'])}"
        quoted.append(argument)
    return quoted


def _quote(text: str) -> str:
    # OmegaConf: \${ is a literal ${, and backslashes before it count double.
    text = re.sub(r"(\\*)\$\{", r"\1\1\\${", text)
    # Hydra: likewise before the quote, and before the closing one.
    text = re.sub(r"(\\*)'", r"\1\1\\'", text)
    return "'" + re.sub(r"(\\+)\Z", r"\1\1", text) + "'"


def quote_words(argv: Iterable[str]) -> list[str]:
    """`argv` with the words of a value quoted that have letters beyond ASCII, as `[maria,张三]`: Hydra knows none.

    A value that has quotes is left as it is.
    """
    quoted: list[str] = []
    for argument in argv:
        match = _OVERRIDE.fullmatch(argument)
        if match and not argument.isascii() and not {*match["value"]} & {*"'\"$"}:
            value = _WORDS.sub(lambda word: _quote(word[0].strip()), match["value"])
            argument = f"{match['prefix']}{match['key']}={value}"
        quoted.append(argument)
    return quoted


def open_mappings(argv: Iterable[str], keys: Collection[str]) -> list[str]:
    """`argv` with `labels=…` and `labels.emotion=…` forced, where `keys` are mappings of what the user names."""
    opened: list[str] = []
    for argument in argv:
        match = _OVERRIDE.fullmatch(argument)
        own = match and not match["prefix"] and match["key"].partition(".")[0] in keys
        opened.append(f"++{argument}" if own else argument)
    return opened


def in_full(argv: Iterable[str], short: Mapping[str, str]) -> list[str]:
    """`argv` with `compile=…` written as `compile.mode=…`, where `short` says that the one stands for the other."""
    whole: list[str] = []
    for argument in argv:
        match = _OVERRIDE.fullmatch(argument)
        if match and match["key"] in short:
            argument = f"{match['prefix']}{short[match['key']]}={match['value']}"
        whole.append(argument)
    return whole


def of_a_mix(argv: Iterable[str], choices: Sequence[str]) -> list[str]:
    """`argv` with `data.corpora=[a,b]` or `data.corpora={mine:csv,yours:csv}` as Hydra has it.

    That is one `+data@data.corpora.mine=csv` a corpus, which puts the choice of the group `data` under that name.

    Raises UnisonError for what is no such list, or names no choice.
    """
    whole: list[str] = []
    for argument in argv:
        match = _OVERRIDE.fullmatch(argument)
        if not match or match["key"] != _CORPORA:
            whole.append(argument)
            continue
        corpora = _named(match["value"])
        problems = [
            f"{_CORPORA}: {choice}: no such choice of data{nearest(choice, choices)}; one of {', '.join(choices)}"
            for choice in corpora.values()
            if choice not in choices
        ]
        if not corpora or problems:
            raise UnisonError(
                problems
                or f"{argument}: expected names in brackets, as [ljspeech,vctk], or your own names with their layouts,"
                " as {calm:csv,glad:csv}, of ASCII letters, digits and _"
            )
        whole += [f"+data@{_CORPORA}.{name}={choice}" for name, choice in corpora.items()]
    return whole


def _named(text: str) -> dict[str, str]:
    """Choices by name; empty for what is no list and no dictionary of words."""
    pairs = [pair.strip().partition(":") for pair in text.strip()[1:-1].split(",")]
    named = {name.strip(): (choice if text.startswith("{") else name).strip() for name, _, choice in pairs}
    written = text.strip()[:1] + text.strip()[-1:]
    words = all(re.fullmatch(r"\w+", word, re.ASCII) for pair in named.items() for word in pair)
    return named if written in ("[]", "{}") and words and len(named) == len(pairs) else {}


def value_of(argv: Iterable[str], key: str) -> str | None:
    """What `argv` sets `key` to, as it was typed; None when it does not."""
    matches = (_OVERRIDE.fullmatch(argument) for argument in argv)
    return next((match["value"] for match in matches if match and match["key"] == key), None)


def as_lists(argv: Sequence[str], keys: Container[str]) -> list[str]:
    """`argv` with one word for a list of `keys` written as a list of one, and `a,b` of two.

    In a grid commas part its jobs.
    """
    grid = "-m" in argv or "--multirun" in argv
    whole: list[str] = []
    for argument in argv:
        match = _OVERRIDE.fullmatch(argument)
        word = match["value"] if match and match["key"] in keys else ""
        bare = re.match(r"[^\[\s$'\"]", word) and word not in ("null", "???")
        whole.append(f"{argument[: -len(word)]}[{word}]" if bare and not (grid and "," in word) else argument)
    return whole


def flags(argv: Sequence[str], names: Callable[[], Container[str]]) -> None:
    """Refuse `--ckpt x` and the like; `names` gives the keys that there are.

    Raises UnisonError with a line for each.
    """
    problems = []
    for flag, after in zip(argv, [*argv[1:], ""], strict=False):
        word, _, value = flag.removeprefix("--").partition("=")
        if not flag.startswith("--") or word in _FLAGS:
            continue
        key = word.replace("-", "_")
        value = value or ("…" if "=" in after or after.startswith("-") else after or "…")
        write = (
            f"write {key}={value}" if key in names() else "what a command takes is written key=value; --help lists it"
        )
        problems.append(f"{flag}: {write}")
    if problems:
        raise UnisonError(problems)


def unknown_fields(argv: Iterable[str], names: Collection[str]) -> None:
    """Refuse `key=value` where there is no such key, all at once.

    Raises UnisonError with a line for each.
    """
    given = [match for argument in argv if (match := _OVERRIDE.fullmatch(argument)) and not match["prefix"]]
    keys = [match["key"] for match in given if not match["key"].startswith("hydra")]
    if unknown := [key for key in keys if key not in names]:
        raise UnisonError([f"{key}: no such field{nearest(key, names)}" for key in unknown])


def overrides_first(argv: Iterable[str]) -> list[str]:
    """`argv` with its overrides in front of its flags: between two flags the parser would not take them."""
    arguments = list(argv)
    overrides = [a for a in arguments if not a.startswith("-") and ("=" in a or a.startswith("~"))]
    return overrides + [a for a in arguments if a not in overrides]


def unknown_choices(argv: Iterable[str], groups: Mapping[str, Sequence[str]]) -> None:
    """Refuse `group=choice` where the group has no such file; `null` leaves a group out.

    Raises UnisonError with a line for each.
    """
    problems = []
    for argument in argv:
        match = _OVERRIDE.fullmatch(argument)
        if not match or match["key"] not in groups:
            continue
        choices = groups[match["key"]]
        for value in match["value"].strip("[] ").split(","):
            if (given := value.strip(" '\"")) not in (*choices, "null", "none", "None", "???"):
                problem = f"{match['key']}={given}: no such choice{nearest(given, choices)}"
                problems.append(f"{problem}; one of {', '.join(choices)}")
    if problems:
        raise UnisonError(problems)


def forbid(argv: Iterable[str], groups: Iterable[str], reason: str, own: Container[str] = ()) -> None:
    """Refuse overrides that set one of `groups` or anything in it: `model=…`, `+model.hidden=…`, `~audio`.

    A key of `own` is the command's, although a group has its name: `text=…` passes, `text.frontend=…` does not.

    Raises UnisonError with a line for each such override, ending in `reason`.
    """
    names = "|".join(re.escape(group) for group in groups)
    pattern = re.compile(rf"(?:\+{{1,2}}|~)?(?P<group>{names})(?P<inside>[./@][^=]*)?(?:=.*)?", re.DOTALL)
    problems = []
    for argument in argv:
        match = pattern.fullmatch(argument)
        if not match or (match["group"] in own and not match["inside"]):
            continue
        if argument.startswith("~") or "=" in argument:
            problems.append(f"{argument}: {match['group']} can't be set here; {reason}")
    if problems:
        raise UnisonError(problems)
