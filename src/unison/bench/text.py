"""How fast frontends read: the first sentence from a cold start, and characters a second behind it."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

from unison.text import frontend

_TEXTS = {
    "mandarin": [
        "今天天气很好，我们去公园玩儿，他高兴地说：“这件事重要得很，我得走了。”",
        "中国科学院的研究人员最近发现了一种新的材料，价格只有原来的百分之二十。",
        "银行行长把钱还给了他们，还有两把雨伞和三个杯子放在桌子上。",
    ],
    "english": [
        "I read the book yesterday, and she will read it tomorrow; the lead singer refused to record it.",
        "Please close the door: the wind is strong, and they live close to the desert.",
        "The project manager will present the results of the experiment in about five minutes.",
    ],
}
_TEXTS["auto"] = [f"{chinese} {english}" for chinese, english in zip(*_TEXTS.values(), strict=True)]
_START = "import time; start = time.perf_counter()\nfrom unison.text import frontend\nfrontend({!r}).symbols({!r})\n"


def reading(repeats: int, name: str) -> dict[str, float]:
    """Seconds to the first symbols in a new process, imports included, and characters a second of new sentences."""
    starts = [_cold(name) for _ in range(repeats)]
    reads = frontend(name)
    reads.symbols(_TEXTS[name][0])
    rates = []
    for number in range(repeats):
        # another name in each, so that no text is read twice
        texts = [f"{text} {_word(name, 40 * number + i)}" for i in range(40) for text in _TEXTS[name]]
        begin = time.perf_counter()
        for text in texts:
            reads.symbols(text)
        rates.append(sum(map(len, texts)) / (time.perf_counter() - begin))
    return {"start_s": statistics.median(starts), "characters_per_s": statistics.median(rates)}


def _cold(name: str) -> float:
    code = _START.format(name, _TEXTS[name][0]) + "print(time.perf_counter() - start)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return float(done.stdout)


def _word(name: str, number: int) -> str:
    first, second = divmod(number, 20)
    return (
        chr(0x5000 + number) if name != "english" else f"B{'aeiou'[first % 5]}{'bdgklmnprstvz'[second % 13]}o{first}."
    )
