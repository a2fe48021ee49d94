"""The MP-Cache of a measurement, as it is written on the command line."""

from __future__ import annotations

from dataclasses import dataclass

from sim.spec.problems import Problem, SpecError
from sim.spec.units import parse_bytes

__all__ = ["NO_CACHE", "CacheSetting", "parse_cache", "parse_popularity"]

_KEY_BYTES = 8
_FP32 = 4


@dataclass(frozen=True, slots=True)
class CacheSetting:
    """Sizes of the two caches; 0 means that there is none."""

    encoder_bytes: int = 0
    centroids: int = 0

    def entries(self, embedding_dim: int) -> int:
        """How many IDs the encoder cache holds: an embedding and a key of 8 bytes each."""
        return self.encoder_bytes // (_FP32 * embedding_dim + _KEY_BYTES)


NO_CACHE = CacheSetting()


def parse_cache(written: str, option: str) -> CacheSetting:
    """Parse "encoder=2MB,decoder=256", or one of the two.

    Raises
    ------
    SpecError
        Naming the option.
    """
    found: dict[str, int] = {}
    for part in written.split(","):
        key, _, value = (word.strip() for word in part.partition("="))
        try:
            if key == "encoder" and key not in found:
                found[key] = parse_bytes(value)
                continue
            if key == "decoder" and key not in found and int(value) >= 1:
                found[key] = int(value)
                continue
        except ValueError:
            pass
        allowed = "encoder=SIZE,decoder=CENTROIDS, as in encoder=2MB,decoder=256, or one of the two"
        raise SpecError([Problem("bad cache", key_path=option, value=part.strip(), allowed=allowed)])
    return CacheSetting(found.get("encoder", 0), found.get("decoder", 0))


def parse_popularity(written: str) -> float | None:
    """Parse "uniform" (None) or "zipf:1.05" (the exponent); "zipf" alone is 1.05.

    Raises
    ------
    SpecError
    """
    kind, _, exponent = written.partition(":")
    if written == "uniform":
        return None
    try:
        value = float(exponent or 1.05) if kind == "zipf" else -1.0
    except ValueError:
        value = -1.0
    if not 0 < value <= 10:
        allowed = "uniform, or zipf:EXPONENT with an exponent above 0 and up to 10"
        raise SpecError([Problem("bad popularity", key_path="--ids", value=written, allowed=allowed)])
    return value
