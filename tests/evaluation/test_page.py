"""The page in a browser: its players play, its pictures are there, and it asks for nothing outside itself."""

from __future__ import annotations

import base64
import io
import json
import re
import shutil
import subprocess
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from matplotlib.image import imread

from unison.evaluation.page import render
from unison.evaluation.pictures import Curve, chart, difference_picture, mel_picture, ticks, wav

from .conftest import LINES, Compared

LOOK = """
<script>
// waits for every player, then tells what a visitor finds
const failures = [];
window.addEventListener("error", event => failures.push(String(event.message)));
document.addEventListener("securitypolicyviolation", event => failures.push("asks for " + event.blockedURI));
const ready = [...document.querySelectorAll("audio")].map(player => new Promise(done => {
  if (player.readyState >= 1) return done();
  player.addEventListener("loadedmetadata", done);
  player.addEventListener("error", done);
  player.load();
}));
Promise.all(ready).then(async () => {
  const players = [...document.querySelectorAll("audio")];
  const found = {
    players: players.map(player => [player.readyState >= 1 && player.controls ? player.duration : null,
                                    player.getBoundingClientRect().width]),
    pictures: [...document.images].map(image => [image.naturalWidth, image.naturalHeight, image.clientHeight]),
    curves: [...document.querySelectorAll("svg polyline")].map(line => line.getTotalLength()),
    wider: document.documentElement.scrollWidth > document.documentElement.clientWidth,
    failures,
  };
  // one player at a time, the second from where the first was
  const [first, second] = players;
  second.muted = first.muted = true;
  first.currentTime = 0.1;
  await first.play();
  await second.play();
  await new Promise(done => setTimeout(done, 50));
  found.handover = [first.paused, second.paused, second.currentTime];
  return found;
}).catch(error => ({failures: [String(error)]})).then(found => console.log("FOUND" + JSON.stringify(found) + "END"));
</script>
"""
NOTHING_OUTSIDE = (
    '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; img-src data:; media-src data:;'
    " style-src 'unsafe-inline'; script-src 'unsafe-inline'\">"
)


@pytest.fixture(scope="session")
def browser() -> str:
    """A Chromium to be found on this machine."""
    for name in ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable"):
        if found := shutil.which(name):
            return found
    pytest.skip("no Chromium on this machine: apt-get install chromium")


def visit(browser: str, page: Path, folder: Path, *flags: str) -> dict[str, Any]:
    """What a visitor of the page finds."""
    copy = folder / "copy.html"
    text = page.read_text(encoding="utf-8")
    copy.write_text(text.replace("<head>", "<head>" + NOTHING_OUTSIDE, 1).replace("</body>", LOOK + "</body>"), "utf-8")
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]
    command += ["--autoplay-policy=no-user-gesture-required", f"--user-data-dir={folder / 'profile'}", *flags]
    # the page's console comes out here; --dump-dom would not wait for the players
    command += ["--enable-logging=stderr", copy.as_uri()]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, encoding="utf-8") as process:
        late = threading.Timer(100, process.kill)
        late.start()
        assert process.stderr
        found, said = None, []
        for line in process.stderr:
            said.append(line)
            if found := re.search(r"FOUND(.*)END", line):
                break
        late.cancel()
        process.kill()
    assert found, "".join(said[-20:])
    seen: dict[str, Any] = json.loads(found[1])
    return seen


def test_in_a_browser(browser: str, compared: Compared, tmp_path: Path) -> None:
    seen = visit(browser, compared.page, tmp_path, "--window-size=1280,900")
    assert seen["failures"] == []
    variants = [compared.figures["reference"], *compared.figures["variants"]]
    seconds = [variant["texts"][i]["seconds"] for i in range(len(LINES)) for variant in variants]
    assert [duration for duration, _ in seen["players"]] == pytest.approx(seconds, abs=0.02)
    assert all(width > 150 for _, width in seen["players"])
    # each of three has a mel, two of them a difference
    assert len(seen["pictures"]) == 5 * len(LINES)
    assert all(width > 10 and height == 80 and shown > 50 for width, height, shown in seen["pictures"])
    assert len(seen["curves"]) >= 2 * 3
    assert all(length > 100 for length in seen["curves"])
    assert not seen["wider"]
    first_paused, second_paused, position = seen["handover"]
    assert first_paused
    assert not second_paused
    assert position >= 0.1


def test_on_a_telephone(browser: str, compared: Compared, tmp_path: Path) -> None:
    seen = visit(browser, compared.page, tmp_path, "--window-size=500,900")
    assert not seen["wider"]
    assert all(width > 150 for _, width in seen["players"])


def test_it_needs_nothing_beside_it(compared: Compared) -> None:
    addresses = re.findall(r'(?:src|href|poster|action)\s*=\s*"([^"]*)"|url\(([^)]*)\)|@import', compared.html)
    assert addresses
    assert all(quoted.startswith("data:") and not url for quoted, url in addresses)
    assert "http" not in re.sub(r"base64,[^\"]*", "", compared.html)


def test_texts_are_text(compared: Compared) -> None:
    report = replace(compared.report, texts=[{**text, "text": "a </main><b>&"} for text in compared.report.texts])
    page = render(report, [])
    assert "</main><b>" not in page
    assert "<audio" not in page
    assert '<section id="verdict">' in page


# -- pictures ----------------------------------------------------------------------------------------------------------


def content(address: str, kind: str) -> io.BytesIO:
    assert address.startswith(f"data:{kind};base64,")
    return io.BytesIO(base64.b64decode(address.partition(",")[2]))


def test_wav() -> None:
    samples = np.array([0.0, 0.5, -0.5, 1.0, -1.0, 2.0], np.float32)
    found, rate = soundfile.read(content(wav(samples, 22050), "audio/wav"), dtype="int16")
    assert rate == 22050
    assert found.tolist() == [0, 16384, -16384, 32767, -32767, 32767]


def test_mel_picture() -> None:
    mel = np.full((20, 8), -5.0)
    mel[3, 6] = 1.0
    picture = imread(content(mel_picture(mel, -5.0, 1.0), "image/png"))
    assert picture.shape == (8, 20, 4)
    brightness = picture[..., :3].sum(-1)
    # time goes to the right, frequency up
    assert np.unravel_index(brightness.argmax(), brightness.shape) == (8 - 1 - 6, 3)
    assert mel_picture(np.zeros((5000, 8)), 0.0, 0.0).startswith("data:image/png")
    assert imread(content(mel_picture(np.zeros((5000, 8)), 0, 1), "image/png")).shape == (8, 1000, 4)


def test_difference_picture() -> None:
    difference = np.zeros((3, 4))
    difference[0, 0], difference[1, 0], difference[2, 0] = 0.5, -0.25, 9.0
    picture = imread(content(difference_picture(difference, 0.5), "image/png"))
    louder, softer, beyond = picture[3]
    assert louder[3] == beyond[3] == 1.0
    assert softer[3] == pytest.approx(0.5, abs=0.01)
    assert louder[0] > louder[2]
    assert softer[2] > softer[0]
    assert not picture[:3, :, 3].any()


def test_chart() -> None:
    curves = [Curve("a & b", "red", [0.0, 1.0, np.nan, 0.5]), Curve("c", "blue", [-0.2, 0.0, 0.0, 0.0])]
    svg = chart("distance", [1.0, 3.0, 5.0, 7.0], curves, limit=2.0)
    lines = [
        [tuple(map(float, point.split(","))) for point in line.split()] for line in re.findall(r'points="([^"]*)"', svg)
    ]
    assert [len(line) for line in lines] == [2, 1, 4]  # broken where there is no value
    (x0, y0), (x1, y1) = lines[0]
    (x3, y3) = lines[1][0]
    assert x3 - x1 == pytest.approx(2 * (x1 - x0), abs=0.2)
    assert y0 - y1 == pytest.approx(2 * (y3 - y1), abs=0.2)
    assert y1 < y0
    limit = re.search(r'class="limit"[^>]*y1="([\d.]+)"', svg)
    assert limit
    assert y0 - float(limit[1]) == pytest.approx(2 * (y0 - y1), abs=0.2)
    assert "<title>a &amp; b, 3.0 s: 1</title>" in svg
    assert chart("nothing", [1.0, 3.0], [Curve("a", "red", [np.nan, np.nan])])


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 1, [0, 0.5, 1.0]),
        (0, 0.3, [0, 0.1, 0.2, 0.3]),
        (0, 7, [0, 2, 4, 6, 8]),
        (-0.2, 2, [-1, 0, 1, 2]),
        (0, 100, [0, 50, 100]),
        (0, 0.04, [0, 0.01, 0.02, 0.03, 0.04]),
    ],
)
def test_ticks(low: float, high: float, expected: list[float]) -> None:
    assert ticks(low, high, 4) == pytest.approx(expected)
