#!/usr/bin/env python3
"""Measures the servers of peers.toml with one client, and sums the runs up.

  compare.py run --wsload PATH --file SAMPLE --out runs.jsonl [--peer NAME ...]
  compare.py table runs.jsonl [--into PAGE.md]

`scripts/compare` calls both.

Every run starts a fresh server. Repeats go round all peers, so that a slow
minute of the machine does not hit one peer alone. Only the standard library
is used.
"""

import argparse
import fcntl
import json
import os
import socket
import statistics
import subprocess
import sys
import time
import tomllib
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).resolve().parent

# Marks between which a page has its table.
BEGIN = "<!-- table -->"
END = "<!-- end of table -->"

# name: (arguments of wsload, whether the session must be shared)
MEASURES = {
    "throughput": (["throughput"], False),
    "echo": (["echo"], False),
    "echo-flood": (["echo", "--flood"], False),
    "fanout": (["fanout"], False),
    "sessions": (["sessions"], False),
    "sessions-filled": (["sessions", "--fill-kib", "256"], False),
    "slow": (["slow"], False),
    "slow-second": (["slow", "--second"], True),
}

# measurement, figure of it, heading
COLUMNS = [
    ("throughput", "mib_per_s", "output, MiB/s"),
    ("throughput", "server_cpu_ms_per_mib", "server CPU, ms/MiB"),
    ("throughput", "screen_cpu_ms_per_mib", "of which emulator, ms/MiB"),
    ("throughput", "client_cpu_ms_per_mib", "(client CPU, ms/MiB)"),
    ("throughput", "wire_bytes_per_output_byte", "wire/output"),
    ("throughput", "output_bytes_per_message", "bytes/message"),
    ("throughput", "excess_bytes", "excess bytes"),
    ("echo", "p50_us", "echo p50, µs"),
    ("echo", "p99_us", "echo p99, µs"),
    ("echo", "max_us", "echo max, µs"),
    ("echo", "server_cpu_us_per_byte", "server CPU, µs/keystroke"),
    ("echo-flood", "p50_us", "echo beside flood p50, µs"),
    ("echo-flood", "p99_us", "echo beside flood p99, µs"),
    ("echo-flood", "max_us", "echo beside flood max, µs"),
    ("echo-flood", "flood_mib_per_s", "flood meanwhile, MiB/s"),
    ("fanout", "total_mib_per_s", "8 clients, MiB/s in all"),
    ("fanout", "clients_with_everything", "clients with everything"),
    ("fanout", "server_cpu_ms_per_delivered_mib", "server CPU, ms/delivered MiB"),
    ("sessions", "p50_us", "open p50, µs"),
    ("sessions", "p99_us", "open p99, µs"),
    ("sessions", "rss_kib_per_session", "RSS/session, KiB"),
    ("sessions", "pss_kib_per_session", "PSS/session, KiB"),
    ("sessions", "threads_per_session", "threads/session"),
    ("sessions", "fds_per_session", "fds/session"),
    ("sessions-filled", "rss_kib_per_session", "RSS/session after 256 KiB output, KiB"),
    ("sessions-filled", "pss_kib_per_session", "PSS/session after 256 KiB output, KiB"),
    ("slow", "rss_mib_before", "RSS before stall, MiB"),
    ("slow", "rss_growth_mib_peak", "stalled client: RSS growth, MiB"),
    ("slow", "rss_growth_mib_after", "RSS growth left after, MiB"),
    ("slow", "slow_received_mib", "received after stall, MiB"),
    ("slow", "slow_outcome", "stalled client"),
    ("slow-second", "rss_growth_mib_peak", "with 2nd client: RSS growth, MiB"),
    ("slow-second", "second_mib_per_s", "2nd client, MiB/s"),
    ("slow-second", "second_longest_gap_ms", "2nd client's longest gap, ms"),
    ("slow-second", "second_saw_end", "2nd client saw the end"),
    ("slow-second", "slow_outcome", "stalled client (with 2nd)"),
]


@contextmanager
def locked(path):
    """Keeps other users of the lock file from measuring at the same time."""
    if path is None:
        yield
        return
    with open(path, "a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


@contextmanager
def server(peer, log):
    port = free_port()
    env = dict(os.environ, HERE=str(HERE))
    command = peer["start"].replace("{port}", str(port))
    announces = peer.get("announces", False)
    process = subprocess.Popen(
        ["sh", "-c", command],
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE if announces else log,
        stderr=log,
        text=True,
    )
    try:
        if announces:
            announced = json.loads(process.stdout.readline() or "{}")
            if not announced:
                raise RuntimeError("the server does not start")
            yield announced["url"], announced["pids"]
            return
        deadline = time.monotonic() + 15
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError("the server does not start") from None
                time.sleep(0.05)
        time.sleep(0.5)
        yield peer["url"].replace("{port}", str(port)), [process.pid]
    finally:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def measure(args, name, peer, label, log):
    """One run: the figures, or what went wrong."""
    command, needs_sharing = MEASURES[label]
    with server(peer, log) as (url, pids):
        command = [args.wsload, *command, "--peer", name, "--file", args.file]
        command += ["--protocol", peer["protocol"], "--url", url]
        command += [word for pid in pids for word in ("--pid", str(pid))]
        if url.startswith("wss:"):
            command += ["--ca", os.environ["TLS_CERT"]]
        if "origin" in peer:
            command += ["--origin", peer["origin"]]
        if label == "fanout" and not peer["shared"]:
            command.append("--separate")
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    if done.returncode == 0:
        return json.loads(done.stdout)
    return {"peer": name, "error": (done.stderr.strip().splitlines() or ["?"])[0]}


def run(args):
    peers = tomllib.loads((HERE / "peers.toml").read_text())
    names = args.peer or ["direct", *peers]
    labels = args.measure or list(MEASURES)
    with open(args.out, "a") as out, open(str(args.out) + ".log", "a") as log:

        def keep(figures, label, repeat):
            line = json.dumps(figures | {"label": label, "repeat": repeat})
            print(line, file=out, flush=True)
            print(line, file=sys.stderr, flush=True)

        for name in names:
            if name != "direct":
                got = subprocess.run(["sh", "-c", peers[name]["version"]], capture_output=True, text=True)
                keep({"peer": name, "version": " ".join(got.stdout.split())}, "version", 0)
        for repeat in range(args.repeat):
            for name in names:
                if name == "direct":
                    with locked(args.lock):
                        command = [args.wsload, "direct", "--peer", name, "--file", args.file]
                        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
                    for label, figures in json.loads(done.stdout).items():
                        if isinstance(figures, dict):
                            label = label.replace("echo_beside_flood", "echo-flood")
                            keep({"peer": name} | figures, label, repeat)
                    continue
                for label in labels:
                    if MEASURES[label][1] and not peers[name]["shared"]:
                        continue
                    with locked(args.lock):
                        try:
                            figures = measure(args, name, peers[name], label, log)
                        except (RuntimeError, subprocess.SubprocessError, ValueError) as error:
                            figures = {"peer": name, "error": str(error)}
                    keep(figures, label, repeat)


def cell(values):
    if not values:
        return "–"
    if not all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in values):
        return " / ".join(sorted({str(v) for v in values}))

    def short(x):
        return f"{x:.0f}" if abs(x) >= 100 else f"{x:.3g}"

    middle, low, high = short(statistics.median(values)), short(min(values)), short(max(values))
    return middle if low == high else f"{middle} ({low}–{high})"


def table(args):
    runs = [json.loads(line) for file in args.runs for line in open(file)]
    names = list(dict.fromkeys(run["peer"] for run in runs))
    lines = ["| median (min–max) | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    for label, figure, heading in COLUMNS:
        cells = []
        for name in names:
            mine = [r for r in runs if r["peer"] == name and r["label"] == label]
            values = [r[figure] for r in mine if r.get(figure) is not None]
            failed = sum("error" in r for r in mine)
            cells.append(cell(values) + (f" [{failed} failed]" if failed else ""))
        lines.append(f"| {heading} | " + " | ".join(cells) + " |")
    versions = [f"- {r['peer']}: {r['version']}" for r in runs if r["label"] == "version" and r["version"]]
    text = "\n".join(lines + ["", "Versions:", "", *dict.fromkeys(versions)])
    print(text)
    if args.into:
        page = Path(args.into)
        head, _, rest = page.read_text().partition(BEGIN)
        _, found, tail = rest.partition(END)
        if not found:
            sys.exit(f"{page} has no lines {BEGIN} and {END}")
        page.write_text(head + BEGIN + "\n\n" + text + "\n\n" + END + tail)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("run")
    command.add_argument("--wsload", required=True, help="the built client")
    command.add_argument("--file", required=True, help="text made by `wsload sample`")
    command.add_argument("--out", required=True, help="runs are appended to this file")
    command.add_argument("--peer", action="append", help="only these peers (`direct`: a PTY without a server)")
    command.add_argument("--measure", action="append", choices=MEASURES, help="only these measurements")
    command.add_argument("--repeat", type=int, default=3)
    command.add_argument("--lock", help="lock file held during each run")
    command.set_defaults(call=run)
    command = commands.add_parser("table")
    command.add_argument("runs", nargs="+")
    command.add_argument("--into", help="a page that gets the table between its two marks")
    command.set_defaults(call=table)
    args = parser.parse_args()
    args.call(args)


if __name__ == "__main__":
    main()
