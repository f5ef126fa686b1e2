"""Which processors need the option against overflow."""

from pathlib import Path

import pytest

from model_store.eight_bits import exact_in_8_bits

OPTION = {"session.x64quantprecision": "1"}


@pytest.mark.parametrize(
    ("flags", "options"),
    [
        ("fpu avx2 avx512f avx512_vnni amx_int8", {}),
        ("fpu avx2 avx_vnni", {}),
        ("fpu avx2 avx512f avx512bw", OPTION),
        ("fpu avx2", OPTION),
    ],
)
def test_the_option_is_set_where_products_would_overflow(
    tmp_path: Path, flags: str, options: dict[str, str]
) -> None:
    cpu_info = tmp_path / "cpuinfo"
    cpu_info.write_text(f"processor\t: 0\nmodel name\t: made\nflags\t\t: {flags}\n")
    assert exact_in_8_bits(cpu_info) == options


def test_an_unknown_processor_computes_exactly(tmp_path: Path) -> None:
    assert exact_in_8_bits(tmp_path / "none") == OPTION
