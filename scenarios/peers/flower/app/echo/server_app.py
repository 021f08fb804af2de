"""FedAvg as it comes, with a mark written to a file between rounds.

The marks file has one JSON object a line: `{"event": "round", "round": r, "at_ns": .., "replies": ..,
"peak_rss_bytes": ..}`, with round 0 where the first round begins, then `{"event": "finished", ..}` or
`{"event": "failed", "reason": ..}`. Times are this process's monotonic clock.
"""

import json
import time
from pathlib import Path

from flwr.app import ArrayRecord, Context, MetricRecord, RecordDict
from flwr.app.user_config import UserConfig
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg

from echo import weights

app = ServerApp()

NODE_POLL_S = 0.2
TOLERANCE = 1e-3


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Run the rounds, and leave the reason in the marks file if they could not be run."""
    marks = Path(str(context.run_config["marks-file"]))
    try:
        run_rounds(grid, context.run_config, marks)
    except Exception as error:
        write(marks, {"event": "failed", "reason": str(error), "peak_rss_bytes": peak_rss_bytes()})
        raise
    write(marks, {"event": "finished", "peak_rss_bytes": peak_rss_bytes()})


def run_rounds(grid: Grid, config: UserConfig, marks: Path) -> None:
    """Wait for every node, then run the rounds; anything short of a right average by all nodes is an error."""
    rounds, nodes = int(config["num-server-rounds"]), int(config["nodes"])
    parameters, reply_timeout_s = int(config["parameters"]), float(config["reply-timeout-s"])
    # The wait for nodes to connect is start-up, and must not count as part of the first round.
    while len(list(grid.get_node_ids())) < nodes:
        time.sleep(NODE_POLL_S)

    first = weights.initial(parameters)
    start = weights.probe(first, parameters)
    replies = 0

    def count_replies(records: list[RecordDict], _weight_key: str) -> MetricRecord:
        nonlocal replies
        replies = len(records)
        return MetricRecord({"replies": replies})

    def mark(round_number: int, arrays: ArrayRecord) -> None:
        """Flower calls this before the first round (as round 0) and after each aggregation."""
        at_ns = time.monotonic_ns()
        if round_number > 0:
            check(round_number, replies, nodes, start, weights.probe(arrays, parameters))
        write(marks, {"event": "round", "round": round_number, "at_ns": at_ns, "replies": replies,
                      "peak_rss_bytes": peak_rss_bytes()})

    strategy = FedAvg(fraction_evaluate=0.0, min_train_nodes=nodes, min_available_nodes=nodes,
                      train_metrics_aggr_fn=count_replies)
    strategy.start(grid=grid, initial_arrays=first, num_rounds=rounds, timeout=reply_timeout_s, evaluate_fn=mark)


def check(round_number: int, replies: int, nodes: int, start: list[float], now: list[float]) -> None:
    """A peer that lost an update or averaged wrongly would be fast for the wrong reason."""
    if replies != nodes:
        raise RuntimeError(f"round {round_number}: {replies} of {nodes} nodes answered")
    expected = weights.mean_step(nodes) * round_number
    moved = [after - before for before, after in zip(start, now, strict=True)]
    if any(abs(distance - expected) > TOLERANCE for distance in moved):
        raise RuntimeError(f"round {round_number}: weights moved by {moved}, not by {expected}")


def peak_rss_bytes() -> int:
    """The peak of this process's resident memory (`VmHWM`)."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("no `VmHWM` in /proc/self/status: this benchmark needs Linux")


def write(marks: Path, event: dict[str, object]) -> None:
    with marks.open("a", encoding="utf-8") as file:
        file.write(json.dumps(event) + "\n")
