"""The sentence model as a GGUF file, so that llama.cpp can be asked what it makes of the same weights."""

from __future__ import annotations

from pathlib import Path

import gguf
from safetensors.numpy import load_file

from organs.meaning.minilm import MINILM_HEADS, MINILM_LAYERS, installed

SPECIAL = {"[PAD]": 0, "[UNK]": 100, "[CLS]": 101, "[SEP]": 102, "[MASK]": 103}
WORDS = "embeddings.word_embeddings.weight"


def write_gguf(path: Path) -> None:
    """Write the model with float32 weights."""
    folder = installed()
    tensors = load_file(folder / "model.safetensors")
    out = gguf.GGUFWriter(str(path), "bert")
    out.add_block_count(MINILM_LAYERS)
    out.add_context_length(512)
    out.add_embedding_length(384)
    out.add_feed_forward_length(1536)
    out.add_head_count(MINILM_HEADS)
    out.add_layer_norm_eps(1e-12)
    out.add_causal_attention(False)  # noqa: FBT003 - as it is declared there
    out.add_pooling_type(gguf.PoolingType.MEAN)
    out.add_file_type(0)
    _vocabulary(out, (folder / "vocab.txt").read_text(encoding="utf-8").split("\n")[: len(tensors[WORDS])])
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.BERT, MINILM_LAYERS)
    for name, tensor in sorted(tensors.items()):
        if "position_ids" not in name and not name.startswith("pooler"):
            theirs = names.get_name(name, try_suffixes=(".weight", ".bias"))
            assert theirs is not None, name
            out.add_tensor(theirs, tensor.astype("<f4"))
    out.write_header_to_file()
    out.write_kv_data_to_file()
    out.write_tensors_to_file()
    out.close()


def _vocabulary(out: gguf.GGUFWriter, words: list[str]) -> None:
    """WordPiece as llama.cpp spells it: a word begins with a low line, a continuation does not."""
    kinds = {True: gguf.TokenType.CONTROL, False: gguf.TokenType.NORMAL}
    spelled = [w if w in SPECIAL else w[2:] if w.startswith("##") else f"\u2581{w}" for w in words]
    out.add_tokenizer_model("bert")
    out.add_tokenizer_pre("jina-v2-en")
    out.add_token_list(spelled)
    out.add_token_types([kinds[w in SPECIAL] for w in words])
    out.add_token_type_count(2)
    out.add_pad_token_id(SPECIAL["[PAD]"])
    out.add_unk_token_id(SPECIAL["[UNK]"])
    out.add_bos_token_id(SPECIAL["[CLS]"])
    out.add_sep_token_id(SPECIAL["[SEP]"])
    out.add_eos_token_id(SPECIAL["[SEP]"])
    out.add_mask_token_id(SPECIAL["[MASK]"])
