"""From the samples of a comparison to ratios, tables in Markdown and a plot. Nothing here measures; tests/check_compare.py runs it."""

import dataclasses
import html
import math
import statistics

from rows import PEERS, ROWS, PlanCost


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What came of one target."""

    target: object
    peer: str | None = None  # which of the target's peers counts
    ratio: float | None = None
    low: float | None = None  # of the rounds
    high: float | None = None

    @property
    def met(self):
        """None where nothing is promised or nothing was measured."""
        if self.ratio is None or self.target.ratio is None:
            return None
        return self.ratio >= self.target.ratio


# ---- numbers -----------------------------------------------------------------------------------


def unit(row):
    return "bytes" if row.measures == "memory" else "ms_median"


def middle(row, samples):
    """What a subject took: the median of its rounds."""
    return statistics.median(s[unit(row)] for s in samples)


def paired(row, ours, theirs):
    """How many times ours a peer took, in each round."""
    return [t[unit(row)] / max(o[unit(row)], 1e-12) for o, t in zip(ours, theirs)]


def outcomes(row, record):
    """One for each target; of several peers the one nearest to ours counts, and a limit stands for a peer."""
    samples = record["samples"]
    ours = samples.get("rondo")
    found = []
    for target in row.targets:
        if target.limit_ms is not None and ours:
            limits = paired(row, ours, [{unit(row): target.limit_ms}] * len(ours))
            found.append(Outcome(target, None, statistics.median(limits), min(limits), max(limits)))
            continue
        ratios = {p: paired(row, ours, samples[p]) for p in target.peers if ours and samples.get(p)}
        if not ratios:
            found.append(Outcome(target))
            continue
        peer = min(ratios, key=lambda p: statistics.median(ratios[p]))
        found.append(Outcome(target, peer, statistics.median(ratios[peer]), min(ratios[peer]), max(ratios[peer])))
    return found


def bound_ms(work, peak):
    """The least that a run takes by the machine's measured peaks: products with a state read their weights in every step.

    None where a peak is not known."""
    # Products in bf16 are made in f32 where the instruction for pairs is the slower one.
    rate = max(peak[t]["gflops"] for t in ({"f32", "bf16"} if work.dtype == "bf16" else {"f32"})) * 1e6
    size = work.step_bytes()
    speed = peak["read_gbs"].get(str(size)) if size else math.inf
    if not rate or not speed:
        return None
    recurrent, all_products = work.flops()
    reading = work.steps() * size / (speed * 1e6)
    computing = recurrent / rate
    return max(computing, reading) + (all_products - recurrent) / rate, "reading weights" if reading > computing else "computing"


def share_of_bound(row, record, peaks):
    """(part of the bound, what binds) or None."""
    peak = (peaks or {}).get(str(row.ours.threads))
    ours = record["samples"].get("rondo")
    if row.measures != "time" or isinstance(row.ours, PlanCost) or not ours or not peak:
        return None
    bound = bound_ms(row.ours, peak)
    return bound and (bound[0] / middle(row, ours), bound[1])


def excess_allocations(row, record):
    """Allocations of one run, where the row promises how many there are."""
    ours = record["samples"].get("rondo")
    if row.allocations is None or not ours:
        return None
    return max(s.get("allocations", 0) for s in ours)


def rows_of(result):
    """(row, record) of what was measured and is still in the table of rows."""
    known = {r.id: r for r in ROWS}
    return [(known[r["id"]], r) for r in result["rows"] if r["id"] in known]


# ---- words ---------------------------------------------------------------------------------------


def promise(target):
    if target.limit_ms is not None:
        return target.name
    return f"{target.title} {target.ratio:.2f}" if target.ratio is not None else f"{target.title} (shown)"


def amount(row, value):
    if row.measures == "memory":
        return f"{value / 2**20:.1f} MiB"
    return f"{value:.3g} ms" if value >= 1 else f"{value * 1000:.3g} µs"


def left_out(record):
    """Why ours, or a peer, has no figures."""
    name = {"rondo": "Rondo", **PEERS}
    return [f"{name[peer]}: {'not offered yet: ' if peer == 'rondo' else ''}{why}" for peer, why in record["notes"].items()]


def one_line(row, record):
    """For the progress on the terminal."""
    if not record["samples"].get("rondo"):
        return "; ".join(left_out(record))
    parts = [f"ours {amount(row, middle(row, record['samples']['rondo']))}"]
    for o in outcomes(row, record):
        if o.ratio is None:
            parts.append(f"{o.target.title}: none")
        else:
            wanted = "" if o.met is None else f" ({'' if o.met else 'NOT '}{o.target.ratio:.2f})"
            parts.append(f"{against(o)} {o.ratio:.2f}{wanted}")
    return "; ".join(parts)


def against(o):
    """Whom a line is about: the target's name and, where it names several peers, which one it came down to."""
    if o.peer is None or len(o.target.peers) == 1:
        return o.target.title
    return PEERS[o.peer] if PEERS[o.peer].startswith(o.target.title) else f"{o.target.title}: {PEERS[o.peer]}"


def table(header, lines):
    return ["| " + " | ".join(header) + " |", "|" + " --- |" * len(header), *("| " + " | ".join(line) + " |" for line in lines)]


def row_lines(row, record, peaks):
    """A line for each target; what is the row's stands in the first."""
    ours = record["samples"].get("rondo")
    share = share_of_bound(row, record, peaks)
    first = [row.title, amount(row, middle(row, ours)) if ours else "not offered yet", f"{share[0]:.0%} {share[1]}" if share else ""]
    allocated = excess_allocations(row, record)
    if allocated is not None:
        first[1] += f", {allocated} allocations" + ("" if allocated <= row.allocations else " (**not met**)")
    for o in outcomes(row, record):
        wanted = "" if o.target.ratio is None else f"{o.target.ratio:.2f}"
        if o.ratio is None:
            figures = ["", "", wanted, "not measured" if wanted else ""]
        else:
            took = amount(row, o.target.limit_ms if o.peer is None else middle(row, record["samples"][o.peer]))
            spread = f" ({o.low:.2f} to {o.high:.2f})" if o.low != o.high else ""
            figures = [took, f"**{o.ratio:.2f}**{spread}", wanted, {True: "yes", False: "**no**", None: ""}[o.met]]
        yield [*first, against(o), *figures]
        first = ["", "", ""]


def all_outcomes(result):
    return [o for row, record in rows_of(result) for o in outcomes(row, record)]


def summary(result):
    """When, where, how, and how many targets are met."""
    judged = [o for o in all_outcomes(result) if o.met is not None]
    return (
        f"{result['date']}, {result['machine']['text']}. Medians of {result['rounds']} rounds in which all ran in turn,"
        f" {result['min_time']:g} s each. {sum(o.met for o in judged)} of {len(judged)} targets that were measured are met."
    )


def measured(result, level):
    """The tables and what must be known to read them; headings begin at this level."""
    rows = rows_of(result)
    peaks = result.get("peaks")
    heading = "#" * level
    there = [f"{PEERS[p]} {v}" for p, v in result["peers"].items() if v]
    absent = [PEERS[p] for p, v in result["peers"].items() if not v]
    out = [
        summary(result),
        "",
        "Ratio: the peer's time, or the time allowed, by ours, the median over the rounds (least to greatest).",
        "",
        f"Peers: {', '.join(there) or 'none'}." + (f" Not installed, left out: {', '.join(absent)}." if absent else ""),
        "",
    ]
    for threads, peak in sorted((peaks or {}).items()):
        if peak:
            bf16 = f", bf16 {peak['bf16']['gflops']:.0f} GFLOP/s ({peak['bf16']['isa']})" if peak["bf16"]["gflops"] else ""
            reads = ", ".join(f"{int(n) / 2**20:.2g} MiB at {g:.0f} GB/s" for n, g in sorted(peak["read_gbs"].items(), key=lambda i: int(i[0])))
            out += [f"Peak, {threads} thread(s): f32 {peak['f32']['gflops']:.0f} GFLOP/s ({peak['f32']['isa']}){bf16}; reads {reads or 'none'}.", ""]
    lines = [line for row, record in rows for line in row_lines(row, record, peaks)]
    out += table(["row", "Rondo", "of its bound", "against", "its time", "ratio", "target", "met"], lines)
    out += ["", f"{heading} What each took", ""]
    names = [p for p in PEERS if any(record["samples"].get(p) for _, record in rows)]
    lines = []
    for row, record in rows:
        took = [record["samples"].get(n) for n in ["rondo", *names]]
        lines.append([row.title, *(amount(row, middle(row, s)) if s else "" for s in took)])
    out += table(["row", "Rondo", *(PEERS[n] for n in names)], lines)
    notes = [f"- {row.title}: {note}" for row, record in rows for note in left_out(record) if not note.endswith(": not installed")]
    if notes:
        out += ["", f"{heading} What was left out", "", *notes]
    return out


def markdown(result):
    return "\n".join(["# Rondo and others", "", *measured(result, 2)]) + "\n"


def extract(result):
    """A line for each row: what is promised of it, and whether it is so."""
    lines = []
    for row, record in rows_of(result):
        ours = record["samples"].get("rondo")
        promised = [o for o in outcomes(row, record) if o.target.ratio is not None]
        ratios = [against(o) + (f" **{o.ratio:.2f}**" if o.ratio is not None else "") for o in promised]
        met = [{True: "yes", False: "**no**", None: "not measured"}[o.met] for o in promised]
        took = amount(row, middle(row, ours)) if ours else "not offered yet"
        lines.append([row.title, took, "; ".join(ratios), "; ".join(f"{o.target.ratio:.2f}" for o in promised), "; ".join(met)])
    return [summary(result), "", *table(["row", "Rondo", "ratio", "target", "met"], lines)]


# ---- the documents -------------------------------------------------------------------------------

BEGIN = "<!-- written by bench/compare.py --write-docs: begin -->"
END = "<!-- written by bench/compare.py --write-docs: end -->"


def between_marks(text, lines):
    """A document with these lines in the place of what stands between the marks; None without marks."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    return "\n".join([before + BEGIN, "", *lines, "", END]) + after if begin and end else None


# ---- the plot --------------------------------------------------------------------------------------

TICKS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100)
LEFT, WIDTH, RIGHT, BAR, GAP, TOP = 560, 560, 120, 15, 9, 76
COLOURS = {True: "#2f7d4f", False: "#c0562b", None: "#8a93a0"}


def svg(result):
    groups = [(row, [o for o in outcomes(row, record) if o.ratio is not None]) for row, record in rows_of(result)]
    groups = [(row, found) for row, found in groups if found]
    values = [v for _, found in groups for o in found for v in (o.ratio, o.target.ratio or 1)] or [1]
    low = max([t for t in TICKS if t <= min([0.9, *values])], default=TICKS[0])
    high = min([t for t in TICKS if t >= max([1.1, *values])], default=TICKS[-1])

    def x(ratio):
        ratio = min(max(ratio, low), high)
        return LEFT + WIDTH * math.log(ratio / low) / math.log(high / low)

    height = TOP + sum(len(found) * BAR + GAP for _, found in groups) + 34
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{LEFT + WIDTH + RIGHT}" height="{height}" font-family="DejaVu Sans, Arial, sans-serif"'
        ' font-size="11" fill="#22272e">',
        '<rect width="100%" height="100%" fill="#ffffff"/>',
        '<text x="12" y="22" font-size="15" font-weight="bold">How many times quicker Rondo is</text>',
        f'<text x="12" y="40" fill="#59636e">{html.escape(result["machine"]["text"])}; {result["date"]}</text>',
    ]
    legend = [("#2f7d4f", "target met"), ("#c0562b", "not met"), ("#8a93a0", "no target")]
    for i, (colour, text) in enumerate(legend):
        out.append(f'<rect x="{12 + 100 * i}" y="50" width="10" height="10" fill="{colour}"/><text x="{26 + 100 * i}" y="59">{text}</text>')
    out.append('<path d="M318 48v14" stroke="#22272e" stroke-width="2"/><text x="325" y="59">target</text>')
    for tick in TICKS:
        if low <= tick <= high:
            colour, wide = ("#22272e", 1.2) if tick == 1 else ("#d5dae0", 1)
            out.append(f'<path d="M{x(tick):.1f} {TOP - 6}V{height - 26}" stroke="{colour}" stroke-width="{wide}"/>')
            for y in (TOP - 10, height - 12):
                out.append(f'<text x="{x(tick):.1f}" y="{y}" text-anchor="middle" fill="#59636e">{tick:g}×</text>')
    y = TOP
    for row, found in groups:
        out.append(f'<text x="12" y="{y + 11}" font-weight="bold">{html.escape(row.title)}</text>')
        for o in found:
            a, b = sorted((x(1), x(o.ratio)))
            out.append(f'<text x="{LEFT - 8}" y="{y + 11}" text-anchor="end">{html.escape(against(o))}</text>')
            out.append(f'<rect x="{a:.1f}" y="{y + 2}" width="{max(b - a, 1):.1f}" height="{BAR - 4}" fill="{COLOURS[o.met]}"/>')
            end = b
            if o.target.ratio is not None:
                mark = x(o.target.ratio)
                out.append(f'<path d="M{mark:.1f} {y}v{BAR}" stroke="#22272e" stroke-width="2"/>')
                end = max(end, mark)
            out.append(f'<text x="{end + 6:.1f}" y="{y + 11}">{o.ratio:.2f}</text>')
            y += BAR
        y += GAP
    return "\n".join([*out, "</svg>"]) + "\n"
