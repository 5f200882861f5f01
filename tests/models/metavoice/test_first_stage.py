"""The causal model and its decoding, against the reference and against decoding without a cache."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from unison.compilation import compile_module
from unison.config.compilation import CompileConfig
from unison.models.metavoice import Decoder, FirstStage, FirstStageConfig, Piece, Request
from unison.models.metavoice import cache as cache_module
from unison.models.metavoice.blocks import Linear, _orders, project
from unison.precision import PrecisionPolicy

ON = CompileConfig("default", "error")


def relative(found: Tensor, expected: Tensor) -> float:
    """The largest difference, in units of the largest value."""
    return float((found - expected).abs().max() / expected.abs().max())


def greedy_request(golden: dict[str, Any], **settings: Any) -> Request:
    given: dict[str, Any] = {"guidance": 3.0, "temperature": 0, "max_new_tokens": 32, "ordered": False, **settings}
    return Request(tokens=golden["first"]["token_ids"], speaker=golden["speaker"]["embedding"], **given)


@pytest.fixture
def other_requests(first: FirstStage) -> list[Request]:
    """Requests of other lengths, voices and settings than the golden one."""
    torch.manual_seed(5)
    layout = first.layout
    voices = torch.randn(4, 256)
    text = torch.tensor(layout.text([3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7, 9]))
    codes = layout.flatten(torch.randint(0, layout.codebook_size, (2, 6)))
    return [
        Request(tokens=text, speaker=voices[0], guidance=2.0, seed=1, max_new_tokens=21),
        Request(tokens=text[-3:], speaker=voices[1], guidance=1.0, temperature=0.8, top_p=None, top_k=40, seed=2),
        Request(tokens=torch.cat((text, codes)), speaker=None, top_p=0.8, seed=3, max_new_tokens=50),
        Request(tokens=text[-5:], speaker=voices[3], guidance=4.0, temperature=1.3, seed=4, max_new_tokens=9),
    ]


@torch.inference_mode()
def decoded_without_a_cache(model: FirstStage, request: Request, steps: int) -> list[int]:
    """The likeliest tokens, from all of what is before, each time anew."""
    tokens = request.tokens
    assert request.speaker is not None
    for _ in range(steps):
        guided, free = model.logits(tokens[None], request.speaker[None])[0, -1], model.logits(tokens[None])[0, -1]
        chosen = (request.guidance * guided + (1 - request.guidance) * free).argmax()
        tokens = torch.cat((tokens, chosen[None]))
    return tokens[-steps:].tolist()


# -- the reference -----------------------------------------------------------------------------------------------------


def test_parameters_at_the_released_size() -> None:
    with torch.device("meta"):
        model = FirstStage(FirstStageConfig(), codebook_size=1024, speaker_dim=256)
    counts = {name: parameter.numel() for name, parameter in model.named_parameters()}
    assert sum(counts.values()) - counts["positions.weight"] == 1_238_996_992
    assert sum(count for name, count in counts.items() if name.startswith("blocks.23.")) == 51_384_320


def test_tokens(first: FirstStage, golden: dict[str, Any]) -> None:
    assert first.tokenizer is not None
    assert first.tokenizer.encode(golden["text"]) == golden["first"]["token_ids"].tolist()


@torch.inference_mode()
def test_logits(first: FirstStage, golden: dict[str, Any]) -> None:
    tokens, speaker = golden["first"]["token_ids"][None], golden["speaker"]["embedding"][None]
    assert relative(first.logits(tokens, speaker)[0, -1], golden["first"]["logits_cond"]) < 1e-4
    assert relative(first.logits(tokens, None)[0, -1], golden["first"]["logits_uncond"]) < 1e-4


def test_the_greedy_tokens(first: FirstStage, golden: dict[str, Any]) -> None:
    expected = golden["first"]["greedy_tokens"].tolist()
    asked = {"guidance": 3.0, "temperature": 0, "max_new_tokens": 32}
    found = first.generate(golden["first"]["token_ids"], golden["speaker"]["embedding"], **asked)
    assert found.tolist() == expected
    assert decoded_without_a_cache(first, greedy_request(golden), 32) == expected


@pytest.mark.usefixtures("_forget")
@pytest.mark.parametrize("backend", ["aot_eager", pytest.param("inductor", marks=pytest.mark.slow)])
def test_the_greedy_tokens_compiled(first: FirstStage, golden: dict[str, Any], backend: str) -> None:
    compilation = compile_module(first, ON, backend)
    expected = golden["first"]["greedy_tokens"].tolist()
    assert Decoder(first).decode([greedy_request(golden)])[0].tokens == expected
    assert decoded_without_a_cache(first, greedy_request(golden), 32) == expected
    assert compilation.ran == "default"


def test_the_greedy_tokens_among_other_requests(
    first: FirstStage, golden: dict[str, Any], other_requests: list[Request]
) -> None:
    requests = [*other_requests[:2], greedy_request(golden), *other_requests[2:]]
    assert Decoder(first).decode(requests)[2].tokens == golden["first"]["greedy_tokens"].tolist()


# -- many requests -----------------------------------------------------------------------------------------------------


def test_alone_or_in_a_batch(first: FirstStage, other_requests: list[Request]) -> None:
    decoder = Decoder(first)
    together = decoder.decode(other_requests)
    assert together == [
        Piece(i, piece.tokens, piece.done, piece.stopped)
        for i, request in enumerate(other_requests)
        for piece in decoder.decode([request])
    ]
    backwards = decoder.decode(other_requests[::-1])
    assert [piece.tokens for piece in backwards[::-1]] == [piece.tokens for piece in together]


@pytest.mark.skipif(not _orders(), reason="this processor computes no products in bfloat16")
@pytest.mark.parametrize("precision", ["bf16-mixed", "bf16-true"])
def test_alone_or_in_a_batch_in_bfloat16(precision: str) -> None:
    """Roundings that would differ with the others' number and lengths would soon be other tokens."""
    torch.manual_seed(0)
    sizes = FirstStageConfig(layers=1, heads=2, hidden=2048, ffn_multiple=16, max_positions=400, text_tokens=50)
    policy = PrecisionPolicy(precision, precision, "cpu")
    model = policy.cast(FirstStage(sizes, codebook_size=60, speaker_dim=8).eval()).requires_grad_(False)
    for weight in model.blocks.parameters():
        if weight.dim() == 2:
            nn.init.normal_(weight, std=0.04)
    requests = [
        Request(
            tokens=torch.tensor(model.layout.text([(7 * j) % 50 for j in range(1 + 11 * (i // 2))])),
            speaker=torch.randn(8), guidance=1.0 + i % 3, seed=i, max_new_tokens=50,
        )
        for i in range(12)
    ]  # fmt: skip
    decoder = Decoder(model, policy)
    alone = [decoder.decode([request])[0].tokens for request in requests]
    assert sum(map(len, alone)) > 300
    for size in (12, 5, 2):
        together = [piece.tokens for i in range(0, 12, size) for piece in decoder.decode(requests[i : i + size])]
        assert together == alone


def test_a_seed_decides(first: FirstStage, golden: dict[str, Any]) -> None:
    sampled = {"temperature": 1.0, "max_new_tokens": 24}
    one, same, other = (
        Decoder(first).decode([greedy_request(golden, seed=seed, **sampled)])[0].tokens for seed in (1, 1, 2)
    )
    assert one == same != other


@pytest.mark.parametrize("size", [1, 5, 64])
def test_pieces_say_what_the_whole_says(first: FirstStage, other_requests: list[Request], size: int) -> None:
    """However many tokens a piece has; pieces of one request come in order, and the last one says so."""
    whole = Decoder(first).decode(other_requests)
    heard: dict[int, list[Piece]] = {}
    for piece in Decoder(first, piece=size).stream(other_requests):
        heard.setdefault(piece.request, []).append(piece)
        assert len(piece.tokens) <= size
    for i, pieces in heard.items():
        assert [token for piece in pieces for token in piece.tokens] == whole[i].tokens
        assert [piece.done for piece in pieces] == [False] * (len(pieces) - 1) + [True]
        assert pieces[-1].stopped == whole[i].stopped


def test_requests_that_are_done_leave(first: FirstStage, other_requests: list[Request]) -> None:
    """The batch becomes smaller, and places that the longest alone had are forgotten."""
    seen: list[tuple[int, int, int]] = []

    def look(_: Any, inputs: Any) -> None:
        seen.append((inputs[0].shape[0], inputs[0].shape[1], inputs[2].shape[3]))

    longest = Request(tokens=torch.arange(100, 200), speaker=None, guidance=1, seed=9, max_new_tokens=2)
    with first.blocks[0].register_forward_pre_hook(look):
        Decoder(first, piece=4).decode([longest, *other_requests[:1]])
    prompts, steps = seen[:2], seen[2:]
    assert prompts == [(2, 16, 16), (1, 100, 100)], "those of one length at a time: a row each, and one without speaker"
    rows, lengths, live = zip(*steps, strict=True)
    assert set(lengths) == {1}
    assert set(rows[:4]) == {3}
    assert set(live[:4]) == {128}
    assert set(rows[4:]) == {2}
    assert set(live[4:]) == {32, 64}


def test_a_reader_may_have_enough(first: FirstStage, other_requests: list[Request]) -> None:
    alone = Decoder(first).decode([other_requests[2]])[0]
    found: dict[int, list[int]] = {0: [], 1: []}
    for piece in Decoder(first, piece=4).stream([other_requests[0], other_requests[2]]):
        found[piece.request] += piece.tokens
        piece.unwanted = piece.request == 0
    assert len(found[0]) == 4
    assert found[1] == alone.tokens


def test_who_leaves_changes_no_dtype(first: FirstStage, other_requests: list[Request]) -> None:
    """Speakers are told in the dtype that autocast gives, also after another request has left."""
    policy = PrecisionPolicy("bf16-mixed", "bf16-mixed", "cpu")
    dtypes: list[torch.dtype] = []
    projected = first.projected

    def look(speakers: Tensor) -> Tensor:
        dtypes.append((told := projected(speakers)).dtype)
        return told

    first.projected = look  # type: ignore[method-assign]
    for piece in Decoder(first, policy, piece=4).stream([other_requests[0], other_requests[2]]):
        piece.unwanted = piece.request == 0
    assert len(dtypes) > 1
    assert set(dtypes) == {torch.bfloat16}


def test_the_second_row_is_dropped_without_guidance(first: FirstStage, golden: dict[str, Any]) -> None:
    rows: set[int] = set()
    with first.blocks[0].register_forward_pre_hook(lambda _, inputs: rows.add(inputs[0].shape[0])):
        plain = Decoder(first).decode([greedy_request(golden, guidance=1.0, max_new_tokens=5)])
    assert rows == {1}
    speaker, tokens = golden["speaker"]["embedding"], golden["first"]["token_ids"]
    assert plain[0].tokens == decoded_without_a_cache(first, Request(tokens=tokens, speaker=speaker, guidance=1.0), 5)


def test_a_cache_that_grows(first: FirstStage, golden: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    request = greedy_request(golden, max_new_tokens=90)
    expected = Decoder(first).decode([request])
    monkeypatch.setattr(cache_module, "SMALLEST", 8)
    assert Decoder(first).decode([request]) == expected


# -- ends --------------------------------------------------------------------------------------------------------------


def test_a_stop_token_ends(first: FirstStage, golden: dict[str, Any]) -> None:
    expected = golden["first"]["greedy_tokens"].tolist()
    stop = expected[6]
    (found,) = Decoder(first).decode([greedy_request(golden, stop_token=stop)])
    assert found == Piece(0, expected[: expected.index(stop)], True, True)


def test_the_window_ends(first: FirstStage, golden: dict[str, Any]) -> None:
    (found,) = Decoder(first).decode([greedy_request(golden, max_new_tokens=None, stop_token=-1)])
    assert (found.done, found.stopped) == (True, False)
    assert len(found.tokens) + len(golden["first"]["token_ids"]) == first.config.max_positions
    for temperature in (0, 1):
        (nothing,) = Decoder(first).decode([greedy_request(golden, max_new_tokens=0, temperature=temperature)])
        assert nothing == Piece(0, [], True, False)
    assert Decoder(first).decode([]) == []


@pytest.mark.parametrize("length", [0, 256, 300])
def test_a_prompt_that_leaves_no_room(first: FirstStage, length: int) -> None:
    request = Request(tokens=torch.zeros(length, dtype=torch.long))
    with pytest.raises(ValueError, match=f"a prompt of {length} tokens; expected 1 to 255"):
        Decoder(first).decode([request])
    if length > 256:
        with pytest.raises(ValueError, match="300 tokens; the model has 256 positions"):
            first.logits(request.tokens[None])


def test_what_is_no_prompt(first: FirstStage, golden: dict[str, Any]) -> None:
    tokens = golden["first"]["token_ids"]
    for wrong, said in (
        ({"tokens": tokens[None]}, r"of shape \[1, \d+\]; expected \[T\]"),
        ({"tokens": torch.tensor([99999])}, "tokens beyond the model's"),
        ({"tokens": tokens, "speaker": torch.zeros(10)}, r"a speaker of shape \[10\]; expected \[256\]"),
        ({"tokens": tokens, "max_new_tokens": -3}, "max_new_tokens=-3: expected 0 or more"),
    ):
        with pytest.raises(ValueError, match=said):
            Decoder(first).decode([Request(**wrong)])


def test_codebooks_come_in_order(first: FirstStage, other_requests: list[Request]) -> None:
    """Also when going on from the middle of a frame; the end comes only between frames."""
    codes = first.layout.flatten(torch.tensor([[5], [6]]))
    half = Request(tokens=torch.cat((other_requests[0].tokens, codes[:1])), seed=8, max_new_tokens=31)
    with torch.no_grad():
        first.embedding.weight[first.layout.end] *= 8  # so that it comes now and then
    found = Decoder(first).decode([*other_requests, half])
    for piece, before in zip(found, [[], [], [], [], [5]], strict=True):
        tokens = [*before, *piece.tokens]
        assert first.layout.unflatten(torch.tensor(tokens, dtype=torch.long)).shape == (2, len(tokens) // 2)
        assert not piece.stopped or len(tokens) % 2 == 0
    assert any(piece.stopped for piece in found)


# -- training ----------------------------------------------------------------------------------------------------------


def small(**sizes: Any) -> FirstStage:
    torch.manual_seed(0)
    config = FirstStageConfig(**{"layers": 2, "heads": 2, "hidden": 16, "ffn_multiple": 8, "text_tokens": 5, **sizes})
    return FirstStage(config, codebook_size=7, speaker_dim=4)


def test_nothing_sees_what_comes_later() -> None:
    model = small(dropout=0.0).eval()
    tokens, speaker = torch.randint(0, 14, (2, 9)), torch.randn(2, 4)
    changed = tokens.clone()
    changed[:, 6:] = 3
    torch.testing.assert_close(model(tokens, speaker)[:, :6], model(changed, speaker)[:, :6])


def test_speaker_dropout() -> None:
    model = small(dropout=0.0, speaker_dropout=0.5).train()
    tokens, speaker = torch.randint(0, 14, (1, 9)).expand(64, -1), torch.randn(1, 4).expand(64, -1)
    logits = model(tokens, speaker)
    told, untold = model.eval()(tokens[:1], speaker[:1]), model(tokens[:1], None)
    is_told, is_untold = (((logits - one).abs().amax((1, 2)) < 1e-5) for one in (told, untold))
    assert bool((is_told ^ is_untold).all())
    assert 16 < int(is_untold.sum()) < 48


def test_every_parameter_learns() -> None:
    model = small().train()
    model(torch.randint(0, 14, (2, 9)), torch.randn(2, 4)).square().mean().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.any(), name


def test_heads_must_divide() -> None:
    with pytest.raises(ValueError, match="hidden 16 is not a multiple of 3 heads"):
        small(heads=3)


@pytest.mark.parametrize("rows", [1, 2, 3, 4, 5, 9])
@torch.inference_mode()
def test_few_rows_are_projected_as_many_are(rows: int) -> None:
    layer = Linear(24, 40)
    x = torch.randn(rows, 1, 24)
    expected = nn.functional.linear(x, layer.weight)
    assert layer(x).is_contiguous()
    torch.testing.assert_close(layer(x), expected)
    torch.testing.assert_close(project(x.transpose(0, 1), layer.weight), expected.transpose(0, 1))


@pytest.mark.parametrize("rows", [1, 2, 33])
@pytest.mark.parametrize("held", [torch.float32, torch.bfloat16])
def test_few_rows_in_bfloat16(rows: int, held: torch.dtype) -> None:
    """Also when the weights have changed since, in place or for others."""
    layer = Linear(24, 40).requires_grad_(False)
    layer.weight.data = layer.weight.to(held)
    x = torch.randn(rows, 24).to(held)
    for change in (lambda: None, lambda: layer.weight.mul_(2), lambda: setattr(layer.weight, "data", -layer.weight)):
        with torch.no_grad():
            change()
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=held == torch.float32):
            found, expected = layer(x), nn.functional.linear(x, layer.weight)
        assert found.dtype == torch.bfloat16
        torch.testing.assert_close(found, expected)


def test_what_learns_is_projected_as_it_is_now() -> None:
    """Fused optimizers change weights without a trace."""
    layer = Linear(24, 40)
    optimizer = torch.optim.AdamW(layer.parameters(), lr=0.1, fused=True)
    for _ in range(2):
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
            torch.testing.assert_close(layer(torch.eye(24)[:2]).float(), layer.weight.t()[:2], atol=0.01, rtol=0.01)
        layer(torch.randn(5, 24)).square().sum().backward()
        optimizer.step()


def test_adapters_fit_its_layers(golden: dict[str, Any], first: FirstStage) -> None:
    peft = pytest.importorskip("peft")
    expected = golden["first"]["greedy_tokens"].tolist()
    adapted = copy.deepcopy(first)
    peft.inject_adapter_in_model(peft.LoraConfig(target_modules=["qkv", "out", "up", "down"], r=2), adapted)
    assert any("lora" in name for name, _ in adapted.named_parameters())
    assert Decoder(adapted.eval()).decode([greedy_request(golden)])[0].tokens == expected
    pytest.importorskip("triton")
    from unison.models.metavoice.kernels import fusable

    assert fusable(first.blocks)
    assert not fusable(adapted.blocks), "kernels would leave the adapters out"
