"""From shutter to page, transfer over time with what is under way, and storage: three cards."""

from typing import Any

from nextpyp_nb.session.disk import volumes
from nextpyp_nb.session.traffic import BINS, Traffic, arrived
from nextpyp_nb.views.late import Box
from nextpyp_nb.views.markup import Markup, clock, duration, joined, markup, number, size
from nextpyp_nb.views.pieces import column, say, text
from nextpyp_nb.views.state import Snapshot

COLOURS = ("#9db7d3", "#5b8db8", "#1f6fb2", "#7a86c4", "#e0a64a", "#c98a2b", "#7c5ea8", "#2e8b57")
WIDTH, HEIGHT = 480, 96


class TrafficCards(Box):
    """How movies flow."""

    def __init__(self, session: Any) -> None:
        self.session = session
        self.latency, self.flow, self.storage = text(""), text(""), text("")
        super().__init__(
            [column(part, classes=("nb-card",)) for part in (self.latency, self.flow, self.storage)]
        )
        self.add_class("nb-thirds")

    def draw(self, snapshot: Snapshot) -> None:
        """Draw the three cards in place."""
        traffic = snapshot.traffic
        say(self.latency, _latency(traffic))
        under_way = [(name, whole, arrived(self.session.folder, name)) for name, whole in traffic.under_way]
        say(self.flow, _flow(traffic, under_way))
        say(self.storage, self._storage(snapshot))

    def _storage(self, snapshot: Snapshot) -> Markup:
        places = {"session": self.session.folder}
        if len(snapshot.micrographs) or snapshot.traffic.under_way:
            places["movies"] = self.session.folder / "raw"
        lines = [
            markup(
                '<div class="nb-volume"><span>{mount} <span class="nb-muted">{uses}</span></span>'
                '<b>{free}</b></div><div class="nb-bar"><i class="nb-running" style="flex:{used} 0 0"></i>'
                '<i style="flex:{rest} 0 0"></i></div>',
                mount=volume.mount,
                uses=", ".join(volume.uses),
                free=f"{size(volume.free)} free",
                used=round(1 - volume.free / volume.total, 4) if volume.total else 0,
                rest=round(volume.free / volume.total, 4) if volume.total else 1,
            )
            for volume in volumes(places)
        ]
        free = min((volume.free for volume in volumes({"session": self.session.folder})), default=0)
        return markup(
            '<div class="nb-card-title"><b>Storage</b></div>{lines}'
            '<div class="nb-muted nb-small nb-need">{need}</div>',
            lines=joined(lines),
            need=_need(snapshot, free),
        )


def _latency(traffic: Traffic) -> Markup:
    if traffic.total is None:
        return markup(
            '<div class="nb-card-title"><b>From shutter to page</b></div>'
            '<span class="nb-muted">Waits for the first micrograph.</span>'
        )
    shown = list(zip(traffic.steps.items(), COLOURS, strict=False))
    bar = [
        markup('<i style="flex:{n} 0 0;background:{colour}"></i>', n=round(seconds, 3), colour=colour)
        for (_, seconds), colour in shown
    ]
    legend = [
        markup(
            '<span><i style="background:{colour}"></i>{name}</span><b>{long}</b>',
            colour=colour,
            name=name,
            long=_short(seconds),
        )
        for (name, seconds), colour in shown
    ]
    return markup(
        '<div class="nb-card-title"><b>From shutter to page</b><span>median {total}</span></div>'
        '<div class="nb-bar nb-wide">{bar}</div><div class="nb-steps">{legend}</div>'
        '<div class="nb-muted nb-small">Slowest: {slowest}.</div>',
        total=_short(traffic.total),
        bar=joined(bar),
        legend=joined(legend),
        slowest=traffic.slowest,
    )


def _flow(traffic: Traffic, under_way: list[tuple[str, int, int]]) -> Markup:
    hours = traffic.bin_seconds / 3600
    if traffic.copied:
        values, unit = [n / traffic.bin_seconds / 1e6 for n in traffic.bytes], "MB/s"
    else:
        values, unit = [n / hours for n in traffic.movies], "movies/h"
    recent = sum(values[-4:]) / 4
    way = [
        markup(
            '<div class="nb-volume"><span class="nb-ellipsis" title="{name}">{name}</span>'
            '<b>{there} of {whole}</b></div><div class="nb-bar">'
            '<i class="nb-running" style="flex:{done} 0 0"></i><i style="flex:{left} 0 0"></i></div>',
            name=name,
            there=size(there),
            whole=size(whole),
            done=min(there, whole),
            left=max(whole - there, 1),
        )
        for name, whole, there in under_way
    ]
    return markup(
        '<div class="nb-card-title"><b>Transfer</b><span>{recent} {unit} now</span></div>{plot}{way}',
        recent=number(recent, 1 if recent < 100 else 0),
        unit=unit,
        plot=_bars(values, traffic, unit),
        way=joined(way),
    )


def _bars(values: list[float], traffic: Traffic, unit: str) -> Markup:
    """Transfer over time, a bar a bin, with its highest value and its times."""
    top, step = max(*values, 1e-9), WIDTH / BINS
    bars = [
        markup(
            '<rect x="{x}" y="{y}" width="{w}" height="{h}"/>',
            x=round(n * step + 0.5, 1),
            y=round(HEIGHT * (1 - value / top), 1),
            w=round(step - 1, 1),
            h=round(HEIGHT * value / top, 1),
        )
        for n, value in enumerate(values)
        if value > 0
    ]
    return markup(
        '<svg class="nb-flow" viewBox="0 0 {w} {h}" preserveAspectRatio="none" role="img" '
        'aria-label="{said}">{bars}</svg><div class="nb-flow-axis"><span>{begin}</span>'
        "<span>highest {top} {unit}</span><span>now</span></div>",
        w=WIDTH,
        h=HEIGHT,
        said=f"transfer over time, {unit}",
        bars=joined(bars),
        begin=clock(traffic.since),
        top=number(top if top > 1e-6 else 0, 1 if top < 100 else 0),
        unit=unit,
    )


def _need(snapshot: Snapshot, free: int) -> str:
    """What the session still writes at the present rate, and when the disk is full by that."""
    table, traffic = snapshot.micrographs, snapshot.traffic
    rate = snapshot.status.tracks["preprocess"].rate_per_hour
    if not rate or not len(table):
        return ""
    # Two averages of each micrograph, mostly in half precision, and what was copied.
    one = 2 * 2.0 * float((table["height"] * table["width"]).median())
    copied = sum(traffic.bytes[-4:]) / (4 * traffic.bin_seconds) * 3600 if traffic.copied else 0.0
    hourly = rate * one + copied
    return f"At the present rate {size(hourly)} an hour: full in about {duration(3600 * free / hourly)}."


def _short(seconds: float) -> str:
    """Seconds that people compare, so not cut to minutes too soon."""
    return duration(seconds) if seconds >= 600 else f"{number(seconds, 0 if seconds >= 60 else 1)} s"
