"""The service against the echo: saturated, at one connection, and at fixed rates."""

from __future__ import annotations

from typing import Any

from loadtest.api import version_of, wait_until_ready
from loadtest.bench.figures import (
    HEADING,
    SHOWN_PERCENTILES,
    figures_of,
    format_interval,
    format_ms,
    format_row,
    percentiles_ms,
    ratio_of,
)
from loadtest.bench.measured_server import MeasuredServer, expect_items
from loadtest.bench.plan import HISTORY_LENGTH, K
from loadtest.bench.rig import Rig, check_answers, print_line, python
from loadtest.children import Child
from loadtest.client import Load, encode_post


def run(rig: Rig) -> dict[str, Any]:
    """Figures of both servers, and their ratio."""
    bundle = rig.bundle
    user_ids, length = rig.users(bundle, HISTORY_LENGTH)
    bodies: list[dict[str, object]] = [{"user_id": user_id, "k": K} for user_id in user_ids]
    ceiling_rps = measure_ceiling(rig)
    with rig.echo() as echo_child, rig.service(bundle) as service_child:
        version = version_of(wait_until_ready(service_child.address))
        check_answers(service_child.address, bodies)
        echo, service = (
            MeasuredServer.asked(child, bodies, expect_items(K))
            for child in (echo_child, service_child)
        )
        with rig.measuring():
            rig.alternate((echo, service), rig.plan.rounds)
            for rate_rps in rig.plan.rates_rps:
                print_line(f"  open loop, {rate_rps} rps for {rig.plan.open_loop_s:g} s each")
                # The echo's tail comes from the machine: no service here can have a shorter one.
                for server in (echo, service):
                    server.keep_pace(rate_rps, rig.plan.open_loop_s)
    return summarise(echo, service) | {
        "client_ceiling_rps": round(ceiling_rps),
        "history_length": length,
        "k": K,
        "n_users": len(user_ids),
        "model_version": version,
        "rounds": rig.plan.rounds,
        "connections": rig.plan.n_connections,
    }


def summarise(echo: MeasuredServer, service: MeasuredServer) -> dict[str, Any]:
    """The figures of both servers and their ratio, with its 95 % interval over rounds."""
    figures: dict[str, Any] = {}
    for name, server in (("echo", echo), ("recommend", service)):
        figures |= {f"{name}_{part}": value for part, value in figures_of(server).items()}
    figures["ratio"], figures["ratio_interval"] = ratio_of(service.rps, echo.rps)
    if echo.cpu_us and service.cpu_us:
        figures["cpu_ratio"], figures["cpu_ratio_interval"] = ratio_of(echo.cpu_us, service.cpu_us)
    figures["open_loop"] = _describe_open_loop(service)
    figures["echo_open_loop"] = _describe_open_loop(echo)
    figures["client_cpu_share"] = round(max(echo.client_cpu_shares + service.client_cpu_shares), 3)
    figures["failed"] = echo.n_failed + service.n_failed
    return figures


def _describe_open_loop(server: MeasuredServer) -> dict[str, Any]:
    return {
        rate: percentiles_ms(sample.latencies_ms)
        | {
            "failed": sample.n_failed,
            "client_late_p99_ms": percentiles_ms(sample.lateness_ms)["p99_ms"],
        }
        for rate, sample in server.open_loop.items()
    }


def measure_ceiling(rig: Rig) -> float:
    """Requests that the client manages in a second of its own CPU time.

    Counted in CPU time, since even the cheapest server in Python is slower than the client.
    """
    canned = Child("canned", python("loadtest.canned"), core=rig.server_core, ready_path=None)
    with canned as child, rig.measuring(), Load(child.address, 32) as load:
        request = encode_post(child.address, "/", {"user_id": "0", "k": K})
        sample = load.saturate([request], 1.0, expect_items(10))
    return len(sample.latencies) / sample.client_cpu_s


def describe(figures: dict[str, Any]) -> list[str]:
    """The table a person reads."""
    lines = [HEADING]
    for name in ("echo", "recommend"):
        parts = ("rps", "cpu_us", *(f"{part}_ms" for part in SHOWN_PERCENTILES))
        lines.append(format_row(name, {part: figures.get(f"{name}_{part}") for part in parts}))
    by_cpu = f"; by CPU time {figures['cpu_ratio']:.3f}" if "cpu_ratio" in figures else ""
    interval = format_interval(figures["ratio_interval"])
    lines.append(f"ratio {figures['ratio']:.3f} ({interval}){by_cpu}")
    for rate, times in figures["open_loop"].items():
        shown = "  ".join(
            f"{part.replace('_', '.')} {format_ms(times[f'{part}_ms'], 2)}"
            for part in SHOWN_PERCENTILES
        )
        floor_ms = format_ms(figures["echo_open_loop"][rate]["p99_ms"], 2)
        lines.append(
            f"open loop {rate:>5} rps: {shown} ms  {times['failed']} failed; echo p99 {floor_ms}"
        )
    lines.append(
        f"client: at most {figures['client_cpu_share']:.0%} busy, "
        f"its ceiling is {figures['client_ceiling_rps']} rps"
    )
    return lines
