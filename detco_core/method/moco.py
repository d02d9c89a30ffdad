"""MoCo v2 (Chen et al., 2020), the baseline: DetCo with one term, global to global, on the last stage.

It is not a second implementation: what is compared with DetCo shares its every line.
"""

from detco_core.contract.config import RunConfig
from detco_core.contract.errors import Fault, InvalidDocument
from detco_core.method.detco import DetCo, make_detco, trained_stages


def make_moco_v2(config: RunConfig) -> DetCo:
    """Build MoCo v2.

    Raises:
        InvalidDocument: the weights name another stage than res5 or another term than g2g.
    """
    weights = config.method.term_weights
    faults = []
    if trained_stages(config.method) != ("res5",):
        faults.append(Fault("method.stage_weights", "moco_v2 trains res5 only: set (0, 0, 0, 1), or use method detco"))
    if weights.g2g == 0 or weights.l2l > 0 or weights.l2g > 0:
        faults.append(Fault("method.term_weights", "moco_v2 has g2g only: set l2l and l2g to 0, or use method detco"))
    if faults:
        raise InvalidDocument("run config", tuple(faults))
    return make_detco(config)
