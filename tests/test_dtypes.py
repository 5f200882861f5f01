"""A dtype is chosen in unison/precision.py, and in the places named here, each for its reason."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import unison

SOURCE = Path(unison.__file__).parent

SPECTRA = "FFTs, windows and filters are float32: 16 bits lose what is quiet"
LOSSES = "losses are float32: small differences, large sums"
DURATIONS = "frames are counted and exponentials taken in float32"
ALIGNMENT = "log probabilities over the vocabulary of symbols are float32"
DATA = "what the corpus gives is float32; autocast brings it to where it is used"
SAMPLING = "16 bits can't tell 1 - 0.95 from 0.05, nor a draw from 0"
MEANS = "a mean of many rows is taken in float32 and stored as the rows are"
MEASURE = "a figure about audio or weights, not the audio"

ALLOWED: dict[str, dict[str, str]] = {
    "adapters.py": {"merged": "a sum of weights is rounded once"},
    "bench/language.py": {"Llama.__init__": MEASURE},
    "bench/machine.py": {"MatrixVector.__init__": MEASURE},
    "quantization.py": {
        "check_quantization": "which kernels there are depends on the dtype that the policy chose",
        "_against_int4": "the same",
    },
    "audio/io.py": {"read": DATA},
    "audio/mel.py": {
        "MelSpectrogram.__init__": SPECTRA,
        "MelSpectrogram._apply": SPECTRA,
        "MelSpectrogram.magnitude": SPECTRA,
        "MelSpectrogram.compress": SPECTRA,
    },
    "contract/tables.py": {"_rows": MEANS},
    "data/dataset.py": {"UtteranceDataset.__getitem__": DATA},
    "evaluation/distances.py": {"analyse": MEASURE},
    "evaluation/mcd.py": {"mel_cepstrum": MEASURE},
    "inference/emotivoice.py": {"EmotiVoiceSynthesizer._sound": "mel and waveform leave the models as float32"},
    "models/emotivoice/controls.py": {
        "Controls.of_pitch": "F0 in hertz has more digits than 16 bits",
        "Controls.of_energy": "as F0",
    },
    "models/style_encoder/bert.py": {"described": "training starts from float32; the policy casts"},
    "models/style_encoder/encoder.py": {"StyleEncoder.logits": LOSSES},
    "models/emotivoice/acoustic.py": {
        "AcousticModel.decode": "the mel is what losses and vocoders read",
        "AcousticModel._durations": DURATIONS,
    },
    "models/emotivoice/alignment.py": {
        "Aligner.forward": ALIGNMENT,
        "beta_binomial_log_prior": ALIGNMENT,
        "monotonic_alignment": ALIGNMENT,
        "token_means": ALIGNMENT,
        "binarisation_loss": LOSSES,
        "forward_sum_loss": LOSSES,
    },
    "models/emotivoice/blocks.py": {
        "ScaledPositions.forward": "16 bits can't count positions",
        "gaussian_upsampling": DURATIONS,
    },
    "models/emotivoice/spans.py": {"Spans.of_pitch": "F0 in hertz has more digits than 16 bits"},
    "models/metavoice/kernels.py": {
        "Matrix.__init__": "the factors of quantised rows, beside sums in float32",
        "Matrix.added_to": (squares := "sums of squares, by which a norm divides"),
        "embed": squares,
        "attend": "sums over positions, and what they are divided by",
    },
    "models/metavoice/recorded.py": {"RecordedSteps.__init__": SAMPLING},
    "models/codec/codec.py": {"Codec._sound": "the last step before the waveform"},
    "models/codec/encodec.py": {
        "Encodec.decode.decode": "the last step before the waveform",
        "EncodecStream.feed": "the last step before the waveform",
        "EncodecStream.flush": "the last step before the waveform",
        "_load": "as it was trained; the precision policy casts it afterwards",
    },
    "models/codec/quantizer.py": {
        "Quantizer.forward": "distances and moving averages are small differences of large numbers",
        "Quantizer.encode": "distances and moving averages are small differences of large numbers",
    },
    "models/codec/spectrum.py": {"Analysis.forward": SPECTRA, "Synthesis.forward": SPECTRA},
    "models/metavoice/blocks.py": {
        "RMSNorm.forward": "a mean of squares overflows float16",
        "project": "which product is quick depends on the dtype that the policy chose",
    },
    "models/metavoice/sampling.py": {
        "probabilities": SAMPLING,
        "Sampler._arrange.column": SAMPLING,
        "Sampler.next": SAMPLING,
    },
    "models/speaker_encoder/encoder.py": {
        "SpeakerEncoder.forward": "vectors are features, kept as float32",
        "SpeakerEncoder.mel": SPECTRA,
        "SpeakerEncoder.level": "a mean of many squares",
        "SpeakerEncoder.embed_batch": "a voice has one vector, whatever the precision of what it is made for",
        "_window_and_filters": SPECTRA,
    },
    "models/speaker_encoder/ge2e.py": {
        "Ge2eLoss.forward": LOSSES,
        "Similarity.accuracy": MEASURE,
        "equal_error_rate": MEASURE,
    },
    "style/bert.py": {
        "BertStyle._encode": "style vectors are features, kept as float32",
        "BertStyle._encoder": "the frozen encoder runs once a text, and its vectors are kept",
    },
    "training/moved.py": {"distance.speak": MEASURE},
    "training/task.py": {"Task._stop_if_not_finite": MEASURE},
    "training/tasks/emotivoice.py": {
        "EmotiVoiceTask.validation_losses": LOSSES,
        "EmotiVoiceTask._acoustic_losses": LOSSES,
    },
    "training/tasks/emotivoice_previews.py": {"write": "a picture of the alignment"},
    "training/tasks/language.py": {
        "LanguageTask.validation_losses": MEASURE,
        "cross_entropy": LOSSES,
    },
    "training/tasks/style_encoder.py": {
        "StyleEncoderTask.losses": MEASURE,
        "StyleEncoderTask.validation_step": MEASURE,
    },
    "vocoders/discriminators.py": {"ResolutionDiscriminator.forward": SPECTRA},
    "vocoders/gan_losses.py": {
        "discriminator_loss": LOSSES,
        "generator_loss": LOSSES,
        "feature_loss": LOSSES,
        "mel_loss": LOSSES,
        "MultiResolutionStftLoss.forward": LOSSES,
        "MultiResolutionStftLoss._magnitude": SPECTRA,
    },
    "vocoders/griffinlim.py": {
        "GriffinLim.__init__": SPECTRA,
        "GriffinLim.forward": SPECTRA,
        "GriffinLim.magnitude": SPECTRA,
    },
    "vocoders/hifigan.py": {"HifiGan.forward": "the last step before the waveform"},
    "vocoders/istft.py": {
        "IstftHead._parts": "log magnitudes are exponentiated",
        "IstftHead._sound": SPECTRA,
    },
}
"""By file and function: why a dtype is named there."""

CASTS = {"half", "bfloat16", "float", "double"}
DTYPES = {
    name
    for name, value in vars(torch).items()
    if isinstance(value, torch.dtype) and (value.is_floating_point or value.is_complex)
}
SWITCHES = {"autocast", "set_default_dtype", "set_default_tensor_type", "get_default_dtype"}


def choices(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Each place of a module where a torch dtype is chosen: the function's qualified name, and what it says there.

    ``x.to(y.dtype)`` follows another tensor and chooses nothing; numpy's dtypes are those of files.
    """

    def visit(node: ast.AST, where: str) -> Iterator[tuple[str, str]]:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            where = f"{where}.{node.name}".lstrip(".")
        if chosen := _chosen(node):
            yield where, chosen
        for child in ast.iter_child_nodes(node):
            yield from visit(child, where)

    return visit(tree, "")


def _chosen(node: ast.AST) -> str:
    if isinstance(node, ast.Attribute) and node.attr in DTYPES | SWITCHES and _is_torch(node.value):
        return ast.unparse(node)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in CASTS:
        return f".{node.func.attr}()"
    if isinstance(node, ast.Call) and ast.unparse(node.func) == "getattr" and _is_torch(node.args[0]):
        return ast.unparse(node)
    if isinstance(node, ast.keyword) and isinstance(node.value, ast.Constant) and node.value.value in DTYPES:
        return f"{node.arg}={node.value.value!r}"
    if isinstance(node, ast.ImportFrom) and node.module and node.module.partition(".")[0] == "torch":
        return ", ".join(sorted({alias.name for alias in node.names} & (DTYPES | SWITCHES)))
    return ""


def _is_torch(node: ast.expr) -> bool:
    return ast.unparse(node) in ("torch", "torch.amp", "torch.cuda.amp")


def test_no_dtype_is_chosen_elsewhere() -> None:
    found: dict[str, set[str]] = {}
    stray = []
    for path in sorted(SOURCE.rglob("*.py")):
        name = path.relative_to(SOURCE).as_posix()
        if name == "precision.py":
            continue
        for where, chosen in choices(ast.parse(path.read_text(encoding="utf-8"))):
            found.setdefault(name, set()).add(where)
            if where not in ALLOWED.get(name, {}):
                stray.append(f"{name}: {where or 'module'}: {chosen}")
    assert not stray, "ask the precision policy, or name the place above with its reason"
    assert found == {name: set(places) for name, places in ALLOWED.items()}, "places that need no mention any more"


@pytest.mark.parametrize(
    ("code", "chosen"),
    [
        ("x.half()", ".half()"),
        ("f(x).bfloat16().y", ".bfloat16()"),
        ("x.float()", ".float()"),
        ("model.double()", ".double()"),
        ("torch.zeros(3, dtype=torch.float16)", "torch.float16"),
        ("torch.zeros(3, dtype='float16')", "dtype='float16'"),
        ("x.to(torch.bfloat16)", "torch.bfloat16"),
        ("x.type(torch.float32)", "torch.float32"),
        ("load(path, torch_dtype='bfloat16')", "torch_dtype='bfloat16'"),
        ("getattr(torch, name)", "getattr(torch, name)"),
        ("with torch.autocast('cpu'): pass", "torch.autocast"),
        ("with torch.amp.autocast('cpu'): pass", "torch.amp.autocast"),
        ("torch.set_default_dtype(d)", "torch.set_default_dtype"),
        ("from torch import float16 as small", "float16"),
        ("x.to(y.dtype)", None),
        ("x.long() + float(y) + np.float32(z)", None),
        ("'x.half()'  # torch.float16", None),
    ],
)
def test_what_chooses_a_dtype(code: str, chosen: str | None) -> None:
    tree = ast.parse(f"class A:\n    def f(self):\n        {code}")
    assert list(choices(tree)) == ([] if chosen is None else [("A.f", chosen)])
