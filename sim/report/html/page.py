"""Puts the page of a run together: the verdict first, then what it rests on, and how to get it again."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources
from string import Template

from sim.report.finished import Finished
from sim.report.html.markup import Markup, element, join
from sim.report.html.reproduction import profiles, reproduction, resolved
from sim.report.html.scenarios import every_metric, scenarios, shares, steadiness
from sim.report.table import Marks, conclusions, evidence_of, setting

__all__ = ["page"]

EVIDENCE = {
    "measured": "every service time was measured",
    "published": "some service times are from publications, and none has less behind it",
    "modelled": "some service times are reckoned from datasheets and were not measured",
}


def page(run: Finished, drawings: Sequence[Markup]) -> str:
    """Return the page.

    Parameters
    ----------
    run : Finished
    drawings : sequence of Markup
        Its figures, as from `sim.report.html.drawings.drawing`.
    """
    sections = [
        ("verdict", "Verdict", _verdict(run)),
        ("figures", "Figures", element("div", drawings, class_="figures") if drawings else Markup("")),
        ("scenarios", "Scenarios", scenarios(run)),
        ("assumptions", "Assumptions", _assumptions(run)),
        ("steadiness", "Saturation and warm-up", steadiness(run)),
        ("profiles", "Profiles", profiles(run)),
        ("metrics", "Everything measured", join([every_metric(run), shares(run)])),
        ("reproduction", "How to get this again", join([reproduction(run), resolved(run)])),
    ]
    there = [one for one in sections if one[2]]
    folder = resources.files("sim.report.html")
    return Template((folder / "page.html").read_text(encoding="utf-8")).substitute(
        title=join(run.report.name),
        style=Markup((folder / "page.css").read_text(encoding="utf-8")),
        head=join(
            [element("h1", run.report.name), _question(run), element("p", setting(run.report), class_="setting")]
        ),
        contents=element("ul", [element("li", element("a", name, href=f"#{key}")) for key, name, _ in there]),
        body=join(
            element(
                "section", element("h2", name, id=f"{key}-heading"), content, id=key, aria_labelledby=f"{key}-heading"
            )
            for key, name, content in there
        ),
    )


def _question(run: Finished) -> Markup:
    return element("p", run.question, class_="question") if run.question else Markup("")


def _verdict(run: Finished) -> Markup:
    lines = conclusions(run.report, run.gains, Marks(unicode=True))
    weakest = run.report.evidence
    stands_on = f"Evidence: {evidence_of(run.report)}; {EVIDENCE.get(weakest, 'of an unknown kind')}."
    return join(
        [
            [element("p", f"Unfit: {reason}", class_="unfit") for reason in run.unfit],
            element("ul", [element("li", line) for line in lines], class_="verdict"),
            element("p", stands_on, " ", _counted(len(run.report.assumptions)), class_="evidence"),
        ]
    )


def _counted(assumptions: int) -> Markup:
    if not assumptions:
        return Markup("")
    return element("a", f"{assumptions} assumption{'s' if assumptions > 1 else ''}", href="#assumptions")


def _assumptions(run: Finished) -> Markup:
    lines = run.report.assumptions or ("none beyond what the experiment file says",)
    return element("ul", [element("li", line) for line in lines])
