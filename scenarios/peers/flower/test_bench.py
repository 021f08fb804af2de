"""Tests of what can be tested without Flower: `python3 -m unittest discover scenarios/peers/flower`."""

import argparse
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

sys.dont_write_bytecode = True
HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import bench
import processes


def round_mark(number: int, at_s: float, peak_rss_bytes: int = 1) -> dict:
    return {"event": "round", "round": number, "at_ns": int(at_s * 1e9), "replies": 4,
            "peak_rss_bytes": peak_rss_bytes}


class Figures(unittest.TestCase):
    def test_the_first_round_is_shown_and_kept_out_of_the_median(self):
        marks = [round_mark(0, 100.0), round_mark(1, 109.0), round_mark(2, 111.0), round_mark(3, 114.0)]
        figures = bench.figures(marks, processes.MemoryWatch())
        self.assertEqual(figures["round_s"], [9.0, 2.0, 3.0])
        self.assertEqual(figures["round_s_median"], 2.5)

    def test_a_single_round_is_its_own_median(self):
        figures = bench.figures([round_mark(0, 1.0), round_mark(1, 8.0)], processes.MemoryWatch())
        self.assertEqual(figures["round_s_median"], 7.0)

    def test_a_run_that_never_began_has_no_figure_instead_of_zero(self):
        figures = bench.figures([], processes.MemoryWatch())
        self.assertEqual(figures["round_s"], [])
        for name in ("round_s_median", "superlink_peak_rss_bytes", "serverapp_peak_rss_bytes"):
            self.assertIsNone(figures[name], name)

    def test_the_larger_of_seen_and_reported_peak_counts(self):
        watch = processes.MemoryWatch(peaks={7: 50, 8: 900}, roles={7: "serverapp", 8: "superlink"})
        marks = [round_mark(0, 0.0, 40), round_mark(1, 1.0, 60)]
        figures = bench.figures(marks, watch)
        self.assertEqual(figures["serverapp_peak_rss_bytes"], 60)
        self.assertEqual(figures["superlink_peak_rss_bytes"], 900)


class Marks(unittest.TestCase):
    def test_a_line_still_being_written_waits(self):
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "marks.jsonl"
            self.assertEqual(bench.read_marks(file), [])
            file.write_text('{"event": "round"}\n{"event": "fini', encoding="utf-8")
            self.assertEqual(bench.read_marks(file), [{"event": "round"}])
            file.write_text('{"event": "round"}\n{"event": "finished"}\n', encoding="utf-8")
            self.assertEqual(bench.read_marks(file), [{"event": "round"}, {"event": "finished"}])


class Arguments(unittest.TestCase):
    def test_whole_numbers_in_range_in_any_spelling(self):
        whole = bench.within(1, 10_000_000)
        self.assertEqual([whole(text) for text in ("14", "1e6", "1_000_000")], [14, 1_000_000, 1_000_000])

    def test_anything_else_is_refused(self):
        for text in ("0", "1.5", "2e7", "nan", "inf", "many", ""):
            with self.subTest(text), self.assertRaises(argparse.ArgumentTypeError):
                bench.within(1, 10_000_000)(text)


class Processes(unittest.TestCase):
    def test_a_role_is_a_programs_name_and_not_a_part_of_one(self):
        roles = {
            "/venv/bin/python\0/venv/bin/flwr-serverapp\0--parent-pid\x001": "serverapp",
            "/venv/bin/python\0/venv/bin/flower-superlink\0--port\x001": "superlink",
            "/venv/bin/python\0/venv/bin/flower-superexec\0--plugin-type\0serverapp": "superexec",
            "tail\0-f\0/tmp/flower-superlink.log": None,
            "": None,
        }
        for command_line, expected in roles.items():
            self.assertEqual(processes.role(command_line), expected, command_line)

    def test_memory_is_read_in_bytes_and_an_ended_process_has_none(self):
        self.assertEqual(processes.memory_bytes("Name:\tx\nVmHWM:\t     300 kB\nVmRSS:\t     200 kB\n"),
                         (300 * 1024, 200 * 1024))
        self.assertIsNone(processes.memory_bytes("Name:\tx\nState:\tZ (zombie)\n"))

    def test_an_orphan_in_a_session_of_its_own_is_ended_too(self):
        # In a process of its own, since end_all ends everything below the caller.
        script = (
            "import os, subprocess, sys; sys.dont_write_bytecode = True\n"
            f"sys.path.insert(0, {str(HERE)!r})\n"
            "import processes\n"
            "processes.adopt_orphans()\n"
            "orphan = subprocess.run(['sh', '-c', 'setsid sleep 600 >/dev/null 2>&1 & echo $!'],\n"
            "                        capture_output=True, text=True).stdout\n"
            "assert len(processes.descendants(os.getpid())) == 1, 'the orphan was not adopted'\n"
            "assert processes.end_all() == []\n"
            "print(os.path.exists('/proc/' + orphan.strip()))\n")
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60,
                              check=False)
        self.assertEqual((done.stdout.strip(), done.stderr), ("False", ""))


if __name__ == "__main__":
    unittest.main()
