"""Real DLRMs as subjects, on a CPU or on a CUDA GPU; this module can be imported without PyTorch, loading cannot."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sim.calibrate.measure.dlrm_setup import DlrmSetup

if TYPE_CHECKING:
    from sim.calibrate.measure.subject import Subjects

__all__ = ["DlrmSource"]


class DlrmSource(DlrmSetup):
    """Loads what its setup describes."""

    def load(self, representations: Sequence[str], lane: int) -> Subjects:
        """Load these; see `sim.calibrate.measure.subject.SubjectSource`."""
        from sim.calibrate.measure.dlrm_subject import load_subjects

        return load_subjects(self, representations, lane)
