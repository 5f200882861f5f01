"""``unison text``."""

from __future__ import annotations

import json

import pytest

from unison.cli import main


def test_a_table_of_every_stage(capsys: pytest.CaptureFixture[str]) -> None:
    main(["text", "text=I read it, 他还钱<break 300ms>了 ж"])
    lines = capsys.readouterr().out.splitlines()
    assert "read" in lines[2]
    rows = {line.split()[0]: line for line in lines[4:] if line}
    assert "[R]" in rows["read"]
    assert "heteronym" in rows["read"]
    assert "h uan2" in rows["还"]
    assert "context" in rows["还"]
    assert "0.3 s" in rows["钱"]
    assert rows["warning"].endswith("left out")


def test_json(capsys: pytest.CaptureFixture[str]) -> None:
    main(["text", "text=<prosody rate=2>one</prosody>", "format=json", "frontend=english"])
    found = json.loads(capsys.readouterr().out)
    assert found["symbols"] == ["<sos/eos>", "[W]", "[AH1]", "[N]", "<sos/eos>"]
    assert found["words"][0]["prosody"] == {"rate": 2.0, "pitch": 0.0, "volume": 1.0}


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["text=one", "format=xml"], "format=xml: expected text or json"),
        (["text=one", "frontend=klingon"], "there is no text frontend 'klingon'"),
        (["text=...", "frontend=english"], "there is nothing to read in '...'"),
        (["text=one", "lexicon=none"], "lexicon=none: No such file"),
    ],
)
def test_refusals(arguments: list[str], problem: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["text", *arguments])
    assert ended.value.code == 2
    assert problem in capsys.readouterr().err
