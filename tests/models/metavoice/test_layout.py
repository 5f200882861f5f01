"""The numbering of tokens: there and back, what may come where, and what is refused."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from unison.models.metavoice.layout import StageTokenizer, TokenLayout

FIRST, SECOND = TokenLayout(1024, 2, 512), TokenLayout(1024, 1, 512)


def test_the_released_stages() -> None:
    assert (FIRST.end, FIRST.text_offset, FIRST.text_end, FIRST.size) == (2048, 2049, 2561, 2562)
    assert (SECOND.end, SECOND.text_offset, SECOND.text_end, SECOND.size) == (1024, 1025, 1537, 1538)


def test_frames_follow_each_other() -> None:
    codes = torch.tensor([[1, 2, 3], [10, 20, 30]])
    assert FIRST.flatten(codes).tolist() == [1, 1034, 2, 1044, 3, 1054]
    with pytest.raises(ValueError, match=r"\[3, 3\]: expected \[2, T\]"):
        FIRST.flatten(torch.zeros(3, 3, dtype=torch.long))


@given(st.integers(1, 9), st.integers(1, 4), st.integers(0, 5), st.data())
def test_there_and_back(size: int, codebooks: int, frames: int, data: st.DataObject) -> None:
    layout = TokenLayout(size, codebooks, 3)
    values = data.draw(st.lists(st.integers(0, size - 1), min_size=codebooks * frames, max_size=codebooks * frames))
    codes = torch.tensor(values, dtype=torch.long).view(codebooks, frames)
    tokens = layout.flatten(codes)
    assert torch.equal(layout.unflatten(tokens), codes)
    assert all(bool(layout.allowed(i % codebooks, -1)[token]) for i, token in enumerate(tokens.tolist()))
    assert layout.due(torch.cat((torch.tensor(layout.text([0, 2])), tokens[: len(tokens) // 2]))) == (
        len(tokens) // 2 % codebooks
    )


def test_a_frame_that_is_cut_short_is_dropped() -> None:
    assert FIRST.unflatten(torch.tensor([1, 1034, 2])).tolist() == [[1], [10]]


@pytest.mark.parametrize("tokens", [[1, 2], [1034, 1], [1, 2048], [1, 1034, 1, 2561]])
def test_a_token_out_of_order_is_never_taken_for_a_code(tokens: list[int]) -> None:
    with pytest.raises(ValueError, match="is no code of codebook"):
        FIRST.unflatten(torch.tensor(tokens))


def test_what_may_come() -> None:
    assert FIRST.allowed(0, 2048).nonzero().flatten().tolist() == [*range(1024), 2048]
    assert FIRST.allowed(1, 2048).nonzero().flatten().tolist() == [*range(1024, 2048)]
    assert FIRST.allowed(0, -1).nonzero().flatten().tolist() == [*range(1024)]


def test_texts() -> None:
    class Letters:
        def encode(self, text: str) -> list[int]:
            return [ord(letter) - ord("a") for letter in text]

    assert StageTokenizer(Letters(), FIRST).encode("abc") == [2049, 2050, 2051, 2561]
    assert StageTokenizer(Letters(), SECOND).encode("abc") == [1025, 1026, 1027, 1537]
    with pytest.raises(ValueError, match=r"text tokens \[512\]: expected 0 to 511"):
        FIRST.text([3, 512])
