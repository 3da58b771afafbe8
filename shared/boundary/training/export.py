"""What a training leaves: weights as safetensors, and a GGUF file for llama.cpp. The same weights, the same bytes."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np
import torch
from safetensors.torch import load, save
from torch import Tensor

from shared.boundary.shelf import PLAN_KEY, TASK_KEY
from shared.boundary.task import Task
from shared.boundary.tokens import BOS, CONTEXT_TOKENS, EOS, PAD, UNK, Vocabulary
from shared.boundary.training.network import NORM_EPS, ROPE_BASE, Network, Shape

ARCHITECTURE = "gemma3"

#: llama.cpp asks a byte-level vocabulary for merges; this one joins two bytes that no text holds.
NO_MERGE = "ÿ ÿ"
TOKEN_TYPES = {
    "mark": gguf.TokenType.CONTROL,
    "byte": gguf.TokenType.NORMAL,
    "piece": gguf.TokenType.USER_DEFINED,
}


def weights(network: Network) -> bytes:
    """Return a network's parameters as safetensors, in the order of their names."""
    found = {name: tensor.detach().contiguous() for name, tensor in sorted(network.state_dict().items())}
    return save(found)


def with_weights(shape: Shape, raw: bytes) -> Network:
    """Return a network of this shape with these weights."""
    network = Network(shape, 0)
    network.load_state_dict(load(raw))
    return network


def write_gguf(network: Network, task: Task, plan: str, path: Path) -> None:
    """Write a network as the GGUF file that llama.cpp serves, with the digests of its task and of its training plan."""
    writer = gguf.GGUFWriter(path, ARCHITECTURE)
    _describe(writer, network.shape, task, plan)
    _tokenizer(writer, Vocabulary(task))
    for name, tensor in sorted(network.state_dict().items()):
        writer.add_tensor(name, _as_stored(name, tensor))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _describe(writer: gguf.GGUFWriter, shape: Shape, task: Task, plan: str) -> None:
    writer.add_name(task.name)
    writer.add_string(TASK_KEY, task.digest)
    writer.add_string(PLAN_KEY, plan)
    writer.add_context_length(CONTEXT_TOKENS)
    writer.add_embedding_length(shape.width)
    writer.add_block_count(shape.layers)
    writer.add_feed_forward_length(shape.inner)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.kv_heads)
    writer.add_key_length(shape.head)
    writer.add_value_length(shape.head)
    writer.add_layer_norm_rms_eps(NORM_EPS)
    writer.add_rope_freq_base(ROPE_BASE)
    writer.add_sliding_window(CONTEXT_TOKENS)
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)


def _tokenizer(writer: gguf.GGUFWriter, vocabulary: Vocabulary) -> None:
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("starcoder")  # which reads each digit alone
    writer.add_token_list(vocabulary.texts)
    writer.add_token_types([TOKEN_TYPES[kind] for kind in vocabulary.kinds])
    writer.add_token_merges([NO_MERGE])
    writer.add_bos_token_id(BOS)
    writer.add_eos_token_id(EOS)
    writer.add_pad_token_id(PAD)
    writer.add_unk_token_id(UNK)
    writer.add_add_bos_token(value=True)
    writer.add_add_eos_token(value=False)
    writer.add_add_space_prefix(value=False)


def _as_stored(name: str, tensor: Tensor) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """Return a parameter as llama.cpp expects it: its norms multiply by the weight itself, not by one plus it."""
    stored = tensor + 1.0 if "norm" in name else tensor
    return stored.to(torch.float32).contiguous().numpy()
