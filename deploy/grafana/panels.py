"""The kinds of panel in the dashboards, and the dashboard around them. Knows no metric."""

from collections.abc import Sequence
from dataclasses import dataclass

from grafana_foundation_sdk.builders import common as common_builder
from grafana_foundation_sdk.builders import dashboard as builder
from grafana_foundation_sdk.builders import prometheus, stat, timeseries
from grafana_foundation_sdk.models import common, dashboard

WIDTH = 24
SOURCE = dashboard.DataSourceRef(type_val="prometheus", uid="${datasource}")
Panel = stat.Panel | timeseries.Panel


@dataclass(frozen=True, slots=True)
class Query:
    """An expression and the names of its lines, in which `{{label}}` stands for a label's value."""

    expression: str
    legend: str


@dataclass(frozen=True, slots=True)
class Row:
    """Panels under a heading."""

    title: str
    panels: Sequence[Panel]


def figure(
    title: str, description: str, expression: str, unit: str = "none", bad_below: float | None = None
) -> stat.Panel:
    """One number; red below `bad_below`."""
    steps = [dashboard.Threshold(value=None, color="text" if bad_below is None else "red")]
    if bad_below is not None:
        steps.append(dashboard.Threshold(value=bad_below, color="green"))
    return (
        stat.Panel()
        .title(title)
        .description(description)
        .datasource(SOURCE)
        .unit(unit)
        .height(4)
        .span(4)
        .graph_mode(common.BigValueGraphMode.AREA)
        .reduce_options(common_builder.ReduceDataOptions().calcs(["lastNotNull"]))
        .thresholds(builder.ThresholdsConfig().mode(dashboard.ThresholdsMode.ABSOLUTE).steps(steps))
        .with_target(_target(Query(expression, title), 0))
    )


def chart(
    title: str, description: str, unit: str, *queries: Query, stacked: bool = False, span: int = 12
) -> timeseries.Panel:
    """Lines over time, from zero. Stacked: the lines add up to a total."""
    stacking = common.StackingMode.NORMAL if stacked else common.StackingMode.NONE
    panel = (
        timeseries.Panel()
        .title(title)
        .description(description)
        .datasource(SOURCE)
        .unit(unit)
        .height(8)
        .span(span)
        .axis_soft_min(0)
        .fill_opacity(30 if stacked else 8)
        .stacking(common_builder.StackingConfig().mode(stacking))
        .tooltip(common_builder.VizTooltipOptions().mode(common.TooltipDisplayMode.MULTI))
        .legend(
            common_builder.VizLegendOptions()
            .display_mode(common.LegendDisplayMode.LIST)
            .placement(common.LegendPlacement.BOTTOM)
            .show_legend(True)
        )
    )
    for index, query in enumerate(queries):
        panel.with_target(_target(query, index))
    return panel


def framed(uid: str, title: str, description: str, stream_metric: str, rows: Sequence[Row]) -> builder.Dashboard:
    """A dashboard of one stream, which the reader selects among those with `stream_metric`."""
    board = (
        builder.Dashboard(title)
        .uid(uid)
        .description(description)
        .tags(["pp1"])
        .refresh("5s")
        .time("now-15m", "now")
        .timezone("browser")
        .tooltip(dashboard.DashboardCursorSync.CROSSHAIR)
        .with_variable(builder.DatasourceVariable("datasource").label("Prometheus").type("prometheus"))
        .with_variable(
            builder.QueryVariable("instance")
            .label("stream")
            .datasource(SOURCE)
            .query(f"label_values({stream_metric}, instance)")
            .refresh(dashboard.VariableRefresh.ON_TIME_RANGE_CHANGED)
            .sort(dashboard.VariableSort.ALPHABETICAL_ASC)
        )
        .link(
            builder.DashboardLink("PP1")
            .type(dashboard.DashboardLinkType.DASHBOARDS)
            .tags(["pp1"])
            .include_vars(True)
            .keep_time(True)
        )
    )
    number = 0
    for row in rows:
        board.with_row(builder.Row(row.title))
        for panel in row.panels:
            number += 1
            board.with_panel(panel.id(number))
    return board


class Events(builder.AnnotationQuery):
    """Marks in all panels where the expression has a sample; the text is the value of one label."""

    def __init__(self, name: str, expression: str, label: str, step: str) -> None:
        self._internal = _PrometheusEvents(label, step)
        self.name(name).datasource(SOURCE).enable(True).icon_color("purple").expr(expression)


class _PrometheusEvents(dashboard.AnnotationQuery):
    """Adds fields that Grafana's Prometheus source reads and the SDK does not have."""

    def __init__(self, label: str, step: str) -> None:
        super().__init__()
        self._label, self._step = label, step

    def to_json(self) -> dict[str, object]:
        words = {"titleFormat": self.name, "textFormat": f"{{{{{self._label}}}}}", "tagKeys": self._label}
        return {**super().to_json(), **words, "step": self._step}


def _target(query: Query, index: int) -> prometheus.Dataquery:
    return (
        prometheus.Dataquery()
        .expr(query.expression)
        .legend_format(query.legend)
        .ref_id(chr(ord("A") + index))
        .datasource(SOURCE)
        .range()
    )
