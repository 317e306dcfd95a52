# SPDX-License-Identifier: Apache-2.0
# Copyright The Linchpin Authors
"""One table and one JSON document of what was measured."""

import dataclasses

from measure import Samples


@dataclasses.dataclass(eq=False)
class Row:
    """A figure beside its floor and its target.

    `kind` says how far to trust it where other programs run: `cpu` and `memory` are the process's
    own, `wall` is what somebody waited. `most` is the target in `unit`, `most_floors` in floors.
    """
    key: str
    what: str
    unit: str
    kind: str
    samples: Samples | None = None
    floor: float | None = None
    floor_name: str = ""
    most: float | None = None
    most_floors: float | None = None
    missing: str = ""  # why nothing was measured
    more: dict = dataclasses.field(default_factory=dict)  # name -> Samples, in `unit` too

    @property
    def value(self):
        return None if self.samples is None else self.samples.median

    @property
    def limit(self):
        if self.most_floors is not None:
            return None if self.floor is None else self.floor * self.most_floors
        return self.most

    @property
    def verdict(self):
        if self.value is None or (self.limit is None and self.most_floors is not None):
            return "not measured"
        if self.limit is None:
            return "no target"
        return "ok" if self.value <= self.limit else "MISS"

    def target(self):
        if self.most_floors is not None:
            return f"≤ {self.most_floors:g} × floor"
        return "" if self.most is None else f"≤ {number(self.most)} {self.unit}"

    def as_json(self):
        return {
            "key": self.key, "what": self.what, "unit": self.unit, "kind": self.kind,
            "value": self.value, "floor": self.floor, "floor_is": self.floor_name,
            "times_floor": self.value / self.floor if self.value and self.floor else None,
            "target": self.limit, "target_in_floors": self.most_floors, "verdict": self.verdict,
            "rounds": self.samples.values if self.samples else [], "missing": self.missing,
            "more": {name: samples.median for name, samples in self.more.items()},
        }


def number(value):
    if value is None:
        return "—"
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2 if abs(value) >= 0.1 else 3
    return f"{value:.{digits}f}"


def line(row):
    if row.value is None:
        return [row.what, "—", "", "", row.target(), f"not measured: {row.missing}"]
    more = "".join(f", {name} {number(samples.median)}" for name, samples in row.more.items())
    noise = f" ±{row.samples.spread():.0%}" if len(row.samples.values) > 1 else ""
    floor = f"{number(row.floor)} {row.floor_name}" if row.floor is not None else ""
    times = f"{row.value / row.floor:.2f} ×" if row.floor else ""
    verdict = row.verdict + (" (wall)" if row.kind == "wall" and row.verdict == "MISS" else "")
    return [row.what, f"{number(row.value)} {row.unit}{noise}{more}", floor, times, row.target(),
            verdict]


def text(rows):
    lines = [["what", "measured", "floor, same run", "", "target", ""], *map(line, rows)]
    widths = [max(len(cells[i]) for cells in lines) for i in range(6)]
    def row_text(cells):
        return "  ".join(cell.ljust(width) for cell, width in zip(cells, widths)).rstrip()
    ruler = "  ".join("-" * width for width in widths)
    return "\n".join([row_text(lines[0]), ruler, *map(row_text, lines[1:])])


def document(rows, machine):
    return {"rows": [row.as_json() for row in rows], **machine}
