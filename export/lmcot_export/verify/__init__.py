"""Show that an exported model behaves like the model it came from.

Read it in this order: `options` (what can be set, the thresholds), `report` (what comes out), `subject`, `folder`
and `gguf_file` (a model as verification asks it), `divergence` (figures of logits), `texts` (what is compared),
`reference` (the source, asked once for all exports), `checks` (what passes), `answers` (the whole pipeline on both
sides), `run` (`verify`, which ties them), `plot`.
"""

from lmcot_export.verify.options import Threshold, VerifyOptions
from lmcot_export.verify.report import Check, Figures, Verification
from lmcot_export.verify.run import verify, verify_each

__all__ = ["Check", "Figures", "Threshold", "Verification", "VerifyOptions", "verify", "verify_each"]
