"""Tiny models with random weights, written by the `gguf` package: they say nothing sensible, and load at once."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np
from numpy.typing import NDArray

WIDTH, LAYERS, HEADS, HIDDEN, CONTEXT = 32, 2, 2, 64, 256
EMBEDDING_CONTEXT = 64
TEMPLATE = (
    "{% for m in messages %}{{ '<bos>' + m.role + ' ' + m.content + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}assistant {% endif %}"
)


def write_gemma(path: Path, *, seed: int = 7, template: str | None = TEMPLATE, context: int = CONTEXT) -> Path:
    """A Gemma 3 of 22 thousand weights with a vocabulary of letters."""
    rng = np.random.default_rng(seed)
    writer = gguf.GGUFWriter(path, "gemma3")
    writer.add_name("tiny-gemma")
    writer.add_context_length(context)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(HIDDEN)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(1)
    writer.add_key_length(WIDTH // HEADS)
    writer.add_value_length(WIDTH // HEADS)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_rope_freq_base(10_000.0)
    writer.add_sliding_window(context)
    writer.add_file_type(0)
    tokens = _vocabulary(writer)
    if template is not None:
        writer.add_chat_template(template)
    writer.add_tensor("token_embd.weight", _drawn(rng, len(tokens), WIDTH))
    writer.add_tensor("output_norm.weight", np.ones(WIDTH, np.float32))
    for layer in range(LAYERS):
        block = f"blk.{layer}"
        for name in ("attn_norm", "post_attention_norm", "ffn_norm", "post_ffw_norm"):
            writer.add_tensor(f"{block}.{name}.weight", np.ones(WIDTH, np.float32))
        for name in ("attn_q_norm", "attn_k_norm"):
            writer.add_tensor(f"{block}.{name}.weight", np.ones(WIDTH // HEADS, np.float32))
        writer.add_tensor(f"{block}.attn_q.weight", _drawn(rng, WIDTH, WIDTH))
        writer.add_tensor(f"{block}.attn_k.weight", _drawn(rng, WIDTH // HEADS, WIDTH))
        writer.add_tensor(f"{block}.attn_v.weight", _drawn(rng, WIDTH // HEADS, WIDTH))
        writer.add_tensor(f"{block}.attn_output.weight", _drawn(rng, WIDTH, WIDTH))
        writer.add_tensor(f"{block}.ffn_gate.weight", _drawn(rng, HIDDEN, WIDTH))
        writer.add_tensor(f"{block}.ffn_up.weight", _drawn(rng, HIDDEN, WIDTH))
        writer.add_tensor(f"{block}.ffn_down.weight", _drawn(rng, WIDTH, HIDDEN))
    return _written(writer, path)


def write_bert(path: Path, *, seed: int = 7) -> Path:
    """A BERT that makes sentence embeddings of 32 numbers."""
    rng = np.random.default_rng(seed)
    writer = gguf.GGUFWriter(path, "bert")
    writer.add_name("tiny-bert")
    writer.add_block_count(1)
    writer.add_context_length(EMBEDDING_CONTEXT)
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(HIDDEN)
    writer.add_head_count(HEADS)
    writer.add_layer_norm_eps(1e-12)
    writer.add_causal_attention(value=False)
    writer.add_pooling_type(gguf.PoolingType.MEAN)
    writer.add_file_type(0)
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    tokens = [*special, *(f"▁{letter}" for letter in letters), *letters]
    kinds = [gguf.TokenType.CONTROL] * len(special) + [gguf.TokenType.NORMAL] * (2 * len(letters))
    writer.add_tokenizer_model("bert")
    writer.add_tokenizer_pre("jina-v2-en")
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_type_count(2)
    writer.add_pad_token_id(0)
    writer.add_unk_token_id(1)
    writer.add_bos_token_id(2)
    writer.add_sep_token_id(3)
    writer.add_eos_token_id(3)
    writer.add_mask_token_id(4)
    writer.add_tensor("token_embd.weight", _drawn(rng, len(tokens), WIDTH))
    writer.add_tensor("position_embd.weight", _drawn(rng, EMBEDDING_CONTEXT, WIDTH))
    writer.add_tensor("token_types.weight", _drawn(rng, 2, WIDTH))
    for name in ("token_embd_norm", "blk.0.attn_output_norm", "blk.0.layer_output_norm"):
        writer.add_tensor(f"{name}.weight", np.ones(WIDTH, np.float32))
        writer.add_tensor(f"{name}.bias", np.zeros(WIDTH, np.float32))
    shapes = {"attn_q": (WIDTH, WIDTH), "attn_k": (WIDTH, WIDTH), "attn_v": (WIDTH, WIDTH)}
    shapes |= {"attn_output": (WIDTH, WIDTH), "ffn_up": (HIDDEN, WIDTH), "ffn_down": (WIDTH, HIDDEN)}
    for name, (out, width) in shapes.items():
        writer.add_tensor(f"blk.0.{name}.weight", _drawn(rng, out, width))
        writer.add_tensor(f"blk.0.{name}.bias", np.zeros(out, np.float32))
    return _written(writer, path)


def _vocabulary(writer: gguf.GGUFWriter) -> list[str]:
    """One token for every letter of ASCII, as byte-level BPE writes them, and four of control."""
    letters = ["Ġ", "Ċ", "ĉ", *(chr(code) for code in range(ord("!"), ord("~") + 1))]
    tokens = ["<pad>", "<eos>", "<bos>", "<unk>", *letters, "th"]
    kinds = [gguf.TokenType.CONTROL] * 4 + [gguf.TokenType.NORMAL] * (len(letters) + 1)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("starcoder")
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_merges(["t h"])
    writer.add_pad_token_id(0)
    writer.add_eos_token_id(1)
    writer.add_bos_token_id(2)
    writer.add_unk_token_id(3)
    writer.add_add_bos_token(value=False)
    writer.add_add_eos_token(value=False)
    writer.add_add_space_prefix(value=False)
    return tokens


def _drawn(rng: np.random.Generator, *shape: int) -> NDArray[np.float32]:
    return rng.normal(0.0, 0.3, shape).astype(np.float32)


def _written(writer: gguf.GGUFWriter, path: Path) -> Path:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
