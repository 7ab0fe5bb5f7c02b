#!/usr/bin/env python3
"""Puts what `cargo bench --bench growth` prints into a page, as tables and a plot.

  cargo bench --bench growth | tee growth.txt
  benches/growth.py growth.txt docs/benchmarks.md docs/growth.svg

Only the standard library is used.
"""

import math
import re
import sys
from pathlib import Path

BEGIN, END = "<!-- growth -->", "<!-- end of growth -->"
COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000"]
WIDTH, HEIGHT, LEFT, TOP = 340, 260, 60, 40


def tables(text):
    """The tables in a bench's output: headings and rows of numbers."""
    found = []
    for line in text.splitlines():
        words = re.split(r"\s{2,}", line.strip())
        if words[0] in ("sessions", "clients"):
            found.append((words, []))
        elif found and len(line.split()) == len(found[-1][0]):
            found[-1][1].append([float(word) for word in line.split()])
    return found


def markdown(headings, rows):
    lines = ["| " + " | ".join(headings) + " |", "|" + "---|" * len(headings)]
    return lines + ["| " + " | ".join(f"{number:g}" for number in row) + " |" for row in rows]


def panel(headings, rows, left):
    """One plot: each figure as a multiple of its first, both axes logarithmic."""
    first, last = rows[0][0], rows[-1][0]
    ratios = [[row[i] / rows[0][i] for row in rows] for i in range(1, len(headings))]
    low = min(0.1, *(min(line) for line in ratios))
    high = max(10, *(max(line) for line in ratios))

    def at(count, ratio):
        across = math.log(count / first) / math.log(last / first)
        up = math.log(ratio / low) / math.log(high / low)
        return left + across * WIDTH, TOP + (1 - up) * HEIGHT

    out = [f'<text x="{left}" y="{TOP - 16}" font-weight="bold">by {headings[0]}</text>']
    for power in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1):
        if low <= 10**power <= high:
            _, y = at(first, 10**power)
            out.append(f'<path d="M{left} {y:.1f}h{WIDTH}" stroke="#ccc"/>')
            out.append(f'<text x="{left - 8}" y="{y + 4:.1f}" text-anchor="end">×{10**power:g}</text>')
    for row in rows:
        x, _ = at(row[0], low)
        out.append(f'<path d="M{x:.1f} {TOP}v{HEIGHT}" stroke="#eee"/>')
        out.append(f'<text x="{x:.1f}" y="{TOP + HEIGHT + 16}" text-anchor="middle">{row[0]:g}</text>')
    for number, (name, line) in enumerate(zip(headings[1:], ratios)):
        colour = COLOURS[number % len(COLOURS)]
        points = " ".join("{:.1f},{:.1f}".format(*at(row[0], ratio)) for row, ratio in zip(rows, line))
        out.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>')
        y = TOP + HEIGHT + 40 + 16 * number
        out.append(f'<path d="M{left} {y - 4}h20" stroke="{colour}" stroke-width="2"/>')
        out.append(f'<text x="{left + 26}" y="{y}">{name} (at {first:g}: {rows[0][number + 1]:g})</text>')
    return out


def main():
    printed, page, plot = map(Path, sys.argv[1:])
    found = tables(printed.read_text())
    text, body, left = [], [], LEFT
    for headings, rows in found:
        text += markdown(headings, rows) + [""]
        body += panel(headings, rows, left)
        left += WIDTH + 2 * LEFT
    height = TOP + HEIGHT + 50 + 16 * max(len(headings) for headings, _ in found)
    plot.write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{left - LEFT}" height="{height}" '
        'font-family="sans-serif" font-size="12">\n<rect width="100%" height="100%" fill="#fff"/>\n'
        + "\n".join(body) + "\n</svg>\n"
    )
    before, rest = page.read_text().split(BEGIN)
    _, after = rest.split(END)
    page.write_text(f"{before}{BEGIN}\n\n" + "\n".join(text) + f"\n{END}{after}")


main()
