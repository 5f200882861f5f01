from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import example, given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from unison.config.overrides import as_lists, forbid, of_a_mix, open_mappings, quote_free_text, quote_words
from unison.errors import UnisonError

TEXTS = [
    "你好，世界",
    "Hello, world: it's 5 o'clock",
    "a\\b\"c'd",
    "${x}",
    "${oc.env:HOME}",
    "\\${x}",
    "\\\\${x}",
    "a ${",
    "${}",
    "$x ${a.b} } {",
    " leading and trailing ",
    "",
    "{x}[y](z)",
    "a=b, c:d",
    "choices(a,b)",
    "two\nlines\ttab",
    "'quoted'",
    '"quoted"',
    "\\",
    "\\\\",
    "ends in \\'",
    "it\\'s",
    "null",
    "true",
    "007",
    "1e3",
    "~x",
    "# no comment",
    "🙂 ﷽ é",
    "outputs/a b/step=3.ckpt",
    "????",
    "??",
    "--help",
]
ALPHABET = st.text(st.sampled_from("\\'\"${}[](),:=~+?#\n\t ax你") | st.characters(exclude_categories=["Cs"]))


@pytest.fixture(scope="module")
def parser() -> OverridesParser:
    return OverridesParser.create()


@pytest.fixture(scope="module")
def conf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("conf")
    (folder / "main.yaml").write_text("text: null\nx: 1\ndata:\n  raw: ''\n")
    return folder


def arrives(parser: OverridesParser, text: str) -> None:
    (quoted,) = quote_free_text([f"text={text}"], ["text"])
    override = parser.parse_override(quoted)
    assert not override.is_sweep_override()
    # the basic sweeper writes the value out and the job parses it again
    again = parser.parse_override("text=" + override.get_value_element_as_str())
    for value in (override.value(), again.value()):
        config = OmegaConf.create({"text": None, "x": 1, "echo": "${text}"})
        OmegaConf.update(config, "text", value)
        assert config.text == text
        assert OmegaConf.to_container(config, resolve=True)["text"] == text
        assert config.echo == text


@pytest.mark.parametrize("text", TEXTS)
def test_texts_arrive_as_typed(parser: OverridesParser, text: str) -> None:
    arrives(parser, text)


@settings(max_examples=300, deadline=None)
@given(ALPHABET)
@example("\\'\\${'")
def test_any_text_arrives_as_typed(text: str) -> None:
    if text != "???":
        arrives(OverridesParser.create(), text)


@pytest.mark.parametrize("text", TEXTS)
def test_through_compose(conf: Path, text: str) -> None:
    argv = [f"text={text}", f"data.raw={text}", f"+new={text}", f"++other={text}", "x=5"]
    with initialize_config_dir(str(conf), version_base="1.3"):
        config = compose("main", quote_free_text(argv, ["text", "data.raw", "new", "other"]))
    assert config.text == config.data.raw == config.new == config.other == text
    assert config.x == 5


def test_other_arguments_are_left_alone() -> None:
    argv = [
        "-m",
        "model=a,b",
        "text",
        "--config-dir=x y",
        "texts=a,b",
        "~text",
        "data.text=a,b",
        "optim.lr=1,2",
    ]
    assert quote_free_text(argv, ["text"]) == argv


def test_the_text_that_a_config_cannot_hold() -> None:
    with pytest.raises(UnisonError, match=r"text=\?\?\?: the config reads"):
        quote_free_text(["text=???"], ["text"])


def test_one_word_is_a_list_of_one() -> None:
    given = ["speakers=maria", "speakers=[a,b]", "speakers=a,b", "speakers=null", "speakers=", "out=a,b", "+speakers=c"]
    assert as_lists(given, {"speakers"}) == [
        "speakers=[maria]",
        "speakers=[a,b]",
        "speakers=[a,b]",
        "speakers=null",
        "speakers=",
        "out=a,b",
        "+speakers=[c]",
    ]
    assert as_lists(["speakers=a,b", "-m"], {"speakers"}) == ["speakers=a,b", "-m"]


def test_words_of_other_alphabets_are_quoted() -> None:
    given = [
        "speakers=[maria,张三,Ana María]", "speaker=é", "++labels={tono:[alegre,triste é]}", "speakers=['张三']",
        "data.x=a,b", "ü", "--config-dir=jürgen", "name=choice(ü,ä)",
    ]  # fmt: skip
    assert quote_words(given) == [
        "speakers=[maria,'张三','Ana María']", "speaker='é'", "++labels={tono:[alegre,'triste é']}",
        "speakers=['张三']", "data.x=a,b", "ü", "--config-dir=jürgen", "name=choice('ü','ä')",
    ]  # fmt: skip


def test_mappings_of_what_the_user_names() -> None:
    given = ["labels={emotion:[angry]}", "labels.emotion=[angry]", "+labels.x=[a]", "labelled=1"]
    assert open_mappings(given, {"labels"}) == [
        "++labels={emotion:[angry]}",
        "++labels.emotion=[angry]",
        "+labels.x=[a]",
        "labelled=1",
    ]


def test_forbidden_groups() -> None:
    argv = [
        "model=small",
        "model.hidden=3",
        "+data.x=1",
        "++audio.hop=2",
        "~audio",
        "data@extra=demo",
        "model/x=y",
    ]
    allowed = ["text=model=3", "ckpt=model", "models=1", "precision=32-true", "-m", "model", "modeler.x=1"]
    with pytest.raises(UnisonError) as caught:
        forbid([*argv, *allowed], ["model", "data", "audio"], "the checkpoint carries it")
    assert [problem.split(":")[0] for problem in caught.value.problems] == argv
    assert caught.value.problems[1] == "model.hidden=3: model can't be set here; the checkpoint carries it"
    forbid(allowed, ["model", "data", "audio"], "x")


APP = """
import json, sys
import hydra
from unison.config.overrides import quote_free_text
@hydra.main(version_base="1.3", config_path=sys.argv.pop(1), config_name="main")
def main(config):
    print(json.dumps([config.text, config.x]))
sys.argv[1:] = quote_free_text(sys.argv[1:], ["text"])
main()
"""


def test_a_sweep_does_not_split_the_text(conf: Path, tmp_path: Path) -> None:
    text = "Hello, world: it's ${5} o'clock\\'\n你好，世界 "
    outputs = [f"hydra.sweep.dir={tmp_path}", "hydra/job_logging=disabled", "hydra/hydra_logging=disabled"]
    command = [sys.executable, "-c", APP, str(conf), "-m", "x=1,2", f"text={text}", *outputs]
    out = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path).stdout
    assert [json.loads(line) for line in out.splitlines()] == [[text, 1], [text, 2]]


CHOICES = ["csv", "ljspeech", "vctk"]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("[ljspeech,vctk]", {"ljspeech": "ljspeech", "vctk": "vctk"}),
        ("[ vctk ]", {"vctk": "vctk"}),
        ("{calm:csv, glad: csv}", {"calm": "csv", "glad": "csv"}),
    ],
)
def test_corpora_of_a_mix_become_groups_under_their_names(given: str, expected: dict[str, str]) -> None:
    written = of_a_mix(["data=mix", f"data.corpora={given}", "seed=1"], CHOICES)
    packages = [f"+data@data.corpora.{name}={choice}" for name, choice in expected.items()]
    assert written == ["data=mix", *packages, "seed=1"]
    OverridesParser.create().parse_overrides(written)


@pytest.mark.parametrize("given", ["", "ljspeech", "[]", "{}", "[a b]", "{a:}", "[vctk,vctk]", "[vctk", "{a:b:c}"])
def test_what_is_no_list_of_corpora(given: str) -> None:
    with pytest.raises(UnisonError, match=r"expected names in brackets"):
        of_a_mix([f"data.corpora={given}"], CHOICES)


def test_every_unknown_corpus_of_a_mix_is_named() -> None:
    with pytest.raises(UnisonError) as caught:
        of_a_mix(["data.corpora={a:vtck,b:csv,c:nothing}"], CHOICES)
    first, second = caught.value.problems
    assert "vtck: no such choice of data; did you mean vctk?" in first
    assert "nothing: no such choice of data" in second


def test_stars_in_free_keys_stand_for_any_name() -> None:
    free = ("data.raw", "data.corpora.*.raw")
    given = ["data.corpora.a.raw=it's, here", "data.corpora.a.name=x", "data.raw={a}"]
    assert quote_free_text(given, free) == [
        "data.corpora.a.raw='it\\'s, here'",
        "data.corpora.a.name=x",
        "data.raw='{a}'",
    ]
