"""What a run was made of, and how to get it again: profiles, command, versions, hashes, the resolved experiment."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Mapping

from sim.report.finished import Finished
from sim.report.html.markup import Markup, element, join, scrolling, table

__all__ = ["profiles", "reproduction", "resolved"]


def profiles(run: Finished) -> Markup:
    """Return the profiles and models with their evidence, where they come from and their hashes."""
    used = run.manifest.get("profiles")
    if not isinstance(used, Mapping) or not used:
        return Markup("")
    rows = []
    for name, about in used.items():
        told = about.get("provenance", "")
        rows.append(
            [
                name,
                about.get("evidence", ""),
                _provenance(told) if told else "",
                element("code", about.get("content_hash", ""), class_="hash"),
            ]
        )
    return table("Where the numbers come from", ["profile", "evidence", "provenance", "SHA-256 of its content"], rows)


def _provenance(told: str) -> Markup:
    """Return what is known of where a profile comes from, a line a fact."""
    facts = []
    for line in told.splitlines():
        key, colon, value = line.partition(": ")
        facts.append([element("dt", key), element("dd", value)] if colon else [element("dd", line)])
    return element("details", element("summary", told.splitlines()[0]), element("dl", facts))


def reproduction(run: Finished) -> Markup:
    """Return the command, and what it was run with."""
    manifest = run.manifest
    command = manifest.get("command")
    said = []
    if isinstance(command, list) and command:
        said += [element("p", "It was made by"), _command(shlex.join(str(part) for part in command))]
    if run.experiment:
        said += [
            element("p", "and the resolved experiment below, saved as experiment.yaml, gives the same summary by"),
            _command("mprec run experiment.yaml"),
        ]
    summary = (run.path / "summary.json").read_bytes()
    facts: list[tuple[str, str]] = [("seed", str(run.report.seed))]
    for key, name in (("replications", "replications"), ("scenarios", "scenarios"), ("queries", "queries simulated")):
        if key in manifest:
            facts.append((name, f"{manifest[key]:,}" if isinstance(manifest[key], int) else str(manifest[key])))
    for key in ("started", "finished"):
        if key in manifest:
            facts.append((key, str(manifest[key])))
    if "wall_s" in manifest:
        facts.append(("took", f"{manifest['wall_s']} s, of them {manifest.get('cpu_s', '-')} s of CPU"))
    if manifest.get("stored"):
        facts.append(("taken from earlier runs", f"{manifest['stored']} of its replications, or cells of them"))
    if "engines" in manifest:
        facts.append(("engines", ", ".join(str(one) for one in manifest["engines"])))
    versions = manifest.get("versions")
    if isinstance(versions, Mapping):
        facts.append(("versions", ", ".join(f"{name} {version}" for name, version in versions.items())))
    if "platform" in manifest:
        facts.append(("platform", str(manifest["platform"])))
    if "fingerprint" in manifest:
        facts.append(("SHA-256 of experiment, profiles and version", str(manifest["fingerprint"])))
    facts.append(("SHA-256 of summary.json", hashlib.sha256(summary).hexdigest()))
    listed = element("dl", [[element("dt", name), element("dd", value)] for name, value in facts], class_="facts")
    return join([said, listed])


def _command(line: str) -> Markup:
    return scrolling("command", element("pre", element("code", line)), class_="code")


def resolved(run: Finished) -> Markup:
    """Return the resolved experiment, folded."""
    if not run.experiment:
        return Markup("")
    text = scrolling("experiment.yaml", element("pre", element("code", run.experiment)), class_="code")
    return element("details", element("summary", "The resolved experiment, experiment.yaml"), text)
