"""Show that an exported model behaves like the model it came from.

Read it in this order: `options` (options and thresholds), `report` (the results), `subject`, `folder` and `gguf_file`
(models as verification queries them), `divergence` (figures of logits), `texts` (the texts that are compared),
`reference` (the source, queried once for all exports), `checks` (what passes), `answers` (the whole pipeline on both
sides), `run` (`verify`, which combines them), `plot`.
"""

from lmcot_export.verify.options import Threshold, VerifyOptions
from lmcot_export.verify.report import Check, Figures, Verification
from lmcot_export.verify.run import verify, verify_each

__all__ = ["Check", "Figures", "Threshold", "Verification", "VerifyOptions", "verify", "verify_each"]
