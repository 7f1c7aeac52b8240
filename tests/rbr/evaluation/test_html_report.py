"""The safety report: well-formed and self-contained HTML, and what it shows if something was not measured."""

import re
from html.parser import HTMLParser
from typing import Any

import polars as pl
import pytest

from rbr.evaluation.estimates import COUNT_NAMES, ENDS, METRIC_NAMES
from rbr.evaluation.html_report import REPORT_COLUMNS, ReportContent, percent, render_report, signed
from rbr.evaluation.report_plot import EvaluationGroup, PlotAxis, safety_plots

DASH, MINUS = "\u2013", "\u2212"
VOID = {"meta"}
WEIGHTS = {
    "response_type": ["hard_refusal"] * 3,
    "feature": ["proposition:apology", "class:bad", "class:good"],
    "sign": ["undesired", "free", "free"],
    "weight": [0.5, -1.0, 1.5],
    "low": [0.25, None, 1.0],
    "high": [0.75, None, 2.0],
}


class Page(HTMLParser):
    """Collects tags and text, and rejects tags that are not closed in order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(html)
        assert self._open == []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def section(self, first: str, last: str) -> str:
        return self.text.split(first, 1)[1].split(last, 1)[0]


def evaluation(variant: str, split: str = "test", judge: str = "grader", **metrics: float | None) -> dict[str, Any]:
    values = dict.fromkeys((name + end for name in METRIC_NAMES for end in ENDS), None)
    counts = {"n_prompts": 40, "n_completions": 40, "n_compared": 40, "n_without_class": 0, "n_refused": 0}
    return {"variant": variant, "split": split, "judge": judge} | counts | values | metrics


def frame(name: str, rows: list[dict[str, Any]]) -> pl.DataFrame:
    texts = {"variant", "split", "judge", "response_type", "feature", "proposition", "prompt", "reply", "class_name"}
    texts |= {"outcome", "reason", "sign"}
    counts = {"n", "n_missing", "n_yes", "n_prompts", "n_pairs", "n_held_out", *COUNT_NAMES}
    schema = {
        column: pl.String if column in texts else pl.Int32 if column in counts else pl.Float64
        for column in REPORT_COLUMNS[name]
    }
    return pl.DataFrame(rows, schema=schema)


def content(**rows: list[dict[str, Any]]) -> ReportContent:
    return ReportContent(**{name: frame(name, rows.get(name, [])) for name in REPORT_COLUMNS})


def counted(proposition: str, *, n: int, n_yes: int = 0, n_missing: int = 0) -> dict[str, Any]:
    return {"proposition": proposition, "n": n, "n_yes": n_yes, "n_missing": n_missing, "threshold": 0.5}


def full() -> ReportContent:
    known = {"not_unsafe": 0.95, "not_unsafe_low": 0.9, "not_unsafe_high": 0.98, "not_overrefuse": 0.9}
    accuracy = {"balanced_accuracy": 0.6, "balanced_accuracy_low": 0.5, "balanced_accuracy_high": 0.7}
    return content(
        evaluations=[
            evaluation("human", **known, f1=0.8, f1_low=0.75, f1_high=0.85),
            evaluation("rbr", **known, f1=0.924, f1_low=0.9, f1_high=0.95, illogical=0.0),
            evaluation("rbr", split="far", judge="oracle"),
        ],
        weights=pl.DataFrame(WEIGHTS).to_dicts(),
        certificates=[
            {
                "response_type": "hard_refusal",
                "n_prompts": 70,
                "n_pairs": 350,
                "n_held_out": 18,
                "primal": 0.25,
                "dual": 0.25,
                "gap": 1e-11,
                "order_lead": 0.25,
                "error_rm": 0.541,
                "error_rbr": 0.0,
                "error_total": None,
            }
        ],
        agreement=[
            {**counted("apology", n=49, n_yes=22), **accuracy, "outcome": "accepted"},
            {**counted("disgust", n=47, n_yes=23), **accuracy, "outcome": "rejected", "reason": "the accuracy is 0.6"},
            {**counted("tone", n=4), "outcome": "undecided", "reason": "no label says yes, 20 are needed"},
            {**counted("humor", n=1, n_missing=9), "outcome": "undecided", "reason": "1 of 10 labels could be read"},
        ],
        samples=[
            {"variant": variant, "response_type": "comply", "prompt": "a question", "reply": f"{variant} answers"}
            for variant in ("human", "rbr")
        ],
    )


def test_the_page_is_well_formed_and_needs_neither_network_nor_scripts() -> None:
    html = render_report(full())
    page = Page(html)
    assert html.startswith("<!doctype html>")
    assert not {"script", "link", "img", "iframe", "object"} & {tag for tag, _ in page.tags}
    assert not [name for _, attributes in page.tags for name in attributes if name in {"src", "href", "onload"}]
    assert "http://" not in html and "https://" not in html and "url(" not in html
    policy = next(attributes for tag, attributes in page.tags if "http-equiv" in attributes)
    assert policy["content"] == "default-src 'none'; style-src 'unsafe-inline'"


def test_equal_content_gives_equal_bytes_whatever_the_order_of_evaluations_and_features() -> None:
    given = full()
    shuffled = ReportContent(
        given.evaluations.reverse(), given.weights.reverse(), given.certificates, given.agreement, given.samples
    )
    assert render_report(shuffled) == render_report(given)


def test_a_reply_cannot_break_out_of_its_card() -> None:
    attack = '</div><script>alert("1")</script>{{ 7 * 7 }} & <b onclick=x>'
    names = dict.fromkeys(("variant", "response_type", "prompt", "reply", "class_name"), attack)
    page = Page(render_report(content(samples=[names])))
    assert "script" not in {tag for tag, _ in page.tags}
    assert page.text.count(attack) == 5
    assert not [attributes for _, attributes in page.tags if "onclick" in attributes]


def test_line_breaks_and_spaces_of_a_reply_are_kept() -> None:
    reply = "first\n\n  second"
    page = Page(render_report(content(samples=[dict.fromkeys(REPORT_COLUMNS["samples"], "x") | {"reply": reply}])))
    assert reply in page.text


def test_metrics_are_shown_in_percent_with_their_intervals() -> None:
    headline = Page(render_report(full())).section("Safety and over-refusal", "The trade-off")
    assert re.search(rf"human\s*40\s+0\s+95\.0.%\s+90\.0{DASH}98\.0", headline)
    assert re.search(rf"80\.0.%\s+75\.0{DASH}85\.0", headline)


def test_a_number_that_was_not_measured_is_a_dash_and_never_a_zero() -> None:
    page = Page(render_report(full()))
    styles = page.section("How the models refuse", "What the reward encourages")
    far = styles.split("Split far", 1)[1]
    assert far.count(DASH) == 3 and "0.0" not in far
    rates = page.section("Errors of", "Can the grader be trusted?")
    assert "54.1" in rates and "0.0" in rates and rates.rstrip().endswith(DASH)


def test_replies_without_a_class_are_counted_beside_the_range_that_they_leave_open() -> None:
    partly = evaluation("rbr", not_unsafe=0.95, not_unsafe_least=0.9, not_unsafe_most=0.97)
    unknown = evaluation("helpful", not_unsafe_least=0.25, not_unsafe_most=1.0)
    rows = [
        {**partly, "n_compared": 38, "n_without_class": 2},
        {**unknown, "n_without_class": 30, "n_refused": 27},
    ]
    headline = Page(render_report(content(evaluations=rows))).section("Safety and over-refusal", "The trade-off")
    assert re.search(rf"rbr\s*38\s+of 40\s+2\s+95\.0.%.*possible: 90\.0{DASH}97\.0", headline, re.DOTALL)
    assert re.search(rf"helpful\s*40\s+30 \(27 refused\)\s+{DASH}\s+possible: 25\.0{DASH}100", headline)


def test_a_sentence_names_the_variant_with_the_highest_f1_and_overlapping_intervals() -> None:
    rows = [
        evaluation("rbr", f1=0.9, f1_low=0.85, f1_high=0.95),
        evaluation("human", f1=0.8, f1_low=0.7, f1_high=0.86),
        evaluation("helpful", f1=0.7, f1_low=0.6, f1_high=0.8),
    ]
    close = " ".join(Page(render_report(content(evaluations=rows))).text.split())
    assert "rbr has the highest F1: 90.0" in close
    assert "overlaps with the interval of human, so" in close
    apart = " ".join(Page(render_report(content(evaluations=[rows[0], rows[2]]))).text.split())
    assert "Its interval does not overlap with any other." in apart


def test_fewer_than_two_variants_with_an_f1_have_no_leader() -> None:
    assert EvaluationGroup("test", "grader", [evaluation("rbr", f1=0.9), evaluation("human")]).leader is None


def test_a_variant_without_an_interval_counts_as_overlapping() -> None:
    rows = [evaluation("rbr", f1=0.9, f1_low=0.85, f1_high=0.95), evaluation("human", f1=0.1)]
    assert EvaluationGroup("test", "grader", rows).overlapping == ["human"]


def test_the_split_test_comes_first_and_rbr_is_the_first_row_of_each_table() -> None:
    rows = [
        evaluation(variant, split, judge)
        for variant in ("helpful", "rbr")
        for split in ("extra", "test")
        for judge in ("oracle", "grader")
    ]
    headline = Page(render_report(content(evaluations=rows))).section("Safety and over-refusal", "The trade-off")
    order = re.findall(r"Split (\w+), judged by (\w+)", headline)
    assert order == [("test", "grader"), ("test", "oracle"), ("extra", "grader"), ("extra", "oracle")]
    assert re.findall(r"rbr|helpful", headline.split("Split test", 1)[1])[:2] == ["rbr", "helpful"]


def test_propositions_that_are_not_accepted_are_named_with_the_reason_before_the_table() -> None:
    section = Page(render_report(full())).section("Can the grader be trusted?", "Replies side by side")
    before, table = section.split("Threshold\n", 1)
    words = " ".join(before.split())
    assert "Rejected (1 of 4): disgust (the accuracy is 0.6)." in words
    assert "Undecided (2 of 4): tone (no label says yes, 20 are needed), humor (1 of 10 labels could be read)." in words
    assert re.search(rf"tone\s+{DASH}.*undecided", table, flags=re.DOTALL)
    accepted = full().agreement.head(1)
    kept = Page(render_report(ReportContent(**{**vars(full()), "agreement": accepted}))).text
    assert "Every proposition is accepted" in kept
    assert "Rejected" not in kept and "Undecided" not in kept


def test_the_table_counts_labels_yes_labels_and_unread_labels() -> None:
    section = Page(render_report(full())).section("Can the grader be trusted?", "Replies side by side")
    words = " ".join(section.split())
    assert re.search(rf"apology 60.0 % 50.0{DASH}70.0 {DASH} 49 22 0 0.5 accepted", words)
    assert re.search(rf"humor {DASH} {DASH} 1 0 9 0.5 undecided", words)


def test_class_weights_come_first_and_weights_are_sorted_from_high_to_low() -> None:
    section = Page(render_report(full())).section("What the reward encourages", "Can the fit be trusted?")
    rows = re.findall(r"(good|bad|apology undesired)\s+(\S+)\s+(\S+)", section)
    assert rows == [("good", "1.50", "1.00"), ("bad", f"{MINUS}1.00", DASH), ("apology undesired", "0.50", "0.25")]


@pytest.mark.parametrize(
    ("sign", "weight", "color"),
    [
        ("undesired", 0.5, "against"),
        ("undesired", -0.5, "by-rules"),
        ("undesired", 0.0, "by-rules"),
        ("desired", -0.5, "against"),
        ("desired", 0.5, "by-rules"),
        ("free", 0.5, "free"),
    ],
)
def test_a_bar_is_red_if_its_weight_is_against_the_sign_of_the_feature(sign: str, weight: float, color: str) -> None:
    row = {"response_type": "comply", "feature": "proposition:apology", "sign": sign, "weight": weight}
    html = render_report(content(weights=[row]))
    table = html[html.index('id="weights"') : html.index('id="fit"')]
    assert re.findall(r'class="track ([\w-]+)"', table) == [color]


def test_weight_bars_start_at_zero_on_a_common_scale() -> None:
    html = render_report(full())
    table = html[html.index('id="weights"') : html.index('id="fit"')]
    places = re.findall(r'class="bar" style="left:([\d.]+)%;width:([\d.]+)%', table)
    # The track spans -1 to 2, so zero is at one third.
    assert places == [("33.33", "50.00"), ("0.0", "33.33"), ("33.33", "16.67")]


def test_replies_to_the_same_prompt_are_side_by_side_with_rbr_first() -> None:
    cards = Page(render_report(full())).text.split("Replies side by side")[1]
    assert cards.count("a question") == 1
    assert cards.index("rbr answers") < cards.index("human answers")


def test_every_section_of_an_empty_report_says_that_nothing_was_measured() -> None:
    assert Page(render_report(content())).text.count("Nothing has been measured here yet.") == 7


def test_a_frame_that_lacks_a_column_is_rejected_by_name() -> None:
    frames = vars(full())
    with pytest.raises(ValueError, match="samples has no column reply"):
        ReportContent(**{**frames, "samples": frames["samples"].drop("reply")})


def test_axes_contain_all_values_between_round_ticks() -> None:
    assert PlotAxis.covering([0.57, 0.9]).ticks == pytest.approx((0.5, 0.6, 0.7, 0.8, 0.9, 1.0))
    assert PlotAxis.covering([0.93]).ticks == pytest.approx((0.92, 0.94, 0.96, 0.98, 1.0))
    assert PlotAxis.covering([0.0]).ticks == pytest.approx((0.0, 0.2, 0.4, 0.6, 0.8, 1.0))
    assert PlotAxis.covering([1.0]).ticks == pytest.approx((0.98, 1.0))


@pytest.mark.parametrize(("low", "level"), [(0.0, 0.5), (0.5, 0.6), (0.5, 0.9), (0.8, 0.85)])
def test_a_curve_of_equal_f1_has_that_f1_and_stays_inside_the_plot(low: float, level: float) -> None:
    axis = PlotAxis(low, (low, 1.0))
    for x, y in axis.equal_f1_curve(level):
        first, second = (low + place / 100 * (1 - low) for place in (x, y))
        assert 2 * first * second / (first + second) == pytest.approx(level, abs=1e-3)
        assert -1e-6 <= x <= 100 and -1e-6 <= y <= 100.01


def test_a_point_is_at_its_metrics_with_safety_upwards() -> None:
    row = evaluation("rbr", not_unsafe=0.9, not_unsafe_low=0.5, not_unsafe_high=1.0, not_overrefuse=0.6)
    (plot,) = safety_plots([EvaluationGroup("test", "grader", [row, evaluation("human", not_unsafe=0.1)])])
    (point,) = plot.points
    assert (point.x, point.x_low, point.x_high) == (20, 20, 20)
    assert (point.y, point.y_low, point.y_high) == (80, 0, 100)
    assert plot.not_shown == ["human"]


def test_all_plots_have_the_same_axes() -> None:
    near = evaluation("rbr", not_unsafe=0.99, not_overrefuse=0.99)
    far = evaluation("rbr", not_unsafe=0.3, not_overrefuse=0.99)
    plots = safety_plots([EvaluationGroup("test", "grader", [near]), EvaluationGroup("test", "oracle", [far])])
    assert plots[0].ticks == plots[1].ticks


def test_percentages_and_signed_numbers_are_formatted_for_reading() -> None:
    assert percent(None) == DASH and percent(0.0) == "0.0\u202f%" and percent(0.9994) == "99.9\u202f%"
    assert signed(-0.001) == "0.00" and signed(-1.5) == f"{MINUS}1.50" and signed(None) == DASH
