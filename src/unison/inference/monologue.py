"""One request as a language model speaks it: piece after piece, watched over, spoken again where it went wrong.

What is given away is never taken back, so that a stream gives the same samples as a whole. Where a piece goes wrong it
is spoken again with another seed, from the last frame on that was sound; what is given away always is.

    frames   [ given away | held back: a loop long ]
    a loop   [ sound          |  repeats itself    ]
"""

from __future__ import annotations

import hashlib
import logging
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from unison.inference.pieces import Room
from unison.inference.repetition import Repetition

ATTEMPTS = 4
"""How often a piece is spoken at most."""

Frame = tuple[int, ...]

log = logging.getLogger(__name__)


@dataclass
class Heard:
    """What a few tokens more have brought."""

    frames: list[Frame] = field(default_factory=list)
    """Frames that stay, those that follow what was given before."""
    ended: str | None = None
    """The text of the piece that they end."""
    seed: int = 0
    """Another seed of that piece, for what follows the first stage."""
    unwanted: bool = False
    """The decoding goes on for nothing: ask for the next."""


@dataclass
class _Piece:
    """A piece that is being spoken."""

    text: str
    tokens: list[int]
    """Of its text and, before it, of the text that is carried over."""
    carried: list[Frame]
    """Frames of the text that is carried over."""
    expected: int
    plausible: int
    bound: int
    early: bool
    """Whether frames are given away before it ends."""
    narrow: bool
    """Whether the window is what bounds it."""
    number: int
    attempt: int = 0
    frames: list[Frame] = field(default_factory=list)
    given: int = 0
    """How many of the frames have been given away."""


class Monologue:
    """The pieces of one request, spoken one after the other."""

    def __init__(self, texts: list[str], room: Room, seed: int, early: bool, again: bool = True) -> None:
        """Speak `texts`, which `room` cut.

        Args:
            texts: the pieces.
            room: what the voice can hold.
            seed: the request's.
            early: give frames away before a piece ends.
            again: whether another seed can make a difference.
        """
        self._texts = deque(texts)
        self._waiting = room.expected_of(texts)
        """Frames that are expected of texts not begun."""
        self._room, self._seed, self._early, self._again = room, seed, early, again
        self._before: tuple[str, list[Frame]] | None = None
        """The piece that was spoken last."""
        self._count = 0
        self._partial: list[int] = []
        self._watch = Repetition(room.frame_rate)
        self.retries: list[dict[str, Any]] = []
        """What went wrong: which text, after how many seconds, why, and what became of it."""
        self._piece: _Piece | None = None
        self._begin()

    @property
    def done(self) -> bool:
        """Whether all is spoken."""
        return self._piece is None

    @property
    def pieces(self) -> int:
        """How many pieces have been begun."""
        return self._count

    @property
    def left(self) -> int:
        """Tokens that are still expected."""
        frames = self._waiting
        if self._piece is not None:
            frames += max(self._piece.expected - len(self._piece.frames), 1)
        return frames * self._room.layout.codebooks

    def prompt(self) -> tuple[list[int], int, int]:
        """What is to be decoded next: tokens to go on from, how many more at most, and the seed."""
        piece, layout = self._spoken, self._room.layout
        tokens = layout.text(piece.tokens)
        for frame in (*piece.carried, *piece.frames):
            tokens += [code + book * layout.codebook_size for book, code in enumerate(frame)]
        # the end of the audio is a token as well
        most = (piece.bound - len(piece.frames)) * layout.codebooks + 1
        return tokens, most, self._seed_of(piece)

    def hear(self, tokens: list[int], done: bool, stopped: bool) -> Heard:
        """Go on with tokens that were decoded; `done` says that no more come, `stopped` that the model ended it."""
        piece, layout = self._spoken, self._room.layout
        self._partial += tokens
        while len(self._partial) >= layout.codebooks:
            taken, self._partial = self._partial[: layout.codebooks], self._partial[layout.codebooks :]
            frame = tuple(token - book * layout.codebook_size for book, token in enumerate(taken))
            piece.frames.append(frame)
            if self._watch.add(frame):
                return self._wrong("it repeats itself", len(piece.frames) - self._watch.length, not done)
        if stopped and piece.frames:
            return self._end(len(piece.frames))
        if stopped:
            return self._wrong("nothing is said", 0, False)
        if done and piece.narrow and not piece.given and (halves := self._room.halves(piece.text))[1:]:
            self._report("it fills the model's window", "cut in two")
            self._texts.extendleft(reversed(halves))
            self._waiting += self._room.expected_of(halves)
            self._begin()
            return Heard()
        if done:
            return self._wrong("it finds no end", piece.plausible, False)
        return Heard(self._give(min(len(piece.frames) - self._watch.length, piece.plausible)) if piece.early else [])

    @property
    def _spoken(self) -> _Piece:
        assert self._piece is not None, "all is spoken"
        return self._piece

    def _begin(self) -> None:
        """The next piece, with the one before as its beginning where there is room for it."""
        self._piece = None
        if not self._texts:
            return
        text, room = self._texts.popleft(), self._room
        own = room.encode(text)
        self._waiting -= room.expected(len(own))
        tokens, carried, bound = own, list[Frame](), room.bound(len(own))
        if self._before is not None:
            before, frames = self._before
            both = room.encode(f"{before} {text}")
            seconds = (len(frames) + room.expected(len(own))) / room.frame_rate
            if seconds <= room.longest_seconds and len(frames) + bound <= room.frames(len(both)):
                tokens, carried = both, frames
        most = room.frames(len(tokens)) - len(carried)
        self._piece = _Piece(
            text=text,
            tokens=tokens,
            carried=carried,
            expected=room.expected(len(own)),
            plausible=min(room.plausible(len(own)), most),
            bound=min(bound, most),
            # what might have to be cut in two is not given away before it ends
            early=self._early and bound <= most,
            narrow=most < bound,
            number=self._count,
        )
        self._count += 1
        self._listen_anew()

    def _give(self, until: int) -> list[Frame]:
        piece = self._spoken
        frames = piece.frames[piece.given : max(until, piece.given)]
        piece.given += len(frames)
        return frames

    def _end(self, until: int, ended_well: bool = True) -> Heard:
        """The piece ends with so many frames."""
        piece, frames = self._spoken, self._give(until)
        self._before = (piece.text, piece.frames[:until]) if ended_well else None
        heard = Heard(frames, piece.text, _derived(self._seed, piece.number, "second stage"))
        self._begin()
        return heard

    def _wrong(self, why: str, sound: int, running: bool) -> Heard:
        """Speak again: from the frames on that were `sound`, or a piece of which nothing is given away from its start.

        After the last attempt what was sound stays.
        """
        piece = self._spoken
        if self._again and piece.attempt + 1 < ATTEMPTS:
            self._report(why, "spoken again")
            piece.attempt += 1
            heard = Heard(self._give(sound) if piece.early else [])
            del piece.frames[piece.given :]
            self._listen_anew()
        else:
            self._report(why, "cut there")
            heard = self._end(sound, ended_well=False)
        heard.unwanted = running
        return heard

    def _report(self, why: str, done: str) -> None:
        piece = self._spoken
        after = round(len(piece.frames) / self._room.frame_rate, 2)
        self.retries.append({"text": piece.text, "after_seconds": after, "why": why, "done": done})
        log.warning("%r: %s after %.2f s; %s", piece.text, why, after, done)

    def _listen_anew(self) -> None:
        self._partial, self._watch = [], Repetition(self._room.frame_rate)
        for frame in self._spoken.frames:
            self._watch.add(frame)

    def _seed_of(self, piece: _Piece) -> int:
        first = not piece.number and not piece.attempt
        return self._seed if first else _derived(self._seed, piece.number, piece.attempt)


def _derived(seed: int, *names: object) -> int:
    """Another seed below 2**63, the same for the same names."""
    text = "/".join(map(str, (seed, *names)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
