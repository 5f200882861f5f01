"""Miniatures of published corpora in exactly their layouts, each with entries that can't be used.

A function a layout writes one and says which entries are damaged, by key and reason.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import soundfile

from tests.conftest import voice_like

Damage = dict[str, str]
ENGLISH = ("Two birds sang.", "The old clock stopped.", "We walked home.", "Rain again.", "She laughed.", "One, two.")
MANDARIN = (
    ("你好#1世界#4。", "ni2 hao3 shi4 jie4"),
    ("世界#2你好#4。", "shi4 jie4 ni2 hao3"),
    ("你好#3，世界#4。", "ni3 hao3 shi4 jie4"),
    ("小孩儿#1玩儿#2水#4。", "xiao3 hair2 wanr2 shui3"),
    ("卡尔普#2陪外孙#1玩滑梯#4。", "ka2 er2 pu3 pei2 wai4 sun1 wan2 hua2 ti1"),
    ("好#1世界#4。", "hao3 shi4 jie4"),
)
"""Texts as DataBaker marks them, with their pinyin."""
DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def record(path: Path, hertz: float, words: int, rate: int, seed: int = 0) -> None:
    """A recording of so many words, long enough for their symbols."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, voice_like(hertz, 0.5 + 0.3 * words, rate, seed), rate)


def broken(path: Path) -> None:
    """A file that holds no sound."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"RIFF\0\0\0\0")


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def ljspeech(raw: Path) -> Damage:
    root = raw / "LJSpeech-1.1"
    lines = []
    for number, text in enumerate(ENGLISH, start=1):
        lines.append(f"LJ001-{number:04d}|{text}|{text}")
        record(root / f"wavs/LJ001-{number:04d}.wav", 220, len(text.split()), 22050, number)
    # a quotation mark that is never closed, a number, an accent, and no words for it
    lines.append("LJ002-0001|\"He had 2 hats, a raison d'être|\"He had two hats, a raison d'être")
    record(root / "wavs/LJ002-0001.wav", 220, 7, 22050)
    lines.append("LJ002-0002|Nothing more.|")
    record(root / "wavs/LJ002-0002.wav", 220, 2, 22050)
    lines += ["LJ003-0001|Gone.|Gone.", "LJ003-0002|Noise.|Noise.", "LJ003-0003", "LJ003-0004||"]
    broken(root / "wavs/LJ003-0002.wav")
    record(root / "wavs/LJ003-0004.wav", 220, 1, 22050)
    write(root / "metadata.csv", "\n".join(lines) + "\n")
    write(root / "README", "The LJ Speech Dataset\n")
    return {
        "LJ003-0001": "missing audio",
        "LJ003-0002": "unreadable",
        "LJ003-0003": "damaged line",
        "LJ003-0004": "no text",
    }


def vctk(raw: Path) -> Damage:
    root = raw / "VCTK-Corpus-0.92"
    audio, texts = root / "wav48_silence_trimmed", root / "txt"
    write(audio / "log.txt", "trimmed\n")
    write(
        root / "speaker-info.txt",
        "ID  AGE  GENDER  ACCENTS  REGION COMMENTS\np225  23  F    English    Southern  England\n",
    )
    for speaker, hertz in (("p225", 220), ("p280", 200), ("s5", 110)):
        for number, text in enumerate(ENGLISH, start=1):
            record(audio / f"{speaker}/{speaker}_{number:03d}_mic1.flac", hertz, len(text.split()), 48000, number)
            if speaker != "p280":  # the second microphone failed
                record(audio / f"{speaker}/{speaker}_{number:03d}_mic2.flac", hertz, len(text.split()), 48000, number)
            write(texts / f"{speaker}/{speaker}_{number:03d}.txt", text + "\n")
    record(audio / "p315/p315_001_mic1.flac", 110, 2, 48000)  # whose texts were lost
    write(texts / "p225/p225_007.txt", "Only the text.\n")
    record(audio / "p225/p225_008_mic2.flac", 220, 2, 48000)
    write(texts / "p225/p225_008.txt", "Only the second microphone.\n")
    record(audio / "p225/p225_009_mic1.flac", 220, 2, 48000)
    write(texts / "p225/p225_009.txt", " \n")
    record(audio / "p225/p225_010_mic1.flac", 220, 2, 48000)
    (texts / "p225/p225_010.txt").write_bytes(b"\xff\xfe\xff")
    record(audio / "p225/copy of p225_001.flac", 220, 2, 48000)
    record(audio / "p225/p225_011_mic1.flac", 220, 2, 48000)
    return {
        "p315_001": "known error",
        "p225_007": "missing audio",
        "p225_008": "missing audio",
        "p225_009": "no text",
        "p225_010": "unreadable text",
        "p225_011": "missing text",
        "copy of p225_001": "unexpected file name",
    }


def libritts(raw: Path, name: str = "LibriTTS_R") -> Damage:
    root = raw / name
    write(root / "speakers.tsv", "READER\tGENDER\tSUBSET\tNAME\n103\tF\ttrain-clean-100\tKaren Savage\n")
    for subset, speaker, hertz in (
        ("train-clean-100", "103", 220),
        ("train-other-500", "20", 110),
        ("dev-clean", "84", 150),
    ):
        for number, text in enumerate(ENGLISH):
            key = f"{speaker}_1241_000000_{number:06d}"
            file = root / subset / speaker / "1241" / key
            record(file.with_suffix(".wav"), hertz, len(text.split()), 24000, number)
            write(file.with_suffix(".normalized.txt"), text)
            write(file.with_suffix(".original.txt"), f"{text} (1)")
        write(root / subset / speaker / f"1241/{speaker}_1241.trans.tsv", "")
    chapter = root / "train-clean-100/103/1241"
    write(chapter / "103_1241_000001_000000.normalized.txt", "No sound.")
    record(chapter / "103_1241_000001_000001.wav", 220, 2, 24000)
    record(chapter / "103_1241_000001_000002.wav", 220, 2, 24000)
    write(chapter / "103_1241_000001_000002.normalized.txt", "It failed.")
    lists = root / "libritts_r_failed_speech_restoration_examples"
    write(lists / "train-clean-100_bad_sample_list.txt", "./train-clean-100/103/1241/103_1241_000001_000002.wav\n")
    return {
        "103_1241_000001_000000": "missing audio",
        "103_1241_000001_000001": "missing text",
        "103_1241_000001_000002": "failed restoration",
    }


def interleaved(marked: str, pinyin: str) -> str:
    """A line of content.txt: each character, or two with erhua, before its syllable."""
    from unison.prepare.corpora.pinyin import characters_of

    tokens: list[str] = []
    syllables = iter(pinyin.split())
    for character in characters_of(marked):
        if character == "儿" and tokens and tokens[-1][:-1].endswith("r") and tokens[-1] not in ("er2", "er5"):
            tokens[-2] += character
        else:
            tokens += [character, next(syllables)]
    return " ".join(tokens)


def aishell3(raw: Path) -> Damage:
    root = raw / "data_aishell3"
    write(root / "spk-info.txt", "# voice-file name; age group; gender; accent\nSSB0005\tB\tfemale\tnorth\n")
    contents, labels = [], ["# prosody labels", "# % ends a word", "# $ ends a phrase"]
    damaged = {
        "0101": ("你好#1世界#4。", "ni2 hao3 shi4"),
        "0102": ("你好#1世界#4。", "ni2 hao3 shi4 jxe4"),
        "0103": ("Ａ班#4。", "ban1"),
    }

    def add(key: str, marked: str, pinyin: str, hertz: float) -> None:
        bare = marked.replace("。", "").replace("，", "")
        contents.append(f"{key}.wav\t{interleaved(marked, pinyin)}")
        marks = bare.replace("#1", "%").replace("#2", "%").replace("#3", "$").replace("#4", "$")
        labels.append(f"{key}|{pinyin}|{marks}")
        record(root / f"train/wav/{key[:7]}/{key}.wav", hertz, len(pinyin.split()), 44100, len(contents))

    for speaker, hertz in (("SSB0005", 220.0), ("SSB0009", 110.0)):
        for number, (marked, pinyin) in enumerate(MANDARIN, start=1):
            add(f"{speaker}{number:04d}", marked, pinyin, hertz)
    for number, (marked, pinyin) in damaged.items():
        key = f"SSB0005{number}"
        bare = marked.removesuffix("#4。")
        contents.append(f"{key}.wav\t{' '.join(bare.replace('#1', ''))} {pinyin}")
        labels.append(f"{key}|{pinyin}|{bare.replace('#1', '%')}$")
        record(root / f"train/wav/SSB0005/{key}.wav", 220, 4, 44100)
    contents += ["SSB00050104.wav\t好 hao3", "SSB00050105.wav\t你 ni3 好 hao3", "SSB00050106.wav\t好 hao3"]
    labels += ["SSB00050104|hao3|好$", "SSB00050105|ni3 ta1|你%他$", "SSB00050107|hao3|好$"]
    for number in ("0105", "0106", "0107"):
        record(root / f"train/wav/SSB0005/SSB0005{number}.wav", 220, 2, 44100)
    write(root / "train/content.txt", "\n".join(contents) + "\n")
    write(root / "train/label_train-set.txt", "\n".join(labels) + "\n")
    write(root / "test/content.txt", "SSB00050353.wav\t好 hao3\n")
    record(root / "test/wav/SSB0005/SSB00050353.wav", 220, 1, 44100)
    return {
        "SSB00050101": "pinyin does not fit",
        "SSB00050102": "unknown syllable",
        "SSB00050103": "unreadable text",
        "SSB00050104": "missing audio",
        "SSB00050105": "texts differ",
        "SSB00050106": "missing breaks",
        "SSB00050107": "missing text",
    }


def databaker(raw: Path) -> Damage:
    root = raw / "BZNSYP"
    lines = []
    for number, (marked, pinyin) in enumerate(MANDARIN, start=1):
        lines += [f"{number:06d}\t{marked}", f"\t{pinyin}"]
        record(root / f"Wave/{number:06d}.wav", 240, len(pinyin.split()), 48000, number)
    lines += ["000101\t你好#4。", "\tni2 hao3 ma5", "000102\t你好#4。", "\tni2 hao3"]
    record(root / "Wave/000101.wav", 240, 3, 48000)
    lines += ["002365\t这图#2是#1Ｐ过的#4？", "\tzhe4 tu2 shi4 P IY1 guo4 de5"]
    record(root / "Wave/002365.wav", 240, 6, 48000)
    write(root / "ProsodyLabeling/000001-010000.txt", "\r\n".join(lines) + "\r\n")
    write(root / "PhoneLabeling/000001.interval", "File type\n")
    return {"000101": "pinyin does not fit", "000102": "missing audio", "002365": "known error"}


def fsdd(raw: Path) -> Damage:
    for speaker, hertz in (("george", 110), ("lucas", 130)):
        for index in (0, 5, 6):
            for digit in (1, 7):
                record(raw / f"recordings/{digit}_{speaker}_{index}.wav", hertz, 1, 8000, 10 * index + digit)
    broken(raw / "recordings/3_george_7.wav")
    record(raw / "recordings/hello.wav", 110, 1, 8000)
    return {"3_george_7": "unreadable", "hello": "unexpected file name"}


def table(raw: Path) -> Damage:
    rows = ["path,text,speaker,emotion"]
    for number, text in enumerate(ENGLISH):
        rows.append(f'clips/{number}.ogg,"{text}",maria,{("calm", "")[number % 2]}')
        record(raw / f"clips/{number}.ogg", 220, len(text.split()), 16000, number)
    rows += ["clips/7.ogg,Gone.,maria,", "clips/8.ogg,,maria,"]
    record(raw / "clips/8.ogg", 220, 1, 16000)
    write(raw / "metadata.csv", "\n".join(rows) + "\n")
    return {"clips/7": "missing audio", "clips/8": "no text"}


LAYOUTS: dict[str, Callable[[Path], Damage]] = {
    "aishell3": aishell3,
    "csv": table,
    "databaker": databaker,
    "fsdd": fsdd,
    "libritts": libritts,
    "ljspeech": ljspeech,
    "vctk": vctk,
}
