"""The machine of a measurement."""

from __future__ import annotations

import platform
from pathlib import Path

import torch

from offline.engine.local import count_cores

_CPUINFO = Path("/proc/cpuinfo")


def describe_hardware() -> dict[str, str | int]:
    """CPU model, cores this process may use, the system and torch; a CUDA device where one is."""
    device = {"gpu": torch.cuda.get_device_name()} if torch.cuda.is_available() else {}
    return {
        "cpu": _cpu_model(),
        "cores": count_cores(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        **device,
    }


def _cpu_model() -> str:
    if _CPUINFO.exists():
        for line in _CPUINFO.read_text().splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()
