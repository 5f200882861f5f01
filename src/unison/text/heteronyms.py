"""English words that are written alike and said otherwise: read, lead, live, record, use …

Which is meant follows from the part of speech and from the neighbours; the words and their rules stand in
``data/heteronyms.tsv``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from unison.text.arpabet import with_s
from unison.text.data import rows

_CONTEXT = 12
"""Words on either side that a rule may look at."""


@dataclass(frozen=True)
class _Rule:
    tags: tuple[str, ...]
    phones: tuple[str, ...]
    before: re.Pattern[str] | None
    after: re.Pattern[str] | None

    def fits(self, tag: str, before: str, after: str) -> bool:
        if self.tags and tag not in self.tags and tag[:1] not in self.tags:
            return False
        if self.before is not None and not self.before.search(before):
            return False
        return self.after is None or bool(self.after.match(after))


def is_heteronym(word: str) -> bool:
    """Whether a word has a reading that its neighbours decide."""
    return _entry(word) is not None


def phones_of(words: Sequence[str], tags: Sequence[str], place: int) -> tuple[str, ...]:
    """The phones of the heteronym at a place of a sentence, whose words and tags are given."""
    entry = _entry(words[place])
    assert entry is not None
    rules, plural = entry
    around = words[max(place - _CONTEXT, 0) : place], words[place + 1 : place + 1 + _CONTEXT]
    before, after = (" ".join(part).lower() for part in around)
    rule = next((rule for rule in rules if rule.fits(tags[place], before, after)), rules[-1])
    return with_s(rule.phones) if plural else rule.phones


def _entry(word: str) -> tuple[list[_Rule], bool] | None:
    """The rules of a word, and whether they are for it without its s."""
    table, lower = _table(), word.lower()
    for name in (word, lower):
        if name in table:
            return table[name], False
    stem = lower.removesuffix("s")
    return (table[stem], True) if stem != lower and stem in table else None


@cache
def _table() -> dict[str, list[_Rule]]:
    table: dict[str, list[_Rule]] = {}
    for word, tags, phones, before, after in rows("heteronyms.tsv", 5):
        patterns = (re.compile(f"(?:{p})") if p else None for p in (before, after))
        table.setdefault(word, []).append(_Rule(tuple(tags.split()), tuple(phones.split()), *patterns))
    return table
