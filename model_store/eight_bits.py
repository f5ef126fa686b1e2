"""Layers in 8 bits, without overflow and as fast as the processor can."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path

CPU_INFO = Path("/proc/cpuinfo")
# Each adds four products of bytes in 32 bits: VNNI, also in its form of 256 bits.
_EXACT_INSTRUCTIONS = frozenset({"avx512_vnni", "avx_vnni"})


@cache
def exact_in_8_bits(cpu_info: Path = CPU_INFO) -> Mapping[str, str]:
    """Configuration of every session of onnxruntime that may run layers in 8 bits.

    Other x86 processors add two products of an unsigned and a signed byte in 16 bits, which
    overflow: a tenth of a layer's output was wrong. With the option weights become unsigned, and
    nothing overflows. That takes three times as long where there is VNNI, so it is left out there.

    Args:
        cpu_info: as Linux writes it; where it can't be read, exact comes before fast.
    """
    try:
        flags = set(cpu_info.read_text(errors="replace").split())
    except OSError:
        flags = set()
    return {} if flags & _EXACT_INSTRUCTIONS else {"session.x64quantprecision": "1"}
