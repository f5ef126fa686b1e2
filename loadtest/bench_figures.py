"""What a benchmark's measurements come to: medians, the ratio with its interval, the table."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

from loadtest.measured_server import MeasuredServer
from loadtest.recorder import summarise_ms

# Two-sided 95 % quantiles of Student's t, by degrees of freedom: rounds are few.
T_95 = {1: 12.71, 2: 4.30, 3: 3.18, 4: 2.78, 5: 2.57, 6: 2.45, 7: 2.36, 8: 2.31, 9: 2.26}


def summarise(echo: MeasuredServer, service: MeasuredServer) -> dict[str, Any]:
    """The figures of both servers and their ratio, with its 95 % interval over rounds."""
    ratios = [ours / bare for ours, bare in zip(service.rps, echo.rps, strict=True)]
    figures: dict[str, Any] = {
        "echo_rps": round(statistics.median(echo.rps), 1),
        "recommend_rps": round(statistics.median(service.rps), 1),
        "ratio": round(statistics.mean(ratios), 4),
        "ratio_interval": find_interval(ratios),
    }
    for name, server in (("echo", echo), ("recommend", service)):
        times = server.single_ms()
        figures |= {f"{name}_{part}_ms": times[part] for part in ("p50", "p99", "p99_9")}
        if server.cpu_us:
            figures[f"{name}_cpu_us"] = round(statistics.median(server.cpu_us), 1)
    if echo.cpu_us and service.cpu_us:
        figures["cpu_ratio"] = round(figures["echo_cpu_us"] / figures["recommend_cpu_us"], 4)
    figures["open_loop"] = {
        rate: {
            f"{part}_ms": value
            for part, value in summarise_ms(sample.latencies_ms).items()
            if part in {"p50", "p99", "p99_9"}
        }
        | {"failed": sample.n_failed}
        for rate, sample in service.open_loop.items()
    }
    shares = echo.client_cpu_shares + service.client_cpu_shares
    figures["client_cpu_share"] = round(max(shares), 3)
    figures["failed"] = echo.n_failed + service.n_failed
    return figures


def find_interval(values: Sequence[float]) -> list[float] | None:
    """95 % interval of the mean, None for fewer than two values."""
    if len(values) < 2:
        return None
    half = T_95.get(len(values) - 1, 2.2) * statistics.stdev(values) / len(values) ** 0.5
    mean = statistics.mean(values)
    return [round(mean - half, 4), round(mean + half, 4)]


def format_bench(figures: dict[str, Any]) -> str:
    """The table a person reads."""
    lines = [f"{'':<12}{'rps':>9}{'cpu µs':>9}{'p50 ms':>9}{'p99 ms':>9}{'p99.9 ms':>10}"]
    lines += [
        f"{name:<12}{figures[f'{name}_rps']:>9.0f}{figures.get(f'{name}_cpu_us', 0):>9.0f}"
        f"{figures[f'{name}_p50_ms']:>9.3f}{figures[f'{name}_p99_ms']:>9.3f}"
        f"{figures[f'{name}_p99_9_ms']:>10.3f}"
        for name in ("echo", "recommend")
    ]
    low, high = figures["ratio_interval"] or (figures["ratio"], figures["ratio"])
    by_cpu = f"; by CPU time {figures['cpu_ratio']:.3f}" if "cpu_ratio" in figures else ""
    lines.append(f"ratio {figures['ratio']:.3f} (95 % interval {low:.3f} to {high:.3f}){by_cpu}")
    for rate, times in figures["open_loop"].items():
        lines.append(
            f"open loop {rate:>5} rps: p50 {times['p50_ms']:.2f}  p99 {times['p99_ms']:.2f}  "
            f"p99.9 {times['p99_9_ms']:.2f} ms  {times['failed']} failed"
        )
    lines.append(
        f"client: at most {figures['client_cpu_share']:.0%} busy, "
        f"its ceiling is {figures['client_ceiling_rps']} rps"
    )
    return "\n".join(lines)
