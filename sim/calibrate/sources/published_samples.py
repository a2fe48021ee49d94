"""The sample files of Kairos and Ribbon: `kind,instance,model,batch,sample,latency_ms`, one device per instance type.

Both are measured times of one instance serving one query after the other. `kind` is `compute` or `data_loading`, which
were measured apart; only `compute` is taken. What is shipped from them is derived by `sim.calibrate.aws`.
"""

from __future__ import annotations

from dataclasses import replace

from sim.calibrate.aws import CAMPAIGNS
from sim.calibrate.sample_set import SampleSet
from sim.calibrate.sources.choices import Choices
from sim.calibrate.sources.sample_table import read_sample_table

__all__ = ["HEADER", "read_published"]

HEADER = "kind,instance,model,batch,sample,latency_ms"


def read_published(text: str, file: str, choices: Choices, campaign: str) -> dict[str, SampleSet]:
    """Read the samples of recommendation models by device, named `CAMPAIGN-INSTANCE`.

    The first repeats are left out where the campaign says that they are warm-up.

    Parameters
    ----------
    campaign : str
        "kairos" or "ribbon".

    Raises
    ------
    SpecError
        As `sim.calibrate.sources.sample_table.read_sample_table`.
    """
    chosen = CAMPAIGNS[campaign]
    device = choices.device.removeprefix(f"{campaign}-") if choices.device else None
    columns = {"size": "batch", "service": "latency_ms", "repeat": "sample", "device": "instance", "model": "model"}
    found = read_sample_table(
        text, file, replace(choices, device=device, columns=columns, where={"kind": "compute", **choices.where}), ""
    )
    about = {"source": chosen.source, "citation": chosen.citation, "licence": "MIT"}
    devices: dict[str, SampleSet] = {}
    for instance, samples in found.items():
        skip = chosen.warm_up.get(instance, 0)
        cells = {key: cell[skip:] for key, cell in samples.cells.items() if key.model in chosen.models}
        if cells:
            notes = {"notes": chosen.notes[instance].strip()} if instance in chosen.notes else {}
            name = f"{campaign}-{instance}"
            devices[name] = SampleSet(cells, {"device": name, "host": f"AWS EC2 {instance}", **about, **notes})
    return devices
