"""``mprec validate``: everything that can be checked without running."""

from __future__ import annotations

import typer

from sim.cli.options import ExperimentArgument, OverridesOption, PluginsOption, add_plugins

__all__ = ["validate"]


def validate(experiment: ExperimentArgument, overrides: OverridesOption = None, plugins: PluginsOption = None) -> None:
    """Check an experiment without running it, and print what it would run.

    Exit code 2 if anything is wrong, with file, line and column of every problem.
    """
    from sim.study.planning import check_baseline_named, plan_scenarios
    from sim.study.scenario import asks_for_designs, load_scenarios

    add_plugins(plugins)
    scenarios = load_scenarios(experiment, overrides or [])
    plans = plan_scenarios(scenarios)
    check_baseline_named(scenarios)
    if any(scenario.experiment.policy.kind == "user" for scenario in scenarios):
        # A function of one's own is looked up where it is used, and shows what it returns when it is asked.
        from sim.study.policy_trial import try_policies
        from sim.study.prepare import prepare

        try_policies(scenarios, prepare(scenarios, plans))
    for scenario, plan in zip(scenarios, plans, strict=True):
        paths = ", ".join(path.name for path in plan.eligible)
        typer.echo(f"{scenario.label}: {scenario.experiment.replications} replications over {paths}")
    count = len(scenarios)
    typer.echo(f"valid: {count} scenario{'s' if count > 1 else ''}")
    if asks_for_designs(experiment, overrides or []):
        from sim.study.design_check import designs_in

        designs = designs_in(experiment, overrides or [])
        typer.echo(f"optimise: {designs:,} designs; every value of every choice was tried")
