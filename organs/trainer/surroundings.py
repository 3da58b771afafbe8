"""What a run depends on besides its spec and data: who computed, and the very code that did."""

from __future__ import annotations

import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from blake3 import blake3

#: Packages whose version may move a bit of a result, where they are installed.
PACKAGES = ("torch", "numpy", "safetensors", "gguf", "tinygrad", "hivemind", "blake3", "msgspec")
FLAGS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "PYTHONHASHSEED", "CUBLAS_WORKSPACE_CONFIG", "DEV", "CPU")
#: Where our packages lie, here.
ROOT = Path(__file__).parents[2]


def environment() -> dict[str, str]:
    """Return what computes in this process, by name: the same again where it is the same surroundings."""
    found = {
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "system": platform.system(),
        "machine": platform.machine(),
    }
    for name in PACKAGES:
        try:
            found[f"package.{name}"] = version(name)
        except PackageNotFoundError:
            continue
    found |= {f"flag.{name}": os.environ[name] for name in FLAGS if name in os.environ}
    return found | _torch()


def sources(of: tuple[str, ...]) -> dict[str, str]:
    """Return the digest of each source file of a recipe, by its path from where our packages lie."""
    found: dict[str, str] = {}
    for name in of:
        path = ROOT / name
        files = [path] if path.is_file() else sorted(path.rglob("*.py"))
        found |= {str(file.relative_to(ROOT)): blake3(file.read_bytes()).hexdigest() for file in files}
    return found


def _torch() -> dict[str, str]:
    """Return what torch says of itself, where a run has used it."""
    torch = sys.modules.get("torch")
    if torch is None:
        return {}
    return {
        "torch.instructions": torch.backends.cpu.get_cpu_capability(),
        "torch.threads": str(torch.get_num_threads()),
        "torch.deterministic": str(torch.are_deterministic_algorithms_enabled()),
    }
