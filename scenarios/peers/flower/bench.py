#!/usr/bin/env python3
"""Measures Flower (flwr from PyPI) moving weights on loopback: seconds a round, and peak memory of its server side.

    python3 scenarios/peers/flower/bench.py --parameters 14 --nodes 4 --rounds 3 --json FILE

README.md beside this file says what is measured and what is not.
"""

import sys

sys.dont_write_bytecode = True  # before our own imports: a benchmark leaves no __pycache__ in the checkout

import argparse
import itertools
import json
import os
import platform
import shutil
import signal
import statistics
import tempfile
import time
from pathlib import Path

import processes
from deployment import HERE, Deployment, DeploymentError, Environment, install

SCHEMA_VERSION = 1
BYTES_PER_PARAMETER = 4
SAMPLE_EVERY_S = 0.5
# How long a ServerApp may be gone before its missing last mark means that it failed.
GONE_GRACE_S = 5.0
MIB = 1024 * 1024
PARAMETERS_MAX = 200_000_000
NODES_MAX = 64
ROUNDS_MAX = 1000


def main() -> int:
    """Measure every case, one after the other; 0 if each gave a figure, 1 if any did not."""
    arguments = parse_arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    processes.adopt_orphans()
    scratch = Path(tempfile.mkdtemp(prefix="flower-bench-"))
    try:
        say(f"installing {arguments.requirements.name} (or using what is there) ..")
        environment = install(arguments.venv or scratch / "venv", arguments.requirements)
        report = {"schema_version": SCHEMA_VERSION, "peer": "flwr", "version": environment.version(),
                  "machine": machine(), "cases": []}
        for parameters in arguments.parameters:
            for nodes in arguments.nodes:
                case = measure(environment, scratch, parameters, nodes, arguments)
                report["cases"].append(case)
                print(json.dumps(case), flush=True)
                # After each case, so that a long sweep that is cut short keeps what it has.
                if arguments.json is not None:
                    arguments.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    except DeploymentError as error:
        say(f"error: {error}")
        return 1
    except KeyboardInterrupt:
        say("interrupted")
        return 130
    finally:
        left = processes.end_all()
        if left:
            say(f"error: could not end the processes {left}")
        if arguments.keep:
            say(f"logs and certificates are kept in {scratch}")
        else:
            shutil.rmtree(scratch, ignore_errors=True)
    print_table(report)
    return 0 if all(case["status"] == "ok" for case in report["cases"]) else 1


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measures Flower moving weights on loopback with TLS.")
    parser.add_argument("--parameters", type=within(1, PARAMETERS_MAX), nargs="+", default=[14], metavar="P",
                        help="float32 parameters in the model; one case each")
    parser.add_argument("--nodes", type=within(1, NODES_MAX), nargs="+", default=[4], metavar="N",
                        help="SuperNodes; each is combined with each P")
    parser.add_argument("--rounds", type=within(1, ROUNDS_MAX), default=3, metavar="R")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure there")
    parser.add_argument("--timeout-s", type=within(10, 86_400), default=900, metavar="S",
                        help="the longest one case may take, start-up included (default %(default)s)")
    parser.add_argument("--memory-floor-mib", type=within(0, 1 << 30), default=1024, metavar="M",
                        help="give a case up when less memory than this is available (default %(default)s)")
    parser.add_argument("--requirements", type=Path, default=HERE / "requirements.txt", metavar="FILE",
                        help="what to install (default: the pinned requirements.txt)")
    parser.add_argument("--venv", type=Path, metavar="FOLDER",
                        help="install there and keep it for the next time (default: temporary)")
    parser.add_argument("--keep", action="store_true", help="keep the temporary folder with the logs")
    arguments = parser.parse_args()
    # Before minutes of work, not after.
    if arguments.json is not None and not arguments.json.resolve().parent.is_dir():
        parser.error(f"there is no folder for `{arguments.json}`")
    return arguments


def within(least: int, most: int):
    """An argparse type: a whole number in that range; `1e6` and `1_000_000` are welcome."""
    def whole(text: str) -> int:
        try:
            number = float(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(f"`{text}` is not a number") from error
        if not number.is_integer() or not least <= number <= most:
            raise argparse.ArgumentTypeError(f"`{text}` is not a whole number from {least} to {most}")
        return int(number)
    return whole


def measure(environment: Environment, scratch: Path, parameters: int, nodes: int,
            arguments: argparse.Namespace) -> dict[str, object]:
    """One case, from an empty folder to no process left."""
    say(f"{parameters} parameters, {nodes} nodes, {arguments.rounds} rounds ..")
    folder = Path(tempfile.mkdtemp(prefix=f"case-{parameters}-{nodes}-", dir=scratch))
    case: dict[str, object] = {
        "peer": "flwr", "parameters": parameters, "nodes": nodes, "rounds": arguments.rounds,
        "payload_bytes": parameters * BYTES_PER_PARAMETER, "load_before": round(os.getloadavg()[0], 2),
    }
    marks_file, watch = folder / "marks.jsonl", processes.MemoryWatch()
    began = time.monotonic()
    problem = None
    try:
        deployment = Deployment(environment, folder, nodes)
        deployment.start()
        deployment.submit({"num-server-rounds": arguments.rounds, "nodes": nodes, "parameters": parameters,
                           "marks-file": str(marks_file), "reply-timeout-s": arguments.timeout_s})
        problem = follow(deployment, watch, marks_file, began + arguments.timeout_s,
                         arguments.memory_floor_mib * MIB)
    except DeploymentError as error:
        problem = ("failed", str(error))
    finally:
        left = processes.end_all()
    if left and problem is None:
        problem = ("failed", f"could not end the processes {left}")
    case |= figures(read_marks(marks_file), watch)
    case["wall_s"] = round(time.monotonic() - began, 2)
    case["status"], reason = problem or ("ok", None)
    if reason:
        case["reason"] = reason
        say(f"{case['status']}: {reason}")
    if not arguments.keep:
        shutil.rmtree(folder, ignore_errors=True)
    return case


def follow(deployment: Deployment, watch: processes.MemoryWatch, marks_file: Path, deadline: float,
           memory_floor_bytes: int) -> tuple[str, str] | None:
    """Sample until the run has finished; otherwise say what went wrong, as (status, reason)."""
    gone_since: float | None = None
    seen = False
    while True:
        watch.sample()
        now = time.monotonic()
        last = next(reversed(read_marks(marks_file)), None)
        if last is not None and last["event"] == "finished":
            return None
        if last is not None and last["event"] == "failed":
            return "failed", f"the ServerApp gave up: {last['reason']}"
        if now > deadline:
            return "timeout", f"the run did not finish in time:\n{deployment.last_lines()}"
        if processes.available_bytes() < memory_floor_bytes:
            return "memory", f"less than {memory_floor_bytes // MIB} MiB of this machine's memory were left"
        if (name := deployment.dead()) is not None:
            return "failed", f"{name} ended by itself:\n{deployment.last_lines(name)}"
        seen |= watch.serverapp_alive
        gone_since = None if watch.serverapp_alive or not seen else gone_since or now
        if gone_since is not None and now - gone_since > GONE_GRACE_S:
            return "failed", f"the ServerApp ended before its last round:\n{deployment.last_lines()}"
        time.sleep(SAMPLE_EVERY_S)


def read_marks(marks_file: Path) -> list[dict]:
    """What the ServerApp has written so far; a line still being written is left for the next look."""
    if not marks_file.exists():
        return []
    lines = marks_file.read_text(encoding="utf-8").splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.endswith("\n")]


def figures(marks: list[dict], watch: processes.MemoryWatch) -> dict[str, object]:
    """The figures of one case; a case that did not finish still shows the rounds it did."""
    seconds = round_seconds(marks)
    # The first round also unpacks the app at each node and imports NumPy there: shown, and kept out of the median.
    steady = seconds[1:] or seconds
    own_peak = max((mark["peak_rss_bytes"] for mark in marks), default=0)
    return {
        "round_s": [round(each, 3) for each in seconds],
        "round_s_median": round(statistics.median(steady), 3) if steady else None,
        "superlink_peak_rss_bytes": watch.peak("superlink"),
        "serverapp_peak_rss_bytes": max(own_peak, watch.peak("serverapp") or 0) or None,
        "server_side_peak_rss_bytes": watch.server_side_sum or None,
        "supernode_peak_rss_bytes": watch.peak("supernode"),
        "clientapp_peak_rss_bytes": watch.peak("clientapp"),
        "all_processes_peak_rss_bytes": watch.all_sum or None,
    }


def round_seconds(marks: list[dict]) -> list[float]:
    """Seconds between one round's mark and the next, from round 0 (where round 1 begins) on."""
    at_ns = [mark["at_ns"] for mark in marks if mark["event"] == "round"]
    return [(after - before) / 1e9 for before, after in itertools.pairwise(at_ns)]


def machine() -> dict[str, object]:
    memory_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {"cores": os.cpu_count(), "memory_bytes": memory_bytes, "architecture": platform.machine(),
            "python": platform.python_version()}


def print_table(report: dict) -> None:
    print(f"\nflwr {report['version']} on loopback with TLS, {report['machine']['cores']} cores")
    print(f"{'parameters':>12} {'nodes':>6} {'round s':>9} {'first s':>9} "
          f"{'SuperLink MiB':>14} {'ServerApp MiB':>14}  status")
    for case in report["cases"]:
        first = case["round_s"][0] if case["round_s"] else None
        print(f"{case['parameters']:>12,} {case['nodes']:>6} {cell(case['round_s_median']):>9} {cell(first):>9} "
              f"{mebibytes(case['superlink_peak_rss_bytes']):>14} {mebibytes(case['serverapp_peak_rss_bytes']):>14}"
              f"  {case['status']}")


def cell(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds:.2f}"


def mebibytes(size_bytes: int | None) -> str:
    return "-" if size_bytes is None else f"{size_bytes / MIB:.0f}"


def say(message: str) -> None:
    """For the person who waits; figures alone go to standard output."""
    print(message, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
