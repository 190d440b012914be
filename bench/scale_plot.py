#!/usr/bin/env python3
"""Draws the tables that scale_sim prints: a panel for each kind of work, a line for each number of controllers.

  scale_plot.py < TABLES > docs/img/scale.svg
"""

import math
import sys

WIDTH, HEIGHT, LEFT, TOP, BOTTOM = 330, 300, 55, 34, 44
COLOURS = {1: "#1b6ca8", 2: "#d1495b", 4: "#3a7d44", 8: "#8d6a9f"}


def rows(lines):
    """Panels: {work: {controllers: [(disks, seconds)]}}."""
    out = {}
    for line in lines:
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if len(cells) < 4 or not cells[1].isdigit():
            continue
        out.setdefault(cells[0], {}).setdefault(int(cells[1]), []).append((int(cells[2]), float(cells[3])))
    return out


def panel(name, lines, x0):
    points = [point for line in lines.values() for point in line]
    disks = sorted({x for x, _ in points})
    low = math.floor(math.log2(min(y for _, y in points)))
    high = math.ceil(math.log2(max(y for _, y in points)))
    right, bottom = x0 + WIDTH - 20, HEIGHT - BOTTOM
    span = math.log(disks[-1] / disks[0]) or 1

    def x_of(x):
        return x0 + LEFT + math.log(x / disks[0]) / span * (right - x0 - LEFT)

    def y_of(y):
        return bottom - (math.log2(y) - low) / max(high - low, 1) * (bottom - TOP)

    yield f'<text x="{x0 + LEFT}" y="18" font-weight="bold">{name.replace("<", "&lt;")}</text>'
    for power in range(low, high + 1):
        y = y_of(2.0**power)
        yield f'<path d="M{x0 + LEFT} {y:.1f}H{right}" stroke="#ddd"/>'
        yield f'<text x="{x0 + LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{2.0**power:g} s</text>'
    for x in disks:
        yield f'<text x="{x_of(x):.1f}" y="{bottom + 16}" text-anchor="middle">{x}</text>'
    yield f'<text x="{(x0 + LEFT + right) / 2:.0f}" y="{bottom + 34}" text-anchor="middle">disks</text>'
    for controllers, line in sorted(lines.items()):
        colour = COLOURS.get(controllers, "#333")
        path = " ".join(f"{x_of(x):.1f},{y_of(y):.1f}" for x, y in sorted(line))
        yield f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>'
        for x, y in line:
            yield f'<circle cx="{x_of(x):.1f}" cy="{y_of(y):.1f}" r="3" fill="{colour}"/>'


def main():
    panels = rows(sys.stdin)
    width = WIDTH * len(panels) + 110
    print(f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {HEIGHT}" font-family="sans-serif" font-size="12">')
    print(f'<rect width="{width}" height="{HEIGHT}" fill="#fff"/>')
    for number, (name, lines) in enumerate(panels.items()):
        print("\n".join(panel(name, lines, number * WIDTH)))
    for number, controllers in enumerate(sorted({c for lines in panels.values() for c in lines})):
        y = TOP + 20 * number
        print(f'<path d="M{width - 105} {y}h18" stroke="{COLOURS.get(controllers, "#333")}" stroke-width="2"/>')
        print(f'<text x="{width - 82}" y="{y + 4}">{controllers} controller{"s" if controllers > 1 else ""}</text>')
    print("</svg>")


if __name__ == "__main__":
    main()
